"""The past of a rule once more: its figures through the very walk that judges live, without a store. Pure.

Rule tests, backtests and the daemon differ only in where the figures come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from kpid.alerting.absence import AbsenceWalk
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Exclusion, Facts, Figures, Times, Track, series_key_of
from kpid.alerting.notices import fold
from kpid.alerting.outcomes import Outcome
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, EventKind, SeriesState, Slot
from kpid.alerting.walk import HealthEvent, Walk
from kpid.analysis.periods import Calendar
from kpid.model import Dims, Measurement, Period

_ABOUT_FLAPPING = {EventKind.FLAPPING, EventKind.STEADY}


@dataclass(frozen=True, slots=True)
class Past:
    """The figures that a rule is judged by.

    Attributes:
        figures: of its series: those of the periods to judge, and of earlier ones that they are compared with.
        total: of all segments together, where a condition compares with them.
        members: of the other KPIs of a composite, in their order.
        days: of single days, oldest first, where a forecast asks for them.
        excluded: what people have taken out of what is usual.
    """

    figures: Sequence[Measurement]
    total: Sequence[Measurement] = ()
    members: Sequence[Sequence[Measurement]] = ()
    days: Sequence[Measurement] = ()
    excluded: Sequence[Exclusion] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """One evaluation of one series: what was found, and what came of it."""

    slot: Slot
    outcome: Outcome
    before: SeriesState
    after: SeriesState
    events: tuple[Event, ...] = ()

    @property
    def told(self) -> list[Event]:
        """The events that people hear of; while a series flaps, that alone."""
        if not self.events:
            return []
        found = fold(self.before, self.after, self.events)
        return [event for event in found if not self.before.flap_told or event.kind in _ABOUT_FLAPPING]


@dataclass(frozen=True, slots=True)
class Story:
    """All evaluations of one series, oldest first."""

    key: str
    dims: Dims
    judged: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a rule would have found: the stories of its series by segment, and the turns of its own health."""

    stories: tuple[Story, ...]
    health: tuple[HealthEvent, ...] = ()


def facts_of(past: Past, periods: Sequence[Period]) -> Facts:
    """The figures as a walk takes them: of a rule that has never been judged."""
    figures = _by_key(past.figures)
    days = _by_key(past.days)
    return Facts(
        row=None,
        series={},
        due=periods,
        recheck=(),
        figures=figures,
        dims={series_key_of(dims): dims for dims in {figure.dims for figure in past.figures}},
        evaluated={},
        total={(figure.period.start, figure.period.end): figure for figure in past.total},
        members=[_by_key(one) for one in past.members],
        days={key: list(found.values()) for key, found in days.items()},
        excluded=past.excluded,
    )


def replay(
    plan: RulePlan, facts: Facts, calendar: Calendar, setup: AlertingSetup | None = None, times: Times | None = None
) -> Replayed:
    """Judge the due periods one after the other, as if each had just ended.

    Args:
        plan: the rule.
        facts: what is known (:func:`facts_of`).
        calendar: how time is cut.
        setup: targets, working days and what flapping is; None: nobody knows any.
        times: what is known of periods already.
    """
    kind = Walk if plan.rule.absence is None else AbsenceWalk
    walk = kind(plan, facts, calendar, setup, times)
    for period in facts.due:
        walk.take(period)
    return Replayed(tuple(_story(track) for track in walk.tracks if track.evaluations), tuple(walk.turns))


def _by_key(figures: Iterable[Measurement]) -> Figures:
    found: dict[str, dict[tuple[datetime, datetime], Measurement]] = {}
    keys: dict[Dims, str] = {}
    for figure in figures:
        key = keys.get(figure.dims)
        if key is None:
            key = keys[figure.dims] = series_key_of(figure.dims)
        found.setdefault(key, {})[figure.period.start, figure.period.end] = figure
    return found


def _story(track: Track) -> Story:
    events: dict[object, list[Event]] = {}
    for event in track.events:
        events.setdefault(event.slot.at, []).append(event)
    after = [*(one.before for one in track.evaluations[1:]), track.state]
    judged = (
        Judged(one.slot, one.outcome, one.before, state, tuple(events.get(one.slot.at, ())))
        for one, state in zip(track.evaluations, after, strict=True)
    )
    return Story(track.key, track.dims, tuple(judged))
