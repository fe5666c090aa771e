"""Durations that count opening hours only, inside derived entities."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Date,
    DateTime,
    Text,
    and_,
    case,
    cast,
    column,
    func,
    literal,
    select,
    table,
)
from sqlalchemy.sql.expression import FromClause, Subquery, TableClause

from kpid.plugin.expressions import Expression, LocalDate, seconds_between

_STAMP = DateTime(timezone=True)
OPEN_HOURS: TableClause = table(
    "kpid_open_hours",
    column("calendar", Text),
    column("day", Date),
    column("from_at", _STAMP),
    column("to_at", _STAMP),
    column("before_s", BigInteger),
    column("is_open", Boolean),
)
"""Opening hours, laid out by the engine: time is cut where a calendar opens or closes, and at midnights of UTC.

``[from_at, to_at)`` lies in ``day`` (UTC) and is open or not; ``before_s`` counts the open seconds before it. The calendar ``""``
is the company's default.
"""


def in_business_time(
    source: FromClause, name: str | None = None, *, calendar: Expression | None = None, **spans: tuple[Expression, Expression]
) -> Subquery:
    """The rows of a source with durations that count opening hours only.

    Args:
        source: a canonical table or a subquery.
        name: what the result is called in SQL.
        calendar: name of the calendar of a row; null, unknown or None: the company's default.
        spans: ``wait=(start, end)`` adds ``wait``: open seconds between the instants; null where one is null. A start outside
            opening hours begins at the next opening; a span wholly outside is 0.
    """
    joined: FromClause = source
    which: ColumnElement[Any] = literal("")
    if calendar is not None:
        known = select(OPEN_HOURS.c.calendar).distinct().subquery("known_calendars")
        joined = joined.outerjoin(known, known.c.calendar == calendar)
        which = func.coalesce(known.c.calendar, "")
    columns: list[ColumnElement[Any]] = []
    for label, (start, end) in spans.items():
        found = []
        for side, instant in (("start", start), ("end", end)):
            hours = OPEN_HOURS.alias(f"hours_{label}_{side}")
            h = hours.c
            same_day = h.day == LocalDate(instant, literal("UTC"))
            holds = and_(h.calendar == which, same_day, h.from_at <= instant, instant < h.to_at)
            joined = joined.outerjoin(hours, holds)
            found.append(h.before_s + case((h.is_open, seconds_between(h.from_at, instant)), else_=0))
        columns.append(cast(found[1] - found[0], BigInteger).label(label))
    kept = [one for one in source.c if one.key not in spans]
    return select(*kept, *columns).select_from(joined).subquery(name or f"business_{source.description}")
