"""What weavy's rows become."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from kpid_divalto_weavy.mapping import instant

from kpid.plugin import SchemaError
from kpid.testing.bench import connected, first_sync, later, sync_into
from kpid.testing.crm_life import add_ticket, fill
from tests.vendors.weavy import WeavyBench

PARIS, HELSINKI = ZoneInfo("Europe/Paris"), ZoneInfo("Europe/Helsinki")


@pytest.fixture
def bench() -> Iterator[WeavyBench]:
    with WeavyBench() as bench:
        yield bench


def only(bench, entity, **options):
    """The only row of an entity, and what was warned of."""
    with connected(bench.connector(entities=[entity], **options)) as connector:
        pages = list(connector.pages(entity, None, bench.clock.now()))
    (row,) = [row for page in pages for row in page.rows[entity]]
    return SimpleNamespace(**row, all=row, warnings=[text for page in pages for text in page.warnings])


def test_a_deal_gets_its_columns(bench):
    crm = bench.crm
    user = crm.create("users", {"name": "Ada Example", "email": "ada@example.com"})
    account = crm.create("accounts", {"name": "Example Works", "owner_id": user})
    contact = crm.create("contacts", {"name": "Ben Example", "account_id": account})
    values = {"owner_id": user, "primary_contact_id": contact, "expected_close_date": date(2026, 12, 24), "lead_id": "L9"}
    deal = crm.add_deal(account=account, amount=Decimal("1200.50"), **values)
    bench.clock.advance(timedelta(hours=3))
    crm.move(deal, "lost")
    row = only(bench, "deals").all
    assert row == {
        "native_id": deal, "name": "Example deal 1", "account_id": account, "primary_contact_id": contact, "lead_id": "L9",
        "owner_id": user, "pipeline_id": "PROJECT", "stage_id": crm.stage_ids["lost"], "state": "lost",
        "amount": Decimal("1200.5"), "currency": "EUR", "probability": Decimal(0), "expected_close_date": "2026-12-24",
        "closed_at": "2026-11-20T12:00:00Z", "created_at": "2026-11-20T09:00:00Z", "updated_at": "2026-11-20T12:00:00Z",
        "loss_reason": "Prix",
    }  # fmt: skip


def test_an_open_deal_is_not_closed_whatever_its_closing_date(bench):
    bench.crm.add_deal(closed_at=bench.clock.now())
    deal = only(bench, "deals")
    assert (deal.state, deal.closed_at, deal.loss_reason) == ("open", None, None)
    assert deal.probability == Decimal("0.2")


def test_a_status_that_nobody_named_counts_as_open_and_is_told(bench):
    bench.crm.add_deal(status="OPPORTUNITY_STATUS-7")
    deal = only(bench, "deals")
    assert deal.state == "open"
    assert deal.warnings[0] == "deals have the status OPPORTUNITY_STATUS-7, which `states` does not name: they count as open"
    assert only(bench, "deals", states={"opportunity_status-7": "won"}).state == "won"
    assert only(bench, "deals", states={"opportunity_status-7": "won"}).warnings == []


def test_a_status_may_be_named_by_its_label(bench):
    bench.crm.add_deal(status="FR")  # any code of any pick list
    assert only(bench, "deals", states={"france": "lost"}).state == "lost"
    assert "FR (France)" in only(bench, "deals").warnings[0]


def test_steps_may_decide_by_label_or_code(bench):
    bench.crm.move(bench.crm.add_deal(), "talks")
    assert only(bench, "deals", stages={"Verhandlung": "won"}).state == "won"
    assert only(bench, "deals", stages={bench.crm.stage_ids["talks"]: "lost"}).state == "lost"
    assert only(bench, "deals", stages={"Angebot": "won"}).state == "open"
    with connected(bench.connector(stages={"Beaftragt": "won", "Verhandlung": "won"})) as connector:
        (told,) = [finding for finding in connector.check() if not finding.ok]
        (page,) = connector.pages("pipelines", None, bench.clock.now())
    assert "no step Beaftragt" in told.text
    assert [row["state"] for row in page.rows["stages"] if row["name"] == "Verhandlung"] == ["won"]


def test_own_fields_fill_columns_or_go_into_extra(bench):
    deal = bench.crm.add_deal()
    bench.weavy.own["deal"] = {"zone_c": {deal: "Sud"}, "score_c": {deal: 7.5}, "signed_c": {deal: "2026-11-01 08:00:00"}}
    bench.weavy.own["deal"] |= {"amountBis": {deal: 50.25}, "number_c": {deal: 12}}
    own = {"region": "zone_c", "score": "score_c", "opened_at": "signed_c", "amount": "amountBis", "product": "number_c"}
    row = only(bench, "deals", fields={"deals": own})
    assert (row.region, row.extra, row.opened_at) == ("Sud", {"score": "7.5"}, "2026-11-01T08:00:00Z")
    assert (row.amount, row.product) == (Decimal("50.25"), "12")


def test_a_field_that_came_later_is_among_what_is_asked(bench):
    with connected(bench.connector()) as connector, connected(bench.connector(fields={"deals": {"region": "zone_c"}})) as new:
        assert new.asks("deals") - connector.asks("deals") == {"zone_c"}
        assert new.since("deals", bench.clock.now()) == {"since": "2026-11-20T09:00:00+00:00"}
        assert new.since("users", bench.clock.now()) is None


def test_only_deals_of_the_named_types_are_read_and_those_that_leave_are_gone(bench):
    kept = bench.crm.add_deal(deal_type="SERVICE")
    left = bench.crm.add_deal(deal_type="SERVICE")
    other = bench.crm.add_deal()
    options = {"pipelines": ["Services"], "entities": ["deals"]}
    with connected(bench.connector(**options)) as connector:
        listed = [native_id for page in connector.ids("deals", None, bench.clock.now()) for native_id, _ in page.ids]
        fetched = [row["native_id"] for page in connector.fetch("deals", [kept, other]) for row in page.rows["deals"]]
    assert (listed, fetched) == ([kept, left], [kept])
    bench.chosen = options
    held = first_sync(bench)
    assert held.live("deals").keys() == {kept, left}
    bench.crm.edit("deals", left, deal_type="PROJECT")
    later(bench)
    sync_into(bench, held)
    assert held.live("deals").keys() == {kept}


def test_without_the_field_of_types_no_deal_is_taken_for_another(bench):
    bench.chosen = {"pipelines": ["Affaires"], "entities": ["deals"]}
    bench.add(3)
    held = first_sync(bench)
    bench.api.hidden.add(("deal", "generictype_ID_dealType"))
    for reconcile in (False, True):
        with pytest.raises(SchemaError, match="by which `pipelines` tells deals apart"):
            sync_into(bench, held, reconcile=reconcile)
    assert len(held.live("deals")) == 3
    bench.weavy.own["deal"] = {"kind_c": dict.fromkeys(held.live("deals"), "SERVICE")}
    later(bench)
    sync_into(bench, held, pipelines=["Services"], fields={"deals": {"pipeline_id": "kind_c"}})
    assert {row["pipeline_id"] for row in held.live("deals").values()} == {"SERVICE"}


def test_a_list_of_types_that_is_called_otherwise_is_told_with_those_that_there_are(bench):
    with connected(bench.connector(pipeline_type="typeAffaire")) as connector:
        (page,) = connector.pages("pipelines", None, bench.clock.now())
    assert "no pick list is called typeAffaire" in page.warnings[0]
    assert "dealStatus, dealType" in page.warnings[0]
    with connected(bench.connector(pipeline_type="typeAffaire", stages={"Angebot": "won"})) as connector:
        assert "state" in connector.fills()["stages"]


def test_a_type_that_was_renamed_is_told_with_those_that_there_are(bench):
    bench.add(1)
    with connected(bench.rename_pipeline()) as connector:
        with pytest.raises(SchemaError, match="Vieilles affaires") as caught:
            list(connector.pages("deals", None, bench.clock.now()))
        (told,) = [finding for finding in connector.check() if not finding.ok]
    assert "Affaires (PROJECT)" in caught.value.hint
    assert told.hint == caught.value.hint


def test_a_customer_gets_its_lifecycle_and_country(bench):
    bench.crm.create("accounts", {"name": "Example Works", "customer_type": "PROSPECT"})
    account = only(bench, "accounts")
    assert (account.lifecycle, account.country, account.created_at) == ("prospect", "France", "2026-11-20T09:00:00Z")
    assert only(bench, "accounts", customer_types={"Prospect": "partner"}).lifecycle == "partner"


def test_leads_events_interventions_and_contracts_are_read_if_named(bench):
    fill(bench.crm, 60)
    bench.chosen = {"entities": ["leads", "activities", "tickets", "subscriptions"]}
    held = first_sync(bench)
    crm = bench.crm
    kinds = {"leads": "leads", "activities": "calls", "tickets": "tickets", "subscriptions": "orders"}
    for entity, kind in kinds.items():
        assert held.live(entity).keys() == crm.living(kind).keys()
    closed = {key for key, record in crm.living("tickets").items() if record.values.get("closed_at")}
    assert {key for key, row in held.live("tickets").items() if row["status"] == "closed" and row["closed_at"]} == closed
    assert {row["interval"] for row in held.live("subscriptions").values()} == {"month"}
    assert {row["amount"] for row in held.live("subscriptions").values()} == {Decimal("99.5")}
    assert {row["company"] for row in held.live("leads").values()} == {"Example Start"}
    assert {(row["type"], row["status"]) for row in held.live("activities").values()} == {("call", "completed")}
    assert not held.warnings


def test_an_event_gets_its_type_and_status_and_a_time(bench):
    at = bench.clock.now()
    bench.crm.create(
        "calls", {"subject": "Démo", "scheduled_start": at, "event_type": "VIS", "event_status": "ANN", "deal_id": "D1"}
    )
    event = only(bench, "activities")
    assert (event.type, event.status, event.occurred_at, event.deal_id) == (None, "completed", "2026-11-20T09:00:00Z", "D1")
    assert "type VIS" in event.warnings[0]
    named = only(bench, "activities", activity_types={"Visite client": "meeting"}, activity_states={"Annulé": "cancelled"})
    assert (named.type, named.status, named.warnings) == ("meeting", "cancelled", [])


def test_statuses_of_interventions_may_be_named(bench):
    bench.crm.random.seed(3)
    while not bench.crm.kinds["tickets"].get(ticket := add_ticket(bench.crm)).values.get("closed_at"):
        bench.crm.purge("tickets", ticket)
    assert only(bench, "tickets", ticket_states={"Terminée": "pending"}).closed_at is None
    assert only(bench, "tickets", ticket_states={"DONE": "solved"}).status == "solved"


def test_a_frequency_that_nobody_named_is_told(bench):
    bench.crm.create("orders", {"net_amount": Decimal(9), "frequency": "F3"})
    contract = only(bench, "subscriptions")
    assert contract.interval is None
    assert "frequency F3" in contract.warnings[0]
    assert only(bench, "subscriptions", frequencies={"F3": "quarter"}).interval == "quarter"


@pytest.mark.parametrize(
    ("told", "zone", "wanted"),
    [
        ("2026-10-02T09:00:00", ZoneInfo("UTC"), "2026-10-02T09:00:00Z"),
        ("2026-10-02 09:00:00", ZoneInfo("UTC"), "2026-10-02T09:00:00Z"),
        ("2026-10-02 09:00:00", PARIS, datetime(2026, 10, 2, 7, tzinfo=UTC)),
        ("2026-10-02T09:00:00.250", PARIS, datetime(2026, 10, 2, 7, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-10-02T09:00:00Z", PARIS, datetime(2026, 10, 2, 9, tzinfo=UTC)),
        ("2026-10-02", PARIS, datetime(2026, 10, 1, 21, tzinfo=UTC)),
        ("0001-01-01T00:00:00", PARIS, None),
        ("", PARIS, None),
        (None, PARIS, None),
        ("soon", PARIS, "soon"),
        (7, PARIS, "7"),
    ],
)
def test_times_without_a_zone_are_the_servers(told, zone, wanted):
    assert instant(told, zone, HELSINKI) == wanted


def test_the_change_of_a_row_is_told_in_utc_whatever_the_servers_zone(bench):
    bench.weavy.zone = PARIS
    bench.crm.add_deal()
    assert only(bench, "deals", server_timezone="Europe/Paris").updated_at == "2026-11-20T09:00:00Z"


def test_what_it_fills_follows_from_the_settings(bench):
    with connected(bench.connector(entities=["deals"], fields={"deals": {"region": "zone_c", "score": "s"}})) as connector:
        filled = connector.fills()
    assert filled.keys() == {"deals"}
    assert {"native_id", "region", "currency", "closed_at"} <= filled["deals"]
    assert not {"score", "deal_ID_origin"} & filled["deals"]
    with connected(bench.connector(entities=["pipelines"])) as connector:
        assert connector.fills().keys() == {"pipelines", "stages"}
        assert connector.capabilities() == {"pipelines": "full", "stages": "full"} | dict(connector.capabilities())
