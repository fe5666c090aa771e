"""EasyERP: the contract of connectors on its fake, and its own traps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from kpid_easyerp import EasyErpSettings

from kpid.plugin import AuthError, ConnectorError, KpidError, SchemaError
from kpid.testing import ConnectorContract, MemorySync, Walk, faults
from kpid.testing.bench import compare, connected
from kpid.testing.crm_life import add_lead, fill
from kpid.testing.easyerp import PASSWORD
from tests.vendors.easyerp import EasyErpBench


@pytest.fixture
def bench() -> Iterator[EasyErpBench]:
    with EasyErpBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    """The contract of connectors."""

    @pytest.fixture
    def bench(self) -> Iterator[EasyErpBench]:
        with EasyErpBench() as bench:
            yield bench


def synced(bench, held=None, *, reconcile=False, **options):
    """All that a sync holds."""
    held = held or MemorySync()
    with connected(bench.connector(**options)) as connector:
        held.run(connector, reconcile=reconcile)
    return held


def logins(bench):
    return bench.api.calls["POST /users/login"]


def test_an_edit_of_a_won_deal_does_not_move_its_closing(bench, tmp_path):
    with Walk(bench, tmp_path, random.Random(1)) as walk:
        (deal,) = bench.add(1)
        bench.crm.move(deal, "won")
        walk.sync_calmly()
        (before,) = walk.rows("deals", "closed_at, updated_at", f"native_id = '{deal}'")
        assert before["closed_at"] == before["updated_at"]
        bench.clock.advance(timedelta(days=3))
        bench.crm.edit("deals", deal, name="Renamed")
        walk.sync_calmly()
        (after,) = walk.rows("deals", "name, closed_at, updated_at", f"native_id = '{deal}'")
        assert (after["name"], after["closed_at"]) == ("Renamed", before["closed_at"])
        assert after["updated_at"] > before["updated_at"]


# -- the session -------------------------------------------------------------------------------------------------------------


def test_a_session_that_ended_meanwhile_is_opened_again(bench):
    bench.add(3)
    with connected(bench.connector()) as connector:
        connector.count("deals")
        bench.clock.advance(timedelta(seconds=130))
        assert connector.count("deals") == 3
    assert logins(bench) == 2


def test_requests_make_a_session_live_on(bench):
    bench.add(3)
    with connected(bench.connector()) as connector:
        for _ in range(10):
            connector.count("deals")
            bench.clock.advance(timedelta(seconds=50))
    assert logins(bench) == 1


def test_a_session_that_the_server_forgot_is_opened_once_more(bench):
    bench.add(3)
    with connected(bench.connector()) as connector:
        connector.count("deals")
        bench.expire_token()
        assert connector.count("deals") == 3
    assert logins(bench) == 2


def test_a_user_who_is_locked_out_in_the_middle_is_an_error_for_a_person(bench):
    bench.add(3)
    with connected(bench.connector()) as connector:
        connector.count("deals")
        bench.revoke()
        before = len(bench.api.requests)
        with pytest.raises(AuthError, match="refused the login") as caught:
            connector.count("deals")
    assert len(bench.api.requests) - before <= 3
    assert caught.value.hint


def test_the_session_is_a_secret(bench):
    bench.add(1)
    with connected(bench.connector(read_timeout=0.1)) as connector:
        connector.count("deals")
        bench.api.fail(faults.status(400, {"error": "you sent pwd=access-fake-1"}), times=9)
        with pytest.raises(KpidError) as caught:
            connector.count("deals")
    assert "access-fake-1" not in str(caught.value)


def test_a_stack_trace_is_not_passed_on(bench):
    bench.api.fail(
        faults.status(500, {"error": "TypeError: x\n    at /srv/erp/handlers/secret.js"}), times=99, path="opportunities"
    )
    with connected(bench.connector()) as connector, pytest.raises(KpidError, match="answered 500") as caught:
        connector.count("deals")
    assert "/srv/erp" not in f"{caught.value} {caught.value.__cause__}"


# -- lists that change while they are read -----------------------------------------------------------------------------------


def during_page(bench, number, happen):
    """Let something happen before the answer to a page."""
    seen = []

    def fault(request, answer):
        seen.append(request)
        if len(seen) == number:
            happen()
        return answer

    bench.api.fail(fault, times=1000, path=r"^/opportunities/$")


def test_a_record_that_slips_by_is_found_by_reading_again(bench):
    """Of three pages the first is read when one of its records is deleted: all others move up by one."""
    first = bench.add(150)
    during_page(bench, 1, lambda: bench.delete(first[-1]))
    rows = {row["native_id"] for page in pages_of(bench, "deals") for row in page.rows["deals"]}
    assert set(first[:-1]) <= rows


def test_edits_while_a_list_is_read_lose_nothing(bench):
    first = bench.add(150)
    during_page(bench, 1, lambda: [bench.change(one) for one in first[:40]])
    rows = {row["native_id"] for page in pages_of(bench, "deals") for row in page.rows["deals"]}
    assert rows == set(first)


def test_a_list_that_never_stands_still_is_warned_of_and_buries_nobody(bench):
    first = bench.add(400)
    held = synced(bench, entities=("deals",))
    gone = iter(first)
    bench.api.fail(deleting(bench, gone), times=1000, path=r"^/opportunities/$")
    last = pages_of(bench, "deals")[-1]
    assert "the list changed each time" in last.warnings[0]
    with connected(bench.connector()) as connector, pytest.raises(ConnectorError, match="the list changed"):
        list(connector.ids("deals", None, bench.clock.now()))
    assert len(held.live("deals")) == 400


def deleting(bench, gone):
    """A fault: with each answer a record vanishes."""

    def fault(_request, answer):
        bench.delete(next(gone))
        return answer

    return fault


def pages_of(bench, entity, cursor=None, **options):
    with connected(bench.connector(**options)) as connector:
        return list(connector.pages(entity, cursor, bench.clock.now()))


def test_a_killed_first_read_does_not_ask_for_the_same_details_again(bench):
    bench.add(150)
    first, *_ = pages_of(bench, "deals")
    forms = "GET /opportunities/(?P<id>[^/]+)"
    bench.api.calls.clear()
    rest = pages_of(bench, "deals", first.cursor)
    assert bench.api.calls[forms] <= 92  # of those not yet read, and of the instants at which it broke off and began
    assert {row["native_id"] for page in (first, *rest) for row in page.rows["deals"]} == bench.truth().keys()


def test_a_quiet_sync_reads_no_details(bench):
    bench.add(100)
    held = synced(bench)
    bench.clock.advance(timedelta(minutes=15))
    bench.api.requests.clear()
    synced(bench, held)
    assert len(bench.api.requests) <= bench.quiet_calls


# -- what changed ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Europe/Kyiv"])
def test_the_day_filter_misses_nothing_wherever_the_server_stands(zone):
    with EasyErpBench() as bench:
        bench.api.zone = ZoneInfo(zone)
        first = bench.add(30)
        held = synced(bench)
        for hours, native_id in enumerate(first[:24]):
            bench.clock.advance(timedelta(hours=1))
            bench.change(native_id)
            if hours % 5 == 0:
                synced(bench, held)
        synced(bench, held)
        compare(bench, held)


def test_the_servers_clock_counts(bench):
    bench.api.skew = timedelta(minutes=-10)
    first = bench.add(5)
    held = synced(bench)
    bench.clock.advance(timedelta(minutes=1))
    bench.change(first[0])
    synced(bench, held)
    compare(bench, held)


def test_a_lead_that_becomes_a_deal_is_converted_and_not_gone(bench):
    lead = add_lead(bench.crm)
    held = synced(bench)
    assert held.live("leads")[lead]["status"] == "new"
    bench.clock.advance(timedelta(hours=1))
    _, _, deal = bench.crm.convert_lead(lead)
    assert deal == lead
    synced(bench, held, reconcile=True)
    row = held.live("leads")[lead]
    assert (row["status"], row["converted_deal_id"]) == ("converted", deal)
    assert row["converted_at"] == row["qualified_at"]
    assert held.live("deals")[deal]["lead_id"] == lead
    bench.delete(deal)
    synced(bench, held, reconcile=True)
    assert lead not in held.live("leads")


def test_without_details_nothing_is_read_one_by_one(bench):
    bench.add(20)
    add_lead(bench.crm, converted=True)
    held = synced(bench, details=False)
    assert not any(path.startswith("GET /opportunities/(") for path in bench.api.calls)
    assert len(held.live("deals")) == 21
    assert not any(row["lead_source"] for row in held.live("deals").values())
    with connected(bench.connector(details=False)) as connector:
        assert "lead_source" not in connector.fills()["deals"]
        assert not any(reads.by_id for reads in connector.reads())


def test_deals_of_deleted_records_vanish_by_comparing_ids(bench):
    first = bench.add(20)
    held = synced(bench)
    bench.delete(first[3])
    synced(bench, held)
    assert first[3] in held.live("deals")
    synced(bench, held, reconcile=True)
    compare(bench, held)


# -- what is wrong with the configuration or the server ----------------------------------------------------------------------


def test_a_list_that_never_answers_spares_the_others(bench):
    bench.add(5)
    bench.api.silent = {"/invoice/"}
    with connected(bench.connector(read_timeout=0.05)) as connector:
        assert len([row for page in connector.pages("deals", None, bench.clock.now()) for row in page.rows["deals"]]) == 5
        with pytest.raises(KpidError, match="gave no answer"):
            list(connector.pages("orders", None, bench.clock.now()))
        wrong = [finding for finding in connector.check() if not finding.ok]
    assert [finding.subject for finding in wrong] == ["crm: orders"]


def test_check_names_what_was_meant(bench):
    first = bench.add(3)
    bench.add_field("region", dict.fromkeys(first, "north"))
    with connected(bench.misspell_field()) as connector:
        (wrong,) = (finding for finding in connector.check() if not finding.ok)
    assert (wrong.text, wrong.warning) == ("deals have no field own_feild", True)
    assert "Is it own_field?" in wrong.hint


def test_check_names_a_stage_that_was_renamed(bench):
    with connected(bench.rename_pipeline()) as connector:
        wrong = [finding for finding in connector.check() if not finding.ok]
    assert {finding.subject for finding in wrong} == {"crm: pipelines", "crm: deals"}
    assert all("no stage Angebot" in finding.text and "Renamed" in finding.hint for finding in wrong)


def test_check_tries_a_refused_login_once(bench):
    bench.revoke()
    with connected(bench.connector()) as connector:
        (finding,) = connector.check()
    assert (finding.subject, finding.text, finding.ok) == ("crm: login", "EasyERP refused the login", False)
    assert PASSWORD not in f"{finding}"
    assert logins(bench) == 1


def test_a_field_that_nobody_has_is_warned_of(bench):
    bench.add(3)
    with connected(bench.misspell_field()) as connector:
        warned = [text for page in connector.pages("deals", None, bench.clock.now()) for text in page.warnings]
    assert warned == ["EasyERP's opportunities have no field own_feild: what it fills stays empty"]


def test_own_fields_are_read_into_columns(bench):
    first = bench.add(3)
    options = bench.add_field("region", dict.fromkeys(first, "north"))
    held = synced(bench, **options)
    assert {row["region"] for row in held.live("deals").values()} == {"north"}
    with connected(bench.connector(**options)) as connector:
        assert connector.asks("deals") == {"_id", "own_field"}
        assert connector.asks("users") == frozenset()


@pytest.mark.parametrize(
    ("body", "said"),
    [({"rows": []}, "is not one of records with ids"), ({"total": 1, "data": [{"name": "x"}]}, "is not one of records with ids")],
)
def test_a_list_of_another_shape_is_refused(bench, body, said):
    bench.api.fail(lambda _, answer: replace(answer, body=body), times=9, path=r"^/opportunities/$")
    with connected(bench.connector()) as connector, pytest.raises(SchemaError, match=said):
        connector.count("deals")


def test_one_of_two_kinds_of_orders_is_read(bench):
    fill(bench.crm, 20)
    invoices = synced(bench).live("orders")
    orders = synced(bench, orders_from="orders").live("orders")
    assert invoices.keys() == orders.keys() == bench.crm.living("orders").keys()
    assert not any("orders" in request.path and "quotations" in request.path for request in bench.api.requests)


def test_refunds_come_with_what_they_are_of(bench):
    order = bench.crm.create("orders", {"net_amount": Decimal("99.50"), "currency": "EUR", "refunded": Decimal("20.25")})
    (row,) = synced(bench).live("refunds").values()
    assert (row["order_id"], row["amount"], row["currency"]) == (order, Decimal("20.25"), "EUR")


def test_settings_name_what_is_wrong():
    with pytest.raises(ValueError, match="no such entity: orders"):
        EasyErpSettings(base_url="https://erp.example.com", login="a", password="b", fields={"orders": {"a": "b"}})
    with pytest.raises(ValueError, match="not a time zone"):
        EasyErpSettings(base_url="https://erp.example.com", login="a", password="b", server_timezone="Mars/Base")


def test_a_field_named_later_is_filled_into_old_rows(bench, tmp_path):
    with Walk(bench, tmp_path, random.Random(1)) as walk:
        first = bench.add(5)
        walk.sync_calmly()
        bench.clock.advance(timedelta(days=3))
        bench.chosen = bench.add_field("region", dict.fromkeys(first, "north"))
        walk.sync_calmly()
        assert {row["native_id"] for row in walk.rows("deals", where="region = 'north'")} == set(first)


def test_stages_are_observed(bench, tmp_path):
    with Walk(bench, tmp_path, random.Random(1)) as walk:
        (deal,) = bench.add(1)
        walk.sync_calmly()
        for stage in ("offer", "won"):
            bench.clock.advance(timedelta(days=1))
            bench.crm.move(deal, stage)
            walk.sync_calmly()
        walk.check_observed_history()
        assert len(walk.rows("deal_stage_history")) == 3


# -- what detail views tell beside -------------------------------------------------------------------------------------------


def test_campaigns_and_the_past_of_deals_are_read_and_kept_up_to_date(bench, tmp_path):
    campaign = bench.crm.create("campaigns", {"name": "Herbst"})
    day = bench.clock.now().date()
    deal = bench.crm.add_deal(amount=Decimal(100), campaign_id=campaign, expected_close_date=day)
    bench.clock.advance(timedelta(hours=1))
    with Walk(bench, tmp_path, random.Random(0)) as walk:
        walk.sync_calmly()
        (row,) = walk.rows("deals", "campaign_id, campaign", f"native_id = '{deal}'")
        assert (row["campaign_id"], walk.living("campaigns")[campaign]["name"]) == (campaign, "Herbst")
        bench.crm.edit("deals", deal, amount=Decimal(250), expected_close_date=day + timedelta(days=30))
        walk.sync_calmly()
        past = walk.rows("deal_field_history", "field, value, valid_to", f"deal_id = 'crm:{deal}'")
        assert sorted((row["field"], row["value"], row["valid_to"] is None) for row in past) == [
            ("amount", "100", False),
            ("amount", "250", True),
            ("expected_close_date", day.isoformat(), False),
            ("expected_close_date", (day + timedelta(days=30)).isoformat(), True),
        ]
        assert walk.sync_calmly().changed == 0


def test_a_list_that_may_not_be_seen_is_named_by_check(bench):
    bench.api.fail(faults.status(404, {"error": "no"}), times=99, path=r"^/(campaigns|payments|currency)/")
    with connected(bench.connector()) as connector:
        found = {finding.subject: finding for finding in connector.check() if not finding.ok}
    assert found.keys() == {"crm: campaigns", "crm: refunds", "crm: deals"}
    assert "no list /currency/" in found["crm: deals"].text
    assert "no list /payments/, or kpid-reader may not see it" in found["crm: refunds"].text
    assert "profile" in found["crm: campaigns"].hint


def test_departments_are_teams_and_one_that_nobody_is_in_is_gone(bench, tmp_path):
    design, sales = {"_id": "d1", "name": "Design"}, {"_id": "d2", "name": "Sales"}
    ada, bo, _ = (
        bench.crm.create("users", {"name": f"{name} Example", "department": of})
        for name, of in (("Ada", design), ("Bo", sales), ("Cy", None))
    )
    with Walk(bench, tmp_path, random.Random(1)) as walk:
        walk.sync_calmly()
        assert {key: row["name"] for key, row in walk.living("teams").items()} == {"d1": "Design", "d2": "Sales"}
        assert walk.living("users")[bo]["team"] == "Sales"
        bench.crm.edit("users", bo, department=design)
        walk.sync_calmly()
        assert walk.living("teams").keys() == {"d1"}
        assert walk.living("users").keys() >= {ada, bo}
