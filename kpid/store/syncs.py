"""Sync runs: one row per source, entity and attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from kpid.store.tables import sync_runs


@dataclass(frozen=True, slots=True)
class SyncRun:
    """One attempt to bring an entity up to date.

    ``state`` is running, done, failed or deferred (until ``deferred_until``); ``through`` is how far the data then was complete.
    ``kind`` is sync, reconcile or backfill.
    """

    id: int
    source: str
    entity: str
    started_at: datetime
    finished_at: datetime | None
    state: str
    rows: int
    changed: int
    deletes: int
    error: str | None
    warnings: tuple[str, ...]
    through: datetime | None
    deferred_until: datetime | None = None
    kind: str = "sync"


def start(connection: Connection, source: str, entity: str, now: datetime, *, kind: str = "sync") -> int:
    """A sync begins, or a pass beside it (``kind``: reconcile, backfill); its id."""
    added = connection.execute(
        insert(sync_runs).values(source=source, entity=entity, started_at=now, state="running", warnings=[], kind=kind)
    )
    (key,) = added.inserted_primary_key or (0,)
    return int(key)


def finish(
    connection: Connection,
    run: int,
    state: str,
    now: datetime,
    *,
    rows: int = 0,
    changed: int = 0,
    deletes: int = 0,
    error: str | None = None,
    warnings: Sequence[str] = (),
    through: datetime | None = None,
    deferred_until: datetime | None = None,
) -> None:
    """A sync has ended as ``done``, ``failed`` or ``deferred``."""
    connection.execute(
        update(sync_runs)
        .where(sync_runs.c.id == run)
        .values(
            state=state,
            finished_at=now,
            rows=rows,
            changed=changed,
            deletes=deletes,
            error=error,
            warnings=list(warnings),
            through=through,
            deferred_until=deferred_until,
        )
    )


def deferred(connection: Connection, source: str) -> SyncRun | None:
    """The sync at which the source asked to be left alone, if it is the newest of any of its entities."""
    ended = (sync_runs.c.source == source, sync_runs.c.kind == "sync", sync_runs.c.state != "running")
    row = connection.execute(select(sync_runs).where(*ended).order_by(sync_runs.c.id.desc()).limit(1)).one_or_none()
    return _run(row._mapping) if row is not None and row.state == "deferred" else None


def deferred_until(connection: Connection, source: str) -> datetime | None:
    """Until when the source asked to be left alone, by the newest sync of any of its entities; None: it did not."""
    newest = deferred(connection, source)
    return newest.deferred_until if newest else None


def close_abandoned(connection: Connection, source: str, now: datetime) -> int:
    """Runs of a process that was killed end as failed; how many. What they had stored stays: the next run goes on from there."""
    closed = connection.execute(
        update(sync_runs)
        .where(sync_runs.c.source == source, sync_runs.c.state == "running")
        .values(
            state="failed", finished_at=now, error="The process ended in the middle of this sync; the next one goes on from there"
        )
    )
    return closed.rowcount


def latest(connection: Connection) -> list[SyncRun]:
    """The newest sync of each source and entity, in the order of source and entity."""
    newest = select(func.max(sync_runs.c.id)).where(sync_runs.c.kind == "sync").group_by(sync_runs.c.source, sync_runs.c.entity)
    rows = connection.execute(
        select(sync_runs).where(sync_runs.c.id.in_(newest)).order_by(sync_runs.c.source, sync_runs.c.entity)
    )
    return [_run(row._mapping) for row in rows]


def newest_through(connection: Connection) -> dict[tuple[str, str], datetime]:
    """How far each source and entity was complete when it last came to its end, whatever has happened since."""
    names = (sync_runs.c.source, sync_runs.c.entity)
    query = select(*names, func.max(sync_runs.c.through)).where(sync_runs.c.through.is_not(None)).group_by(*names)
    return {(source, entity): through for source, entity, through in connection.execute(query)}


def prune(connection: Connection, before: datetime) -> int:
    """Forget syncs that ended before an instant, but the newest of each source, entity and kind, and what was done last."""
    names = (sync_runs.c.source, sync_runs.c.entity)
    newest = select(func.max(sync_runs.c.id)).group_by(*names, sync_runs.c.kind)
    done = select(func.max(sync_runs.c.id)).where(sync_runs.c.state == "done").group_by(*names)
    old = (sync_runs.c.finished_at < before, sync_runs.c.id.not_in(newest), sync_runs.c.id.not_in(done))
    return connection.execute(delete(sync_runs).where(*old)).rowcount


def list_runs(connection: Connection, source: str | None = None, *, limit: int = 50) -> list[SyncRun]:
    """Runs, the newest first."""
    query = select(sync_runs).order_by(sync_runs.c.id.desc()).limit(limit)
    if source is not None:
        query = query.where(sync_runs.c.source == source)
    return [_run(row._mapping) for row in connection.execute(query)]


def _run(row: object) -> SyncRun:
    values = dict(row)  # type: ignore[call-overload]
    return SyncRun(**{**values, "warnings": tuple(values["warnings"])})
