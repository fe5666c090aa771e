"""Guards against false alarms: a breach that chance may have brought, or that is too small to matter, is no breach. Pure.

A guard never makes a breach and never makes anything clear: it turns a breach into "not enough to say". Which test fits
follows from the figures: shares of cases by a test of two rates, counts as Poisson (or as scattered as they were, if that is
more), means and scores by their own margins, anything else by its scatter from period to period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from kpid.alerting.baselines import FILL, Terms, sound_figures, usual_periods, value_of, work_days
from kpid.alerting.verdicts import Baseline, Side, Verdict, share_of_cases
from kpid.analysis.chances import (
    lower_p_count,
    lower_p_figures,
    lower_p_point,
    lower_p_rate,
    lower_p_scattered,
    upper_p_scattered,
)
from kpid.analysis.stats import Z95, student_t
from kpid.model import Measurement, Period

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight


@dataclass(frozen=True, slots=True)
class Guards:
    """What a breach must pass.

    Attributes:
        significance: it is told only if chance alone brings such a figure less often; None: not asked.
        min_effect: it lies at least so far from what is usual, as a share of that; None: not asked.
        corrected: all series of a slot are tested together (Benjamini-Hochberg).
        disjoint: the 95 % intervals of the figure and of what it is compared with do not overlap.
        baseline: so many earlier periods are what is usual.
    """

    significance: Decimal | None = None
    min_effect: Decimal | None = None
    corrected: bool = True
    disjoint: bool = False
    baseline: int = 8

    @property
    def want_usual(self) -> bool:
        """Whether what is usual must be known."""
        return self.significance is not None or self.min_effect is not None

    @property
    def reach(self) -> int:
        """How many periods back it is looked for."""
        return self.baseline * FILL


NO_GUARDS = Guards()


@dataclass(frozen=True, slots=True)
class Usual:
    """The earlier periods of a series taken together: the pooled figure, and the figures that it is made of."""

    baseline: Baseline
    figures: tuple[Measurement, ...]


def usual_of(sight: Sight, terms: Terms, count: int) -> Usual | None:
    """The newest sound figures of the periods in which the series was as usual, pooled; None if fewer than half of ``count``."""
    periods = usual_periods(sight, count * FILL, count)
    figures = sound_figures(sight, terms, periods)[-count:]
    if 2 * len(figures) < count:
        return None
    pairs = [share_of_cases(one) for one in figures]
    values = [value for one in figures if (value := value_of(one, sight, terms)) is not None]
    if terms.kpi_unit == "ratio" and None not in pairs and any(pair[1] for pair in pairs if pair):
        value = Fraction(sum(pair[0] for pair in pairs if pair), sum(pair[1] for pair in pairs if pair))
    elif terms.adds_up or not all(one.n > 0 for one in figures):
        value = sum(values, Fraction(0)) / len(values)
    else:
        value = sum((one.n * each for one, each in zip(figures, values, strict=True)), Fraction(0)) / sum(
            one.n for one in figures
        )
    label = f"{len(figures)} periods before ({figures[0].period.label} to {figures[-1].period.label})"
    made_of = tuple(one.period for one in figures)
    return Usual(Baseline(value, label, sum(one.n for one in figures), periods=made_of), tuple(figures))


def chance_of(sight: Sight, terms: Terms, usual: Usual, side: Side) -> float | None:
    """How often chance alone brings a figure so far on the bad side of what is usual; None where that cannot be tested.

    ``side`` empty: either would be bad, so that chance has both to do so.
    """
    own = None if sight.current is None or sight.current.value is None else value_of(sight.current, sight, terms)
    if own is None:
        return None
    if side == "":
        one = chance_of(sight, terms, usual, "low" if own < usual.baseline.value else "high")
        return None if one is None else min(1.0, 2 * one)
    return _on_one_side(sight, terms, usual, side, own)


def _on_one_side(sight: Sight, terms: Terms, usual: Usual, side: Side, own: Fraction) -> float | None:
    if sight.current is None:
        return None
    sign = 1 if side == "low" else -1
    figures = (sight.current, *usual.figures)
    if terms.kpi_unit == "ratio" and all(share_of_cases(one) is not None for one in figures):
        return _rates(sight.current, usual.figures, side)
    if terms.kpi_unit == "count" and terms.adds_up and all(_is_count(one) for one in figures):
        return _counts(sight, sight.current, terms, usual.figures, side)
    margins = None if terms.per_day else _margins(sight.current, usual, terms)
    if margins is not None:
        new, old, freedom = margins
        return lower_p_figures((sign * new[0], new[1]), (sign * old[0], old[1]), freedom)
    points = [sign * float(value) for one in usual.figures if (value := value_of(one, sight, terms)) is not None]
    return lower_p_point(points, sign * float(own))


def _rates(current: Measurement, figures: Sequence[Measurement], side: Side) -> float | None:
    pairs = [share_of_cases(one) or (0, 0) for one in (current, *figures)]
    own, above, below = pairs[0], sum(pair[0] for pair in pairs[1:]), sum(pair[1] for pair in pairs[1:])
    if side == "low":
        return lower_p_rate(*own, above, below)
    return lower_p_rate(own[1] - own[0], own[1], below - above, below)


def _counts(sight: Sight, current: Measurement, terms: Terms, figures: Sequence[Measurement], side: Side) -> float | None:
    def days(period: Period) -> float:
        return float(work_days(period, sight)) if terms.per_day else 1.0

    exposure, old = days(sight.period), [(float(one.value or 0), days(one.period)) for one in figures]
    own, pool, periods = int(current.value or 0), int(sum(count for count, _ in old)), sum(long for _, long in old)
    if side == "low":
        plain, scattered = lower_p_count(own, pool, periods, exposure), lower_p_scattered(own, exposure, old)
    else:
        plain, scattered = lower_p_count(pool, own, exposure, periods), upper_p_scattered(own, exposure, old)
    return plain if plain is None or scattered is None else max(plain, scattered)


_Figure = tuple[float, float]
"""A figure and the variance of its error."""


def _margins(current: Measurement, usual: Usual, terms: Terms) -> tuple[_Figure, _Figure, tuple[int, int] | None] | None:
    """Both figures with the variances that their own margins stand for; None where one has no margin."""
    new = _variance(current, terms)
    variances = [_variance(one, terms) for one in usual.figures]
    if new is None or current.value is None:
        return None
    known = [variance for variance in variances if variance is not None]
    if len(known) < len(variances):
        return None
    own, middle = (float(current.value), new), float(usual.baseline.value)
    if terms.adds_up:
        return own, (middle, sum(known) / len(known) ** 2), None
    total = sum(one.n for one in usual.figures)
    if total < 2 or current.n < 2:
        return None
    within = sum((one.n - 1) * variance * one.n for one, variance in zip(usual.figures, known, strict=True))
    between = sum(one.n * (float(one.value or 0) - middle) ** 2 for one in usual.figures)
    old = (middle, (within + between) / (total - 1) / total)
    return own, old, None if terms.kpi_unit == "score" else (current.n - 1, total - 1)


def _variance(one: Measurement, terms: Terms) -> float | None:
    if one.low is None or one.high is None or one.n < 1:
        return None
    width = Z95 if terms.kpi_unit == "score" or terms.adds_up or one.n < 2 else student_t(one.n - 1)
    return (float(one.high - one.low) / 2 / width) ** 2


def _is_count(one: Measurement) -> bool:
    return one.value is not None and one.value >= 0 and one.value % 1 == 0


def effect_of(value: Fraction, baseline: Baseline) -> Decimal | None:
    """How far a figure is from another, as a share of that; None where that is not above zero."""
    if baseline.value <= 0:
        return None
    return Decimal(f"{float((value - baseline.value) / baseline.value):.6f}")


def too_small(effect: Decimal | None, least: Decimal, side: Side, baseline: Baseline) -> str:
    """Why an effect is too small to matter; empty if it is not."""
    if effect is None:
        return f"{baseline.label} was not above zero: how far it is from that cannot be said in percent"
    bad = -effect if side == "low" else effect if side == "high" else abs(effect)
    if bad >= least:
        return ""
    return f"only {float(abs(effect)) * 100:.1f}% from {baseline.label}, less than the {percent(least)} asked for"


def overlapping(current: Measurement, verdict: Verdict) -> str:
    """Why two figures cannot be told apart by their intervals; empty if they can."""
    other = verdict.baseline
    if other is None or other.low is None or other.high is None or current.low is None or current.high is None:
        return "there are no 95 % intervals to tell the two apart"
    is_lower, is_higher = float(current.high) < other.low, float(current.low) > other.high
    if (is_lower and verdict.side != "high") or (is_higher and verdict.side != "low"):
        return ""
    return f"the 95 % intervals of now and of {other.label} overlap"


def percent(share: Decimal) -> str:
    """``5%``, ``2.5%``."""
    return f"{(share * 100).normalize():f}%"
