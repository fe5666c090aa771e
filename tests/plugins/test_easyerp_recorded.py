"""EasyERP: what a real server once answered comes to the right rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from kpid_easyerp import EasyErpConnector, EasyErpSettings
from kpid_easyerp.mapping import product_row
from kpid_easyerp.values import Place

from kpid.plugin import AuthError, KpidError, SchemaError, SourceContext
from kpid.testing import FakeClock, MemorySync, Request
from kpid.testing.recorded import Query, Recorded

DATA = Path(__file__).parents[1] / "data" / "easyerp"
NOW = datetime(2026, 11, 22, 17, 10, tzinfo=UTC)
EDITED = "57cd7502e46029380f3cb4c9"
BEFORE, AFTER_EDIT, AFTER_CREATION, AFTER_DELETION = 61, 64, 68, 72


class RecordedEasyErp(Recorded):
    """The recorded server; how many rows a page holds does not matter, nor in which order they are asked for."""

    def normal(self, query: Query) -> Query:
        told = [(name, value) for name, value in query if name != "count" and not name.startswith("sort[")]
        return [(name, "1" if value == "1" else "beyond") if name == "page" else (name, value) for name, value in told]

    def told(self, request: Request) -> int | None:
        if request.path != "/users/login":
            return None
        body = request.json()
        return 6 if body["dbId"] != "CRM" else 7 if body["pass"] == "111111" else 5


@pytest.fixture
def server() -> Iterator[RecordedEasyErp]:
    with RecordedEasyErp(DATA, clock=FakeClock(NOW)) as server:
        server.moment = BEFORE
        yield server


def connector(server, **options):
    usual = {"base_url": server.url, "allow_private": True, "login": "superAdmin", "password": "111111", "read_timeout": 0.5}
    context = SourceContext("erp", ZoneInfo("Europe/Berlin"), Path(), server.clock, "USD")
    return EasyErpConnector(EasyErpSettings(**{**usual, "server_timezone": "Europe/Kyiv", **options}), context)


def read(server, entity, cursor=None, **options):
    """The rows of an entity by native id, and the last cursor."""
    asked = connector(server, **options)
    try:
        pages = list(asked.pages(entity, cursor, NOW))
    finally:
        asked.close()
    rows = {name: {row["native_id"]: row for page in pages for row in page.rows.get(name, ())} for name in (entity, "stages")}
    return rows[entity], pages[-1], rows["stages"]


@pytest.mark.parametrize("details", [True, False])
def test_deals_have_the_states_and_amounts_of_the_server(server, details):
    deals, page, _ = read(server, "deals", details=details)
    assert (len(deals), page.total) == (42, 42)
    assert Counter(row["state"] for row in deals.values()) == {"open": 33, "won": 5, "lost": 4}
    sums = {state: sum(row["amount"] for row in deals.values() if row["state"] == state) for state in ("open", "won", "lost")}
    assert sums == {"open": 474_500 + 812_500, "won": 223_500, "lost": 108_000}
    assert {row["currency"] for row in deals.values()} == {"USD"}
    assert page.cursor == {"since": NOW.isoformat()}
    assert page.through == NOW


def test_open_deals_are_new_or_in_progress(server):
    deals, _, _ = read(server, "deals")
    _, _, stages = read(server, "pipelines")
    first = {key for key, stage in stages.items() if stage["name"] == "To be done"}
    new = [row for row in deals.values() if row["stage_id"] in first]
    assert (len(new), sum(row["amount"] for row in new)) == (11, 474_500)
    assert len(stages) == 7
    order = sorted(stages.values(), key=lambda row: row["sort_order"])
    assert [(row["name"], row["state"]) for row in order][-2:] == [("In development", "won"), ("Lost", "lost")]


def test_customers_of_deals_are_persons_with_companies(server):
    deals, _, _ = read(server, "deals")
    accounts, _, _ = read(server, "accounts")
    contacts, _, _ = read(server, "contacts")
    assert (len(accounts), len(contacts)) == (47, 76)
    assert sum(1 for row in deals.values() if row["account_id"] in accounts) == 26
    assert sum(1 for row in deals.values() if row["primary_contact_id"]) == 37
    assert all(row["primary_contact_id"] in contacts for row in deals.values() if row["primary_contact_id"])
    assert accounts["57d124cd6e5095d60f2e2898"]["name"] == "CoboText"


def test_detail_views_tell_source_and_conversion(server):
    deals, _, _ = read(server, "deals")
    assert sum(1 for row in deals.values() if row["lead_id"]) == 37
    assert Counter(row["lead_source"] for row in deals.values())["Partners"] == 7
    bare, _, _ = read(server, "deals", details=False)
    assert not any(row["lead_source"] or row["lead_id"] for row in bare.values())


def test_detail_views_tell_what_amounts_and_expected_closings_were(server):
    asked = connector(server)
    try:
        pages = list(asked.pages("deals", None, NOW))
    finally:
        asked.close()
    past = [row for page in pages for row in page.rows["deal_field_history"]]
    amounts = {row["native_id"]: row for page in pages for row in page.rows["deals"]}
    assert Counter(row["field"] for row in past) == {"amount": 44, "expected_close_date": 5}
    for row in past:
        if row["valid_to"] is None and row["field"] == "amount":
            assert Decimal(row["value"]) == amounts[row["deal_id"]]["amount"]
    changed = [row for row in past if row["deal_id"] == "57d275db0e9d66b810388fbc"]
    first, second = sorted(changed, key=lambda row: row["valid_from"])
    assert (first["value"], first["valid_from"], first["valid_to"]) == ("15000", "2016-09-09T08:54:13.192Z", second["valid_from"])
    assert (second["value"], second["valid_to"]) == ("11000", None)
    (day,) = [row["value"] for row in past if row["deal_id"] == "57ce8e0feab5298410a81056" and row["field"] != "amount"]
    assert day == "2016-09-22"


def test_paid_invoices_say_when_and_others_do_not(server):
    orders, _, _ = read(server, "orders")
    assert Counter((row["status"], row["paid_at"] is not None) for row in orders.values())[("paid", True)] == 22
    assert not any(row["paid_at"] for row in orders.values() if row["status"] != "paid")
    assert orders["58a2cd9573e60e560b66ed32"]["paid_at"] == "2017-02-14T09:40:29.000Z"


def test_campaigns_are_names(server):
    campaigns, page, _ = read(server, "campaigns")
    assert {row["name"] for row in campaigns.values()} == {"Email", "Newsletter", "Telesales", "Web"}
    assert page.through == NOW


def test_dates_are_those_that_people_entered(server):
    """21:00 UTC of the day before is midnight in Kyiv."""
    deals, _, _ = read(server, "deals")
    assert deals["57d291560e9d66b810389014"]["expected_close_date"] == date(2016, 10, 20)


def test_leads_have_the_status_of_their_stages(server):
    leads, _, _ = read(server, "leads", details=False)
    assert Counter(row["status"] for row in leads.values()) == {"working": 30, "new": 16, "qualified": 16, "disqualified": 1}
    assert all((row["qualified_at"] is not None) == (row["status"] == "qualified") for row in leads.values())
    assert sum(1 for row in leads.values() if row["owner_id"] is None) == 3


def test_a_lead_by_itself_tells_who_and_since_when(server):
    asked = connector(server)
    (page,) = asked.fetch("leads", ["57d28c0f0e9d66b810388ff8"])
    asked.close()
    (row,) = page.rows["leads"]
    told = {name: row[name] for name in ("name", "company", "status", "created_at", "converted_at", "lead_source")}
    assert told == {
        "name": "Katarina Wierzbicka", "company": "Patasium", "status": "working", "created_at": "2016-09-09T10:16:47.318Z",
        "converted_at": None, "lead_source": "Outbound Cold Call",
    }  # fmt: skip


def test_people_and_tasks(server):
    users, _, _ = read(server, "users")
    tasks, _, _ = read(server, "activities")
    assert (len(users), len(tasks)) == (103, 45)
    assert Counter(row["status"] for row in tasks.values()) == {"planned": 42, "completed": 2, "cancelled": 1}
    assert len({row["owner_id"] for row in tasks.values()} - users.keys()) == 1  # who has left is not in the list
    assert users["57cee677eab5298410a810d0"]["manager_id"] == "57cd6108e46029380f3cb47b"


def test_sales_invoices_are_in_cents_and_approved(server):
    orders, page, _ = read(server, "orders")
    assert page.total == 30
    assert Counter(row["status"] for row in orders.values()) == {"paid": 22, "placed": 7}
    assert orders["58a2cd9573e60e560b66ed32"]["net_amount"] == Decimal("20.99")
    assert {row["currency"] for row in orders.values()} == {"USD"}
    recorded = json.loads((DATA / "16-sales-invoices-all.json").read_text())["response"]["body"]["data"]
    assert sum(one["paymentInfo"]["unTaxed"] for one in recorded) == 35_653_699
    (held_back,) = (Decimal(one["paymentInfo"]["unTaxed"]) / 100 for one in recorded if not one["approved"])
    assert sum(row["net_amount"] for row in orders.values()) == Decimal("356536.99") - held_back


def test_orders_instead_of_invoices_leave_offers_out(server):
    orders, _, _ = read(server, "orders", orders_from="orders")
    assert len(orders) == 9  # of ten one is a draft, and all thirteen quotations are offers
    assert not any(key.startswith("quotation-") for key in orders)


def test_refunds_are_the_payments_that_say_so(server):
    refunds, page, _ = read(server, "refunds")
    assert page.total == 26
    (row,) = refunds.values()
    told = {name: row[name] for name in ("amount", "currency", "refunded_at", "order_id")}
    assert told == {
        "amount": Decimal("55.20"), "currency": "USD", "refunded_at": "2017-02-10T16:34:19.000Z",
        "order_id": "589d98a23afa47be4163a1d5",
    }  # fmt: skip


def test_products_have_code_and_category(server):
    asked = connector(server)
    found = asked._api.first("products", 5)
    asked.close()
    row = product_row(found["data"][0], Place(ZoneInfo("UTC")))
    assert (found["total"], row["name"], row["code"], row["category"]) == (35, "T-Shirt", "00000001", "Clothes")


def test_only_what_changed_comes_again(server):
    server.moment = AFTER_EDIT
    since = {"since": "2026-01-02T00:10:00+00:00"}
    deals, _, _ = read(server, "deals", since)
    assert {key: (row["name"], row["state"]) for key, row in deals.items()} == {EDITED: ("renamed by kpid", "won")}
    assert deals[EDITED]["closed_at"] == deals[EDITED]["updated_at"] == "2026-11-22T17:07:15.721Z"


def test_the_filter_knows_whole_days_and_the_connector_the_instant(server):
    asked = connector(server)
    (batch,) = asked._api.listed("opportunities", datetime(2016, 9, 8, tzinfo=UTC))
    dates = sorted(record["editedBy"]["date"] for record in batch.records)
    assert (len(dates), dates[0][:16]) == (19, "2016-09-07T11:53")
    (page,) = asked.pages("deals", {"since": "2016-09-08T00:10:00+00:00"}, NOW)
    asked.close()
    assert len(page.rows["deals"]) == sum(1 for at in dates if at >= "2016-09-08")


def test_nothing_new_is_no_row(server):
    deals, page, _ = read(server, "deals", {"since": "2026-01-02T00:10:00+00:00"})
    assert deals == {}
    assert page.through == NOW


def test_a_deleted_deal_cannot_be_fetched(server):
    server.moment = AFTER_DELETION
    asked = connector(server)
    (page,) = asked.fetch("deals", [EDITED])
    asked.close()
    assert page.rows["deals"] == []


def test_ids_counts_and_the_servers_clock(server):
    asked = connector(server)
    listed = [one for page in asked.ids("deals", None, NOW) for one in page.ids]
    assert len(dict(listed)) == asked.count("deals") == 42
    assert all(at is not None for _, at in listed)
    assert asked.server_time() == NOW
    asked.close()


def test_a_second_read_changes_nothing(server):
    held, options = MemorySync(), {"entities": ("users", "pipelines", "accounts", "contacts", "activities", "orders")}
    for _ in range(2):
        asked = connector(server, **options)
        held.run(asked, entity="users")
        held.run(asked, entity="pipelines")
        held.run(asked, entity="orders")
        asked.close()
    assert {name: len(rows) for name, rows in held.rows.items()} == {
        "users": 103, "teams": 17, "pipelines": 1, "stages": 7, "orders": 29,
    }  # fmt: skip
    assert {row["name"] for row in held.rows["teams"].values()} >= {row["team"] for row in held.rows["users"].values()}
    assert all("deleted_at" not in row for rows in held.rows.values() for row in rows.values())


def test_a_wrong_password_and_an_unknown_database_are_told_apart(server):
    with pytest.raises(AuthError, match="refused the login") as caught:
        read(server, "users", password="wrong-password")
    assert "wrong-password" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    with pytest.raises(SchemaError, match="no database nope") as missing:
        read(server, "users", database="nope")
    assert missing.value.hint == "There are: CRM, saas"


def test_a_list_that_is_not_there_is_no_expired_session(server):
    with pytest.raises(KpidError, match="no list /dealTasks/") as caught:
        read(server, "activities", cursor={"since": "2001-01-01T00:00:00+00:00"})
    assert isinstance(caught.value, SchemaError)
    assert [request.path for request in server.requests].count("/users/login") == 2


def test_an_unknown_stage_is_named(server):
    with pytest.raises(SchemaError, match="no stage Verloren") as caught:
        read(server, "deals", stages={"Verloren": "lost"})
    assert "In development" in (caught.value.hint or "")


def test_a_stage_may_mean_something_else(server):
    deals, _, _ = read(server, "deals", stages={"Finalization": "won"})
    assert sum(1 for row in deals.values() if row["state"] == "won") > 5


def test_own_fields_come_from_the_detail_view(server):
    deals, page, _ = read(server, "deals", fields={"deals": {"region": "address.country", "heat": "priority", "size": "sise"}})
    row = deals["57ce8fc6eab5298410a81076"]
    assert (row["region"], row["extra"]) == ("Poland", {"heat": "Cold", "size": None})
    assert page.warnings == ("EasyERP's opportunities have no field sise: what it fills stays empty",)
