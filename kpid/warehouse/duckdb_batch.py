"""What a batch does to a DuckDB file, statement by statement; :mod:`kpid.warehouse.writes` has their text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pyarrow as pa

from kpid.warehouse import Watermark, Written, writes
from kpid.warehouse.spans import READ_SPANS, Spans, spans
from kpid.warehouse.types import INSTANT, conform, entity_table

_MANY = 30_000
"""Rows; batches of a sync have some 10,000."""
_MUCH = 16_000_000
"""Bytes of all rows of a batch: long texts make few rows large."""
_WORTH_SPANS = 1_000
"""Rows; when so many come at once, more of the like may follow."""


class DuckDBBatch:
    """Writes of one transaction; see :class:`kpid.warehouse.Batch`.

    Args:
        cursor: in a transaction.
        take_room: called before what may need more memory than batches usually do.
        known: ranges of the ids that are stored.
    """

    def __init__(self, cursor: Any, take_room: Callable[[], None], known: Spans) -> None:
        self._cursor = cursor
        self._take_room = take_room
        self._spans = known
        self._seq: int | None = None
        self._bytes = 0

    def upsert(self, entity: str, rows: pa.Table) -> Written:
        """Store rows by ``id``: the last one wins, equal ones are left alone, changed ones are replaced whole."""
        if not rows.num_rows:
            return Written()
        self._bytes += rows.nbytes
        if rows.num_rows > _MANY or self._bytes > _MUCH:
            self._take_room()
        fitted = conform(entity, rows)
        all_new = self._are_new(entity, fitted.column("id").to_pylist())
        with self._incoming(fitted):
            if all_new or not self._run(writes.WAS.format(entity=entity)):
                self._touch(entity, [writes.INCOMING])
                changed = self._run(writes.ADD_FRESH.format(entity=entity, rows=writes.INCOMING))
                return Written(rows.num_rows, changed)
            changed = self._run(writes.fresh_rows(entity))
            if changed:
                self._touch(entity, ["fresh", "(SELECT w.* FROM was w SEMI JOIN fresh f ON w.id = f.id)"])
                self._run(writes.DROP_OLD.format(entity=entity))
                self._run(writes.ADD_FRESH.format(entity=entity, rows="fresh"))
            return Written(rows.num_rows, changed)

    def _are_new(self, entity: str, ids: Sequence[str]) -> bool:
        """Whether it is certain that none of these is stored. From now on they count as stored."""
        if not self._spans.knows(entity):
            if len(ids) < _WORTH_SPANS:
                return False
            self._spans.add(entity, self._cursor.execute(READ_SPANS.format(entity=entity)).fetchall())
        are_new = not self._spans.may_hold(entity, ids)
        self._spans.add(entity, spans(ids))
        return are_new

    def tombstone(self, entity: str, gone: Sequence[tuple[str, datetime, str, str | None]]) -> int:
        """Mark rows as deleted; how many were still alive. Unknown ids are passed over."""
        entity_table(entity)
        if not gone:
            return 0
        columns = list(zip(*{item[0]: item for item in gone}.values(), strict=True))
        names = ["id", "deleted_at", "deleted_reason", "merged_into_id"]
        kinds = [pa.string(), INSTANT, pa.string(), pa.string()]
        with self._incoming(pa.table([pa.array(c, k) for c, k in zip(columns, kinds, strict=True)], names=names)):
            count = self._run(writes.WAS_ALIVE.format(entity=entity))
            if count:
                self._touch(entity, ["was"])
                self._run(writes.BURY.format(entity=entity))
            return count

    def mark_seen(self, source: str, entity: str, run: str, ids: pa.Array | pa.ChunkedArray) -> None:
        """Remember that a full read has met these ids."""
        with self._incoming(pa.table({"id": ids})):
            self._run(writes.MARK_SEEN, [source, entity, run])

    def forget_seen(self, source: str, entity: str) -> None:
        """A full read begins, or is over."""
        self._run(writes.FORGET_SEEN, [source, entity])

    def save_watermark(self, watermark: Watermark) -> None:
        """Remember how far the read has come."""
        cursor = None if watermark.cursor is None else json.dumps(watermark.cursor, sort_keys=True)
        values = [cursor, watermark.through, watermark.finished_at, watermark.source, watermark.entity]
        if not self._run(writes.MOVE_WATERMARK, values):
            self._run(writes.ADD_WATERMARK, values)

    def _touch(self, entity: str, relations: Sequence[str]) -> None:
        if self._seq is None:
            self._seq = self._cursor.execute(writes.NEXT_SEQ).fetchall()[0][0]
        self._run(writes.touched_days(entity, relations))
        self._run(writes.TOUCH_AGAIN, [self._seq])
        self._run(writes.ADD_TOUCHED, [self._seq])

    def _run(self, sql: str, parameters: Any = None) -> int:
        """Run a statement to its end; how many rows it wrote."""
        rows = self._cursor.execute(sql, parameters).fetchall()
        return int(rows[0][0]) if rows and isinstance(rows[0][0], int) else 0

    @contextmanager
    def _incoming(self, rows: pa.Table) -> Iterator[None]:
        """Rows for the length of a block. After a failure they stay, until others replace them: what made it fail is told."""
        self._cursor.register(writes.INCOMING, rows)
        yield
        self._cursor.unregister(writes.INCOMING)
