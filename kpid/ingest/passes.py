"""Which passes beside the main reads are due, and their turns: after all of a sync's reads, and never for long."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kpid.errors import AuthError, ConnectorError, DeferredError, PluginError
from kpid.ingest.backfill import BACKFILL, fill_fields
from kpid.ingest.beside import Beside
from kpid.ingest.book import Book
from kpid.ingest.listing import RECONCILE, compare_ids
from kpid.ingest.position import Position, Side, position_from_json
from kpid.ingest.run import Run, Tally, ask
from kpid.plugin import EntityReads
from kpid.warehouse import Watermark

SIDE_TIME = timedelta(minutes=10)
"""So long a sync goes on with passes beside its reads; the rest is for the next one."""

_NAMES = {"fields": BACKFILL, "ids": RECONCILE}


@dataclass(slots=True)
class Passes:
    """The passes of one sync.

    Args:
        run: the sync.
        book: its records.
        reconcile: how often the ids are compared; None: only when the source may have forgotten deletions.
    """

    run: Run
    book: Book
    reconcile: timedelta | None

    def take_turns(self, read: Iterable[EntityReads]) -> tuple[dict[str, Tally], AuthError | None]:
        """All passes that are due, of the entities that were read; what each did, and the error that ended the source's sync."""
        deadline = self.run.clock.monotonic() + SIDE_TIME.total_seconds()
        done: dict[str, Tally] = {}
        for reads in read:
            for _ in _NAMES:
                tally = Tally()
                is_done, failed = self._take_turn(reads, tally, deadline)
                _add(done, reads.entity, tally)
                if isinstance(failed, AuthError):
                    return done, failed
                if isinstance(failed, DeferredError):
                    return done, None
                if not is_done:
                    break
        return done, None

    def _take_turn(self, reads: EntityReads, tally: Tally, deadline: float) -> tuple[bool, ConnectorError | PluginError | None]:
        """The next pass of an entity; whether it came to its end, and what went wrong."""
        mark = self._mark(reads)
        if mark is None or self.run.clock.monotonic() >= deadline:
            return False, None
        try:
            side = self._due(reads, mark)
        except PluginError as error:
            self.book.finish_beside(self.book.start(reads.entity, BACKFILL), reads.entity, BACKFILL, tally, error)
            return False, error
        return (False, None) if side is None else self._go_on(reads, mark, side, tally, deadline)

    def _mark(self, reads: EntityReads) -> Watermark | None:
        marks = self.run.warehouse.watermarks()
        return next((mark for mark in marks if (mark.source, mark.entity) == (self.run.source, reads.entity)), None)

    def _due(self, reads: EntityReads, mark: Watermark) -> Side | None:
        """The pass to go on with or to begin, the fields first."""
        position = position_from_json(mark.cursor)
        side = position.side
        asks = ask(self.run.source, self.run.connector, lambda: self.run.connector.asks(reads.entity))
        new = tuple(sorted(asks - set(position.asked))) if position.asked else ()
        if new:
            if side is not None and side.kind == "fields" and set(new) <= set(side.wanted):
                return replace(side, wanted=new)
            return Side("fields", self._now().isoformat(), wanted=new)
        if not reads.listing or reads.mode == "full":
            return None  # what is read whole is compared each time
        if side is not None and side.kind == "ids":
            # one that was killed before it knew its place lists all again: what it had met may be gone by now
            return side if side.run is not None and side.cursor is not None else self._begin_listing(reads, mark, position)
        return self._begin_listing(reads, mark, position) if self._is_listing_due(reads, position) else None

    def _is_listing_due(self, reads: EntityReads, position: Position) -> bool:
        if self.reconcile is None or position.listed_at is None:
            return False
        share = zlib.crc32(f"{self.run.source}/{reads.entity}".encode()) / 2**32
        spread = share * min(timedelta(days=1), self.reconcile / 7)
        return datetime.fromisoformat(position.listed_at) + self.reconcile + spread <= self._now()

    def _begin_listing(self, reads: EntityReads, mark: Watermark, position: Position) -> Side:
        now = self._now().isoformat()
        side = Side("ids", now, run=f"ids {now}")
        with self.run.warehouse.batch() as batch:
            batch.forget_seen(self.run.source, reads.entity)
            batch.save_watermark(replace(mark, cursor=replace(position, side=side).to_json()))
        return side

    def _go_on(
        self, reads: EntityReads, mark: Watermark, side: Side, tally: Tally, deadline: float
    ) -> tuple[bool, ConnectorError | PluginError | None]:
        """One pass, as far as its time goes; whether it came to its end, and what went wrong."""
        kind = _NAMES[side.kind]
        key = self.book.start(reads.entity, kind)
        beside = Beside(self.run, reads, mark, side, tally, kind=kind, deadline=deadline)
        failed: ConnectorError | PluginError | None = None
        is_done = False
        try:
            is_done = fill_fields(beside) if side.kind == "fields" else compare_ids(beside)
        except (ConnectorError, PluginError) as error:
            failed = error
        self.book.finish_beside(key, reads.entity, kind, tally, failed)
        return is_done, failed

    def _now(self) -> datetime:
        return self.run.clock.now()


def _add(done: dict[str, Tally], entity: str, tally: Tally) -> None:
    known = done.setdefault(entity, Tally())
    known.rows += tally.rows
    known.changed += tally.changed
    known.deletes += tally.deletes
    known.warnings.extend([*tally.warnings, *(found[0] for found in tally.findings.values() if found)])
