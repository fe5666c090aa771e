"""Reads one entity of a source: page -> rows -> stored together with the cursor behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from kpid.ingest.beside import CHUNK
from kpid.ingest.listing import RECONCILE
from kpid.ingest.position import Position, Side, position_from_json
from kpid.ingest.reconcile import Loss, delete_pass, loss_of, mark_vanished, unmet_ids
from kpid.ingest.run import Run, Tally, ask, ask_each
from kpid.ingest.storing import Storing
from kpid.plugin import Cursor, EntityReads, Page
from kpid.warehouse import Watermark


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
        del page  # while the next one is made
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
        self._storing = Storing(run, reads, tally, label=f"{run.source}/{reads.entity}")
        is_whole = reads.mode == "full" or reads.deletes == "absence"
        # history may be forgotten by the source, not by us
        self._counted = self._storing.entities if is_whole else (reads.entity,)
        self._unchanged = False
        slept = self._slept_too_long()
        again = run.full or (slept and not reads.listing)
        if again:
            self.position = replace(self.position, read=None, run=None)
        elif self._goes_back():
            self.position = replace(self.position, read=self._cursor_since(run.since), run=None)
            lost = reads.listing and reads.deletes == "inline" and reads.deletes_kept is not None  # with the cursor that is left
            self.position = replace(self.position, side=self._ids() if lost else self.position.side)
        self._begin = self.position.read
        from_start = reads.mode == "full" or (self._begin is None and (again or reads.deletes == "absence"))
        if self._begin is None or (reads.mode == "full" and self.position.run is None):
            # all rows are read with all fields
            self.position = replace(self.position, asked=tuple(sorted(self._asks())), side=None)
        if slept and reads.listing:
            self.position = replace(self.position, side=self._ids())
        self._tracks = from_start or self.position.run is not None
        self._forget = self._tracks and (self.position.run is None or self._begin is None)
        if self._forget:
            self.position = replace(self.position, run=run.until.isoformat())
        self._resumed = self._tracks and not self._forget

    def _ids(self) -> Side:
        """All ids are to be compared: nobody tells what has gone."""
        return Side("ids", self.run.clock.now().isoformat())

    def _slept_too_long(self) -> bool:
        """The source may have forgotten deletions since the last complete read."""
        kept, last = self.reads.deletes_kept, self.before.finished_at
        return kept is not None and last is not None and self.position.run is None and self.run.clock.now() - last > kept

    def _asks(self) -> frozenset[str]:
        return ask(self.run.source, self.run.connector, lambda: self.run.connector.asks(self.reads.entity))

    def _goes_back(self) -> bool:
        """A person wants changes read again that are behind the mark; what is read whole, or for the first time, has them."""
        since, through = self.run.since, self.before.through
        return since is not None and through is not None and since < through and self.reads.mode == "incremental"

    def _cursor_since(self, at: datetime | None) -> Cursor | None:
        cursor = None if at is None else ask(self.run.source, self.run.connector, lambda: self._at(at))
        if cursor is None:
            self.tally.notes.append(f"All {self.reads.entity} are read again: the source cannot begin at an instant")
        return cursor

    def _at(self, at: datetime) -> Cursor | None:
        return self.run.connector.since(self.reads.entity, at)

    def take(self, page: Page) -> None:
        """Take over a page; store when enough has come together."""
        self._storing.take(page)
        if page.restarted:
            self._forget, self._resumed = self._tracks, False
        self._unchanged = page.unchanged
        self.tally.warnings.extend(warning for warning in page.warnings if warning not in self.tally.warnings)
        full = self.reads.mode == "full"
        self.position = replace(self.position, read=page.cursor if page.cursor is not None or full else self._begin)
        self.tally.through = page.through
        self.tally.total = page.total if page.total is not None else self.tally.total
        if self._storing.is_due:
            self.store()

    def store(self) -> None:
        """Store what has come together, and the cursor behind it, in one transaction."""
        self._storing.store(
            replace(self.before, cursor=self.position.to_json()),
            seen=self.position.run if self._tracks else None,
            counted=self._counted,
            forget=self._counted if self._forget else (),
        )
        self._forget = False

    def finish(self) -> None:
        """Every page is stored: mark what has vanished, and how far the data is complete now."""
        tally, run = self.tally, self.run
        vanishes = self._tracks and (self._resumed or not self._unchanged)
        if vanishes:
            self._ask_for_unmet()
        losses = self._losses() if vanishes else {}
        doubtful = self._doubtful(losses) if not run.full else {}
        tally.warnings.extend(doubtful.values())
        tally.suspicious = self.reads.entity in doubtful
        tally.complete = not tally.suspicious and (vanishes or (self._begin is None and not self._unchanged))
        tally.is_whole = tally.complete or (self.before.through is None and not self._unchanged and not tally.suspicious)
        for entity, loss in losses.items():
            if loss.unmet and entity not in doubtful and self.position.run is not None:
                mark_vanished(run, entity, self.position.run, tally)
        with run.warehouse.batch() as batch:
            for entity in self._counted if self._tracks else ():
                batch.forget_seen(run.source, entity)
            if tally.suspicious:
                tally.through = self.before.through
                batch.save_watermark(replace(self.before, cursor=replace(self.position, read=None, run=None).to_json()))
                return
            through = min(tally.through or run.until, run.until)
            tally.through = max(through, self.before.through or through)
            done = replace(self.before, through=tally.through, finished_at=run.clock.now())
            batch.save_watermark(replace(done, cursor=self._at_the_end(compared=vanishes).to_json()))
            for entity in self.reads.carries:
                batch.save_watermark(replace(done, entity=entity, cursor=None))
        if vanishes:
            tally.findings[RECONCILE] = None

    def _ask_for_unmet(self) -> None:
        """What a read of the whole has left out is asked for by id: pages may have shifted under it."""
        run, entity = self.run, self.reads.entity
        if not self.reads.by_id or self.position.run is None:
            return
        unmet = unmet_ids(run.warehouse, run.source, entity, self.position.run)
        for start in range(0, len(unmet), CHUNK):
            ids = unmet[start : start + CHUNK]
            for page in ask_each(run, partial(run.connector.fetch, entity, ids)):
                self._storing.take(page)
        if unmet:
            self.store()

    def _losses(self) -> dict[str, Loss]:
        """What a read of the whole has left out, by entity."""
        read = self.position.run or ""
        return {entity: loss_of(self.run.warehouse, self.run.source, entity, read) for entity in self._counted}

    def _doubtful(self, losses: Mapping[str, Loss]) -> dict[str, str]:
        """What is wrong with a loss, by entity."""
        found = {}
        for entity, loss in losses.items():
            if loss.is_doubtful and not loss.met_any:
                found[entity] = f"The source gave no {entity} at all, though {loss.living:,} are stored: they are kept"
            elif loss.is_doubtful and self.before.finished_at is not None:
                text = f"The source left out {loss.unmet:,} of {loss.living:,} stored {entity} at once: they are kept"
                found[entity] = text
        return found

    def _at_the_end(self, *, compared: bool) -> Position:
        """The position between reads; ``compared``: what was stored was compared with the whole of the source."""
        asks, asked = self._asks(), set(self.position.asked)
        listed_at = self.run.clock.now().isoformat() if compared or self.position.listed_at is None else self.position.listed_at
        known = tuple(sorted((asked & asks) or asked or asks))
        return replace(self.position, run=None, asked=known, listed_at=listed_at if self.reads.listing else None)
