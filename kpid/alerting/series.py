"""What is known of one series between two evaluations, and the events that people hear of. Frozen values; JSON round trips.

All times are slot times: the logical instants that evaluations are for. So a replay of the past gives what the past gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from kpid.alerting.outcomes import Outcome
from kpid.analysis.durations import Span
from kpid.model import Level

REMEMBERED_SLOTS = 10
"""Over how many slots changes between firing and ok can be counted."""
REMEMBERED_SPELLS = 24
"""So many episodes are remembered as times in which the series was not as usual."""
_DAY, _CLOCK_CHANGE = timedelta(days=1), timedelta(hours=1)
_NOTHING, _AT_ONCE, _TWICE, _THRICE = (Span(periods=count) for count in range(4))


class Status(StrEnum):
    """Where a series stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"

    @property
    def is_on(self) -> bool:
        """Whether an episode is open: firing, or recovering from it."""
        return self is Status.FIRING or self is Status.RECOVERING


class Data(StrEnum):
    """What the last evaluation had to judge by."""

    FRESH = "fresh"
    NO_DATA = "no_data"
    STALE = "stale"
    ERROR = "error"
    INSUFFICIENT = "insufficient"


class EventKind(StrEnum):
    """Transitions that are written down, and most of which people hear of."""

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


class Slot(NamedTuple):
    """The logical instant of an evaluation (a period's end), the label of the period judged, and when that began."""

    at: datetime
    label: str
    start: datetime | None = None

    @property
    def begun(self) -> datetime:
        """The period's start; its end where that is not known."""
        return self.start or self.at


@dataclass(frozen=True, slots=True)
class Tally:
    """How long something has lasted, in evaluations that counted and in time; slots that say nothing are left out of both."""

    since: datetime
    label: str
    count: int
    length: timedelta = timedelta(0)
    start: datetime | None = None
    """When the first period began."""

    @property
    def begun(self) -> datetime:
        """When the first period began; its end where that is not known."""
        return self.start or self.since

    def plus(self, gap: timedelta) -> Tally:
        """One more evaluation, ``gap`` after the one before. Days are local ones: that of a clock change is a day, too."""
        days = round(gap / _DAY)
        whole = _DAY * days if days and abs(gap - _DAY * days) <= _CLOCK_CHANGE else gap
        return Tally(self.since, self.label, self.count + 1, self.length + whole, self.start)

    def reaches(self, span: Span) -> bool:
        """Whether it has lasted that long."""
        return self.count >= span.periods if span.periods is not None else self.length >= (span.length or timedelta(0))

    def dump(self) -> list[Any]:
        """As JSON-able data."""
        data = [self.since.isoformat(), self.label, self.count, self.length.total_seconds()]
        return data if self.start is None else [*data, self.start.isoformat()]


def tally_from_dump(data: list[Any]) -> Tally:
    """The inverse of :meth:`Tally.dump`."""
    start = datetime.fromisoformat(data[4]) if len(data) > 4 else None
    return Tally(datetime.fromisoformat(data[0]), data[1], data[2], timedelta(seconds=data[3]), start)


class Spell(NamedTuple):
    """A time in which a series was not as usual: from the start of an episode's first bad period to its end; None: not over."""

    start: datetime
    end: datetime | None = None


class Flaps(NamedTuple):
    """So many changes between firing and not within so many slots are flapping, which ends after so many slots without one."""

    changes: int = 4
    slots: int = 10
    quiet: int = 5


FLAPS = Flaps()
"""What is flapping, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class RulePolicy:
    """The times and choices of a rule that the state machine goes by.

    Attributes:
        for_: how long a breach must last before it fires; ``2x`` counts the first breach.
        keep: how long it must have been clear before it is resolved, and lower before it is eased; ``1x`` is one period more.
        expire_after: after how many missing slots a series is forgotten, its alert expired.
        no_data: ``keep``: nothing happens; ``ok``: nothing wrong; ``fire``: a breach; ``ignore``: as keep, and no health notice.
        no_data_after: how long there must have been no data before that.
        no_data_level: level of ``fire``.
        flaps: what is flapping.
    """

    for_: Span = _AT_ONCE
    keep: Span = _NOTHING
    expire_after: Span = _THRICE
    no_data: Literal["keep", "ok", "fire", "ignore"] = "keep"
    no_data_after: Span = _TWICE
    no_data_level: Level = Level.WARN
    flaps: Flaps = FLAPS


_TALLIES = ("warn", "critical", "calm", "silent", "gone")


class SeriesState(NamedTuple):
    """All that is remembered of one series.

    Attributes:
        status: where it stands.
        level: while firing or recovering the level of the alert; while pending that of the last breach.
        data: what the last evaluation had to judge by.
        episode: number of the last firing; open while ``status.is_on``.
        last_slot: up to here it is evaluated.
        since: label of the first bad period of the open episode.
        thread: the thread in which people hear of the open episode.
        warn: how long it has been at least a warning (while pending).
        critical: how long it has been critical (while pending, and on after firing as a mere warning).
        calm: how long it has been clear (while recovering), or below its level (while firing).
        silent: how long there has been no data.
        gone: how long the series has been missing.
        flaps: returns from recovering to firing in this episode.
        changes: a bit per slot, the newest lowest: whether it began or ceased to fire.
        flap_told: it flaps, and there was an event that said so.
        changed: the rule's meaning has changed since this fired.
        forgotten: it was missing too long; kept for its episode number.
        spells: the newest episodes, oldest first: what happened then is not usual.
        since_at: the first bad slot of the open episode.
    """

    status: Status = Status.OK
    level: Level = Level.NONE
    data: Data = Data.FRESH
    episode: int = 0
    last_slot: datetime | None = None
    since: str = ""
    thread: str = ""
    warn: Tally | None = None
    critical: Tally | None = None
    calm: Tally | None = None
    silent: Tally | None = None
    gone: Tally | None = None
    flaps: int = 0
    changes: int = 0
    changed: bool = False
    forgotten: bool = False
    spells: tuple[Spell, ...] = ()
    since_at: datetime | None = None
    flap_told: bool = False

    def is_flapping(self, flaps: Flaps) -> bool:
        """Whether it keeps changing between firing and ok."""
        return (self.changes & (1 << flaps.slots) - 1).bit_count() >= flaps.changes

    def is_steady(self, flaps: Flaps) -> bool:
        """Whether it has not changed for long enough."""
        return not self.changes & (1 << flaps.quiet) - 1

    def dump(self) -> dict[str, Any]:
        """As JSON-able data; defaults are left out."""
        data: dict[str, Any] = {}
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value is default or value == default:
                continue
            if isinstance(value, Tally):
                value = value.dump()
            elif name == "spells":
                value = [[moment and moment.isoformat() for moment in spell] for spell in value]
            elif isinstance(value, datetime):
                value = value.isoformat()
            data[name] = value
        return data


_DEFAULTS: dict[str, Any] = SeriesState._field_defaults


def state_from_dump(data: Mapping[str, Any]) -> SeriesState:
    """The inverse of :meth:`SeriesState.dump`; what it does not know is ignored."""
    values = {name: value for name, value in data.items() if name in _DEFAULTS}
    for name in _TALLIES:
        if name in values:
            values[name] = tally_from_dump(values[name])
    for name in ("last_slot", "since_at"):
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    if "spells" in values:
        values["spells"] = tuple(
            Spell(datetime.fromisoformat(start), end and datetime.fromisoformat(end)) for start, end in values["spells"]
        )
    for name, kind in (("status", Status), ("level", Level), ("data", Data)):
        if name in values:
            values[name] = kind(values[name])
    return SeriesState(**values)


class Event(NamedTuple):
    """A transition of one series (or, for the health kinds, of a rule's data)."""

    kind: EventKind
    slot: Slot
    episode: int
    was: Status
    is_: Status
    level_was: Level
    level: Level
    since: str
    outcome: Outcome

    @property
    def ends_episode(self) -> bool:
        """Whether an open episode was closed by it."""
        return self.was.is_on and not self.is_.is_on

    def dump(self) -> dict[str, Any]:
        """As JSON-able data, without kind, slot and episode, which have columns of their own."""
        return {
            "from": self.was.value,
            "to": self.is_.value,
            "level_from": self.level_was.value,
            "level": self.level.value,
            "since": self.since,
            "period": self.slot.label,
            **{name: value for name, value in self.outcome.dump().items() if name not in {"kind", "level"}},
        }


class Step(NamedTuple):
    """What follows from one evaluation: the new state, and what has happened."""

    state: SeriesState
    events: tuple[Event, ...] = ()
