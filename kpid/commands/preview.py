"""``kpid preview``: what a rule would send now, to whom, as rendered. Nothing is written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kpid.alerting import absence
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Facts
from kpid.alerting.loading import Loader
from kpid.alerting.preview import Preview, PreviewLetter, Standing, preview
from kpid.alerting.replay import facts_of
from kpid.alerting.rules import RulePlan
from kpid.alerting.slots import due_periods
from kpid.analysis.wording import when_text
from kpid.app import App
from kpid.commands.backtest import past_of, plan_for, rule_named
from kpid.commands.measure import instant_from_text
from kpid.commands.plain import plain
from kpid.config.alerting import Rule
from kpid.errors import KpidError
from kpid.metrics.measure import Progress
from kpid.model import segment_label
from kpid.store import alerts


def preview_rule(app: App, *, rule: str, at: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Judge a rule as its next round would, or as it would have been at an instant, and render what people would be told.

    Args:
        app: everything.
        rule: its name.
        at: an instant: as if the rule had been there then; what has come due by now if None.
        progress: told what is being measured.

    Raises:
        KpidError: there is no such rule, or nothing to judge.
    """
    chosen, setup = rule_named(app, rule), app.alerting_setup()
    now = instant_from_text(at, app.calendar) if at else app.clock.now()
    if chosen.absence is not None:
        return _absent(app, setup, chosen, now, is_past=at is not None)
    plan = plan_for(app, chosen)
    with app.store.read() as conn:
        is_known = alerts.load_rule(conn, plan.uid) is not None
        facts = Loader(app.calendar, now).load(conn, [plan]).get(plan.uid) if is_known and at is None else None
    how = "as its next round will"
    if not is_known or at is not None:
        facts, place = _replayed(app, plan, now, progress)
        how = f"as it would have been then (figures: {place})" if at else f"as its first round will (figures: {place})"
    found = preview(setup, plan, facts, store=app.store, now=now, lived=at is not None) if facts is not None else None
    return _told(app, plan, found or Preview(None, (), (), ()), how, now)


def _absent(app: App, setup: AlertingSetup, rule: Rule, now: datetime, *, is_past: bool) -> dict[str, Any]:
    """A rule on what does not come: by the clock, which leaves no history."""
    if is_past:
        hint = "Leave --at out: rules with absence: look at the clock. `kpid backtest` tries them on the past"
        raise KpidError(f"rule {rule.name} cannot be judged in the past", hint=hint)
    plan = absence.plan_of(rule)
    with app.store.read() as conn:
        facts = absence.load_facts(conn, [plan], setup, now).get(plan.uid)
    found = preview(setup, plan, facts, store=app.store, now=now) if facts is not None else Preview(None, (), (), ())
    return _told(app, plan, found, "as its next round will", now)


def _replayed(app: App, plan: RulePlan, now: datetime, progress: Progress | None) -> tuple[Facts, str]:
    """Figures of the last periods that are over, as many as a rule catches up with."""
    kind, count = plan.need.period, plan.rule.catch_up
    periods = due_periods(kind, now=now, settle=plan.settle, last_slot=None, catch_up=count, calendar=app.calendar)
    if not periods:
        raise KpidError(f"no {plan.rule.period} is over by {now:%Y-%m-%d %H:%M}")
    past, place = past_of(app, plan, periods, recompute=False, progress=progress)
    known = {(one.period.start, one.period.end) for one in past.figures}
    first = next((number for number, one in enumerate(periods) if (one.start, one.end) in known), len(periods) - 1)
    return facts_of(past, periods[first:]), place


def _told(app: App, plan: RulePlan, found: Preview, how: str, now: datetime) -> dict[str, Any]:
    return {
        "rule": plan.rule.name,
        "at": plain(now),
        "judged": how,
        "period": found.slot.label if found.slot else "",
        "messages": [_letter(app, one, now) for one in found.letters],
        "missing": [{"who": one.who, "why": one.why} for one in found.missing],
        "series": [_standing(one) for one in found.standing],
    }


def _letter(app: App, one: PreviewLetter, now: datetime) -> dict[str, Any]:
    held = ""
    if one.held is not None:
        until = when_text(one.held.until, app.calendar.timezone, now)
        held = f"dropped by {one.held.by}" if one.held.drops else f"held back by {one.held.by} until {until}"
    return {
        "receiver": one.receiver,
        "recipients": list(one.recipients),
        "route": one.route,
        "held": held,
        "wait": one.wait.total_seconds(),
        "title": one.message.title,
        "text": one.message.text,
    }


def _standing(one: Standing) -> dict[str, str]:
    return {"segment": segment_label(one.dims), "status": one.status, "level": one.level, "reason": one.reason}
