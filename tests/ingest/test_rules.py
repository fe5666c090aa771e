"""The rules by which nothing is lost, doubled or resurrected: R1 to R14 of the design, each by its own test."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from kpid.commands.sync import Turns
from kpid.errors import AuthError, ConnectorError, DeferredError
from kpid.ingest.merging import references
from kpid.ingest.sync import SyncResult, sync_source
from kpid.plugin import Course, DeletedPage, EntityReads, Leg, Page
from kpid.store import problems, syncs
from kpid.store.engine import Store
from kpid.warehouse import Warehouse
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.postgres import open_postgres
from tests.ingest.scripted import START, ScriptedConnector, StillClock, deal, gone, page

Sync = Callable[..., SyncResult]
HOUR = timedelta(hours=1)


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    if request.param == "duckdb":
        opened: Warehouse = open_duckdb(tmp_path / "crm.duckdb")
    else:
        url = make_url(request.getfixturevalue("postgres"))
        opened = open_postgres(url.update_query_dict({"schema": f"t{abs(hash(request.node.name))}"}))
    yield opened
    opened.close()


def living(warehouse: Warehouse, entity: str = "deals") -> list[str]:
    found = warehouse.query(f"SELECT native_id FROM {entity} WHERE deleted_at IS NULL ORDER BY native_id")
    return [row["native_id"] for row in found.to_pylist()]


def trouble(store: Store) -> dict[str, str]:
    with store.read() as connection:
        return {problem.subject: problem.text for problem in problems.list_problems(connection)}


class Timeline(ScriptedConnector):
    """Deals in the order of (modified, id), three to a page, read as the rules for connectors say; people may work meanwhile."""

    def __init__(self, clock: StillClock, *, overlap: timedelta = timedelta(minutes=5)) -> None:
        super().__init__(EntityReads("deals", overlap=overlap), clock=clock)
        self.deals: dict[str, tuple[datetime, str]] = {}
        self.hidden: set[str] = set()
        self.overlap = overlap
        self.meanwhile: Callable[[int], None] = lambda number: None
        self.server = None

    def put(self, *keys: str, at: datetime, name: str = "") -> None:
        self.deals.update((key, (at, name)) for key in keys)

    def pages(self, entity: str, cursor: Any, until: datetime) -> Iterator[Page]:
        self.asked.append((entity, cursor, until))
        course = Course(("deals",), cursor, until, overlap=self.overlap)
        yield from course.still()
        number = 0
        for leg in course.legs():
            after, is_last = tuple(leg.place or ()), False
            while not is_last:
                number += 1
                self.meanwhile(number)
                found = sorted((at.isoformat(), key) for key, (at, _) in self.deals.items() if self._is_shown(key, leg, at))
                rows = [one for one in found if one > after][:3]
                is_last = len(rows) < 3
                after = rows[-1] if rows else after
                told = (deal(key, name=self.deals[key][1], updated_at=at) for at, key in rows)
                yield page(*told, cursor=leg.done()[0] if is_last else leg.at(after), through=leg.done()[1] if is_last else None)

    def _is_shown(self, key: str, leg: Leg, at: datetime) -> bool:
        return key not in self.hidden and (leg.start is None or leg.start <= at < leg.end)


def names(warehouse: Warehouse) -> dict[str, str | None]:
    return {row["native_id"]: row["name"] for row in warehouse.query("SELECT native_id, name FROM deals").to_pylist()}


def test_r01_equal_and_late_times_are_neither_lost_nor_doubled(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = Timeline(clock)
    crm.put("1", "2", at=START - timedelta(minutes=2))
    crm.hidden = {"2"}
    sync(crm)
    crm.hidden = set()
    crm.put("3", at=START)  # the very instant at which the last read ended
    clock.forward(60)
    assert sync(crm).changed == 2, "what showed late, and what shares the mark's instant"
    assert sync(crm).changed == 0, "what comes again is left alone"
    assert sorted(names(warehouse)) == ["1", "2", "3"]
    assert warehouse.query("SELECT id FROM deals").num_rows == 3


def test_r02_one_instant_larger_than_a_page_is_read_to_its_end(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = Timeline(clock)
    crm.put(*(f"{number:03}" for number in range(100)), at=START - HOUR)

    def die(number: int) -> None:
        clock.forward(6)
        if number == 5:
            raise ConnectorError("gone away")

    crm.meanwhile = die
    for _ in range(20):
        sync(crm)
    assert len(names(warehouse)) == 100


def test_r03_the_mark_moves_only_behind_what_is_stored(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals"), clock=clock)
    newest_first = [page(*(deal(f"{p}-{i}") for i in range(10_000))) for p in (3, 2, 1)]
    crm.script["deals"] = [*newest_first[:2], ConnectorError("gone away")]
    sync(crm)
    (mark,) = warehouse.watermarks()
    assert (len(living(warehouse)), mark.through, (mark.cursor or {}).get("read")) == (20_000, None, None)
    last = page(deal("1-0"), cursor={"at": 1}, through=START + 9 * HOUR)
    crm.script["deals"] = [*newest_first, last]
    sync(crm)
    (mark,) = warehouse.watermarks()
    assert (len(living(warehouse)), mark.through) == (30_000, START), "never beyond what was asked for"


def test_r04_what_changes_during_a_read_waits_for_the_next(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = Timeline(clock)
    crm.server = START + timedelta(minutes=10)  # its clock is ahead of ours
    sync(crm)
    crm.put(*(f"{number}" for number in range(9)), at=crm.server + timedelta(minutes=1), name="old")
    crm.server += timedelta(minutes=5)

    def edit(number: int) -> None:
        if number == 2:
            crm.put("0", "8", at=crm.server + timedelta(seconds=1), name="new")

    crm.meanwhile = edit
    sync(crm)
    assert names(warehouse) == {str(number): "old" for number in range(8)}, "8 left the window before its page came"
    assert crm.asked[-1][2] == crm.server
    crm.meanwhile = lambda number: None
    crm.server += timedelta(minutes=5)
    sync(crm)
    assert names(warehouse) == {str(number): "new" if number in {0, 8} else "old" for number in range(9)}


def test_r08_a_source_that_wants_to_be_left_alone_is(sync: Sync, store: Store, warehouse: Warehouse) -> None:
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
    assert first.deferred_why == again.deferred_why == first.entities[0].error == "GET /users: the day's requests are used up"
    assert trouble(store) == {}
    crm.script["users"] = []
    crm.script["deals"] = [page(deal(1))]
    clock.forward(3600)
    assert sync(crm).ok
    assert living(warehouse) == ["1"]


def test_r09_entities_are_read_in_the_order_that_the_connector_says(sync: Sync) -> None:
    crm = ScriptedConnector(*(EntityReads(entity, mode="full") for entity in ("users", "pipelines", "stages", "deals")))
    sync(crm)
    sync(crm, entities=["deals", "stages"])
    assert [entity for entity, _, _ in crm.asked] == ["users", "pipelines", "stages", "deals", "stages", "deals"]


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


def accounts_of(warehouse: Warehouse) -> dict[str, str]:
    found = warehouse.query("SELECT native_id, account_id FROM deals WHERE account_id IS NOT NULL").to_pylist()
    return {row["native_id"]: row["account_id"].partition(":")[2] for row in found}


def account(number: int | str, **values: Any) -> dict[str, Any]:
    return {"native_id": str(number), "name": "Example Ltd", **values}


def test_r06_a_merge_among_the_rows_moves_what_refers_to_the_loser(sync: Sync, warehouse: Warehouse) -> None:
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


def test_r06_a_chain_of_merges_ends_at_the_last_winner(sync: Sync, warehouse: Warehouse) -> None:
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


def test_r06_a_merged_record_that_was_never_seen_is_known_by_its_stub(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(ACCOUNTS, EntityReads("deals"))
    crm.script["accounts"] = [page(account(2), entity="accounts")]
    crm.deletions["accounts"] = [DeletedPage([gone(1, merged_into="2"), gone(9)])]
    sync(crm)
    crm.script, crm.deletions = {"deals": [page(deal(10, account_id="1"))]}, {}
    sync(crm)
    assert accounts_of(warehouse) == {"10": "2"}
    rows = warehouse.query("SELECT native_id, deleted_reason, merged_into_id, is_test FROM accounts ORDER BY native_id")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [("1", "merged", "crm:2", True), ("2", None, None, False)]


def test_r06_a_loser_that_is_seen_alive_again_is_no_alias_any_more(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(ACCOUNTS, EntityReads("deals"))
    crm.deletions["accounts"] = [DeletedPage([gone(1, merged_into="2")])]
    sync(crm)
    crm.deletions = {}
    crm.script = {"accounts": [page(account(1), entity="accounts")], "deals": [page(deal(10, account_id="1"))]}
    sync(crm)
    assert living(warehouse, "accounts") == ["1"]
    assert accounts_of(warehouse) == {"10": "1"}


def test_r06_a_row_that_refers_twice_to_a_loser_is_moved_whole(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(EntityReads("users", deletes="pass"), EntityReads("accounts"))
    twice = [name for name, target in references("users") if target == "users"]
    crm.script["users"] = [page({"native_id": "9", **dict.fromkeys(twice, "1")}, entity="users")]
    sync(crm)
    crm.script, crm.deletions["users"] = {}, [DeletedPage([gone(1, merged_into="2")])]
    sync(crm)
    (row,) = warehouse.query(f"SELECT {', '.join(twice)} FROM users WHERE native_id = '9'").to_pylist()
    assert set(row.values()) == {"crm:2"}


def test_r06_columns_that_name_anybody_are_moved(sync: Sync, warehouse: Warehouse) -> None:
    tables = ("campaign_members", "email_sends", "survey_responses", "activity_links")
    crm = ScriptedConnector(*(EntityReads(kind, deletes="pass") for kind in ("contacts", "leads")), *map(EntityReads, tables))
    named = {"a": "1", "b": "crm:1", "c": "2", "d": "nobody@example.com", "e": None, "f": "8"}
    told = {table: [{"native_id": key, name: to} for key, to in named.items()] for table, name in ANYBODY.items()}
    kinds = {"a": "contacts", "b": "contacts", "c": "contacts", "d": "accounts", "e": "contacts", "f": "leads"}
    links = [{"native_id": key, "object_type": kind, "object_id": named[key]} for key, kind in kinds.items()]
    told["activity_links"] = [*links, {"native_id": "g", "object_type": "leads", "object_id": "1"}]
    crm.script = {entity: [page(*rows, entity=entity)] for entity, rows in told.items()}
    sync(crm)
    crm.script = {}
    crm.deletions = {"contacts": [DeletedPage([gone(1, merged_into="2")])], "leads": [DeletedPage([gone(8, merged_into="9")])]}
    for _ in range(2):  # once more with rows that name the loser again
        sync(crm)
        moved = {"a": "2", "b": "crm:2", "c": "2", "d": "nobody@example.com", "e": None, "f": "9"}
        for table, name in ANYBODY.items():
            assert dict(spans_of(warehouse, table, "native_id", name)) == moved, table
        assert dict(spans_of(warehouse, "activity_links", "native_id", "object_id")) == {**moved, "g": "1"}, (
            "a lead is no contact"
        )
        crm.script = {entity: [page(*rows, entity=entity)] for entity, rows in told.items()}
    assert sync(crm).changed == 0


ANYBODY = {"campaign_members": "person_id", "email_sends": "recipient_id", "survey_responses": "respondent_id"}
HISTORIES = ("account_status_history", "owner_history", "deal_stage_history", "deal_field_history", "ticket_status_history")


def spans_of(warehouse: Warehouse, entity: str, *names: str) -> list[tuple[Any, ...]]:
    found = warehouse.query(f"SELECT {', '.join(names)} FROM {entity} ORDER BY id").to_pylist()
    return [tuple(row.values()) for row in found]


def test_r06_what_a_merged_record_went_through_stays_its_own(sync: Sync, warehouse: Warehouse) -> None:
    kinds = ("users", "accounts", "deals", "tickets")
    crm = ScriptedConnector(*(EntityReads(kind, deletes="pass") for kind in kinds), *(EntityReads(each) for each in HISTORIES))
    told = {
        "account_status_history": [
            {"native_id": "1a", "account_id": "1", "status": "prospect", "valid_from": START - 3 * HOUR},
            {"native_id": "1b", "account_id": "1", "status": "active", "valid_from": START - 2 * HOUR},
            {"native_id": "1c", "account_id": "1", "status": "churned", "valid_from": START},
        ],
        "owner_history": [{"native_id": "o", "object_type": "deals", "object_id": "crm:1", "owner_id": "1"}],
        "deal_stage_history": [{"native_id": "s", "deal_id": "1", "stage_id": "won", "entered_by": "1", "origin": "crm"}],
        "deal_field_history": [{"native_id": "f", "deal_id": "1", "field": "amount", "value": "7", "changed_by": "1"}],
        "ticket_status_history": [{"native_id": "t", "ticket_id": "1", "status": "solved"}],
    }
    crm.script = {entity: [page(*rows, entity=entity)] for entity, rows in told.items()}
    sync(crm)
    crm.script, crm.deletions = {}, {kind: [DeletedPage([gone(1, merged_into="2")])] for kind in kinds}
    for _ in range(2):  # once more with rows that name the loser again
        sync(crm)
        assert spans_of(warehouse, "account_status_history", "account_id", "status") == [
            ("crm:1", "prospect"),
            ("crm:2", "active"),
            ("crm:1", "churned"),
        ], "the winner was a customer, too; that the other was none says nothing of it"
        assert spans_of(warehouse, "owner_history", "object_id", "owner_id") == [("crm:1", "crm:2")]
        assert spans_of(warehouse, "deal_stage_history", "deal_id", "entered_by") == [("crm:1", "crm:2")]
        assert spans_of(warehouse, "deal_field_history", "deal_id", "changed_by") == [("crm:1", "crm:2")]
        assert spans_of(warehouse, "ticket_status_history", "ticket_id") == [("crm:1",)]
        crm.script = {entity: [page(*rows, entity=entity)] for entity, rows in told.items()}
    assert sync(crm).changed == 0


def test_r05_what_pages_tell_to_be_gone_is_stored_with_them(sync: Sync, warehouse: Warehouse) -> None:
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


def test_r05_a_record_given_and_told_gone_at_once_is_stored_once(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", deletes="inline"), EntityReads("accounts", deletes="inline"), clock=clock)
    both = [gone(1), gone(2, at=START - HOUR, reason="archived"), gone(3, merged_into="4")]
    crm.script["deals"] = [page(*(deal(i, name="last words") for i in range(1, 5)), gone=both)]
    first = sync(crm)
    assert (first.changed, first.deletes) == (4, 0), "what was gone when it came was never lost"
    columns = "native_id, name, deleted_at, deleted_reason, merged_into_id"
    stored = [
        ("1", "last words", START, "deleted", None),
        ("2", "last words", START - HOUR, "archived", None),
        ("3", "last words", START, "merged", "crm:4"),
        ("4", "last words", None, None, None),
    ]
    clock.forward(3600)
    second = sync(crm)
    assert [tuple(row.values()) for row in warehouse.query(f"SELECT {columns} FROM deals ORDER BY id").to_pylist()] == stored
    assert (second.changed, second.deletes) == (0, 0), "told the same again"
    crm.script["deals"] = [page(deal(4, name="last words"), gone=[gone(4)])]
    assert sync(crm).deletes == 1
    assert living(warehouse) == []


def test_r05_a_deletion_and_its_cursor_are_stored_together(sync: Sync, warehouse: Warehouse) -> None:
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


LISTED = EntityReads("deals", listing=True, by_id=True)
WEEK = timedelta(days=7)


def positions(warehouse: Warehouse) -> dict[str, Any]:
    (mark,) = [mark for mark in warehouse.watermarks() if mark.entity == "deals"]
    return dict(mark.cursor or {})


def asked(crm: ScriptedConnector, what: str) -> list[Any]:
    return [cursor for name, cursor, _ in crm.asked if name == what]


def lasting(clock: StillClock, *numbers: int) -> list[Any]:
    """Deals as they were when the walk began."""
    return [deal(number, updated_at=START - WEEK) for number in numbers]


class Slow(list[Any]):
    """Each of these comes so many seconds after the one before."""

    def __init__(self, clock: StillClock, seconds: float, *items: Any) -> None:
        super().__init__(items)
        self.clock, self.seconds = clock, seconds

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.clock.forward(self.seconds)
            yield item


def a_week_later(sync: Sync, crm: ScriptedConnector, clock: StillClock) -> SyncResult:
    """Nothing is told to have changed, and it is time to compare the ids."""
    crm.script = {}
    clock.forward((WEEK + timedelta(days=1)).total_seconds())
    return sync(crm, reconcile=WEEK)


def test_r07_ids_are_compared_on_schedule(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*(deal(i, updated_at=START - WEEK, name="old") for i in range(1, 6)), cursor={"at": 1})]
    sync(crm, reconcile=WEEK)
    clock.forward(86_400)
    sync(crm, reconcile=WEEK)
    assert asked(crm, "ids deals") == [], "not before its time"
    then, now = START - WEEK, START - timedelta(days=1)
    crm.listed = [[("1", then), ("2", now)], [("4", None), ("6", then)]]  # 2 changed and 6 came unnoticed, 3 and 5 are gone
    crm.records = {
        "2": deal(2, updated_at=now, name="new"),
        "6": deal(6, updated_at=then),
        "5": deal(5, updated_at=then, name="old"),
    }
    mark = next(mark for mark in warehouse.watermarks())
    result = a_week_later(sync, crm, clock)
    assert (result.ok, result.deletes) == (True, 1)
    assert living(warehouse) == ["1", "2", "4", "5", "6"], "5 was only left out of the list"
    assert asked(crm, "fetch deals") == [("2", "6"), ("3", "5")]
    rows = warehouse.query("SELECT native_id, name, deleted_reason FROM deals WHERE native_id IN ('2', '3') ORDER BY native_id")
    assert [tuple(row.values()) for row in rows.to_pylist()] == [("2", "new", None), ("3", "old", "vanished")]
    assert warehouse.query("SELECT * FROM seen").num_rows == 0
    assert (positions(warehouse)["read"], "side" in positions(warehouse)) == ({"at": 1}, False)
    assert next(mark for mark in warehouse.watermarks()).through == mark.through + timedelta(days=8), "the main read's own"
    text = trouble(store)["source:crm/deals reconcile"]
    assert text == "2 deals had changed without the source telling it, for example 2, changed 2026-03-01 09:00 UTC"
    with store.read() as connection:
        (run,) = [run for run in syncs.list_runs(connection) if run.kind == "reconcile"]
    assert (run.state, run.rows, run.changed, run.deletes) == ("done", 3, 2, 1)
    crm.listed, crm.asked = [[(key, then if key != "2" else now) for key in living(warehouse)]], []
    a_week_later(sync, crm, clock)
    assert (asked(crm, "fetch deals"), trouble(store)) == ([], {}), "a clean comparison clears the finding"


def test_r07_a_restored_record_with_an_old_date_comes_back(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", deletes="pass", listing=True, by_id=True), clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1, 2))]
    crm.deletions["deals"] = [DeletedPage([gone(2)])]
    sync(crm)
    assert living(warehouse) == ["1"]
    crm.deletions = {}
    crm.listed, crm.records = [[("1", START - WEEK), ("2", START - WEEK)]], {"2": deal(2, updated_at=START - WEEK)}
    a_week_later(sync, crm, clock)
    assert living(warehouse) == ["1", "2"]
    assert trouble(store) == {}, "a restoration need not tell of itself"


def test_r07_what_is_stored_while_ids_are_compared_is_not_buried(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1, 2), cursor={"at": 1})]
    sync(crm)
    crm.listed = Slow(clock, 6, [("1", None)], ConnectorError("gone away"))
    a_week_later(sync, crm, clock)
    assert positions(warehouse)["side"]["cursor"] == {"next": 1}
    clock.forward(60)
    crm.script["deals"] = [page(deal(3))]  # behind the place where the list is
    crm.listed = [[], [("1", None)]]
    assert sync(crm, reconcile=WEEK).deletes == 1
    assert living(warehouse) == ["1", "3"]


def test_r07_a_comparison_killed_before_its_first_place_begins_anew(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1, 2, 3, 4), cursor={"at": 1})]
    sync(crm)
    crm.listed = [[("1", None), ("2", None), ("3", None)]]  # all that fits into one page has been met ...
    crm.records = {"4": ConnectorError("gone away")}
    a_week_later(sync, crm, clock)
    assert (positions(warehouse)["side"]["met"], "cursor" in positions(warehouse)["side"]) == (3, False)
    crm.listed, crm.records = [[("1", None), ("4", None)]], {}  # ... but two of these are gone meanwhile
    clock.forward(3600)
    assert sync(crm, reconcile=WEEK).deletes == 2
    assert (living(warehouse), trouble(store)) == (["1", "4"], {})


def test_r07_a_comparison_goes_on_where_it_broke_off(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*(deal(i, updated_at=START - WEEK) for i in range(12_000)), cursor={"at": 1})]
    sync(crm)
    first, second = [(str(i), None) for i in range(11_000)], [(str(i), None) for i in range(11_000, 11_999)]
    crm.listed = [first, ConnectorError("gone away", hint="Come again")]
    result = a_week_later(sync, crm, clock)
    assert (result.ok, living(warehouse).__len__()) == (True, 12_000), "its failure is not the entity's"
    assert trouble(store) == {"source:crm/deals reconcile": "gone away"}
    crm.listed = [first, second]
    assert sync(crm).deletes == 1, "what has begun goes on, whatever the interval is now"
    assert asked(crm, "ids deals") == [None, {"next": 1}]
    assert trouble(store) == {}


def test_r07_a_pass_ends_when_its_time_is_up(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1, 2, 3), cursor={"at": 1})]
    sync(crm)
    crm.listed = Slow(clock, 400, [("1", None)], [("2", None)], [("3", None)])
    assert a_week_later(sync, crm, clock).ok
    assert positions(warehouse)["side"]["cursor"] == {"next": 2}
    crm.listed = list(crm.listed)
    assert sync(crm).deletes == 0
    assert (living(warehouse), "side" in positions(warehouse)) == (["1", "2", "3"], False)


def test_r07_a_gap_longer_than_deletions_are_kept_is_closed_by_comparing_ids(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    kept = EntityReads("deals", deletes="pass", deletes_kept=WEEK, listing=True, by_id=True)
    crm = ScriptedConnector(kept, clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1, 2), cursor={"at": 1})]
    sync(crm)
    clock.forward(8 * 86_400)
    crm.script, crm.listed = {}, [[("1", START - WEEK)]]
    crm.asked.clear()
    sync(crm)
    assert [(name, cursor) for name, cursor, _ in crm.asked] == [
        ("deals", {"at": 1}),
        ("-deals", None),
        ("ids deals", None),
        ("fetch deals", ("2",)),
    ]
    assert living(warehouse) == ["1"]


def test_r07_a_deferral_ends_the_pass_and_not_the_sync(sync: Sync, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, EntityReads("users"), clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1))]
    sync(crm)
    crm.listed = [DeferredError("the day's requests are used up", clock.now() + 30 * 24 * HOUR)]
    assert a_week_later(sync, crm, clock).ok
    assert trouble(store) == {}
    crm.listed = [[("1", None)]]
    assert sync(crm).ok, "only the main read holds the next sync back"


def test_r10_old_rows_get_a_new_field_while_the_cursor_stays(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.fields = frozenset({"name"})
    crm.script["deals"] = [page(*(deal(i) for i in range(450)), cursor={"at": 1})]
    sync(crm)
    assert positions(warehouse)["asked"] == ["name"]
    crm.script, crm.fields = {}, frozenset({"name", "next_step"})
    crm.records = {str(i): deal(i, next_step="Call") for i in range(450) if i != 7}
    result = sync(crm)
    assert (result.ok, result.changed) == (True, 449)
    assert asked(crm, "deals")[-1] == {"at": 1}
    assert [len(ids) for ids in asked(crm, "fetch deals")] == [200, 200, 50]
    assert warehouse.query("SELECT native_id FROM deals WHERE next_step IS NULL").to_pylist() == [{"native_id": "7"}]
    assert positions(warehouse) == {"read": {"at": 1}, "asked": ["name", "next_step"], "listed_at": START.isoformat()}
    crm.asked.clear()
    assert (sync(crm).changed, asked(crm, "fetch deals")) == (0, [])


def test_r10_a_backfill_goes_on_where_it_broke_off(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.fields = frozenset({"name"})
    crm.script["deals"] = [page(*(deal(f"{i:05}") for i in range(10_400)), cursor={"at": 1})]
    sync(crm)
    crm.script, crm.fields = {}, frozenset({"name", "next_step"})
    crm.records = {f"{i:05}": deal(f"{i:05}", next_step="Call") for i in range(10_400)}
    whole, crm.records["10250"] = crm.records["10250"], ConnectorError("gone away")  # type: ignore[assignment]
    assert sync(crm).ok
    assert positions(warehouse)["side"]["cursor"] == {"after": "09999"}
    assert trouble(store) == {"source:crm/deals backfill": "gone away"}
    crm.records["10250"] = whole
    crm.asked.clear()
    sync(crm)
    assert [ids[0] for ids in asked(crm, "fetch deals")] == ["10000", "10200"]
    assert warehouse.query("SELECT 1 AS n FROM deals WHERE next_step IS NULL").num_rows == 0
    assert trouble(store) == {}


def test_r10_without_records_by_id_all_are_read_beside_the_cursor(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals"))
    crm.fields = frozenset({"name"})
    crm.script["deals"] = [page(deal(1), deal(2), cursor={"at": 1})]
    sync(crm)
    crm.fields = frozenset({"name", "next_step"})
    crm.script["deals"] = [page(deal(1, next_step="Call"), deal(2, next_step="Meet"), cursor={"at": 2})]
    sync(crm)
    assert asked(crm, "deals") == [None, {"at": 1}, None]
    assert positions(warehouse) == {"read": {"at": 2}, "asked": ["name", "next_step"]}
    assert warehouse.query("SELECT 1 AS n FROM deals WHERE next_step IS NULL").num_rows == 0


def test_r10_what_an_older_kpid_has_read_is_not_read_again(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(LISTED)
    crm.script["deals"] = [page(deal(1), cursor={"at": 1})]
    sync(crm)
    crm.fields = frozenset({"name"})
    crm.script = {}
    sync(crm)
    assert (positions(warehouse)["asked"], asked(crm, "fetch deals")) == (["name"], [])
    crm.fields = frozenset({"amount"})
    sync(crm)
    assert asked(crm, "fetch deals") == [("1",)]
    sync(crm)
    assert (positions(warehouse)["asked"], asked(crm, "fetch deals")) == (["amount"], [("1",)])


def test_r10_a_field_that_is_gone_is_a_warning_and_no_more(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("deals"), EntityReads("users"))
    crm.script["deals"] = [page(deal(1, amount=None), warnings=("the source has no field `margin` any more",))]
    assert sync(crm).ok
    assert trouble(store) == {"source:crm/deals": "the source has no field `margin` any more"}
    crm.script["deals"] = []
    sync(crm)
    assert (trouble(store), living(warehouse)) == ({}, ["1"])


def test_r11_money_is_exact_and_days_are_local(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals"), timezone="America/New_York")
    crm.script["deals"] = [
        page(deal(1, amount="12345678901234.123456", currency="JPY", closed_at="2026-03-08", crm_close_date="2026-03-08"))
    ]
    sync(crm)
    (row,) = warehouse.query("SELECT amount, currency, closed_at, crm_close_date FROM deals").to_pylist()
    midnight = datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert tuple(row.values()) == (Decimal("12345678901234.123456"), "JPY", midnight, date(2026, 3, 8))


def history(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    sql = (
        "SELECT deal_id, stage_id, valid_to IS NULL AS runs, origin FROM deal_stage_history WHERE deleted_at IS NULL ORDER BY id"
    )
    return [tuple(row.values()) for row in warehouse.query(sql).to_pylist()]


def test_r12_stages_are_observed_where_the_history_is_missing(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", history="full", carries=("deal_stage_history",)), clock=clock)

    def told(*numbers: int, stage: str, of: tuple[int, ...]) -> Page:
        """Deals in a stage; of some the source tells the history."""
        rows = [{"native_id": f"{n}:{stage}", "deal_id": str(n), "stage_id": stage, "origin": "crm"} for n in of]
        return Page({"deals": [deal(n, stage_id=stage, updated_at=clock.now()) for n in numbers], "deal_stage_history": rows})

    crm.script["deals"] = [told(1, 2, 3, stage="s1", of=(1,))]
    sync(crm)
    clock.forward(3600)
    crm.script["deals"] = [told(1, 2, stage="s2", of=()), told(3, stage="s2", of=(3,))]
    sync(crm)
    assert history(warehouse) == [
        ("crm:1", "crm:s1", True, "crm"),
        ("crm:3", "crm:s2", True, "crm"),
        ("crm:2", "crm:s1", False, "observed"),
        ("crm:2", "crm:s2", True, "observed"),
    ]
    assert sync(crm).changed == 0
    clock.forward(3600)
    crm.script["deals"] = [told(2, stage="s3", of=(2,))]
    sync(crm)
    assert [row for row in history(warehouse) if row[0] == "crm:2"] == [("crm:2", "crm:s3", True, "crm")], "the source's own wins"


def test_r12_a_closing_that_the_source_does_not_tell_is_the_first_one_seen(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", history="since_sync", observed=("closed_at",)), clock=clock)

    def at(*told: tuple[str, str, timedelta], **more: Any) -> list[tuple[str, datetime | None]]:
        """The closings that are stored after the source has told these deals."""
        rows = [deal(n, state=s, closed_at=None if s == "open" else START + h, updated_at=START + h, **more) for n, s, h in told]
        crm.script["deals"] = [page(*rows, cursor={"at": 1})]
        sync(crm)
        found = warehouse.query("SELECT native_id, closed_at FROM deals ORDER BY id").to_pylist()
        return [(row["native_id"], row["closed_at"]) for row in found]

    assert at(("1", "won", HOUR), ("2", "open", HOUR)) == [("1", START + HOUR), ("2", None)]
    assert at(("1", "won", 5 * HOUR), ("2", "lost", 5 * HOUR), name="edited") == [("1", START + HOUR), ("2", START + 5 * HOUR)]
    assert names(warehouse) == {"1": "edited", "2": "edited"}
    assert at(("1", "won", 6 * HOUR), ("2", "won", 6 * HOUR)) == [("1", START + HOUR), ("2", START + 6 * HOUR)], "decided anew"
    assert at(("1", "open", 7 * HOUR))[0] == ("1", None)
    assert at(("1", "won", 8 * HOUR), ("2", "open", 8 * HOUR), ("2", "won", 9 * HOUR)) == [
        ("1", START + 8 * HOUR),
        ("2", START + 9 * HOUR),
    ], "closed again, also where both changes come at once"
    crm.declared = [EntityReads("deals", history="since_sync")]
    assert at(("1", "won", 10 * HOUR))[0] == ("1", START + 10 * HOUR), "a source that tells its closings may correct them"


@pytest.mark.parametrize("left", [0, 35])
def test_r13_a_loss_of_many_rows_at_once_is_doubted(sync: Sync, warehouse: Warehouse, store: Store, left: int) -> None:
    crm = ScriptedConnector(EntityReads("deals", mode="full", deletes="absence"))
    crm.script["deals"] = [page(*(deal(i) for i in range(100)))]
    sync(crm)
    crm.script["deals"] = [page(*(deal(i, name="new") for i in range(left)))]
    result = sync(crm)
    assert (result.deletes, len(living(warehouse))) == (0, 100)
    said = "left out 65 of 100 stored deals at once" if left else "gave no deals at all, though 100 are stored"
    assert said in trouble(store)["source:crm/deals"]
    assert sync(crm, full=True).deletes == 100 - left, "asked for expressly, it is believed"
    assert trouble(store) == {}


def test_r13_an_ordinary_loss_is_believed(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals", mode="full", deletes="absence"))
    crm.script["deals"] = [page(*(deal(i) for i in range(400)))]
    sync(crm)
    crm.script["deals"] = [page(*(deal(i) for i in range(70, 400)))]
    assert sync(crm).deletes == 70
    crm.script["deals"] = [page(*(deal(i) for i in range(110, 400)))]
    assert sync(crm).deletes == 40


def test_r13_a_large_loss_that_is_believed_is_marked_in_steps(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals", mode="full"))
    crm.script["deals"] = [page(*(deal(number) for number in range(20_500)))]
    sync(crm)
    crm.script["deals"] = [page(deal(7), deal(20_600))]
    assert sync(crm, full=True).deletes == 20_499
    assert living(warehouse) == ["20600", "7"]
    assert warehouse.query("SELECT * FROM seen").num_rows == 0


def test_r13_a_short_list_of_ids_buries_nothing(sync: Sync, warehouse: Warehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*(deal(i, updated_at=START - WEEK) for i in range(100)))]
    sync(crm)
    crm.listed = [[(str(i), None) for i in range(35)]]
    assert a_week_later(sync, crm, clock).ok
    assert len(living(warehouse)) == 100
    text = "The source lists 35 deals, and not 65 of 100 that are stored: they are kept"
    assert trouble(store) == {"source:crm/deals reconcile": text}
    crm.script["deals"] = [page(*(deal(i, updated_at=START - WEEK) for i in range(35)))]
    sync(crm, full=True)
    assert (len(living(warehouse)), trouble(store)) == (35, {})


def test_a_read_of_everything_asks_for_what_its_pages_left_out(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(EntityReads("deals", mode="full", deletes="absence", by_id=True))
    crm.script["deals"] = [page(deal(1), deal(2), deal(3))]
    sync(crm)
    crm.script["deals"], crm.records = [page(deal(1))], {"3": deal(3)}
    assert sync(crm).deletes == 1
    assert living(warehouse) == ["1", "3"]


def test_r14_a_read_of_everything_is_compared_with_the_sources_count(sync: Sync, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("deals", counted=True))
    crm.counted = 3_172
    crm.script["deals"] = [page(*(deal(i) for i in range(1_580)), cursor={"at": 1})]
    result = sync(crm)
    text = "The source counts 3,172 deals; 1,580 are stored"
    assert (result.ok, result.entities[0].warnings) == (True, (text,))
    crm.script = {}
    sync(crm)
    assert trouble(store) == {"source:crm/deals count": text}, "it stays until the next look at the whole"
    crm.counted = 1_585  # some came meanwhile
    sync(crm, full=True)
    crm.script["deals"] = [page(*(deal(i) for i in range(1_580)), cursor={"at": 1})]
    sync(crm, full=True)
    assert trouble(store) == {}


@pytest.mark.parametrize("answer", [None, DeferredError("the day's requests are used up", START + HOUR), ConnectorError("no")])
def test_r14_a_count_that_cannot_be_had_spoils_nothing(sync: Sync, store: Store, answer: Any) -> None:
    crm = ScriptedConnector(EntityReads("deals", counted=True))
    crm.script["deals"] = [page(deal(1), cursor={"at": 1})]
    crm.counted = answer
    assert sync(crm).ok
    assert not [subject for subject in trouble(store) if subject.endswith("count")]


def test_r14_the_listing_is_compared_with_the_count(sync: Sync, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", counted=True, listing=True), clock=clock)
    crm.script["deals"], crm.counted = [page(*lasting(clock, *range(20)))], 20
    sync(crm)
    crm.listed = [[(str(i), None) for i in range(15)]]
    a_week_later(sync, crm, clock)
    assert trouble(store) == {"source:crm/deals count": "The source counts 20 deals; it lists 15 by id, 15 are stored"}


def test_since_reads_again_what_is_behind_the_mark(sync: Sync, warehouse: Warehouse) -> None:
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


def test_since_compares_ids_where_the_cursor_told_of_deletions(sync: Sync, warehouse: Warehouse) -> None:
    """With the cursor that is left goes what it would have told, also if the read is killed; a walk lost a record in this way."""
    clock, kept = StillClock(), timedelta(days=7)
    crm = ScriptedConnector(EntityReads("deals", deletes="inline", deletes_kept=kept, listing=True), clock=clock)
    crm.script["deals"] = [page(deal(1), deal(2), cursor={"at": 1})]
    sync(crm)
    clock.forward(7200)
    crm.listed = [[("2", None)]]
    crm.script["deals"] = [
        page(deal(2, name="new"), cursor={"at": 2}, through=START - HOUR),
        ConnectorError("the line went dead"),
    ]
    assert not sync(crm, since=START - HOUR).ok
    crm.script["deals"] = [page(cursor={"at": 3})]
    sync(crm, since=START - HOUR)
    assert living(warehouse) == ["2"]


def test_since_reads_all_where_the_source_cannot_begin_at_an_instant(sync: Sync, warehouse: Warehouse) -> None:
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


def test_one_source_is_read_once_at_a_time_and_two_at_the_same_time(warehouse: Warehouse, store: Store) -> None:
    turns, both, inside, most = Turns(), threading.Barrier(2, timeout=60), dict.fromkeys("ab", 0), dict.fromkeys("ab", 0)

    class Slow(ScriptedConnector):
        def __init__(self, source: str, *, waits: bool) -> None:
            super().__init__(EntityReads("deals"))
            self.source, self.waits = source, waits

        def pages(self, entity: str, cursor: Any, until: datetime) -> Iterator[Page]:
            inside[self.source] += 1
            most[self.source] = max(most[self.source], inside[self.source])
            if self.waits:
                both.wait()  # only if the other source is being read, too
            yield page(deal(1))
            inside[self.source] -= 1

    def run(source: str, waits: bool) -> SyncResult:
        with turns.source(source):
            connector = Slow(source, waits=waits)
            return sync_source(source, connector, warehouse=warehouse, store=store, clock=connector.context.clock)

    with ThreadPoolExecutor(4) as pool:
        first = [pool.submit(run, source, True) for source in "ab"]
        assert all(one.result(120).ok for one in first)
        again = [pool.submit(run, "a", False) for _ in range(4)]
        assert all(one.result(120).ok for one in again)
    assert most == {"a": 1, "b": 1}
    assert len(living(warehouse)) == 2


def test_passes_beside_the_reads_tell_their_own_progress(sync: Sync) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.fields = frozenset({"name"})
    crm.script["deals"] = [page(*lasting(clock, *range(30)), cursor={"at": 1})]
    sync(crm)
    heard: list[tuple[str, int, int | None]] = []
    crm.fields = frozenset({"name", "amount"})
    crm.records = {str(number): deal(number) for number in range(30)}
    crm.listed = [[(str(number), None) for number in range(30)]]
    crm.script = {}
    clock.forward((WEEK + timedelta(days=1)).total_seconds())
    sync(crm, reconcile=WEEK, progress=lambda *what: heard.append(what))
    assert heard == [("crm/deals", 0, None), ("crm/deals backfill", 30, 30), ("crm/deals reconcile", 30, 30)]


def test_r10_a_field_more_during_a_backfill_begins_it_anew(sync: Sync, warehouse: Warehouse) -> None:
    crm = ScriptedConnector(LISTED)
    crm.fields = frozenset({"name"})
    crm.script["deals"] = [page(*(deal(f"{i:03}") for i in range(450)), cursor={"at": 1})]
    sync(crm)
    crm.script, crm.fields = {}, frozenset({"name", "amount"})
    crm.records = {f"{i:03}": deal(f"{i:03}", amount=1) for i in range(450)}
    crm.records["300"] = ConnectorError("gone away")
    sync(crm)
    crm.fields = frozenset({"name", "amount", "next_step"})
    crm.records = {key: deal(key, amount=1, next_step="Call") for key in [*crm.records]}
    sync(crm)
    assert warehouse.query("SELECT 1 AS n FROM deals WHERE next_step IS NULL OR amount IS NULL").num_rows == 0
    assert positions(warehouse)["asked"] == ["amount", "name", "next_step"]
    crm.fields = frozenset({"name"})
    sync(crm)
    assert positions(warehouse)["asked"] == ["name"], "what is not asked for any more is new when it is asked for again"


def test_r07_a_loss_too_large_to_be_asked_for_is_judged_by_its_share(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, clock=clock)
    crm.script["deals"] = [page(*(deal(i, updated_at=START - WEEK) for i in range(12_000)), cursor={"at": 1})]
    sync(crm)
    crm.listed = [[(str(i), None) for i in range(9_900)]]
    assert a_week_later(sync, crm, clock).deletes == 2_100
    assert asked(crm, "fetch deals") == []


def test_r08_a_deferral_during_the_deletions_keeps_what_was_read(sync: Sync, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", deletes="pass"), clock=clock)
    crm.script["deals"] = [page(deal(1), deal(2), deal(3), cursor={"at": 1})]
    crm.deletions["deals"] = [DeletedPage([gone(1)], {"d": 1}), DeferredError("the day's requests are used up", START + HOUR)]
    assert not sync(crm).failed
    assert living(warehouse) == ["2", "3"]
    assert warehouse.watermarks()[0].through is None, "it is not known yet what is gone"
    clock.forward(3600)
    crm.script, crm.deletions["deals"] = {}, [DeletedPage([gone(2)], {"d": 2})]
    assert sync(crm).ok
    assert crm.asked[-1][:2] == ("-deals", {"d": 1})
    assert living(warehouse) == ["3"]


@pytest.mark.parametrize("where", ["ids", "count"])
def test_refused_credentials_beside_the_reads_are_the_sources_problem(sync: Sync, store: Store, where: str) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", listing=True, counted=True), clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1), cursor={"at": 1})]
    sync(crm)
    refused = AuthError("the token was refused", hint="Make a new token")
    crm.listed, crm.counted = ([refused], None) if where == "ids" else ([[("1", None)]], refused)
    result = a_week_later(sync, crm, clock)
    assert result.entities[0].state == "done", "its rows are read"
    assert trouble(store)["source:crm"] == "the token was refused"
    crm.listed, crm.counted = [[("1", None)]], 1
    assert sync(crm).ok
    assert trouble(store) == {}


def test_a_fault_of_the_plugin_beside_the_reads_fails_nothing_else(sync: Sync, store: Store, warehouse: Warehouse) -> None:
    clock = StillClock()
    crm = ScriptedConnector(LISTED, EntityReads("users"), clock=clock)
    crm.script["deals"] = [page(*lasting(clock, 1, 2))]
    sync(crm)
    crm.listed, crm.records = [[("1", None)]], {"2": KeyError("amount")}  # type: ignore[dict-item]
    assert a_week_later(sync, crm, clock).ok
    assert "failed with KeyError: 'amount'" in trouble(store)["source:crm/deals reconcile"]
    assert living(warehouse) == ["1", "2"], "what could not be asked for is not buried"
    with store.read() as connection:
        assert [run.state for run in syncs.list_runs(connection) if run.kind == "reconcile"] == ["failed"]


# -- what comes with records -------------------------------------------------------------------------------------------------


def test_what_comes_with_a_record_goes_with_it_and_returns(sync: Sync, warehouse: Warehouse) -> None:
    """The cost of a campaign that is deleted is no longer one."""
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("campaigns", deletes="pass", carries=("campaign_costs",)), clock=clock)

    def told(key: str, cost: str) -> Page:
        costs = [{"native_id": key, "campaign_id": key, "amount": cost, "currency": "EUR"}]
        return Page({"campaigns": [{"native_id": key, "name": f"Example {key}"}], "campaign_costs": costs}, {"read": key})

    crm.script["campaigns"] = [told("1", "100"), told("2", "50")]
    sync(crm)
    crm.script, crm.deletions = {}, {"campaigns": [DeletedPage([gone(1)])]}
    clock.forward(60)
    assert sync(crm).deletes == 2
    assert living(warehouse, "campaigns") == living(warehouse, "campaign_costs") == ["2"]
    buried = warehouse.query("SELECT deleted_at, deleted_reason FROM campaign_costs WHERE native_id = '1'").to_pylist()
    assert buried == warehouse.query("SELECT deleted_at, deleted_reason FROM campaigns WHERE native_id = '1'").to_pylist()
    crm.script, crm.deletions = {"campaigns": [told("1", "100")]}, {}
    clock.forward(60)
    sync(crm)
    assert living(warehouse, "campaigns") == living(warehouse, "campaign_costs") == ["1", "2"]
    clock.forward(60)
    assert sync(crm).changed == 0


def test_what_is_not_among_all_that_comes_with_a_record_is_gone(sync: Sync, warehouse: Warehouse) -> None:
    """A guest is taken off a meeting: the source tells of the meeting and its guests, not of who went."""
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("activities", carries=("activity_links",)), clock=clock)

    def told(activity: str, *links: str, whole: bool = True) -> Page:
        rows = [{"native_id": key, "activity_id": activity, "object_type": "leads", "object_id": "crm:1"} for key in links]
        found = {"activities": [{"native_id": activity, "subject": "Example"}], "activity_links": rows}
        return Page(found, {"at": activity}, whole=("activity_links",) if whole else ())

    crm.script["activities"] = [told("1", "a", "b"), told("2", "c")]
    sync(crm)
    for pages, left in (
        ([told("1", "a", whole=False)], ["a", "b", "c"]),
        ([told("1", "a")], ["a", "c"]),
        ([told("1", "a", "b"), told("2")], ["a", "b"]),
        ([told("1")], []),
    ):
        crm.script["activities"] = pages
        clock.forward(60)
        sync(crm)
        assert living(warehouse, "activity_links") == left
        clock.forward(60)
        assert sync(crm).changed == 0


def test_what_comes_as_a_whole_has_to_be_announced(sync: Sync, store: Store) -> None:
    crm = ScriptedConnector(EntityReads("activities"))
    crm.script["activities"] = [Page({"activities": [{"native_id": "1"}]}, whole=("activity_links",))]
    assert not sync(crm).ok
    assert "without saying so in `carries`" in trouble(store)["source:crm/activities"]


def test_the_history_of_a_record_stays_when_it_goes(sync: Sync, warehouse: Warehouse) -> None:
    """Figures of the past go by it."""
    crm = ScriptedConnector(EntityReads("deals", deletes="pass", history="full", carries=("deal_stage_history",)))
    row = {"native_id": "1-a", "deal_id": "1", "stage_id": "a", "valid_from": "2026-01-05T10:00:00Z", "origin": "crm"}
    crm.script["deals"] = [Page({"deals": [deal(1, stage_id="a")], "deal_stage_history": [row]})]
    crm.deletions["deals"] = [DeletedPage([gone(1)])]
    sync(crm)
    assert (living(warehouse), living(warehouse, "deal_stage_history")) == ([], ["1-a"])
