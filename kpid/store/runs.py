"""What was due, what came of it: schedule positions and runs. The rows decide what runs; a timer only wakes us up.

A run is known by its schedule and its nominal time, so it exists once whatever happens. Who runs it holds a lease and a fence: a
lease that ran out is taken again with a higher fence, and the old holder's word no longer counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, or_, select, update

from kpid.analysis.schedule import Due, Position, Schedule
from kpid.store.messages import insert_new
from kpid.store.tables import runs, schedule_positions

LEASE = timedelta(seconds=90)
"""How long a holder may be silent; the daemon renews every 30 s."""

MAX_ATTEMPTS = 5
"""A run that took the process down so often is given up."""

_PAST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """One due time of one schedule. ``state``: due, running, done, failed, skipped."""

    schedule: str
    due: str
    timezone: str
    due_at: datetime
    state: str
    reason: str
    started_at: datetime | None
    finished_at: datetime | None
    fence: int


def _run(row: Row[tuple[object, ...]]) -> Run:
    return Run(**{name: getattr(row, name) for name in Run.__slots__})


def nominal_text(nominal: datetime) -> str:
    """A nominal time as it is stored and printed: ``2026-11-23T07:30:00``."""
    return nominal.isoformat(timespec="seconds")


def position_of(connection: Connection, name: str) -> Position | None:
    """How far a schedule is planned; None if it never was."""
    table = schedule_positions.c
    row = connection.execute(select(table.spec, table.last_nominal).where(table.schedule == name)).one_or_none()
    return None if row is None else Position(row.spec, datetime.fromisoformat(row.last_nominal))


def save_position(connection: Connection, name: str, position: Position) -> None:
    """Remember how far a schedule is planned."""
    values = {"spec": position.spec, "last_nominal": position.last.isoformat()}
    if not insert_new(connection, schedule_positions, {"schedule": name, **values}):
        connection.execute(update(schedule_positions).where(schedule_positions.c.schedule == name).values(values))


def plan_runs(connection: Connection, name: str, schedule: Schedule, due: Due, *, now: datetime) -> int:
    """Record what is due and what is passed over, and move the position: all in the caller's transaction.

    Args:
        connection: a writing transaction.
        name: the schedule's name: ``sync:crm``, ``report:weekly``.
        schedule: what it was planned with.
        due: the decision of :func:`kpid.analysis.schedule.due_runs`.
        now: when it is planned.

    Returns:
        How many new rows are due; a nominal time that is known already adds none.
    """
    new = 0
    for nominal in due.to_run:
        new += _add(connection, name, schedule, nominal, {"state": "due"}) or _revive(connection, name, nominal, now)
    for skip in due.skipped:
        _add(connection, name, schedule, skip.nominal, {"state": "skipped", "reason": skip.reason, "finished_at": now})
    save_position(connection, name, due.position)
    return new


def add_run(connection: Connection, name: str, schedule: Schedule, nominal: datetime, *, reason: str = "") -> bool:
    """Make a due time to be run that no timer found: the first of a schedule. False = it is known already."""
    return _add(connection, name, schedule, nominal, {"state": "due", "reason": reason})


def _add(connection: Connection, name: str, schedule: Schedule, nominal: datetime, values: dict[str, object]) -> bool:
    row = {"timezone": schedule.nominal_zone, "due_at": schedule.instant(nominal), **values}
    return insert_new(connection, runs, {"schedule": name, "due": nominal_text(nominal), "fence": 0, "reason": "", **row})


def _revive(connection: Connection, name: str, nominal: datetime, now: datetime) -> bool:
    """Make a due time to be run after all that was passed over by a clock that was ahead of its time."""
    ahead = (runs.c.schedule == name, runs.c.due == nominal_text(nominal), runs.c.state == "skipped", runs.c.finished_at > now)
    values = {"state": "due", "reason": "", "finished_at": None}
    return connection.execute(update(runs).where(*ahead).values(values)).rowcount == 1


def take_run(connection: Connection, names: Collection[str], *, now: datetime, lease: timedelta = LEASE) -> Run | None:
    """Take the oldest run that is due, or whose holder's lease ran out.

    A schedule has one run at a time. A run that was taken :data:`MAX_ATTEMPTS` times without an end is failed.

    Args:
        connection: a writing transaction.
        names: the schedules to look at: those that are configured now.
        now: the current instant.
        lease: how long we may be silent.
    """
    late = and_(runs.c.state == "running", runs.c.lease_until < now)
    busy = select(runs.c.schedule).where(runs.c.state == "running", runs.c.lease_until >= now)
    free = (or_(runs.c.state == "due", late), runs.c.schedule.in_(names), runs.c.schedule.not_in(busy))
    query = select(runs).where(*free).order_by(runs.c.due_at, runs.c.schedule).limit(1)
    while (row := connection.execute(query.with_for_update(skip_locked=True)).first()) is not None:
        run = _run(row)
        if run.fence >= MAX_ATTEMPTS:
            reason = f"abandoned: begun {run.fence} times and never ended; the process may have been killed each time"
            _end(connection, run, "failed", reason, now)
            continue
        taken = {"state": "running", "fence": run.fence + 1, "lease_until": now + lease, "started_at": now}
        connection.execute(update(runs).where(_this(run)).values(taken))
        return _run(connection.execute(select(runs).where(runs.c.schedule == run.schedule, runs.c.due == run.due)).one())
    return None


def renew_runs(connection: Connection, held: Sequence[Run], *, now: datetime, lease: timedelta = LEASE) -> None:
    """Say that these runs are still being worked on."""
    for run in held:
        connection.execute(update(runs).where(_this(run), runs.c.state == "running").values(lease_until=now + lease))


def finish_run(connection: Connection, run: Run, *, now: datetime, note: str = "") -> bool:
    """Mark a run as done; False = somebody else has taken it since, and what they say counts."""
    return _end(connection, run, "done", note, now)


def fail_run(connection: Connection, run: Run, *, now: datetime, reason: str) -> bool:
    """Mark a run as failed, with the reason; False as for :func:`finish_run`."""
    return _end(connection, run, "failed", reason, now)


def pass_over_run(connection: Connection, run: Run, *, now: datetime, reason: str) -> bool:
    """Mark a run that was taken as skipped after all."""
    return _end(connection, run, "skipped", reason, now)


def newest_due(connection: Connection, schedule: str) -> datetime | None:
    """Instant of a schedule's newest due time that is not skipped."""
    query = select(runs.c.due_at).where(runs.c.schedule == schedule, runs.c.state != "skipped")
    return connection.execute(query.order_by(runs.c.due_at.desc()).limit(1)).scalar()


def unended_runs(connection: Connection, prefix: str) -> list[Run]:
    """Runs that are due or running, of schedules whose name begins so, oldest first."""
    query = select(runs).where(runs.c.state.in_(("due", "running")), runs.c.schedule.startswith(prefix))
    return [_run(row) for row in connection.execute(query.order_by(runs.c.due_at))]


def release_run(connection: Connection, run: Run) -> None:
    """Give a run back unended: it is due again."""
    values = {"state": "due", "lease_until": None, "started_at": None}
    connection.execute(update(runs).where(_this(run), runs.c.state == "running").values(values))


def put_off_run(connection: Connection, run: Run, reason: str) -> bool:
    """Leave a run due, or make it due again, and say what it waits for; False = somebody else has taken it since."""
    values = {"state": "due", "reason": reason, "lease_until": None, "started_at": None}
    mine = (_this(run), runs.c.state.in_(("due", "running")))
    return connection.execute(update(runs).where(*mine).values(values)).rowcount == 1


def reclaim_runs(connection: Connection) -> int:
    """Let go of all leases: for a process that knows it is the only one (the lock of a SQLite store). How many there were."""
    return connection.execute(update(runs).where(runs.c.state == "running").values(lease_until=_PAST)).rowcount


def _this(run: Run) -> ColumnElement[bool]:
    return and_(runs.c.schedule == run.schedule, runs.c.due == run.due, runs.c.fence == run.fence)


def _end(connection: Connection, run: Run, state: str, reason: str, now: datetime) -> bool:
    values = {"state": state, "reason": reason, "finished_at": now, "lease_until": None}
    return connection.execute(update(runs).where(_this(run)).values(values)).rowcount == 1


def list_runs(connection: Connection, *, schedule: str | None = None, state: str | None = None, limit: int = 50) -> list[Run]:
    """Runs, newest first.

    Args:
        connection: any connection.
        schedule: only this schedule's.
        state: only those in this state.
        limit: at most so many.
    """
    query = select(runs).order_by(runs.c.due_at.desc(), runs.c.schedule).limit(limit)
    if schedule is not None:
        query = query.where(runs.c.schedule == schedule)
    if state is not None:
        query = query.where(runs.c.state == state)
    return [_run(row) for row in connection.execute(query)]


def last_run(connection: Connection, schedule: str) -> Run | None:
    """The newest run of a schedule that was not skipped."""
    query = select(runs).where(runs.c.schedule == schedule, runs.c.state != "skipped").order_by(runs.c.due_at.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _run(row)


def skipped_since_last(connection: Connection, run: Run) -> list[Run]:
    """The due times of this schedule that were passed over between the run before this one and this one, oldest first."""
    before = select(runs.c.due_at).where(
        runs.c.schedule == run.schedule, runs.c.state.in_(("done", "failed")), runs.c.due_at < run.due_at
    )
    last = connection.execute(before.order_by(runs.c.due_at.desc()).limit(1)).scalar()
    query = select(runs).where(runs.c.schedule == run.schedule, runs.c.state == "skipped", runs.c.due_at < run.due_at)
    if last is not None:
        query = query.where(runs.c.due_at > last)
    return [_run(row) for row in connection.execute(query.order_by(runs.c.due_at))]


def prune_runs(connection: Connection, *, before: datetime, schedule_prefix: str) -> int:
    """Forget ended runs from before an instant, of schedules whose name begins so: syncs every few minutes are many."""
    old = (runs.c.state.in_(("done", "failed", "skipped")), runs.c.due_at < before, runs.c.schedule.startswith(schedule_prefix))
    return connection.execute(delete(runs).where(*old)).rowcount


_BEAT = "kpid"


def beat(connection: Connection, now: datetime) -> datetime | None:
    """Say that kpid is alive; when it said so before. What a late report calls the time it was not running."""
    before = position_of(connection, _BEAT)
    save_position(connection, _BEAT, Position("alive", now.astimezone(UTC).replace(tzinfo=None, microsecond=0)))
    return None if before is None else before.last.replace(tzinfo=UTC)


def planned_schedules(connection: Connection) -> frozenset[str]:
    """The schedules that have a position; none at all is a store that never saw a round."""
    names = connection.execute(select(schedule_positions.c.schedule)).scalars()
    return frozenset(name for name in names if name != _BEAT)
