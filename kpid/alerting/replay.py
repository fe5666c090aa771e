"""The past of a rule once more: its figures through the very walk that judges live, without a store. Pure.

Rule tests, backtests and the daemon differ only in where the figures come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kpid.alerting.notices import fold
from kpid.alerting.outcomes import Outcome
from kpid.alerting.rounds import Facts, HealthEvent, Track, run_round, series_key_of
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, SeriesState, Slot
from kpid.analysis.periods import Calendar
from kpid.model import Dims, Measurement, Period


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
        """The events that people hear of."""
        return fold(self.before, self.after, self.events) if self.events else []


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


def replay(plan: RulePlan, figures: Sequence[Measurement], periods: Sequence[Period], calendar: Calendar) -> Replayed:
    """Judge periods one after the other, as if each had just ended.

    Args:
        plan: the rule.
        figures: of its series: those of the periods, and of earlier ones that they are compared with.
        periods: to judge, oldest first.
        calendar: how time is cut.
    """
    found = run_round(plan, _facts(figures, periods), calendar)
    return Replayed(tuple(_story(track) for track in found.tracks if track.evaluations), tuple(found.health_events))


def _facts(figures: Sequence[Measurement], periods: Sequence[Period]) -> Facts:
    by_key: dict[str, dict[tuple[datetime, datetime], Measurement]] = {}
    dims: dict[str, Dims] = {}
    keys: dict[Dims, str] = {}
    for figure in figures:
        key = keys.get(figure.dims)
        if key is None:
            key = keys[figure.dims] = series_key_of(figure.dims)
        by_key.setdefault(key, {})[figure.period.start, figure.period.end] = figure
        dims[key] = figure.dims
    return Facts(row=None, series={}, due=periods, recheck=(), figures=by_key, dims=dims, evaluated={})


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
