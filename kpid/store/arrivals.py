"""What has come and what has not: the last success of each source, and reports whose time has passed without them.

Now, or at any instant of the past that syncs are still kept of: it is counted alike for the present and for a backtest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import merge
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from kpid.store.tables import runs, sync_runs

_OVER = ("done", "skipped")
REPORT = "report:"
_Entity = tuple[str, str]


@dataclass
class Deliveries:
    """What sources were asked for, and what came, up to some instant.

    Attributes:
        gaps: the usual time between two syncs, by source: entities that were not asked for so long are its past.
    """

    gaps: Mapping[str, timedelta]
    _asked: dict[_Entity, tuple[datetime, datetime]] = field(default_factory=dict)
    _came: dict[_Entity, datetime] = field(default_factory=dict)

    def ask(self, source: str, entity: str, first: datetime, last: datetime | None = None) -> None:
        """It was asked for at an instant, or from one to another."""
        known = self._asked.get((source, entity), (first, first))
        self._asked[source, entity] = (min(known[0], first), max(known[1], last or first))

    def come(self, source: str, entity: str, at: datetime) -> None:
        """It came."""
        self._came[source, entity] = max(at, self._came.get((source, entity), at))

    def until(self) -> dict[str, datetime]:
        """When each source last delivered all that it still delivers; of what it never did, when that was first asked for."""
        newest: dict[str, datetime] = {}
        for (source, _), (_, last) in self._asked.items():
            newest[source] = max(newest.get(source, last), last)
        found: dict[str, datetime] = {}
        for (source, entity), (first, last) in self._asked.items():
            if last + self.gaps.get(source, timedelta(0)) >= newest[source]:
                at = self._came.get((source, entity), first)
                found[source] = min(found.get(source, at), at)
        return found


def delivered_until(conn: Connection, gaps: Mapping[str, timedelta]) -> dict[str, datetime]:
    """When each source last delivered; see :meth:`Deliveries.until`.

    Args:
        conn: where to read.
        gaps: the usual time between two syncs, by source.
    """
    s, known = sync_runs.c, Deliveries(gaps)
    for row in conn.execute(
        select(s.source, s.entity, func.min(s.started_at), func.max(s.started_at)).group_by(s.source, s.entity)
    ):
        known.ask(*row)
    done = select(s.source, s.entity, func.max(s.finished_at)).where(s.state == "done").group_by(s.source, s.entity)
    for source, entity, at in conn.execute(done):
        known.come(source, entity, at)
    return known.until()


def delivered_at(conn: Connection, gaps: Mapping[str, timedelta], instants: Iterable[datetime]) -> Iterator[dict[str, datetime]]:
    """The same as it was at instants of the past, oldest first.

    Args:
        conn: where to read.
        gaps: the usual time between two syncs, by source.
        instants: in their order.
    """
    s, known = sync_runs.c, Deliveries(gaps)
    asked = conn.execute(select(s.started_at, s.source, s.entity).order_by(s.started_at)).all()
    came = conn.execute(select(s.finished_at, s.source, s.entity).where(s.state == "done").order_by(s.finished_at)).all()
    news = merge(((*row, False) for row in asked), ((*row, True) for row in came))
    next_ = next(news, None)
    for instant in instants:
        while next_ is not None and next_[0] <= instant:
            at, source, entity, has_come = next_
            (known.come if has_come else known.ask)(source, entity, at)
            next_ = next(news, None)
        yield known.until()


class ReportRun(NamedTuple):
    """One time at which a report was due; when it was written or passed over, if it was."""

    name: str
    due_at: datetime
    over_at: datetime | None


def overdue_at(known: Iterable[ReportRun], began: datetime | None, instant: datetime) -> dict[str, datetime | None]:
    """Since when each report is overdue at an instant: the first time after the last one that was written; None: nothing is due.

    A report that was never written is overdue from when kpid first ran at the earliest: nobody could have written it before.

    Args:
        known: the times at which reports were due.
        began: when kpid first synced anything.
        instant: what came later is not known yet.
    """
    written: dict[str, datetime] = {}
    waiting: list[ReportRun] = []
    for run in known:
        if run.due_at > instant:
            continue
        if run.over_at is not None and run.over_at <= instant:
            written[run.name] = max(run.due_at, written.get(run.name, run.due_at))
        else:
            waiting.append(run)
    found: dict[str, datetime | None] = dict.fromkeys(written)
    for run in sorted(waiting, key=lambda run: run.due_at, reverse=True):
        if run.name not in written:
            found[run.name] = run.due_at if began is None else max(run.due_at, began)
        elif run.due_at > written[run.name]:
            found[run.name] = run.due_at
    return found


def overdue_since(conn: Connection, now: datetime) -> dict[str, datetime | None]:
    """Since when each report is overdue, by name; see :func:`overdue_at`."""
    r = runs.c
    over = select(r.schedule, func.max(r.due_at)).where(r.schedule.startswith(REPORT), r.state.in_(_OVER)).group_by(r.schedule)
    waiting = select(r.schedule, r.due_at).where(r.schedule.startswith(REPORT), r.state.not_in(_OVER))
    found = [ReportRun(_name(row[0]), row[1], now) for row in conn.execute(over)]
    found += [ReportRun(_name(row[0]), row[1], None) for row in conn.execute(waiting)]
    return overdue_at(found, first_sync(conn), now)


def report_runs(conn: Connection) -> list[ReportRun]:
    """Every time at which a report was due."""
    r = runs.c
    rows = conn.execute(select(r.schedule, r.due_at, r.state, r.finished_at).where(r.schedule.startswith(REPORT)))
    return [
        ReportRun(_name(schedule), due_at, (finished_at or due_at) if state in _OVER else None)
        for schedule, due_at, state, finished_at in rows
    ]


def first_sync(conn: Connection) -> datetime | None:
    """When kpid first synced anything that is still known of; None: never."""
    return conn.execute(select(func.min(sync_runs.c.started_at))).scalar()


def _name(schedule: str) -> str:
    return schedule.removeprefix(REPORT)
