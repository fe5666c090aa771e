"""Reads one entity of a source: page -> rows -> stored together with the cursor behind them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from kpid.ingest.position import position_from_json
from kpid.ingest.reconcile import delete_pass, mark_vanished, suspicious_zero
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
        self._storing = Storing(run, reads, tally)
        is_whole = reads.mode == "full" or reads.deletes == "absence"
        # history may be forgotten by the source, not by us
        self._counted = self._storing.entities if is_whole else (reads.entity,)
        self._unchanged = False
        again = run.full or self._slept_too_long()
        if again:
            self.position = replace(self.position, read=None, run=None)
        elif self._goes_back():
            self.position = replace(self.position, read=self._cursor_since(run.since), run=None)
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
        through = min(tally.through or run.until, run.until)
        through = max(through, self.before.through or through)
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
                batch.save_watermark(replace(self.before, cursor=replace(self.position, read=None, run=None).to_json()))
                return
            tally.through = through
            done = replace(self.before, through=through, finished_at=run.clock.now())
            batch.save_watermark(replace(done, cursor=replace(self.position, run=None).to_json()))
            for entity in self.reads.carries:
                batch.save_watermark(replace(done, entity=entity, cursor=None))

    def _doubtful(self) -> dict[str, int]:
        read = self.position.run or ""
        counts = {entity: suspicious_zero(self.run.warehouse, self.run.source, entity, read) for entity in self._counted}
        return {entity: count for entity, count in counts.items() if count}
