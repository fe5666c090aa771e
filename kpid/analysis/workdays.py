"""Working days and business hours: when somebody is there, in local time, less holidays.

A moment is open if the clock on the wall, on that local day, stands inside one of the day's intervals: so the hour that a clock
change skips is never worked, and the one that comes twice is worked twice. Everything else follows from that: the business time
between two instants is how long it was open between them. What starts outside the hours begins to count at the next opening; what
lies outside altogether takes no business time: 0, not unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

from kpid.analysis.calendar import DAY, Calendar
from kpid.analysis.public_holidays import HALF, holidays_of

Hours: TypeAlias = tuple[tuple[int, int], ...]
"""Open intervals of a day, as seconds since its midnight on the wall clock; in order, apart, none past 24:00."""

_FULL_DAY = 86_400
_TICK = timedelta(microseconds=1)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_INTERVAL = re.compile(r"(\d\d?):(\d\d)\s*-\s*(\d\d?):(\d\d)")
OFFICE: Hours = ((9 * 3600, 17 * 3600),)


class Span(NamedTuple):
    """A part of a local day that is open, or closed, from one end to the other.

    ``open_seconds_before`` counts from the first day asked for. So the business seconds between two instants are the difference
    of ``open_seconds_before + (instant - from_instant if is_open else 0)`` of the spans that they lie in.
    """

    day: date
    from_instant: datetime
    to_instant: datetime
    open_seconds_before: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class WorkCalendar:
    """When a company, a team or a group works.

    Attributes:
        timezone: IANA zone that the hours are meant in.
        weekly: seven days' hours, Monday first.
        regions: ``(country, region)`` whose public holidays are free; several: a holiday of any of them.
        days: days with hours of their own: ``()`` is closed, None is a half day (the first half of its hours).
    """

    timezone: str
    weekly: tuple[Hours, ...] = (*(OFFICE,) * 5, (), ())
    regions: tuple[tuple[str, str], ...] = ()
    days: tuple[tuple[date, Hours | None], ...] = ()

    def hours(self, day: date) -> Hours:
        """Open intervals of a local day."""
        return _hours(self, day)

    def weight(self, day: date) -> Fraction:
        """How much of a working day it is: 0 when closed, 1 as usual, a half on half days, what is left of shorter ones."""
        usual = _length(self.weekly[day.weekday()]) or max(map(_length, self.weekly), default=0)
        worked = _length(self.hours(day))
        return Fraction(min(worked, usual), usual) if usual else Fraction(bool(worked))

    def working_days(self, first: date, after: date) -> Fraction:
        """Working days in ``[first, after)``, half days as halves."""
        return sum((self.weight(day) for day in _days(first, after)), Fraction(0))

    def elapsed_days(self, first: date, until: datetime) -> Fraction:
        """Working days from the start of ``first`` to an instant; of the last day, the part of its hours that is over."""
        bounds = _calendar(self.timezone)
        today = bounds.day_of(until)
        hours = self.open_between(bounds.midnight(today), bounds.midnight(today + DAY)) // _TICK
        over = self.open_between(bounds.midnight(today), until) // _TICK
        part = Fraction(over, hours) * self.weight(today) if hours and today >= first else Fraction(0)
        return self.working_days(first, today) + part

    def open_between(self, start: datetime, end: datetime) -> timedelta:
        """Business time between two aware instants, exact; negative if ``end`` is the earlier one."""
        if end < start:
            return -self.open_between(end, start)
        first, last = (_calendar(self.timezone).day_of(instant) for instant in (start, end))
        found = timedelta()
        for day in _days(first, last + DAY):
            for opens, closes in _openings(self, day):
                found += max(min(closes, end) - max(opens, start), timedelta())
        return found

    def next_opening(self, instant: datetime, *, within: int = 400) -> datetime | None:
        """The first open moment at or after an instant; None if there is none in so many days."""
        first = _calendar(self.timezone).day_of(instant)
        for day in _days(first, first + DAY * within):
            for opens, closes in _openings(self, day):
                if closes > instant:
                    return max(opens, instant)
        return None


def open_spans(calendar: WorkCalendar, first_day: date, last_day: date) -> list[Span]:
    """The spans that the local days ``first_day`` to ``last_day`` (included) are made of, without gap or overlap.

    For SQL: each instant of these days lies in one span (``from_instant <= instant < to_instant``), and what :class:`Span` says
    turns two of them into business seconds. A day that the zone never had gives none.
    """
    found: list[Span] = []
    before = 0
    bounds = _calendar(calendar.timezone)
    for day in _days(first_day, last_day + DAY):
        at = bounds.midnight(day)
        for opens, closes in _openings(calendar, day):
            if at < opens:
                found.append(Span(day, at, opens, before, False))
            found.append(Span(day, opens, closes, before, True))
            before, at = before + int((closes - opens).total_seconds()), closes
        if at < (end := bounds.midnight(day + DAY)):
            found.append(Span(day, at, end, before, False))
    return found


def hours_from_text(text: str) -> Hours:
    """``09:00-12:30, 13:30-18:00`` as intervals; ``closed`` or nothing as none.

    Raises:
        ValueError: it is written otherwise, intervals overlap, or one crosses midnight; the message says how to.
    """
    if text.strip() in {"", "closed"}:
        return ()
    found = []
    for part in text.split(","):
        match = _INTERVAL.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is not an interval of a day: write 09:00-12:30, 13:30-18:00 or closed")
        hours = [int(digits) for digits in match.groups()]
        opens, closes = hours[0] * 3600 + hours[1] * 60, hours[2] * 3600 + hours[3] * 60
        if max(hours[1], hours[3]) > 59 or closes > _FULL_DAY:
            raise ValueError(f"{part.strip()!r} is not a time of day: the last is 24:00")
        if closes <= opens:
            raise ValueError(f"{part.strip()!r} crosses midnight or is empty: split it (22:00-24:00, 00:00-06:00)")
        found.append((opens, closes))
    found.sort()
    if any(later[0] < earlier[1] for earlier, later in pairwise(found)):
        raise ValueError(f"intervals of {text.strip()!r} overlap")
    return tuple(found)


def week_from_texts(hours: Mapping[str, str]) -> tuple[Hours, ...]:
    """``{"mon-thu": "09:00-17:00", "fri": "09:00-15:00"}`` as seven days' hours; days that are not named are closed.

    Raises:
        ValueError: a key is no weekday or range of them, a day comes twice, or hours are wrong.
    """
    found: dict[str, Hours] = {}
    for key, text in hours.items():
        for name in (name for part in key.split(",") for name in _weekdays(part.strip().lower())):
            if name in found:
                raise ValueError(f"{name} has hours twice")
            found[name] = hours_from_text(text)
    return tuple(found.get(name, ()) for name in _WEEKDAYS)


def _weekdays(text: str) -> tuple[str, ...]:
    first, _, last = text.partition("-")
    if first not in _WEEKDAYS or (last and last not in _WEEKDAYS):
        raise ValueError(f"{text!r} is not a weekday: write mon, tue, wed, thu, fri, sat, sun or a range such as mon-fri")
    start, stop = _WEEKDAYS.index(first), _WEEKDAYS.index(last or first)
    if stop < start:
        raise ValueError(f"{text!r} runs backwards: write the earlier day first")
    return _WEEKDAYS[start : stop + 1]


@lru_cache(maxsize=64)
def _calendar(timezone: str) -> Calendar:
    return Calendar(timezone)


def _days(first: date, after: date) -> Iterator[date]:
    for number in range((after - first).days):
        yield first + DAY * number


def _length(hours: Hours) -> int:
    return sum(closes - opens for opens, closes in hours)


@lru_cache(maxsize=50_000)
def _hours(calendar: WorkCalendar, day: date) -> Hours:
    usual = calendar.weekly[day.weekday()]
    for special, hours in calendar.days:
        if special == day:
            return _first_half(usual) if hours is None else hours
    marks = {holidays_of(country, region, day.year).get(day) for country, region in calendar.regions} - {None}
    if not marks:
        return usual
    return _first_half(usual) if marks == {HALF} else ()


def _first_half(hours: Hours) -> Hours:
    left, found = _length(hours) // 2, []
    for (opens, closes), before in zip(hours, accumulate((_length((one,)) for one in hours), initial=0), strict=False):
        if before < left:
            found.append((opens, min(closes, opens + left - before)))
    return tuple(found)


@lru_cache(maxsize=50_000)
def _openings(calendar: WorkCalendar, day: date) -> tuple[tuple[datetime, datetime], ...]:
    """Open spans of a local day as instants: for each stretch with one offset from UTC, the hours moved by it and cut to it."""
    hours = calendar.hours(day)
    if not hours:
        return ()
    found: list[tuple[datetime, datetime]] = []
    midnight = datetime.combine(day, time(), UTC)
    for start, end in _calendar(calendar.timezone).stretches(day):
        offset = start.astimezone(_calendar(calendar.timezone).zone).utcoffset() or timedelta()
        for opens, closes in hours:
            low = max(midnight + timedelta(seconds=opens) - offset, start)
            high = min(midnight + timedelta(seconds=closes) - offset, end)
            if low < high and found and found[-1][1] == low:
                found[-1] = (found[-1][0], high)
            elif low < high:
                found.append((low, high))
    return tuple(found)
