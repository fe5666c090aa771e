"""What happens in a rule test besides figures, as it is written: ``do:`` steps, and what people are expected to be told.

``at:`` is the number of a period (what is done then is done when the period has been judged) or an instant of the company's zone;
``after:`` adds a length of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, field_validator, model_validator

from kpid.alerting.outcomes import OutcomeKind
from kpid.alerting.series import Data, Status
from kpid.analysis.durations import duration_from_text
from kpid.config.problems import near_miss
from kpid.config.values import DurationText, Model, Names
from kpid.model import Level

HANDLING = ("open", "acked", "snoozed")
WORDS = frozenset(str(word) for word in (*Status, *Level, *Data, *OutcomeKind, *HANDLING, "forgotten"))
"""What can be said of a series in ``expect:``: its status, level, data and outcome; and who has it in hand."""
VERBS = (
    "ack",
    "unack",
    "snooze",
    "silence",
    "end_silence",
    "exclude",
    "end_exclude",
    "edit",
    "remove",
    "late",
    "restate",
    "silent",
    "back",
    "expect",
)
_UNTIL = {"ack", "snooze", "silence"}
_SEGMENT = {"exclude", "late"}
_YEARS = range(1900, 3000)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, int | str) else value


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.year in _YEARS else None


def _at(value: object) -> int | datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (found := _instant(value)) is not None:
        return found
    raise ValueError(f"{value!r} is no time here: write the number of a period, or an instant such as 2026-03-02T09:00")


def _length(value: object) -> str | datetime:
    found = value if isinstance(value, datetime) else _instant(str(value))
    if found is not None:
        return found
    try:
        duration_from_text(str(value))
    except ValueError:
        hint = "write 8h or 3d, or an instant such as 2026-03-02T09:00"
        raise ValueError(f"{value!r} is neither a length of time nor an instant: {hint}") from None
    return str(value)


At: TypeAlias = Annotated[int | datetime, PlainValidator(_at)]
Length: TypeAlias = Annotated[str | datetime, PlainValidator(_length)]
Numbers: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)]


class NoticeKind(StrEnum):
    """What people are told: what has happened, or that it still goes on."""

    FIRED = "fired"
    ESCALATED = "escalated"
    EASED = "eased"
    RESOLVED = "resolved"
    EXPIRED = "expired"
    NEW_LEVEL = "new_level"
    RESTATED = "restated"
    RULE_CHANGED = "rule_changed"
    RULE_REMOVED = "rule_removed"
    PAUSED = "paused"
    UNHEALTHY = "unhealthy"
    HEALTHY = "healthy"
    FLAPPING = "flapping"
    STEADY = "steady"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    DIGEST = "digest"


ONLY_LIVE = frozenset({NoticeKind.REMINDER, NoticeKind.ESCALATION, NoticeKind.DIGEST})
"""What time alone brings."""


class ExpectedNotice(Model):
    """Something people are told."""

    at: At = Field(description="Number of the period, from 1: told before the next one is judged; or the instant.")
    after: DurationText | None = Field(None, description="Told just so long after the period is judged: 4h.")
    kind: NoticeKind = Field(description="What happened: fired, escalated, resolved, reminder, escalation ...")
    to: Names = Field((), description="Who is told, as in to: of a rule; not looked at if left out.")
    level: Literal["warn", "critical"] | None = None
    segment: Names | None = Field(None, description="Which series; several: all of them, and no others, in one message.")
    rule: str | None = Field(None, description="Which rule, where several are tested together.")
    held: str | None = Field(None, description="What has held it back until then: window office, silence 1.")

    @field_validator("at")
    @classmethod
    def _from_the_first(cls, at: int | datetime) -> int | datetime:
        if at == 0:
            raise ValueError("periods are counted from 1")
        return at

    @property
    def is_timed(self) -> bool:
        """Whether it says more than can be known without the clock."""
        timed = self.after is not None or self.held is not None or isinstance(self.at, datetime) or self.kind in ONLY_LIVE
        return timed or self.rule is not None or (self.segment is not None and len(self.segment) > 1)


class Untold(Model):
    """Something that people were not told by the end of the test."""

    kind: NoticeKind = Field(description="What happened: fired, reminder ...")
    segment: str | None = Field(None, description="Which series; not looked at if left out.")
    rule: str | None = Field(None, description="Which rule, where several are tested together.")
    by: str = Field(description="What holds it back, or why it was given up: silence 1, window office, inhibited by data-late.")


class Step(Model):
    """Something that happens: what a person does, or what comes late, or not at all. One of them each."""

    at: At = Field(description="After this period is judged (0: before the first), or at this instant: 2026-03-02T09:00.")
    after: DurationText | None = Field(None, description="So long after that: 2h.")
    ack: Names | None = Field(None, description="Somebody takes up the alerts of these series; all: every one.")
    unack: Names | None = Field(None, description="Nobody has these any more.")
    snooze: Names | None = Field(None, description="Somebody puts off these; until: says until when.")
    silence: Mapping[str, Names] | None = Field(None, description="Say nothing of alerts with these labels: {owner: ana}.")
    end_silence: int | None = Field(None, ge=1, description="End a silence: 1 is the first of the test.")
    exclude: Numbers | None = Field(None, description="Numbers of periods that are taken out of what is usual.")
    end_exclude: int | None = Field(None, ge=1, description="They count again: 1 is the first exclude of the test.")
    edit: Mapping[str, Any] | None = Field(None, description='The rule is changed: {warn: "< 30%"}, {paused: true}.')
    remove: Literal[True] | None = Field(None, description="The rule is taken out of the configuration.")
    late: DurationText | None = Field(None, description="The figures of the period come so much later: 36h.")
    restate: Mapping[str, Any] | None = Field(None, description="Another figure: {period: 3, owner: ana, value: 0.4, n: 400}.")
    silent: Names | None = Field(None, description="From now on nothing comes from these sources.")
    back: Names | None = Field(None, description="They deliver again, and what they have missed.")
    expect: Mapping[str, str] | None = Field(None, description="How the series are just then: {ana: firing warn acked}.")
    until: Length | None = Field(None, description="Of ack, snooze and silence: 3d, or an instant.")
    by: str = Field("ada", min_length=1, description="Who does it.")
    comment: str = Field("", description="What the person writes.")
    segment: str | None = Field(None, description="Of exclude and late: only this series.")

    @model_validator(mode="after")
    def _is_one_thing(self) -> Step:
        said = [verb for verb in VERBS if getattr(self, verb) is not None]
        if len(said) != 1:
            what = f"{' and '.join(said)} are two steps" if said else "nothing is done"
            raise ValueError(f"{what}: a step has one of {', '.join(VERBS)}")
        verb = said[0]
        if self.until is None and verb in _UNTIL - {"ack"}:
            raise ValueError(f"{verb}: needs an end: add until: 3d, or until: 2026-03-02T09:00")
        if self.until is not None and verb not in _UNTIL:
            raise ValueError(f"until: belongs to {', '.join(sorted(_UNTIL))}, not to {verb}:")
        if self.segment is not None and verb not in _SEGMENT:
            raise ValueError(f"segment: belongs to {', '.join(sorted(_SEGMENT))}; name the series behind {verb}:")
        if verb == "late" and (self.after is not None or not isinstance(self.at, int) or self.at < 1):
            raise ValueError("late: at: is the number of the period whose figures are late, without after:")
        return self

    @field_validator("expect")
    @classmethod
    def _words(cls, expect: Mapping[str, str] | None) -> Mapping[str, str] | None:
        for series, text in (expect or {}).items():
            check_words(series, text)
        return expect

    @property
    def verb(self) -> str:
        """Which of the things it is."""
        return next(verb for verb in VERBS if getattr(self, verb) is not None)


def check_words(series: str, text: str) -> None:
    """Refuse what cannot be said of a series.

    Raises:
        ValueError: it is no state; the message says what may have been meant.
    """
    strange = next((word for word in text.split() if word not in WORDS), None)
    if strange is not None or not text.split():
        hint = near_miss(strange or "", WORDS, what="Write some of")
        raise ValueError(f"{series}: {strange or 'nothing'!r} is no state: {hint}")
