"""How often chance alone makes figures so much lower: one-sided tests, and their correction where many are made at once. Pure.

Every test asks whether the new figure is lower than the old one; the other direction is the same test with both sides mirrored.
Floats: these are probabilities, not values. None where there is nothing to test.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, exp, lgamma, log, log1p, sqrt

from kpid.analysis.control import mean_and_scatter

FEWEST_IN_A_CELL = 5
"""From so many cases in each of the four cells the normal approximation is used for rates; below, Fisher's exact test."""
FEWEST_TO_SCATTER = 8
"""From fewer counts it is not known how much they scatter: they are taken as Poisson."""
_EXACT_UP_TO = 1_000_000
_NEGLIGIBLE = 1e-17


def normal_below(z: float) -> float:
    """How often a standard normal figure is at most ``z``."""
    return erfc(-z / sqrt(2)) / 2


def student_below(t: float, freedom: float) -> float:
    """How often Student's t is at most ``t``.

    Args:
        t: the statistic.
        freedom: degrees of freedom, above 0; need not be whole.
    """
    tail = _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
    return tail if t <= 0 else 1 - tail


def lower_p_rate(successes: int, n: int, old_successes: int, old_n: int) -> float | None:
    """Whether a rate is lower than another one: pooled z test, or Fisher's exact test where a cell is below five.

    Args:
        successes: of the new rate, at most ``n``.
        n: cases of the new rate.
        old_successes: of the old one.
        old_n: cases of the old one.
    """
    if n <= 0 or old_n <= 0 or successes + old_successes in {0, n + old_n}:
        return None
    cells = (successes, n - successes, old_successes, old_n - old_successes)
    if min(cells) < FEWEST_IN_A_CELL:
        return _fisher_below(successes, n, successes + old_successes, n + old_n)
    return normal_below(rate_score(successes, n, old_successes, old_n))


def rate_score(successes: int, n: int, old_successes: int, old_n: int) -> float:
    """How far a rate lies above another one in standard errors of the difference of equal rates."""
    pooled = (successes + old_successes) / (n + old_n)
    return (successes / n - old_successes / old_n) / sqrt(pooled * (1 - pooled) * (1 / n + 1 / old_n))


def lower_p_count(count: int, old_count: int, periods: float, exposure: float = 1.0) -> float | None:
    """Whether a count is lower than the rate of events before: Poisson, given how many there were altogether.

    Args:
        count: of the new period.
        old_count: of all old periods together.
        periods: how many those are (or their working days).
        exposure: how long the new period is in the same measure.
    """
    total = count + old_count
    if total <= 0 or periods <= 0 or exposure <= 0:
        return None
    share = exposure / (exposure + periods)
    if total > _EXACT_UP_TO:
        return normal_below((count + 0.5 - total * share) / sqrt(total * share * (1 - share)))
    return _binomial_below(count, total, share)


def upper_p_count(count: int, old_count: int, periods: float, exposure: float = 1.0) -> float | None:
    """Whether a count is higher than the rate of events before; as :func:`lower_p_count`, seen from the old periods' side."""
    return lower_p_count(old_count, count, exposure, periods)


def dispersion(counts: Sequence[tuple[float, float]]) -> float | None:
    """How many times as much counts scatter as Poisson ones would: Pearson's X2 by its degrees of freedom.

    Wedderburn, Biometrika 61 (1974) 439-447; McCullagh and Nelder, Generalized Linear Models (2nd ed. 1989), 4.5 and 6.2.

    Args:
        counts: each with how long it was counted (periods, or working days).
    """
    exposure = sum(long for _, long in counts)
    if len(counts) < FEWEST_TO_SCATTER or exposure <= 0:
        return None
    rate = sum(count for count, _ in counts) / exposure
    if rate <= 0:
        return None
    return sum((count - rate * long) ** 2 / (rate * long) for count, long in counts if long) / (len(counts) - 1)


def lower_p_scattered(count: float, exposure: float, old: Sequence[tuple[float, float]]) -> float | None:
    """Whether a count is lower than those before, which scatter more than Poisson ones; None where they do not, or are too few.

    Quasi-Poisson: the variance is the mean times :func:`dispersion`, which itself is estimated, so that Student's t is asked.
    Ver Hoef and Boveng, Ecology 88 (2007) 2766-2772, say when that fits better than a negative binomial: for large counts.

    Args:
        count: of the new period; half a count is added, since it is whole.
        exposure: how long that is.
        old: the earlier counts, each with its exposure.
    """
    scatter = dispersion(old)
    if scatter is None or scatter <= 1:
        return None
    periods = sum(long for _, long in old)
    rate = sum(each for each, _ in old) / periods
    error = sqrt(scatter * rate * exposure * (1 + exposure / periods))
    return student_below((count + 0.5 - rate * exposure) / error, len(old) - 1)


def upper_p_scattered(count: float, exposure: float, old: Sequence[tuple[float, float]]) -> float | None:
    """Whether a count is higher than those before; as :func:`lower_p_scattered`, seen in a mirror."""
    lower = lower_p_scattered(count - 1, exposure, old)
    return None if lower is None else 1 - lower


def lower_p_figures(new: tuple[float, float], old: tuple[float, float], freedom: tuple[int, int] | None = None) -> float | None:
    """Whether a figure is lower than another one, from both figures and the variances of their errors.

    Args:
        new: figure and variance.
        old: figure and variance.
        freedom: degrees of freedom of both variances, where they were estimated from samples (Welch); None: they are as good as
            known.
    """
    variance = new[1] + old[1]
    if variance <= 0:
        return None
    score = (new[0] - old[0]) / sqrt(variance)
    if freedom is None:
        return normal_below(score)
    return student_below(score, welch_freedom(new[1], freedom[0], old[1], freedom[1]))


def welch_freedom(new_variance: float, new_freedom: int, old_variance: float, old_freedom: int) -> float:
    """Degrees of freedom of a difference of two means whose variances were estimated on their own (Welch and Satterthwaite)."""
    below = sum(
        variance * variance / freedom
        for variance, freedom in ((new_variance, new_freedom), (old_variance, old_freedom))
        if variance > 0
    )
    return (new_variance + old_variance) ** 2 / below


def lower_p_point(points: Sequence[float], value: float) -> float | None:
    """Whether a figure is lower than earlier ones of its kind, of which only the scatter is known (t test of one more figure).

    Args:
        points: the earlier figures, three or more.
        value: the new one.
    """
    if len(points) < 3:
        return None
    mean, deviation = mean_and_scatter(points)
    if not deviation:
        return None
    return student_below((value - mean) / (deviation * sqrt(1 + 1 / len(points))), len(points) - 1)


def benjamini_hochberg(ps: Sequence[float], q: float) -> list[bool]:
    """Which of many findings stand, so that of those that stand a share ``q`` is false at most, on average.

    Args:
        ps: one probability for each test that was made, those that found nothing too.
        q: the share of false ones that is put up with.
    """
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    last = max((rank for rank, place in enumerate(order, 1) if ps[place] <= q * rank / len(ps)), default=0)
    stands = [False] * len(ps)
    for place in order[:last]:
        stands[place] = True
    return stands


def _fisher_below(successes: int, n: int, all_successes: int, every: int) -> float:
    """How often so few successes, or fewer, fall among ``n`` of ``every`` cases (hypergeometric)."""
    failures = every - all_successes
    if successes * every > n * all_successes:  # the short way round: 1 less what is above, counted from the failures' side
        return 1 - _fisher_below(n - successes - 1, n, failures, every) if successes < min(n, all_successes) else 1.0
    term = exp(_choose(all_successes, successes) + _choose(failures, n - successes) - _choose(every, n))
    total, k = 0.0, successes
    while term > total * _NEGLIGIBLE:
        total += term
        term *= k * (failures - n + k) / ((all_successes - k + 1) * (n - k + 1))
        k -= 1
    return total


def _binomial_below(successes: int, n: int, share: float) -> float:
    """How often of ``n`` events so few, or fewer, fall into a part of the time."""
    if successes > n * share:
        return 1 - _binomial_below(n - successes - 1, n, 1 - share) if successes < n else 1.0
    term = exp(_choose(n, successes) + successes * log(share) + (n - successes) * log1p(-share))
    total, k = 0.0, successes
    while term > total * _NEGLIGIBLE:
        total += term
        term *= k * (1 - share) / ((n - k + 1) * share)
        k -= 1
    return total


def _choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Lentz's evaluation of the continued fraction; it converges within some dozens of steps where it is used."""
    tiny, c = 1e-300, 1.0
    d = 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    found = d
    for m in range(1, 500):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + part * d) or tiny)
            c = (1 + part / c) or tiny
            found *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return found
