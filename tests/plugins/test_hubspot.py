"""The HubSpot connector against a server that behaves like HubSpot."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from kpid_hubspot import HubSpotConnector, HubSpotSettings, kpid_connectors
from pydantic import ValidationError

from kpid.plugin import AuthError, ConnectorError, DeferredError, SchemaError
from kpid.testing import ConnectorContract, MemorySync, faults
from kpid.testing.hubspot import TOKEN, policy
from kpid.testing.hubspot_life import add_company, add_deal, fill
from kpid.testing.hubspot_portal import stamp
from tests.vendors.hubspot import ACTIVITIES, HubSpotBench


@pytest.fixture
def bench() -> Iterator[HubSpotBench]:
    with HubSpotBench() as bench:
        yield bench


class TestContract(ConnectorContract):
    @pytest.fixture
    def bench(self) -> Iterator[HubSpotBench]:
        with HubSpotBench() as bench:
            yield bench


def held_intervals(synced: MemorySync) -> dict[str, list[tuple[str, datetime, datetime | None]]]:
    found: dict[str, list[tuple[str, datetime, datetime | None]]] = {key: [] for key in synced.live("deals")}
    for row in sorted(synced.rows.get("deal_stage_history", {}).values(), key=lambda row: row["valid_from"]):
        if row["deal_id"] in found:
            found[row["deal_id"]].append((row["stage_id"], row["valid_from"], row["valid_to"]))
    return found


def test_a_whole_portal_is_read(bench):
    fill(bench.portal, 130)
    synced = bench.sync(MemorySync())
    portal = bench.portal
    assert len(synced.rows["users"]) == 4
    assert sum(not row["is_active"] for row in synced.rows["users"].values()) == 1
    for entity, kinds in {
        "accounts": ["companies"],
        "contacts": ["contacts"],
        "activities": ["calls", "meetings", "emails", "tasks"],
        "tickets": ["tickets"],
    }.items():
        assert len(synced.live(entity)) == sum(len(portal.live(kind)) for kind in kinds)
    assert {(row["native_id"], row["state"]) for row in synced.rows["stages"].values()} == {
        ("appointmentscheduled", "open"), ("contractsent", "open"), ("closedwon", "won"), ("closedlost", "lost"),
    }  # fmt: skip
    assert held_intervals(synced) == bench.intervals()
    assert {row["origin"] for row in synced.rows["deal_stage_history"].values()} == {"crm"}


def test_nobody_is_asked_faster_than_hubspot_allows(bench):
    fill(bench.portal, 400)
    synced = bench.sync(MemorySync())
    for number in list(bench.portal.live("deals")):
        bench.portal.edit("deals", number, dealname="Touched")
    bench.later()
    bench.sync(synced, search_page_size=20)
    assert {row["name"] for row in synced.live("deals").values()} == {"Touched"}
    assert bench.api.refused == []
    assert bench.clock.sleeps  # the fake counts by this clock


def test_twelve_thousand_deals_of_one_instant_are_all_found(bench):
    bench.add(3)
    synced = bench.sync(MemorySync())
    bench.add(12_000, same_instant=True)
    bench.later()
    bench.sync(synced)
    assert len(synced.live("deals")) == 12_003
    assert synced.live("deals").keys() == bench.truth().keys()


def test_a_change_that_the_index_shows_late_is_found_by_the_next_sync(bench):
    (deal,) = bench.add(1)
    synced = bench.sync(MemorySync())
    bench.later()
    bench.api.index_lag = timedelta(minutes=4)
    bench.change(deal)
    bench.later(2)
    bench.sync(synced)
    assert synced.live("deals")[deal]["name"] != "Renamed"
    bench.later(3)
    bench.sync(synced)
    assert synced.live("deals")[deal]["name"] == "Renamed"


def test_contacts_are_found_by_their_own_modified_property(bench):
    bench.add(1)
    synced = bench.sync(MemorySync())
    (contact,) = bench.portal.live("contacts")
    bench.portal.edit("contacts", contact, email="new@example.com", hs_email_optout="true")
    bench.later()
    bench.sync(synced)
    row = synced.live("contacts")[str(contact)]
    assert (row["email"], row["email_opt_in"], row["account_id"]) == ("new@example.com", False, str(bench.company))


def test_values_get_their_types(bench):
    portal = bench.portal
    company = add_company(portal, 1)
    created = datetime(2026, 10, 1, 6, 44, 12, 310_000, tzinfo=UTC)
    deal = portal.create(
        "deals",
        {"dealname": "Kessler Example rollout", "amount": "12900.50", "dealstage": "contractsent", "deal_currency_code": "USD",
         "closedate": "2026-12-15T23:30:00Z",
         "hs_deal_stage_probability": "0.4", "dealtype": "newbusiness", "hubspot_owner_id": ""},
        at=created, links={"companies": [company, company + 1], "contacts": [7]},
    )  # fmt: skip
    row = bench.sync(MemorySync()).live("deals")[str(deal)]
    assert row["amount"] == Decimal("12900.50")
    assert (row["currency"], row["probability"], row["deal_type"], row["owner_id"]) == ("USD", Decimal("0.4"), "new", None)
    assert (row["state"], row["closed_at"]) == ("open", None)
    assert row["expected_close_date"] == row["crm_close_date"] == date(2026, 12, 16)  # past midnight in Berlin
    assert (row["account_id"], row["primary_contact_id"], row["pipeline_id"]) == (str(company), "7", "default")
    assert row["created_at"] == created


@pytest.mark.parametrize(("stage", "state"), [("closedwon", "won"), ("closedlost", "lost")])
def test_only_a_closed_stage_closes_a_deal(bench, stage, state):
    closed = bench.clock.now() - timedelta(days=2)
    deal = bench.portal.create("deals", {"dealstage": "contractsent", "closedate": stamp(closed), "closed_lost_reason": "Price"})
    synced = bench.sync(MemorySync())
    assert synced.live("deals")[str(deal)]["closed_at"] is None
    bench.portal.edit("deals", deal, dealstage=stage)
    bench.later()
    row = bench.sync(synced).live("deals")[str(deal)]
    assert (row["state"], row["closed_at"], row["expected_close_date"]) == (state, closed, None)
    assert row["loss_reason"] == ("Price" if state == "lost" else None)
    bench.portal.edit("deals", deal, dealstage="contractsent")  # reopened
    bench.later()
    row = bench.sync(synced).live("deals")[str(deal)]
    assert (row["state"], row["closed_at"]) == ("open", None)


def test_a_closed_deal_without_close_date_closed_when_it_got_into_its_stage(bench):
    deal = bench.portal.create("deals", {"dealstage": "contractsent", "closedate": ""})
    bench.later()
    bench.portal.edit("deals", deal, dealstage="closedwon")
    assert bench.sync(MemorySync()).live("deals")[str(deal)]["closed_at"] == bench.clock.now()


def test_a_deal_without_currency_has_the_companys(bench):
    deal = bench.portal.create("deals", {"dealstage": "contractsent", "deal_currency_code": ""})
    assert bench.sync(MemorySync()).live("deals")[str(deal)]["currency"] == "EUR"


@pytest.mark.parametrize("amount", ["12.900,50", "viel", "NaN-ish"])
def test_a_text_that_is_no_number_is_passed_on_to_be_counted(bench, amount):
    deal = bench.portal.create("deals", {"dealstage": "contractsent", "amount": amount, "closedate": "soon"})
    row = bench.sync(MemorySync()).live("deals")[str(deal)]
    assert row["amount"] == amount
    assert row["expected_close_date"] == "soon"


def test_a_stage_entered_twice_has_two_intervals(bench):
    deal = bench.portal.create("deals", {"dealstage": "contractsent"})
    synced = bench.sync(MemorySync())
    for stage in ("closedlost", "contractsent", "closedwon"):
        bench.later()
        bench.portal.edit("deals", deal, dealstage=stage)
        bench.sync(synced)
    bench.later()
    bench.sync(synced)
    assert [stage for stage, *_ in held_intervals(synced)[str(deal)]] == [
        "contractsent",
        "closedlost",
        "contractsent",
        "closedwon",
    ]
    assert held_intervals(synced) == bench.intervals()


def test_history_that_hubspot_forgot_is_kept(bench):
    deal = bench.portal.create("deals", {"dealstage": "appointmentscheduled"})
    bench.later()
    bench.portal.edit("deals", deal, dealstage="contractsent")
    synced = bench.sync(MemorySync())
    before = held_intervals(synced)[str(deal)]
    record = bench.portal.records["deals"][deal]
    bench.portal.records["deals"][deal] = type(record)(
        record.id, record.properties, record.created, record.updated, None, {"dealstage": record.history["dealstage"][1:]}
    )
    bench.later()
    bench.portal.edit("deals", deal, dealstage="closedwon")
    bench.later()
    bench.sync(synced)
    after = held_intervals(synced)[str(deal)]
    assert after[0] == before[0]
    assert len(after) == 3


def test_calls_and_meetings_become_activities(bench):
    at = bench.clock.now() - timedelta(hours=3)
    links = {"deals": [11], "companies": [22], "contacts": [33]}
    call = bench.portal.create(
        "calls",
        {"hs_timestamp": stamp(at), "hs_call_duration": "185400", "hs_call_direction": None, "hs_call_status": "NO_ANSWER"},
        links=links,
    )
    meeting = bench.portal.create(
        "meetings",
        {"hs_timestamp": stamp(at), "hs_meeting_start_time": stamp(at), "hs_meeting_outcome": "NO_SHOW",
         "hs_meeting_end_time": stamp(at + timedelta(hours=1))},
    )  # fmt: skip
    rows = bench.sync(MemorySync()).live("activities")
    assert rows.keys() == {f"call-{call}", f"meeting-{meeting}"}
    row = rows[f"call-{call}"]
    assert (row["type"], row["direction"], row["status"], row["duration_s"], row["occurred_at"]) == (
        "call",
        "unknown",
        "completed",
        185,
        at,
    )
    assert (row["deal_id"], row["account_id"], row["contact_id"]) == ("11", "22", "33")
    row = rows[f"meeting-{meeting}"]
    assert (row["type"], row["status"], row["scheduled_end"]) == ("meeting", "no_show", at + timedelta(hours=1))


def test_emails_and_tasks_become_activities(bench):
    portal, at = bench.portal, bench.clock.now() - timedelta(hours=3)
    links = {"deals": [11], "companies": [22], "contacts": [33]}
    mails = [
        portal.create("emails", {"hs_timestamp": stamp(at), "hs_email_direction": way, "hs_email_status": state}, links=links)
        for way, state in (("EMAIL", "SENT"), ("INCOMING_EMAIL", None), ("FORWARDED_EMAIL", "BOUNCED"), ("EMAIL", "SCHEDULED"))
    ]
    done = {"hs_timestamp": stamp(at), "hs_task_status": "COMPLETED"}
    tasks = [
        portal.create("tasks", {**done, "hs_task_completion_date": stamp(at + timedelta(hours=1))}, links=links),
        portal.create("tasks", done),
        portal.create("tasks", {"hs_timestamp": stamp(at), "hs_task_status": "WAITING", "hs_task_completion_date": stamp(at)}),
    ]
    rows = bench.sync(MemorySync()).live("activities")
    found = [rows[f"email-{mail}"] for mail in mails]
    assert [(row["type"], row["direction"], row["status"], row["outcome"]) for row in found] == [
        ("email", "outbound", "completed", "SENT"), ("email", "inbound", "completed", None),
        ("email", "unknown", "completed", "BOUNCED"), ("email", "outbound", "planned", "SCHEDULED"),
    ]  # fmt: skip
    found = [rows[f"task-{task}"] for task in tasks]
    assert [(row["type"], row["status"], row["occurred_at"], row["scheduled_end"]) for row in found] == [
        ("task", "completed", at + timedelta(hours=1), at), ("task", "completed", at, at), ("task", "planned", None, at),
    ]  # fmt: skip
    assert (found[0]["deal_id"], found[0]["account_id"], found[0]["contact_id"]) == ("11", "22", "33")


def test_only_the_named_types_are_activities(bench):
    bench.add(2)
    bench.api.missing_scopes = {"emails", "tasks"}
    with bench.connected() as connector:
        (finding,) = [finding for finding in connector.check() if not finding.ok]
    assert finding.subject == "crm: activities"
    assert "crm.objects.emails.read" in finding.text
    rows = bench.sync(MemorySync(), activity_types=("calls", "meetings")).live("activities")
    assert {row["type"] for row in rows.values()} == {"call", "meeting"}


def test_a_tickets_history_tells_when_it_was_solved_and_opened_again(bench):
    portal, start = bench.portal, bench.clock.now()
    portal.pipelines["tickets"][0]["stages"][0]["label"] = "Waiting on contact"
    ticket = portal.create("tickets", {"hs_pipeline_stage": "1", "closed_date": ""})
    synced = bench.sync(MemorySync(), ticket_states={"Waiting on contact": "pending"})
    instants = [start]
    for stage in ("4", "1", "4"):
        bench.later(60)
        instants.append(bench.clock.now())
        portal.edit("tickets", ticket, hs_pipeline_stage=stage)
    bench.later()
    bench.sync(synced, ticket_states={"Waiting on contact": "pending"})
    row = synced.live("tickets")[str(ticket)]
    assert (row["status"], row["reopen_count"], row["first_solved_at"], row["closed_at"]) == (
        "closed",
        1,
        instants[1],
        instants[3],
    )
    history = sorted(synced.rows["ticket_status_history"].values(), key=lambda row: row["valid_from"])
    assert [(row["status"], row["valid_from"], row["valid_to"]) for row in history] == [
        ("pending", start, instants[1]), ("closed", instants[1], instants[2]),
        ("pending", instants[2], instants[3]), ("closed", instants[3], None),
    ]  # fmt: skip


def test_what_a_deals_fields_were_is_told_with_its_owners(bench):
    portal, start = bench.portal, bench.clock.now()
    deal = portal.create(
        "deals",
        {"dealstage": "contractsent", "amount": "100.50", "closedate": "2026-12-15T23:30:00Z", "hubspot_owner_id": "70114500"},
    )
    bench.later()
    changed = bench.clock.now()
    portal.edit("deals", deal, amount="", hubspot_owner_id="70114501", dealname="No news")
    bench.later()
    synced = bench.sync(MemorySync())
    fields = {
        (row["field"], row["valid_from"]): (row["value"], row["valid_to"]) for row in synced.rows["deal_field_history"].values()
    }
    assert fields == {
        ("amount", start): ("100.5", changed), ("amount", changed): (None, None),
        ("expected_close_date", start): ("2026-12-16", None),
    }  # fmt: skip
    owners = sorted(synced.rows["owner_history"].values(), key=lambda row: row["valid_from"])
    assert [(row["object_type"], row["object_id"], row["owner_id"], row["valid_to"]) for row in owners] == [
        ("deals", f"crm:{deal}", "70114500", changed), ("deals", f"crm:{deal}", "70114501", None),
    ]  # fmt: skip


def test_lines_of_deals_and_products_are_read_if_named(bench):
    portal, named = bench.portal, {"entities": ("products", "deal_lines")}
    product = portal.create("products", {"name": "Seat", "hs_sku": "S-1", "hs_product_type": "service"})
    common = {
        "hs_product_id": str(product),
        "quantity": "4",
        "price": "12.50",
        "amount": "45",
        "hs_line_item_currency_code": "USD",
    }
    lines = [
        portal.create("line_items", {**common, **own}, links={"deals": [77]})
        for own in (
            {"hs_total_discount": "5", "recurringbillingfrequency": "monthly"},
            {"discount": "1.25"},
            {"hs_discount_percentage": "10", "recurringbillingfrequency": "biweekly"},
            {"price": "viel", "hs_discount_percentage": "10"},
        )
    ]
    synced = bench.sync(MemorySync(), **named)
    rows = [synced.live("deal_lines")[str(line)] for line in lines]
    assert [(row["discount"], row["is_recurring"], row["interval"]) for row in rows] == [
        (5, True, "month"), (5, False, None), (5, True, None), (None, False, None),
    ]  # fmt: skip
    row = rows[0]
    assert (row["deal_id"], row["product_id"], row["quantity"], row["amount"], row["currency"]) == (
        "77", str(product), 4, 45, "USD",
    )  # fmt: skip
    row = synced.live("products")[str(product)]
    assert (row["name"], row["code"], row["category"], row["is_active"]) == ("Seat", "S-1", "service", True)
    assert synced.warnings == []


def test_orders_are_orders_or_invoices(bench):
    portal, at = bench.portal, bench.clock.now() - timedelta(days=3)
    links = {"companies": [5], "deals": [6]}
    shop = {"hs_total_price": "119", "hs_tax": "19", "hs_currency_code": "CHF", "hs_external_created_date": stamp(at)}
    orders = [
        portal.create("orders", {**shop, "hs_external_order_status": said}, links=links)
        for said in ("Shipped", "PAID", "Canceled", "Done")
    ]
    bare = portal.create("orders", {"hs_total_price": "7"})
    synced = bench.sync(MemorySync(), entities=("orders",), order_states={"Done": "paid"})
    rows = synced.live("orders")
    assert [rows[str(order)]["status"] for order in orders] == ["placed", "paid", "cancelled", "paid"]
    row = rows[str(orders[0])]
    assert (row["net_amount"], row["tax"], row["currency"], row["ordered_at"]) == (100, 19, "CHF", at)
    assert (row["account_id"], row["deal_id"]) == ("5", "6")
    assert (rows[str(bare)]["net_amount"], rows[str(bare)]["ordered_at"]) == (7, bench.clock.now())
    bills = [
        portal.create("invoices", {"hs_invoice_status": said, "hs_amount_billed": "50", "hs_invoice_date": "2026-11-02"})
        for said in ("draft", "open", "paid", "voided")
    ]
    named = {"entities": ("orders",), "orders_from": "invoices"}
    synced = bench.sync(MemorySync(), **named)
    rows = synced.live("orders")
    assert [rows[str(bill)]["status"] for bill in bills[1:]] == ["placed", "paid", "cancelled"]
    assert rows.keys() == {str(bill) for bill in bills[1:]}, "a draft is none"
    assert rows[str(bills[1])]["ordered_at"] == datetime(2026, 11, 1, 23, tzinfo=UTC)
    bench.later()
    with bench.connected(**named) as connector:
        assert connector.count("orders") == 3
        assert {
            native_id for page in connector.ids("orders", None, bench.clock.now()) for native_id, _ in page.ids
        } == rows.keys()
    portal.hidden.add(("invoices", "hs_invoice_status"))
    with pytest.raises(SchemaError, match="without the property hs_invoice_status"):
        bench.sync(MemorySync(), **named)


def test_answers_to_surveys_are_read_with_their_scales(bench):
    portal, at = bench.portal, bench.clock.now() - timedelta(hours=2)
    answers = [
        portal.create(
            "feedback_submissions",
            {"hs_survey_type": kind, "hs_value": "3", "hs_survey_id": "9", "hs_submission_timestamp": stamp(at),
             "hs_content": "Fine", "hs_contact_id": contact},
            links={"contacts": [33], "companies": [22], "tickets": [44]},
        )
        for kind, contact in (("NPS", "31"), ("CSAT", None), ("CES", None), ("CUSTOM", None))
    ]  # fmt: skip
    synced = bench.sync(MemorySync(), entities=("survey_responses",), survey_scales={"csat": (1, 3)})
    rows = synced.live("survey_responses")
    assert rows.keys() == {str(answer) for answer in answers[:3]}
    found = [rows[str(answer)] for answer in answers[:3]]
    assert [(row["kind"], row["score"], row["scale_min"], row["scale_max"], row["respondent_id"]) for row in found] == [
        ("nps", 3, 0, 10, "31"), ("csat", 3, 1, 3, "33"), ("ces", 3, 1, 7, "33"),
    ]  # fmt: skip
    row = found[0]
    assert (row["account_id"], row["ticket_id"], row["wave_id"], row["submitted_at"], row["comment"]) == (
        "22", "44", "9", at, "Fine",
    )  # fmt: skip


def test_exchange_rates_hold_until_the_next_one(bench):
    day = datetime(2026, 11, 2, 12, tzinfo=UTC)
    for days, rate in ((0, 0.9), (0.1, 0.91), (8, 0.95)):
        bench.portal.add_rate("USD", "EUR", rate, at=day + timedelta(days=days))
    bench.portal.add_rate("CHF", "EUR", 1.05, at=day)
    rows = bench.sync(MemorySync(), entities=("fx_rates",)).live("fx_rates").values()
    found = {(row["from_currency"], row["to_currency"], row["valid_from"]): (row["rate"], row["valid_to"]) for row in rows}
    assert found == {
        ("CHF", "EUR", date(2026, 11, 2)): (Decimal("1.05"), None),
        ("USD", "EUR", date(2026, 11, 2)): (Decimal("0.91"), date(2026, 11, 10)),
        ("USD", "EUR", date(2026, 11, 10)): (Decimal("0.95"), None),
    }


def test_stages_mean_what_the_configuration_says(bench):
    deal = str(bench.portal.create("deals", {"dealstage": "contractsent"}))
    stages = {"Angebot verschickt": "won", "closedlost": "open"}
    synced = bench.sync(MemorySync(), stages=stages)
    assert synced.live("deals")[deal]["state"] == "won"
    assert {row["native_id"]: row["state"] for row in synced.rows["stages"].values()} == {
        "appointmentscheduled": "open", "contractsent": "won", "closedwon": "won", "closedlost": "open",
    }  # fmt: skip


def test_tickets_are_closed_where_their_stage_is(bench):
    portal, closed = bench.portal, bench.clock.now() - timedelta(days=1)
    solved = portal.create("tickets", {"hs_pipeline_stage": "4", "closed_date": stamp(closed)})
    waiting = portal.create("tickets", {"hs_pipeline_stage": "1", "closed_date": ""})
    rows = bench.sync(MemorySync()).live("tickets")
    assert (rows[str(solved)]["status"], rows[str(solved)]["closed_at"]) == ("closed", closed)
    assert (rows[str(waiting)]["status"], rows[str(waiting)]["closed_at"]) == ("open", None)


def test_archived_records_are_marked_and_come_back_when_restored(bench):
    deals = bench.add(120)
    synced = bench.sync(MemorySync())
    (call, *_), archived_at = bench.portal.live("calls"), bench.clock.now()
    for deal in deals[:105]:  # more than a page
        bench.delete(deal)
    bench.portal.archive("calls", call)
    bench.later()
    bench.sync(synced)
    assert synced.live("deals").keys() == set(deals[105:])
    row = synced.rows["deals"][deals[0]]
    assert (row["deleted_at"], row["deleted_reason"]) == (archived_at, "deleted")
    assert synced.rows["activities"][f"call-{call}"]["deleted_at"] == archived_at
    bench.portal.restore("deals", int(deals[0]))
    bench.later()
    bench.sync(synced)
    assert synced.live("deals").keys() == {deals[0], *deals[105:]}


def test_a_merged_record_points_to_its_winner(bench):
    one, two, three = (add_company(bench.portal, number) for number in range(3))
    synced = bench.sync(MemorySync())
    bench.portal.merge("companies", one, two)
    bench.later()
    bench.portal.merge("companies", one, three)
    bench.later()
    bench.sync(synced)
    for loser in (two, three):
        row = synced.rows["accounts"][str(loser)]
        assert (row["deleted_reason"], row["merged_into_id"]) == ("merged", str(one))
    assert synced.live("accounts").keys() == {str(one)}


def test_links_of_open_deals_are_read_once_a_day(bench):
    portal = bench.portal
    opened = [portal.create("deals", {"dealstage": "contractsent", "pipeline": "default"}) for _ in range(60)]
    closed = portal.create("deals", {"dealstage": "closedwon", "pipeline": "default"})
    options = {"entities": ("deals",), "search_page_size": 25}
    bench.later()
    synced = bench.sync(MemorySync(), **options)

    def account(deal: int) -> str | None:
        return synced.live("deals")[str(deal)]["account_id"]

    for deal in (opened[0], opened[-1], closed):
        portal.link("deals", deal, companies=[4711])
    bench.later()
    bench.sync(synced, **options)
    assert account(opened[0]) is None
    bench.later(24 * 60)
    bench.sync(synced, stop_after=3, **options)  # what changed, and the first deals
    assert (account(opened[0]), account(opened[-1])) == ("4711", None)
    bench.later()
    before = len(bench.api.requests)
    bench.sync(synced, **options)
    assert (account(opened[-1]), account(closed)) == ("4711", None)
    assert sum("batch" in request.path and "objects" in request.path for request in bench.api.requests[before:]) == 2
    bench.later()
    before = len(bench.api.requests)
    bench.sync(synced, **options)
    assert not any("batch" in request.path for request in bench.api.requests[before:])
    portal.link("deals", opened[1], companies=[4711])
    bench.later(25 * 60)
    bench.sync(synced, open_deals_daily=59, **options)
    assert account(opened[1]) is None, "too many are open"


def test_only_the_wanted_pipelines_are_read(bench):
    bench.portal.add_pipeline("deals", "777", {"s1": ("Start", "false", "0.1")})
    inside = str(bench.portal.create("deals", {"dealstage": "s1", "pipeline": "777"}))
    outside = str(bench.portal.create("deals", {"dealstage": "contractsent", "pipeline": "default"}))
    options = {"pipelines": ("Pipeline 777",), "entities": ("deals",)}
    synced = bench.sync(MemorySync(), **options)
    assert synced.rows["deals"].keys() == {inside}
    assert {row["deal_id"] for row in synced.rows["deal_stage_history"].values()} == {inside}
    bench.later()
    bench.portal.edit("deals", int(inside), dealstage="contractsent", pipeline="default")
    bench.portal.edit("deals", int(outside), dealstage="s1", pipeline="777")
    bench.later()
    bench.sync(synced, **options)
    assert synced.live("deals").keys() == {outside}


def test_a_pipeline_that_does_not_exist_is_named_with_those_that_do(bench):
    with pytest.raises(SchemaError, match="no pipeline Nope") as caught:
        bench.sync(MemorySync(), pipelines=("Nope",))
    assert "Pipeline default" in str(caught.value)


def test_a_pipeline_added_during_the_sync_is_understood(bench):
    with bench.connected() as connector:
        synced = MemorySync()
        bench.add(1)
        synced.run(connector)
        bench.portal.add_pipeline("deals", "888", {"done": ("Fertig", "true", "1.0")})
        deal = str(bench.portal.create("deals", {"dealstage": "done", "pipeline": "888"}))
        bench.later()
        synced.run(connector)
    assert (synced.live("deals")[deal]["state"], synced.live("deals")[deal]["pipeline_id"]) == ("won", "888")


def test_a_stage_that_no_pipeline_knows_falls_back_on_hubspots_flags(bench):
    for flags, state in (
        ({"hs_is_closed": "true", "hs_is_closed_won": "true"}, "won"),
        ({"hs_is_closed": "true"}, "lost"),
        ({}, "open"),
    ):
        deal = bench.portal.create("deals", {"dealstage": "gone", "pipeline": "old", **flags})
        row = bench.sync(MemorySync()).live("deals")[str(deal)]
        assert (row["state"], row["pipeline_id"], row["stage_id"]) == (state, "old", "gone")


def test_own_fields_fill_columns_or_extra(bench):
    deal = str(bench.portal.create("deals", {"dealstage": "contractsent", "sales_region": "Nord", "branche": "Optik"}))
    fields = {"deals": {"region": "sales_region", "industry_code": "branche", "not_there": "unheard_of"}}
    synced = bench.sync(MemorySync(), fields=fields)
    row = synced.live("deals")[deal]
    assert synced.warnings == ["HubSpot's deals have no property unheard_of: what it fills stays empty"]
    assert row["region"] == "Nord"
    assert row["extra"] == {"industry_code": "Optik", "not_there": None}
    with bench.connected(fields=fields) as connector:
        warnings = [finding for finding in connector.check() if not finding.ok]
    assert [finding.warning for finding in warnings] == [True]
    assert "unheard_of" in warnings[0].text


def test_many_fields_are_asked_for_in_a_body(bench):
    bench.add(130)
    fields = {"deals": {f"own_{number}": f"a_rather_long_property_name_{number}" for number in range(300)}}
    synced = bench.sync(MemorySync(), fields=fields, entities=("deals",))
    assert synced.live("deals").keys() == bench.truth().keys()
    assert synced.live("deals")[next(iter(bench.truth()))]["account_id"] == str(bench.company)
    assert held_intervals(synced) == bench.intervals()
    assert max(len(str(request.query)) for request in bench.api.requests) < 4000


def test_deals_without_stages_are_an_error_not_a_zero(bench):
    bench.add(2)
    bench.portal.hidden.add(("deals", "dealstage"))
    with pytest.raises(SchemaError, match="dealstage"):
        bench.sync(MemorySync())


def test_a_missing_scope_names_itself_and_spares_the_others(bench):
    bench.add(2)
    bench.api.missing_scopes = {"tickets"}
    with bench.connected() as connector:
        with pytest.raises(SchemaError, match=r"crm\.objects\.tickets\.read") as caught:
            MemorySync().run(connector, entity="tickets")
        MemorySync().run(connector, entity="deals")
        findings = {finding.subject: finding for finding in connector.check()}
    assert not caught.value.transient
    assert [subject for subject, finding in findings.items() if not finding.ok] == ["crm: tickets"]
    assert "entities" in findings["crm: tickets"].hint


def test_a_scope_that_an_entity_lacks_is_named_and_spares_the_others(bench):
    bench.add(2)
    paths = {
        "products": "products", "deal_lines": "line_items", "orders": "orders", "survey_responses": "feedback_submissions",
        "fx_rates": "exchange-rates",
    }  # fmt: skip
    bench.api.missing_scopes = set(paths.values())
    synced = MemorySync()
    with bench.connected(entities=("deals", *paths)) as connector:
        findings = {finding.subject: finding for finding in connector.check()}
        for entity in paths:
            with pytest.raises(SchemaError, match="lacks a scope"):
                MemorySync().run(connector, entity=entity)
        synced.run(connector, entity="deals")
    assert len(synced.live("deals")) == 2
    assert {subject for subject, finding in findings.items() if not finding.ok} == {f"crm: {entity}" for entity in paths}
    assert all(paths[subject.removeprefix("crm: ")] in f.text for subject, f in findings.items() if not f.ok)


@pytest.mark.parametrize(("asked", "other"), [("orders", "invoices"), ("invoices", "orders")])
@pytest.mark.parametrize("is_known", [True, False])
def test_a_portal_without_orders_is_told_what_may_be_read_instead(bench, asked, other, is_known):
    if is_known:
        bench.api.missing_scopes = {asked}
    else:
        bench.api.unknown_objects = {asked}
    with bench.connected(entities=("deals", "orders"), orders_from=asked) as connector:
        (finding,) = (finding for finding in connector.check() if not finding.ok)
    assert (finding.subject, asked in finding.text) == ("crm: orders", True)
    assert f"`orders_from: {other}`" in finding.hint


def test_the_servers_clock_is_known_even_without_the_first_scope(bench):
    bench.api.missing_scopes = {"owners"}
    with bench.connected() as connector:
        assert connector.server_time() == bench.clock.now()


@pytest.mark.parametrize(("name", "wait"), [("TEN_SECONDLY_ROLLING", 10.0), ("SECONDLY", 1.0)])
def test_a_burst_limit_is_waited_out(bench, name, wait):
    bench.add(2)
    bench.api.fail(policy(name))
    assert len(bench.sync(MemorySync()).live("deals")) == 2
    assert wait in bench.clock.sleeps


@pytest.mark.parametrize(
    ("zone", "until"),
    [(None, datetime(2026, 11, 21, tzinfo=UTC)), ("America/New_York", datetime(2026, 11, 21, 5, tzinfo=UTC))],
)
def test_a_spent_day_defers_until_the_portals_midnight(bench, zone, until):
    bench.add(2)
    bench.api.fail(policy("DAILY"))
    with pytest.raises(DeferredError) as caught:
        bench.sync(MemorySync(), account_timezone=zone)
    assert caught.value.until == until
    assert bench.clock.sleeps == []


def test_a_spent_day_in_the_middle_keeps_what_was_read(bench):
    bench.add(180)
    synced = MemorySync()
    bench.api.fail(
        lambda request, answer: policy("DAILY")(request, answer) if request.arg("after") else answer, times=10**6, path="deals$"
    )
    with pytest.raises(DeferredError):
        bench.sync(synced)
    assert len(synced.rows["deals"]) == 50
    bench.api.forgive()
    calls = len(bench.api.requests)
    bench.later()
    bench.sync(synced)
    assert synced.live("deals").keys() == bench.truth().keys()
    resumed = [request for request in bench.api.requests[calls:] if request.path.endswith("/deals") and "after" in request.query]
    assert resumed
    assert "associations" in resumed[0].query


def test_a_revoked_refresh_token_is_an_auth_error(bench):
    bench.revoke()
    with pytest.raises(AuthError, match="token endpoint refused"):
        bench.sync(MemorySync())


def test_a_token_that_stays_opens_too_until_it_is_taken_away(bench):
    bench.add(2)
    login = {"auth": "token", "token": TOKEN}
    assert len(bench.sync(MemorySync(), **login).live("deals")) == 2
    assert not any("oauth" in request.path for request in bench.api.requests)
    bench.revoke()
    with pytest.raises(AuthError, match="401"):
        bench.sync(MemorySync(), **login)


def test_a_token_that_expires_in_the_middle_is_had_anew_and_a_rotated_one_is_kept(bench):
    bench.add(120)
    bench.api.tokens.life_calls, bench.api.tokens.rotate = 5, True
    assert bench.sync(MemorySync()).live("deals").keys() == bench.truth().keys()
    assert bench.api.tokens.given > 2
    assert bench.api.tokens.refresh_token != "refresh-fake-0"
    assert bench.sync(MemorySync()).live("deals").keys() == bench.truth().keys(), "with the token that was kept"


def test_a_next_token_that_repeats_ends_in_an_error(bench):
    bench.add(120)
    bench.api.fail(
        lambda _, answer: type(answer)(200, {"results": answer.body["results"], "paging": {"next": {"after": "1"}}}),
        times=10**6,
        path="deals$",
    )
    with pytest.raises(ConnectorError, match="circle"):
        bench.sync(MemorySync())


def test_a_search_that_stands_still_ends_in_an_error(bench):
    bench.add(3)
    synced = bench.sync(MemorySync())
    bench.add(3)
    bench.later()
    frozen = {"total": 9, "results": [{"id": "5", "properties": {}}], "paging": {"next": {"after": "1"}}}
    bench.api.fail(lambda _, answer: type(answer)(200, frozen), times=10**6, path="deals/search")
    with pytest.raises(ConnectorError, match="stands still"):
        bench.sync(synced)


@pytest.mark.parametrize("body", [{}, [], {"results": None}, {"results": ["x"]}, {"results": {"id": 1}}])
def test_an_odd_reply_is_an_error_not_a_zero(bench, body):
    bench.api.fail(faults.status(200, body), times=10**6, path="deals$")
    with pytest.raises(SchemaError):
        bench.sync(MemorySync())


def test_what_is_younger_than_the_index_lag_waits_for_the_next_sync(bench):
    bench.add(3)
    synced = bench.sync(MemorySync())
    cursor = synced.cursors["deals"]
    bench.sync(synced)
    assert synced.cursors["deals"] == cursor
    assert cursor["since"] <= (bench.clock.now() - timedelta(minutes=1)).isoformat()


def test_through_never_goes_back(bench):
    bench.add(3)
    with bench.connected() as connector:
        seen, cursor = [], None
        for minutes in (0.2, 0.2, 3, 0.1, 20):
            bench.later(minutes)
            for page in connector.pages("deals", cursor, bench.clock.now()):
                cursor = page.cursor
                seen.extend([page.through] if page.through else [])
    assert seen == sorted(seen)
    assert seen[-1] == bench.clock.now() - timedelta(minutes=1)


def test_quiet_syncs_are_cheap(bench):
    bench.add(100)
    synced = bench.sync(MemorySync())
    bench.later()
    before = len(bench.api.requests)
    bench.sync(synced)
    # a token, a clock, two of owners, one of pipelines; per type a search, its archived list and its merges
    assert len(bench.api.requests) - before <= 5 + 3 * 8


@pytest.mark.parametrize(
    "options",
    [{"token": None}, {"auth": "oauth"}, {"auth": "oauth", "client_id": "a", "client_secret": "b"}, {"entities": ()},
     {"entities": ("deal",)}, {"api_version": "v3"}, {"account_timezone": "Mars/Base"},
     {"fields": {"deal": {}}}, {"search_page_size": 500}, {"speed": "fast"}],
)  # fmt: skip
def test_wrong_settings_are_refused(options):
    with pytest.raises(ValidationError):
        HubSpotSettings(**{"token": "t", **options})


def test_the_token_is_never_shown():
    settings = HubSpotSettings(token=TOKEN)
    assert TOKEN not in repr(settings) + str(settings) + settings.model_dump_json()


def test_the_hook_declares_the_connector():
    (info,) = kpid_connectors()
    assert (info.connector.name, info.connector) == ("hubspot", HubSpotConnector)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_the_result_is_the_portal(seed):
    """Random edits, deletions, restores and merges between syncs that are killed, limited and spoiled at random."""
    chance = random.Random(seed)
    with HubSpotBench(entities=("accounts", "deals", "activities"), search_page_size=chance.choice([3, 50, 200])) as bench:
        fill(bench.portal, 40)
        synced = MemorySync()
        spoilers = [
            faults.bad_gateway,
            faults.cut,
            faults.half,
            faults.reset,
            faults.html_ok,
            lambda: policy("SECONDLY"),
            lambda: faults.limited("3"),
        ]
        for _ in range(14):
            for _ in range(chance.randint(0, 6)):
                disturb(bench, chance)
                bench.later(chance.choice([0, 0.01, 1, 7]))
            bench.api.forgive()
            for _ in range(chance.randint(0, 3)):
                bench.api.fail(chance.choice(spoilers)(), path=chance.choice(["", "search", "batch", "deals"]))
            bench.sync(synced, stop_after=chance.choice([None, 1, 2, 3, 5, 9]))
            bench.later(chance.choice([0, 2, 30]))
        bench.api.forgive()
        bench.later()
        bench.sync(synced)
        bench.sync(synced)  # the first may only have finished what a killed one began
        held = synced.live("deals")
        truth = bench.truth()
        assert held.keys() == truth.keys()
        for native_id, columns in truth.items():
            assert {name: held[native_id][name] for name in columns} == columns
        assert held_intervals(synced) == bench.intervals()
        assert synced.live("accounts").keys() == {str(number) for number in bench.portal.live("companies")}
        activities = {f"{kind[:-1]}-{number}" for kind in ACTIVITIES for number in bench.portal.live(kind)}
        assert synced.live("activities").keys() == activities
        before = {entity: {key: dict(row) for key, row in rows.items()} for entity, rows in synced.rows.items()}
        bench.later()
        bench.sync(synced)
        assert synced.rows == before


def disturb(bench: HubSpotBench, chance: random.Random) -> None:
    """One thing that people do in a CRM."""
    portal, kind = bench.portal, chance.choice(["deals", "deals", "companies", "calls", "meetings"])
    live, archived = sorted(portal.live(kind)), sorted(n for n in portal.archived(kind) if (kind, n) not in portal.merged)
    match chance.choice(["edit", "edit", "move", "add", "archive", "restore", "merge", "import"]):
        case "edit" if live:
            portal.edit(kind, chance.choice(live), dealname=f"Edited {chance.random()}")
        case "move" if portal.live("deals"):
            stage = chance.choice(["appointmentscheduled", "contractsent", "closedwon", "closedlost"])
            portal.edit("deals", chance.choice(sorted(portal.live("deals"))), dealstage=stage)
        case "add":
            add_deal(
                portal,
                chance.randint(1000, 9999),
                company=chance.choice(sorted(portal.records["companies"])),
                at=bench.clock.now(),
            )
        case "archive" if live:
            portal.archive(kind, chance.choice(live))
        case "restore" if archived:
            portal.restore(kind, chance.choice(archived))
        case "merge" if kind == "companies" and len(live) > 1:
            portal.merge(kind, *chance.sample(live, 2))
        case "import":
            bench.add(chance.randint(1, 30), same_instant=True)
