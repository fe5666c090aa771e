"""Random histories through the real sync and real stores: people edit while syncs run, break off, are killed and meet faults.

At the end the tables hold what the source holds, and one more sync changes nothing. ``KPID_WALKS=500`` walks that many times.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from kpid.ingest.sync import SyncResult, sync_source
from kpid.plugin.entities import ENTITIES
from kpid.store.engine import Store
from kpid.testing.bench import Scene, connected
from kpid.testing.disturbed import Disturbed
from kpid.testing.expecting import compare_rows, expect
from kpid.warehouse import Warehouse
from kpid.warehouse.duckdb import open_duckdb

SOURCE = "crm"
ALWAYS = timedelta(0)
"""As an interval of reconciliation: at each sync."""
FLOODED, FLOOD = 0.15, 10_000
"""Of so many walks there is an import, of so many records with one instant of change."""


class KilledError(BaseException):
    """Stands for the end of the process: nothing of ours gets to clean up."""


class Walk:
    """A source that is lived in, the stores that follow it, and chance.

    Args:
        bench: the source.
        folder: for the stores' files.
        chance: what decides.
        opening: opens the warehouse, again after each crash; None: a DuckDB file in the folder.
        is_flooded: the source is to import thousands of records at once.
    """

    def __init__(
        self,
        bench: Scene,
        folder: Path,
        chance: random.Random,
        opening: Callable[[], Warehouse] | None = None,
        *,
        is_flooded: bool = False,
    ) -> None:
        self.bench = bench
        self._opening = opening
        self.folder = folder
        self.chance = chance
        self.clock = bench.clock
        self.deaths = 0
        self._open()
        self._is_flood_to_come = bench.is_flooded = is_flooded
        bench.prepare(folder, chance)

    def _open(self) -> None:
        self.store = Store(f"sqlite:///{self.folder}/kpid.db")
        self.store.create()
        self.warehouse: Warehouse = self._opening() if self._opening else open_duckdb(self.folder / "0.duckdb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.warehouse.close()
        self.store.close()

    def start_over(self, folder: Path) -> None:
        """Forget all that is stored; the source stays as it is."""
        self.__exit__()
        folder.mkdir()
        self.folder, self.deaths = folder, 0
        self._open()

    def live_through(self, rounds: int) -> None:
        """So many rounds of changes, each with a sync in which something may go wrong."""
        for _ in range(rounds):
            for _ in range(self.chance.randint(0, 6)):
                self.disturb()
                self.clock.advance(timedelta(minutes=self.chance.choice([0, 0.01, 1, 7])))
            if self.chance.random() < 0.5:
                self.bench.spoil(self.chance)
            self._sync_in_trouble()
            self.bench.forgive()
            self.clock.advance(timedelta(minutes=self.chance.choice([0, 2, 30, 600])))
        self._flood()

    def disturb(self) -> None:
        """One thing that people do; in some walks, once, the large import."""
        if self.chance.random() < 0.2:
            self._flood()
        self.bench.disturb(self.chance)

    def _flood(self) -> None:
        if self._is_flood_to_come:
            self._is_flood_to_come = False
            self.bench.flood(FLOOD)

    def settle(self) -> None:
        """Quiet syncs: the first may only finish what a killed one began, the last compares all ids.

        Where the source tells of all that happens, the tables are right before that: else it would cover up what reads have lost.
        What is doubted then (the last record of all is gone) is believed when a person says so.
        """
        self.sync_calmly()
        if self.bench.tells_all:
            for _ in range(self.chance.randint(3, 9)):
                self.disturb()
            doubts = [text for entity in self.sync_calmly().entities for text in entity.warnings]
            if not any("they are kept" in text for text in doubts):
                self.compare()
        warnings = [text for entity in self.sync_calmly(reconcile=ALWAYS).entities for text in entity.warnings]
        if any("they are kept" in text for text in warnings):
            self.sync_calmly(full=True)

    def sync_calmly(self, **options: Any) -> SyncResult:
        """A sync in which nothing happens, even if the source asked to be left alone before."""
        self.clock.advance(timedelta(minutes=15))
        result = self.sync(lambda: None, force=True, **options)
        expect(result.ok, f"a quiet sync failed: {result}")
        return result

    def sync(self, happen: Callable[[], None], **options: Any) -> SyncResult:
        """A sync with a fresh connector; ``options`` as of :func:`~kpid.ingest.sync.sync_source`."""
        with connected(self.bench.connector()) as connector:
            disturbed = Disturbed(connector, happen)
            return sync_source(SOURCE, disturbed, warehouse=self.warehouse, store=self.store, clock=self.clock, **options)

    def _sync_in_trouble(self) -> None:
        chance = self.chance
        end = chance.choice([None, None, OSError("the line went dead"), KilledError()])
        left = chance.randint(0, 12)
        slow, busy = chance.random() < 0.7, chance.random() < 0.4
        wishes: list[dict[str, Any]] = [{"since": self.clock.now() - timedelta(hours=2)}, {"full": True}]
        looks = [] if self.bench.tells_all else [{"reconcile": ALWAYS}] * 2 + wishes  # would find what reads have lost
        options = chance.choice([{}, {}, {}, wishes[0], *looks])

        def happen() -> None:
            nonlocal left
            if slow:
                self.clock.advance(timedelta(seconds=6))  # long enough for every page to be stored by itself
            if busy and chance.random() < 0.3:
                self.disturb()
            left -= 1
            if left < 0 and end is not None:
                raise end

        try:
            self.sync(happen, **options)
        except KilledError:
            self.reopen_as_after_a_crash()

    def sync_killed_at(self, page: int | None, **options: Any) -> int:
        """A sync that is killed at a page, each page stored by itself (None: not killed); how many pages were met."""
        met = 0

        def happen() -> None:
            nonlocal met
            met += 1
            self.clock.advance(timedelta(seconds=6))
            if met == page:
                raise KilledError

        try:
            self.sync(happen, **options)
        except KilledError:
            self.reopen_as_after_a_crash()
        return met

    def reopen_as_after_a_crash(self) -> None:
        """What was on the disk at the moment of death is all there is."""
        self.deaths += 1
        if self._opening is not None:
            self.warehouse.close()
            self.warehouse = self._opening()
            return
        old, new = self.folder / f"{self.deaths - 1}.duckdb", self.folder / f"{self.deaths}.duckdb"
        for suffix in ("", ".wal"):
            if Path(f"{old}{suffix}").exists():
                shutil.copyfile(f"{old}{suffix}", f"{new}{suffix}")
        self.warehouse.close()
        self.warehouse = open_duckdb(new)

    def rows(self, entity: str, columns: str = "*", where: str = "true") -> list[dict[str, Any]]:
        """Stored rows in the order of their ids."""
        return list(self._table(entity, columns, where).to_pylist())

    def _table(self, entity: str, columns: str = "*", where: str = "true") -> Any:
        return self.warehouse.query(f"SELECT {columns} FROM {entity} WHERE {where} ORDER BY id")

    def living(self, entity: str, columns: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
        """The living rows by native id, with native ids where they refer to others, as a connector gives them.

        Args:
            entity: of which.
            columns: which are wanted; none: all of them.
        """
        references = {column.name for column in ENTITIES[entity].columns if column.info.get("ref")}
        wanted = ", ".join(dict.fromkeys(("native_id", *columns))) if columns else "*"
        return {
            row["native_id"]: {name: _native(value) if name in references else value for name, value in row.items()}
            for row in self.rows(entity, wanted, "deleted_at IS NULL")
        }

    def contents(self) -> dict[str, Any]:
        """All that the source fills, as tables that are equal if their rows are."""
        filled = self.bench.read()
        return {
            entity: self._table(entity) for entity in sorted(filled | ({"deal_stage_history"} if "deals" in filled else set()))
        }

    def compare(self) -> None:
        """The tables hold what the source holds."""
        for entity, truth in self.bench.truths().items():
            columns = dict.fromkeys(name for row in truth.values() for name in row)
            compare_rows(truth, self.living(entity, columns), entity)
        self.bench.inspect(self)

    def check_observed_history(self) -> None:
        """Observed stage intervals touch each other, and the running one is the deal's stage."""
        stages = {row["id"]: row["stage_id"] for row in self.rows("deals", "id, stage_id")}
        by_deal: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(self.rows("deal_stage_history"), key=_span):
            by_deal.setdefault(row["deal_id"], []).append(row)
        for deal, intervals in by_deal.items():
            starts, ends = [row["valid_from"] for row in intervals], [row["valid_to"] for row in intervals]
            shown = f"{deal}: {intervals}"
            expect(ends == [*starts[1:], None], f"intervals do not touch: {shown}")
            expect(intervals[-1]["stage_id"] == stages[deal], f"the running interval is not the deal's stage: {shown}")


class WalkContract:
    """Random walks. ``bench`` is a fixture of the subclass that gives a :class:`~kpid.testing.bench.Scene` with nothing in it."""

    seeds: ClassVar[range] = range(3)
    """Which walks are gone, unless ``KPID_WALKS`` says how many."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """One test for each seed."""
        if "seed" in metafunc.fixturenames:
            metafunc.parametrize("seed", range(int(os.environ.get("KPID_WALKS", "0"))) or self.seeds)

    def test_the_tables_follow_the_source(self, bench: Scene, tmp_path: Path, seed: int) -> None:
        """However the source is lived in, and whatever happens to the syncs."""
        walk_to_the_end(bench, tmp_path, random.Random(seed))

    def test_all_that_is_read_is_compared(self, bench: Scene, tmp_path: Path) -> None:
        """A walk would not notice what goes wrong in an entity at which nobody looks."""
        bench.prepare(tmp_path, random.Random(0))
        bench.read_all()
        unseen = bench.read() - bench.truths().keys() - bench.inspected - bench.excused.keys()
        expect(not unseen, f"walks do not look at {', '.join(sorted(unseen))}: `truths` or `inspect` of the bench should")

    def test_a_kill_at_any_page_loses_nothing(self, bench: Scene, tmp_path: Path) -> None:
        """Of a first sync that also compares all ids. A few of the pages; all of them from ``KPID_WALKS=100`` on."""
        die_everywhere(bench, tmp_path, at_most=None if int(os.environ.get("KPID_WALKS", "0")) >= 100 else 3)


def die_everywhere(bench: Scene, folder: Path, *, at_most: int | None) -> None:
    """Kill the first sync of a source at one page after another, each time from nothing; ``at_most`` so many times."""
    chance = random.Random(0)
    with Walk(bench, folder, chance) as walk:
        for _ in range(30):
            bench.disturb(chance)
        pages = list(range(1, walk.sync_killed_at(None, reconcile=ALWAYS) + 1))
        for page in pages if at_most is None or at_most >= len(pages) else sorted(chance.sample(pages, at_most)):
            walk.start_over(folder / f"killed at {page}")
            walk.sync_killed_at(page, reconcile=ALWAYS)
            walk.settle()
            walk.compare()
            expect(walk.sync_calmly().changed == 0, f"killed at page {page}, a second look found changes")


def walk_to_the_end(bench: Scene, folder: Path, chance: random.Random, opening: Callable[[], Warehouse] | None = None) -> None:
    """One walk: trouble, then peace, then the truth."""
    with Walk(bench, folder, chance, opening, is_flooded=chance.random() < FLOODED) as walk:
        walk.live_through(rounds=chance.randint(1, 4))
        walk.settle()
        walk.compare()
        before: Mapping[str, Any] = walk.contents()
        changed = walk.sync_calmly().changed
        expect(changed == 0 and walk.contents() == before, f"a second look found {changed} changes")


def _span(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The order of intervals: a deal may leave a stage at the instant at which it came."""
    return row["valid_from"], row["valid_to"] is None, row["valid_to"] or row["valid_from"]


def _native(value: Any) -> Any:
    return value.partition(":")[2] if isinstance(value, str) else value
