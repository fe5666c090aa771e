"""The sync of a source: cursors, batches, deletes, full reads, and every way in which a source can fail."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from kpid.errors import AuthError, ConfigError, ConnectorError, DeferredError
from kpid.ingest.sync import SyncResult
from kpid.plugin import DeletedPage, EntityReads, Page
from kpid.store import problems, syncs
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse
from tests.ingest.scripted import START, ScriptedConnector, StillClock, deal, gone, page

Sync = Callable[..., SyncResult]
DEALS = EntityReads("deals", deletes="pass")
FULL = EntityReads("deals", mode="full", deletes="absence")


def ids(warehouse: DuckDBWarehouse, entity: str = "deals") -> list[str]:
    found = warehouse.query(f"SELECT native_id FROM {entity} WHERE deleted_at IS NULL ORDER BY native_id")
    return [row["native_id"] for row in found.to_pylist()]


def trouble(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return {problem.subject: problem.text for problem in problems.list_problems(connection)}


def test_a_sync_stores_rows_under_the_source_and_moves_on(sync: Sync, warehouse: DuckDBWarehouse, store: Store) -> None:
    crm = ScriptedConnector(DEALS)
    crm.script["deals"] = [page(deal(1, owner_id=7, amount="10.50"), cursor={"at": 1}), page(deal(2), cursor={"at": 2})]
    result = sync(crm)
    assert (result.ok, result.rows, result.changed) == (True, 2, 2)
    assert warehouse.query("SELECT id, source_id, owner_id, amount FROM deals ORDER BY id").to_pylist() == [
        {"id": "crm:1", "source_id": "crm", "owner_id": "crm:7", "amount": Decimal("10.500000")},
        {"id": "crm:2", "source_id": "crm", "owner_id": None, "amount": None},
    ]
    (mark,) = warehouse.watermarks()
    assert (mark.cursor, mark.through, mark.finished_at) == ({"read": {"at": 2}}, START, START)
    with store.read() as connection:
        (run,) = syncs.latest(connection)
    assert (run.state, run.rows, run.changed, run.through) == ("done", 2, 2, START)
    crm.script["deals"] = []
    assert sync(crm).rows == 0
    assert crm.asked[-2] == ("deals", {"at": 2}, START)


def test_until_is_the_sources_own_time(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(DEALS)
    crm.server = START - timedelta(minutes=3)
    crm.script["deals"] = [page(deal(1), through=START + timedelta(hours=1))]
    sync(crm)
    assert {until for _, _, until in crm.asked} == {crm.server}
    assert warehouse.watermarks()[0].through == crm.server, "never complete beyond what was asked for"


def test_a_failure_keeps_what_was_read_and_goes_on_there(sync: Sync, warehouse: DuckDBWarehouse, store: Store) -> None:
    crm = ScriptedConnector(DEALS, EntityReads("users"))
    many = [page(*(deal(f"{p}-{i}") for i in range(5_000)), cursor={"page": p}, total=30_000) for p in range(1, 4)]
    crm.script["deals"] = [*many, ConnectorError("the answer was cut off", where="GET /deals")]
    crm.script["users"] = [page({"native_id": "7", "name": "Ada Example"}, entity="users")]
    heard: list[tuple[str, int, int | None]] = []
    result = sync(crm, every=timedelta(minutes=15), progress=lambda *what: heard.append(what))
    assert not result.ok
    assert [(e.entity, e.state, e.rows) for e in result.entities] == [("deals", "failed", 10_000), ("users", "done", 1)]
    assert heard[0] == ("crm/deals", 10_000, 30_000)
    mark = next(mark for mark in warehouse.watermarks() if mark.entity == "deals")
    assert (mark.cursor, mark.through) == ({"read": {"page": 2}}, None)
    assert trouble(store) == {"source:crm/deals": "GET /deals: the answer was cut off"}
    with store.read() as connection:
        assert "0:15:00" in problems.list_problems(connection)[0].hint
    crm.script["deals"] = many[2:]
    assert sync(crm).ok
    assert crm.asked[-3][:2] == ("deals", {"page": 2})
    assert len(ids(warehouse)) == 15_000
    assert trouble(store) == {}


def test_a_slow_source_is_stored_every_few_seconds(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(DEALS, clock=clock)
    stored: list[int] = []

    def slowly() -> Iterator[Page]:
        for number in range(6):
            clock.forward(3)
            stored.append(len(ids(warehouse)))
            yield page(deal(number), cursor={"n": number})

    crm.script["deals"] = slowly()  # type: ignore[assignment]
    sync(crm)
    assert stored == [0, 0, 2, 2, 4, 4]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (KeyError("amount"), "failed with KeyError: 'amount'"),
        (ZeroDivisionError("password=hunter2-example"), "ZeroDivisionError: password=***"),
        (StopIteration(), "failed with RuntimeError"),
    ],
)
def test_a_fault_in_a_plugin_is_a_clear_line(sync: Sync, store: Store, warehouse: DuckDBWarehouse, fault: Any, text: str) -> None:
    crm = ScriptedConnector(EntityReads("deals"), EntityReads("users"))
    crm.script["deals"] = [page(deal(1), cursor={"n": 1}), fault]
    crm.script["users"] = [page({"native_id": "7"}, entity="users")]
    result = sync(crm)
    assert [entity.state for entity in result.entities] == ["failed", "done"]
    assert text in trouble(store)["source:crm/deals"]
    assert "hunter2" not in trouble(store)["source:crm/deals"]


def test_undeclared_rows_are_the_plugins_fault(sync: Sync, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.script["deals"] = [page({"native_id": "1"}, entity="users")]
    sync(crm)
    assert "without saying so in `carries`" in trouble(store)["source:crm/deals"]


def test_refused_credentials_end_the_sources_sync(sync: Sync, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("users"), EntityReads("deals"))
    crm.script["users"] = [AuthError("the token was refused", hint="Make a new token")]
    result = sync(crm)
    assert [(e.entity, e.state) for e in result.entities] == [("users", "failed")]
    assert set(trouble(store)) == {"source:crm", "source:crm/users"}
    crm.script = {}
    assert sync(crm).ok
    assert trouble(store) == {}


def test_a_spent_budget_is_deferred_not_a_problem(sync: Sync, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("users"), EntityReads("deals"))
    reset = START + timedelta(hours=5)
    crm.script["users"] = [DeferredError("the daily limit is reached", reset)]
    result = sync(crm)
    assert (result.ok, result.deferred_until, [e.state for e in result.entities]) == (False, reset, ["deferred"])
    assert trouble(store) == {}


def test_a_source_that_cannot_be_asked_at_all_is_recorded(sync: Sync, store: Store) -> None:
    class Broken(ScriptedConnector):
        def server_time(self) -> datetime | None:
            raise ConnectorError("nobody answers", where="https://crm.example.com")

    result = sync(Broken(DEALS))
    assert (result.ok, result.entities) == (False, ())
    assert trouble(store) == {"source:crm": "https://crm.example.com: nobody answers"}


def test_only_the_named_entities_are_read(sync: Sync) -> None:
    crm = ScriptedConnector(EntityReads("users"), EntityReads("deals"))
    sync(crm, entities=["deals"])
    assert [entity for entity, _, _ in crm.asked] == ["deals"]
    with pytest.raises(ConfigError, match="Did you mean 'deals'"):
        sync(crm, entities=["deal"])


def test_deletes_are_a_second_pass_with_a_cursor_of_its_own(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(DEALS)
    crm.script["deals"] = [page(deal(1), deal(2), deal(3), cursor={"at": 3})]
    at = START - timedelta(hours=2)
    crm.deletions["deals"] = [
        DeletedPage([gone(1, at=at)], cursor={"d": 1}),
        DeletedPage([gone(2, reason="merged", merged_into="3"), gone(99)], cursor={"d": 2}),
    ]
    assert sync(crm).deletes == 2
    assert ids(warehouse) == ["3"]
    marked = warehouse.query(
        "SELECT native_id, deleted_at, deleted_reason, merged_into_id FROM deals WHERE native_id < '3' ORDER BY 1"
    )
    assert [tuple(row.values()) for row in marked.to_pylist()] == [("1", at, "deleted", None), ("2", START, "merged", "crm:3")]
    crm.script["deals"], crm.deletions["deals"] = [page(deal(1), cursor={"at": 4})], []
    sync(crm)
    assert crm.asked[-1] == ("-deals", {"d": 2}, START)
    assert ids(warehouse) == ["1", "3"], "a record that is seen alive again lives"


def test_rows_may_carry_their_deletion_inline(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals", deletes="inline"))
    crm.script["deals"] = [page(deal(1, deleted_at="2026-03-01T00:00:00Z", deleted_reason="archived"), deal(2))]
    sync(crm)
    assert ids(warehouse) == ["2"]


def test_what_a_full_read_no_longer_meets_has_vanished(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(FULL)
    crm.script["deals"] = [page(deal(1), deal(2)), page(deal(3))]
    sync(crm)
    crm.script["deals"] = [page(deal(1)), page(deal(3))]
    assert sync(crm).deletes == 1
    assert ids(warehouse) == ["1", "3"]
    assert crm.asked[-1][1] is None
    crm.script["deals"] = [page(deal(1), deal(2), deal(3))]
    sync(crm)
    assert ids(warehouse) == ["1", "2", "3"]
    assert warehouse.query("SELECT * FROM seen").num_rows == 0


def test_an_incomplete_full_read_lets_nothing_vanish(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(FULL)
    crm.script["deals"] = [page(deal(1), deal(2), deal(3), deal(4))]
    sync(crm)
    crm.script["deals"] = [
        page(deal(1), *(deal(f"new{i}") for i in range(10_000)), cursor={"done": 1}),
        ConnectorError("gone away"),
    ]
    sync(crm)
    assert {"1", "2", "3", "4"} < set(ids(warehouse))
    crm.script["deals"] = [page(deal(3))]  # goes on after what was stored: 1 and the new ones are known to be there
    assert sync(crm).deletes == 2
    assert crm.asked[-1][1] == {"done": 1}
    assert {"1", "2", "3", "4"} & set(ids(warehouse)) == {"1", "3"}


def test_a_full_read_that_had_to_restart_forgets_what_it_met(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(FULL)
    crm.script["deals"] = [page(*(deal(i) for i in range(10_000)), cursor={"done": 1}), ConnectorError("gone away")]
    sync(crm)
    crm.script["deals"] = [page(deal(1), deal(2), restarted=True)]
    sync(crm)
    assert ids(warehouse) == ["1", "2"]


def test_an_unchanged_source_moves_the_mark_and_nothing_else(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(FULL, clock=clock)
    crm.script["deals"] = [page(deal(1), deal(2), cursor={"print": "x"})]
    sync(crm)
    clock.forward(3600)
    crm.script["deals"] = [Page({}, cursor={"print": "x"}, unchanged=True)]
    assert sync(crm).deletes == 0
    assert ids(warehouse) == ["1", "2"]
    assert warehouse.watermarks()[0].through == START + timedelta(hours=1)


def test_no_rows_where_there_were_rows_is_suspicious(sync: Sync, warehouse: DuckDBWarehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(FULL, clock=clock)
    crm.script["deals"] = [page(deal(1), deal(2), cursor={"print": "x"})]
    sync(crm)
    clock.forward(3600)
    crm.script["deals"] = [page(cursor={"print": "y"})]
    result = sync(crm)
    assert result.deletes == 0
    assert "gave no deals at all, though 2 are stored" in result.entities[0].warnings[0]
    assert ids(warehouse) == ["1", "2"]
    assert (warehouse.watermarks()[0].through, warehouse.watermarks()[0].cursor) == (START, None), (
        "the data grows stale meanwhile"
    )
    assert "source:crm/deals" in trouble(store)
    crm.script["deals"] = [page(deal(2), deal(3))]
    sync(crm)
    assert ids(warehouse) == ["2", "3"]
    assert trouble(store) == {}
    crm.script["deals"] = []
    sync(crm, full=True)
    assert ids(warehouse) == [], "asked for expressly, an empty source is believed"


def test_full_forgets_the_cursor(sync: Sync) -> None:
    crm = ScriptedConnector(DEALS)
    crm.script["deals"] = [page(deal(1), cursor={"at": 1})]
    sync(crm)
    sync(crm, full=True)
    assert crm.asked[-2][:2] == ("deals", None)


def test_a_page_without_cursor_does_not_move_an_incremental_read(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(DEALS)
    crm.script["deals"] = [page(deal(1), cursor={"at": 1})]
    sync(crm)
    crm.script["deals"] = [page(*(deal(i) for i in range(10_001))), ConnectorError("gone away")]
    sync(crm)
    assert warehouse.watermarks()[0].cursor == {"read": {"at": 1}}


def test_carried_rows_get_a_mark_of_their_own(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals", history="full", carries=("deal_stage_history",)))
    crm.script["deals"] = [
        Page(
            {"deals": [deal(1)], "deal_stage_history": [{"native_id": "1:a", "deal_id": "1", "stage_id": "s1", "origin": "crm"}]}
        )
    ]
    sync(crm)
    assert [(m.entity, m.through) for m in warehouse.watermarks()] == [("deal_stage_history", START), ("deals", START)]
    assert warehouse.query("SELECT id, deal_id, stage_id FROM deal_stage_history").to_pylist() == [
        {"id": "crm:1:a", "deal_id": "crm:1", "stage_id": "crm:s1"}
    ]


def test_stages_are_observed_where_the_crm_keeps_no_history(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", history="since_sync"), clock=clock)
    times = [START - timedelta(days=3), START + timedelta(minutes=50), None]
    for stage, updated in zip(("s1", "s2", "s3"), times, strict=True):
        crm.script["deals"] = [page(deal(1, stage_id=stage, updated_at=updated), deal(2, stage_id="s1"), deal(3))]
        sync(crm)
        sync(crm)
        clock.forward(3600)
    found = warehouse.query("SELECT deal_id, stage_id, valid_from, valid_to, origin FROM deal_stage_history ORDER BY valid_from")
    moved, last = times[1], START + timedelta(hours=2)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("crm:1", "crm:s1", times[0], moved, "observed"),
        ("crm:1", "crm:s2", moved, last, "observed"),
        ("crm:1", "crm:s3", last, None, "observed"),
    ]


def test_unchanged_rows_touch_no_days(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(DEALS)
    crm.script["deals"] = [page(deal(1, closed_at="2026-02-03"), deal(2))]
    sync(crm)
    position = warehouse.changes(0).position
    assert sync(crm).changed == 0
    assert warehouse.changes(position).days == {}
    crm.script["deals"] = [page(deal(1, closed_at="2026-02-10"))]
    sync(crm)
    assert warehouse.changes(position).days["deals", "closed_at"] == {date(2026, 2, 2), date(2026, 2, 9)}, (
        "midnight in Berlin, in UTC"
    )


def test_bad_values_are_counted_and_cleared_by_a_complete_read(sync: Sync, warehouse: DuckDBWarehouse, store: Store) -> None:
    crm = ScriptedConnector(FULL)
    crm.script["deals"] = [page(deal(1, amount="a lot"), deal(2, amount="also"), deal(3, amount="5"), {"native_id": None})]
    result = sync(crm)
    assert result.rows == 3
    assert trouble(store) == {
        "data:crm:deals/amount": "2 rows of deals: not a number: 'a lot', for example 1",
        "data:crm:deals/native_id": "1 row of deals: rows without an id, left out, for example row 4 of its page",
    }
    assert "deals.amount: not a number: 'a lot' (2 rows)" in result.entities[0].warnings
    crm.script["deals"] = [page(deal(1, amount="1"), deal(2, amount="2"))]
    sync(crm)
    assert trouble(store) == {}


def test_flaws_of_the_data_are_noted_and_cleared(sync: Sync, warehouse: DuckDBWarehouse, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    later = START + timedelta(days=40)
    crm.script["deals"] = [
        page(
            deal(1, state="won", closed_at=later, amount=None),
            deal(2, state="won", closed_at=datetime(2025, 1, 1, tzinfo=UTC), amount=1),
            deal(3, state="lost"),
            deal(4, state="???", created_at=None, currency="euro"),
        )
    ]
    sync(crm)
    assert trouble(store) == {
        "data:deals/amount missing": "1 deal is won without an amount, for example crm:1",
        "data:deals/closed_at before created_at": "1 deal was closed before it was created, for example crm:2",
        "data:deals/closed_at in the future": "1 deal is closed in the future, for example crm:1",
        "data:deals/closed_at missing": "1 deal is won or lost without a close date, for example crm:3",
        "data:deals/created_at missing": "1 deal has no creation date, for example crm:4",
        "data:deals/currency unknown": "1 deal has a currency that is not an ISO code, for example crm:4",
        "data:deals/state unknown": "1 deal has a state that is not open, won or lost, for example crm:4",
    }
    assert warehouse.query("SELECT amount, closed_at FROM deals WHERE native_id = '1'").to_pylist() == [
        {"amount": None, "closed_at": later}
    ]
    crm.script["deals"] = [page(*(deal(i) for i in range(1, 5)))]
    sync(crm)
    assert trouble(store) == {}


def test_runs_of_a_killed_process_are_closed(sync: Sync, store: Store) -> None:
    with store.write() as connection:
        syncs.start(connection, "crm", "deals", START)
        syncs.start(connection, "other", "deals", START)
    sync(ScriptedConnector(EntityReads("users")))
    with store.read() as connection:
        assert [(run.source, run.entity, run.state) for run in syncs.latest(connection)] == [
            ("crm", "deals", "failed"),
            ("crm", "users", "done"),
            ("other", "deals", "running"),
        ]
        assert len(syncs.list_runs(connection, "crm")) == 2
