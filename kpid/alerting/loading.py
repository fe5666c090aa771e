"""Reads what a round of a rule goes by: its row, its series, the measurements of the periods in question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from kpid.alerting.rounds import REMEMBERED, Facts, series_key_of
from kpid.alerting.rules import RECHECKED, RulePlan
from kpid.alerting.slots import due_periods, is_waiting, judged_periods
from kpid.analysis.periods import Calendar, previous_period
from kpid.model import Dims, Measurement, Period
from kpid.store import alerts, history


def load_facts(conn: Connection, plan: RulePlan, calendar: Calendar, now: datetime) -> Facts:
    """All that a round needs. Periods whose figures are still on their way are left for later."""
    rule = plan.rule
    row = alerts.load_rule(conn, plan.uid)
    last_slot = row.last_slot if row else None
    due = due_periods(rule.period, now=now, settle=plan.settle, last_slot=last_slot, catch_up=rule.catch_up, calendar=calendar)
    judged = judged_periods(rule.period, now=now, last_slot=last_slot, count=RECHECKED, calendar=calendar)
    recheck = _changed(conn, plan, row, judged, calendar, now)
    family = history.family(conn, plan.need)
    measured_at = family.measured_at if family else None
    figures = _figures(conn, plan, [*recheck, *due], calendar)
    due = _ready(plan, due if row else _begun(due, figures), figures, measured_at, now)
    by_key: dict[str, dict[tuple[datetime, datetime], Measurement]] = {}
    dims: dict[str, Dims] = {}
    for figure in figures:
        key = series_key_of(figure.dims)
        by_key.setdefault(key, {})[figure.period.start, figure.period.end] = figure
        dims[key] = figure.dims
    return Facts(
        row=row,
        series=alerts.load_series(conn, plan.uid),
        due=due,
        recheck=recheck,
        figures=by_key,
        dims=dims,
        evaluated=alerts.load_evaluations(conn, plan.uid, recheck[0].end) if recheck else {},
        failure=_failure(plan, due, measured_at),
    )


def _changed(
    conn: Connection, plan: RulePlan, row: alerts.RuleRow | None, judged: list[Period], calendar: Calendar, now: datetime
) -> list[Period]:
    """The judged periods, if any figure of them is newer than the judgement; else none.

    While the clock has not passed the judgement (it was set back), what was measured at this very instant is newer, too.
    """
    if row is None or not judged:
        return []
    family, first = history.family_of(plan.need), previous_period(judged[0], calendar)
    start, end = min(first.start, judged[0].start), judged[-1].end
    since = min(row.updated_at, now - timedelta(microseconds=1))
    return judged if alerts.has_new_figures(conn, family, start=start, end=end, since=since) else []


def _figures(conn: Connection, plan: RulePlan, periods: Sequence[Period], calendar: Calendar) -> list[Measurement]:
    if not periods:
        return []
    start = periods[0].start
    earlier = periods[0]
    for _ in range(1 if plan.nothing is None else REMEMBERED):
        earlier = previous_period(earlier, calendar)
        start = min(start, earlier.start)
    return history.current(conn, plan.need, start=start, end=periods[-1].end)


def _begun(due: list[Period], figures: Sequence[Measurement]) -> list[Period]:
    """The due periods of a rule's first round, without those before anything was there to judge."""
    spans = {(figure.period.start, figure.period.end) for figure in figures}
    first = next((place for place, period in enumerate(due) if (period.start, period.end) in spans), len(due) - 1)
    return due[first:]


def _ready(
    plan: RulePlan, due: list[Period], figures: Sequence[Measurement], measured_at: datetime | None, now: datetime
) -> list[Period]:
    """The due periods up to the first that is better judged later."""
    spans: dict[tuple[datetime, datetime], list[Measurement]] = {}
    for figure in figures:
        spans.setdefault((figure.period.start, figure.period.end), []).append(figure)
    for place, period in enumerate(due):
        measured = measured_at is not None and measured_at >= period.end
        mine = spans.get((period.start, period.end), [])
        if is_waiting(period, mine, measured=measured, now=now, settle=plan.settle):
            return due[:place]
    return due


def _failure(plan: RulePlan, due: Sequence[Period], measured_at: datetime | None) -> str:
    if not due or (measured_at is not None and measured_at >= due[-1].end):
        return ""
    since = "never" if measured_at is None else f"not since {measured_at:%Y-%m-%d %H:%M} UTC"
    return f"{plan.kpi.name} could not be measured for this period (measured {since}): `kpid doctor` says why"
