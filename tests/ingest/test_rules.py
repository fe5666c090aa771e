"""The rules by which nothing is lost, doubled or resurrected: R1 to R14 of the design, each by its own test."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kpid.errors import ConnectorError, DeferredError
from kpid.ingest.sync import SyncResult
from kpid.plugin import EntityReads
from kpid.store import problems, syncs
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse
from tests.ingest.scripted import START, ScriptedConnector, StillClock, deal, page

Sync = Callable[..., SyncResult]
HOUR = timedelta(hours=1)


def living(warehouse: DuckDBWarehouse, entity: str = "deals") -> list[str]:
    found = warehouse.query(f"SELECT native_id FROM {entity} WHERE deleted_at IS NULL ORDER BY native_id")
    return [row["native_id"] for row in found.to_pylist()]


def trouble(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return {problem.subject: problem.text for problem in problems.list_problems(connection)}


def test_r08_a_source_that_wants_to_be_left_alone_is(sync: Sync, store: Store, warehouse: DuckDBWarehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("users"), EntityReads("deals"), clock=clock)
    crm.script["users"] = [DeferredError("the day's requests are used up", START + 5 * HOUR, where="GET /users")]
    first = sync(crm)
    assert (first.ok, first.failed, first.deferred_until) == (False, False, START + 5 * HOUR)
    crm.asked.clear()
    clock.forward(4 * 3600)
    again = sync(crm)
    assert (crm.asked, again.entities) == ([], ()), "nobody is asked before the time"
    assert (again.ok, again.failed, again.deferred_until) == (False, False, START + 5 * HOUR)
    assert "the day's requests are used up" in (again.deferred_why or "")
    assert trouble(store) == {}
    crm.script["users"] = []
    crm.script["deals"] = [page(deal(1))]
    clock.forward(3600)
    assert sync(crm).ok
    assert living(warehouse) == ["1"]


@pytest.mark.parametrize("option", ["force", "full"])
def test_r08_a_person_may_ask_all_the_same(sync: Sync, option: str) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.script["deals"] = [DeferredError("the day's requests are used up", START + HOUR)]
    sync(crm)
    crm.script["deals"] = [page(deal(1))]
    assert sync(crm, **{option: True}).ok
    assert sync(crm).ok, "it was read: it waits no longer"


def test_r08_a_clock_that_cannot_be_asked_today_is_a_deferral(sync: Sync, store: Store) -> None:
    class Spent(ScriptedConnector):
        def server_time(self) -> Any:
            raise DeferredError("the day's requests are used up", START + HOUR)

    result = sync(Spent(EntityReads("deals")))
    assert (result.failed, result.deferred_until) == (False, START + HOUR)
    with store.read() as connection:
        assert syncs.deferred_until(connection, "crm") == START + HOUR
    assert trouble(store) == {}


def test_r08_a_failure_after_a_deferral_ends_the_waiting(sync: Sync) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.script["deals"] = [DeferredError("the day's requests are used up", START + HOUR)]
    sync(crm)
    crm.script["deals"] = [ConnectorError("gone away")]
    assert sync(crm, force=True).failed
    crm.script["deals"] = []
    assert sync(crm).ok


def test_since_reads_again_what_is_behind_the_mark(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals"), clock=clock)
    crm.script["deals"] = [page(deal(1), cursor={"at": 1})]
    sync(crm, since=START - HOUR)
    assert crm.asked[-1][1] is None, "what was never read is read from the beginning"
    clock.forward(7200)
    crm.script["deals"] = [page(deal(1), cursor={"at": 2}, through=START - HOUR)]
    sync(crm, since=START - HOUR)
    assert crm.asked[-1][1] == {"since": (START - HOUR).isoformat()}
    (mark,) = warehouse.watermarks()
    assert (mark.through, (mark.cursor or {})["read"]) == (START, {"at": 2}), "the mark never goes back"
    sync(crm, since=START + HOUR)
    assert crm.asked[-1][1] == {"at": 2}, "what is ahead of the mark would leave a hole"


def test_since_reads_all_where_the_source_cannot_begin_at_an_instant(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals"), EntityReads("users", mode="full", deletes="absence"))
    crm.can_begin_at_an_instant = False
    crm.script["deals"] = [page(deal(1), deal(2), cursor={"at": 1})]
    sync(crm)
    crm.script["deals"] = [page(deal(2), cursor={"at": 2})]
    result = sync(crm, since=START - HOUR)
    assert crm.asked[-2][1] is None
    assert [entity.notes for entity in result.entities] == [
        ("All deals are read again: the source cannot begin at an instant",),
        (),
    ]
    assert living(warehouse) == ["1", "2"], "nothing vanishes: it was not asked for"
