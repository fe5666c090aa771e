"""The contract of connectors, what becomes of it in the stores: merges, later fields, purges, budgets, by the real sync."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from kpid.ingest.sync import SyncResult, sync_source
from kpid.store import problems
from kpid.store.engine import Store
from kpid.testing.bench import SourceBench, connected, expect_able, later
from kpid.testing.expecting import expect
from kpid.warehouse.duckdb import DuckDBWarehouse, open_duckdb

SOURCE = "crm"
ALWAYS = timedelta(0)


class Stored:
    """Real stores beside a bench.

    Args:
        bench: the source.
        warehouse: for its rows.
        store: for what is noted of it.
        entities: what is read; the rest would only cost time.
    """

    def __init__(self, bench: SourceBench, warehouse: DuckDBWarehouse, store: Store, entities: Sequence[str]) -> None:
        self.bench = bench
        self.entities = entities
        self.warehouse = warehouse
        self.store = store

    def sync(self, *, reconcile: timedelta | None = None, **options: Any) -> SyncResult:
        """One sync by a connector with these options."""
        with connected(self.bench.connector(**options) if options else self.bench.connector()) as connector:
            return sync_source(
                SOURCE,
                connector,
                warehouse=self.warehouse,
                store=self.store,
                clock=self.bench.clock,
                entities=self.entities,
                reconcile=reconcile,
            )

    def row(self, entity: str, native_id: str) -> dict[str, Any]:
        """A stored row; empty if there is none."""
        found = self.warehouse.query(f"SELECT * FROM {entity} WHERE native_id = $1", [native_id]).to_pylist()
        return dict(found[0]) if found else {}

    def living(self, entity: str) -> dict[str, dict[str, Any]]:
        """The living rows by native id."""
        found = self.warehouse.query(f"SELECT * FROM {entity} WHERE deleted_at IS NULL").to_pylist()
        return {row["native_id"]: row for row in found}

    def troubles(self) -> dict[str, str]:
        """What a person should know of the source, by subject."""
        with self.store.read() as connection:
            found = {one.subject: one.text for one in problems.list_problems(connection)}
        return {subject: text for subject, text in found.items() if subject.startswith("source:")}


@contextmanager
def stored(bench: SourceBench, folder: Path, *entities: str) -> Iterator[Stored]:
    """Empty stores in a folder, for these entities (none: the bench's own)."""
    store = Store(f"sqlite:///{folder}/kpid.db")
    store.create()
    warehouse = open_duckdb(folder / "crm.duckdb")
    try:
        yield Stored(bench, warehouse, store, entities or (bench.entity,))
    finally:
        warehouse.close()
        store.close()


class StoredContract:
    """What comes of it on the real sync. ``bench`` is a fixture of the subclass that gives a bench with no records in it."""

    def test_children_of_a_merged_record_follow_the_winner(self, bench: SourceBench, tmp_path: Path) -> None:
        expect_able(bench, "merges")
        bench.add(5)
        family = bench.family()
        with stored(bench, tmp_path, family.entity, family.child_entity) as held:
            later(bench)
            held.sync()
            before = held.row(family.child_entity, family.child)[family.column]
            expect(before == f"{SOURCE}:{family.loser}", f"the child refers to {before}")
            bench.unite(family)
            later(bench)
            held.sync(reconcile=ALWAYS)
            child, loser = held.row(family.child_entity, family.child), held.row(family.entity, family.loser)
            expect(child[family.column] == f"{SOURCE}:{family.winner}", f"the child refers to {child[family.column]}")
            expect(loser["deleted_at"] is not None and loser["merged_into_id"] == f"{SOURCE}:{family.winner}", f"it is {loser}")
            expect(family.winner in held.living(family.entity), "the winner is gone, too")
            later(bench)
            expect(held.sync().changed == 0, "a second look found changes")

    def test_old_records_get_a_field_that_is_named_later(self, bench: SourceBench, tmp_path: Path) -> None:
        expect_able(bench, "fields")
        first = bench.add(12)
        with stored(bench, tmp_path) as held:
            later(bench)
            held.sync()
            options = bench.add_field("region", dict.fromkeys(first, "north"))
            later(bench)
            held.sync(**options)
            regions = {native_id: row["region"] for native_id, row in held.living(bench.entity).items()}
            expect(regions == dict.fromkeys(first, "north"), f"old records have {set(regions.values())} in the new field")
            later(bench)
            expect(held.sync(**options).changed == 0, "a second look found changes")

    def test_what_vanished_without_a_word_is_found_and_counted(self, bench: SourceBench, tmp_path: Path) -> None:
        expect_able(bench, "purge", "listing")
        first = bench.add(12)
        with stored(bench, tmp_path) as held:
            later(bench)
            held.sync()
            bench.purge(first[5])
            later(bench)
            held.sync(reconcile=ALWAYS)
            expect(held.living(bench.entity).keys() == bench.truth().keys(), "what was purged still lives")
            expect(held.row(bench.entity, first[5])["deleted_reason"] == "vanished", "it is not said that it vanished")
            expect(not held.troubles(), f"a sound source has problems: {held.troubles()}")

    def test_nobody_is_asked_before_a_deferral_is_over(self, bench: SourceBench, tmp_path: Path) -> None:
        expect_able(bench, "daily")
        first = bench.add(12)
        with stored(bench, tmp_path) as held:
            later(bench)
            held.sync()
            bench.change(first[2])
            bench.spend_day()
            until = held.sync().deferred_until
            expect(until is not None and until > bench.clock.now(), "a spent budget does not defer the source")
            calls = len(bench.api.requests)
            again = held.sync()
            expect(len(bench.api.requests) == calls and not again.failed, "it was asked although it wants to be left alone")
            expect(not held.troubles(), f"to wait is no problem: {held.troubles()}")
            bench.new_day()
            bench.clock.set(until or bench.clock.now())
            later(bench)
            expect(held.sync().ok, "it does not go on when the time has come")
            expect(held.row(bench.entity, first[2])["name"] == bench.truth()[first[2]]["name"], "a change was lost meanwhile")
