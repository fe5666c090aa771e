"""Fiscal months whose first days are listed, year by year; years that are not listed have the same days of the calendar. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import pairwise
from typing import TypeAlias

Years: TypeAlias = tuple[tuple[date, ...], ...]
"""First days of the twelve months of each listed year."""
SHORTEST, LONGEST = 7, 62
"""Days that a month has."""
_NEAR = 31
_EACH = "List the first days of its twelve months in order, [2025-12-26, 2026-01-26, ...]"


def faults(years: Years, fiscal_start: int) -> Iterator[tuple[int, str, str]]:
    """What is wrong with listed months: number of the year in the list, what, and what to do."""
    for number, months in enumerate(years):
        if len(months) != 12:
            yield number, f"a fiscal year has twelve months, not {len(months)}", _EACH
            return
        start = months[0]
        if abs((start - _anchor(nearest_year(start, fiscal_start), fiscal_start)).days) > _NEAR:
            hint = "Set fiscal_year to the month that the fiscal year begins in, or nearly"
            yield number, f"{start} is not near the first of month {fiscal_start}", hint
        following = years[number + 1][:1] if number + 1 < len(years) else (moved(start, 1),)
        if following and not 300 <= (following[0] - start).days <= 430:
            yield number + 1, f"the years that begin on {start} and {following[0]} do not follow one another", "List every year"
            return
        for one, after in pairwise((*months, *following)):
            if not SHORTEST <= (after - one).days <= LONGEST:
                yield number, f"from {one} to {after} is no month: it has {SHORTEST} to {LONGEST} days", _EACH


def months_of(years: Years, year: int, fiscal_start: int) -> Sequence[date]:
    """First days of the months of a year, listed or not; a year is known by the calendar year of the anchor next to its start."""
    listed = {nearest_year(months[0], fiscal_start): months for months in years}
    known = min(listed, key=lambda one: (abs(one - year), one))
    return [moved(day, year - known) for day in listed[known]]


def nearest_year(start: date, fiscal_start: int) -> int:
    """The calendar year whose first of the month ``fiscal_start`` is nearest to a day."""
    years = (start.year - 1, start.year, start.year + 1)
    return min(years, key=lambda year: abs((start - _anchor(year, fiscal_start)).days))


def moved(day: date, years: int) -> date:
    """The same day of another year; the last of February where there is no 29th."""
    is_leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year + years, day=28) if is_leap_day and years else day.replace(year=day.year + years)


def _anchor(year: int, fiscal_start: int) -> date:
    return date(year, fiscal_start, 1)
