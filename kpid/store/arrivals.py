"""What has come and what has not: the last success of each source, and reports whose time has passed without them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from kpid.store.tables import runs, sync_runs

_OVER = ("done", "skipped")
REPORT = "report:"


def delivered_until(conn: Connection, gaps: dict[str, timedelta]) -> dict[str, datetime]:
    """When each source last delivered all that it still delivers; of what it never delivered, when that was first asked for.

    Args:
        conn: where to read.
        gaps: the usual time between two syncs, by source: entities that were not asked for so long are its past.
    """
    s = sync_runs.c
    asked: dict[tuple[str, str], tuple[datetime, datetime]] = {}
    for source, entity, first, last in conn.execute(
        select(s.source, s.entity, func.min(s.started_at), func.max(s.started_at)).group_by(s.source, s.entity)
    ):
        asked[source, entity] = (first, last)
    done = select(s.source, s.entity, func.max(s.finished_at)).where(s.state == "done").group_by(s.source, s.entity)
    came = {(source, entity): at for source, entity, at in conn.execute(done)}
    newest: dict[str, datetime] = {}
    for (source, _), (_, last) in asked.items():
        newest[source] = max(newest.get(source, last), last)
    found: dict[str, datetime] = {}
    for (source, entity), (first, last) in asked.items():
        if last + gaps.get(source, timedelta(0)) >= newest[source]:
            at = came.get((source, entity), first)
            found[source] = min(found.get(source, at), at)
    return found


def overdue_since(conn: Connection) -> dict[str, datetime | None]:
    """Since when each report is overdue: the first time after the last one that was written; None: nothing is due. By name.

    A report that was never written is overdue from when kpid first ran at the earliest: nobody could have written it before.
    """
    r = runs.c
    over = select(r.schedule, func.max(r.due_at)).where(r.schedule.startswith(REPORT), r.state.in_(_OVER)).group_by(r.schedule)
    written = {row[0]: row[1] for row in conn.execute(over)}
    found: dict[str, datetime | None] = {name.removeprefix(REPORT): None for name in written}
    waiting = select(r.schedule, r.due_at).where(r.schedule.startswith(REPORT), r.state.not_in(_OVER)).order_by(r.due_at.desc())
    began = conn.execute(select(func.min(sync_runs.c.started_at))).scalar()
    for schedule, at in conn.execute(waiting):
        if schedule not in written:
            found[schedule.removeprefix(REPORT)] = at if began is None else max(at, began)
        elif at > written[schedule]:
            found[schedule.removeprefix(REPORT)] = at
    return found
