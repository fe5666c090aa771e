"""Brings the canonical tables up to date with one source: page -> rows -> stored with its cursor -> deletes -> mark.

Nothing here raises for a source's fault: it is recorded, and the other entities and sources go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kpid.analysis.wording import count_text
from kpid.clock import Clock
from kpid.errors import AuthError, ConfigError, ConnectorError, DeferredError, PluginError
from kpid.ingest.quality import find_flaws
from kpid.ingest.reading import read_entity
from kpid.ingest.run import Progress, Run, Tally, ask
from kpid.plugin import Connector, EntityReads
from kpid.store import problems, syncs
from kpid.store.engine import Store
from kpid.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class EntitySync:
    """What the sync of one entity did; ``state`` is done, failed or deferred."""

    entity: str
    state: str
    rows: int = 0
    changed: int = 0
    deletes: int = 0
    through: datetime | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What the sync of one source did. ``error`` is set if the source could not be read at all."""

    source: str
    entities: tuple[EntitySync, ...]
    started_at: datetime
    finished_at: datetime
    error: str | None = None
    deferred_until: datetime | None = None

    @property
    def ok(self) -> bool:
        """Everything asked for was read to its end."""
        return self.error is None and all(entity.state == "done" for entity in self.entities)

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
    progress: Progress | None = None,
) -> SyncResult:
    """Sync one source from where it stands.

    Args:
        name: name of the configured source.
        connector: its connector.
        warehouse: where the rows go.
        store: where runs and problems are recorded.
        clock: time.
        every: the usual time between syncs, for the hint of when it is tried again.
        entities: only these; None: all that the connector fills.
        full: forget the cursors and read everything again; an empty answer is then believed.
        progress: told about each stored batch.

    Raises:
        ConfigError: ``entities`` names one that the connector does not fill.
        StoreError: our own stores failed.
    """
    book = _Book(name, store, clock, every)
    started = clock.now()
    book.open()
    try:
        until = ask(name, connector, connector.server_time) or started
        reads = _chosen(name, ask(name, connector, connector.reads), entities)
    except (ConnectorError, PluginError) as error:
        book.source_failed(error)
        return SyncResult(name, (), started, clock.now(), error=str(error))
    if entities is None:
        book.unfilled(warehouse, reads)
    run = Run(name, connector, warehouse, clock, connector.context.timezone, until, full, progress)
    done: list[EntitySync] = []
    deferred: datetime | None = None
    stopped: ConnectorError | None = None
    for wanted in reads:
        result, stopped = _sync_entity(run, wanted, book)
        done.append(result)
        if stopped is not None:
            deferred = stopped.until if isinstance(stopped, DeferredError) else None
            break
    book.close(warehouse, refused=stopped if isinstance(stopped, AuthError) else None)
    return SyncResult(name, tuple(done), started, clock.now(), deferred_until=deferred)


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


def _sync_entity(run: Run, reads: EntityReads, book: _Book) -> tuple[EntitySync, ConnectorError | None]:
    """One entity, and the error that ends the whole source's run, if it was one of those."""
    tally = Tally()
    key = book.start(reads.entity)
    before = {(mark.source, mark.entity): mark for mark in run.warehouse.watermarks()}.get((run.source, reads.entity))
    try:
        read_entity(run, reads, before, tally)
    except DeferredError as error:
        return book.finish(key, reads.entity, tally, "deferred", error), error
    except (ConnectorError, PluginError) as error:
        return book.finish(key, reads.entity, tally, "failed", error), error if isinstance(error, AuthError) else None
    return book.finish(key, reads.entity, tally, "done"), None


class _Book:
    """Keeps the records of one source's sync: runs and problems."""

    def __init__(self, source: str, store: Store, clock: Clock, every: timedelta | None) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._again = f"It is tried again at the next sync (every {every})" if every else "It is tried again at the next sync"

    def open(self) -> None:
        """Close what a killed process left."""
        with self._store.write() as connection:
            syncs.close_abandoned(connection, self._source, self._clock.now())

    def unfilled(self, warehouse: Warehouse, reads: Sequence[EntityReads]) -> None:
        """What the source filled once and does not any more: a file that was taken away, an entity that was left out."""
        carried = {entity for wanted in reads for entity in wanted.carries}
        filled = carried | {wanted.entity for wanted in reads}
        now = self._clock.now()
        with self._store.write() as connection:
            for entity in carried:
                problems.clear(connection, f"source:{self._source}/{entity}")
            for mark in warehouse.watermarks():
                if mark.source == self._source and mark.entity not in filled and mark.through is not None:
                    text = f"{self._source} no longer fills {mark.entity}, as it did up to {mark.through:%Y-%m-%d %H:%M} UTC"
                    hint = "Its rows stay as they were, and grow stale; check that its file or its place in `entities:` is there"
                    problems.note(connection, f"source:{self._source}/{mark.entity}", text, hint, now)

    def start(self, entity: str) -> int:
        """An entity's sync begins."""
        with self._store.write() as connection:
            return syncs.start(connection, self._source, entity, self._clock.now())

    def finish(
        self, key: int, entity: str, tally: Tally, state: str, error: ConnectorError | PluginError | None = None
    ) -> EntitySync:
        """An entity's sync has ended; its problems are noted, or are over."""
        now = self._clock.now()
        text = str(error) if error else None
        warnings = [*tally.warnings, *(f"{p.entity}.{p.column}: {p.what} ({p.count} rows)" for p in tally.problems.values())]
        through = tally.through if state == "done" else None
        subject = f"source:{self._source}/{entity}"
        with self._store.write() as connection:
            counts = {"rows": tally.rows, "changed": tally.changed, "deletes": tally.deletes}
            until = error.until if isinstance(error, DeferredError) else None
            syncs.finish(
                connection, key, state, now, **counts, error=text, warnings=warnings, through=through, deferred_until=until
            )
            if error is not None and state == "failed":
                problems.note(connection, subject, _sentence(error), error.hint or self._again, now)
            elif tally.suspicious:
                hint = f"Check the source's permissions and filters; if it is really empty: `kpid sync {self._source} --full`"
                problems.note(connection, subject, tally.warnings[0], hint, now)
            elif state == "done" and tally.warnings:
                hint = "The rest was read; look at the source's settings and at what it lets kpid see"
                problems.note(connection, subject, "; ".join(tally.warnings), hint, now)
            elif state == "done":
                problems.clear(connection, subject)
            noted = self._note_rows(tally, lambda s, t, h, n: problems.note(connection, s, t, h, now, count=n))
            if state == "done" and tally.complete:
                problems.clear_others(connection, f"data:{self._source}:{entity}/", noted)
        return EntitySync(entity, state, **counts, through=through, error=text, warnings=tuple(warnings))

    def _note_rows(self, tally: Tally, note: Callable[[str, str, str, int], None]) -> list[str]:
        subjects = []
        for problem in tally.problems.values():
            subject = f"data:{self._source}:{problem.entity}/{problem.column}"
            text = f"{count_text(problem.count, 'row')} of {problem.entity}: {problem.what}, for example {problem.example}"
            note(
                subject,
                text,
                f"Correct them in the source or in its mapping, then `kpid sync {self._source} --full`",
                problem.count,
            )
            subjects.append(subject)
        return subjects

    def source_failed(self, error: ConnectorError | PluginError) -> None:
        """The source could not be read at all."""
        with self._store.write() as connection:
            problems.note(connection, f"source:{self._source}", _sentence(error), error.hint or self._again, self._clock.now())

    def close(self, warehouse: Warehouse, *, refused: AuthError | None) -> None:
        """The source's sync is over: look at the data itself."""
        now = self._clock.now()
        flaws = find_flaws(warehouse, now)
        with self._store.write() as connection:
            if refused is None:
                problems.clear(connection, f"source:{self._source}")
            else:
                problems.note(connection, f"source:{self._source}", _sentence(refused), refused.hint or self._again, now)
            for flaw in flaws:
                problems.note(connection, flaw.check.subject, flaw.text, flaw.check.hint, now, count=flaw.count)
            for entity in ("deals", "orders", "survey_responses"):
                problems.clear_others(connection, f"data:{entity}/", [flaw.check.subject for flaw in flaws])


def _sentence(error: ConnectorError | PluginError) -> str:
    return f"{error.where}: {error.what}" if error.where else error.what
