"""What years of other people's connectors teach about a CRM's API, held against HubSpot's through the whole sync."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from kpid.store import problems
from kpid.testing import faults
from kpid.testing.hubspot_life import add_deal
from kpid.testing.hubspot_portal import stamp
from tests.ingest.test_hubspot_sync import Office, office
from tests.vendors.hubspot import ACTIVITIES


def trouble(crm: Office) -> dict[str, str]:
    with crm.store.read() as connection:
        return {p.subject: p.text for p in problems.list_problems(connection) if p.subject.startswith("source:")}


def mark(crm: Office, entity: str = "deals") -> Any:
    return next(mark for mark in crm.warehouse.watermarks() if mark.entity == entity)


def one(crm: Office, entity: str, number: int, columns: str) -> dict[str, Any]:
    (row,) = crm.warehouse.query(f"SELECT {columns} FROM {entity} WHERE native_id = $1", [str(number)]).to_pylist()
    return dict(row)


def test_our_clock_does_not_count(tmp_path: Path) -> None:
    """Ours is two hours ahead: what changes meanwhile by HubSpot's clock is found all the same."""
    with office(tmp_path) as (crm, portal):
        crm.skew = timedelta(hours=2)
        assert crm.sync().ok
        through = mark(crm).through
        assert through <= portal.clock.now(), "complete no further than HubSpot's own time"
        deal = min(portal.live("deals"))
        portal.clock.advance(timedelta(minutes=1))
        portal.edit("deals", deal, dealname="Changed a minute later")
        assert crm.sync().ok
        assert one(crm, "deals", deal, "name") == {"name": "Changed a minute later"}


def test_a_clock_that_was_set_back_loses_nothing(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        before = mark(crm).through
        crm.clock.set(crm.clock.now() - timedelta(hours=3))
        crm.sync()
        assert mark(crm).through == before, "the mark never goes back"
        crm.clock.set(crm.clock.now() + timedelta(hours=3, minutes=1))
        deal = min(portal.live("deals"))
        portal.edit("deals", deal, dealname="After the clock was right again")
        assert crm.sync().ok
        assert one(crm, "deals", deal, "name") == {"name": "After the clock was right again"}


def test_a_failed_sync_moves_no_mark(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        before = mark(crm)
        portal.edit("deals", min(portal.live("deals")), dealname="Unseen yet")
        crm.api.fail(faults.status(500), times=99, path="deals")
        assert not crm.sync().ok
        assert (mark(crm).through, mark(crm).cursor) == (before.through, before.cursor)
        assert mark(crm, "accounts").through > before.through, "the other entities went on"
        crm.api.forgive()
        assert crm.sync().ok
        assert one(crm, "deals", min(portal.live("deals")), "name") == {"name": "Unseen yet"}
        assert trouble(crm) == {}


def test_a_property_that_is_gone_empties_its_column_and_says_so_until_it_is_back(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        deal = next(number for number, record in portal.live("deals").items() if record.properties["amount"])
        portal.hidden.add(("deals", "amount"))
        portal.edit("deals", deal, dealname="Changed")
        result = crm.sync()
        assert result.ok
        assert "HubSpot's deals have no property amount: what it fills stays empty" in trouble(crm)["source:crm/deals"]
        assert one(crm, "deals", deal, "name, amount") == {"name": "Changed", "amount": None}
        portal.hidden.clear()
        portal.edit("deals", deal, dealname="Changed again")
        crm.sync()
        assert one(crm, "deals", deal, "amount")["amount"] is not None
        assert trouble(crm) == {}


def test_a_pipeline_that_is_archived_keeps_its_names_and_its_deals_their_state(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        stages = {"old-open": ("Alt offen", "false", "0.1"), "old-won": ("Alt gewonnen", "true", "1.0")}
        portal.add_pipeline("deals", "old", stages)
        company = min(portal.live("companies"))
        deal = add_deal(portal, 1, company=company, at=crm.clock.now())
        portal.edit("deals", deal, pipeline="old", dealstage="old-won", closedate=stamp(crm.clock.now()))
        crm.sync()
        kept = portal.pipelines["deals"].pop()
        crm.sync()
        assert one(crm, "deals", deal, "state, stage_id") == {"state": "won", "stage_id": "crm:old-won"}
        stage = crm.warehouse.query("SELECT name, state, deleted_reason FROM stages WHERE native_id = 'old-won'").to_pylist()
        assert stage == [{"name": "Alt gewonnen", "state": "won", "deleted_reason": "vanished"}]
        portal.pipelines["deals"].append(kept)
        crm.sync()
        back = crm.warehouse.query("SELECT deleted_at FROM stages WHERE native_id = 'old-won'").to_pylist()
        assert back == [{"deleted_at": None}]


def test_an_owner_who_left_stays_with_their_deals(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        owner = portal.owners[0]
        owner["archived"] = True
        crm.sync()
        number = int(owner["id"])
        assert one(crm, "users", number, "is_active, deleted_at") == {"is_active": False, "deleted_at": None}


def test_no_owner_at_all_is_not_believed(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        gone, portal.owners = portal.owners, []
        through = mark(crm, "users").through
        crm.sync()
        assert "gave no users at all, though 4 are stored" in trouble(crm)["source:crm/users"]
        assert mark(crm, "users").through == through
        assert len(crm.living("users")) == 4
        portal.owners = gone
        crm.sync()
        assert trouble(crm) == {}


def test_what_belonged_to_a_merged_company_belongs_to_the_winner(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        winner, loser = sorted(portal.live("companies"))[:2]
        company = add_deal(portal, 77, company=loser, at=crm.clock.now())
        crm.sync()
        portal.merge("companies", winner, loser)
        crm.sync()
        crm.sync()
        assert one(crm, "deals", company, "account_id") == {"account_id": f"crm:{winner}"}
        assert one(crm, "accounts", loser, "deleted_reason, merged_into_id") == {
            "deleted_reason": "merged",
            "merged_into_id": f"crm:{winner}",
        }
        for entity in ("deals", "contacts", "activities", "tickets"):
            left = crm.warehouse.query(f"SELECT id FROM {entity} WHERE account_id = $1", [f"crm:{loser}"])
            assert left.num_rows == 0, entity
        assert crm.sync().changed == 0


def test_a_record_removed_without_a_trace_is_found_by_a_full_sync(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        deal = min(portal.live("deals"))
        history = crm.warehouse.query("SELECT count(*) AS n FROM deal_stage_history").to_pylist()
        portal.purge("deals", deal)
        crm.sync()
        assert str(deal) in crm.living("deals"), "HubSpot tells nobody"
        assert crm.sync(full=True).deletes == 1
        assert one(crm, "deals", deal, "deleted_reason") == {"deleted_reason": "vanished"}
        assert crm.warehouse.query("SELECT count(*) AS n FROM deal_stage_history").to_pylist() == history
        assert crm.living("deals") == {str(number) for number in portal.live("deals")}


def test_after_a_gap_longer_than_the_bin_everything_is_read_again(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        first, second, *_ = sorted(portal.live("deals"))
        portal.archive("deals", first)
        crm.clock.advance(timedelta(days=91))
        portal.archive("deals", second)
        assert crm.sync().ok
        assert crm.living("deals") == {str(number) for number in portal.live("deals")}
        assert one(crm, "deals", first, "deleted_reason") == {"deleted_reason": "vanished"}
        assert one(crm, "deals", second, "deleted_reason") == {"deleted_reason": "deleted"}
        reads = len(crm.api.requests)
        crm.sync()
        assert len(crm.api.requests) - reads < 40, "the next sync is an ordinary one"


def test_a_sync_cut_off_among_the_deletes_goes_on_there(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        crm.sync()
        gone = sorted(portal.live("calls"))[:110]
        for number in gone:
            portal.archive("calls", number)
        crm.api.fail(faults.status(500), times=99, path="meetings$")
        result = crm.sync()
        assert [e.state for e in result.entities if e.entity == "activities"] == ["failed"]
        assert "meetings" in trouble(crm)["source:crm/activities"]
        crm.api.forgive()
        assert crm.sync().ok
        assert crm.living("activities") == {f"{kind[:-1]}-{number}" for kind in ACTIVITIES for number in portal.live(kind)}


def test_errors_say_what_where_and_what_to_do(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, _portal):
        crm.api.missing_scopes.add("tickets")
        crm.api.fail(faults.bad_gateway(), times=99, path="companies")
        crm.sync()
        with crm.store.read() as connection:
            found = {p.subject: (p.text, p.hint) for p in problems.list_problems(connection) if p.subject.startswith("source:")}
        text, hint = found["source:crm/tickets"]
        assert ("crm.objects.tickets.read" in text, "private app" in hint) == (True, True)
        text, hint = found["source:crm/accounts"]
        assert "502" in text
        assert "/companies" in text
        assert "next sync" in hint
