"""A pass beside an entity's main read: it has a cursor of its own, never moves the main one, and goes on in the next sync."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import pyarrow as pa

from kpid.ingest.position import Position, Side, position_from_json
from kpid.ingest.run import Run, Tally, ask_each
from kpid.ingest.storing import Storing
from kpid.plugin import EntityReads, Page
from kpid.warehouse import Watermark

CHUNK = 200
"""So many records are asked for at once."""


class Beside:
    """The surroundings of one pass: what it has fetched is stored together with its cursor.

    Args:
        run: the sync that this is part of.
        reads: what the connector promises for the entity.
        mark: the entity's watermark: all but its cursor stays.
        side: the pass, where it stands.
        tally: is kept up to date.
        kind: what people call it: ``reconcile``, ``backfill``.
        deadline: by the monotonic clock: from then on it goes on in the next sync.
    """

    def __init__(
        self, run: Run, reads: EntityReads, mark: Watermark, side: Side, tally: Tally, *, kind: str, deadline: float
    ) -> None:
        self.run = run
        self.reads = reads
        self.mark = mark
        self.side = side
        self.tally = tally
        self.label = f"{run.source}/{reads.entity} {kind}"
        self.position: Position = position_from_json(mark.cursor)
        self._deadline = deadline
        self._storing = Storing(run, reads, tally)

    @property
    def is_over(self) -> bool:
        """Whether the time of this sync's passes is up."""
        return self.run.clock.monotonic() >= self._deadline

    @property
    def is_due(self) -> bool:
        """Whether enough has been fetched to be stored."""
        return self._storing.is_due

    def take(self, page: Page) -> None:
        """Take over a page; its cursor does not count."""
        self._storing.take(page)
        self.tally.warnings.extend(warning for warning in page.warnings if warning not in self.tally.warnings)

    def fetch(self, ids: Iterable[str]) -> set[str]:
        """Ask for records by id and store what comes, but do not move on; the ids that came."""
        wanted, came = list(ids), set[str]()
        for start in range(0, len(wanted), CHUNK):
            came |= self.fetch_chunk(wanted[start : start + CHUNK])
            if self.is_due:
                self.store()
        if wanted:
            self.store()
        return came

    def fetch_chunk(self, ids: Sequence[str]) -> set[str]:
        """Ask for at most :data:`CHUNK` records and take them over; the ids that came."""
        run, entity, came = self.run, self.reads.entity, set[str]()
        for page in ask_each(run, lambda: run.connector.fetch(entity, ids)):
            came.update(str(row["native_id"]) for row in page.rows.get(entity, ()))
            self.take(page)
        return came

    def store(self, side: Side | None = None) -> None:
        """Store what was fetched, and where the pass stands behind it (None: where it stood)."""
        self.side = side or self.side
        self._storing.store(self._marked(self.side))
        self._tell()

    def move(self, side: Side, met: Collection[str]) -> None:
        """All is stored; these ids were met, and the pass goes on from here."""
        self.side = side
        with self.run.warehouse.batch() as batch:
            if met and side.run is not None:
                batch.mark_seen(self.run.source, self.reads.entity, side.run, self.keys(met))
            batch.save_watermark(self._marked(side))
        self._tell()

    def keys(self, native_ids: Iterable[str]) -> pa.Array:
        """Native ids as the warehouse has them."""
        return pa.array([f"{self.run.source}:{key}" for key in native_ids], pa.string())

    def finished(self, position: Position) -> Watermark:
        """The watermark once the pass is over."""
        return replace(self.mark, cursor=replace(position, side=None).to_json())

    def _tell(self) -> None:
        if self.run.progress is not None:
            self.run.progress(self.label, self.side.met, self.tally.total)

    def _marked(self, side: Side) -> Watermark:
        return replace(self.mark, cursor=replace(self.position, side=side).to_json())
