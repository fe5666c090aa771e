"""When something happens: nominal due times of a schedule, their instants, and what to catch up after a pause.

A *nominal* time is what the wall clock of the schedule's zone is meant to show: a naive datetime. It is the identity of a run,
because it exists exactly once whatever the zone does: a time that the clock jumps over in spring happens one gap later, a time
that the clock shows twice in autumn happens the first time. Intervals have no wall clock; their nominal times are UTC, counted
from 1970, so that a restart does not shift them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from kpid.errors import ConfigError

CatchUp: TypeAlias = Literal["latest", "all", "skip"]
"""What happens to due times that passed unseen: the newest runs, all run, none runs."""

ON_TIME = timedelta(minutes=5)
"""Later than this is late: the mail says so, and ``skip`` passes it over."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a nominal time
_SECOND = timedelta(seconds=1)
_WINDOW = timedelta(hours=25)  # no zone has ever jumped further
_LIMIT = 50
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DAYS = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
_NUMBERS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FORMS = (
    "Write `15m`, `1h`, `daily 06:00`, `weekdays 08:00`, `mon,thu 07:30`, `day 1 07:00`, `last day 18:00` or five cron fields"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due times on the wall clock of a zone (``cron``), or every so often (``every``). Made by :func:`schedule_from_text`."""

    text: str
    timezone: str
    words: str
    cron: str | None = None
    every: timedelta | None = None

    @property
    def nominal_zone(self) -> str:
        """The zone whose clock the nominal times are read from: UTC for intervals."""
        return "UTC" if self.cron is None else self.timezone

    @property
    def spec_hash(self) -> str:
        """Changes when the due times do: a new specification never back-fills."""
        return hashlib.sha256(f"{self.cron or self.every}|{self.nominal_zone}".encode()).hexdigest()

    def describe(self) -> str:
        """The schedule in words: ``every Monday at 07:30 (Europe/Berlin)``."""
        return self.words if self.cron is None else f"{self.words} ({self.timezone})"

    def instant(self, nominal: datetime) -> datetime:
        """The instant (aware, UTC) of a nominal time: skipped ones are shifted by the gap, doubled ones are the first."""
        return nominal.replace(tzinfo=ZoneInfo(self.nominal_zone), fold=0).astimezone(UTC)

    def nominals(self, after: datetime, until: datetime, limit: int) -> tuple[datetime, ...]:
        """The first ``limit`` nominal times in ``(after, until]``, oldest first."""
        found = []
        for nominal in islice(self._forward(after), limit):
            if nominal > until:
                break
            found.append(nominal)
        return tuple(found)

    def newest(self, after: datetime, until: datetime, limit: int) -> tuple[datetime, ...]:
        """The last ``limit`` nominal times in ``(after, until]``, oldest first; walks back, so a long pause costs nothing."""
        found = []
        for nominal in islice(self._backward(until), limit):
            if nominal <= after:
                break
            found.append(nominal)
        return tuple(reversed(found))

    def next(self, after_nominal: datetime) -> datetime:
        """The first nominal time after ``after_nominal``.

        Raises:
            ConfigError: there is none in the next fifty years.
        """
        for nominal in self._forward(after_nominal):
            return nominal
        raise ConfigError(f"the schedule {self.text!r} is never due", hint=_FORMS)

    def reach(self, now: datetime) -> datetime:
        """The nominal time up to which everything is due at ``now``: this and all before have their instant at or before it."""
        zone = ZoneInfo(self.nominal_zone)
        wall = now.astimezone(zone).replace(tzinfo=None, fold=0)
        if (now - _WINDOW).astimezone(zone).utcoffset() == (now + _WINDOW).astimezone(zone).utcoffset():
            return wall
        reached = wall - _WINDOW
        for nominal in self._forward(reached):
            if nominal > wall + _WINDOW or self.instant(nominal) > now:
                break
            reached = nominal
        return reached

    def _forward(self, after: datetime) -> Iterator[datetime]:
        if self.every is None:
            return CronSim(str(self.cron), after)
        first = _EPOCH + self.every * ((after - _EPOCH) // self.every + 1)
        return _steps(first, self.every)

    def _backward(self, until: datetime) -> Iterator[datetime]:
        if self.every is None:
            return CronSim(str(self.cron), until.replace(microsecond=0) + _SECOND, reverse=True)
        last = _EPOCH + self.every * ((until - _EPOCH) // self.every)
        return _steps(last, -self.every)


def _steps(start: datetime, step: timedelta) -> Iterator[datetime]:
    while True:
        yield start
        start += step


def schedule_from_text(text: str, timezone: str) -> Schedule:
    """Read a schedule as written in YAML.

    Args:
        text: ``15m``, ``daily 06:00``, ``weekdays 08:00``, ``mon,thu 07:30``, ``day 1 07:00``, ``last day 18:00``,
            or five cron fields.
        timezone: IANA zone of the wall clock.

    Raises:
        ConfigError: the text is none of these, or the zone is unknown.
    """
    clean = " ".join(str(text).split()).lower()
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"unknown time zone {timezone!r}", hint="Write an IANA name like `Europe/Berlin`") from error
    if interval := re.fullmatch(r"(\d+) ?([smhd])", clean):
        return _interval(clean, timezone, int(interval[1]), interval[2])
    cron, words = _cron_from_words(clean)
    try:
        next(CronSim(cron, datetime(2000, 1, 1)))  # noqa: DTZ001 - a nominal time
    except (CronSimError, StopIteration) as error:
        why = "it is never due" if isinstance(error, StopIteration) else str(error)
        raise ConfigError(f"{text!r} is not a schedule: {why}", hint=_FORMS) from error
    return Schedule(clean, timezone, words, cron=cron)


def _interval(text: str, timezone: str, count: int, unit: str) -> Schedule:
    every = timedelta(**{_UNITS[unit]: count})
    if every <= timedelta(0):
        raise ConfigError(f"{text!r} is not a schedule: an interval must be longer than nothing", hint=_FORMS)
    words = f"every {_UNITS[unit][:-1]}" if count == 1 else f"every {count} {_UNITS[unit]}"
    return Schedule(text, timezone, words, every=every)


def _cron_from_words(text: str) -> tuple[str, str]:
    """The five cron fields of a schedule, and how it reads."""
    fields = text.split(" ")
    if len(fields) == 5:
        return text, f"cron {text}"
    *day, clock = fields
    hour, minute = _clock_time(text, clock)
    at = f"{minute} {hour}"
    when = f"at {hour:02}:{minute:02}"
    match day:
        case ["daily"]:
            return f"{at} * * *", f"every day {when}"
        case ["weekdays"]:
            return f"{at} * * 1-5", f"Monday to Friday {when}"
        case ["last", "day"]:
            return f"{at} L * *", f"on the last day of each month {when}"
        case ["day", number]:
            return f"{at} {_month_day(text, number)} * *", f"on day {int(number)} of each month {when}"
        case [names] if all(name in _DAYS for name in names.split(",")):
            numbers = ",".join(str(_NUMBERS[name]) for name in names.split(","))
            return f"{at} * * {numbers}", f"every {' and '.join(_DAYS[name] for name in names.split(','))} {when}"
    raise ConfigError(f"{text!r} is not a schedule", hint=_FORMS)


def _clock_time(text: str, clock: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", clock)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise ConfigError(f"{text!r} is not a schedule", hint=_FORMS)
    return int(found[1]), int(found[2])


def _month_day(text: str, number: str) -> int:
    if number.isdecimal() and 1 <= int(number) <= 28:
        return int(number)
    raise ConfigError(f"{text!r} is not a schedule that every month has", hint="Write a day from 1 to 28, or `last day 18:00`")


# ---- what to run after a pause


@dataclass(frozen=True, slots=True)
class Position:
    """How far a schedule has been planned: its specification, and the nominal time up to which every run is recorded."""

    spec: str
    last: datetime


@dataclass(frozen=True, slots=True)
class Skip:
    """A due time that is passed over, and why."""

    nominal: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be recorded now: runs, skipped due times, and the new position, all in one transaction."""

    to_run: tuple[datetime, ...]
    skipped: tuple[Skip, ...]
    position: Position


def due_runs(
    schedule: Schedule,
    position: Position | None,
    now: datetime,
    policy: CatchUp,
    max_age: timedelta | None,
    *,
    limit: int = _LIMIT,
) -> Due:
    """Decide what is due at ``now``.

    On the first start, after a change of the schedule, and when the clock was set back, nothing is due and the position becomes
    now; a due time that is met again after that is known by its nominal time and not run twice.

    Args:
        schedule: the schedule.
        position: how far it was planned; None on the first start.
        now: aware instant.
        policy: what to do with due times that passed unseen.
        max_age: older ones are not run any more; None = any age.
        limit: so many due times are looked at one by one; the next older one is skipped and speaks for those before it.
    """
    reached = schedule.reach(now)
    new = Position(schedule.spec_hash, reached)
    if position is None or position.spec != schedule.spec_hash or position.last >= reached:
        kept = position is not None and position.spec == schedule.spec_hash and position.last == reached
        return Due((), (), position if kept and position is not None else new)
    found = schedule.newest(position.last, reached, limit + 1)
    if not found:
        return Due((), (), position)
    early = found[0] if len(found) > limit else None
    found = found[-limit:]
    reasons = {nominal: _refusal(schedule, nominal, found[-1], now, policy, max_age) for nominal in found}
    skipped = [Skip(nominal, reason) for nominal, reason in reasons.items() if reason is not None]
    if early is not None:
        after = position.last.isoformat(sep=" ", timespec="minutes")
        skipped.insert(0, Skip(early, f"this one and all earlier ones after {after} were passed over: there were too many"))
    to_run = tuple(nominal for nominal, reason in reasons.items() if reason is None)
    return Due(to_run, tuple(skipped), Position(new.spec, found[-1]))


def _refusal(
    schedule: Schedule, nominal: datetime, newest: datetime, now: datetime, policy: CatchUp, max_age: timedelta | None
) -> str | None:
    """Why a due time is not run; None = it is."""
    late = now - schedule.instant(nominal)
    if policy != "all" and nominal != newest:
        return f"a later one ({newest.isoformat(sep=' ', timespec='minutes')}) was due as well"
    if policy == "skip" and late > ON_TIME:
        return "kpid was not running when it was due, and catch_up is skip"
    if max_age is not None and late > max_age:
        return f"found {_hours(late)} late; the limit is {_hours(max_age)}"
    return None


def report_max_age(schedule: Schedule, nominal: datetime) -> timedelta:
    """How late a report is still worth sending: half the time to the next one, at least a day."""
    gap = schedule.next(nominal) - nominal
    return max(gap / 2, timedelta(hours=24))


def _hours(length: timedelta) -> str:
    hours = length / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h"
