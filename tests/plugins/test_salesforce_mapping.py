"""What Salesforce's fields mean."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from kpid_salesforce.commerce_rows import rate_row
from kpid_salesforce.history import history_rows
from kpid_salesforce.mapping import MAPPERS, account_row, deal_row
from kpid_salesforce.soql import literal, quoted, soql
from kpid_salesforce.values import Place, midnight

from kpid.plugin.entities import ENTITIES

BERLIN = Place(ZoneInfo("Europe/Berlin"), "EUR")
TABLES = {
    "Account": "accounts", "Contact": "contacts", "Lead": "leads", "Opportunity": "deals", "Task": "activities",
    "Event": "activities", "Case": "tickets", "Product2": "products", "OpportunityLineItem": "deal_lines", "Order": "orders",
    "OrderItem": "order_lines", "reductions": "refunds", "Contract": "subscriptions",
    "Campaign": "campaigns", "CampaignMember": "campaign_members",
    "CampaignInfluence": "attributions", "EmailMessage": "activities", "VoiceCall": "activities",
}  # fmt: skip


@pytest.mark.parametrize("name", MAPPERS)
def test_a_blank_record_has_canonical_columns(name):
    row = MAPPERS[name]({"Id": "1"}, BERLIN)
    assert row.keys() <= set(ENTITIES[TABLES[name]].c.keys())


@pytest.mark.parametrize(
    ("website", "domain"),
    [
        ("https://www.example.com/about", "example.com"), ("example.com", "example.com"), ("WWW.Example.com", "example.com"),
        ("http://[broken", None), ("  ", None), (None, None),
    ],
)  # fmt: skip
def test_a_website_has_a_domain(website, domain):
    assert account_row({"Id": "1", "Website": website}, BERLIN)["domain"] == domain


@pytest.mark.parametrize(
    ("kind", "lifecycle"),
    [
        ("Customer - Direct", "customer"), ("Prospect", "prospect"), ("Channel Partner / Reseller", "partner"),
        ("Competitor", "competitor"), ("Other", None), (None, None),
    ],
)  # fmt: skip
def test_a_type_of_account_is_a_lifecycle(kind, lifecycle):
    assert account_row({"Id": "1", "Type": kind}, BERLIN)["lifecycle"] == lifecycle


def test_a_deal_without_the_date_of_its_last_move_was_closed_on_its_close_date():
    record = {"Id": "1", "IsClosed": True, "IsWon": False, "CloseDate": "2026-07-01"}
    row = deal_row(record, BERLIN)
    assert (row["state"], row["closed_at"]) == ("lost", "2026-07-01T00:00:00+02:00")
    assert (row["expected_close_date"], row["crm_close_date"]) == (None, "2026-07-01")


def test_an_open_deal_is_expected_on_its_close_date():
    record = {"Id": "1", "IsClosed": False, "IsWon": False, "CloseDate": "2026-07-01", "LastStageChangeDate": "2026-01-01"}
    row = deal_row(record, BERLIN)
    assert (row["state"], row["closed_at"], row["expected_close_date"]) == ("open", None, "2026-07-01")


@pytest.mark.parametrize("odd", ["soon", 5, None])
def test_what_is_no_day_stays_as_it_is(odd):
    assert midnight(odd, ZoneInfo("UTC")) == odd


def test_a_stage_that_is_entered_twice_has_two_intervals():
    def version(number, stage, at):
        return {"Id": f"008{number}", "OpportunityId": "006", "StageName": stage, "CreatedDate": at, "Amount": Decimal("10.0")}

    moves = [("A", "1"), ("B", "2"), ("B", "3"), ("A", "4"), ("C", "5"), ("B", "5")]
    rows = history_rows(version(number, *move) for number, move in enumerate(moves))["deal_stage_history"]
    assert [(row["stage_id"], row["valid_from"], row["valid_to"]) for row in rows] == [
        ("A", "1", "2"), ("B", "2", "4"), ("A", "4", "5"), ("B", "5", None),
    ]  # fmt: skip


def test_what_is_written_later_for_an_instant_takes_the_place_of_what_was_read_before():
    def version(number, stage, at):
        return {"Id": f"008{number}", "OpportunityId": "006", "StageName": stage, "CreatedDate": at}

    early = [version(1, "A", "1"), version(2, "B", "2")]
    before, after = (history_rows(found)["deal_stage_history"] for found in (early, [*early, version(3, "A", "2")]))
    assert [row["native_id"] for row in before] == [row["native_id"] for row in after]
    assert [row["stage_id"] for row in after] == ["A", "A"]


def test_a_field_has_a_history_from_its_first_value_on():
    amounts = [(None, "1"), (Decimal("5.0"), "2"), (None, "3")]
    records = [
        {"Id": at, "OpportunityId": "006", "StageName": "A", "CreatedDate": at, "Amount": amount} for amount, at in amounts
    ]
    rows = history_rows(records)["deal_field_history"]
    assert [(row["value"], row["valid_from"], row["valid_to"]) for row in rows] == [("5", "2", "3"), (None, "3", None)]


def test_a_rate_of_zero_is_none():
    assert rate_row({"Id": "1", "IsoCode": "USD", "ConversionRate": Decimal(0)}, "EUR") is None


def test_queries_are_written_as_salesforce_reads_them():
    assert soql((), "Account") == "SELECT COUNT() FROM Account"
    assert soql(("Id",), "X", ("a = 1", "b = 2"), ("Id",), 5) == "SELECT Id FROM X WHERE a = 1 AND b = 2 ORDER BY Id LIMIT 5"
    assert quoted("O'Brien\\") == "'O\\'Brien\\\\'"
    assert literal(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05Z"
    assert literal(datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)) == "2026-01-02T03:04:05.678Z"
