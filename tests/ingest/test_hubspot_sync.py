"""HubSpot's API into the warehouse: what a portal holds is what the canonical tables hold, through edits and deletes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from kpid_hubspot import HubSpotConnector, HubSpotSettings

from kpid.ingest.sync import SyncResult, sync_source
from kpid.plugin import Secret, SourceContext
from kpid.store import problems
from kpid.store.engine import Store
from kpid.testing import FakeClock
from kpid.testing.hubspot import TOKEN, FakeHubSpot
from kpid.testing.hubspot_life import fill
from kpid.testing.hubspot_portal import HubSpotPortal, stamp
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb


class AheadClock:
    """Our own clock, ahead of HubSpot's."""

    def __init__(self, clock: FakeClock, ahead: timedelta) -> None:
        self._clock, self._ahead = clock, ahead
        self.monotonic, self.sleep = clock.monotonic, clock.sleep

    def now(self) -> datetime:
        return self._clock.now() + self._ahead


class Office:
    """A portal, its API, and a warehouse that follows it."""

    def __init__(self, folder: Path, api: FakeHubSpot, clock: FakeClock, warehouse: DuckDBWarehouse, store: Store) -> None:
        self.folder, self.api, self.clock, self.warehouse, self.store = folder, api, clock, warehouse, store
        self.skew = timedelta()
        """How far our own clock is ahead of HubSpot's."""

    def sync(self, *, full: bool = False) -> SyncResult:
        self.clock.advance(timedelta(minutes=15))
        settings = HubSpotSettings(token=Secret(TOKEN), base_url=self.api.url, allow_private=True)
        ours = AheadClock(self.clock, self.skew)
        connector = HubSpotConnector(settings, SourceContext("crm", ZoneInfo("Europe/Berlin"), self.folder, ours, "EUR"))
        try:
            return sync_source("crm", connector, warehouse=self.warehouse, store=self.store, clock=ours, full=full)
        finally:
            connector.close()

    def living(self, entity: str) -> set[str]:
        rows = self.warehouse.query(f"SELECT native_id FROM {entity} WHERE deleted_at IS NULL").to_pylist()
        return {row["native_id"] for row in rows}


@contextmanager
def office(folder: Path) -> Iterator[tuple[Office, HubSpotPortal]]:
    clock = FakeClock()
    portal = HubSpotPortal(clock)
    fill(portal, 120)
    warehouse, store = open_duckdb(folder / "crm.duckdb"), Store(f"sqlite:///{folder}/kpid.db")
    store.create()
    with FakeHubSpot(portal, clock=clock) as api:
        yield Office(folder, api, clock, warehouse, store), portal
    warehouse.close()
    store.close()


def test_the_tables_follow_the_portal(tmp_path: Path) -> None:
    with office(tmp_path) as (crm, portal):
        first = crm.sync()
        assert first.ok, first
        assert crm.living("deals") == {str(number) for number in portal.live("deals")}
        assert crm.living("accounts") == {str(number) for number in portal.live("companies")}
        orphans = crm.warehouse.query("SELECT * FROM deal_stage_history h ANTI JOIN deals d ON h.deal_id = d.id")
        assert orphans.num_rows == 0
        lost_owners = crm.warehouse.query(
            "SELECT * FROM deals d ANTI JOIN users u ON d.owner_id = u.id WHERE d.owner_id IS NOT NULL"
        )
        assert lost_owners.num_rows == 0

        changed, removed, *_ = sorted(portal.live("deals"))
        portal.edit("deals", changed, dealname="Renamed", dealstage="closedwon", closedate=stamp(crm.clock.now()))
        portal.archive("deals", removed)
        second = crm.sync()
        assert second.ok, second
        assert crm.living("deals") == {str(number) for number in portal.live("deals")}
        row = crm.warehouse.query("SELECT name, state FROM deals WHERE native_id = $1", [str(changed)]).to_pylist()
        assert row == [{"name": "Renamed", "state": "won"}]

        third = crm.sync()
        assert (third.ok, third.changed, third.deletes) == (True, 0, 0)
        with crm.store.read() as connection:
            assert not [p for p in problems.list_problems(connection) if p.subject.startswith("source:")]
