"""How large an effect may be by chance alone: standard errors of what segments contribute to a change. Floats: margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import sqrt

from kpid.analysis.stats import Z95


@dataclass(frozen=True, slots=True)
class Side:
    """One segment in one period: numerator and denominator (None for additive KPIs), sample, value and its interval."""

    numerator: Decimal
    denominator: Decimal | None
    n: int = 0
    value: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Weighed:
    """A segment of a ratio in both periods: its weights, its mean rate above the overall one, and the ratio's scale."""

    new: Side
    old: Side
    weights: tuple[Fraction, Fraction]
    above: float
    scale: float


def additive_error(new: Side, old: Side) -> float:
    """Standard error of the change of a count or sum.

    Counts scatter like events that come by chance (Poisson). Of a sum only its rows are known: their amounts are taken to scatter
    as much as they are large, which is usual for deals.
    """
    return sqrt(_sum_variance(new) + _sum_variance(old))


def _sum_variance(side: Side) -> float:
    value = float(side.numerator)
    if side.n == 0 or abs(value) == side.n:
        return abs(value)
    return 2 * value * value / side.n


def ratio_error(segment: Weighed, samples: tuple[int, int]) -> float:
    """Standard error of rate and mix effect together, before scaling.

    The mix effect is a product: it is sure only if both are, that the weight has changed and that the segment's rate differs from
    the others'.

    Args:
        segment: its figures.
        samples: the samples of the whole, in the new and the old period.
    """
    new, old = segment.new, segment.old
    variances = _rate_variances(new, old, segment.scale)
    weight_new, weight_old = (float(weight) for weight in segment.weights)
    middle = (weight_new + weight_old) / 2
    rate = middle * middle * (variances[0] + variances[1]) if new.denominator and old.denominator else 0.0
    smooth = (middle * sum(samples) + 0.5) / (sum(samples) + 1)
    weight = smooth * (1 - smooth) * sum(1 / max(sample, 1) for sample in samples)
    known = [variance for variance, side in zip(variances, (new, old), strict=True) if side.denominator]
    level = sum(known) / len(known) ** 2
    mix = segment.above**2 * weight + (weight_new - weight_old) ** 2 * level
    return sqrt(rate + mix)


def _rate_variances(new: Side, old: Side, scale: float) -> tuple[float, float]:
    """Of the rates of both sides. Shares of cases have those of a common rate, so that 0 of 5 is not taken for certain."""
    if all(_is_share(side) for side in (new, old)):
        won = float(new.numerator + old.numerator)
        cases = float((new.denominator or 0) + (old.denominator or 0))
        common = (won + 1) / (cases + 2)
        first, second = (common * (1 - common) / max(float(side.denominator or 0), 1.0) for side in (new, old))
        return first, second
    return _rate_variance(new, scale), _rate_variance(old, scale)


def _is_share(side: Side) -> bool:
    """Whether its rows are cases of which each counts or not; means of several periods have nearly whole numbers of them."""
    return side.denominator is not None and 0 <= side.numerator <= side.denominator and abs(side.denominator - side.n) < 1


def _rate_variance(side: Side, scale: float) -> float:
    if not side.denominator:
        return 0.0
    if side.low is not None and side.high is not None and scale:
        return (float(side.high - side.low) / 2 / Z95 / scale) ** 2
    rate = float(side.numerator) / float(side.denominator)
    return (1 - rate * rate if abs(rate) < 1 else rate * rate) / max(side.n, 1)


def unevenness(parts: Sequence[tuple[float, float, float]]) -> float:
    """How much less evenly a change is spread over segments than chance would spread it, in standard deviations.

    A dimension of which one segment fell and the others stood tells more than one whose segments all fell alike.

    Args:
        parts: of each segment its effect, the effect's standard error, and its expected share of the change.
    """
    change = sum(effect for effect, _, _ in parts)
    scores = [((effect - share * change) / error) ** 2 for effect, error, share in parts if error > 0]
    free = len(scores) - 1
    if free < 1:
        return 0.0
    width = 2 / (9 * free)  # Wilson and Hilferty: the cube root of chi-squared is nearly normal
    return float(((sum(scores) / free) ** (1 / 3) - (1 - width)) / sqrt(width))
