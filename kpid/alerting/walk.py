"""One walk of a rule's series through its slots: the same for judging live, for rule tests and for backtests. Pure.

``Facts`` is what is known beforehand, wherever it comes from. ``Walk.take`` judges one period: all series together, since what
chance alone may bring depends on how many are looked at; and the rule's own health with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from kpid.alerting.asking import reach_of
from kpid.alerting.assessing import judge_slot
from kpid.alerting.contracts import AlertingSetup, Sight
from kpid.alerting.facts import Facts, Times, Track, figure_of, series_key_of
from kpid.alerting.health import RuleHealth, find_fault, health_from_dump, step_health
from kpid.alerting.outcomes import Outcome
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, EventKind, Flaps, RulePolicy, SeriesState, Slot, Spell, state_from_dump
from kpid.alerting.slots import slot_of
from kpid.alerting.state import mark_changed
from kpid.analysis.periods import Calendar, last_complete, whole_of
from kpid.analysis.workdays import WorkCalendar
from kpid.model import Dims, Measurement, Period

_WHOLE = series_key_of(())
"""The series of all segments together."""


class HealthEvent(NamedTuple):
    """A turn of the rule's own health."""

    kind: EventKind
    slot: Slot
    health: RuleHealth


class SlotResult(NamedTuple):
    """What one slot has brought: the outcome of each series that was judged, the events by series, the turn of health if any."""

    slot: Slot
    outcomes: Mapping[str, Outcome]
    events: Sequence[tuple[str, Event]]
    health: HealthEvent | None = None


class Walk:
    """A rule's series on their way through slots.

    Args:
        plan: the rule.
        facts: what is known.
        calendar: how time is cut.
        setup: targets, working days and what flapping is; None: nobody knows any.
        times: what is known of periods already.
    """

    def __init__(
        self,
        plan: RulePlan,
        facts: Facts,
        calendar: Calendar,
        setup: AlertingSetup | None = None,
        times: Times | None = None,
    ) -> None:
        self.plan = plan
        self.facts = facts
        self.calendar = calendar
        self.setup = setup
        self.times = times or Times(calendar)
        self.policy = _policy(plan, setup)
        self.tracks = _tracks(plan, facts)
        known = facts.row.health if facts.row else {}
        self.health_before = health_from_dump(known) if known else RuleHealth(episode=facts.episodes)
        self.health = self.health_before
        self.turns: list[HealthEvent] = []
        self._last_slot = facts.row.last_slot if facts.row else None

    def take(self, period: Period) -> SlotResult:
        """Judge a period: every series, and the rule's own health."""
        slot, failure = slot_of(period), self._failure(period)
        outcomes, events = self._through(period, self.tracks)
        judged = [(track.state, outcomes[track.key]) for track in self.tracks if track.key in outcomes]
        fault = find_fault(judged, failure, no_data_is_fault=self.policy.no_data == "keep")
        gap = timedelta(0) if self._last_slot is None else slot.at - self._last_slot
        self.health, kind = step_health(self.policy, self.health, fault, slot, gap)
        self._last_slot = slot.at
        turn = None if kind is None else HealthEvent(kind, slot, self.health)
        self.turns.extend([turn] if turn else [])
        return SlotResult(slot, outcomes, events, turn)

    def begin(self, period: Period) -> SlotResult:
        """Judge a period that was judged before, for the series that were not known then. Health does not move."""
        outcomes, events = self._through(period, [track for track in self.tracks if not track.known])
        return SlotResult(slot_of(period), outcomes, events)

    def judge(self, period: Period, tracks: Sequence[Track], spells: Callable[[Track], Sequence[Spell]]) -> list[Outcome]:
        """What is found of these series at a period, seen with the spells that were known then. Nothing moves."""
        shared = self._shared(period)
        return judge_slot(self.plan.conditions, [self._sight(track, period, spells(track), shared) for track in tracks])

    def sight_of(self, track: Track, period: Period) -> Sight:
        """All that is known of a series when a period of it is judged."""
        return self._sight(track, period, track.state.spells, self._shared(period))

    def figure_of(self, track: Track, period: Period) -> Measurement | None:
        """See :func:`figure_of`."""
        return figure_of(self.plan, self.facts, track, period, self.times)

    def _through(self, period: Period, tracks: Iterable[Track]) -> tuple[dict[str, Outcome], list[tuple[str, Event]]]:
        slot, failure = slot_of(period), self._failure(period)
        going = []
        for track in tracks:
            unborn = track.state.last_slot is None and not track.known
            if (unborn or (track.state.forgotten and not failure)) and self.figure_of(track, period) is None:
                continue
            going.append(track)
        outcomes: dict[str, Outcome] = {}
        events: list[tuple[str, Event]] = []
        for track, outcome in zip(going, self.judge(period, going, _spells), strict=True):
            if track.state.last_slot is not None and slot.at <= track.state.last_slot:
                continue
            outcomes[track.key] = outcome
            events.extend((track.key, event) for event in track.take(self.policy, outcome, slot))
        return outcomes, events

    def _failure(self, period: Period) -> str:
        return "" if (period.start, period.end) in self.facts.samples else self.facts.failure

    def _shared(self, period: Period) -> _Shared:
        """What all series of a slot see alike."""
        target: Callable[[Dims, datetime], Decimal | None] | None = None
        if self.setup is not None and self.plan.needs_targets:
            target = partial(self.setup.targets, self.plan.need, whole_of(period, self.calendar))
        return _Shared(
            before=self.times.chain(period, reach_of(self.plan)),
            total=self.facts.total.get((period.start, period.end)),
            failure=self._failure(period),
            others_present=(period.start, period.end) in self.facts.samples,
            target=target,
            members=[last_complete(need.period, period.end, self.calendar)[0] for need in self.plan.members],
        )

    def _sight(self, track: Track, period: Period, spells: Sequence[Spell], shared: _Shared) -> Sight:
        facts = self.facts
        members = tuple(self._member(place, one, track) for place, one in enumerate(shared.members))
        return Sight(
            current=self.figure_of(track, period),
            period=period,
            before=shared.before,
            at=partial(self.figure_of, track),
            spells=spells,
            excluded=[(one.start, one.end) for one in facts.excluded if one.segment in {"", track.segment}],
            target=None if shared.target is None else shared.target(track.dims, period.end),
            total=shared.total,
            members=members,
            others_present=shared.others_present,
            failure=shared.failure,
            days=facts.days.get(track.key, ()),
            work=self._work,
            calendar=self.calendar,
        )

    def _member(self, place: int, period: Period, track: Track) -> Sight:
        need, reach, has_target = self.plan.beside[place]
        known = self.facts.members[place] if place < len(self.facts.members) else {}
        figures = known.get(track.key if need.by else _WHOLE, {})

        def at(wanted: Period) -> Measurement | None:
            return figures.get((wanted.start, wanted.end))

        target = None
        if has_target and self.setup is not None:
            target = self.setup.targets(need, whole_of(period, self.calendar), track.dims, period.end)
        before = self.times.chain(period, max(reach, reach_of(self.plan)))
        return Sight(at(period), period, before, at, target=target, work=self._work, calendar=self.calendar)

    @property
    def _work(self) -> WorkCalendar | None:
        return None if self.setup is None else self.setup.calendars.get("")


class _Shared(NamedTuple):
    before: Sequence[Period]
    total: Measurement | None
    failure: str
    others_present: bool
    target: Callable[[Dims, datetime], Decimal | None] | None
    members: Sequence[Period]


def _policy(plan: RulePlan, setup: AlertingSetup | None) -> RulePolicy:
    """The rule's times and choices, with what flapping is."""
    if setup is None:
        return plan.policy
    flaps = Flaps(setup.flapping.changes, setup.flapping.slots, setup.flapping.quiet)
    return plan.policy if flaps == plan.policy.flaps else replace(plan.policy, flaps=flaps)


def _spells(track: Track) -> Sequence[Spell]:
    return track.state.spells


def _tracks(plan: RulePlan, facts: Facts) -> list[Track]:
    tracks = []
    for key, row in facts.series.items():
        state = start = state_from_dump(row.state)
        if row.meaning != plan.meaning:
            state = mark_changed(start)
        tracks.append(
            Track(key, facts.dims.get(key) or row.dims, True, start, state, segment=row.segment, last=row.state.get("last", {}))
        )
    fresh = (key for key in facts.figures if key not in facts.series)
    tracks.extend(Track(key, facts.dims[key], False, SeriesState(), SeriesState()) for key in fresh)
    return sorted(tracks, key=lambda track: track.segment)
