"""``kpid backtest``: what a rule would have done in the past, and what each of its guards saved."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from kpid.alerting.absence import past_figures
from kpid.alerting.absence import plan_of as plan_of_absence
from kpid.alerting.backtest import Backtest, Episode, Run, backtest, first_needed, periods_of
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Exclusion
from kpid.alerting.replay import Past
from kpid.alerting.rules import RulePlan, plan_of
from kpid.analysis.periods import is_daily
from kpid.analysis.wording import value_text
from kpid.app import App
from kpid.commands.measure import instant_from_text
from kpid.commands.plain import number, plain
from kpid.commands.rounds import KEEP_SYNC_RUNS
from kpid.config.alerting import Absence, Rule
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.metrics.measure import Progress, figures
from kpid.model import Measurement, Period, SeriesNeed, segment_label
from kpid.store import alerts, history
from kpid.store.arrivals import report_runs

_TICK = timedelta(microseconds=1)


def backtest_rule(
    app: App, *, rule: str, start: str, end: str | None = None, recompute: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Judge past periods with a rule as it is configured now, and with each of its guards off.

    The figures are those of history where it has kept all of them; else they are measured now. Rules on absence are judged by
    the syncs that are kept, or by when reports were due and written. Nothing is written.

    Args:
        app: everything.
        rule: its name.
        start: a day or an instant: periods that begin before are not judged.
        end: periods that end later are not judged; now if None.
        recompute: measure the figures in any case.
        progress: told what is being measured.

    Raises:
        KpidError: there is no such rule, or nothing to judge.
    """
    chosen = rule_named(app, rule)
    setup = app.alerting_setup()
    made = partial(plan_for, app)
    plan, now = made(chosen), app.clock.now()
    first, last = (instant_from_text(text, app.calendar) if text else now for text in (start, end))
    if chosen.absence is not None:
        first = max(first, _kept_since(app, chosen.absence))
    periods = periods_of(plan, first, min(last, now), app.calendar)
    if not periods:
        hint = "Give an earlier --from or a later --to: only periods that are over are judged"
        raise KpidError(f"no {plan.need.period} lies between {first:%Y-%m-%d} and {min(last, now):%Y-%m-%d}", hint=hint)
    if chosen.absence is not None:
        past, place = _arrivals(app, plan, periods, setup), "syncs" if chosen.absence.source else "runs of reports"
    else:
        past, place = past_of(app, plan, periods, recompute=recompute, progress=progress)
    found = backtest(chosen, made, past, periods, app.calendar, setup)
    return _told(chosen, plan, found, place)


def _kept_since(app: App, absence: Absence) -> datetime:
    """From when on the store knows what came and what did not: older syncs are forgotten."""
    now = app.clock.now()
    if absence.source:
        return now - KEEP_SYNC_RUNS
    with app.store.read() as conn:
        return min((run.due_at for run in report_runs(conn)), default=now)


def _arrivals(app: App, plan: RulePlan, periods: Sequence[Period], setup: AlertingSetup) -> Past:
    """What a rule on absence is judged by: what the store has kept of syncs, and of reports that were due."""
    with app.store.read() as conn:
        return Past(figures=past_figures(conn, plan, periods, setup))


def rule_named(app: App, name: str) -> Rule:
    """A configured rule, by its name or id.

    Raises:
        KpidError: there is none.
    """
    for rule in app.config.rules:
        if name in {rule.name, rule.uid}:
            return rule
    hint = near_miss(name, [rule.name for rule in app.config.rules], what="Configured")
    raise KpidError(f"there is no rule {name!r}", hint=hint)


def plan_for(app: App, rule: Rule) -> RulePlan:
    """The rule, made ready.

    Raises:
        KpidError: it cannot be judged.
    """
    if rule.absence is not None:
        return plan_of_absence(rule)
    kpi = app.plugins.kpis.get(rule.kpi)
    if kpi is None:
        raise KpidError(f"rule {rule.name}: there is no KPI {rule.kpi!r}", hint="`kpid kpis` lists them")
    settings = app.kpi_settings()
    return plan_of(rule, kpi, settings.get(rule.kpi), kpis=app.plugins.kpis, all_settings=settings)


def past_of(
    app: App, plan: RulePlan, periods: Sequence[Period], *, recompute: bool, progress: Progress | None
) -> tuple[Past, str]:
    """The figures that judging these periods takes, and where they come from: history if it has all of them."""
    needs = [plan.need, *plan.members, *(need for need in (plan.total, plan.days) if need is not None)]
    kept = None if recompute else _kept(app, plan, needs, periods)
    found = kept or {need: _measured(app, plan, need, periods, progress) for need in needs}
    with app.store.read() as conn:
        excluded = [
            Exclusion(one.segment, one.start, one.end)
            for one in alerts.load_excluded(conn)
            if one.is_about(plan.uid, plan.kpi.id)
        ]
    past = Past(
        figures=found[plan.need],
        total=found[plan.total] if plan.total is not None else (),
        members=[found[need] for need in plan.members],
        days=found[plan.days] if plan.days is not None else (),
        excluded=excluded,
    )
    return past, "history" if kept else "measured now"


def _kept(
    app: App, plan: RulePlan, needs: Sequence[SeriesNeed], periods: Sequence[Period]
) -> dict[SeriesNeed, list[Measurement]] | None:
    """The figures as history has kept them; None unless it reaches back as far as the rule looks, in every family."""
    found = {}
    with app.store.read() as conn:
        for need in needs:
            oldest = first_needed(need, plan, periods, app.calendar)
            spans = history.measured_periods(conn, need)
            wanted = [oldest, *(periods if need == plan.need else ())]
            if any((period.start, period.end) not in spans for period in wanted):
                return None
            found[need] = history.current(conn, need, start=oldest.start, end=periods[-1].end)
    return found


def _measured(
    app: App, plan: RulePlan, need: SeriesNeed, periods: Sequence[Period], progress: Progress | None
) -> list[Measurement]:
    """The figures as the facts of today say, seen at the end of the last period: nothing is stale that was fresh then."""
    if progress is not None:
        progress(f"measure {need.kpi}", 0, None)
    oldest = first_needed(need, plan, periods, app.calendar)
    start = oldest.end - _TICK if is_daily(need.period) else oldest.start
    end = periods[-1].end
    found = figures(
        need, app.metrics_setup(), start=start, end=end, now=end, fill=not need.by
    )  # totals come always, as in history
    return [one for one in found if one.period.end <= end]


def _told(rule: Rule, plan: RulePlan, found: Backtest, place: str) -> dict[str, Any]:
    """As JSON can carry it."""
    runs = [found.run, *found.without.values(), *([found.unguarded] if found.unguarded else [])]
    marks = found.run.marks
    return {
        "rule": rule.name,
        "kpi": plan.kpi.id,
        "kpi_name": plan.kpi.name,
        "unit": plan.conditions.kpi_unit,
        "period": plan.need.period,
        "periods": [period.label for period in found.periods],
        "from": plain(found.periods[0].start),
        "to": plain(found.periods[-1].end),
        "weeks": len(found.run.weekly),
        "figures": place,
        "series": len(marks),
        "evaluations": found.evaluations,
        "runs": [_run(one, found.run) for one in runs],
        "episodes": [_episode(one, plan.conditions.kpi_unit) for one in found.run.episodes],
        "marks": [{"segment": segment_label(dims), "marks": list(marks[dims])} for dims in sorted(marks, key=segment_label)],
    }


def _run(one: Run, own: Run) -> dict[str, Any]:
    return {
        "guards": one.name,
        "breaches": one.breaches,
        "episodes": len(one.episodes),
        "notices": one.notices,
        "messages": one.messages,
        "per_week": number(round(one.per_week, 2)),
        "weekly": list(one.weekly),
        "saved": {
            "breaches": one.breaches - own.breaches,
            "episodes": len(one.episodes) - len(own.episodes),
            "notices": one.notices - own.notices,
            "messages": one.messages - own.messages,
        },
    }


def _episode(one: Episode, unit: str) -> dict[str, Any]:
    return {
        "segment": segment_label(one.dims),
        "level": one.level.value,
        "since": one.since,
        "fired": one.fired,
        "ended": one.ended,
        "end": one.end,
        "value": number(one.value),
        "shown": value_text(one.value, unit),
        "n": one.n,
        "threshold": one.threshold,
        "fired_at": plain(one.fired_at),
        "ended_at": plain(one.ended_at),
    }
