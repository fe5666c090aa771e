"""How sure a rate is: intervals that hold for small samples. Floats: these are margins, not values."""

from __future__ import annotations

from math import sqrt

Z95 = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""


def wilson(successes: int, n: int, z: float = Z95) -> tuple[float, float] | None:
    """Interval of a rate by Wilson; None over no cases.

    Args:
        successes: cases that count, at most ``n``.
        n: all cases.
        z: standard errors; 1.96 for 95 %.
    """
    if n <= 0:
        return None
    share, weight = successes / n, z * z / n
    middle = (share + weight / 2) / (1 + weight)
    margin = z / (1 + weight) * sqrt(share * (1 - share) / n + weight / (4 * n))
    return max(0.0, middle - margin), min(1.0, middle + margin)


def newcombe(new: tuple[int, int], old: tuple[int, int], z: float = Z95) -> tuple[float, float] | None:
    """Interval of the difference of two rates ``(successes, n)`` by Newcombe's hybrid score; None if either has no cases."""
    interval_new, interval_old = wilson(*new, z), wilson(*old, z)
    if interval_new is None or interval_old is None:
        return None
    rate_new, rate_old = new[0] / new[1], old[0] / old[1]
    below = sqrt((rate_new - interval_new[0]) ** 2 + (interval_old[1] - rate_old) ** 2)
    above = sqrt((interval_new[1] - rate_new) ** 2 + (rate_old - interval_old[0]) ** 2)
    return rate_new - rate_old - below, rate_new - rate_old + above
