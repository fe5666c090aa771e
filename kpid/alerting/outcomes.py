"""What one evaluation of one series finds: breach, hold, clear, or a reason why nothing can be said. Pure.

Order when several hold: error > stale > no_data, missing > insufficient > breach, hold, clear. Nothing missing is ever taken for
a number, and a change against nothing, zero or a thin period is never a breach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from kpid.alerting.conditions import Change, Condition
from kpid.analysis.wording import exact_text
from kpid.model import Level, Measurement, MeasurementState

_EPSILON = 1e-9
_LEVELS = (Level.CRITICAL, Level.WARN)


class OutcomeKind(StrEnum):
    """The judgement of one evaluation."""

    BREACH = "breach"
    HOLD = "hold"
    CLEAR = "clear"
    INSUFFICIENT = "insufficient"
    NO_DATA = "no_data"
    STALE = "stale"
    MISSING = "missing"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judgement with its reason and the figures it rests on.

    Attributes:
        kind: what was found.
        level: the highest level breached; ``none`` unless ``kind`` is breach.
        reason: a sentence for people.
        value: the KPI's value; None when there is none.
        n: sample size.
        threshold: the condition as written that decided.
        limit: the number that the value was compared with.
        previous: the value one period earlier, if known.
        previous_label: which period that was.
        warnings: what the measurement warned of.
        low: lower end of the value's 95 % interval, if it has one.
        high: upper end.
        p: how often chance alone would give this, where that was asked.
        baseline: what is usual, where the judgement compared with it.
        baseline_label: over which periods.
        effect: how far the value is from the baseline, relative to it.
        unguarded: the verdict before the guards, if they changed it.
    """

    kind: OutcomeKind
    level: Level = Level.NONE
    reason: str = ""
    value: Decimal | None = None
    n: int = 0
    threshold: str = ""
    limit: Decimal | None = None
    previous: Decimal | None = None
    previous_label: str = ""
    warnings: tuple[str, ...] = ()
    low: Decimal | None = None
    high: Decimal | None = None
    p: float | None = None
    baseline: Decimal | None = None
    baseline_label: str = ""
    effect: Decimal | None = None
    unguarded: OutcomeKind | None = None

    def is_same_as(self, other: Outcome) -> bool:
        """Whether the state machine cannot tell them apart."""
        return (self.kind, self.level) == (other.kind, other.level)

    def dump(self) -> dict[str, Any]:
        """As JSON-able data; what says nothing is left out."""
        data: dict[str, Any] = {"kind": self.kind.value, "n": self.n}
        for name in ("reason", "threshold", "previous_label", "baseline_label"):
            if getattr(self, name):
                data[name] = getattr(self, name)
        for name in ("value", "limit", "previous", "low", "high", "baseline", "effect"):
            if getattr(self, name) is not None:
                data[name] = str(getattr(self, name))
        if self.p is not None:
            data["p"] = round(self.p, 6)
        if self.unguarded is not None:
            data["unguarded"] = self.unguarded.value
        if self.level is not Level.NONE:
            data["level"] = self.level.value
        if self.warnings:
            data["warnings"] = list(self.warnings)
        return data


def outcome_from_dump(data: Mapping[str, Any]) -> Outcome:
    """The inverse of :meth:`Outcome.dump`."""

    def number(name: str) -> Decimal | None:
        return Decimal(data[name]) if name in data else None

    return Outcome(
        kind=OutcomeKind(data["kind"]),
        level=Level(data.get("level", "none")),
        reason=data.get("reason", ""),
        value=number("value"),
        n=data["n"],
        threshold=data.get("threshold", ""),
        limit=number("limit"),
        previous=number("previous"),
        previous_label=data.get("previous_label", ""),
        warnings=tuple(data.get("warnings", ())),
        low=number("low"),
        high=number("high"),
        p=data.get("p"),
        baseline=number("baseline"),
        baseline_label=data.get("baseline_label", ""),
        effect=number("effect"),
        unguarded=OutcomeKind(data["unguarded"]) if "unguarded" in data else None,
    )


@dataclass(frozen=True, slots=True)
class RuleConditions:
    """The conditions of a rule, read, with what is needed to judge by them.

    ``min_sample`` is the rule's own; None leaves it to the KPI's (the measurement's state).
    """

    kpi_unit: str
    warn: Condition | None = None
    critical: Condition | None = None
    recover: Condition | None = None
    min_sample: int | None = None

    @property
    def needs_previous(self) -> bool:
        """Whether any of them compares with the period before."""
        return any(condition is not None and condition.needs_previous for condition in (self.warn, self.critical, self.recover))


def judge(
    conditions: RuleConditions,
    current: Measurement | None,
    history: Sequence[Measurement],
    *,
    others_present: bool = False,
    failure: str = "",
) -> Outcome:
    """Judge one series at one slot.

    Args:
        conditions: the rule's.
        current: the measurement of the slot's period; None if there is none.
        history: earlier periods of the series, oldest first; the last one is the period before.
        others_present: other series of the rule have been measured for this period: then a missing one is ``missing``.
        failure: why the period could not be measured at all; makes it an error.
    """
    previous = history[-1] if history else None
    if current is None:
        return _absent(failure, others_present=others_present)
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
        return replace(facts, reason=current.warnings[0] if current.warnings else "nothing is left to judge")
    if (untrusted := _untrusted(current)) is not None:
        return replace(facts, kind=untrusted[0], reason=untrusted[1])
    if thin := _thin(current, conditions.min_sample):
        return replace(facts, kind=OutcomeKind.INSUFFICIENT, reason=thin)
    return _compared(conditions, current, previous, facts)


def _absent(failure: str, *, others_present: bool) -> Outcome:
    if failure:
        return Outcome(OutcomeKind.ERROR, reason=failure)
    if others_present:
        return Outcome(OutcomeKind.MISSING, reason="no longer reported, while others are")
    return Outcome(OutcomeKind.NO_DATA, reason="nothing was measured for this period")


def _untrusted(current: Measurement) -> tuple[OutcomeKind, str] | None:
    reason = current.reason
    match current.state:
        case MeasurementState.ERROR:
            return OutcomeKind.ERROR, reason or "the KPI could not be computed"
        case MeasurementState.STALE:
            return OutcomeKind.STALE, reason or "the source's data is too old"
        case MeasurementState.INCOMPLETE:
            return OutcomeKind.STALE, reason or "the source has not delivered to the end of the period"
        case MeasurementState.UNDEFINED:
            return OutcomeKind.NO_DATA, reason or "there is nothing to compute a value from"
        case MeasurementState.INSUFFICIENT_SAMPLE | MeasurementState.OK:
            pass
    return (OutcomeKind.NO_DATA, reason or "there is no value") if current.value is None else None


def _thin(measured: Measurement, min_sample: int | None) -> str:
    if min_sample is not None:
        return f"n = {measured.n}, below the rule's minimum of {min_sample}" if measured.n < min_sample else ""
    if measured.state is MeasurementState.INSUFFICIENT_SAMPLE:
        return measured.reason or f"n = {measured.n} is too few to judge"
    return ""


@dataclass(frozen=True, slots=True)
class _Verdict:
    holds: bool = False
    unknown: OutcomeKind | None = None
    reason: str = ""
    limit: Decimal | None = None


def _compared(conditions: RuleConditions, current: Measurement, previous: Measurement | None, facts: Outcome) -> Outcome:
    value = exact_value(current)
    unknown: Outcome | None = None
    clear = facts
    for level in _LEVELS:
        condition = conditions.critical if level is Level.CRITICAL else conditions.warn
        if condition is None:
            continue
        verdict = _verdict(condition, value, previous, conditions)
        kind = verdict.unknown or (OutcomeKind.BREACH if verdict.holds else OutcomeKind.CLEAR)
        reason = verdict.reason or _comparison(current, condition, verdict, conditions)
        found = replace(facts, kind=kind, threshold=condition.text, limit=verdict.limit, reason=reason)
        if kind is OutcomeKind.BREACH:
            return replace(found, level=level)
        if kind is OutcomeKind.CLEAR:
            clear = found
        else:
            unknown = unknown or found
    if unknown is not None:
        return unknown
    if conditions.recover is None:
        return clear
    return _recovered(conditions, conditions.recover, current, previous, clear)


def _recovered(
    conditions: RuleConditions, recover: Condition, current: Measurement, previous: Measurement | None, clear: Outcome
) -> Outcome:
    """Clear only if the value is also beyond the band between trigger and recovery."""
    verdict = _verdict(recover, exact_value(current), previous, conditions)
    if verdict.unknown is not None:
        return replace(clear, kind=verdict.unknown, reason=verdict.reason, threshold=recover.text)
    reason = verdict.reason or _comparison(current, recover, verdict, conditions)
    if verdict.holds:
        return replace(clear, threshold=recover.text, limit=verdict.limit, reason=reason)
    return replace(clear, kind=OutcomeKind.HOLD, reason=f"no longer {clear.threshold}, but {reason}")


def _comparison(current: Measurement, condition: Condition, verdict: _Verdict, conditions: RuleConditions) -> str:
    """``39.9% is < 40%``, with enough digits to see it."""
    value = exact_text(current.value, verdict.limit, conditions.kpi_unit, current.currency)
    return f"{value} is {'' if verdict.holds else 'not '}{condition.text}"


def _verdict(condition: Condition, value: Fraction, previous: Measurement | None, conditions: RuleConditions) -> _Verdict:
    if not isinstance(condition, Change):
        return _Verdict(condition.holds(value, conditions.kpi_unit), limit=condition.limit(conditions.kpi_unit))
    if previous is None:
        return _Verdict(unknown=OutcomeKind.NO_DATA, reason="there is no earlier period to compare with")
    if (unknown := _unusable(previous, conditions.min_sample)) is not None:
        return unknown
    baseline = exact_value(previous)
    change = (value - baseline) / baseline * 100
    reason = f"{abs(float(change)):.1f}% {'below' if change < 0 else 'above'} {previous.period.label}"
    return _Verdict(condition.holds(value, baseline), reason=reason, limit=_decimal(condition.limit_from(baseline)))


def _unusable(previous: Measurement, min_sample: int | None) -> _Verdict | None:
    """Why nothing can be compared with a period; None if it can."""
    label = previous.period.label
    if (untrusted := _untrusted(previous)) is not None:
        return _Verdict(unknown=OutcomeKind.NO_DATA, reason=f"nothing to compare with: {label}: {untrusted[1]}")
    if thin := _thin(previous, min_sample):
        return _Verdict(unknown=OutcomeKind.INSUFFICIENT, reason=f"too little to compare with: {label}: {thin}")
    if (baseline := exact_value(previous)) <= 0:
        size = "zero" if baseline == 0 else "negative"
        return _Verdict(unknown=OutcomeKind.INSUFFICIENT, reason=f"{label} was {size}: a change in percent means nothing")
    return None


def exact_value(measured: Measurement) -> Fraction:
    """The value as an exact fraction: numerator over denominator where they make it up (a third is not 0.3333).

    Raises:
        ValueError: the measurement has no value.
    """
    if measured.value is None:
        raise ValueError("an undefined measurement has no value")
    if measured.numerator is None or not measured.denominator:
        return Fraction(measured.value)
    exact = Fraction(measured.numerator) / Fraction(measured.denominator)
    about, value = float(exact), float(measured.value)
    near = _EPSILON * max(1.0, abs(value))
    if abs(about - value) <= near:
        return exact
    return exact * 100 if abs(about * 100 - value) <= near else Fraction(measured.value)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)
