"""What rows of Dynamics 365 mean."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from kpid_dynamics365 import DynamicsSettings
from kpid_dynamics365.mapping import deal_row
from kpid_dynamics365.values import LOGICAL, Place

from kpid.testing import MemorySync
from kpid.testing.bench import connected, later, sync_into
from kpid.testing.crm_life import fill
from tests.vendors.dynamics import DynamicsBench

ZONE = ZoneInfo("Europe/Berlin")
MIDNIGHT = datetime(2026, 11, 20, tzinfo=ZONE)


@pytest.fixture
def bench() -> Iterator[DynamicsBench]:
    with DynamicsBench() as bench:
        yield bench


def synced(bench: DynamicsBench, **options) -> MemorySync:
    held = MemorySync()
    sync_into(bench, held, **options)
    return held


def test_every_kind_of_row_looks_as_it_should(bench):
    fill(bench.crm, 100)
    held = synced(bench)
    deal = next(key for key, row in bench.crm.living("deals").items() if row.values["state"] == "lost" and row.values["amount"])
    record, row = bench.crm.living("deals")[deal], held.live("deals")[deal]
    assert (row["currency"], row["pipeline_id"], row["stage_id"]) == (record.values["currency"], "sales", "lost")
    assert (row["loss_reason"], row["probability"]) == ("Preis", 0)
    is_open = {key for key, row in held.live("deals").items() if row["state"] == "open"}
    expected = {key: one.values.get("expected_close_date") for key, one in bench.crm.living("deals").items() if key in is_open}
    told = {key: held.live("deals")[key]["expected_close_date"] for key in is_open}
    assert told == {key: day and day.isoformat() for key, day in expected.items()}
    calls = [row for row in held.live("activities").values() if row["type"] == "call"]
    assert {row["duration_s"] for row in calls} == {180}
    assert {row["direction"] for row in calls} == {"inbound", "outbound"}
    assert {row["status"] for row in held.live("activities").values()} == {"completed", "planned"}
    assert {row["direction"] for row in held.live("activities").values() if row["type"] == "task"} == {"unknown"}
    account = next(iter(held.live("accounts").values()))
    assert (account["lifecycle"], account["industry"], account["country"]) == ("customer", "Maschinenbau", "DE")
    assert account["domain"].endswith(".example.com")
    assert not account["domain"].startswith("www.")
    cost = next(iter(held.live("campaign_costs").values()))
    starts = (bench.clock.now() - timedelta(days=90)).date().isoformat()
    assert (cost["amount"], cost["currency"], cost["date"], cost["scope"]) == (4100, "EUR", starts, "marketing")
    lead = next(row for row in held.live("leads").values() if row["converted_deal_id"])
    assert lead["status"] == "qualified"
    assert lead["converted_at"] == held.live("deals")[lead["converted_deal_id"]]["created_at"]


@pytest.mark.parametrize(
    ("told", "column", "value"),
    [
        ({"statecode": 1, "actualvalue": None, "estimatedvalue": 5}, "amount", 5),
        ({"statecode": 1, "actualvalue": 7, "estimatedvalue": 5}, "amount", 7),
        ({"statecode": 0, "actualvalue": 7, "estimatedvalue": 5}, "amount", 5),
        ({"statecode": 9}, "state", "open"),
        ({"statecode": 0, "stageid": None}, "stage_id", None),
        ({"closeprobability": 40}, "probability", Decimal("0.4")),
        (
            {"statecode": 2, "actualclosedate": "2026-11-20"},
            "closed_at",
            MIDNIGHT,
        ),
        ({"statecode": 2, "actualclosedate": "no day"}, "closed_at", "no day"),
        ({"statecode": 2, "actualclosedate": None}, "closed_at", "2026-11-20T13:05:09Z"),
        ({"_customerid_value": "c", f"_customerid_value@{LOGICAL}": "contact"}, "account_id", None),
        ({"_customerid_value": "c", f"_customerid_value@{LOGICAL}": "contact"}, "primary_contact_id", "c"),
    ],
)
def test_opportunities_are_understood(told, column, value):
    record = {"opportunityid": "d", "createdon": "2026-10-02T07:11:00Z", "modifiedon": "2026-11-20T13:05:09Z", **told}
    assert deal_row(record, Place(ZONE, "EUR"))[column] == value


def test_the_choice_of_the_stage_may_be_the_sales_stage(bench):
    deal = bench.add(1)[0]
    held = synced(bench, stage_field="salesstage")
    assert held.live("deals")[deal]["stage_id"] == "salesstage-1"
    names = {key: row["name"] for key, row in held.live("stages").items()}
    assert names == {"salesstage-0": "Qualifizieren", "salesstage-1": "Entwickeln", "won": "Won", "lost": "Lost"}


def test_the_scope_is_that_of_the_environment():
    usual = {"tenant": "example.onmicrosoft.com", "client_id": "a", "client_secret": "b"}
    settings = DynamicsSettings(base_url="https://example.api.crm4.dynamics.com/api/data/v9.2/", **usual)
    assert settings.scope == "https://example.crm4.dynamics.com/.default"
    assert (
        DynamicsSettings(base_url="https://example.crm.dynamics.com", **usual).scope
        == "https://example.crm.dynamics.com/.default"
    )


def test_rates_hold_since_they_were_set_and_older_ones_stay(bench):
    held = synced(bench)
    day = (bench.clock.now() - timedelta(days=900)).date().isoformat()
    first = {(row["from_currency"], row["to_currency"], row["valid_from"]): row["rate"] for row in held.live("fx_rates").values()}
    assert first.keys() == {("USD", "EUR", day), ("CHF", "EUR", day)}
    assert round(first["USD", "EUR", day], 6) == Decimal("0.919963")
    bench.api.currencies.rates["USD"] = (Decimal("1.25"), bench.clock.now())
    later(bench)
    sync_into(bench, held)
    rates = {row["native_id"]: row["rate"] for row in held.live("fx_rates").values()}
    assert len(rates) == 3
    assert rates[f"USD-{bench.clock.now().date()}"] == Decimal("0.8")
    assert rates[f"USD-{day}"] == first["USD", "EUR", day]


@pytest.mark.parametrize("tells", [True, False])
def test_labels_are_asked_for_where_they_are_used(bench, tells):
    """They are half of an answer. Without the metadata's word for a reason each deal brings it."""
    bench.api.tells_reasons = tells
    fill(bench.crm, 30)
    held = synced(bench)
    with connected(bench.connector()) as connector:
        list(connector.ids("deals", None, bench.clock.now()))
    assert {row["loss_reason"] for row in held.live("deals").values() if row["state"] == "lost"} == {"Preis"}
    told: dict[str, set[tuple[str, ...]]] = {"opportunities": set(), "accounts": set(), "phonecalls": set(), "systemusers": set()}
    for request in bench.api.requests:
        prefer = request.headers.get("Prefer", "")
        if (name := request.path.rpartition("/")[2]) in told:
            told[name].add(tuple(said for said in ("FormattedValue", "lookuplogicalname") if said in prefer))
    both, lookups = ("FormattedValue", "lookuplogicalname"), ("lookuplogicalname",)
    assert told == {
        "opportunities": {lookups if tells else both, ()},  # ids alone have neither
        "accounts": {both},
        "phonecalls": {lookups},
        "systemusers": {()},
    }
