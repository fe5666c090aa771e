"""The records of a source's sync: its runs, and what a person should know of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from kpid.analysis.wording import count_text
from kpid.clock import Clock
from kpid.errors import AuthError, ConnectorError, DeferredError, PluginError
from kpid.ingest.quality import find_flaws
from kpid.ingest.run import Tally
from kpid.plugin import EntityReads
from kpid.store import problems, syncs
from kpid.store.engine import Store
from kpid.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class EntitySync:
    """What the sync of one entity did; ``state`` is done, failed or deferred. ``notes`` are for the person who asked for it."""

    entity: str
    state: str
    rows: int = 0
    changed: int = 0
    deletes: int = 0
    through: datetime | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def with_more(self, tally: Tally) -> EntitySync:
        """The same, with what passes beside the read have done."""
        return replace(
            self,
            rows=self.rows + tally.rows,
            changed=self.changed + tally.changed,
            deletes=self.deletes + tally.deletes,
            warnings=(*self.warnings, *tally.warnings),
        )


class Book:
    """Keeps the records of one source's sync: runs and problems.

    Args:
        source: name of the configured source.
        store: where they are kept.
        clock: when they are written.
        every: the usual time between two syncs.
    """

    def __init__(self, source: str, store: Store, clock: Clock, every: timedelta | None) -> None:
        self._source = source
        self._store = store
        self._clock = clock
        self._again = f"It is tried again at the next sync (every {every})" if every else "It is tried again at the next sync"

    def open(self) -> None:
        """Close what a killed process left."""
        with self._store.write() as connection:
            syncs.close_abandoned(connection, self._source, self._clock.now())

    def waiting(self) -> syncs.SyncRun | None:
        """The sync at which the source asked to be left alone for longer than until now, if it did."""
        with self._store.read() as connection:
            last = syncs.deferred(connection, self._source)
        if last is None or last.deferred_until is None or last.deferred_until <= self._clock.now():
            return None
        return last

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

    def start(self, entity: str, kind: str = "sync") -> int:
        """An entity's sync begins, or a pass beside it."""
        with self._store.write() as connection:
            return syncs.start(connection, self._source, entity, self._clock.now(), kind=kind)

    def finish(
        self, key: int, entity: str, tally: Tally, state: str, error: ConnectorError | PluginError | None = None
    ) -> EntitySync:
        """An entity's sync has ended; its problems are noted, or are over."""
        now = self._clock.now()
        text = _told(error)
        warnings = _warnings(tally)
        through = tally.through if state == "done" else None
        subject = f"source:{self._source}/{entity}"
        with self._store.write() as connection:
            counts = {"rows": tally.rows, "changed": tally.changed, "deletes": tally.deletes}
            until = error.until if isinstance(error, DeferredError) else None
            syncs.finish(
                connection, key, state, now, **counts, error=text, warnings=warnings, through=through, deferred_until=until
            )
            if error is not None and state == "failed":
                problems.note(connection, subject, sentence(error), error.hint or self._again, now)
            elif tally.suspicious:
                hint = f"Check the source's permissions and filters; if it is really empty: `kpid sync {self._source} --full`"
                problems.note(connection, subject, "; ".join(tally.warnings), hint, now)
            elif state == "done" and tally.warnings:
                hint = "The rest was read; look at the source's settings and at what it lets kpid see"
                problems.note(connection, subject, "; ".join(tally.warnings), hint, now)
            elif state == "done":
                problems.clear(connection, subject)
            self._note_findings(connection, entity, tally)
            noted = self._note_rows(connection, tally)
            if state == "done" and tally.complete:
                problems.clear_others(connection, f"data:{self._source}:{entity}/", noted)
        return EntitySync(
            entity, state, **counts, through=through, error=text, warnings=tuple(warnings), notes=tuple(tally.notes)
        )

    def finish_beside(
        self, key: int, entity: str, kind: str, tally: Tally, error: ConnectorError | PluginError | None = None
    ) -> None:
        """A pass beside the sync has ended, for now; whatever went wrong, the entity itself is read."""
        is_deferred = isinstance(error, DeferredError)
        state = "done" if error is None else "deferred" if is_deferred else "failed"
        if error is not None and not is_deferred and not isinstance(error, AuthError):  # that one is the source's own problem
            tally.findings[kind] = (sentence(error), error.hint or self._again)
        with self._store.write() as connection:
            syncs.finish(
                connection,
                key,
                state,
                self._clock.now(),
                rows=tally.rows,
                changed=tally.changed,
                deletes=tally.deletes,
                error=_told(error),
                warnings=_warnings(tally),
                deferred_until=error.until if isinstance(error, DeferredError) else None,
            )
            self._note_findings(connection, entity, tally)
            self._note_rows(connection, tally)

    def _note_findings(self, connection: Connection, entity: str, tally: Tally) -> None:
        for name, found in tally.findings.items():
            subject = f"source:{self._source}/{entity} {name}"
            if found is None:
                problems.clear(connection, subject)
            else:
                problems.note(connection, subject, *found, self._clock.now())

    def _note_rows(self, connection: Connection, tally: Tally) -> list[str]:
        subjects, now = [], self._clock.now()
        for problem in tally.problems.values():
            subject = f"data:{self._source}:{problem.entity}/{problem.column}"
            text = f"{count_text(problem.count, 'row')} of {problem.entity}: {problem.what}, for example {problem.example}"
            hint = f"Correct them in the source or in its mapping, then `kpid sync {self._source} --full`"
            problems.note(connection, subject, text, hint, now, count=problem.count)
            subjects.append(subject)
        return subjects

    def source_failed(self, error: ConnectorError | PluginError) -> None:
        """The source could not be read at all."""
        with self._store.write() as connection:
            problems.note(connection, f"source:{self._source}", sentence(error), error.hint or self._again, self._clock.now())

    def close(self, warehouse: Warehouse, *, refused: AuthError | None) -> None:
        """The source's sync is over: look at the data itself."""
        now = self._clock.now()
        flaws = find_flaws(warehouse, now)
        with self._store.write() as connection:
            if refused is None:
                problems.clear(connection, f"source:{self._source}")
            else:
                problems.note(connection, f"source:{self._source}", sentence(refused), refused.hint or self._again, now)
            for flaw in flaws:
                problems.note(connection, flaw.check.subject, flaw.text, flaw.check.hint, now, count=flaw.count)
            for entity in ("deals", "orders", "survey_responses"):
                problems.clear_others(connection, f"data:{entity}/", [flaw.check.subject for flaw in flaws])


def _warnings(tally: Tally) -> list[str]:
    found = [finding[0] for finding in tally.findings.values() if finding]
    rows = [f"{p.entity}.{p.column}: {p.what} ({p.count} rows)" for p in tally.problems.values()]
    return [*tally.warnings, *found, *rows]


def _told(error: ConnectorError | PluginError | None) -> str | None:
    """An error for the records of runs. Until when a deferral lasts stands beside it."""
    return None if error is None else sentence(error) if isinstance(error, DeferredError) else str(error)


def sentence(error: ConnectorError | PluginError) -> str:
    """What went wrong and where, without what to do."""
    return f"{error.where}: {error.what}" if error.where else error.what
