"""Rates and scatter: intervals that hold for small samples. Floats: these are margins, not values."""

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


def student_t(freedom: int) -> float:
    """Half-width of a 95 % interval of a mean in standard errors, for a scatter that is known from the sample alone.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = Z95
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


_STUDENT = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)
"""97.5 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond, a series in 1/freedom is right to five digits."""
