"""Killed syncs and overlapping reads: however a source's changes are cut into syncs, the tables end up the same."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpid.ingest.sync import sync_source
from kpid.plugin import DeletedPage, EntityReads, Page, Tombstone
from kpid.store import syncs
from kpid.store.engine import Store
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb
from tests.ingest.scripted import START, ScriptedConnector, StillClock

SYNC = """
import sys
from pathlib import Path
from kpid.clock import SystemClock
from kpid.ingest.sync import sync_source
from kpid.plugin import EntityReads, Page
from kpid.store.engine import open_store
from kpid.warehouse.duckdb import open_duckdb
from tests.ingest.scripted import ScriptedConnector

folder, mode, dies = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "dies"
PAGES, ROWS = 12, 4000


class Source(ScriptedConnector):
    def pages(self, entity, cursor, until):
        for number in range(cursor["page"] if cursor else 0, PAGES):
            if dies and number == PAGES - 2:
                sys.stdin.read()  # the end, unless the kill came before
            rows = [{"native_id": str(number * ROWS + i), "amount": str(i % 90), "created_at": "2026-01-05"} for i in range(ROWS)]
            print(number, flush=True)
            yield Page({"deals": rows}, cursor={"page": number + 1} if number + 1 < PAGES else None)


store = open_store(f"sqlite:///{folder}/kpid.db")
warehouse = open_duckdb(folder / "crm.duckdb")
source = Source(EntityReads("deals", mode=mode, deletes="absence" if mode == "full" else "none"))
print(sync_source("crm", source, warehouse=warehouse, store=store, clock=SystemClock()).ok, flush=True)
warehouse.close()
"""


def contents(folder: Path) -> list[dict[str, Any]]:
    warehouse = open_duckdb(folder / "crm.duckdb")
    rows = warehouse.query("SELECT * EXCLUDE (synced_at) FROM deals ORDER BY id").to_pylist()
    warehouse.close()
    return rows


def start(folder: Path, mode: str, dies: str = "lives") -> "subprocess.Popen[str]":
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", SYNC, str(folder), mode, dies]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_killed_sync_goes_on_and_ends_with_the_same_tables(tmp_path: Path, mode: str) -> None:
    with start(tmp_path / "calm", mode) as undisturbed:
        assert undisturbed.communicate()[0].endswith("True\n")
    for page in (0, 3, 9):
        with start(tmp_path / "killed", mode, "dies") as victim:
            assert victim.stdout is not None
            while int(victim.stdout.readline()) < page:
                pass
            victim.send_signal(signal.SIGKILL)
    with start(tmp_path / "killed", mode) as last:
        said = last.communicate()[0].split()
        assert said[-1] == "True"
        assert int(said[0]) > 0, "it went on where the last one was"
    assert contents(tmp_path / "killed") == contents(tmp_path / "calm")
    store = Store(f"sqlite:///{tmp_path}/killed/kpid.db")
    with store.read() as connection:
        assert [run.state for run in syncs.list_runs(connection)] == ["done", "failed", "failed", "failed"]
    store.close()


class ChangingCrm(ScriptedConnector):
    """A CRM whose records change while it is read: equal times, small pages, deletes in a list of their own."""

    def __init__(self, clock: StillClock, page_size: int) -> None:
        super().__init__(EntityReads("deals", deletes="pass"), clock=clock)
        self.records: dict[int, tuple[int, int]] = {}  # number -> (tick of the last change, amount)
        self.removed: list[tuple[int, int]] = []
        self.page_size = page_size
        self.fails_after: int | None = None

    def pages(self, entity: str, cursor: Any, until: Any) -> Iterator[Page]:
        since = max(0, cursor["tick"] - 2) if cursor else 0
        found = sorted((tick, number, amount) for number, (tick, amount) in self.records.items() if tick >= since)
        for count, at in enumerate(range(0, len(found), self.page_size)):
            if self.fails_after == count:
                raise OSError("line cut")
            part = found[at : at + self.page_size]
            rows = [{"native_id": str(number), "amount": amount} for _, number, amount in part]
            yield Page({"deals": rows}, cursor={"tick": part[-1][0]})

    def deleted(self, entity: str, cursor: Any, until: Any) -> Iterator[DeletedPage]:
        since = cursor["tick"] if cursor else 0
        gone = [(tick, number) for tick, number in self.removed if tick >= since and number not in self.records]
        yield DeletedPage([Tombstone(str(number)) for _, number in gone], cursor={"tick": max([since, *(t for t, _ in gone)])})


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 12), st.integers(0, 99)),
        st.tuples(st.just("remove"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("tick"), st.just(0), st.just(0)),
        st.tuples(st.just("sync"), st.sampled_from([99, 99, 0, 1]), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, page_size=st.integers(1, 4))
def test_any_slicing_of_changes_into_syncs_gives_the_crms_own_truth(changes: list[tuple[str, int, int]], page_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        warehouse, store = open_duckdb(Path(folder) / "crm.duckdb"), Store(f"sqlite:///{folder}/kpid.db")
        store.create()
        try:
            _play(changes, page_size, warehouse, store)
        finally:
            warehouse.close()
            store.close()


def _play(changes: list[tuple[str, int, int]], page_size: int, warehouse: DuckDBWarehouse, store: Store) -> None:
    clock = StillClock()
    crm = ChangingCrm(clock, page_size)
    tick = 1
    for kind, number, amount in [*changes, ("sync", 99, 0)]:
        if kind == "put":
            crm.records[number] = (tick, amount)
        elif kind == "remove" and crm.records.pop(number, None):
            crm.removed.append((tick, number))
        elif kind == "tick":
            tick += 1
        elif kind == "sync":
            crm.fails_after = number
            clock.forward(60)
            sync_source("crm", crm, warehouse=warehouse, store=store, clock=clock)
    found = warehouse.query("SELECT native_id, CAST(amount AS INT) AS amount FROM deals WHERE deleted_at IS NULL").to_pylist()
    assert {int(row["native_id"]): row["amount"] for row in found} == {n: amount for n, (_, amount) in crm.records.items()}, (
        json.dumps(changes)
    )


def test_a_full_read_survives_failures_between_its_pages(warehouse: DuckDBWarehouse, store: Store) -> None:
    clock = StillClock()
    crm = ScriptedConnector(EntityReads("deals", mode="full", deletes="absence"), clock=clock)
    before = [Page({"deals": [{"native_id": str(i)} for i in range(30)]})]
    crm.script["deals"] = before
    sync_source("crm", crm, warehouse=warehouse, store=store, clock=clock)
    for done in range(0, 20, 5):
        clock.forward(3600)
        rows = [{"native_id": str(i)} for i in range(done, done + 5)]

        def slow(rows: list[dict[str, str]] = rows, done: int = done) -> Iterator[Any]:
            clock.forward(6)  # stored at once
            yield Page({"deals": rows}, cursor={"done": done + 5} if done < 15 else None)
            if done < 15:
                raise OSError("line cut")

        crm.script["deals"] = slow()  # type: ignore[assignment]
        sync_source("crm", crm, warehouse=warehouse, store=store, clock=clock)
    assert warehouse.query("SELECT count(*) AS n FROM deals WHERE deleted_at IS NULL").to_pylist() == [{"n": 20}]
    assert warehouse.watermarks()[0].through == START + timedelta(hours=4, seconds=18)
