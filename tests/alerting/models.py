"""Drives the state machine and the naive model side by side, and checks what must hold whatever happens."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.series import EventKind, RulePolicy, SeriesState, Slot, Status, state_from_dump
from kpid.alerting.state import step
from kpid.analysis.durations import Span
from kpid.model import Level
from tests.alerting.naive import LETTERS, Naive

START = datetime(2026, 1, 5, tzinfo=UTC)
OUTCOMES = {
    "W": Outcome(OutcomeKind.BREACH, Level.WARN),
    "C": Outcome(OutcomeKind.BREACH, Level.CRITICAL),
    "H": Outcome(OutcomeKind.HOLD),
    "K": Outcome(OutcomeKind.CLEAR),
    "I": Outcome(OutcomeKind.INSUFFICIENT),
    "N": Outcome(OutcomeKind.NO_DATA),
    "S": Outcome(OutcomeKind.STALE),
    "E": Outcome(OutcomeKind.ERROR),
    "M": Outcome(OutcomeKind.MISSING),
    "L": Outcome(OutcomeKind.CLEAR, new_level=True),
}
FLAPS = {EventKind.FLAPPING, EventKind.STEADY}
POLICIES = ("keep", "ok", "fire", "ignore")
SLOTS = [Slot(START + timedelta(weeks=week), f"W{week + 1}", START + timedelta(weeks=week - 1)) for week in range(60)]
ENDS = {
    EventKind.RESOLVED,
    EventKind.EXPIRED,
    EventKind.NEW_LEVEL,
    EventKind.RESTATED,
    EventKind.RULE_CHANGED,
    EventKind.RULE_REMOVED,
    EventKind.PAUSED,
}


def policy_of(for_: int, keep: int, no_data: str, after: int = 2) -> RulePolicy:
    return RulePolicy(Span(periods=for_), Span(periods=keep), Span(periods=3), no_data, Span(periods=after))  # type: ignore[arg-type]


def check_step(policy: RulePolicy, before: SeriesState, naive: Naive, letter: str, slot: Slot) -> tuple[SeriesState, Naive]:
    """One step of both, and the invariants of a step."""
    outcome = OUTCOMES[letter]
    after, events = step(policy, before, outcome, slot)
    check_flapping(policy, before, after, [event.kind for event in events if event.kind in FLAPS])
    events = tuple(event for event in events if event.kind not in FLAPS)
    expected, expected_events = naive.step(letter)
    got = (after.status.value, after.level.value, after.episode, after.forgotten, [event.kind.value for event in events])
    wanted = (expected.status, expected.level, expected.episode, expected.forgotten, expected_events)
    assert got == wanted, f"after {expected.raw}: {got}, the naive model says {wanted}"
    check_invariants(policy, before, after, events, outcome)
    return after, expected


def check_flapping(policy: RulePolicy, before: SeriesState, after: SeriesState, kinds: list[EventKind]) -> None:
    """It begins once, with a change, and ends once, in a quiet time."""
    assert len(kinds) <= 1
    assert (after.flap_told != before.flap_told) == bool(kinds)
    changed = before.status.is_on != after.status.is_on
    if kinds == [EventKind.FLAPPING]:
        assert changed
        assert after.is_flapping(policy.flaps)
    if kinds == [EventKind.STEADY]:
        assert not changed


def check_spells(before: SeriesState, after: SeriesState, kinds: list[EventKind]) -> None:
    """What was not as usual lasts as long as the episode: one spell for each, the last one open while it is on. None is left of
    what has become usual.
    """
    begun, forgotten = EventKind.FIRED in kinds, EventKind.NEW_LEVEL in kinds
    assert len(after.spells) == min(len(before.spells) + begun - forgotten, 24)
    assert (bool(after.spells) and after.spells[-1].end is None) == after.status.is_on
    assert (after.since_at is not None) == after.status.is_on
    assert all(spell.end is None or spell.start <= spell.end for spell in after.spells)


def check_invariants(policy: RulePolicy, before: SeriesState, after: SeriesState, events: tuple, outcome: Outcome) -> None:
    kinds = [event.kind for event in events]
    assert len(kinds) <= 1
    if EventKind.RESOLVED in kinds or EventKind.NEW_LEVEL in kinds:
        assert outcome.kind is OutcomeKind.CLEAR
        assert outcome.new_level == (EventKind.NEW_LEVEL in kinds)
    if EventKind.FIRED in kinds:
        assert outcome.kind is OutcomeKind.BREACH or policy.no_data == "fire"
        assert after.episode == before.episode + 1
    else:
        assert after.episode == before.episode
    assert (before.status.is_on and not after.status.is_on) == any(kind in ENDS for kind in kinds)
    if kinds:
        assert (before.status, before.level) != (after.status, after.level)
    if outcome.kind in {OutcomeKind.INSUFFICIENT, OutcomeKind.ERROR}:
        assert not kinds
        assert (before.status, before.level) == (after.status, after.level)
    assert (after.level is Level.NONE) == (after.status is Status.OK)
    check_spells(before, after, kinds)
    assert state_from_dump(after.dump()) == after


def walk(policy: RulePolicy, naive: Naive, length: int, letters: str = LETTERS) -> int:
    """Every sequence of outcomes of that length, sharing what they begin with; returns how many."""

    def go(state: SeriesState, model: Naive, depth: int) -> int:
        if depth == length:
            return 1
        return sum(go(*check_step(policy, state, model, letter, SLOTS[depth]), depth + 1) for letter in letters)

    return go(SeriesState(), naive, 0)
