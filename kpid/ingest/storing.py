"""Rows of pages, gathered and stored in batches, each together with the watermark behind it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import pyarrow as pa

from kpid.errors import PluginError
from kpid.ingest.following import left_out
from kpid.ingest.merging import Gone, buried, gone_rows, laid_to_rest
from kpid.ingest.moments import keep_first
from kpid.ingest.rows import table_from_rows
from kpid.ingest.run import Run, Tally, ask
from kpid.ingest.stages import HISTORY, StageWatch
from kpid.plugin import EntityReads, Page, Row, Tombstone
from kpid.warehouse import Batch, Watermark
from kpid.warehouse.types import INSTANT

BATCH_ROWS = 10_000
"""Small pages are gathered up to this: the engine writes large batches an order of magnitude faster."""
BATCH_BYTES = 32_000_000
"""... unless their texts are long: what is stored at once has to fit into memory."""
SETTLED_ROWS = 2_000
"""Rows become columns when there are so many: as rows they take ten times the memory."""
BATCH_SECONDS = 5.0
"""... but from a slow source what has been read is stored after this, so that a kill loses little."""


class Storing:
    """Gathers rows and stores them.

    Args:
        run: the sync that this is part of.
        reads: what the connector promises for the entity.
        tally: is kept up to date.
        label: what progress is told of; None: none is told.
    """

    def __init__(self, run: Run, reads: EntityReads, tally: Tally, *, label: str | None = None) -> None:
        self.run = run
        self.reads = reads
        self.tally = tally
        self._label = label
        self.entities = (reads.entity, *reads.carries)
        self._stages = StageWatch(run, reads)
        self._rows: dict[str, list[Row]] = {}
        self._settled: dict[str, list[pa.Table]] = {}
        self._gone: dict[str, Tombstone] = {}
        self._whole: dict[str, set[str]] = {}
        self._gathered = 0
        self._bytes = 0
        self._stored_at = run.clock.monotonic()

    def take(self, page: Page) -> None:
        """Take over a page's rows, and what it says to be gone. What is said last of a record counts.

        Raises:
            PluginError: rows of an entity that the connector has not announced.
        """
        for entity in (*page.rows, *page.whole):
            if entity not in self.entities:
                raise PluginError(
                    f"the connector gives rows of {entity!r} on pages of {self.reads.entity!r} without saying so in `carries`",
                    where=f"source {self.run.source}",
                )
        for entity in page.whole:
            parents = (f"{self.run.source}:{row['native_id']}" for row in page.rows.get(self.reads.entity, ()))
            self._whole.setdefault(entity, set()).update(parents)
        for entity, given in page.rows.items():
            rows = self._rows.setdefault(entity, [])
            rows.extend(given)
            self._gathered += len(given)
            if len(rows) >= SETTLED_ROWS:
                self._settle(entity)
        if self._gone:
            for row in page.rows.get(self.reads.entity, ()):
                self._gone.pop(row.get("native_id", ""), None)
        self._gone.update((stone.native_id, stone) for stone in page.gone)
        self._gathered += len(page.gone)

    @property
    def is_due(self) -> bool:
        """Whether enough has come together, or enough time has passed."""
        many = self._gathered >= BATCH_ROWS or self._bytes >= BATCH_BYTES
        return many or self.run.clock.monotonic() - self._stored_at >= BATCH_SECONDS

    def store(
        self, watermark: Watermark, *, seen: str | None = None, counted: Sequence[str] = (), forget: Sequence[str] = ()
    ) -> None:
        """Store what has come together, and the watermark behind it, in one transaction.

        Args:
            watermark: goes on behind these rows.
            seen: name of the complete read under which the rows of ``counted`` entities are marked as met; None: none is.
            counted: entities of which a complete read says what has vanished.
            forget: entities of which the marks of an earlier read are dropped first.
        """
        now, run, own = self.run.clock.now(), self.run, self.reads.entity
        tables = self._tables(now)
        gone = gone_rows(run.source, self._gone.values(), run.until)
        if own in tables:
            tables[own] = self._laid_to_rest(keep_first(run.warehouse, self.reads, tables[own]), gone)
        merged = {entity: run.merges.learn(entity, table, gone if entity == own else ()) for entity, table in tables.items()}
        if own not in tables:
            merged[own] = run.merges.learn(own, None, gone)
        tables = {entity: run.merges.redirected(entity, table) for entity, table in tables.items()}
        stubs = run.merges.stubs(own, gone, now, tables[own].column("id").to_pylist() if own in tables and gone else ())
        history, outdated = self._stages.observed(tables), self._stages.outdated(tables)
        left = [(HISTORY, outdated), *((entity, self._left_out(entity, tables.get(entity))) for entity in self._whole)]
        with run.warehouse.batch() as batch:
            for entity in forget:
                batch.forget_seen(run.source, entity)
            for entity, losers in merged.items():
                run.merges.point_to_winners(batch, entity, losers)
            for entity, table in tables.items():
                self._upsert(batch, entity, table)
                if seen is not None and entity in counted:
                    batch.mark_seen(run.source, entity, seen, table.column("id"))
            for entity, extra in ((own, stubs), (HISTORY, history)):
                if extra is not None:
                    batch.upsert(entity, extra)
            for entity, rows in left:
                batch.tombstone(entity, rows)
            if gone:
                self.tally.deletes += batch.tombstone(own, gone)
            batch.save_watermark(watermark)
        self._settled.clear()
        self._gone.clear()
        self._whole.clear()
        self._gathered = 0
        self._bytes = 0
        self._stored_at = run.clock.monotonic()
        if run.progress is not None and self._label is not None:
            run.progress(self._label, self.tally.rows, self.tally.total)

    def _left_out(self, entity: str, table: pa.Table | None) -> list[Gone]:
        """Rows that hung on records of which all that hangs on them has come."""
        given = [] if table is None else table.column("id").to_pylist()
        left = left_out(self.run, self.reads.entity, self._whole[entity], entity, given)
        return [(key, self.run.until, "deleted", None) for key in left]

    def _laid_to_rest(self, table: pa.Table, gone: Sequence[Gone]) -> pa.Table:
        """Rows that are told to be gone on the page that gives them."""
        both = list({row[0] for row in gone}.intersection(table.column("id").to_pylist() if gone else ()))
        if not both:
            return table
        grave = "id, deleted_at, deleted_reason, merged_into_id"
        sql = f"SELECT {grave} FROM {self.reads.entity} WHERE id IN (SELECT unnest($1::VARCHAR[]))"
        rows = [tuple(row.values()) for row in self.run.warehouse.query(sql, [both]).to_pylist()]
        self.tally.deletes += sum(row[1] is None for row in rows)
        return laid_to_rest(table, gone, {row[0]: row for row in rows if row[1] is not None})

    def _upsert(self, batch: Batch, entity: str, table: pa.Table) -> None:
        written = batch.upsert(entity, table)
        self.tally.rows += written.rows
        self.tally.changed += written.changed

    def _tables(self, now: datetime) -> dict[str, pa.Table]:
        """What has come together, by entity, as stored at one instant."""
        for entity in [entity for entity, rows in self._rows.items() if rows]:
            self._settle(entity)
        tables = {entity: pa.concat_tables(parts).combine_chunks() for entity, parts in self._settled.items()}
        for entity, table in tables.items():
            number = table.column_names.index("synced_at")
            stamped = pa.repeat(pa.scalar(now, INSTANT), table.num_rows)
            tables[entity] = table.set_column(number, table.schema.field(number), stamped)
        return tables

    def _settle(self, entity: str) -> None:
        """Make columns of the rows of an entity."""
        run, rows = self.run, self._rows.pop(entity)
        convert = partial(table_from_rows, entity, rows, source=run.source, synced_at=run.clock.now(), timezone=run.timezone)
        converted = ask(run.source, run.connector, convert)
        for problem in converted.problems:
            self.tally.add_problem(problem)
        self._bytes += converted.table.nbytes
        self._settled.setdefault(entity, []).append(buried(converted.table, run.until))
