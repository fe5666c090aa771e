"""Periods: half-open spans between local midnights of the organisation's zone, given as UTC instants.

Four families of kinds:

* calendar kinds (``hour``, ``day`` ... ``fiscal_year``) lie side by side: each instant is in exactly one;
* ``rolling_Nd`` is the N complete local days before a day: one period per day, and they overlap; ``rolling_Nd_today`` is the N
  days that end with the day itself;
* to-date kinds (``wtd``, ``mtd``, ``qtd``, ``ytd``, ``fmtd`` ..., ``since_2017-01-15``) run from the start of the week ... of a
  day, or from a given day, to the end of that day: one period per day. Today's is not over before the next midnight;
* a fixed span (``2017-01-15..2017-02-10``, the last day not included) is one period and no other.

How days are cut, and a day that a zone never had, is told in :mod:`kpid.analysis.calendar`; how hours are, in
:mod:`kpid.analysis.hours`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from kpid.analysis import fiscal
from kpid.analysis.calendar import DAY, WEEKDAYS, Calendar
from kpid.analysis.hours import hour_at, hour_from_label, hours_before, hours_of
from kpid.analysis.period_labels import MONTHS, TO_DATE, label_of, parse_label
from kpid.errors import ConfigError
from kpid.model import Period

__all__ = [
    "KINDS", "TO_DATE", "Calendar", "check_kind", "days_of", "is_daily", "is_fixed", "is_kind", "last_complete", "period_at",
    "period_from_label", "periods_between", "previous_period", "recurs", "span",
]  # fmt: skip

_WEEKS = {"week": None, "iso_week": "mon", "week_sun": "sun", "week_sat": "sat"}
_ROLLING = re.compile(r"rolling_([1-9][0-9]{0,3})d(_today)?")
_SINCE = re.compile(r"since_(\d{4}-\d\d-\d\d)")
_SPAN = re.compile(r"(\d{4}-\d\d-\d\d)\.\.(\d{4}-\d\d-\d\d)")
_SIDE_BY_SIDE = frozenset({"day", *_WEEKS, *MONTHS, *fiscal.MONTHS})
KINDS = ("hour", "day", *_WEEKS, *MONTHS, *fiscal.MONTHS, *TO_DATE, "rolling_Nd", "rolling_Nd_today")
"""What a period may be called in a configuration."""


def check_kind(kind: str) -> str:
    """The kind itself, if it is one.

    Raises:
        ConfigError: there is no such kind of period.
    """
    if is_kind(kind):
        return kind
    raise ConfigError(f"{kind!r} is not a kind of period", hint=f"Use one of {', '.join(KINDS)}, for example rolling_90d")


def is_kind(kind: str) -> bool:
    """Whether there is such a kind of period, fixed spans included."""
    return kind == "hour" or kind in _SIDE_BY_SIDE or is_daily(kind) or is_fixed(kind)


def is_daily(kind: str) -> bool:
    """Whether there is one period per day and they overlap (``rolling_Nd`` and to-date kinds)."""
    return kind in TO_DATE or _ROLLING.fullmatch(kind) is not None or _since(kind) is not None


def is_fixed(kind: str) -> bool:
    """Whether it is a span of given days: one period and no other."""
    return _span_days(kind) is not None


def recurs(kind: str) -> bool:
    """Whether periods of this kind follow one another for ever, so that rules and reports can wait for the next."""
    return is_kind(kind) and not is_fixed(kind) and _since(kind) is None


def span(first: date, after: date, calendar: Calendar) -> Period:
    """The period of the local days ``[first, after)``; its kind is its label.

    Raises:
        ConfigError: it ends before it starts.
    """
    name = f"{first.isoformat()}..{after.isoformat()}"
    if after <= first:
        raise ConfigError(f"{name} ends before it starts", hint="Write the earlier day first; the last day is not included")
    return Period(name, calendar.midnight(first), calendar.midnight(after), name)


def days_of(period: Period, calendar: Calendar) -> tuple[date, date]:
    """First local day of a period, and the first one after it."""
    first = calendar.day_of(period.start)
    if period.start == period.end:  # a day that never was
        return first - DAY, first
    return first, calendar.day_of(period.end - timedelta(microseconds=1)) + DAY


def period_at(kind: str, instant: datetime, calendar: Calendar) -> Period:
    """The period that belongs to an instant.

    Calendar kinds: the one that contains it. ``rolling_Nd``: the N complete days before the instant's day. To-date kinds: from
    the start of the week, month ... to the end of the instant's day. A fixed span is itself.
    """
    if check_kind(kind) == "hour":
        return hour_at(instant, calendar)
    return _period_of_day(kind, calendar.day_of(instant), calendar)


def whole_of(period: Period, calendar: Calendar) -> Period:
    """The whole week, month ... that a to-date period is a part of; any other period is whole itself."""
    kind = TO_DATE.get(period.kind)
    return period if kind is None else _period_of_day(kind, calendar.day_of(period.start), calendar)


def previous_period(period: Period, calendar: Calendar) -> Period:
    """The period to compare with.

    Calendar kinds, rolling kinds and fixed spans: the adjacent one of the same kind or length. To-date kinds: as many days of the
    week, month ... before, at most the whole of it.
    """
    kind = check_kind(period.kind)
    if kind == "hour":
        return hours_before(period.start, 1, calendar)[0]
    first, after = days_of(period, calendar)
    if _ROLLING.fullmatch(kind):
        return _rolling(kind, first - DAY, calendar)
    if is_fixed(kind) or _since(kind):
        return span(first - (after - first), first, calendar)
    if container := TO_DATE.get(kind):
        start = _containing(container, first - DAY, calendar)
        return _to_date(kind, min(start + (after - first), first) - DAY, calendar)
    return _calendar_period(kind, _containing(kind, first - DAY, calendar), calendar)


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
    """The last ``count`` periods that are over at ``now``, oldest first; of a fixed span itself, if it is over."""
    if check_kind(kind) == "hour":
        return hours_before(now, count, calendar)
    day = calendar.day_of(now)
    if is_fixed(kind):
        return [period for period in (_period_of_day(kind, day, calendar),) if period.end <= now]
    if is_daily(kind):
        last = day if _excludes_today(kind) else day - DAY
        return [_period_of_day(kind, last - DAY * back, calendar) for back in range(count - 1, -1, -1)]
    found: list[Period] = []
    first = _containing(kind, day, calendar)
    while len(found) < count:
        first = _containing(kind, first - DAY, calendar)
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
    if kind is not None:
        check_kind(kind)
    try:
        if is_fixed(text) and kind in {None, text}:
            return _period_of_day(text, date.min, calendar)
        if kind in {None, "hour"} and ":" in text:
            return hour_from_label(text, calendar)
        found_kind, day = parse_label(text, kind, calendar)
    except (ValueError, OverflowError):
        found_kind, day = None, date.min
    if found_kind is None or (kind is not None and kind != found_kind) or found_kind == "hour" or not is_kind(found_kind):
        meant = f"a period of kind {kind}" if kind else "a period"
        raise ConfigError(
            f"{label!r} is not {meant}", hint="Write it like 2017-12-31, 2017-W50, 2017-12, 2017-Q4, 2017 or FY2018-Q1"
        )
    if _ROLLING.fullmatch(found_kind):
        return _rolling(found_kind, day, calendar)
    return _period_of_day(found_kind, day, calendar)


def _period_of_day(kind: str, day: date, calendar: Calendar) -> Period:
    if days := _span_days(kind):
        return span(*days, calendar)
    if _ROLLING.fullmatch(kind):
        return _rolling(kind, day - DAY if _excludes_today(kind) else day, calendar)
    if kind in TO_DATE or _since(kind):
        return _to_date(kind, day, calendar)
    return _calendar_period(kind, _containing(kind, day, calendar), calendar)


def _walk(kind: str, day: date, calendar: Calendar) -> Iterator[Period]:
    if is_fixed(kind):
        yield _period_of_day(kind, day, calendar)
        return
    if is_daily(kind) or kind == "hour":
        day -= DAY * 2
        while True:
            yield from hours_of(day, calendar) if kind == "hour" else [_period_of_day(kind, day, calendar)]
            day += DAY
    first = _containing(kind, day - DAY, calendar)  # one earlier: an empty day may share its start with the next one
    while True:
        yield _calendar_period(kind, first, calendar)
        first = _following(kind, first, calendar)


def _excludes_today(kind: str) -> bool:
    match = _ROLLING.fullmatch(kind)
    return match is not None and match[2] is None


def _since(kind: str) -> date | None:
    match = _SINCE.fullmatch(kind)
    try:
        return date.fromisoformat(match[1]) if match else None
    except ValueError:
        return None


def _span_days(kind: str) -> tuple[date, date] | None:
    match = _SPAN.fullmatch(kind)
    try:
        first, after = (date.fromisoformat(part) for part in match.groups()) if match else (date.max, date.min)
    except ValueError:
        return None
    return (first, after) if first < after else None


def _rolling(kind: str, last: date, calendar: Calendar) -> Period:
    match = _ROLLING.fullmatch(kind)
    days, how = (int(match[1]), "incl" if match[2] else "to") if match else (0, "")
    start, end = calendar.midnight(last + DAY - DAY * days), calendar.midnight(last + DAY)
    return Period(kind, start, end, f"{days}d {how} {last.isoformat()}")


def _to_date(kind: str, day: date, calendar: Calendar) -> Period:
    if since := _since(kind):
        start, end = calendar.midnight(since), calendar.midnight(day + DAY)
        return Period(kind, start, max(start, end), f"since {since.isoformat()} to {day.isoformat()}")
    first = _containing(TO_DATE[kind], day, calendar)
    return Period(kind, calendar.midnight(first), calendar.midnight(day + DAY), f"{kind.upper()} {day.isoformat()}")


def _calendar_period(kind: str, first: date, calendar: Calendar) -> Period:
    end = calendar.midnight(_following(kind, first, calendar))
    return Period(kind, calendar.midnight(first), end, label_of(kind, first, calendar))


def _containing(kind: str, day: date, calendar: Calendar) -> date:
    """First day of the calendar period that holds a day."""
    if kind == "day":
        return day
    if kind in _WEEKS:
        return day - DAY * ((day.weekday() - WEEKDAYS[_WEEKS[kind] or calendar.week_start]) % 7)
    if kind in fiscal.MONTHS:
        return fiscal.containing(kind, day, calendar)
    month = day.year * 12 + day.month - 1
    month -= month % MONTHS[kind]
    return date(month // 12, month % 12 + 1, 1)


def _following(kind: str, first: date, calendar: Calendar) -> date:
    """First day after the calendar period that starts on a day."""
    if kind == "day" or kind in _WEEKS:
        return first + (DAY if kind == "day" else DAY * 7)
    if kind in fiscal.MONTHS:
        return fiscal.following(kind, first, calendar)
    month = first.year * 12 + first.month - 1 + MONTHS[kind]
    return date(month // 12, month % 12 + 1, 1)
