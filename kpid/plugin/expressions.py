"""What may stand in a KPI's expressions besides the canonical columns: the wanted periods, now, the zone, spans of time.

The engine fills the place-holders in when it writes the SQL, so that a definition is made once and serves every company and day.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

from sqlalchemy import BigInteger, Boolean, ColumnElement, Date, DateTime, Integer, Text, and_, column, not_, or_, select, table
from sqlalchemy.sql.expression import FromClause, Subquery, TableClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

Expression: TypeAlias = ColumnElement[Any]
T = TypeVar("T")
_STAMP = DateTime(timezone=True)

AS_OF: ColumnElement[Any] = column("kpid_as_of", _STAMP)
"""In a measure's own expressions: the instant that a measurement speaks of (end of the period, at most now)."""


class Placeholder(FunctionElement[T]):
    """A value that the engine knows: ``what`` is ``now``, ``zone``, ``currency``, or ``first`` and ``last`` instant in reach."""

    name = "placeholder"
    inherit_cache = False

    def __init__(self, what: str, type_: TypeEngine[T]) -> None:
        super().__init__()
        self.what = what
        self.type = type_


NOW: ColumnElement[Any] = Placeholder("now", _STAMP)
"""The instant that is measured at."""

GONE: ColumnElement[Any] = Placeholder("gone", _STAMP)
"""What was deleted by this instant does not count: now, but for audits, where nothing is left out that was ever there."""

ZONE: ColumnElement[Any] = Placeholder("zone", Text())
"""The organisation's time zone."""

CURRENCY: ColumnElement[Any] = Placeholder("currency", Text())
"""The reporting currency."""

_FIRST: ColumnElement[Any] = Placeholder("first", _STAMP)
_LAST: ColumnElement[Any] = Placeholder("last", _STAMP)

PERIODS: TableClause = table(
    "kpid_periods",
    column("no", Integer),
    column("starts", _STAMP),
    column("ends", _STAMP),
    column("as_of", _STAMP),
    column("until", _STAMP),
    column("is_current", Boolean),
    column("first_day", Date),
    column("last_day", Date),
    column("whole_last_day", Date),
)
"""The wanted periods, a row each, for derived entities (clock :class:`~kpid.plugin.InPeriod`).

``no`` identifies the period; ``[starts, ends)`` are its bounds; ``as_of`` is its end, at most now. ``until`` is exclusive: what
happened before it is known (the end; of the current period just after now). ``first_day`` and ``last_day`` are local dates, both
part of the period; ``whole_last_day`` is the last one of the whole week, month ... that a to-date period is a part of.

A thing *is* in a state at ``starts`` if it was just before: ``valid_from < starts and (valid_to is null or valid_to >= starts)``;
at the end likewise with ``until``. So what is there at the end is what was there at the start, plus what began, minus what ended
in the period.
"""


class LocalDate(FunctionElement[Any]):
    """The local date of an instant; use :func:`local_date`."""

    name = "local_date"
    type = Date()
    inherit_cache = True


class RateDay(FunctionElement[Any]):
    """The day whose exchange rate counts: the given one, unless the company takes the rates of one day for all amounts."""

    name = "rate_day"
    type = Date()
    inherit_cache = True


class DaysBetween(FunctionElement[int]):
    """``end's local date - start's local date``; use :func:`days_between`."""

    name = "days_between"
    type = BigInteger()
    inherit_cache = True


class SecondsBetween(FunctionElement[int]):
    """Whole seconds from ``start`` to ``end``; use :func:`seconds_between`."""

    name = "seconds_between"
    type = BigInteger()
    inherit_cache = True


class DatesBetween(FunctionElement[int]):
    """Whole days from one date to another; use :func:`dates_between`."""

    name = "dates_between"
    type = BigInteger()
    inherit_cache = True


class Later(FunctionElement[Any]):
    """An instant moved by whole seconds, which are part of the text; use :func:`later`."""

    name = "later"
    inherit_cache = False

    def __init__(self, instant: ColumnElement[Any], seconds: int) -> None:
        super().__init__(instant)
        self.seconds = seconds
        self.type = instant.type


def local_date(instant: Expression) -> Expression:
    """The local calendar date of an instant."""
    return LocalDate(instant, ZONE)


def days_between(start: Expression, end: Expression) -> Expression:
    """Whole local calendar days between two instants: 0 on the same day, negative if ``end`` comes first."""
    return DaysBetween(start, end, ZONE)


def seconds_between(start: Expression, end: Expression) -> Expression:
    """Whole elapsed seconds between two instants."""
    return SecondsBetween(start, end)


def dates_between(first: Expression, last: Expression) -> Expression:
    """Whole days between two local dates: 0 if they are the same, negative if ``last`` comes first."""
    return DatesBetween(first, last)


def later(instant: Expression, *, days: int = 0, seconds: int = 0) -> Expression:
    """The instant moved by elapsed time; a day is 24 hours here."""
    return Later(instant, 86_400 * days + seconds)


def in_reach(instant: Expression) -> Expression:
    """Whether an instant lies between the start of the first wanted period and the end of the last.

    For derived entities over large tables: what the periods cannot count is left out before it is joined or grouped.
    """
    return and_(instant >= _FIRST, instant < _LAST)


def from_reach(instant: Expression) -> Expression:
    """Whether an instant is not before the first wanted period; see :func:`in_reach`."""
    return instant >= _FIRST


def holds_at(valid_from: Expression, valid_to: Expression, instant: Expression) -> Expression:
    """Whether an interval holds just before an instant: at ``PERIODS.c.starts`` or ``PERIODS.c.until``."""
    return and_(valid_from < instant, or_(valid_to.is_(None), valid_to >= instant))


def living(entity: FromClause, name: str | None = None) -> Subquery:
    """The rows of a canonical table that count: not deleted by now, not merged away, no tests. For derived entities."""
    return select(entity).where(*counts(entity)).subquery(name or f"living_{entity.description}")


def counts(entity: FromClause) -> list[ColumnElement[bool]]:
    """What leaves out rows that are deleted (by now), merged away or tests; empty for tables without these columns."""
    conditions: list[ColumnElement[bool]] = []
    if "deleted_at" in entity.c:
        conditions.append(or_(entity.c.deleted_at.is_(None), entity.c.deleted_at > GONE))
    if "merged_into_id" in entity.c:
        conditions.append(entity.c.merged_into_id.is_(None))
    if "is_test" in entity.c:
        conditions.append(not_(entity.c.is_test))
    return conditions
