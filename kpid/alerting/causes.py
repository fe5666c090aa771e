"""Why a series moved: extra families that a rule keeps in history for it, and what they say once it fires.

Judging and measuring meet in the store: the cuts that an explanation needs are measured like everything else, and read here. An
alert whose cuts are not there (yet) simply says no causes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from kpid.alerting.facts import Facts
from kpid.alerting.notices import Told
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import EventKind
from kpid.analysis.causes import causes_of
from kpid.analysis.explain import Sides, explain
from kpid.analysis.periods import Calendar, previous_period
from kpid.model import Cause, Dims, Measurement, Period, segment_key
from kpid.store import history

MOST_EXPLAINED = 3
"""So many series of a notice are explained, the worst."""
_TOLD = {EventKind.FIRED, EventKind.ESCALATED}


def load_causes(
    conn: Connection, plan: RulePlan, facts: Facts, told: Sequence[Told], calendar: Calendar
) -> Mapping[str, tuple[Cause, ...]]:
    """What moved the series that people are told of, since the period before; by series key.

    Only series that got worse are explained: that a value is low though it rose has no cause in its change.
    """
    if not plan.why:
        return {}
    worst = sorted((each for each in told if each.event.kind in _TOLD), key=lambda each: -each.event.level.rank)
    found = {}
    for each in worst[:MOST_EXPLAINED]:
        period = next((one for one in (*facts.due, *facts.recheck) if one.end == each.event.slot.at), None)
        if period is not None:
            found[each.series_key] = _causes(conn, plan, facts, each.series_key, (period, previous_period(period, calendar)))
    return found


def _causes(conn: Connection, plan: RulePlan, facts: Facts, key: str, periods: tuple[Period, Period]) -> tuple[Cause, ...]:
    new, old = (facts.figure(key, period) for period in periods)
    if new is None or old is None or not _is_worse(plan, new, old):
        return ()
    start, end = min(period.start for period in periods), max(period.end for period in periods)
    cuts = {}
    for need in plan.why:
        dimension = next(name for name in need.by if name not in plan.rule.by)
        figures = _within(history.current(conn, need, start=start, end=end), facts.dims[key], dimension)
        cuts[dimension] = _sides(figures, periods)
    best = explain(new, old, cuts).best
    return causes_of(best, along=True) if best is not None else ()


def _is_worse(plan: RulePlan, new: Measurement, old: Measurement) -> bool:
    if new.value is None or old.value is None or new.value == old.value:
        return False
    return plan.kpi.better not in {"up", "down"} or (new.value < old.value) == (plan.kpi.better == "up")


def _within(figures: Sequence[Measurement], dims: Dims, dimension: str) -> list[Measurement]:
    """The figures inside one series, each with the segment of the dimension alone."""
    wanted = segment_key(dims)
    found = []
    for figure in figures:
        others = tuple(segment for segment in figure.dims if segment.dimension != dimension)
        if segment_key(others) == wanted:
            found.append(replace(figure, dims=tuple(s for s in figure.dims if s.dimension == dimension)))
    return found


def _sides(figures: Sequence[Measurement], periods: tuple[Period, Period]) -> Sides:
    spans: list[tuple[datetime, datetime]] = [(period.start, period.end) for period in periods]
    new, old = ([one for one in figures if (one.period.start, one.period.end) == span] for span in spans)
    return new, old
