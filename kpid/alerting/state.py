"""The state machine of a series: ``step`` takes one outcome at one slot. Pure; live, replay and tests run this very function.

======================  =========================  ==============  ====================  ==============  ====================
status                  breach(L)                  hold            clear                 no verdict      missing
======================  =========================  ==============  ====================  ==============  ====================
ok, pending             pending; after ``for``     ok              ok                    stay, clocks    forgotten after n
                        firing: *fired*                                                  stopped
firing(K)               L > K: *escalated* now     stay            *resolved*, or        stay            *expired* after n
                        L < K: *eased* after keep                  recovering if keep
recovering(K)           firing again               firing again    *resolved* after      stay, clock     *expired* after n
                                                                   keep                  stopped
======================  =========================  ==============  ====================  ==============  ====================

A series that keeps changing between firing and not flaps: that is an event of its own (*flapping*, *steady*) beside the others,
and changes nothing else. What episodes it had is remembered as spells: such times are no measure of what is usual.

What is clear only because the episode itself is what is usual by now ends it as a *new_level*: nothing has recovered. Its spell
is forgotten, since later figures are compared with it.

"No verdict" is insufficient, no_data, stale and error. The no-data policies come before the table: after ``no_data_after``,
``fire`` makes a breach of it; ``ok`` ends what is pending or firing (as *expired*: nobody has measured a recovery).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.records import replace
from kpid.alerting.series import (
    REMEMBERED_SLOTS,
    REMEMBERED_SPELLS,
    Data,
    Event,
    EventKind,
    Flaps,
    RulePolicy,
    SeriesState,
    Slot,
    Spell,
    Status,
    Step,
    Tally,
)
from kpid.model import Level

_DATA = {
    OutcomeKind.INSUFFICIENT: Data.INSUFFICIENT,
    OutcomeKind.NO_DATA: Data.NO_DATA,
    OutcomeKind.MISSING: Data.NO_DATA,
    OutcomeKind.STALE: Data.STALE,
    OutcomeKind.ERROR: Data.ERROR,
}
_SEEN = {OutcomeKind.BREACH, OutcomeKind.HOLD, OutcomeKind.CLEAR, OutcomeKind.INSUFFICIENT}
_VERDICTS = {OutcomeKind.BREACH, OutcomeKind.HOLD, OutcomeKind.CLEAR}
_QUIET: dict[str, Any] = {
    "status": Status.OK, "level": Level.NONE, "since": "", "since_at": None, "thread": "", "warn": None, "critical": None,
    "calm": None, "flaps": 0, "changed": False,
}  # fmt: skip
_MASK = (1 << REMEMBERED_SLOTS) - 1


def step(policy: RulePolicy, state: SeriesState, outcome: Outcome, slot: Slot) -> Step:
    """Take one outcome. A slot that was evaluated before changes nothing."""
    if state.last_slot is not None and slot.at <= state.last_slot:
        return Step(state)
    gap = timedelta(0) if state.last_slot is None else slot.at - state.last_slot
    counted = _counted(state, outcome.kind, slot, gap)
    after, kind = _moved(policy, counted, outcome, slot, gap)
    toggled = state.status.is_on != after.status.is_on
    spells = _spelled(counted, after, slot, kind) if toggled else after.spells
    after = replace(after, last_slot=slot.at, changes=(state.changes << 1 | toggled) & _MASK, spells=spells)
    events = () if kind is None else (_event(kind, state, after, outcome, slot),)
    if not after.changes and not after.flap_told:
        return Step(after, events)
    return _flapped(policy.flaps, after, outcome, slot, events)


def _flapped(flaps: Flaps, state: SeriesState, outcome: Outcome, slot: Slot, events: tuple[Event, ...]) -> Step:
    """Whether it has begun or ceased to flap: one event for each."""
    turns = state.is_steady(flaps) if state.flap_told else state.changes & 1 and state.is_flapping(flaps)
    if not turns:
        return Step(state, events)
    kind = EventKind.STEADY if state.flap_told else EventKind.FLAPPING
    state = replace(state, flap_told=not state.flap_told)
    return Step(state, (*events, _event(kind, state, state, outcome, slot)))


def _spelled(before: SeriesState, after: SeriesState, slot: Slot, kind: EventKind | None) -> tuple[Spell, ...]:
    """The spells, with one more begun or the last one ended: before the first period in which all was well again."""
    if after.status.is_on:
        begun = before.warn.begun if before.warn is not None else slot.begun
        return (*after.spells, Spell(begun))[-REMEMBERED_SPELLS:]
    if not after.spells or after.spells[-1].end is not None:
        return after.spells
    if kind is EventKind.NEW_LEVEL:
        return after.spells[:-1]
    last = after.spells[-1]
    calm = before.calm if before.status is Status.RECOVERING else None
    return (*after.spells[:-1], Spell(last.start, max(last.start, slot.begun if calm is None else calm.begun)))


def close(state: SeriesState, kind: EventKind, slot: Slot, reason: str) -> Step:
    """End whatever is open, because the rule is gone or paused."""
    after = _quiet(state)
    if state.status.is_on:
        after = replace(after, spells=_spelled(state, after, slot, kind))
    after = replace(after, flap_told=False, changes=0)
    outcome = Outcome(OutcomeKind.NO_DATA, reason=reason)
    return Step(after, (_event(kind, state, after, outcome, slot),) if state.status.is_on else ())


def mark_changed(state: SeriesState) -> SeriesState:
    """The rule means something else now: what is pending starts anew; what fires is judged again at the next slot."""
    return replace(state, changed=True, critical=None, calm=None) if state.status.is_on else _quiet(state)


class Replay(NamedTuple):
    """What follows from judging past slots anew: the state now, what has happened, and the state before each slot."""

    state: SeriesState
    events: tuple[Event, ...]
    before: tuple[SeriesState, ...]


def restate(policy: RulePolicy, before: SeriesState, slots: Sequence[tuple[Slot, Outcome]], current: SeriesState) -> Replay:
    """Replay slots whose figures have changed, from the state before the first of them.

    If it ends where ``current`` stands there is no event; else one of kind restated, which may end the episode, and one of kind
    fired if the past now is bad enough for an alert.
    """
    state, passed = before, []
    for slot, outcome in slots:
        passed.append(state)
        state = step(policy, state, outcome, slot).state
    was_on, is_on = current.status.is_on, state.status.is_on
    state = replace(
        state,
        episode=current.episode + (is_on and not was_on),
        thread=current.thread if is_on and was_on else "",
        last_slot=current.last_slot,
        flap_told=current.flap_told,
    )
    if (state.status, state.level) == (current.status, current.level):
        return Replay(state, (), tuple(passed))
    slot, outcome = _last_of(slots, _VERDICTS)
    events = [replace(_event(EventKind.RESTATED, current, state, _changed(outcome), slot), episode=current.episode)]
    if is_on and not was_on:
        slot, outcome = _last_of(slots, {OutcomeKind.BREACH})
        events.append(_event(EventKind.FIRED, current, state, _changed(outcome), slot))
    return Replay(state, tuple(events), tuple(passed))


def _last_of(slots: Sequence[tuple[Slot, Outcome]], kinds: set[OutcomeKind]) -> tuple[Slot, Outcome]:
    """The newest slot with an outcome of these kinds: its figures say why. The newest of all if none has one."""
    return next((found for found in reversed(slots) if found[1].kind in kinds), slots[-1])


def _changed(outcome: Outcome) -> Outcome:
    return replace(outcome, reason=f"earlier figures have changed: {outcome.reason}")


_Moved = tuple[SeriesState, EventKind | None]


def _counted(state: SeriesState, kind: OutcomeKind, slot: Slot, gap: timedelta) -> SeriesState:
    """The state with its tallies of absence and its data axis brought up to date."""
    data = _DATA.get(kind, Data.FRESH)
    if kind in _SEEN:
        if state.data is data and state.silent is None and state.gone is None and not state.forgotten:
            return state
        return replace(state, data=data, silent=None, gone=None, forgotten=False)
    if kind is OutcomeKind.MISSING:
        return replace(state, data=data, gone=_longer(state.gone, slot, gap))
    if kind is OutcomeKind.ERROR:
        return replace(state, data=data)
    return replace(state, data=data, silent=_longer(state.silent, slot, gap))


def _moved(policy: RulePolicy, state: SeriesState, outcome: Outcome, slot: Slot, gap: timedelta) -> _Moved:
    match outcome.kind:
        case OutcomeKind.BREACH:
            return _breached(policy, state, outcome.level, slot, gap)
        case OutcomeKind.HOLD:
            return _held(state), None
        case OutcomeKind.CLEAR:
            return _cleared(policy, state, slot, gap, EventKind.NEW_LEVEL if outcome.new_level else EventKind.RESOLVED)
        case OutcomeKind.NO_DATA | OutcomeKind.STALE:
            return _without_data(policy, state, slot, gap)
        case OutcomeKind.MISSING:
            return _missed(policy, state)
        case OutcomeKind.INSUFFICIENT | OutcomeKind.ERROR:
            return state, None


def _breached(policy: RulePolicy, state: SeriesState, level: Level, slot: Slot, gap: timedelta) -> _Moved:
    state = replace(state, changed=False, forgotten=False)
    if state.status is Status.FIRING:
        return _breached_again(policy, state, level, slot, gap)
    if state.status is Status.RECOVERING:
        easing = Tally(slot.at, slot.label, 0, start=slot.start) if level.rank < state.level.rank else None
        again = replace(state, status=Status.FIRING, calm=easing, flaps=state.flaps + 1)
        return (replace(again, level=level), EventKind.ESCALATED) if level.rank > state.level.rank else (again, None)
    critical = _longer(state.critical, slot, gap) if level is Level.CRITICAL else None
    state = replace(state, warn=_longer(state.warn, slot, gap), critical=critical)
    return _risen(policy, state, level)


def _risen(policy: RulePolicy, state: SeriesState, level: Level) -> _Moved:
    """Pending, or firing at the level that has held for the whole time."""
    if state.warn is None or not state.warn.reaches(policy.for_):
        return replace(state, status=Status.PENDING, level=level), None
    whole = state.critical is not None and state.critical.reaches(policy.for_)
    fired = replace(
        state,
        status=Status.FIRING,
        level=Level.CRITICAL if whole else Level.WARN,
        episode=state.episode + 1,
        since=state.warn.label,
        since_at=state.warn.since,
        thread="",
        warn=None,
        critical=None if whole else state.critical,
        flaps=0,
    )
    return fired, EventKind.FIRED


def _breached_again(policy: RulePolicy, state: SeriesState, level: Level, slot: Slot, gap: timedelta) -> _Moved:
    if level.rank > state.level.rank:
        waiting = None if state.critical is None else state.critical.plus(gap)
        if waiting is not None and not waiting.reaches(policy.for_):
            return replace(state, critical=waiting, calm=None), None
        return replace(state, level=level, critical=None, calm=None), EventKind.ESCALATED
    state = replace(state, critical=None)
    if level is state.level:
        return replace(state, calm=None), None
    calm = _calmer(state.calm, slot, gap)
    if calm.reaches(policy.keep):
        return replace(state, level=level, calm=None), EventKind.EASED
    return replace(state, calm=calm), None


def _held(state: SeriesState) -> SeriesState:
    if state.status is Status.RECOVERING:
        return replace(state, status=Status.FIRING, calm=None)
    if state.status is Status.FIRING:
        return replace(state, critical=None)
    return _quiet(state)


def _cleared(policy: RulePolicy, state: SeriesState, slot: Slot, gap: timedelta, end: EventKind) -> _Moved:
    if not state.status.is_on:
        return _quiet(state), None
    if state.changed:
        return _quiet(state), EventKind.RULE_CHANGED
    calm = _calmer(state.calm if state.status is Status.RECOVERING else None, slot, gap)
    if calm.reaches(policy.keep):
        return _quiet(state), end
    return replace(state, status=Status.RECOVERING, calm=calm, critical=None), None


def _without_data(policy: RulePolicy, state: SeriesState, slot: Slot, gap: timedelta) -> _Moved:
    if policy.no_data in {"keep", "ignore"} or state.silent is None or not state.silent.reaches(policy.no_data_after):
        return state, None
    if policy.no_data == "fire":
        level = policy.no_data_level
        if state.status.is_on and state.level.rank > level.rank:
            level = state.level
        return _breached(policy, state, level, slot, gap)
    return _quiet(state), EventKind.EXPIRED if state.status.is_on else None


def _missed(policy: RulePolicy, state: SeriesState) -> _Moved:
    if state.status.is_on and state.changed:
        return _quiet(state), EventKind.RULE_CHANGED
    if state.forgotten or state.gone is None or not state.gone.reaches(policy.expire_after):
        return state, None
    gone = replace(_quiet(state), gone=None, silent=None, forgotten=True)
    return gone, EventKind.EXPIRED if state.status.is_on else None


def _quiet(state: SeriesState) -> SeriesState:
    """Back to ok: no level, no clocks of breach or recovery, no thread."""
    if all(getattr(state, name) == value for name, value in _QUIET.items()):
        return state
    return replace(state, **_QUIET)


def _longer(tally: Tally | None, slot: Slot, gap: timedelta) -> Tally:
    """A tally that counts its first slot."""
    return Tally(slot.at, slot.label, 1, start=slot.start) if tally is None else tally.plus(gap)


def _calmer(tally: Tally | None, slot: Slot, gap: timedelta) -> Tally:
    """A tally that counts what comes after its first slot."""
    return Tally(slot.at, slot.label, 0, start=slot.start) if tally is None else tally.plus(gap)


def _event(kind: EventKind, before: SeriesState, after: SeriesState, outcome: Outcome, slot: Slot) -> Event:
    return Event(
        kind=kind,
        slot=slot,
        episode=after.episode,
        was=before.status,
        is_=after.status,
        level_was=before.level,
        level=after.level,
        since=after.since or before.since,
        outcome=outcome,
    )
