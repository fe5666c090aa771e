"""Takes every rule through the slots that have come due. The verb of the step: reads history, stores what follows.

Per rule, the new state of its series, the evaluations, the events and the messages about them go into the store in one
transaction: all of it or nothing. A rule that cannot be judged stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from kpid.alerting.causes import load_causes
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.ending import ClosedTrack, close_series, closing_notices
from kpid.alerting.flush import Ready, flush_notices, ready_notices, write_notices
from kpid.alerting.health import RuleHealth
from kpid.alerting.loading import load_facts
from kpid.alerting.notices import frame_of, health_notice, notices_of, told_of
from kpid.alerting.rounds import Facts, Round, run_round
from kpid.alerting.rows import evaluation_rows, event_rows, health_event_rows, series_rows
from kpid.alerting.rules import RulePlan, need_of, needs_of, plan_of
from kpid.alerting.series import EventKind, Slot
from kpid.config.model import Rule
from kpid.errors import ConfigError, KpidError
from kpid.model import Cause
from kpid.store import alerts, problems
from kpid.store.engine import Store

__all__ = ["AlertingSetup", "EvaluateResult", "evaluate_rules", "need_of", "needs_of"]


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What was done: evaluations of series, events, messages put into the outbox; and which rules failed, with why."""

    evaluations: int = 0
    events: int = 0
    messages: int = 0
    failed: tuple[tuple[str, str], ...] = ()

    def plus(self, other: EvaluateResult) -> EvaluateResult:
        """Both together."""
        return EvaluateResult(
            self.evaluations + other.evaluations,
            self.events + other.events,
            self.messages + other.messages,
            self.failed + other.failed,
        )


def evaluate_rules(setup: AlertingSetup, *, store: Store, now: datetime) -> EvaluateResult:
    """Judge every rule at the slots that have come due since it was last judged.

    Running it again without new figures changes nothing. A rule at fault is noted among the problems, and the others go on.

    Args:
        setup: rules and what they need.
        store: holds history, state and outbox.
        now: the current instant.
    """
    result = EvaluateResult()
    with store.read() as conn:
        rows = {row.rule_uid: row for row in alerts.list_rules(conn)}
        noted = {problem.subject for problem in problems.list_problems(conn)}
    active = {rule.uid for rule in setup.rules if not rule.paused}
    for rule in setup.rules:
        if rule.uid in active and rule.absence is None:
            result = result.plus(_guarded(rule.uid, noted, store, now, partial(evaluate_rule, setup, rule, store, now)))
    for uid, row in rows.items():
        if uid not in active:
            result = result.plus(_guarded(uid, noted, store, now, partial(_end_rule, setup, row, store, now)))
    return result.plus(EvaluateResult(messages=flush_notices(setup, store=store, now=now)))


def _guarded(uid: str, noted: set[str], store: Store, now: datetime, work: Callable[[], EvaluateResult]) -> EvaluateResult:
    subject = f"rule:{uid}"
    try:
        result = work()
    except KpidError as error:
        with store.write() as conn:
            problems.note(conn, subject, error.what, error.hint or "", now)
        return EvaluateResult(failed=((uid, str(error)),))
    if subject in noted:
        with store.write() as conn:
            problems.clear(conn, subject)
    return result


def evaluate_rule(setup: AlertingSetup, rule: Rule, store: Store, now: datetime) -> EvaluateResult:
    """Judge one rule.

    Raises:
        ConfigError: its KPI is not there, or it cannot be read.
        KpidError: its notice cannot be written. Nothing is stored then: the next round tries again.
    """
    plan = _plan(setup, rule)
    with store.read() as conn:
        facts = load_facts(conn, plan, setup.calendar, now)
    if not facts.due and not facts.recheck:
        return EvaluateResult()
    found = run_round(plan, facts, setup.calendar)
    if found.newest is None or (found.is_empty and not facts.due):
        return EvaluateResult()
    told = told_of(plan, found.tracks, found.newest)
    causes: Mapping[str, tuple[Cause, ...]] = {}
    if told and plan.why:
        with store.read() as conn:
            causes = load_causes(conn, plan, facts, told, setup.calendar)
    notices = notices_of(plan, told, facts, found.newest, now, causes)
    found, about_health = health_notice(plan, found, frame_of(plan, facts, found.newest, now), found.newest)
    if about_health is not None:
        notices.append(about_health)
    ready = ready_notices(setup, plan.rule, notices)
    with store.write() as conn:
        if alerts.load_rule(conn, plan.uid) != facts.row:
            return EvaluateResult()  # somebody else has just judged it
        return _store_round(conn, setup, plan, facts, found, ready, now)


def _plan(setup: AlertingSetup, rule: Rule) -> RulePlan:
    kpi = setup.kpis.get(rule.kpi)
    if kpi is None:
        raise ConfigError(f"rule {rule.name}: there is no KPI {rule.kpi!r}", hint="`kpid kpis` lists them")
    return plan_of(rule, kpi, setup.settings.get(rule.kpi))


def _store_round(
    conn: Connection,
    setup: AlertingSetup,
    plan: RulePlan,
    facts: Facts,
    found: Round,
    ready: Sequence[Ready],
    now: datetime,
) -> EvaluateResult:
    judged = evaluation_rows(plan, found, now)
    happened = [row for track in found.tracks for row in event_rows(plan.uid, track, now)]
    happened.extend(health_event_rows(plan.uid, found, now))
    alerts.save_series(conn, series_rows(plan, found, now))
    alerts.add_evaluations(conn, judged)
    alerts.add_events(conn, happened)
    last_slot = facts.due[-1].end if facts.due else (facts.row.last_slot if facts.row else None)
    _save_rule(conn, plan, last_slot, found.health, now)
    _note_health(conn, plan, found.health, now)
    sent = write_notices(conn, setup, plan.rule, ready, {}, now)
    return EvaluateResult(len(judged), len(happened), sent)


def _save_rule(conn: Connection, plan: RulePlan, last_slot: datetime | None, health: RuleHealth, now: datetime) -> None:
    rule: dict[str, Any] = plan.rule.model_dump(mode="json", by_alias=True)
    alerts.save_rule(conn, alerts.RuleRow(plan.uid, plan.meaning, last_slot, health.dump(), rule, now))


def _note_health(conn: Connection, plan: RulePlan, health: RuleHealth, now: datetime) -> None:
    """A rule that cannot be judged is a problem at once; people are only told when it lasts."""
    subject = f"rule:{plan.uid}/data"
    if health.bad is None:
        problems.clear(conn, subject)
        return
    text = f"rule {plan.rule.name} cannot be judged since {health.bad.label}: {health.reason}"
    problems.note(conn, subject, text, "Look at the sources: `kpid doctor` and `kpid sync` say what is wrong with them", now)


def _end_rule(setup: AlertingSetup, row: alerts.RuleRow, store: Store, now: datetime) -> EvaluateResult:
    """A rule that was judged before is paused or gone: its open alerts end, and people are told once."""
    paused = next((rule for rule in setup.rules if rule.uid == row.rule_uid), None)
    kind = EventKind.RULE_REMOVED if paused is None else EventKind.PAUSED
    with store.read() as conn:
        closed = close_series(alerts.load_series(conn, row.rule_uid), kind, Slot(row.last_slot or now, ""))
    if paused is not None and not closed and not row.health:
        return EvaluateResult()
    rule = paused or _rule_as_judged(row)
    notices = [] if rule is None or rule.kpi not in setup.kpis else closing_notices(_plan(setup, rule), closed, now)
    ready = [] if rule is None else ready_notices(setup, rule, notices)
    with store.write() as conn:
        if alerts.load_rule(conn, row.rule_uid) != row:
            return EvaluateResult()  # somebody else has just done it
        happened = _store_end(conn, row, closed, now)
        if paused is not None:
            alerts.save_rule(conn, replace(row, health={}, updated_at=now))
        sent = 0 if rule is None else write_notices(conn, setup, rule, ready, {}, now)
        return EvaluateResult(0, happened, sent)


def _store_end(conn: Connection, row: alerts.RuleRow, closed: Sequence[ClosedTrack], now: datetime) -> int:
    happened = [event for track in closed for event in event_rows(row.rule_uid, track, now)]
    alerts.save_series(conn, [track.closed_row(now) for track in closed])
    alerts.add_events(conn, happened)
    alerts.forget_rule(conn, row.rule_uid)
    problems.clear(conn, f"rule:{row.rule_uid}/data")
    return len(happened)


def _rule_as_judged(row: alerts.RuleRow) -> Rule | None:
    try:
        return Rule.model_validate(dict(row.rule))
    except ValidationError:
        return None  # written by a version that knew other words: its alerts end without a notice
