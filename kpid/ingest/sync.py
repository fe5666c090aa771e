"""Brings the canonical tables up to date with one source: page -> rows -> stored with its cursor -> deletes -> mark.

Nothing here raises for a source's fault: it is recorded, and the other entities and sources go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kpid.clock import Clock
from kpid.errors import AuthError, ConfigError, ConnectorError, DeferredError, PluginError
from kpid.ingest.book import Book, EntitySync, sentence
from kpid.ingest.completeness import compare_count
from kpid.ingest.following import bury_followers
from kpid.ingest.merging import Merges
from kpid.ingest.passes import Passes
from kpid.ingest.reading import read_entity
from kpid.ingest.run import Progress, Run, Tally, ask
from kpid.plugin import Connector, EntityReads
from kpid.plugin.entities import ENTITIES
from kpid.store.engine import Store
from kpid.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What the sync of one source did.

    ``error`` is set if the source could not be read at all; ``deferred_until`` if it asked to be left alone until then, and
    ``deferred_why`` says what for.
    """

    source: str
    entities: tuple[EntitySync, ...]
    started_at: datetime
    finished_at: datetime
    error: str | None = None
    deferred_until: datetime | None = None
    deferred_why: str | None = None

    @property
    def ok(self) -> bool:
        """Everything asked for was read to its end."""
        return not self.failed and self.deferred_until is None

    @property
    def failed(self) -> bool:
        """Something went wrong. To wait because the source asked for it is not that."""
        return self.error is not None or any(entity.state == "failed" for entity in self.entities)

    @property
    def rows(self) -> int:
        """Rows read."""
        return sum(entity.rows for entity in self.entities)

    @property
    def changed(self) -> int:
        """Rows that were new or had changed."""
        return sum(entity.changed for entity in self.entities)

    @property
    def deletes(self) -> int:
        """Rows now marked as gone."""
        return sum(entity.deletes for entity in self.entities)


def sync_source(
    name: str,
    connector: Connector[Any],
    *,
    warehouse: Warehouse,
    store: Store,
    clock: Clock,
    every: timedelta | None = None,
    entities: Collection[str] | None = None,
    full: bool = False,
    since: datetime | None = None,
    reconcile: timedelta | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> SyncResult:
    """Sync one source from where it stands.

    Args:
        name: name of the configured source.
        connector: its connector.
        warehouse: where the rows go.
        store: where runs and problems are recorded.
        clock: the time.
        every: the usual time between two syncs, for the advice on problems.
        entities: only these; None: all that the connector fills.
        full: forget the cursors and read everything again; what is then gone is believed to be.
        since: read again what changed since then, if that is longer ago than what is read anyway.
        reconcile: compare the source's ids with the stored ones whenever the last time is so long ago; None: never.
        force: ask the source although it wants to be left alone.
        progress: told about each stored batch.

    Raises:
        ConfigError: ``entities`` names one that the connector does not fill.
        StoreError: our own stores failed.
    """
    book = Book(name, store, clock, every)
    started = clock.now()
    book.open()
    try:
        all_reads = ask(name, connector, connector.reads)
        reads = _chosen(name, all_reads, entities)
        waiting = None if full or force else book.waiting()
        if waiting is not None:
            return SyncResult(name, (), started, clock.now(), deferred_until=waiting.deferred_until, deferred_why=waiting.error)
        until = ask(name, connector, connector.server_time) or started
    except DeferredError as error:
        done = book.finish(book.start(reads[0].entity), reads[0].entity, Tally(), "deferred", error)
        return SyncResult(name, (done,), started, clock.now(), deferred_until=error.until, deferred_why=sentence(error))
    except (ConnectorError, PluginError) as error:
        book.source_failed(error)
        return SyncResult(name, (), started, clock.now(), error=str(error))
    if entities is None:
        book.unfilled(warehouse, reads)
    merges = Merges(warehouse, name, _filled(warehouse, name, all_reads))
    run = Run(name, connector, warehouse, clock, connector.context.timezone, until, merges, full, since, progress)
    done_ones, stopped = _sync_each(run, reads, book)
    if stopped is None:
        done_ones, stopped = _beside(Passes(run, book, reconcile), reads, done_ones)
    followed = bury_followers(run, reads)
    done_ones = tuple(replace(one, deletes=one.deletes + followed.get(one.entity, 0)) for one in done_ones)
    book.close(warehouse, refused=stopped if isinstance(stopped, AuthError) else None)
    deferred = stopped if isinstance(stopped, DeferredError) else None
    return SyncResult(
        name,
        done_ones,
        started,
        clock.now(),
        deferred_until=deferred.until if deferred else None,
        deferred_why=sentence(deferred) if deferred else None,
    )


def _filled(warehouse: Warehouse, name: str, reads: Sequence[EntityReads]) -> set[str]:
    """The tables that may have rows of the source: what it fills now, and what it once filled."""
    once = {mark.entity for mark in warehouse.watermarks() if mark.source == name}
    return once.union(*((wanted.entity, *wanted.carries) for wanted in reads)) & ENTITIES.keys()


def _sync_each(run: Run, reads: Sequence[EntityReads], book: Book) -> tuple[tuple[EntitySync, ...], ConnectorError | None]:
    """One entity after another, until one shows that the source cannot be asked any more."""
    done: list[EntitySync] = []
    for wanted in reads:
        result, stopped = _sync_entity(run, wanted, book)
        done.append(result)
        if stopped is not None:
            return tuple(done), stopped
    return tuple(done), None


def _chosen(name: str, reads: Sequence[EntityReads], entities: Collection[str] | None) -> Sequence[EntityReads]:
    if entities is None:
        return reads
    known = [wanted.entity for wanted in reads]
    for entity in entities:
        if entity not in known:
            near = difflib.get_close_matches(entity, known, 1)
            raise ConfigError(
                f"source {name} does not fill {entity!r}",
                hint=f"Did you mean {near[0]!r}?" if near else f"It fills: {', '.join(known)}",
            )
    return [wanted for wanted in reads if wanted.entity in entities]


def _beside(
    passes: Passes, reads: Sequence[EntityReads], done: Sequence[EntitySync]
) -> tuple[tuple[EntitySync, ...], AuthError | None]:
    """What goes on beside the reads, of the entities that were read to their end."""
    read = {one.entity for one in done if one.state == "done"}
    more, stopped = passes.take_turns([wanted for wanted in reads if wanted.entity in read])
    return tuple(one.with_more(more[one.entity]) if one.entity in more else one for one in done), stopped


def _sync_entity(run: Run, reads: EntityReads, book: Book) -> tuple[EntitySync, ConnectorError | None]:
    """One entity, and the error that ends the whole source's run, if it was one of those."""
    tally = Tally()
    key = book.start(reads.entity)
    before = {(mark.source, mark.entity): mark for mark in run.warehouse.watermarks()}.get((run.source, reads.entity))
    try:
        read_entity(run, reads, before, tally)
        if tally.is_whole:
            compare_count(run, reads, tally)
    except DeferredError as error:
        return book.finish(key, reads.entity, tally, "deferred", error), error
    except (ConnectorError, PluginError) as error:
        return book.finish(key, reads.entity, tally, "failed", error), error if isinstance(error, AuthError) else None
    return book.finish(key, reads.entity, tally, "done"), None
