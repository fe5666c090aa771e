"""What is usual for a series of figures: control limits, robust scores, seasons, runs and slopes. Pure.

Floats: these are limits, not values. The figure that is judged is never among those that say what is usual.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from math import sqrt
from statistics import median
from typing import Literal, NamedTuple

FEWEST = 8
"""From fewer earlier figures nothing is called unusual."""
ENOUGH = 12
"""With fewer than so many, what is called usual is said to rest on little."""
_MOVING_RANGE = 2.66
"""Three standard deviations of single figures, in mean moving ranges."""
_MAD = 0.6745
_MEAN_AD = 1.253314


class Limits(NamedTuple):
    """What is usual: a middle, and the ends beyond which a figure is unusual."""

    mean: float
    low: float
    high: float


def mean_and_scatter(points: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of two figures or more."""
    mean = sum(points) / len(points)
    return mean, sqrt(sum((point - mean) ** 2 for point in points) / (len(points) - 1))


def standard_score(points: Sequence[float], value: float) -> float | None:
    """How many sample standard deviations a figure lies above the mean of earlier ones; None if those are all the same."""
    if len(points) < 2:
        return None
    mean, deviation = mean_and_scatter(points)
    return (value - mean) / deviation if deviation else None


def xmr(points: Sequence[float], sigmas: float = 3.0) -> Limits | None:
    """Limits of an XmR chart: the mean, and 2.66 mean moving ranges (three sigmas) to both sides.

    Args:
        points: earlier figures in order, two or more.
        sigmas: how wide; 3 is what 2.66 stands for.
    """
    if len(points) < 2:
        return None
    mean = sum(points) / len(points)
    margin = _MOVING_RANGE * sigmas / 3 * sum(abs(new - old) for old, new in pairwise(points)) / (len(points) - 1)
    return Limits(mean, mean - margin, mean + margin)


def robust_z(points: Sequence[float], value: float) -> float | None:
    """How unusual a figure is by median and median absolute deviation, which a few old outliers cannot move.

    Where most figures are the same, by the mean absolute deviation; None where all are.
    """
    if not points:
        return None
    middle = median(points)
    away = [abs(point - middle) for point in points]
    if spread := median(away):
        return _MAD * (value - middle) / spread
    spread = sum(away) / len(away)
    return (value - middle) / (_MEAN_AD * spread) if spread else None


def robust_limits(points: Sequence[float], z: float) -> Limits | None:
    """The figures at which :func:`robust_z` reaches ``z``, and the median between them."""
    if (step := robust_z(points, median(points) + 1) if points else None) is None:
        return None
    middle = median(points)
    return Limits(middle, middle - z / step, middle + z / step)


def p_limits(share: float, n: int, z: float = 3.0) -> Limits:
    """Limits of a p-chart: a rate over ``n`` cases where ``share`` is usual, ``z`` standard errors to both sides."""
    margin = z * sqrt(share * (1 - share) / n) if n > 0 else 1.0
    return Limits(share, max(0.0, share - margin), min(1.0, share + margin))


class Seasonal(NamedTuple):
    """Figures less what is usual for their season, each as uncertain as a new one.

    ``points`` are the earlier ones, ``value`` the one judged; that is ``(figure - usual) / step``.
    """

    points: tuple[float, ...]
    value: float
    usual: float
    step: float


def seasonal(points: Sequence[tuple[Hashable, float]], season: Hashable, value: float) -> Seasonal | None:
    """Take the season out: a figure is compared with the middle one of its own season, its scatter with that of all seasons.

    What is left of a figure that helped to make its own middle is smaller than what will be left of a new one; both are put on
    the same scale.

    Args:
        points: earlier figures with their seasons.
        season: that of the figure judged.
        value: the figure judged.

    Returns:
        None where fewer than two earlier figures are of this season.
    """
    groups: dict[Hashable, list[float]] = {}
    for name, point in points:
        groups.setdefault(name, []).append(point)
    own = groups.get(season, [])
    if len(own) < 2:
        return None
    middles = {name: median(group) for name, group in groups.items()}
    left = tuple((point - middles[name]) / sqrt(1 - 1 / len(groups[name])) for name, point in points if len(groups[name]) > 1)
    step = sqrt(1 + 1 / len(own))
    return Seasonal(left, (value - middles[season]) / step, middles[season], step)


def is_monotone(values: Sequence[float], steps: int, direction: Literal["falls", "rises"]) -> bool:
    """Whether the last ``steps`` changes all go one way; the same figure twice is no change."""
    last = values[-steps - 1 :]
    if len(last) <= steps:
        return False
    return all(new < old if direction == "falls" else new > old for old, new in pairwise(last))


class Slope(NamedTuple):
    """A straight line through figures: what a step brings, and that as a share of their mean (None if that is not above 0)."""

    step: float
    relative: float | None


def slope(values: Sequence[float]) -> Slope | None:
    """The line of least squares through figures in order; None through fewer than two."""
    count = len(values)
    if count < 2:
        return None
    middle, mean = (count - 1) / 2, sum(values) / count
    above = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    step = above / sum((place - middle) ** 2 for place in range(count))
    return Slope(step, step / mean if mean > 0 else None)
