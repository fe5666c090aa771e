"""How sure a figure is: 95 % intervals of rates, means, quantiles, ratios of sums and the Net Promoter Score.

Floats: these are margins, not values. Every function gives None where the sample cannot carry an interval; none means "nobody
knows", never "exact".
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from math import log, sqrt
from typing import TypeVar

from kpid.analysis.stats import Z95, student_t, wilson

Interval = tuple[float, float]
V = TypeVar("V")

RUNGS = (6, 10, 20, 40, 80, 160, 640, 2_560, 10_240, 40_960, 163_840)
"""Sample sizes for which a scan fetches quantiles in advance: it does not know n before it runs. A sample takes the largest rung
that is not above it, so that its interval is rather too wide (at most twice) than too narrow."""


def rate_interval(successes: int, n: int) -> Interval | None:
    """Interval of a rate (Wilson); None if it is none: no cases, or successes that are not among them."""
    return wilson(successes, n) if 0 <= successes <= n else None


def mean_interval(total: Fraction, squares: Fraction | float, n: int) -> Interval | None:
    """Interval of a mean by Student's t.

    Args:
        total: sum of the values.
        squares: sum of their squares.
        n: how many values; below 2 nobody knows how they scatter.
    """
    if n < 2:
        return None
    spread = max(0.0, float(Fraction(squares) - total * total / n))
    margin = student_t(n - 1) * sqrt(spread / (n - 1) / n)
    middle = float(total / n)
    return middle - margin, middle + margin


def ratio_interval(
    above: Fraction, below: Fraction, squares: tuple[Fraction | float, Fraction | float], products: Fraction | float, n: int
) -> Interval | None:
    """Interval of a ratio of two sums over the same rows that is no share of cases (won amount / closed amount): delta method.

    Args:
        above: sum of the numerators ``x``.
        below: sum of the denominators ``y``.
        squares: sums of ``x * x`` and ``y * y``.
        products: sum of ``x * y``.
        n: how many rows; below 2 nobody knows how they scatter.
    """
    if n < 2 or below == 0:
        return None
    ratio = above / below
    residues = Fraction(squares[0]) - 2 * ratio * Fraction(products) + ratio * ratio * Fraction(squares[1])
    margin = student_t(n - 1) * sqrt(max(0.0, float(residues)) * n / (n - 1)) / abs(float(below))
    return float(ratio) - margin, float(ratio) + margin


def difference_interval(new: tuple[float, float, float], old: tuple[float, float, float]) -> Interval:
    """Interval of the difference of two figures ``(value, low, high)`` that are independent of each other.

    Each side's own margin counts on the side that it bounds: for rates with Wilson intervals this is Newcombe's interval.
    """
    change = new[0] - old[0]
    below = sqrt((new[0] - new[1]) ** 2 + (old[2] - old[0]) ** 2)
    above = sqrt((new[2] - new[0]) ** 2 + (old[0] - old[1]) ** 2)
    return change - below, change + above


def nps_interval(promoters: int, detractors: int, n: int) -> Interval | None:
    """Interval of the Net Promoter Score, in points from -100 to 100.

    Adjusted Wald: three answers are added, half of them passive, so that ten unanimous answers are not certain for ever.

    Args:
        promoters: answers of 9 and 10.
        detractors: answers of 0 to 6.
        n: all answers.
    """
    if n <= 0 or min(promoters, detractors) < 0 or promoters + detractors > n:
        return None
    size = n + 3
    above, below = (promoters + 0.75) / size, (detractors + 0.75) / size
    middle = above - below
    margin = Z95 * sqrt(max(0.0, above + below - middle * middle) / size)
    score = (promoters - detractors) / n
    low, high = min(score, middle - margin), max(score, middle + margin)
    return 100 * max(-1.0, low), 100 * min(1.0, high)


@lru_cache(maxsize=64)
def quantile_grid(q: float) -> tuple[float, ...]:
    """The fractions whose empirical quantiles :func:`quantile_interval` needs: ``q`` and a pair per rung, ascending, each once.

    Args:
        q: the quantile, between 0 and 1 exclusive.
    """
    return tuple(sorted({q, *(edge for rung in RUNGS for edge in _edges(q, rung))}))


def quantile_interval(q: float, n: int, grid_values: Sequence[V]) -> tuple[V, V] | None:
    """Interval of a quantile, free of assumptions about how the values are spread (Woodruff; order statistics).

    Args:
        q: the quantile.
        n: how many values.
        grid_values: their empirical quantiles (linear between neighbours) at ``quantile_grid(q)``, in that order.

    Returns:
        Two of the grid's values; None where even the smallest and the largest value do not enclose the quantile with 95 %
        (n below 6 for a median, below 36 for the 90th percentile).
    """
    if not 0 < q < 1 or n < RUNGS[0] or n < log(0.025) / log(max(q, 1 - q)):
        return None
    below, above = _edges(q, max(rung for rung in RUNGS if rung <= n))
    place = {fraction: index for index, fraction in enumerate(quantile_grid(q))}
    return grid_values[place[below]], grid_values[place[above]]


def _edges(q: float, n: int) -> Interval:
    """The fractions between which the quantile of a population lies in 95 % of samples of ``n``.

    A rank wider than the normal approximation says: that covers what it lacks for small samples.
    """
    margin = Z95 * sqrt(n * q * (1 - q)) + 1
    below, above = (n * q - margin) / (n - 1), 1 - (n * (1 - q) - margin) / (n - 1)
    return round(max(0.0, below), 9), round(min(1.0, above), 9)
