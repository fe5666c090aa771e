"""HubSpot's campaigns and what became of its marketing e-mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from kpid_hubspot.mailing import AT_ONCE

from kpid.plugin import ConnectorError, SchemaError
from kpid.testing import MemorySync, faults
from kpid.testing.hubspot_marketing import Marketing
from tests.vendors.hubspot import HubSpotBench

SENDS = {"entities": ("email_sends",)}
CAMPAIGNS = {"entities": ("campaigns",)}


@pytest.fixture
def bench() -> Iterator[HubSpotBench]:
    with HubSpotBench() as bench:
        yield bench


@pytest.fixture
def marketing(bench: HubSpotBench) -> Marketing:
    return bench.api.marketing


def test_campaigns_come_with_what_was_spent(bench, marketing):
    entered = datetime(2026, 9, 3, 23, tzinfo=UTC)
    marketing.add_campaign(
        "guid-1", spent={"Ads": (4100.5, entered), "Stand": (900, entered)}, hs_name="Autumn", hs_start_date="2026-09-01",
        hs_end_date="2026-10-31", hs_campaign_status="active", hs_owner="70114500",
    )  # fmt: skip
    for number in range(60):
        marketing.add_campaign(f"bare-{number}", hs_name=f"Campaign {number}")
    synced = bench.sync(MemorySync(), **CAMPAIGNS)
    assert len(synced.live("campaigns")) == 61
    row = synced.live("campaigns")["guid-1"]
    assert (row["name"], row["status"], row["owner_id"], row["starts_on"], row["ends_on"]) == (
        "Autumn", "active", "70114500", date(2026, 9, 1), date(2026, 10, 31),
    )  # fmt: skip
    costs = synced.live("campaign_costs")
    assert {key: (row["campaign_id"], row["date"], row["amount"], row["currency"]) for key, row in costs.items()} == {
        "guid-1-1": ("guid-1", date(2026, 9, 4), Decimal("4100.5"), "EUR"),
        "guid-1-2": ("guid-1", date(2026, 9, 4), Decimal(900), "EUR"),
    }
    marketing.campaigns.pop(0)
    bench.sync(synced, **CAMPAIGNS)
    assert "guid-1" not in synced.live("campaigns")


def test_a_portal_without_campaigns_has_none(bench):
    assert bench.sync(MemorySync(), **CAMPAIGNS).live("campaigns") == {}


def test_an_email_is_one_row_with_all_that_became_of_it(bench, marketing):
    start = bench.clock.now() - timedelta(days=2)

    def after(hours: float) -> datetime:
        return start + timedelta(hours=hours)

    sent = marketing.log("SENT", mailing=7, at=start)
    told: list[tuple[str, float, dict[str, Any]]] = [
        ("DELIVERED", 0.1, {}), ("OPEN", 0.2, {"filteredEvent": True}), ("OPEN", 3, {}), ("CLICK", 3.1, {}),
        ("CLICK", 3.05, {"filteredEvent": True}), ("OPEN", 9, {"obsoletedBy": {"id": "x", "created": 1}}),
        ("STATUSCHANGE", 5, {"portalSubscriptionStatus": "UNSUBSCRIBED"}), ("SPAMREPORT", 6, {}),
    ]  # fmt: skip
    for kind, hours, more in told:
        marketing.log(kind, mailing=7, at=after(hours), sent=sent, **more)
    bounced = marketing.log("SENT", mailing=7, at=start, recipient="bob@example.com")
    marketing.log("BOUNCE", mailing=7, at=after(1), sent=bounced, status="5.1.1")
    rows = bench.sync(MemorySync(), **SENDS).live("email_sends")
    assert rows.keys() == {sent, bounced}
    row = rows[sent]
    assert (row["message_id"], row["recipient_id"], row["sent_at"], row["updated_at"]) == (
        "7",
        "ada@example.com",
        start,
        after(6),
    )
    assert (row["delivered_at"], row["first_open_at"], row["open_count"], row["machine_open_count"]) == (
        after(0.1), after(0.2), 2, 1,
    )  # fmt: skip
    assert (row["first_click_at"], row["click_count"], row["bot_click_count"]) == (after(3.05), 2, 1)
    assert (row["unsubscribed_at"], row["complained_at"], row["bounced_at"]) == (after(5), after(6), None)
    assert (rows[bounced]["bounced_at"], rows[bounced]["bounce_kind"]) == (after(1), "hard")


def test_what_happens_later_is_added_and_quiet_mailings_are_left_alone(bench, marketing):
    sent_at = bench.clock.now() - timedelta(hours=2)
    first, second = (marketing.log("SENT", mailing=mailing, at=sent_at) for mailing in (7, 8))
    synced = bench.sync(MemorySync(), **SENDS)
    bench.later(240)
    marketing.log("OPEN", mailing=8, sent=second)
    bench.later(1)
    before = len(bench.api.requests)
    bench.sync(synced, **SENDS)
    rows = synced.live("email_sends")
    assert (rows[first]["open_count"], rows[second]["open_count"]) == (0, 1)
    asked = [request.arg("campaignId") for request in bench.api.requests[before:] if "events" in request.path]
    assert asked == ["", "", "8"], "the clock, what happened, and the mailing to which it happened"
    bench.clock.advance(timedelta(days=40))
    marketing.log("CLICK", mailing=8, sent=second)
    bench.later(1)
    kept = {key: dict(row) for key, row in rows.items()}
    bench.sync(synced, **SENDS)
    assert synced.live("email_sends") == kept, "what was sent long ago stays as it is stored"


def test_a_large_mailing_comes_in_pages_and_goes_on_where_it_was_killed(bench, marketing):
    at = bench.clock.now() - timedelta(hours=3)
    for number in range(AT_ONCE + 10):
        marketing.log("SENT", mailing=7, at=at, recipient=f"reader{number}@example.com")
    for mailing in (5, 9):
        marketing.log("SENT", mailing=mailing, at=at)
    synced, pages = MemorySync(), 0
    while synced.cursors.get("email_sends", {}).keys() != {"since"}:
        bench.sync(synced, stop_after=1 + pages // 4, **SENDS)
        pages += 1
    assert len(synced.live("email_sends")) == AT_ONCE + 12


@pytest.mark.parametrize("body", [{}, [], {"events": None}, {"events": ["x"]}])
def test_an_odd_log_is_an_error(bench, marketing, body):
    bench.api.fail(faults.status(200, body), times=10**6, path="events$")
    with pytest.raises(SchemaError):
        bench.sync(MemorySync(), **SENDS)


def test_a_log_that_goes_in_a_circle_is_an_error(bench, marketing):
    marketing.log("SENT", mailing=7)
    bench.later()
    bench.api.fail(
        lambda _, answer: type(answer)(200, {**answer.body, "hasMore": True, "offset": "1"}), times=10**6, path="events$"
    )
    with pytest.raises(ConnectorError, match="circle"):
        bench.sync(MemorySync(), **SENDS)


def test_missing_scopes_of_marketing_are_named_and_spare_the_rest(bench):
    bench.add(2)
    bench.api.missing_scopes = {"campaigns", "email"}
    synced = MemorySync()
    with bench.connected(entities=("deals", "campaigns", "email_sends")) as connector:
        bad = {finding.subject for finding in connector.check() if not finding.ok}
        for entity in ("campaigns", "email_sends"):
            with pytest.raises(SchemaError, match="lacks a scope"):
                synced.run(connector, entity=entity)
        synced.run(connector, entity="deals")
    assert bad == {"crm: campaigns", "crm: email_sends"}
    assert len(synced.live("deals")) == 2
