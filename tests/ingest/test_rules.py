"""The rules by which nothing is lost, doubled or resurrected: R1 to R14 of the design, each by its own test."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from kpid.errors import ConnectorError, DeferredError
from kpid.ingest.merging import references
from kpid.ingest.sync import SyncResult
from kpid.plugin import DeletedPage, EntityReads
from kpid.store import problems, syncs
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse
from tests.ingest.scripted import START, ScriptedConnector, StillClock, deal, gone, page

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


ACCOUNTS = EntityReads("accounts", deletes="pass")


def accounts_of(warehouse: DuckDBWarehouse) -> dict[str, str]:
    found = warehouse.query("SELECT native_id, account_id FROM deals WHERE account_id IS NOT NULL").to_pylist()
    return {row["native_id"]: row["account_id"].partition(":")[2] for row in found}


def account(number: int | str, **values: Any) -> dict[str, Any]:
    return {"native_id": str(number), "name": "Example Ltd", **values}


def test_r06_a_merge_among_the_rows_moves_what_refers_to_the_loser(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("accounts", deletes="inline"), EntityReads("deals"))
    crm.script["accounts"] = [page(account(1), account(2), account(3, parent_id="1"), entity="accounts")]
    crm.script["deals"] = [page(deal(10, account_id="1"), deal(11, account_id="2"), deal(12, account_id="3"))]
    sync(crm)
    crm.script["accounts"] = [page(account(1, merged_into_id="2", updated_at=START), entity="accounts")]
    crm.script["deals"] = [page(deal(13, account_id="1"))]
    sync(crm)
    assert accounts_of(warehouse) == {"10": "2", "11": "2", "12": "3", "13": "2"}, "also of a deal that is read later"
    assert living(warehouse, "accounts") == ["2", "3"]
    columns = "native_id, parent_id, deleted_at, deleted_reason, merged_into_id"
    rows = warehouse.query(f"SELECT {columns} FROM accounts WHERE native_id <> '2' ORDER BY native_id").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("1", None, START, "merged", "crm:2"),
        ("3", "crm:2", None, None, None),
    ]
    assert sync(crm).changed == 0


def test_r06_a_chain_of_merges_ends_at_the_last_winner(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(ACCOUNTS, EntityReads("deals"))
    crm.script["accounts"] = [page(*(account(i) for i in range(1, 5)), entity="accounts")]
    crm.script["deals"] = [page(*(deal(i, account_id=i) for i in range(1, 5)))]
    sync(crm)
    crm.script = {}
    crm.deletions["accounts"] = [DeletedPage([gone(1, merged_into="2")]), DeletedPage([gone(2, merged_into="3")])]
    sync(crm)
    assert accounts_of(warehouse) == {"1": "3", "2": "3", "3": "3", "4": "4"}
    crm.deletions = {}
    crm.script["deals"] = [page(deal(5, account_id="1"))]
    sync(crm)
    assert accounts_of(warehouse)["5"] == "3", "the alias outlives the sync that told it"


def test_r06_a_merged_record_that_was_never_seen_is_known_by_its_stub(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(ACCOUNTS, EntityReads("deals"))
    crm.script["accounts"] = [page(account(2), entity="accounts")]
    crm.deletions["accounts"] = [DeletedPage([gone(1, merged_into="2"), gone(9)])]
    sync(crm)
    crm.script, crm.deletions = {"deals": [page(deal(10, account_id="1"))]}, {}
    sync(crm)
    assert accounts_of(warehouse) == {"10": "2"}
    rows = warehouse.query("SELECT native_id, deleted_reason, merged_into_id, is_test FROM accounts ORDER BY native_id")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [("1", "merged", "crm:2", True), ("2", None, None, False)]


def test_r06_a_loser_that_is_seen_alive_again_is_no_alias_any_more(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(ACCOUNTS, EntityReads("deals"))
    crm.deletions["accounts"] = [DeletedPage([gone(1, merged_into="2")])]
    sync(crm)
    crm.deletions = {}
    crm.script = {"accounts": [page(account(1), entity="accounts")], "deals": [page(deal(10, account_id="1"))]}
    sync(crm)
    assert living(warehouse, "accounts") == ["1"]
    assert accounts_of(warehouse) == {"10": "1"}


def test_r06_a_row_that_refers_twice_to_a_loser_is_moved_whole(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("users", deletes="pass"), EntityReads("accounts"))
    twice = [name for name, target in references("users") if target == "users"]
    crm.script["users"] = [page({"native_id": "9", **dict.fromkeys(twice, "1")}, entity="users")]
    sync(crm)
    crm.script, crm.deletions["users"] = {}, [DeletedPage([gone(1, merged_into="2")])]
    sync(crm)
    (row,) = warehouse.query(f"SELECT {', '.join(twice)} FROM users WHERE native_id = '9'").to_pylist()
    assert set(row.values()) == {"crm:2"}


def test_r05_what_pages_tell_to_be_gone_is_stored_with_them(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("accounts", deletes="inline"), EntityReads("deals", deletes="inline"))
    crm.script["accounts"] = [page(account(1), account(2), entity="accounts")]
    crm.script["deals"] = [page(deal(1, account_id="1"), deal(2), deal(3), deal(4))]
    sync(crm)
    crm.script["accounts"] = [page(entity="accounts", gone=[gone(1, merged_into="2", at=START)])]
    crm.script["deals"] = [
        page(deal(2), gone=[gone(3), gone(2), gone(99)], cursor={"at": 1}),
        page(deal(3, name="restored"), gone=[gone(4)], cursor={"at": 2}),
    ]
    result = sync(crm)
    assert living(warehouse) == ["1", "3"], "what is said last of a record counts"
    assert accounts_of(warehouse) == {"1": "2"}
    assert [entity.deletes for entity in result.entities] == [1, 2]
    sync(crm)
    assert living(warehouse) == ["1", "3"]


def test_r05_a_deletion_and_its_cursor_are_stored_together(sync: Sync, warehouse: DuckDBWarehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals", deletes="pass"))
    crm.script["deals"] = [page(deal(1), deal(2), cursor={"at": 1})]
    crm.deletions["deals"] = [DeletedPage([gone(1)], {"d": 1}), ConnectorError("gone away")]
    sync(crm)
    assert living(warehouse) == ["2"]
    crm.deletions["deals"] = []
    sync(crm)
    assert crm.asked[-1][:2] == ("-deals", {"d": 1})
    crm.script["deals"] = [page(deal(1), cursor={"at": 2})]
    sync(crm)
    assert living(warehouse) == ["1", "2"], "what is restored lives again"


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
