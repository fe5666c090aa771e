"""Periods: half-open spans between local midnights of the organisation's zone, given as UTC instants.

Three families of kinds:

* calendar kinds (``day`` ... ``fiscal_year``) lie side by side: each instant is in exactly one;
* ``rolling_Nd`` is the N complete local days before a day: one period per day, and they overlap;
* to-date kinds (``wtd``, ``mtd``, ``qtd``, ``ytd``, ``fytd``) run from the start of the week, month ... that a day lies in to the
  end of that day: one period per day. Today's is not over before the next midnight.

A local day starts at the first instant that is not of an earlier date: at midnight, or right after the gap where a clock change
skips midnight. A day that a zone never had (Apia, 2011-12-30) is an empty period.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kpid.errors import ConfigError
from kpid.model import Period

_DAY = timedelta(days=1)
_WEEKDAYS = {"mon": 0, "sat": 5, "sun": 6}
_MONTHS = {"month": 1, "quarter": 3, "half": 6, "year": 12, "fiscal_month": 1, "fiscal_quarter": 3, "fiscal_year": 12}
_TO_DATE = {"wtd": "week", "mtd": "month", "qtd": "quarter", "ytd": "year", "fytd": "fiscal_year"}
_ROLLING = re.compile(r"rolling_([1-9][0-9]{0,3})d")
KINDS = ("day", "week", *_MONTHS, *_TO_DATE, "rolling_Nd")
"""What a period may be called in a configuration."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """How the organisation cuts time.

    ``week_start`` is ``mon``, ``sun`` or ``sat``; ``fiscal_start`` the month (1-12) in which the fiscal year starts;
    ``fiscal_label`` says whether a fiscal year is named by the calendar year of its ``start`` or its ``end``.
    """

    timezone: str
    week_start: str = "mon"
    fiscal_start: int = 1
    fiscal_label: str = "end"

    def __post_init__(self) -> None:
        if self.week_start not in _WEEKDAYS:
            raise ConfigError(
                f"week_start {self.week_start!r} is not a weekday that weeks start on", hint="Write mon, sun or sat"
            )
        _zone(self.timezone)

    @property
    def zone(self) -> ZoneInfo:
        """The zone of ``timezone``."""
        return _zone(self.timezone)

    def midnight(self, day: date) -> datetime:
        """The first instant of a local day, in UTC."""
        return _midnight(self.timezone, day)

    def day_of(self, instant: datetime) -> date:
        """The local day whose ``[midnight, next midnight)`` holds the instant."""
        day = instant.astimezone(self.zone).date()
        while instant < self.midnight(day):
            day -= _DAY
        while instant >= self.midnight(day + _DAY):
            day += _DAY
        return day


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
    low, high = instant - _DAY, instant  # midnight lies in a gap: find the clock change that skipped it
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        low, high = (low, middle) if middle.astimezone(zone).date() >= day else (middle, high)
    return high


def check_kind(kind: str) -> str:
    """The kind itself, if it is one.

    Raises:
        ConfigError: there is no such kind of period.
    """
    if is_kind(kind):
        return kind
    raise ConfigError(f"{kind!r} is not a kind of period", hint=f"Use one of {', '.join(KINDS)}, for example rolling_90d")


def is_kind(kind: str) -> bool:
    """Whether there is such a kind of period."""
    return kind in {"day", "week"} or kind in _MONTHS or is_daily(kind)


def is_daily(kind: str) -> bool:
    """Whether there is one period per day and they overlap (``rolling_Nd`` and to-date kinds)."""
    return kind in _TO_DATE or _ROLLING.fullmatch(kind) is not None


def period_at(kind: str, instant: datetime, calendar: Calendar) -> Period:
    """The period that belongs to an instant.

    Calendar kinds: the one that contains it. ``rolling_Nd``: the N complete days before the instant's day. To-date kinds: from
    the start of the week, month ... to the end of the instant's day.
    """
    check_kind(kind)
    day = calendar.day_of(instant)
    return _period_of_day(kind, day, calendar)


def previous_period(period: Period, calendar: Calendar) -> Period:
    """The period to compare with.

    Calendar kinds and ``rolling_Nd``: the adjacent one of the same kind. To-date kinds: as many days of the week, month ...
    before, at most the whole of it.
    """
    kind = check_kind(period.kind)
    if days := _rolling_days(kind):
        return _rolling(days, _first_day_of(period, calendar) - _DAY, calendar)
    first = _first_day_of(period, calendar)
    if container := _TO_DATE.get(kind):
        last = _last_day_of(period, calendar)
        start = _containing(container, first - _DAY, calendar)
        return _to_date(kind, min(start + (last - first), first - _DAY), calendar)
    return _calendar_period(kind, _containing(kind, first - _DAY, calendar), calendar)


def periods_between(kind: str, start: datetime, end: datetime, calendar: Calendar) -> list[Period]:
    """The periods that touch ``[start, end)``, in order; of kinds with one period per day, those that end in ``(start, end]``."""
    check_kind(kind)
    if end <= start:
        return []
    found = []
    for period in _walk(kind, calendar.day_of(start), calendar):
        if is_daily(kind):
            if period.end > end:
                break
            if period.end > start:
                found.append(period)
            continue
        if period.start >= end:
            break
        if period.end > start or period.start >= start:
            found.append(period)
    return found


def last_complete(kind: str, now: datetime, calendar: Calendar, count: int = 1) -> list[Period]:
    """The last ``count`` periods that are over at ``now``, oldest first."""
    check_kind(kind)
    day = calendar.day_of(now)
    if is_daily(kind):
        last = day if _ROLLING.fullmatch(kind) else day - _DAY
        return [_period_of_day(kind, last - _DAY * back, calendar) for back in range(count - 1, -1, -1)]
    found: list[Period] = []
    first = _containing(kind, day, calendar)
    while len(found) < count:
        first = _containing(kind, first - _DAY, calendar)
        found.append(_calendar_period(kind, first, calendar))
    return found[::-1]


def period_from_label(kind: str | None, label: str, calendar: Calendar) -> Period:
    """The period that people call ``label``: ``2017-W50``, ``2017-12``, ``2017-Q4``, ``FY2018-Q1``, ``90d to 2017-12-31`` ...

    Args:
        kind: the kind, or None to take it from the label's form. A date names the ``day``, or the period of ``kind`` that it
            lies in; ``rolling_Nd`` and to-date kinds end with that day.
        label: what ``Period.label`` says.
        calendar: how time is cut.

    Raises:
        ConfigError: no period is called so.
    """
    text = label.strip()
    try:
        found_kind, day = _parse(text, kind, calendar)
    except (ValueError, OverflowError):
        found_kind, day = None, date.min
    if found_kind is None or (kind is not None and check_kind(kind) != found_kind) or not is_kind(found_kind):
        meant = f"a period of kind {kind}" if kind else "a period"
        raise ConfigError(
            f"{label!r} is not {meant}", hint="Write it like 2017-12-31, 2017-W50, 2017-12, 2017-Q4, 2017 or FY2018-Q1"
        )
    if days := _rolling_days(found_kind):
        return _rolling(days, day, calendar)
    return _period_of_day(found_kind, day, calendar)


def _period_of_day(kind: str, day: date, calendar: Calendar) -> Period:
    if days := _rolling_days(kind):
        return _rolling(days, day - _DAY, calendar)
    if kind in _TO_DATE:
        return _to_date(kind, day, calendar)
    return _calendar_period(kind, _containing(kind, day, calendar), calendar)


def _walk(kind: str, day: date, calendar: Calendar) -> Iterator[Period]:
    if is_daily(kind):
        day -= _DAY * 2
        while True:
            yield _period_of_day(kind, day, calendar)
            day += _DAY
    first = _containing(kind, day - _DAY, calendar)  # one earlier: an empty day may share its start with the next one
    while True:
        yield _calendar_period(kind, first, calendar)
        first = _following(kind, first)


def _rolling_days(kind: str) -> int:
    match = _ROLLING.fullmatch(kind)
    return int(match[1]) if match else 0


def _rolling(days: int, last: date, calendar: Calendar) -> Period:
    after = last + _DAY
    start, end = calendar.midnight(after - _DAY * days), calendar.midnight(after)
    return Period(f"rolling_{days}d", start, end, f"{days}d to {last.isoformat()}")


def _to_date(kind: str, day: date, calendar: Calendar) -> Period:
    first = _containing(_TO_DATE[kind], day, calendar)
    return Period(kind, calendar.midnight(first), calendar.midnight(day + _DAY), f"{kind.upper()} {day.isoformat()}")


def _calendar_period(kind: str, first: date, calendar: Calendar) -> Period:
    end = calendar.midnight(_following(kind, first))
    return Period(kind, calendar.midnight(first), end, _label(kind, first, calendar))


def _containing(kind: str, day: date, calendar: Calendar) -> date:
    """First day of the calendar period that holds a day."""
    if kind == "day":
        return day
    if kind == "week":
        return day - _DAY * ((day.weekday() - _WEEKDAYS[calendar.week_start]) % 7)
    offset = calendar.fiscal_start - 1 if kind.startswith("fiscal") else 0
    month = day.year * 12 + day.month - 1 - offset
    month -= month % _MONTHS[kind]
    return date((month + offset) // 12, (month + offset) % 12 + 1, 1)


def _following(kind: str, first: date) -> date:
    """First day after the calendar period that starts on a day."""
    if kind in {"day", "week"}:
        return first + (_DAY if kind == "day" else _DAY * 7)
    month = first.year * 12 + first.month - 1 + _MONTHS[kind]
    return date(month // 12, month % 12 + 1, 1)


def _first_day_of(period: Period, calendar: Calendar) -> date:
    day = calendar.day_of(period.start)
    return day - _DAY if period.start == period.end else day


def _last_day_of(period: Period, calendar: Calendar) -> date:
    return calendar.day_of(period.end - timedelta(microseconds=1))


def _label(kind: str, first: date, calendar: Calendar) -> str:
    if kind == "week" and calendar.week_start == "mon":
        year, week, _ = first.isocalendar()
        return f"{year}-W{week:02}"
    if kind in {"day", "week"}:
        return first.isoformat()
    if kind.startswith("fiscal"):
        return _fiscal_label(kind, first, calendar)
    part = (first.month - 1) // _MONTHS[kind] + 1
    parts = {"month": f"-{part:02}", "quarter": f"-Q{part}", "half": f"-H{part}", "year": ""}
    return f"{first.year}{parts[kind]}"


def _fiscal_label(kind: str, first: date, calendar: Calendar) -> str:
    start = _containing("fiscal_year", first, calendar)
    year = start.year + (calendar.fiscal_label == "end" and calendar.fiscal_start > 1)
    part = ((first.year - start.year) * 12 + first.month - start.month) // _MONTHS[kind] + 1
    return f"FY{year}" + {"fiscal_month": f"-M{part:02}", "fiscal_quarter": f"-Q{part}", "fiscal_year": ""}[kind]


_LABELS = re.compile(
    r"""(?P<fy>FY)?(?P<year>\d{4}) (?: -W(?P<week>\d\d) | -Q(?P<quarter>[1-4]) | -H(?P<half>[12]) | -M(?P<fmonth>\d\d)
        | -(?P<month>\d\d) (?:-(?P<day>\d\d))? )?
        | (?P<rolling>\d+)d\ to\ (?P<last>\d{4}-\d\d-\d\d) | (?P<todate>[WMQY]TD|FYTD)\ (?P<until>\d{4}-\d\d-\d\d)""",
    re.VERBOSE,
)


def _parse(text: str, kind: str | None, calendar: Calendar) -> tuple[str | None, date]:
    """Kind and a day of the period that a label names (the last day if there is one per day); kind None if it names none."""
    match = _LABELS.fullmatch(text)
    part = {name: value for name, value in match.groupdict().items() if value} if match else {}
    if "rolling" in part:
        return f"rolling_{int(part['rolling'])}d", date.fromisoformat(part["last"])
    if "todate" in part:
        return part["todate"].lower(), date.fromisoformat(part["until"])
    if "fy" in part:
        return _parse_fiscal(part, calendar)
    return _parse_year(part, kind, calendar) if part and "fmonth" not in part else (None, date.min)


def _parse_year(part: dict[str, str], kind: str | None, calendar: Calendar) -> tuple[str | None, date]:
    year = int(part["year"])
    if "day" in part:
        return kind or "day", date(year, int(part["month"]), int(part["day"]))
    if "week" in part:
        return ("week" if calendar.week_start == "mon" else None), date.fromisocalendar(year, int(part["week"]), 1)
    for name, months in (("month", 1), ("quarter", 3), ("half", 6)):
        if name in part:
            return name, date(year, (int(part[name]) - 1) * months + 1, 1)
    return "year", date(year, 1, 1)


def _parse_fiscal(part: dict[str, str], calendar: Calendar) -> tuple[str | None, date]:
    year = int(part["year"]) - (calendar.fiscal_label == "end" and calendar.fiscal_start > 1)
    kind, months = "fiscal_year", 0
    if "quarter" in part:
        kind, months = "fiscal_quarter", (int(part["quarter"]) - 1) * 3
    if "fmonth" in part:
        kind, months = "fiscal_month", int(part["fmonth"]) - 1
    if {"week", "half", "month"} & part.keys() or not 0 <= months < 12:
        return None, date.min
    month = year * 12 + calendar.fiscal_start - 1 + months
    return kind, date(month // 12, month % 12 + 1, 1)
