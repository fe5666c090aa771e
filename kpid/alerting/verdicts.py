"""What can be said of one figure: whether it can be trusted, and what a condition finds of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Literal, TypeAlias

from kpid.model import Measurement, MeasurementState, Period

Side: TypeAlias = Literal["low", "high", ""]
"""On which side of what is usual a condition finds fault; empty: on any."""
_EPSILON = 1e-9


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


_WEIGHT = (OutcomeKind.ERROR, OutcomeKind.STALE, OutcomeKind.NO_DATA, OutcomeKind.MISSING, OutcomeKind.INSUFFICIENT)


def weight_of(kind: OutcomeKind) -> int:
    """Which of several reasons why nothing can be said is told: that with the smallest weight. Thin data never hides a fault."""
    return _WEIGHT.index(kind) if kind in _WEIGHT else len(_WEIGHT)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a figure is compared with.

    Attributes:
        value: in the KPI's unit; per working day if the rule compares so.
        label: which figure it is: ``2026-W07``, ``the average of 8 weeks``.
        n: its sample; of several figures the mean sample.
        low: lower end of its 95 % interval; None where nobody knows.
        high: upper end.
        is_previous: it is simply the period before.
        warnings: what a reader should know of the comparison (week 53 is compared with week 52).
        periods: those whose figures, on average, make it up; none of what was never measured (a target).
    """

    value: Fraction
    label: str
    n: int = 0
    low: float | None = None
    high: float | None = None
    is_previous: bool = False
    warnings: tuple[str, ...] = ()
    periods: tuple[Period, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a condition finds of a figure.

    Attributes:
        holds: whether it is true of it.
        unknown: why nothing can be said; None if something can.
        reason: a sentence; empty where the figure and the condition say it all.
        limit: the value at which it begins to hold.
        baseline: what the figure was compared with.
        side: on which side of that the fault lies.
        p: how often chance alone gives such a figure, where the condition itself is a test.
        q: how often chance alone goes beyond the condition's limits: the level of that test.
        warnings: what a reader should know of the comparison.
        known_from: the day from which enough is known to say something, where that is all that lacks.
    """

    holds: bool = False
    unknown: OutcomeKind | None = None
    reason: str = ""
    limit: Decimal | None = None
    baseline: Baseline | None = None
    side: Side = ""
    p: float | None = None
    q: float | None = None
    warnings: tuple[str, ...] = ()
    known_from: str = ""


def unsure(kind: OutcomeKind, reason: str) -> Verdict:
    """Nothing can be said, and why."""
    return Verdict(unknown=kind, reason=reason)


def untrusted(measured: Measurement) -> tuple[OutcomeKind, str] | None:
    """Why a figure cannot be judged at all; None if it can."""
    reason = measured.reason
    if measured.state is MeasurementState.OK and measured.value is not None:
        return None  # as nearly always
    match measured.state:
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
    return (OutcomeKind.NO_DATA, reason or "there is no value") if measured.value is None else None


def thin(measured: Measurement, min_sample: int | None) -> str:
    """Why a figure's sample is too small to judge; empty if it is not."""
    if min_sample is not None:
        return f"n = {measured.n}, below the rule's minimum of {min_sample}" if measured.n < min_sample else ""
    if measured.state is MeasurementState.INSUFFICIENT_SAMPLE:
        return measured.reason or f"n = {measured.n} is too few to judge"
    return ""


def exact_value(measured: Measurement) -> Fraction:
    """The value as an exact fraction: numerator over denominator where they make it up (a third is not 0.3333).

    Raises:
        ValueError: the measurement has no value.
    """
    if measured.value is None:
        raise ValueError("an undefined measurement has no value")
    if measured.numerator is None or not measured.denominator:
        return Fraction(measured.value)
    (above, above_by), (below, below_by) = measured.numerator.as_integer_ratio(), measured.denominator.as_integer_ratio()
    exact = Fraction(above * below_by, above_by * below)
    about, value = float(exact), float(measured.value)
    near = _EPSILON * max(1.0, abs(value))
    if abs(about - value) <= near:
        return exact
    return exact * 100 if abs(about * 100 - value) <= near else Fraction(measured.value)


def share_of_cases(measured: Measurement) -> tuple[int, int] | None:
    """Successes and cases of a share of cases (won of closed deals); None if it is none."""
    above, below = measured.numerator, measured.denominator
    if above is None or below is None or above % 1 or below % 1 or not 0 <= above <= below or below != measured.n:
        return None
    return int(above), int(below)


def to_decimal(value: Fraction) -> Decimal:
    """A fraction with as many digits as decimals have."""
    return Decimal(value.numerator) / Decimal(value.denominator)
