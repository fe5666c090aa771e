"""What a period is compared with: the one before, the same weekday, the same period of last year in one of three ways.

One function, :func:`reference`: a period and the name of a comparison give the reference period, and say what to keep in mind.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from kpid.analysis import fiscal
from kpid.analysis.calendar import DAY, Calendar
from kpid.analysis.period_labels import is_iso
from kpid.analysis.periods import TO_DATE, days_of, is_fixed, period_at, period_from_label, previous_period, span
from kpid.analysis.workdays import WorkCalendar
from kpid.errors import ConfigError
from kpid.model import Period

_WEEKS = {"week", "iso_week", "week_sun", "week_sat"}
_LONG = {"month", "quarter", "half", "year"}
ALIGNMENTS = ("calendar_days", "working_days")


@dataclass(frozen=True, slots=True)
class Reference:
    """What a period is compared with, and what the reader should know about it."""

    period: Period
    warnings: tuple[str, ...] = ()


def reference(
    period: Period, name: str, calendar: Calendar, *, align: str = "calendar_days", work: WorkCalendar | None = None
) -> Reference:
    """The period that a comparison compares with.

    Args:
        period: the newer period.
        name: one of :data:`COMPARISONS`.
        calendar: how time is cut.
        align: to-date kinds only: the reference has as many ``calendar_days`` or as many ``working_days``.
        work: which days are working days; needed for ``working_days``.

    Raises:
        ConfigError: there is no such comparison, or not for this kind of period.
    """
    if name not in COMPARISONS:
        raise ConfigError(f"{name!r} is not a comparison", hint=f"Use one of {', '.join(COMPARISONS)}")
    if align not in ALIGNMENTS:
        raise ConfigError(f"{align!r} is not an alignment", hint=f"Use one of {', '.join(ALIGNMENTS)}")
    if align == "working_days" and period.kind in TO_DATE and work is not None:
        if name not in {"previous", "last_year"}:
            raise ConfigError(f"{name} cannot be aligned by working days", hint="Compare with previous or last_year")
        return _by_working_days(period, name, calendar, work)
    return COMPARISONS[name](period, calendar)


def working_days(period: Period, calendar: Calendar, work: WorkCalendar) -> Fraction:
    """Working days of a period, half days as halves."""
    return work.working_days(*days_of(period, calendar))


def _previous(period: Period, calendar: Calendar) -> Reference:
    return Reference(previous_period(period, calendar))


def _weeks_earlier(count: int) -> Callable[[Period, Calendar], Reference]:
    def found(period: Period, calendar: Calendar) -> Reference:
        if period.kind in _LONG or period.kind in fiscal.MONTHS or period.kind in TO_DATE.keys() - {"wtd"}:
            hint = "Compare it with previous, last_year or last_year_364d"
            raise ConfigError(f"a {period.kind} has no same weekday {count * 7} days earlier", hint=hint)
        return Reference(_moved(period, count * 7, calendar))

    return found


def _last_year(period: Period, calendar: Calendar) -> Reference:
    """By the calendar: the same dates, the same month, quarter ... of the year before; weeks by their number."""
    kind = period.kind
    first, after = days_of(period, calendar)
    if kind in _WEEKS or kind == "wtd":
        return _last_year_iso_week(period, calendar) if is_iso(kind, calendar) else _last_year_364d(period, calendar)
    if kind in _LONG:
        return Reference(period_at(kind, calendar.midnight(first.replace(year=first.year - 1)), calendar))
    if kind in fiscal.MONTHS:
        return _last_fiscal_year(kind, first, calendar)
    if TO_DATE.get(kind) in fiscal.MONTHS and calendar.fiscal_pattern != "gregorian":
        earlier = _last_fiscal_year(TO_DATE[kind], first, calendar)
        start, stop = days_of(earlier.period, calendar)
        last = min(start + (after - first), stop) - DAY
        return Reference(period_from_label(kind, last.isoformat(), calendar), earlier.warnings)
    return _last_year_by_date(period, first, after, calendar)


def _last_year_by_date(period: Period, first: date, after: date, calendar: Calendar) -> Reference:
    kind, last = period.kind, _year_earlier(after - DAY)
    warnings = () if last.day == (after - DAY).day else (f"{after - DAY} is compared with {last}",)
    if kind == "day":
        return Reference(period_from_label("day", last.isoformat(), calendar), warnings)
    if kind == "hour":
        return _hour_on(period, last, calendar, warnings)
    if is_fixed(kind) or kind.startswith("since_"):
        return Reference(span(_year_earlier(first), last + DAY, calendar), warnings)
    return Reference(period_from_label(kind, last.isoformat(), calendar), warnings)


def _last_fiscal_year(kind: str, first: date, calendar: Calendar) -> Reference:
    earlier = fiscal.year_before(kind, first, calendar)
    found = period_at(kind, calendar.midnight(earlier), calendar)
    warning = fiscal.unequal(kind, first, earlier, calendar)
    return Reference(found, (warning,) if warning else ())


def _last_year_iso_week(period: Period, calendar: Calendar) -> Reference:
    """The same weekday of the ISO week with the same number; week 53 is compared with week 52."""
    if period.kind not in {"day", "hour", "wtd"} and not is_iso(period.kind, calendar):
        hint = "Compare it with last_year or last_year_364d"
        raise ConfigError(f"a {period.kind} has no ISO week", hint=hint)
    first, after = days_of(period, calendar)
    year, week, _ = first.isocalendar()
    warnings: tuple[str, ...] = ()
    if week == 53:
        week, warnings = 52, (f"week 53 of {year} is compared with week 52 of {year - 1}",)
    earlier = date.fromisocalendar(year - 1, week, first.isoweekday())
    if period.kind == "hour":
        return _hour_on(period, earlier, calendar, warnings)
    if period.kind == "wtd":
        return Reference(period_from_label("wtd", (earlier + (after - first) - DAY).isoformat(), calendar), warnings)
    return Reference(period_at(period.kind, calendar.midnight(earlier), calendar), warnings)


def _last_year_364d(period: Period, calendar: Calendar) -> Reference:
    """52 weeks earlier: as many days, each with its weekday."""
    return Reference(_moved(period, 364, calendar))


def _moved(period: Period, days: int, calendar: Calendar) -> Period:
    """The period so many days (whole weeks) earlier: of the same kind if that has such a one, else a span of given days."""
    first, after = (day - DAY * days for day in days_of(period, calendar))
    if period.kind == "hour":
        return _hour_on(period, first, calendar, ()).period
    if period.kind == "day" or period.kind in _WEEKS:
        return period_at(period.kind, calendar.midnight(first), calendar)
    if period.kind.startswith("rolling_") or period.kind == "wtd":
        return period_from_label(period.kind, (after - DAY).isoformat(), calendar)
    return span(first, after, calendar)


def _hour_on(period: Period, day: date, calendar: Calendar, warnings: tuple[str, ...]) -> Reference:
    """The hour of another day that shows the same time, or the next one that is there."""
    local = period.start.astimezone(calendar.zone).replace(year=day.year, month=day.month, day=day.day)
    return Reference(period_at("hour", local, calendar), warnings)


def _year_earlier(day: date) -> date:
    is_leap_day = (day.month, day.day) == (2, 29) and not isleap(day.year - 1)
    return date(day.year - 1, 2, 28) if is_leap_day else day.replace(year=day.year - 1)


def _by_working_days(period: Period, name: str, calendar: Calendar, work: WorkCalendar) -> Reference:
    """A to-date period with as many working days: to the last of them, and over the free days that follow if ours ends so."""
    container = TO_DATE[period.kind]
    first, after = days_of(period, calendar)
    whole = period_at(container, calendar.midnight(first), calendar)
    other = COMPARISONS[name](whole, calendar)
    start, stop = days_of(other.period, calendar)
    wanted, had = work.working_days(first, after), Fraction(0)
    runs_over_free_days = work.weight(after - DAY) == 0
    end = start
    while end < stop and (had < wanted or (runs_over_free_days and work.weight(end) == 0)):
        had, end = had + work.weight(end), end + DAY
    end = max(end, start + DAY)
    warnings = other.warnings
    if had < wanted:
        warnings = (*warnings, f"{other.period.label} has only {_days(had)} working days, not {_days(wanted)}")
    return Reference(period_from_label(period.kind, (end - DAY).isoformat(), calendar), warnings)


def _days(count: Fraction) -> str:
    return str(count.numerator) if count.denominator == 1 else f"{float(count):.4g}"


COMPARISONS: dict[str, Callable[[Period, Calendar], Reference]] = {
    "previous": _previous,
    "same_weekday": _weeks_earlier(1),
    "same_weekday_14d": _weeks_earlier(2),
    "last_year": _last_year,
    "last_year_iso_week": _last_year_iso_week,
    "last_year_364d": _last_year_364d,
}
"""Names of comparisons: the adjacent period; the same weekdays 7 or 14 days earlier; last year by the calendar, by the number of
the ISO week, or 364 days (52 weeks) earlier."""
