"""Rules as they are written, and what decides who hears of them when: routes, windows, silences' siblings. Typed and frozen.

What can be judged by looking at one of them is judged here; what refers to other parts of a configuration in ``meaning.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, field_validator, model_validator

from kpid.analysis.durations import duration_from_text, number_from_text
from kpid.analysis.workdays import week_from_texts
from kpid.config.times import Regions
from kpid.config.values import Duration, DurationText, Model, Name, Names, Number, SpanText

FORMS: Mapping[str, frozenset[str]] = {
    "anomaly": frozenset({"method", "season", "sensitivity", "history", "min_effect"}),
    "since": frozenset({"months", "settle", "gain"}),
    "all": frozenset(),
    "any": frozenset(),
}
"""Conditions that are mappings: the key by which each is known, and the others that it may have."""
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_SECRET_FROM = 16


def _condition(value: object) -> str | Mapping[str, Any]:
    if isinstance(value, Mapping):
        form = next((key for key in FORMS if key in value), None)
        if form is None:
            raise ValueError(f"a condition that is a mapping has one of the keys {', '.join(FORMS)}")
        strange = sorted(set(map(str, value)) - {form} - FORMS[form])
        if strange:
            others = ", ".join(sorted(FORMS[form])) or "nothing else"
            raise ValueError(f"beside {form!r} a condition may have {others}, but not {strange[0]!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError(f'write a condition such as "< 50%", or a mapping with one of the keys {", ".join(FORMS)}')
    if not (text := str(value)).strip():
        raise ValueError('is empty: write a condition such as "< 50%"')
    return text


def _rare(value: Decimal) -> Decimal:
    if not 0 < value < Decimal("0.5"):
        raise ValueError(f"{value * 100:f}% is no small probability: write more than 0% and less than 50%, such as 5%")
    return value


def _part(value: Decimal) -> Decimal:
    if not 0 < value <= 1:
        raise ValueError(f"{value * 100:f}% is no part: write more than 0% and at most 100%, such as 10%")
    return value


def _share_or_duration(value: str) -> str:
    if value.strip().endswith("%"):
        if not 0 <= number_from_text(value) < 1:
            raise ValueError(f"{value!r} is no share of a period: write 0% to 99%, or a length of time such as 2w")
        return value
    try:
        duration_from_text(value)
    except ValueError:
        raise ValueError(f"{value!r} is neither a share of a period such as 20% nor a length of time such as 2w") from None
    return value


def _clock(value: str) -> str:
    if not _CLOCK.fullmatch(value):
        raise ValueError(f"{value!r} is no time of day: write it such as 08:00")
    return value


def _repeat(value: str) -> str:
    if value != "off":
        try:
            duration_from_text(value)
        except ValueError:
            raise ValueError(f"{value!r} is neither `off` nor a length of time such as 1d") from None
    return value


_CONDITION_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "object"}]}
ConditionText: TypeAlias = Annotated[str | Mapping[str, Any], PlainValidator(_condition), WithJsonSchema(_CONDITION_SCHEMA)]
"""A condition as written: a text, or a mapping of one of :data:`FORMS`."""
ShareOrDuration: TypeAlias = Annotated[str, AfterValidator(_share_or_duration)]
ClockText: TypeAlias = Annotated[str, AfterValidator(_clock)]
Repeat: TypeAlias = Annotated[str, AfterValidator(_repeat)]
Matchers: TypeAlias = Mapping[str, Names]
"""By label: texts, lists of texts, globs (``calls-*``), ``!x`` for anything else."""


class NoData(Model):
    """What a rule does when there is nothing to judge."""

    do: Literal["keep", "ok", "fire", "ignore"] = "keep"
    after: SpanText = "2x"
    level: Literal["warn", "critical"] = "warn"


class RowsText(Model):
    """The records behind a count that a message lists."""

    show: Names = Field(min_length=1, description="Columns of each record: [name, owner, amount].")
    sort: str | None = Field(None, description="Column to sort by; -amount: the largest first.")
    limit: int = Field(20, ge=1, le=100, description="So many records at most; their number is always told.")


class Absence(Model):
    """A rule on what does not come: a source that delivers nothing, a report that was not sent."""

    source: Names = Field((), description="Names of sources, or `all`.")
    report: Names = Field((), description="Names of reports, or `all`.")
    after: SpanText = Field("2x", description="Late by so many of its own intervals (2x), or by so long (3h).")

    @model_validator(mode="after")
    def _of_one_kind(self) -> Absence:
        if bool(self.source) == bool(self.report):
            raise ValueError("name either sources or reports: {source: all}, or {report: weekly}")
        return self


class Rule(Model):
    """A rule: when a KPI deserves somebody's attention, and whose."""

    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$", description="What people call it; unique.")
    id: Name | None = Field(None, description="Keeps the rule's identity when its name changes.")
    kpi: str = Field("", description="Id of the KPI (`kpid kpis` lists them); none with absence:")
    params: Mapping[str, str] = Field(default_factory=dict, description="Parameters of the KPI, by name.")
    period: str = Field("", description="Closed periods of this kind are judged: day, week, month, quarter, year, rolling_90d")
    by: Names = Field((), description="One alert per segment of these dimensions.")
    where: Mapping[str, Names] = Field(default_factory=dict, description="Only these segments: {region: [EMEA]}.")
    warn: ConditionText | None = Field(None, description='Condition, e.g. "< 50%" or "drop > 15% vs previous".')
    critical: ConditionText | None = Field(None, description="The same, for what cannot wait.")
    recover: ConditionText | None = Field(
        None, description="Condition that ends an alert; between it and the threshold nothing changes."
    )
    for_: SpanText = Field("1x", alias="for", description="2x: two bad periods in a row; 10d: bad for ten days.")
    keep_firing_for: SpanText = Field("0x", description="How long an alert goes on after the condition has ended.")
    min_sample: int | None = Field(None, ge=0, description="Below this sample size nothing is judged.")
    significance: Annotated[Number, AfterValidator(_rare)] | None = Field(
        None, description="A breach counts only if chance would give it less often than this: 5%."
    )
    min_effect: Annotated[Number, AfterValidator(_part)] | None = Field(
        None, description="A breach counts only if it is so far from what is usual: 10% of it."
    )
    correct: Literal["bh", "none"] = Field(
        "bh", description="Many segments tested at once: `bh` (Benjamini-Hochberg) keeps false alarms rare, `none` does not."
    )
    disjoint: bool = Field(False, description="A breach counts only if the 95 % intervals of now and then do not overlap.")
    baseline: int = Field(8, ge=4, le=104, description="So many closed periods are what is usual, for significance.")
    per: Literal["working_day"] | None = Field(None, description="Compare what is counted per working day.")
    align: Literal["calendar_days", "working_days"] = Field(
        "calendar_days", description="To-date periods compare with as many days, or as many working days."
    )
    start_after: ShareOrDuration = Field(
        "20%", description="Pace and forecast: not judged before this part of the period, or so long after its start (2w)."
    )
    recheck: SpanText = Field("2x", description="So far back, figures that have changed are judged anew.")
    on_restate: Literal["note", "resend", "ignore"] = Field(
        "resend",
        description="What a figure that changed does to its alert: `note`: it is written down; `resend`: it is, and people are"
        " told where the verdict is another one; `ignore`: nothing.",
    )
    no_data: NoData = NoData()
    expire_after: SpanText = Field(
        "3x", description="A segment that is no longer reported for so long ends its alert as expired."
    )
    catch_up: int = Field(10, ge=1, le=400, description="How many missed periods are judged after a pause.")
    settle: DurationText | None = Field(None, description="Wait so long after the end of a period for late data.")
    rows: RowsText | None = Field(None, description="List the records behind a count: {show: [name, owner], limit: 20}.")
    absence: Absence | None = Field(None, description="Instead of a KPI: {source: all, after: 2x}, {report: weekly, after: 3h}.")
    critical_after: DurationText | None = Field(None, description="With absence: critical when it is late by so long.")
    labels: Mapping[str, str] = Field(default_factory=dict)
    to: Names = Field((), description="Names of the receivers that are told; not needed where routes say it.")
    summary: str | None = Field(None, description="A sentence at the top of the message.")
    runbook: str | None = Field(
        None, pattern=r"^(https?|mailto):\S+$", description="Address of a page that says what to do: https://..."
    )
    paused: bool = Field(False, description="Judged by nobody until this is gone.")

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Rule:
        if self.absence is not None:
            told = next(
                (name for name in ("kpi", "period", "warn", "critical", "recover", "by", "rows") if getattr(self, name)), ""
            )
            if told:
                raise ValueError(f"a rule with absence: looks at no KPI: take {told}: out")
            return self
        missing = " and ".join(f"{name}:" for name in ("kpi", "period") if not getattr(self, name))
        if missing:
            raise ValueError(f"a rule needs {missing} (or absence:, to notice what does not come)")
        if self.warn is None and self.critical is None:
            raise ValueError('a rule needs a condition: add warn: or critical:, such as warn: "< 50%"')
        if self.critical_after is not None:
            raise ValueError("critical_after: belongs to absence:; a rule on a KPI has critical:")
        return self

    @property
    def uid(self) -> str:
        """The rule's identity in the store."""
        return self.id or self.name


class Escalation(Model):
    """Who hears of an alert that nobody has taken up."""

    after: DurationText = Field(description="So long after people were first told, if nobody has acknowledged it.")
    to: Names = Field(min_length=1, description="Receivers, as in to: of a rule.")


class Route(Model):
    """Who hears of which alerts, in which groups, when, and how often."""

    match: Matchers = Field(
        default_factory=dict, description='Labels: {severity: critical, rule: "calls-*", team: "!sales"}; all if empty.'
    )
    to: Names = Field(min_length=1, description="Receivers; mail:cro@example.com: one address of one; owner, manager.")
    group_by: Names = Field(("rule",), description="What makes one message: rule, kpi, severity, a label, a dimension; [] = all.")
    group_wait: DurationText = Field("30s", description="Wait so long for others before the first message of a group.")
    group_interval: DurationText = Field("5m", description="So long between two messages of a group.")
    repeat: Repeat = Field("1d", description="Remind after so long while it fires; off: never.")
    repeat_max: DurationText | None = Field(None, description="Reminders come ever later, up to this far apart.")
    hours: Name | None = Field(None, description="Name of a window: outside of it messages wait, or are dropped.")
    escalate: tuple[Escalation, ...] = Field((), description="Who else is told when nobody acknowledges it.")
    continue_: bool = Field(False, alias="continue", description="Look at the routes after this one, too.")


class Inhibit(Model):
    """While one alert fires, others say nothing."""

    if_: Matchers = Field(alias="if", min_length=1, description="Labels of the alert that fires: {rule: crm-silent}.")
    mute: Matchers = Field(min_length=1, description="Labels of those that are held back: {source: crm}.")
    equal: Names = Field((), description="Labels that both must have alike.")


class Window(Model):
    """When people want to hear of alerts, and what becomes of what comes at other times."""

    days: str = Field("mon-sun", description="Weekdays: mon-fri.")
    times: str = Field("00:00-24:00", description="Local times of these days: 08:00-18:00.")
    holidays: Regions = Field((), description="Public holidays of a country or a part of it are outside: DE-BE.")
    calendar: Name | None = Field(None, description="Instead of these three: one of `calendars`.")
    outside: Literal["defer", "drop"] = Field(description="`defer`: told when it opens, if it still fires; `drop`: never told.")

    @field_validator("times")
    @classmethod
    def _times(cls, value: str) -> str:
        week_from_texts({"mon": value})
        return value

    @field_validator("days")
    @classmethod
    def _days(cls, value: str) -> str:
        week_from_texts({value: "00:00-24:00"})
        return value

    @model_validator(mode="after")
    def _of_one_kind(self) -> Window:
        own = sorted(self.model_fields_set & {"days", "times", "holidays"})
        if self.calendar is not None and own:
            raise ValueError(f"calendar: already says when it is open: take {own[0]}: out")
        return self


class Owners(Model):
    """What ``owner`` and ``manager`` mean in ``to:``."""

    via: Name = Field(description="Receiver through which owners are told, at the address that the CRM knows.")
    else_: Name = Field(alias="else", description="Receiver that is told where an owner has no address, or has left.")


class Flapping(Model):
    """When an alert that keeps coming and going is told once a day only."""

    changes: int = Field(4, ge=2, le=10, description="So many changes between firing and not ...")
    slots: int = Field(10, ge=2, le=10, description="... within so many evaluations are flapping.")
    quiet: int = Field(5, ge=1, le=10, description="It ends after so many evaluations without a change.")
    digest: ClockText = Field("08:00", description="When people are told of all that flaps, in one message a day.")

    @model_validator(mode="after")
    def _can_happen(self) -> Flapping:
        if self.changes > self.slots:
            raise ValueError(f"{self.changes} changes cannot come in {self.slots} slots")
        return self


class Web(Model):
    """The pages behind the links in messages, on which people acknowledge alerts."""

    listen: str = Field("127.0.0.1:8470", pattern=r"^\S+:[0-9]{1,5}$", description="Address and port to listen on.")
    url: str = Field(description="How browsers reach it: https://kpid.example.com")
    secret: str = Field(min_length=_SECRET_FROM, repr=False, description="Signs the links; at least 16 letters, from ${env:...}")

    @field_validator("url")
    @classmethod
    def _safe(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme == "https" and parts.hostname:
            return value.rstrip("/")
        if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
            return value.rstrip("/")
        raise ValueError("links are capabilities: write an https:// address (http:// only to this machine itself)")


class Heartbeat(Model):
    """An address that is called while kpid is well, at a service that raises the alarm when the calls end."""

    url: str = Field(pattern=r"^https?://\S+$", repr=False, description="Address to call.")
    every: Duration = Field("5m", validate_default=True, description="How often.")
    alive: str | None = Field(None, description='When one line says that kpid runs and what it did: "mon 08:00".')


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
