"""What is known before a rule's series walk through their slots, and where each of them stands on its way. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from kpid.alerting.outcomes import Outcome
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, RulePolicy, SeriesState, Slot
from kpid.alerting.state import step
from kpid.analysis.periods import Calendar, previous_period
from kpid.model import Dims, Measurement, MeasurementState, Period, segment_key
from kpid.store.alerts import EvaluationRow, RuleRow, SeriesRow

_DOUBTFUL = {MeasurementState.ERROR, MeasurementState.STALE, MeasurementState.INCOMPLETE}
REMEMBERED = 3
"""So many periods long a segment without rows counts as measured with nothing; after that it is missing."""

SpanKey = tuple[datetime, datetime]
Figures = Mapping[str, Mapping[SpanKey, Measurement]]
"""Measurements by series key and ``(start, end)`` of their period."""


def series_key_of(dims: Dims) -> str:
    """Identity of a series within its rule: 64 hex digits of the segment's ids. Names are not part of it."""
    return hashlib.sha256(segment_key(dims).encode()).hexdigest()


class Exclusion(NamedTuple):
    """A span that people have taken out of what is usual; of one segment (its key), or of all (empty)."""

    segment: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Facts:
    """What a round goes by.

    Attributes:
        row: the rule's row; None at its first round.
        series: known series by key.
        due: periods to judge, oldest first.
        recheck: the newest periods that have been judged, oldest first.
        figures: measurements by series key and ``(start, end)`` of their period.
        dims: the segment behind each key, with the newest names.
        evaluated: evaluations of the ``recheck`` slots.
        failure: why nothing could be measured since the newest period's end; empty if it could.
        total: the figures of all segments together, where a condition asks for them.
        members: the figures of the other KPIs of a composite, in their order.
        days: daily figures, where a condition asks for them, oldest first.
        excluded: what people have taken out of what is usual.
        episodes: number of the last time that the rule's data was unhealthy, of a rule whose row does not say.
    """

    row: RuleRow | None
    series: Mapping[str, SeriesRow]
    due: Sequence[Period]
    recheck: Sequence[Period]
    figures: Figures
    dims: Mapping[str, Dims]
    evaluated: Mapping[tuple[str, datetime], EvaluationRow]
    failure: str = ""
    total: Mapping[SpanKey, Measurement] = field(default_factory=dict)
    members: Sequence[Figures] = ()
    days: Mapping[str, Sequence[Measurement]] = field(default_factory=dict)
    excluded: Sequence[Exclusion] = ()
    episodes: int = 0

    @cached_property
    def samples(self) -> Mapping[SpanKey, Measurement]:
        """Of each period that anything was measured for, one measurement."""
        return {span: figure for figures in self.figures.values() for span, figure in figures.items()}

    def figure(self, key: str, period: Period) -> Measurement | None:
        """The measurement of a series and period."""
        return self.figures.get(key, {}).get((period.start, period.end))


@dataclass(frozen=True)
class Times:
    """The periods before each, for comparing and for remembering who was there."""

    calendar: Calendar
    cache: dict[Period, Period] = field(default_factory=dict)

    def before(self, period: Period) -> Period:
        """The period to compare with."""
        if period not in self.cache:
            self.cache[period] = previous_period(period, self.calendar)
        return self.cache[period]

    def chain(self, period: Period, count: int) -> list[Period]:
        """The ``count`` periods before, oldest first."""
        found: list[Period] = []
        for _ in range(count):
            period = self.before(period)
            found.append(period)
        return found[::-1]


class Evaluation(NamedTuple):
    """One evaluation to write down."""

    slot: Slot
    outcome: Outcome
    before: SeriesState


@dataclass
class Track:
    """One series on its way through a round. ``start`` is what was stored, ``state`` where it is now."""

    key: str
    dims: Dims
    known: bool
    start: SeriesState
    state: SeriesState
    events: list[Event] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    restated: bool = False
    segment: str = ""
    """``segment_key`` of ``dims``."""
    last: Mapping[str, Any] = field(default_factory=dict)
    """The last outcome that is stored."""

    def __post_init__(self) -> None:
        if not self.segment:
            self.segment = segment_key(self.dims)

    def take(self, policy: RulePolicy, outcome: Outcome, slot: Slot) -> tuple[Event, ...]:
        """Go through one slot."""
        before = self.state
        after = step(policy, before, outcome, slot)
        if after.state is before:
            return ()
        self.state = after.state
        self.events.extend(after.events)
        self.evaluations.append(Evaluation(slot, outcome, before))
        return after.events


def figure_of(plan: RulePlan, facts: Facts, track: Track, period: Period, times: Times) -> Measurement | None:
    """The measurement of a series and period; that of no rows, if others have rows and it lately had some itself."""
    found = facts.figure(track.key, period)
    if found is not None or plan.nothing is None:
        return found
    other = facts.samples.get((period.start, period.end))
    if other is None:
        return None
    earlier = period
    for _ in range(REMEMBERED):
        earlier = times.before(earlier)
        if facts.figure(track.key, earlier) is not None:
            return _nothing(plan, other, track.dims)
    return None


def _nothing(plan: RulePlan, other: Measurement, dims: Dims) -> Measurement:
    doubtful = other.state in _DOUBTFUL
    return replace(
        other,
        state=other.state if doubtful else MeasurementState.OK,
        reason=other.reason if doubtful else "",
        value=plan.nothing,
        n=0,
        dims=dims,
        numerator=None,
        denominator=None,
        warnings=(),
    )
