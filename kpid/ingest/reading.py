"""Reads one entity of a source: page -> rows -> stored together with the cursor behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from kpid.errors import PluginError
from kpid.ingest.observed import observed_intervals
from kpid.ingest.position import Position, position_from_json
from kpid.ingest.reconcile import delete_pass, mark_vanished, suspicious_zero
from kpid.ingest.rows import table_from_rows
from kpid.ingest.run import Run, Tally, ask, ask_each
from kpid.plugin import EntityReads, Page, Row
from kpid.warehouse import Watermark
from kpid.warehouse.types import arrow_schema

BATCH_ROWS = 10_000
"""Small pages are gathered up to this: the engine writes large batches an order of magnitude faster."""
BATCH_SECONDS = 5.0
"""... but from a slow source what has been read is stored after this, so that a kill loses little."""


def read_entity(run: Run, reads: EntityReads, before: Watermark | None, tally: Tally) -> None:
    """Bring one entity up to date: its pages, then its deletes, then the mark that says how far the data is complete.

    Args:
        run: the sync that this is part of.
        reads: what the connector promises for the entity.
        before: the entity's watermark, if it has been read before.
        tally: is kept up to date, also when this raises.

    Raises:
        ConnectorError, PluginError: the source or its connector failed; what was read before is stored.
    """
    reader = _Reader(run, reads, before, tally)
    for page in ask_each(run, lambda: run.connector.pages(reads.entity, reader.position.read, run.until)):
        reader.take(page)
    reader.store()
    if reads.deletes == "pass":
        reader.position = delete_pass(run, reads.entity, reader.before, reader.position, tally)
    reader.finish()


class _Reader:
    """Gathers pages and stores them in batches.

    The cursor that is saved always belongs to rows that are stored in the same transaction.
    """

    def __init__(self, run: Run, reads: EntityReads, before: Watermark | None, tally: Tally) -> None:
        self.run = run
        self.reads = reads
        self.before = before or Watermark(run.source, reads.entity, None, None, None)
        self.tally = tally
        self.position = position_from_json(self.before.cursor)
        self._entities = (reads.entity, *reads.carries)
        is_whole = reads.mode == "full" or reads.deletes == "absence"
        self._counted = self._entities if is_whole else (reads.entity,)  # history may be forgotten by the source, not by us
        self._buffer: dict[str, list[Row]] = {}
        self._gathered = 0
        self._stored_at = run.clock.monotonic()
        self._unchanged = False
        again = run.full or self._slept_too_long()
        if again:
            self.position = Position(deleted=self.position.deleted)
        self._begin = self.position.read
        from_start = reads.mode == "full" or (self._begin is None and (again or reads.deletes == "absence"))
        self._tracks = from_start or self.position.run is not None
        self._forget = self._tracks and (self.position.run is None or self._begin is None)
        if self._forget:
            self.position = replace(self.position, run=run.until.isoformat())
        self._resumed = self._tracks and not self._forget

    def _slept_too_long(self) -> bool:
        """The source may have forgotten deletions since the last complete read."""
        kept, last = self.reads.deletes_kept, self.before.finished_at
        return kept is not None and last is not None and self.position.run is None and self.run.clock.now() - last > kept

    def take(self, page: Page) -> None:
        """Take over a page; store when enough has come together."""
        for entity, rows in page.rows.items():
            if entity not in self._entities:
                raise PluginError(
                    f"the connector gives rows of {entity!r} on pages of {self.reads.entity!r} without saying so in `carries`",
                    where=f"source {self.run.source}",
                )
            self._buffer.setdefault(entity, []).extend(rows)
            self._gathered += len(rows)
        if page.restarted:
            self._forget, self._resumed = self._tracks, False
        self._unchanged = page.unchanged
        self.tally.warnings.extend(warning for warning in page.warnings if warning not in self.tally.warnings)
        full = self.reads.mode == "full"
        self.position = replace(self.position, read=page.cursor if page.cursor is not None or full else self._begin)
        self.tally.through = page.through
        self.tally.total = page.total if page.total is not None else self.tally.total
        if self._gathered >= BATCH_ROWS or self.run.clock.monotonic() - self._stored_at >= BATCH_SECONDS:
            self.store()

    def store(self) -> None:
        """Store what has come together, and the cursor behind it, in one transaction."""
        now = self.run.clock.now()
        tables = {entity: self._table(entity, rows, now) for entity, rows in self._buffer.items() if rows}
        history = self._observed(tables.get("deals"))
        with self.run.warehouse.batch() as batch:
            if self._forget:
                for entity in self._counted:
                    batch.forget_seen(self.run.source, entity)
            for entity, table in tables.items():
                written = batch.upsert(entity, table)
                self.tally.rows += written.rows
                self.tally.changed += written.changed
                if self._tracks and entity in self._counted and self.position.run is not None:
                    batch.mark_seen(self.run.source, entity, self.position.run, table.column("id"))
            if history is not None:
                batch.upsert("deal_stage_history", history)
            batch.save_watermark(replace(self.before, cursor=self.position.to_json()))
        self._forget = False
        self._buffer.clear()
        self._gathered = 0
        self._stored_at = self.run.clock.monotonic()
        if self.run.progress is not None:
            self.run.progress(f"{self.run.source}/{self.reads.entity}", self.tally.rows, self.tally.total)

    def finish(self) -> None:
        """Every page is stored: mark what has vanished, and how far the data is complete now."""
        tally, run = self.tally, self.run
        vanishes = self._tracks and (self._resumed or not self._unchanged)
        through = min(tally.through or run.until, run.until)
        doubtful = self._doubtful() if vanishes and not run.full else {}
        for entity, count in doubtful.items():
            tally.warnings.append(f"The source gave no {entity} at all, though {count} are stored: they are kept")
        tally.suspicious = self.reads.entity in doubtful
        tally.complete = not tally.suspicious and (vanishes or (self._begin is None and not self._unchanged))
        with run.warehouse.batch() as batch:
            for entity in self._counted if self._tracks else ():
                if vanishes and entity not in doubtful and self.position.run is not None:
                    mark_vanished(batch, run, entity, self.position.run, tally)
                batch.forget_seen(run.source, entity)
            if tally.suspicious:
                tally.through = self.before.through
                batch.save_watermark(replace(self.before, cursor=Position(deleted=self.position.deleted).to_json()))
                return
            tally.through = through
            done = replace(self.before, through=through, finished_at=run.clock.now())
            batch.save_watermark(replace(done, cursor=replace(self.position, run=None).to_json()))
            for entity in self.reads.carries:
                batch.save_watermark(replace(done, entity=entity, cursor=None))

    def _table(self, entity: str, rows: Sequence[Mapping[str, Any]], now: datetime) -> pa.Table:
        run = self.run
        convert = partial(table_from_rows, entity, rows, source=run.source, synced_at=now, timezone=run.timezone)
        converted = ask(run.source, run.connector, convert)
        for problem in converted.problems:
            self.tally.add_problem(problem)
        return converted.table

    def _doubtful(self) -> dict[str, int]:
        read = self.position.run or ""
        counts = {entity: suspicious_zero(self.run.warehouse, self.run.source, entity, read) for entity in self._counted}
        return {entity: count for entity, count in counts.items() if count}

    def _observed(self, deals: pa.Table | None) -> pa.Table | None:
        """Stage intervals that these deals show, where the CRM keeps no history of its own."""
        if deals is None or self.reads.history != "since_sync":
            return None
        names = ["id", "stage_id", "pipeline_id", "updated_at", "synced_at"]
        query = self.run.warehouse.query
        incoming = deals.select(names).to_pylist()
        ids = [row["id"] for row in incoming]
        stored = query(f"SELECT {', '.join(names)} FROM deals WHERE id IN (SELECT unnest($1::VARCHAR[]))", [ids])
        running = query(
            "SELECT * FROM deal_stage_history WHERE origin = 'observed' AND valid_to IS NULL "
            "AND deal_id IN (SELECT unnest($1::VARCHAR[]))",
            [ids],
        )
        rows = observed_intervals(stored.to_pylist(), incoming, running.to_pylist(), self.run.until)
        schema = arrow_schema("deal_stage_history")
        stamped = [{**row, "synced_at": self.run.clock.now()} for row in rows]
        return pa.Table.from_pylist(stamped, schema=schema) if rows else None
