"""The warehouse: CRM facts in the canonical tables, and the engine that queries them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch changed: rows given, rows that differed from what was stored, and rows now marked deleted."""

    rows: int = 0
    changed: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Watermark:
    """How far the sync of one entity of one source has come."""

    source: str
    entity: str
    cursor: Mapping[str, Any] | None
    through: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Changes:
    """Days (UTC) that a clock column's values touched, old and new, since a position.

    ``days`` maps ``(entity, column)`` to the days; a None day stands for "no value". ``position`` is to be remembered once the
    changes have been dealt with. ``restate``: nobody says what has changed, so periods that ended within so long may have.
    """

    position: int
    days: Mapping[tuple[str, str], frozenset[date | None]] = field(default_factory=dict)
    restate: timedelta | None = None


class Batch(Protocol):
    """Writes of one page, all or nothing."""

    def upsert(self, entity: str, rows: pa.Table) -> Written:
        """Store rows by ``id``: the last of a batch wins, rows equal to the stored ones are left alone."""

    def tombstone(self, entity: str, gone: Sequence[tuple[str, datetime, str, str | None]]) -> int:
        """Mark rows ``(id, at, reason, merged_into_id)`` as deleted; how many were still alive, or not known to be merged."""

    def mark_seen(self, source: str, entity: str, run: str, ids: pa.Array | pa.ChunkedArray) -> None:
        """Remember, in the same transaction as the rows, that the full read ``run`` has met these ids."""

    def forget_seen(self, source: str, entity: str) -> None:
        """A full read begins, or is over."""

    def save_watermark(self, watermark: Watermark) -> None:
        """Remember how far the read has come, in the same transaction as its rows."""


class Warehouse(Protocol):
    """An engine that holds the canonical tables. Safe to use from several threads."""

    dialect: str
    """Name of the SQL dialect for ``kpid.metrics.dialects``: ``duckdb``, ``postgresql`` ..."""

    in_place: bool
    """Whether its tables are somebody else's: there are no batches and no snapshots."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT and give its whole result."""

    def batch(self) -> AbstractContextManager[Batch]:
        """A transaction for one page; rolled back if the block raises."""

    def may_hold(self, entity: str, ids: Iterable[str]) -> bool:
        """Whether rows with any of these ids may be stored; False is certain, and spares a query."""

    def watermarks(self) -> Sequence[Watermark]:
        """All watermarks."""

    def changes(self, after: int) -> Changes:
        """What has changed since position ``after`` (0: everything there is)."""

    def snapshot_to(self, path: Path | str) -> Path:
        """A consistent copy for readers in other processes, put in place at once."""

    def give_back_memory(self) -> None:
        """Let go of what only makes the next reads faster, unless somebody is reading or writing."""

    def sparing(self) -> AbstractContextManager[None]:
        """For the length of a sync: this thread's queries need not be quick, and take memory that does not grow with tables."""

    def close(self) -> None:
        """Flush and let go of the files."""
