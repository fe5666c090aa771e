"""The fake of EasyERP has the traps of the real server (``tests/data/easyerp``)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kpid.testing import FakeClock, Request
from kpid.testing.crm_life import add_account, add_lead
from kpid.testing.easyerp import LOGIN, PASSWORD, FakeEasyErp

DEALS = {"viewType": ["list"], "contentType": ["Opportunities"]}
MODIFIED = {"filter[m][type]": ["date"], "filter[m][backend][key]": ["editedBy.date"]}


@pytest.fixture
def api() -> Iterator[FakeEasyErp]:
    with FakeEasyErp(clock=FakeClock()) as api:
        yield api


def asked(api, path, query=None, *, session=None):
    cookie = {"Cookie": f"pwd={session or logged_in(api)}"} if session != "" else {}
    return api.answer(Request("GET", path, query or {}, cookie))


def logged_in(api, password=PASSWORD, database="CRM"):
    body = f'{{"login": "{LOGIN}", "pass": "{password}", "dbId": "{database}"}}'.encode()
    answer = api.answer(Request("POST", "/users/login", {}, {}, body))
    return answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0] if answer.status == 200 else answer.status


def test_without_a_session_there_is_nothing(api):
    assert asked(api, "/opportunities/", DEALS, session="").status == 404
    assert asked(api, "/currentDb", session="forged").status == 401
    assert asked(api, "/getDBS", session="").status == 200
    assert (logged_in(api, "wrong"), logged_in(api, database="nope")) == (400, 500)


def test_a_session_ends_after_two_minutes_without_a_request(api):
    session = logged_in(api)
    for seconds, status in ((100, 200), (100, 200), (130, 404)):
        api.clock.advance(timedelta(seconds=seconds))
        assert asked(api, "/opportunities/", DEALS, session=session).status == status


def test_past_the_end_some_totals_are_nothing(api):
    add_account(api.crm)
    api.crm.add_deal()
    beyond = {"page": ["9"], "count": ["25"]}
    assert asked(api, "/opportunities/", DEALS | beyond).body == {"total": 0, "data": []}
    assert asked(api, "/companies/", {"contentType": ["Companies"]} | beyond).body == {"total": 1, "data": []}


def test_nonsense_is_passed_over(api):
    api.crm.bulk("deals", 120)
    session = logged_in(api)
    assert len(asked(api, "/opportunities/", DEALS | {"count": ["x"]}, session=session).body["data"]) == 100
    garbage = DEALS | MODIFIED | {"filter[m][value][]": ["garbage"]}
    assert asked(api, "/opportunities/", garbage, session=session).body["total"] == 120


def test_the_filter_takes_whole_days_of_the_server(api):
    api.crm.add_deal(at=api.clock.now() - timedelta(days=2))
    api.crm.add_deal()
    today = DEALS | MODIFIED | {"filter[m][value][]": [api.clock.now().date().isoformat()]}
    assert asked(api, "/opportunities/", today).body["total"] == 1
    api.crm.create("orders", {})
    orders = {**today, "contentType": ["Orders"]}
    assert asked(api, "/order/", orders).body["total"] == 0
    assert asked(api, "/order/", {"contentType": ["Orders"]}).body["total"] == 1


def test_invoices_asked_with_another_type_never_answer(api):
    assert asked(api, "/invoice/", {"contentType": ["Invoices"]}).manner == "hang"
    assert asked(api, "/invoice/", {"contentType": ["invoice"]}).body == {"total": 0, "data": []}


def test_what_is_deleted_reads_as_nothing(api):
    deal = api.crm.add_deal()
    assert asked(api, f"/opportunities/{deal}").body["_id"] == deal
    api.crm.delete("deals", deal)
    assert asked(api, f"/opportunities/{deal}").content() == b""
    assert asked(api, "/opportunities/not-an-id").status == 500


def test_a_converted_lead_leaves_its_list_and_keeps_its_id(api):
    lead = add_lead(api.crm)
    leads = {"contentType": ["Leads"]}
    assert asked(api, "/leads/", leads).body["total"] == 1
    api.crm.convert_lead(lead)
    assert asked(api, "/leads/", leads).body["total"] == 0
    assert asked(api, "/opportunities/", DEALS).body["data"][0]["_id"] == lead
    assert asked(api, f"/leads/{lead}").body["isOpportunitie"] is True
