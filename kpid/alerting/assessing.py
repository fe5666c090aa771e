"""Judges the series of a rule at one slot: breach, hold, clear, or a reason why nothing can be said. Pure.

Order when several hold: error > stale > no_data, missing > insufficient > breach, hold, clear. Nothing missing is ever taken for
a number, and a change against nothing, zero or a thin period is never a breach.

All series of a slot are judged together: where many are tested at once, some are far from what is usual by chance alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from kpid.alerting.baselines import Terms, open_spell, value_of, work_days
from kpid.alerting.conditions import Condition
from kpid.alerting.contracts import Sight
from kpid.alerting.guards import NO_GUARDS, Guards, Usual, chance_of, effect_of, overlapping, percent, too_small, usual_of
from kpid.alerting.outcomes import Outcome
from kpid.alerting.records import replace
from kpid.alerting.series import Spell
from kpid.alerting.verdicts import Baseline, OutcomeKind, Side, Verdict, thin, to_decimal, untrusted, weight_of
from kpid.analysis.chances import benjamini_hochberg
from kpid.analysis.wording import exact_text
from kpid.model import Level, Measurement, MeasurementState

_LEVELS = (Level.CRITICAL, Level.WARN)


@dataclass(frozen=True, slots=True)
class RuleConditions(Terms):
    """The conditions of a rule, read, with what is needed to judge by them.

    ``guards`` are what a breach must pass; ``expects_sample``: the sample that ``min_sample`` asks for is that of what is
    expected, not of what came (a count that has dropped to nothing has no sample left).
    """

    warn: Condition | None = None
    critical: Condition | None = None
    recover: Condition | None = None
    guards: Guards = NO_GUARDS
    expects_sample: bool = False

    @property
    def all(self) -> tuple[Condition, ...]:
        """Those that there are."""
        return tuple(one for one in (self.warn, self.critical, self.recover) if one is not None)

    def reach(self, kind: str) -> int:
        """How many periods, each before the other, are looked at: by a condition, or to know what is usual."""
        usual = self.guards.reach if self.guards.want_usual else 0
        return max([usual, *(condition.reach(kind) for condition in self.all)])

    @property
    def needs(self) -> frozenset[str]:
        """What they want beside the series itself: ``target``, ``total``, ``running``, ``days``, ``members``."""
        found = frozenset[str]().union(*(condition.needs for condition in self.all))
        return found | ({"days"} if "running" in found and self.curve == "seasonal" else frozenset())


class Judged(NamedTuple):
    """An outcome on its way: with the chance that it is tested by together with the others, and the level asked for, if any."""

    outcome: Outcome
    p: float | None = None
    q: float | None = None


def judge_slot(conditions: RuleConditions, sights: Sequence[Sight]) -> list[Outcome]:
    """Judge all series of a rule at one slot.

    Args:
        conditions: the rule's.
        sights: what is known of each series, in the order of their segments.

    Returns:
        One outcome for each, in their order.
    """
    judged = [judge_sight(conditions, sight) for sight in sights]
    tested = [place for place, one in enumerate(judged) if one.p is not None]
    found = [one.outcome for one in judged]
    if not conditions.guards.corrected or len(tested) < 2:
        return found
    q = max(judged[place].q or 0.0 for place in tested)
    for place, stands in zip(tested, benjamini_hochberg([judged[at].p or 0.0 for at in tested], q), strict=True):
        if not stands and found[place].kind is OutcomeKind.BREACH:
            reason = f"p {_chance(judged[place].p)} is not rare enough where {len(tested)} series are tested at once"
            found[place] = _held_back(found[place], reason)
    return found


def judge(
    conditions: RuleConditions,
    current: Measurement | None,
    history: Sequence[Measurement],
    *,
    others_present: bool = False,
    failure: str = "",
) -> Outcome:
    """Judge one series at one slot, by its own figures alone.

    Args:
        conditions: the rule's.
        current: the measurement of the slot's period; None if there is none.
        history: earlier periods of the series, oldest first; the last one is the period before.
        others_present: other series of the rule have been measured for this period: then a missing one is ``missing``.
        failure: why the period could not be measured at all; makes it an error.
    """
    if current is None:
        return _absent(failure, others_present=others_present)
    figures = {(one.period.start, one.period.end): one for one in history}
    before = [one.period for one in history]
    sight = Sight(current, current.period, before, lambda period: figures.get((period.start, period.end)))
    return judge_sight(conditions, sight).outcome


def judge_sight(conditions: RuleConditions, sight: Sight) -> Judged:
    """Judge one series at one slot; what chance says of it is returned too, for judging it together with the others."""
    current = sight.current
    if current is None:
        return Judged(_absent(sight.failure, others_present=sight.others_present))
    previous = sight.at(sight.before[-1]) if sight.before else None
    facts = Outcome(
        OutcomeKind.CLEAR,
        value=current.value,
        n=current.n,
        previous=None if previous is None else previous.value,
        previous_label="" if previous is None else previous.period.label,
        warnings=current.warnings,
        low=current.low,
        high=current.high,
    )
    if current.state is MeasurementState.OK and current.value is None:  # settled: there is nothing left to breach
        return Judged(replace(facts, reason=current.warnings[0] if current.warnings else "nothing is left to judge"))
    if (doubt := untrusted(current)) is not None:
        return Judged(replace(facts, kind=doubt[0], reason=doubt[1]))
    if few := thin(current, None if conditions.expects_sample else conditions.min_sample):
        return Judged(replace(facts, kind=OutcomeKind.INSUFFICIENT, reason=few))
    if conditions.per_day and not work_days(sight.period, sight):
        return Judged(replace(facts, kind=OutcomeKind.INSUFFICIENT, reason=f"{sight.period.label} has no working day"))
    return _by_what_is_usual(conditions, sight, current, facts)


def _by_what_is_usual(conditions: RuleConditions, sight: Sight, current: Measurement, facts: Outcome) -> Judged:
    """Judge a sound figure; clear of an open episode is what would be so without that, or it is said to be a new level."""
    found, spell = _Bench(conditions, sight, current, facts).judge(), open_spell(sight)
    if found.outcome.kind is not OutcomeKind.CLEAR or spell is None or sight.strict:
        return found
    still = _Bench(conditions, replace(sight, strict=True), current, facts).judge()
    return still if still.outcome.kind is OutcomeKind.CLEAR else found._replace(outcome=_settled(found.outcome, sight, spell))


def _settled(clear: Outcome, sight: Sight, spell: Spell) -> Outcome:
    """Clear of what is usual by now, though not of what was usual before the episode."""
    since = spell.start if sight.calendar is None else sight.calendar.day_of(spell.start)
    reason = f"new level: what it has been since {since:%Y-%m-%d} counts as usual now; {clear.reason}"
    return replace(clear, reason=reason, new_level=True)


def _absent(failure: str, *, others_present: bool) -> Outcome:
    if failure:
        return Outcome(OutcomeKind.ERROR, reason=failure)
    if others_present:
        return Outcome(OutcomeKind.MISSING, reason="no longer reported, while others are")
    return Outcome(OutcomeKind.NO_DATA, reason="nothing was measured for this period")


class _Bench:
    """One sound figure, and all that its conditions and guards are asked by."""

    def __init__(self, conditions: RuleConditions, sight: Sight, current: Measurement, facts: Outcome) -> None:
        self.conditions, self.sight, self.current, self.facts = conditions, sight, current, facts
        self.guards = conditions.guards
        self.days = work_days(sight.period, sight) if conditions.per_day else Fraction(1)
        self.usual: Usual | None = usual_of(sight, conditions, self.guards.baseline) if self.guards.want_usual else None

    def judge(self) -> Judged:
        """The outcome, by the highest level that is breached and passes the guards."""
        unsure: list[Judged] = []
        clear = Judged(self.facts)
        for level in _LEVELS:
            condition = self.conditions.critical if level is Level.CRITICAL else self.conditions.warn
            if condition is None:
                continue
            verdict = condition.holds_for(self.sight, self.conditions)
            if verdict.unknown is not None:
                unsure.append(Judged(self._found(verdict.unknown, condition, verdict)))
                continue
            one = self._tested(condition, verdict)
            if not verdict.holds:
                clear = one
                continue
            why = self._guarded(one, condition, verdict)
            if not why:
                return Judged(replace(one.outcome, level=level), one.p, one.q)
            unsure.append(Judged(_held_back(one.outcome, why), one.p, one.q))
        if unsure:
            return min(unsure, key=lambda one: (weight_of(one.outcome.kind), one.outcome.unguarded is None))
        return Judged(self._recovered(clear.outcome), clear.p, clear.q)

    def _found(self, kind: OutcomeKind, condition: Condition, verdict: Verdict) -> Outcome:
        """The outcome that a verdict stands for, before the guards."""
        reason = verdict.reason or self._comparison(condition, verdict)
        warnings = (*self.facts.warnings, *verdict.warnings)
        return replace(
            self.facts,
            kind=kind,
            threshold=condition.text,
            limit=self._for_all_days(verdict.limit),
            reason=reason,
            warnings=warnings,
            known_from=verdict.known_from,
        )

    def _comparison(self, condition: Condition, verdict: Verdict) -> str:
        """``39.9% is < 40%``, with enough digits to see it."""
        judged = value_of(self.current, self.sight, self.conditions) if self.conditions.per_day else None
        value = self.current.value if judged is None else to_decimal(judged)
        text = exact_text(value, verdict.limit, self.conditions.kpi_unit, self.current.currency)
        return f"{text}{'' if judged is None else ' per working day'} is {'' if verdict.holds else 'not '}{condition.text}"

    def _for_all_days(self, value: Decimal | None) -> Decimal | None:
        """What is compared per working day, for as many as the period has: in the unit of the value that is told."""
        return value if value is None or not self.conditions.per_day else to_decimal(Fraction(value) * self.days)

    def _tested(self, condition: Condition, verdict: Verdict) -> Judged:
        """What a verdict stands for, with how likely chance is and how far the figure is from what is usual, where known."""
        found = self._found(OutcomeKind.BREACH if verdict.holds else OutcomeKind.CLEAR, condition, verdict)
        p = verdict.p
        if p is None and self.guards.significance is not None and self.usual is not None:
            p = chance_of(self.sight, self.conditions, self.usual, self._side(condition, verdict))
        baseline = self._baseline(verdict)
        if baseline is not None and not baseline.is_previous:
            value = value_of(self.current, self.sight, self.conditions)
            effect = None if value is None else effect_of(value, baseline)
            label = baseline.label + (_PER_DAY if self.conditions.per_day else "")
            usual = self._for_all_days(to_decimal(baseline.value))
            found = replace(found, baseline=usual, baseline_label=label, effect=effect)
            if verdict.holds:
                found = replace(found, usual=tuple(period.label for period in baseline.periods))
        if p is None:
            return Judged(found)
        q = verdict.q if self.guards.significance is None else float(self.guards.significance)
        return Judged(replace(found, p=round(p, 6)), p, q)

    def _guarded(self, one: Judged, condition: Condition, verdict: Verdict) -> str:
        """Why a breach does not pass the guards; empty if it does."""
        if self.guards.significance is not None:
            if one.p is None:
                needed = -(-self.guards.baseline // 2)
                return f"there is nothing to test it against: fewer than {needed} sound periods, or all the same"
            if one.p > self.guards.significance:
                return f"chance alone may bring that (p {_chance(one.p)}, {percent(self.guards.significance)} asked for)"
        least = condition.least_effect or self.guards.min_effect
        if least is not None:
            baseline, value = self._baseline(verdict), value_of(self.current, self.sight, self.conditions)
            if baseline is None or value is None:
                return "nothing usual is known to measure its size by"
            if small := too_small(effect_of(value, baseline), least, self._side(condition, verdict), baseline):
                return small
        return overlapping(self.current, verdict) if self.guards.disjoint else ""

    def _baseline(self, verdict: Verdict) -> Baseline | None:
        """What the figure is compared with: by its condition, else what is usual."""
        return verdict.baseline or (self.usual.baseline if self.usual is not None else None)

    def _side(self, condition: Condition, verdict: Verdict) -> Side:
        """On which side the fault lies: as the verdict or the condition says, else the worse one for the KPI."""
        return verdict.side or condition.side or _WORSE.get(self.conditions.better, "")

    def _recovered(self, clear: Outcome) -> Outcome:
        """Clear only if the value is also beyond the band between trigger and recovery."""
        recover = self.conditions.recover
        if recover is None:
            return clear
        verdict = recover.holds_for(self.sight, self.conditions)
        if verdict.unknown is not None:
            return replace(clear, kind=verdict.unknown, reason=verdict.reason, threshold=recover.text)
        reason = verdict.reason or self._comparison(recover, verdict)
        if verdict.holds:
            return replace(clear, threshold=recover.text, limit=self._for_all_days(verdict.limit), reason=reason)
        return replace(clear, kind=OutcomeKind.HOLD, reason=f"no longer {clear.threshold}, but {reason}")


_WORSE: dict[str, Side] = {"up": "low", "down": "high"}


_PER_DAY = ", for as many working days"


def _held_back(breach: Outcome, why: str) -> Outcome:
    """A breach that the guards make nothing of; its figures stay for people to see."""
    reason = f"{breach.reason}, but {why}"
    return replace(breach, kind=OutcomeKind.INSUFFICIENT, level=Level.NONE, reason=reason, unguarded=OutcomeKind.BREACH)


def _chance(p: float | None) -> str:
    if p is None:
        return "unknown"
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
