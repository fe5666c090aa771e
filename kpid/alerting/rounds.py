"""One round of a rule: its series through all slots that are due, and once more through those whose figures have changed. Pure.

``Facts`` is what was loaded; ``run_round`` says what follows; ``evaluate.py`` stores it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from kpid.alerting.health import RuleHealth, find_fault, health_from_dump, step_health
from kpid.alerting.outcomes import Outcome, OutcomeKind, judge, outcome_from_dump
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, EventKind, SeriesState, Slot, state_from_dump
from kpid.alerting.slots import slot_of
from kpid.alerting.state import mark_changed, restate, step
from kpid.analysis.periods import Calendar, previous_period
from kpid.model import Dims, Measurement, MeasurementState, Period, segment_key
from kpid.store.alerts import EvaluationRow, RuleRow, SeriesRow

_DECISIVE = {OutcomeKind.BREACH, OutcomeKind.HOLD, OutcomeKind.CLEAR, OutcomeKind.INSUFFICIENT}

_DOUBTFUL = {MeasurementState.ERROR, MeasurementState.STALE, MeasurementState.INCOMPLETE}
REMEMBERED = 3
"""So many periods long a segment without rows counts as measured with nothing; after that it is missing."""

_Span = tuple[datetime, datetime]


def series_key_of(dims: Dims) -> str:
    """Identity of a series within its rule: 64 hex digits of the segment's ids. Names are not part of it."""
    return hashlib.sha256(segment_key(dims).encode()).hexdigest()


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
    """

    row: RuleRow | None
    series: Mapping[str, SeriesRow]
    due: Sequence[Period]
    recheck: Sequence[Period]
    figures: Mapping[str, Mapping[_Span, Measurement]]
    dims: Mapping[str, Dims]
    evaluated: Mapping[tuple[str, datetime], EvaluationRow]
    failure: str = ""

    @cached_property
    def samples(self) -> Mapping[_Span, Measurement]:
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

    def take(self, plan: RulePlan, outcome: Outcome, slot: Slot) -> None:
        """Go through one slot."""
        before = self.state
        after = step(plan.policy, before, outcome, slot)
        if after.state is before:
            return
        self.state = after.state
        self.events.extend(after.events)
        self.evaluations.append(Evaluation(slot, outcome, before))


class HealthEvent(NamedTuple):
    """A turn of the rule's own health."""

    kind: EventKind
    slot: Slot
    health: RuleHealth


@dataclass(frozen=True)
class Round:
    """What a round has found. ``newest`` is the last slot that is judged now; None if there is none."""

    tracks: Sequence[Track]
    health_before: RuleHealth
    health: RuleHealth
    health_events: Sequence[HealthEvent]
    newest: Slot | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be written down."""
        return not self.health_events and not any(track.evaluations for track in self.tracks)


def run_round(plan: RulePlan, facts: Facts, calendar: Calendar) -> Round:
    """Take every series of a rule through its slots.

    Series seen for the first time also go through the slots that are checked again, so that nothing is lost when a segment's
    figures come late.
    """
    times = Times(calendar)
    tracks = _tracks(plan, facts)
    for track in tracks:
        if track.known:
            _recheck(plan, facts, track, times)
    health = before = health_from_dump(facts.row.health if facts.row else {})
    turns: list[HealthEvent] = []
    last_slot = facts.row.last_slot if facts.row else None
    for period in facts.recheck:
        _take_all(plan, facts, [track for track in tracks if not track.known], period, times)
    for period in facts.due:
        slot = slot_of(period)
        failure = _take_all(plan, facts, tracks, period, times)
        judged = [(track.state, track.evaluations[-1].outcome) for track in tracks if _took(track, slot)]
        fault = find_fault(judged, failure, no_data_is_fault=plan.policy.no_data == "keep")
        gap = timedelta(0) if last_slot is None else slot.at - last_slot
        health, kind = step_health(plan.policy, health, fault, slot, gap)
        last_slot = slot.at
        if kind is not None:
            turns.append(HealthEvent(kind, slot, health))
    newest = next((slot_of(period) for period in reversed((*facts.recheck, *facts.due))), None)
    return Round(tracks, before, health, turns, newest)


def _tracks(plan: RulePlan, facts: Facts) -> list[Track]:
    tracks = []
    for key, row in facts.series.items():
        state = start = state_from_dump(row.state)
        if row.meaning != plan.meaning:
            state = mark_changed(start)
        tracks.append(Track(key, facts.dims.get(key, row.dims), True, start, state))
    fresh = (key for key in facts.figures if key not in facts.series)
    tracks.extend(Track(key, facts.dims[key], False, SeriesState(), SeriesState()) for key in fresh)
    return sorted(tracks, key=lambda track: segment_key(track.dims))


def _took(track: Track, slot: Slot) -> bool:
    return bool(track.evaluations) and track.evaluations[-1].slot.at == slot.at


def _take_all(plan: RulePlan, facts: Facts, tracks: Sequence[Track], period: Period, times: Times) -> str:
    """Judge a period for these series; returns why it could not be measured at all, if so."""
    present = (period.start, period.end) in facts.samples
    failure = "" if present else facts.failure
    for track in tracks:
        current = figure_of(plan, facts, track, period, times)
        unborn = track.state.last_slot is None and not track.known
        if current is None and (unborn or (track.state.forgotten and not failure)):
            continue
        earlier = figure_of(plan, facts, track, times.before(period), times)
        outcome = judge(plan.conditions, current, [] if earlier is None else [earlier], others_present=present, failure=failure)
        track.take(plan, outcome, slot_of(period))
    return failure


def figure_of(plan: RulePlan, facts: Facts, track: Track, period: Period, times: Times) -> Measurement | None:
    """The measurement of a series and period; that of no rows, if others have rows and it lately had some itself."""
    found = facts.figure(track.key, period)
    if found is not None or plan.nothing is None:
        return found
    other = facts.samples.get((period.start, period.end))
    earlier = period
    for _ in range(REMEMBERED if other is not None else 0):
        earlier = times.before(earlier)
        if facts.figure(track.key, earlier) is not None and other is not None:
            doubtful = other.state in _DOUBTFUL
            state = other.state if doubtful else MeasurementState.OK
            return replace(
                other,
                state=state,
                reason=other.reason if doubtful else "",
                value=plan.nothing,
                n=0,
                dims=track.dims,
                numerator=None,
                denominator=None,
                warnings=(),
            )
    return None


def _recheck(plan: RulePlan, facts: Facts, track: Track, times: Times) -> None:
    """Replay the newest slots of a series if what is known of them now says otherwise than what was found then."""
    if not facts.recheck or facts.series[track.key].meaning != plan.meaning:
        return
    replay: list[tuple[Slot, Outcome]] = []
    before: SeriesState | None = None
    for period in facts.recheck:
        row = facts.evaluated.get((track.key, period.end))
        if row is None or row.outcome.get("meaning") != plan.meaning:
            continue
        current = figure_of(plan, facts, track, period, times)
        earlier = figure_of(plan, facts, track, times.before(period), times)
        if before is None and _is_as_found(row.outcome, current, earlier):
            continue
        found = old = outcome_from_dump(row.outcome)
        if current is not None:
            new = judge(plan.conditions, current, [] if earlier is None else [earlier])
            found = new if new.kind in _DECISIVE else old
        if before is None and not found.is_same_as(old):
            before = state_from_dump(row.before)
        if before is not None:
            replay.append((slot_of(period), found))
    if before is None:
        return
    result = restate(plan.policy, before, replay, track.state)
    track.evaluations.extend(
        Evaluation(slot, outcome, passed) for (slot, outcome), passed in zip(replay, result.before, strict=True)
    )
    track.state = result.state
    track.events.extend(result.events)
    track.restated = bool(result.events)


def _is_as_found(outcome: Mapping[str, Any], current: Measurement | None, earlier: Measurement | None) -> bool:
    """Whether the figures are still those that led to an outcome: then judging anew would find the same."""
    if current is None or outcome["kind"] not in _DECISIVE:
        return current is None
    was = (outcome.get("value"), outcome["n"], outcome.get("previous"))
    previous = None if earlier is None or earlier.value is None else str(earlier.value)
    return was == (None if current.value is None else str(current.value), current.n, previous)


def with_thread(track: Track, thread: str) -> None:
    """Remember in which thread people hear of the open episode."""
    track.state = replace(track.state, thread=thread)
