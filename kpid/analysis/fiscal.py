"""Fiscal years, quarters and months: calendar months from a given month on, whole weeks (4-4-5 and its like), or listed days.

A fiscal year is known here by the calendar year of the first of ``fiscal_start`` that it begins at, or begins nearest to.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, timedelta
from functools import lru_cache
from itertools import accumulate

from kpid.analysis import fiscal_months
from kpid.analysis.calendar import CUSTOM, DRIFT, PATTERNS, WEEKDAYS, Calendar

MONTHS = {"fiscal_month": 1, "fiscal_quarter": 3, "fiscal_year": 12}
_WEEK = timedelta(days=7)
_YEAR = timedelta(days=364)
_USUAL = 3
"""Days by which months of the calendar differ."""


def containing(kind: str, day: date, calendar: Calendar) -> date:
    """First day of the fiscal period that holds a day."""
    year, month = _place(day, calendar)
    return _bounds(calendar, year)[month - month % MONTHS[kind]]


def following(kind: str, first: date, calendar: Calendar) -> date:
    """First day after the fiscal period that starts on a day."""
    year, month = _place(first, calendar)
    return _bounds(calendar, year)[month + MONTHS[kind]]


def year_before(kind: str, first: date, calendar: Calendar) -> date:
    """First day of the same month, quarter or year of the fiscal year before."""
    year, month = _place(first, calendar)
    return _bounds(calendar, year - 1)[month - month % MONTHS[kind]]


def weeks(kind: str, first: date, calendar: Calendar) -> int | None:
    """Whole weeks that a fiscal period has; None where fiscal months have none, as calendar months."""
    if calendar.fiscal_pattern == "gregorian":
        return None
    count, rest = divmod(following(kind, first, calendar) - first, _WEEK)
    return None if rest else count


def unequal(kind: str, first: date, earlier: date, calendar: Calendar) -> str:
    """A warning that two fiscal periods are not equally long, in weeks or days; months of the calendar seldom are."""
    both = weeks(kind, first, calendar), weeks(kind, earlier, calendar)
    if None not in both:
        return "" if both[0] == both[1] else f"{both[0]} weeks are compared with {both[1]}"
    days = [(following(kind, start, calendar) - start).days for start in (first, earlier)]
    is_much = abs(days[0] - days[1]) > _USUAL
    return f"{days[0]} days are compared with {days[1]}" if is_much and calendar.fiscal_pattern == CUSTOM else ""


def label(kind: str, first: date, calendar: Calendar) -> str:
    """``FY2018``, ``FY2018-Q1``, ``FY2018-M01``."""
    year, month = _place(first, calendar)
    name = f"FY{year + _named_later(calendar)}"
    return name + {"fiscal_month": f"-M{month + 1:02}", "fiscal_quarter": f"-Q{month // 3 + 1}", "fiscal_year": ""}[kind]


def first_day(named: int, month: int, calendar: Calendar) -> date:
    """First day of a fiscal month (0-11) of the fiscal year that is called ``named``."""
    return _bounds(calendar, named - _named_later(calendar))[month]


def _named_later(calendar: Calendar) -> int:
    return int(calendar.fiscal_label == "end" and calendar.fiscal_start > 1)


def _place(day: date, calendar: Calendar) -> tuple[int, int]:
    """Year and month (0-11) that hold a day."""
    year = day.year
    while day < _start(calendar, year):
        year -= 1
    while day >= _start(calendar, year + 1):
        year += 1
    return year, bisect_right(_bounds(calendar, year), day) - 1


@lru_cache(maxsize=1_000)
def _bounds(calendar: Calendar, year: int) -> tuple[date, ...]:
    """First days of the twelve months, and the first day after them."""
    start = _start(calendar, year)
    if calendar.fiscal_pattern == "gregorian":
        months = (start.year * 12 + start.month - 1 + number for number in range(13))
        return tuple(date(month // 12, month % 12 + 1, 1) for month in months)
    if calendar.fiscal_pattern == CUSTOM:
        months_of_year = fiscal_months.months_of(calendar.month_starts, year, calendar.fiscal_start)
        return (*months_of_year, _start(calendar, year + 1))
    lengths = list(PATTERNS[calendar.fiscal_pattern])
    if _start(calendar, year + 1) - start > _YEAR:
        lengths[calendar.long_month - 1] += 1
    return tuple(start + _WEEK * count for count in accumulate(lengths, initial=0))


@lru_cache(maxsize=1_000)
def _start(calendar: Calendar, year: int) -> date:
    if calendar.fiscal_pattern == "gregorian":
        return _anchor(calendar, year)
    if calendar.fiscal_pattern == CUSTOM:
        return fiscal_months.months_of(calendar.month_starts, year, calendar.fiscal_start)[0]
    listed = {fiscal_months.nearest_year(start, calendar.fiscal_start): start for start in calendar.year_starts}
    least, most = DRIFT[calendar.year_rule]
    if not listed:
        anchor = _anchor(calendar, year)
        return anchor + timedelta(days=(WEEKDAYS[calendar.week_start] - anchor.weekday() - least) % 7 + least)
    known = min(listed, key=lambda one: abs(one - year))
    start = listed[known]
    while known < year:  # from the last one that is published: a 53rd week as soon as 52 would begin too early
        start, known = start + _YEAR, known + 1
        start += _WEEK * ((start - _anchor(calendar, known)).days < least)
    while known > year:
        start, known = start - _YEAR, known - 1
        start -= _WEEK * ((start - _anchor(calendar, known)).days > most)
    return start


def _anchor(calendar: Calendar, year: int) -> date:
    return date(year, calendar.fiscal_start, 1)
