"""How an organisation cuts time: its zone, where its weeks start, and how its fiscal years run.

A local day starts at the first instant that is not of an earlier date: at midnight, or right after the gap where a clock change
skips midnight. A day that a zone never had (Apia, 2011-12-30) is empty: it starts when the next one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kpid.analysis import fiscal_months
from kpid.errors import ConfigError

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
WEEKDAYS = {"mon": 0, "sat": 5, "sun": 6}
PATTERNS = {"4-4-5": (4, 4, 5) * 4, "4-5-4": (4, 5, 4) * 4, "5-4-4": (5, 4, 4) * 4}
"""Weeks of the twelve months of a fiscal year of 52 weeks."""
CUSTOM = "custom"
"""The pattern of fiscal months whose first days are listed."""
DRIFT = {"nearest": (-3, 3), "last": (-6, 0)}
"""Days that a fiscal year of whole weeks may start after the first of its month."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """How the organisation cuts time.

    Attributes:
        timezone: IANA zone.
        week_start: ``mon``, ``sun`` or ``sat``.
        fiscal_start: month (1-12) in which the fiscal year starts.
        fiscal_label: whether a fiscal year is named by the calendar year of its ``start`` or its ``end``.
        fiscal_pattern: ``gregorian`` months, or weeks per fiscal month: ``4-4-5``, ``4-5-4``, ``5-4-4``; or ``custom``.
        year_starts: of a pattern of weeks: the first days of consecutive fiscal years, as published. Other years follow from them
            by ``year_rule``; without any, years start on ``week_start``.
        year_rule: which years have 53 weeks: a year starts on the day ``nearest`` to the first of ``fiscal_start``, or on the
            ``last`` one not after it.
        long_month: fiscal month (1-12) that gets the 53rd week.
        month_starts: of the pattern ``custom``: the first days of the twelve months of consecutive fiscal years. Other years have
            the same days as the listed one next to them.
    """

    timezone: str
    week_start: str = "mon"
    fiscal_start: int = 1
    fiscal_label: str = "end"
    fiscal_pattern: str = "gregorian"
    year_starts: tuple[date, ...] = ()
    year_rule: str = "nearest"
    long_month: int = 12
    month_starts: fiscal_months.Years = ()

    def __post_init__(self) -> None:
        if self.week_start not in WEEKDAYS:
            raise ConfigError(
                f"week_start {self.week_start!r} is not a weekday that weeks start on", hint="Write mon, sun or sat"
            )
        _zone(self.timezone)
        if self.year_starts and self.fiscal_pattern not in PATTERNS:
            raise ConfigError(
                "fiscal_year_starts goes with a pattern of weeks", hint=f"Set fiscal_pattern to one of {', '.join(PATTERNS)}"
            )
        if self.month_starts and self.fiscal_pattern != CUSTOM:
            raise ConfigError("fiscal_month_starts goes with fiscal months of one's own", hint="Set fiscal_pattern to custom")
        if self.fiscal_pattern == CUSTOM:
            self._check_months()
        elif self.fiscal_pattern != "gregorian":
            self._check_pattern()

    @property
    def zone(self) -> ZoneInfo:
        """The zone of ``timezone``."""
        return _zone(self.timezone)

    @property
    def identity(self) -> list[object]:
        """What a figure's meaning depends on: if it changes, a new series begins."""
        plain: list[object] = [self.timezone, self.week_start, self.fiscal_start, self.fiscal_label]
        if self.fiscal_pattern == "gregorian":
            return plain
        if self.fiscal_pattern == CUSTOM:
            return [*plain, self.fiscal_pattern, *([str(day) for day in months] for months in self.month_starts)]
        return [*plain, self.fiscal_pattern, *(str(day) for day in self.year_starts), self.year_rule, self.long_month]

    def midnight(self, day: date) -> datetime:
        """The first instant of a local day, in UTC."""
        return _midnight(self.timezone, day)

    def day_of(self, instant: datetime) -> date:
        """The local day whose ``[midnight, next midnight)`` holds the instant."""
        day = instant.astimezone(self.zone).date()
        while instant < self.midnight(day):
            day -= DAY
        while instant >= self.midnight(day + DAY):
            day += DAY
        return day

    def stretches(self, day: date) -> list[tuple[datetime, datetime]]:
        """A local day in parts with one offset from UTC each: one part, or two when the clocks change. None if it is empty."""
        return list(_stretches(self.timezone, day))

    def _check_months(self) -> None:
        if not self.month_starts:
            hint = "List the first days of the twelve months of at least one year: fiscal_month_starts: [[2025-12-26, ...]]"
            raise ConfigError("fiscal_pattern custom needs fiscal_month_starts", hint=hint)
        for _, what, hint in fiscal_months.faults(self.month_starts, self.fiscal_start):
            raise ConfigError(f"fiscal_month_starts: {what}", hint=hint)

    def _check_pattern(self) -> None:
        if self.fiscal_pattern not in PATTERNS:
            raise ConfigError(
                f"fiscal_pattern {self.fiscal_pattern!r} is not known", hint=f"Write gregorian, {', '.join(PATTERNS)} or {CUSTOM}"
            )
        if self.year_rule not in DRIFT or not 1 <= self.long_month <= 12:
            raise ConfigError(
                "the rule for years of 53 weeks is not known", hint="Write nearest or last, and a month from 1 to 12"
            )
        for earlier, later in pairwise(self.year_starts):
            if (later - earlier).days not in {364, 371}:
                raise ConfigError(
                    f"fiscal_year_starts: {earlier} and {later} are not 52 or 53 weeks apart",
                    hint="List the first days of consecutive fiscal years, in order",
                )
        for start in self.year_starts:
            years = (start.year - 1, start.year, start.year + 1)
            if min(abs((start - date(year, self.fiscal_start, 1)).days) for year in years) > 14:
                raise ConfigError(
                    f"fiscal_year_starts: {start} is not near the first of month {self.fiscal_start}",
                    hint="Set fiscal_year to the month that the fiscal year begins in, or nearly",
                )


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"{name!r} is not a time zone", hint="Use an IANA name such as Europe/Berlin") from error


@lru_cache(maxsize=20_000)
def _midnight(timezone: str, day: date) -> datetime:
    zone = _zone(timezone)
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    instant = local.astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return instant
    low, high = instant - DAY, instant  # midnight lies in a gap: find the clock change that skipped it
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if middle.astimezone(zone).date() >= day else (middle, high)
    return high


@lru_cache(maxsize=20_000)
def _stretches(timezone: str, day: date) -> tuple[tuple[datetime, datetime], ...]:
    zone, start, end = _zone(timezone), _midnight(timezone, day), _midnight(timezone, day + DAY)
    if start == end:
        return ()
    before, after = (instant.astimezone(zone).utcoffset() for instant in (start, end - SECOND))
    if before == after:
        return ((start, end),)
    low, high = start, end - SECOND
    while high - low > SECOND:
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return ((start, high), (high, end))
