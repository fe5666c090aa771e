"""Takes every rule through the slots that have come due. The verb of the step: reads history, stores what follows.

Rules are judged by the hundred: read in one snapshot, written in one transaction. Of each rule the new state of its series, the
evaluations, the events, the episodes and the notices about them go in together: all of it or nothing. A rule that cannot be
judged stops no other. What is told of it goes out afterwards (``flush_notices``): a crash in between loses nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import Connection

from kpid.alerting import absence
from kpid.alerting.causes import told_of_round
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.ending import close_series, closing_notices
from kpid.alerting.facts import Facts
from kpid.alerting.flush import flush_notices, ready_notices
from kpid.alerting.loading import Loader
from kpid.alerting.notices import ThreadNotice
from kpid.alerting.rounds import Round, run_round
from kpid.alerting.rules import RulePlan, need_of, needs_of, plan_of
from kpid.alerting.series import EventKind, Slot
from kpid.alerting.storing import Judged, Stored, store_end, store_rounds
from kpid.alerting.walk import Walk
from kpid.config.model import Rule
from kpid.errors import ConfigError, KpidError
from kpid.store import alerts, problems
from kpid.store.engine import Store

__all__ = ["AlertingSetup", "EvaluateResult", "evaluate_rules", "need_of", "needs_of", "watch"]

_MOST_RULES = 1_000
"""So many rules are judged together at most ..."""
_MOST_SERIES = 4_000
"""... or rules of so many series."""
_SERIES_OF_A_NEW_RULE = 400


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
    with store.read() as conn:
        sizes = alerts.count_series(conn)
        noted = {problem.subject for problem in problems.list_problems(conn)}
        active = {rule.uid: rule for rule in setup.rules if not rule.paused}
        ended = alerts.load_rules_but(conn, active)
    work = _Work(setup, store, now, noted, Loader(setup.calendar, now))
    result = EvaluateResult()
    for rules in _batches(active.values(), sizes):
        result = result.plus(work.judge(rules))
    for row in ended:
        result = result.plus(work.end(row))
    return result.plus(EvaluateResult(messages=flush_notices(setup, store=store, now=now)))


def watch(setup: AlertingSetup, *, store: Store, now: datetime) -> EvaluateResult:
    """Judge the rules on what does not come, if an hour has passed: they wait for no sync, since none may come.

    Args:
        setup: rules and what they need.
        store: holds state and outbox.
        now: the current instant.
    """
    with store.read() as conn:
        if not absence.is_due(conn, setup.rules, setup.calendar, now):
            return EvaluateResult()
        noted = {problem.subject for problem in problems.list_problems(conn)}
    rules = [rule for rule in setup.rules if rule.absence is not None and not rule.paused]
    result = _Work(setup, store, now, noted, Loader(setup.calendar, now)).judge(rules)
    return result.plus(EvaluateResult(messages=flush_notices(setup, store=store, now=now)))


def _batches(rules: Collection[Rule], sizes: Mapping[str, int]) -> Iterator[list[Rule]]:
    batch: list[Rule] = []
    series = 0
    for rule in rules:
        own = sizes.get(rule.uid, _SERIES_OF_A_NEW_RULE if rule.by else 1)
        if batch and (len(batch) == _MOST_RULES or series + own > _MOST_SERIES):
            yield batch
            batch, series = [], 0
        batch.append(rule)
        series += own
    if batch:
        yield batch


@dataclass(frozen=True)
class _Work:
    """One evaluation of all rules: what its parts have in common."""

    setup: AlertingSetup
    store: Store
    now: datetime
    noted: set[str]
    loader: Loader

    def judge(self, rules: Sequence[Rule]) -> EvaluateResult:
        """Judge some rules together."""
        failed: dict[str, KpidError] = {}
        plans: list[RulePlan] = []
        for rule in rules:
            try:
                plans.append(plan_for(self.setup, rule))
            except KpidError as error:
                failed[rule.uid] = error
        judged: list[Judged] = []
        for one, notices in self._found_all(plans, failed):
            try:
                judged.append(replace(one, ready=ready_notices(self.setup, one.plan.rule, notices)))
            except KpidError as error:
                failed[one.plan.uid] = error
        stored = self._stored(judged, failed)
        self._clear([rule.uid for rule in rules if rule.uid not in failed])
        told = tuple((uid, str(error)) for uid, error in self._noted_in_order(rules, failed))
        return EvaluateResult(stored.evaluations, stored.events, stored.notices, told)

    def _found_all(self, plans: Sequence[RulePlan], failed: dict[str, KpidError]) -> list[tuple[Judged, list[ThreadNotice]]]:
        """What rounds of these rules bring, all seen in one snapshot of the store."""
        found = []
        with self.store.read() as conn:
            facts = self.loader.load(conn, [plan for plan in plans if plan.rule.absence is None])
            on_absence = [plan for plan in plans if plan.rule.absence is not None]
            facts |= absence.load_facts(conn, on_absence, self.setup, self.now) if on_absence else {}
            for plan in plans:
                known = facts.pop(plan.uid, None)  # figures are many: they go as soon as they are judged
                try:
                    one = None if known is None else self._found(conn, plan, known)
                except KpidError as error:
                    failed[plan.uid] = error
                    continue
                if one is not None and known is not None:
                    row = known.row
                    last_slot = known.due[-1].end if known.due else (row.last_slot if row else None)
                    found.append((Judged(plan, row, last_slot, one[0], ()), one[1]))
        return found

    def _found(self, conn: Connection, plan: RulePlan, facts: Facts) -> tuple[Round, list[ThreadNotice]] | None:
        """What a round of one rule brings, and what people are told of it; None if there is nothing to write down."""
        if not facts.due and not facts.recheck:
            return None
        setup, now = self.setup, self.now
        walk = Walk if plan.rule.absence is None else absence.AbsenceWalk
        found = run_round(plan, facts, setup.calendar, setup, self.loader.times, walk)
        if found.newest is None or (found.is_empty and not facts.due):
            return None
        return told_of_round(conn, setup, plan, facts, found, now)

    def _stored(self, judged: Sequence[Judged], failed: dict[str, KpidError]) -> Stored:
        """Write all of it in one transaction; if that fails each rule in its own, so that one stops no other."""
        if not judged:
            return Stored()
        try:
            with self.store.write() as conn:
                return store_rounds(conn, self.setup, judged, self.now, self.noted.__contains__)
        except KpidError as error:
            if len(judged) == 1:
                failed[judged[0].plan.uid] = error
                return Stored()
        each = [self._stored([one], failed) for one in judged]
        return Stored(*(sum(numbers) for numbers in zip(*((s.evaluations, s.events, s.notices) for s in each), strict=True)))

    def end(self, row: alerts.RuleRow) -> EvaluateResult:
        """A rule that was judged before is paused or gone: its open alerts end, and people are told once."""
        failed: dict[str, KpidError] = {}
        try:
            stored = self._ended(row)
        except KpidError as error:
            failed[row.rule_uid], stored = error, Stored()
        else:
            self._clear([row.rule_uid])
        told = tuple((uid, str(error)) for uid, error in self._noted(failed.items()))
        return EvaluateResult(stored.evaluations, stored.events, stored.notices, told)

    def _ended(self, row: alerts.RuleRow) -> Stored:
        setup, now = self.setup, self.now
        paused = next((rule for rule in setup.rules if rule.uid == row.rule_uid), None)
        kind = EventKind.RULE_REMOVED if paused is None else EventKind.PAUSED
        with self.store.read() as conn:
            closed = close_series(alerts.load_series(conn, row.rule_uid), kind, Slot(row.last_slot or now, ""))
        if paused is not None and not closed and not row.health:
            return Stored()
        rule = paused or _rule_as_judged(row)
        is_known = rule is not None and (rule.absence is not None or rule.kpi in setup.kpis)
        notices = closing_notices(plan_for(setup, rule), closed, now) if rule is not None and is_known else []
        ready = [] if rule is None else ready_notices(setup, rule, notices)
        with self.store.write() as conn:
            if alerts.load_rule(conn, row.rule_uid) != row:
                return Stored()  # somebody else has just done it
            stored = store_end(conn, setup, rule, row.rule_uid, closed, ready, now)
            alerts.save_series(conn, [track.closed_row(now) for track in closed])
            if paused is None:
                alerts.forget_rule(conn, row.rule_uid)
            else:
                alerts.save_rule(conn, replace(row, health={}, updated_at=now))
        return stored

    def _noted_in_order(self, rules: Sequence[Rule], failed: Mapping[str, KpidError]) -> list[tuple[str, KpidError]]:
        return self._noted([(rule.uid, failed[rule.uid]) for rule in rules if rule.uid in failed])

    def _noted(self, failed: Collection[tuple[str, KpidError]]) -> list[tuple[str, KpidError]]:
        """Note what failed among the problems."""
        if failed:
            with self.store.write() as conn:
                for uid, error in failed:
                    problems.note(conn, f"rule:{uid}", error.what, error.hint or "", self.now)
        return list(failed)

    def _clear(self, uids: Collection[str]) -> None:
        """These rules are well."""
        known = [subject for uid in uids if (subject := f"rule:{uid}") in self.noted]
        if known:
            with self.store.write() as conn:
                for subject in known:
                    problems.clear(conn, subject)


def plan_for(setup: AlertingSetup, rule: Rule) -> RulePlan:
    """A rule made ready to be judged.

    Raises:
        ConfigError: its KPI is not there, or it cannot be read.
    """
    if rule.absence is not None:
        return absence.plan_of(rule)
    kpi = setup.kpis.get(rule.kpi)
    if kpi is None:
        raise ConfigError(f"rule {rule.name}: there is no KPI {rule.kpi!r}", hint="`kpid kpis` lists them")
    return plan_of(rule, kpi, setup.settings.get(rule.kpi), kpis=setup.kpis, all_settings=setup.settings)


def _rule_as_judged(row: alerts.RuleRow) -> Rule | None:
    try:
        return Rule.model_validate(dict(row.rule))
    except ValidationError:
        return None  # written by a version that knew other words: its alerts end without a notice
