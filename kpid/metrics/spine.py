"""The wanted periods as SQL sees them: a table of periods, the bounds of each, and the opening hours within their reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Text,
    and_,
    bindparam,
    cast,
    column,
    false,
    literal,
    or_,
    select,
    values,
)
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import CTE, Values
from sqlalchemy.sql.functions import coalesce

from kpid.analysis.periods import Calendar, whole_of
from kpid.analysis.workdays import Span, WorkCalendar, open_spans
from kpid.metrics.constructs import LiteralRows
from kpid.metrics.dimensions import Custom
from kpid.metrics.scope import Scope
from kpid.model import Period
from kpid.plugin.expressions import PERIODS

_MAX_RANGES = 8
_STAMP = DateTime(timezone=True)
_EVER = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
_SHAPE = tuple((known.name, known.type) for known in PERIODS.c)
_COLUMN = {name: place for place, (name, _) in enumerate(_SHAPE)}
_LATE = ("starts", "as_of", "until", "is_current", "first_day")
_HOURS_BACK = timedelta(days=1_100)
"""Spans that began longer ago than this before the first period have no business time: their rows are left out."""


@dataclass(frozen=True)
class Setting:
    """What statements depend on besides the plan.

    Args:
        now: the instant that is measured at.
        timezone: the organisation's zone.
        currency: the reporting currency.
        foreign: tables that hold amounts in other currencies.
        calendars: opening hours by name; ``""`` is the company's default.
        history: history tables that have rows (``owner_history``, ``team_memberships``): only these are joined.
        custom: dimensions made from custom fields.
        rate_day: the day whose exchange rates hold for all amounts; None: each amount's own day.
        calendar: how the wanted periods are cut; None: by the plain calendar of the zone.
        scope: which records count; None: all.
    """

    now: datetime
    timezone: str
    currency: str
    foreign: frozenset[str] = frozenset()
    calendars: Mapping[str, WorkCalendar] = field(default_factory=dict)
    history: frozenset[str] = frozenset()
    custom: Custom = field(default_factory=dict)
    rate_day: date | None = None
    calendar: Calendar | None = None
    scope: Scope | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What the place-holders in expressions stand for, whatever the periods: they reach everywhere."""
        reach = {"first": _EVER[0], "last": _EVER[1]}
        said = {"now": self.now, "zone": self.timezone, "currency": self.currency, "rate_day": self.rate_day, **reach}
        return said if self.scope is None else {**said, "scope": self.scope}


def spine(periods: Sequence[Period], setting: Setting, trailing: int | None = None) -> Values:
    """The wanted periods as a table to be joined; with ``trailing``, each reaches so many local days back from its end."""
    shape: Values = values(*(column(name, kind) for name, kind in _SHAPE), name="spine")
    late = late_values(periods, setting, trailing)
    return shape.data([_late_bound(row, late) for row in _rows(periods, setting, trailing)])


def periods_cte(periods: Sequence[Period], setting: Setting, trailing: int | None = None) -> CTE:
    """The same as a CTE of the name that derived entities know it by."""
    return spine(periods, setting, trailing).cte("kpid_periods")


def starts_of(periods: Iterable[Period], setting: Setting, trailing: int | None) -> list[datetime]:
    """Where each period's rows begin."""
    if trailing is None:
        return [period.start for period in periods]
    calendar = Calendar(setting.timezone)
    lasts = [calendar.day_of(min(period.end, setting.now)) for period in periods]
    return [calendar.midnight(last - timedelta(days=trailing)) for last in lasts]


def _rows(periods: Sequence[Period], setting: Setting, trailing: int | None) -> list[tuple[Any, ...]]:
    calendar, now = Calendar(setting.timezone), setting.now
    rows = []
    for no, (period, start) in enumerate(zip(periods, starts_of(periods, setting, trailing), strict=True)):
        is_current = period.start <= now < period.end
        until = now + timedelta(microseconds=1) if is_current else min(period.end, now + timedelta(microseconds=1))
        last = calendar.day_of(max(period.start, period.end - timedelta(microseconds=1)))
        first = calendar.day_of(start)
        whole = whole_of(period, setting.calendar or calendar)
        whole_last = last if whole is period else calendar.day_of(whole.end - timedelta(microseconds=1))
        rows.append((no, start, period.end, min(period.end, now), until, is_current, first, last, whole_last))
    return rows


def late_values(periods: Sequence[Period], setting: Setting, trailing: int | None = None) -> dict[str, Any]:
    """Parameters that change with every instant of measuring, by name: what stays of a statement is its text and the others."""
    found: dict[str, Any] = {"kpid_now": setting.now}
    rows = _rows(periods, setting, trailing)
    found["kpid_first"] = min((row[_COLUMN["starts"]] for row in rows), default=_EVER[0])
    found["kpid_last"] = max((row[_COLUMN["ends"]] for row in rows), default=_EVER[1])
    for row in rows:
        found |= {f"kpid_{row[0]}_{name}": row[_COLUMN[name]] for name in _LATE}
    return found


def now_value(setting: Setting) -> ColumnElement[Any]:
    """Now, as a parameter of its own name."""
    return bindparam("kpid_now", setting.now, _STAMP)


def _late_bound(row: tuple[Any, ...], late: Mapping[str, Any]) -> tuple[Any, ...]:
    cells = list(row)
    for name in _LATE:
        key = f"kpid_{row[0]}_{name}"
        cells[_COLUMN[name]] = bindparam(key, late[key], _SHAPE[_COLUMN[name]][1])
    return tuple(cells)


def open_hours_cte(periods: Sequence[Period], setting: Setting, trailing: int | None = None) -> CTE:
    """Opening hours from well before the first period until now, as a CTE of the name that derived entities know it by."""
    calendar = Calendar(setting.timezone)
    first = calendar.day_of(min(starts_of(periods, setting, trailing), default=setting.now) - _HOURS_BACK)
    calendars = setting.calendars or {"": WorkCalendar(timezone=setting.timezone)}
    rows = _hours(tuple(calendars.items()), first.replace(day=1), calendar.day_of(setting.now))
    kinds = (("calendar", Text()), ("day", Text()), ("from_at", Text()), ("to_at", Text()), ("before_s", BigInteger()),
             ("is_open", Boolean()))  # fmt: skip
    names = [name for name, _ in kinds]
    c = LiteralRows(names, rows).table_valued(*(column(name, kind) for name, kind in kinds), name="hours").c
    instants = [cast(c[name], _STAMP).label(name) for name in ("from_at", "to_at")]
    day = cast(c.day, Date).label("day")
    return select(c.calendar, day, *instants, c.before_s, c.is_open).cte("kpid_open_hours")


@lru_cache(maxsize=8)
def _hours(calendars: tuple[tuple[str, WorkCalendar], ...], first: date, last: date) -> tuple[tuple[Any, ...], ...]:
    spans = ((name, span) for name, hours in calendars for span in open_spans(hours, first, last))
    return tuple((name, *piece) for name, span in spans for piece in _pieces(span))


def _pieces(span: Span) -> Iterator[tuple[Any, ...]]:
    """A span, cut at midnights of UTC: so that SQL finds it by an equal day, whatever zone the calendar is in."""
    start, before = span.from_instant, span.open_seconds_before
    while start < span.to_instant:
        midnight = datetime.combine(start.astimezone(UTC).date() + timedelta(days=1), time.min, UTC)
        end = min(midnight, span.to_instant)
        yield str(start.astimezone(UTC).date()), _text(start), _text(end), before, span.is_open
        before += int((end - start).total_seconds()) if span.is_open else 0
        start = end


def _text(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00:00"


def bounds_of(periods: Sequence[Period], first: int) -> list[tuple[datetime, int | None]]:
    """Where each period begins, and None where the next one does not follow at once; empty periods have no rows.

    Args:
        periods: in order, not overlapping.
        first: number of the first one.
    """
    bounds: list[tuple[datetime, int | None]] = []
    for number, period in enumerate(periods, first):
        if period.start == period.end:
            continue
        if bounds and bounds[-1][0] == period.start:
            bounds.pop()
        bounds += [(period.start, number), (period.end, None)]
    return bounds


def ranges_of(bounds: Sequence[tuple[datetime, int | None]]) -> list[tuple[datetime, datetime]]:
    """The spans without a gap that bounds cover."""
    ranges: list[tuple[datetime, datetime]] = []
    start: datetime | None = None
    for instant, number in bounds:
        if number is None and start is not None:
            ranges.append((start, instant))
            start = None
        elif start is None:
            start = instant
    return ranges


def within(instant: ColumnElement[Any], ranges: list[tuple[datetime, datetime]]) -> ColumnElement[bool]:
    """Keeps what the periods need: stored in order of time, the rest is skipped unread.

    Of an instant that stands in for another (``coalesce``) the first column says it as well: an engine skips by columns alone.
    """
    if not ranges:
        return false()
    if len(ranges) > _MAX_RANGES:
        ranges = [(min(start for start, _ in ranges), max(end for _, end in ranges))]
    inside = or_(*(and_(instant >= literal(start, _STAMP), instant < literal(end, _STAMP)) for start, end in ranges))
    if not isinstance(instant, coalesce):
        return inside
    first: ColumnElement[Any] = next(iter(instant.clauses))
    return and_(or_(first.is_(None), within(first, ranges)), inside)
