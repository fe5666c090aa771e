"""Hours as the clock on the wall shows them.

An hour begins where a full hour does, and where the clocks change: so the hour that comes twice is two periods, the one that is
skipped is none, and where clocks change by half an hour (Lord Howe) two of the day's periods are half as long.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from kpid.analysis.calendar import DAY, Calendar
from kpid.model import Period

_HOUR = timedelta(hours=1)


def hours_of(day: date, calendar: Calendar) -> list[Period]:
    """The hours of a local day, in order; none of a day that never was."""
    return [Period("hour", start, end, _label(start, calendar)) for start, end in pairwise(_bounds(calendar, day))]


def hour_at(instant: datetime, calendar: Calendar) -> Period:
    """The hour that holds an instant."""
    bounds = _bounds(calendar, calendar.day_of(instant))
    number = bisect_right(bounds, instant) - 1
    return Period("hour", bounds[number], bounds[number + 1], _label(bounds[number], calendar))


def hours_before(instant: datetime, count: int, calendar: Calendar) -> list[Period]:
    """The last ``count`` hours that are over at an instant, oldest first."""
    found: list[Period] = []
    end = hour_at(instant, calendar).start
    while len(found) < count:
        found.append(hour_at(end - timedelta(microseconds=1), calendar))
        end = found[-1].start
    return found[::-1]


def hour_from_label(text: str, calendar: Calendar) -> Period:
    """``2017-12-31 08:00``; of an hour that comes twice the first, unless the offset is said (``2024-10-27 02:00+01:00``).

    Raises:
        ValueError: no hour is called so.
    """
    local = datetime.fromisoformat(text)
    instant = (local if local.tzinfo else local.replace(tzinfo=calendar.zone)).astimezone(UTC)
    found = hour_at(instant, calendar)
    if found.start != instant or found.label[:16] != text[:16]:
        raise ValueError(f"no hour starts at {text}")
    return found


@lru_cache(maxsize=5_000)
def _bounds(calendar: Calendar, day: date) -> tuple[datetime, ...]:
    found: list[datetime] = []
    for start, end in calendar.stretches(day):
        local = start.astimezone(calendar.zone)
        at = start
        into = timedelta(minutes=local.minute, seconds=local.second)
        while at < end:
            found.append(at)
            at, into = at + _HOUR - into, timedelta()
    return (*found, calendar.midnight(day + DAY))


def _label(start: datetime, calendar: Calendar) -> str:
    local = start.astimezone(calendar.zone)
    comes_twice = local.replace(fold=1 - local.fold).utcoffset() != local.utcoffset()
    return (local if comes_twice else local.replace(tzinfo=None)).isoformat(" ", "minutes")
