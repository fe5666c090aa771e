"""One round of a rule: its series through all slots that are due, and once more through those whose figures have changed. Pure.

``Facts`` is what was loaded; ``run_round`` says what follows; ``evaluate.py`` stores it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from kpid.alerting.asking import looks_further
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import REMEMBERED, Evaluation, Facts, Times, Track, figure_of, series_key_of
from kpid.alerting.health import RuleHealth
from kpid.alerting.outcomes import Outcome, OutcomeKind, outcome_from_dump
from kpid.alerting.records import replace
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import SeriesState, Slot, Spell, state_from_dump
from kpid.alerting.slots import slot_of
from kpid.alerting.state import restate, step
from kpid.alerting.walk import HealthEvent, SlotResult, Walk
from kpid.analysis.periods import Calendar
from kpid.analysis.wording import value_text
from kpid.model import Measurement, Period
from kpid.store.alerts import EvaluationRow

__all__ = [
    "REMEMBERED", "Evaluation", "Facts", "HealthEvent", "Round", "SlotResult", "Times", "Track", "Walk", "figure_of", "run_round",
    "series_key_of", "with_thread",
]  # fmt: skip

RESTATED = "restated from "
_DECISIVE = {OutcomeKind.BREACH, OutcomeKind.HOLD, OutcomeKind.CLEAR, OutcomeKind.INSUFFICIENT}


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


def run_round(
    plan: RulePlan,
    facts: Facts,
    calendar: Calendar,
    setup: AlertingSetup | None = None,
    times: Times | None = None,
    kind: type[Walk] = Walk,
) -> Round:
    """Take every series of a rule through its slots.

    Series seen for the first time also go through the slots that are checked again, so that nothing is lost when a segment's
    figures come late.

    Args:
        plan: the rule.
        facts: what is known.
        calendar: how time is cut.
        setup: targets, working days and what flapping is; None: nobody knows any.
        times: what is known of periods already.
        kind: how the series are judged.
    """
    walk = kind(plan, facts, calendar, setup, times)
    _recheck(walk)
    for period in facts.recheck:
        walk.begin(period)
    for period in facts.due:
        walk.take(period)
    newest = next((slot_of(period) for period in reversed((*facts.recheck, *facts.due))), None)
    return Round(walk.tracks, walk.health_before, walk.health, walk.turns, newest)


@dataclass
class _Replay:
    """A series that is taken through past slots again: from where, and what was found at each."""

    before: SeriesState
    state: SeriesState
    slots: list[tuple[Slot, Outcome]] = field(default_factory=list)


def _recheck(walk: Walk) -> None:
    """Replay the newest slots of those series of which what is known now says otherwise than what was found then.

    What has changed is written down beside the verdict. A rule may want no more than that, or not even that.
    """
    facts, plan = walk.facts, walk.plan
    if plan.rule.on_restate == "ignore":
        return
    known = [track for track in walk.tracks if track.known and facts.series[track.key].meaning == plan.meaning]
    replays: dict[str, _Replay] = {}
    for period in facts.recheck:
        rows = {track.key: row for track in known if (row := _judged(walk, track, period)) is not None}
        found = _anew(walk, period, [track for track in known if track.key in rows], rows, replays)
        for track in known:
            if track.key in found:
                _replayed(walk, track, period, rows[track.key], found[track.key], replays)
    for track in known:
        if track.key in replays:
            _restated(walk, track, replays[track.key])


def _replayed(walk: Walk, track: Track, period: Period, row: EvaluationRow, new: Outcome, replays: dict[str, _Replay]) -> None:
    """Take one series through one slot again, or write down what has changed where that is all."""
    old, slot = outcome_from_dump(row.outcome), slot_of(period)
    outcome = _noted(walk, track, period, old, new) if new.kind in _DECISIVE else old
    if track.key not in replays:
        before = state_from_dump(row.before)
        if walk.plan.rule.on_restate == "note" or outcome.is_same_as(old):
            if not outcome.is_same_as(old) or outcome.warnings != old.warnings:
                track.evaluations.append(Evaluation(slot, outcome, before))
            return
        replays[track.key] = _Replay(before, before)
    one = replays[track.key]
    one.slots.append((slot, outcome))
    one.state = step(walk.policy, one.state, outcome, slot).state


def _noted(walk: Walk, track: Track, period: Period, old: Outcome, new: Outcome) -> Outcome:
    """What is found now, with a word on what it was: where the verdict is another one, and of what had been bad."""
    figure, flips = walk.figure_of(track, period), not new.is_same_as(old)
    text = partial(value_text, unit=walk.plan.conditions.kpi_unit, currency=figure.currency if figure else None)
    notes = []
    if (was := text(old.value)) != (now := text(new.value)):
        notes = [f"{RESTATED}{was} to {now}"]
    elif flips and (was := text(old.previous)) != (now := text(new.previous)):
        notes = [f"{new.previous_label} {RESTATED}{was} to {now}"]
    if not flips and (not notes or old.kind is not OutcomeKind.BREACH):
        return replace(new, warnings=old.warnings)
    earlier = [warning for warning in old.warnings if RESTATED in warning]
    return replace(new, warnings=(*earlier, *notes, *new.warnings))


def _judged(walk: Walk, track: Track, period: Period) -> EvaluationRow | None:
    """The evaluation of a series at a period that was judged as the rule means it now."""
    row = walk.facts.evaluated.get((track.key, period.end))
    return row if row is not None and row.outcome.get("meaning") == walk.plan.meaning else None


def _anew(
    walk: Walk, period: Period, tracks: Sequence[Track], rows: Mapping[str, EvaluationRow], replays: Mapping[str, _Replay]
) -> dict[str, Outcome]:
    """What is found of these series now; without those whose figures are as they were, unless more than those was looked at.

    A series without a figure is taken as it was found; so is what was judged of it while it is not being replayed.
    """
    further = looks_further(walk.plan)
    wanted, found = [], {}
    for track in tracks:
        current = walk.figure_of(track, period)
        if current is None:
            if track.key in replays:
                found[track.key] = outcome_from_dump(rows[track.key].outcome)
        elif track.key in replays or further or not _is_as_found(walk, track, period, current, rows[track.key].outcome):
            wanted.append(track)

    def spells_then(track: Track) -> Sequence[Spell]:
        replay = replays.get(track.key)
        return state_from_dump(rows[track.key].before).spells if replay is None else replay.state.spells

    return {**found, **dict(zip((track.key for track in wanted), walk.judge(period, wanted, spells_then), strict=True))}


def _is_as_found(walk: Walk, track: Track, period: Period, current: Measurement, outcome: Mapping[str, Any]) -> bool:
    """Whether the figures are still those that led to an outcome: then judging anew would find the same."""
    if outcome["kind"] not in _DECISIVE:
        return False
    earlier = walk.figure_of(track, walk.times.before(period))
    was = (outcome.get("value"), outcome["n"], outcome.get("previous"))
    previous = None if earlier is None or earlier.value is None else str(earlier.value)
    return was == (None if current.value is None else str(current.value), current.n, previous)


def _restated(walk: Walk, track: Track, replay: _Replay) -> None:
    result = restate(walk.policy, replay.before, replay.slots, track.state)
    track.evaluations.extend(
        Evaluation(slot, outcome, passed) for (slot, outcome), passed in zip(replay.slots, result.before, strict=True)
    )
    track.state = result.state
    track.events.extend(result.events)
    track.restated = bool(result.events)


def with_thread(track: Track, thread: str) -> None:
    """Remember in which thread people hear of the open episode."""
    track.state = replace(track.state, thread=thread)
