"""How time is told in the configuration: opening hours, holidays, fiscal years of weeks, targets; and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, field_validator

from kpid.analysis.calendar import Calendar
from kpid.analysis.durations import number_from_text
from kpid.analysis.periods import is_kind, period_from_label, recurs
from kpid.analysis.public_holidays import check_region
from kpid.analysis.workdays import Hours, WorkCalendar, hours_from_text, week_from_texts
from kpid.config.values import Model, Names, Number
from kpid.errors import ConfigError
from kpid.model import Period


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"{value!r} is not a time zone: write an IANA name such as Europe/Berlin") from None
    return value


Zone: TypeAlias = Annotated[str, AfterValidator(_zone)]
Pattern: TypeAlias = Literal["gregorian", "4-4-5", "4-5-4", "5-4-4", "custom"]
CURVES = ("linear_working_days", "linear_calendar", "seasonal")


def _curve(value: object) -> str | tuple[Decimal, ...]:
    if isinstance(value, list | tuple):
        shares = tuple(one if isinstance(one, Decimal) else number_from_text(str(one)) for one in value)
        if not shares or shares[-1] != 1 or any(later < earlier for earlier, later in pairwise((Decimal(0), *shares))):
            raise ValueError("shares must grow and end with 100%, such as [10%, 30%, 60%, 100%]")
        return shares
    if value not in CURVES:
        raise ValueError(f"{value!r} is not a curve: write {', '.join(CURVES)}, or shares such as [10%, 30%, 60%, 100%]")
    return str(value)


_CURVE_SCHEMA = {"anyOf": [{"enum": list(CURVES)}, {"type": "array", "items": {"type": ["number", "string"]}}]}
Curve: TypeAlias = Annotated[str | tuple[Decimal, ...], PlainValidator(_curve), WithJsonSchema(_CURVE_SCHEMA)]
"""How a target is reached in the course of its period: by working days, by days, as last year; or shares, in equal steps."""


def _regions(value: tuple[str, ...]) -> tuple[str, ...]:
    for place in value:
        try:
            check_region(*_region(place))
        except ConfigError as error:
            raise ValueError(f"{error.what}: {error.hint}") from None
    return value


Regions: TypeAlias = Annotated[Names, AfterValidator(_regions)]
"""Countries, or parts of them, whose public holidays are meant: ``DE-BY``, ``FR``."""


class OpeningHours(Model):
    """When a company, a team or a support group works: local hours of the week, less holidays."""

    timezone: Zone | None = Field(None, description="The zone that the hours are meant in, if not the company's.")
    hours: Mapping[str, str] = Field(
        default_factory=lambda: {"mon-fri": "09:00-17:00"},
        description='By weekday: {mon-thu: "09:00-12:30, 13:30-18:00", fri: "09:00-15:00"}. None may cross midnight: split it.',
    )
    holidays: Regions = Field((), description="Public holidays of a country or a part of it are free: DE-BY, FR, US-CA.")
    days: Mapping[date, str] = Field(
        default_factory=dict, description="Days of their own: {2026-12-24: half, 2026-12-31: closed, 2026-05-16: 10:00-14:00}."
    )

    @field_validator("hours")
    @classmethod
    def _week(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        week_from_texts(value)
        return value

    @field_validator("days")
    @classmethod
    def _days(cls, value: Mapping[date, str]) -> Mapping[date, str]:
        for text in value.values():
            _day_hours(text)
        return value

    def made(self, timezone: str) -> WorkCalendar:
        """The calendar that these words describe; ``timezone`` is the company's."""
        days = tuple((day, _day_hours(text)) for day, text in sorted(self.days.items()))
        return WorkCalendar(
            self.timezone or timezone, week_from_texts(self.hours), tuple(_region(place) for place in self.holidays), days
        )


class TargetText(Model):
    """One version of a target: for which period and which part of the company, and from when on."""

    period: str = Field(description="The period it is for: 2026-Q4, 2026-11, FY2027; or the kind of periods: quarter.")
    value: Number = Field(description="The value to reach.")
    where: Mapping[str, str] = Field(default_factory=dict, description="Only for this segment: {owner: Ada Example}.")
    valid_from: date | None = Field(
        None, description="First day that it holds: what was judged before keeps the target that held then."
    )


class HasHours(Protocol):
    """A window: when people want to hear of alerts."""

    days: str
    times: str
    holidays: tuple[str, ...]
    calendar: str | None


class HasTimes(Protocol):
    """The part of a configuration that says how time is cut."""

    timezone: str
    week_start: Literal["mon", "sun", "sat"]
    fiscal_year: int
    fiscal_label: Literal["start", "end"]
    fiscal_pattern: Pattern
    fiscal_year_starts: tuple[date, ...]
    fiscal_53_weeks: Literal["nearest", "last"]
    fiscal_long_month: int
    fiscal_month_starts: tuple[tuple[date, ...], ...]
    calendars: Mapping[str, OpeningHours]
    calendar: str | None


def calendar_of(config: HasTimes) -> Calendar:
    """How the company cuts time.

    Raises:
        ConfigError: the fiscal years make no sense.
    """
    return Calendar(
        config.timezone,
        config.week_start,
        config.fiscal_year,
        config.fiscal_label,
        config.fiscal_pattern,
        config.fiscal_year_starts,
        config.fiscal_53_weeks,
        config.fiscal_long_month,
        config.fiscal_month_starts,
    )


def work_calendars(config: HasTimes) -> dict[str, WorkCalendar]:
    """The calendars by name; ``""`` is the company's own: that of ``calendar:``, else Monday to Friday, 9 to 17 o'clock."""
    found = {name: hours.made(config.timezone) for name, hours in config.calendars.items()}
    own = found.get(config.calendar) if config.calendar is not None else None
    return {**found, "": own or WorkCalendar(config.timezone)}


def window_hours(window: HasHours, calendars: Mapping[str, WorkCalendar], timezone: str) -> WorkCalendar:
    """When a window is open.

    Args:
        window: as configured.
        calendars: working days by name; its ``calendar:`` is one of them.
        timezone: the company's.
    """
    if window.calendar is not None:
        return calendars[window.calendar]
    return WorkCalendar(timezone, week_from_texts({window.days: window.times}), tuple(map(_region, window.holidays)))


def target_period(text: str, config: HasTimes) -> Period | str:
    """What a target is for: one period, or a kind of periods.

    Raises:
        ConfigError: it is neither.
    """
    return text if is_kind(text) and recurs(text) else period_from_label(None, text, calendar_of(config))


def company_target(targets: Sequence[TargetText], period: Period, calendar: Calendar, now: datetime) -> Decimal | None:
    """The target of the company as a whole for a period, in the newest version that held at its end (or holds now).

    One for the period itself wins over one for all of its kind. None: there is none.
    """
    found: list[tuple[bool, date, Decimal]] = []
    for one in targets:
        is_kind_of = one.period == period.kind
        meant = None if is_kind(one.period) else period_from_label(None, one.period, calendar)
        is_meant = meant is not None and (meant.kind, meant.start) == (period.kind, period.start)
        since = calendar.midnight(one.valid_from) if one.valid_from is not None else None
        holds = since is None or (since < period.end and since <= now)
        if not one.where and holds and (is_kind_of or is_meant):
            found.append((is_meant, one.valid_from or date.min, one.value))
    return max(found, key=lambda version: version[:2])[2] if found else None


def _region(text: str) -> tuple[str, str]:
    country, _, region = text.strip().upper().partition("-")
    return country, region


def _day_hours(text: str) -> Hours | None:
    return None if text.strip() == "half" else hours_from_text(text)
