from __future__ import annotations

from fractions import Fraction
from math import comb, isclose, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.chances import (
    benjamini_hochberg,
    dispersion,
    lower_p_count,
    lower_p_figures,
    lower_p_point,
    lower_p_rate,
    lower_p_scattered,
    normal_below,
    rate_score,
    student_below,
    upper_p_count,
    upper_p_scattered,
    welch_freedom,
)
from kpid.analysis.stats import Z95


@pytest.mark.parametrize(
    ("new", "old", "p"),
    [
        ((60, 400), (800, 3200), 4.887e-06),  # every cell has five: z
        ((8, 40), (96, 320), 0.09416),
        ((9, 26), (151, 239), 0.002342),  # a seller's October against the months before
        ((1, 10), (30, 80), 0.07908),  # a cell below five: Fisher
        ((0, 5), (16, 40), 0.09720),
    ],
)
def test_lower_rate_has_the_p_that_was_worked_out(new: tuple[int, int], old: tuple[int, int], p: float) -> None:
    assert lower_p_rate(*new, *old) == pytest.approx(p, rel=2e-3)


def test_scores_of_rates() -> None:
    assert rate_score(60, 400, 800, 3200) == pytest.approx(-4.4221, abs=5e-5)
    assert rate_score(8, 40, 96, 320) == pytest.approx(-1.3156, abs=5e-5)


@pytest.mark.parametrize(("count", "pool", "p"), [(30, 400, 0.002579), (4, 80, 0.03651), (5, 80, 0.07879)])
def test_lower_count_given_the_pool_of_eight_periods(count: int, pool: int, p: float) -> None:
    assert lower_p_count(count, pool, 8) == pytest.approx(p, rel=5e-4)


def test_means_are_compared_as_welch_does() -> None:
    new, old = 6**2 / 12, 7**2 / 90
    assert (18 - 22) / sqrt(new + old) == pytest.approx(-2.1246, abs=5e-5)
    assert welch_freedom(new, 11, old, 89) == pytest.approx(15.293, abs=5e-4)
    assert lower_p_figures((18, new), (22, old), (11, 89)) == pytest.approx(student_below(-2.12460, 15.293), rel=1e-4)


def test_scores_of_promoters_are_compared_by_their_multinomial_variance() -> None:
    def side(promoters: int, detractors: int, n: int) -> tuple[float, float]:
        score = (promoters - detractors) / n
        return score, ((promoters + detractors) / n - score * score) / n

    p = lower_p_figures(side(45, 25, 100), side(60, 20, 100))
    assert p == pytest.approx(0.0397, abs=5e-5)
    assert p == pytest.approx(normal_below(-1.7541), rel=1e-3)


def test_false_discoveries_are_held_down_among_many() -> None:
    ps = [0.001, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.216]
    assert benjamini_hochberg(ps, 0.05) == [True, True] + [False] * 8
    assert benjamini_hochberg(ps[::-1], 0.05) == [False] * 8 + [True, True]
    assert benjamini_hochberg([0.05], 0.05) == [True]
    assert benjamini_hochberg([], 0.05) == []


@pytest.mark.parametrize(
    "found",
    [
        lower_p_rate(0, 0, 5, 10),
        lower_p_rate(0, 10, 0, 50),
        lower_p_rate(10, 10, 50, 50),
        lower_p_count(0, 0, 8),
        lower_p_figures((1, 0), (2, 0)),
        lower_p_point([1, 2], 0),
        lower_p_point([3, 3, 3], 0),
    ],
)
def test_nothing_to_test_gives_no_probability(found: float | None) -> None:
    assert found is None


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_fisher_agrees_with_counting_every_way(data: st.DataObject) -> None:
    n, old_n = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 60))
    successes, old = data.draw(st.integers(0, n)), data.draw(st.integers(0, old_n))
    p = lower_p_rate(successes, n, old, old_n)
    if p is None or min(successes, n - successes, old, old_n - old) >= 5:
        return
    every, good = n + old_n, successes + old
    ways = sum(comb(good, k) * comb(every - good, n - k) for k in range(successes + 1))
    assert isclose(p, Fraction(ways, comb(every, n)), rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 60), st.integers(0, 200), st.integers(1, 12))
def test_counts_agree_with_counting_every_way(count: int, pool: int, periods: int) -> None:
    p = lower_p_count(count, pool, periods)
    if p is None:
        assert count + pool == 0
        return
    share = Fraction(1, periods + 1)
    total = count + pool
    exact = sum(comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count + 1))
    assert isclose(p, exact, rel_tol=1e-9, abs_tol=1e-12)
    upper = upper_p_count(count, pool, periods)
    assert upper is not None
    above = sum(comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count, total + 1))
    assert isclose(upper, above, rel_tol=1e-9, abs_tol=1e-12)


def test_large_samples_are_quick_and_agree_with_the_normal_approximation() -> None:
    exact, about = lower_p_rate(4, 100_000, 20_000, 90_000), lower_p_rate(6, 100_000, 20_000, 90_000)
    assert exact is not None
    assert about is not None
    assert exact < 1e-100
    assert lower_p_count(105_000, 845_000, 8) == pytest.approx(normal_below(-1.8123), rel=5e-3)
    assert lower_p_count(1_100_000, 9_000_000, 8) == pytest.approx(0, abs=1e-80)


@pytest.mark.parametrize(
    ("t", "freedom", "p"), [(-2.570582, 5, 0.025), (0, 3, 0.5), (12.706205, 1, 0.975), (-1.984, 99.5, 0.025)]
)
def test_student(t: float, freedom: float, p: float) -> None:
    assert student_below(t, freedom) == pytest.approx(p, abs=1e-4)


def test_normal_and_student_of_many_agree() -> None:
    assert normal_below(-Z95) == pytest.approx(0.025, abs=1e-12)
    assert student_below(-Z95, 1e6) == pytest.approx(0.025, abs=1e-5)


def test_a_point_is_judged_by_the_scatter_of_others() -> None:
    points = [10, 12, 11, 13, 12, 11, 12]
    low, high = lower_p_point(points, 8), lower_p_point(points, 15)
    assert low is not None
    assert high is not None
    assert low < 0.01 < 0.99 < high


SCATTERED = [(float(count), 1.0) for count in (90, 110, 95, 105, 80, 120, 100, 100)]


def test_counts_that_scatter_more_than_poisson_are_judged_by_their_scatter() -> None:
    """Pearson's X2 is 10.5 on 7 degrees of freedom; t = (80.5 - 100) / sqrt(1.5 * 100 * 9/8) = -1.5011."""
    assert dispersion(SCATTERED) == pytest.approx(1.5)
    assert lower_p_scattered(80, 1, SCATTERED) == pytest.approx(student_below(-1.50111, 7), abs=1e-6)
    assert lower_p_scattered(80, 1, SCATTERED) == pytest.approx(0.0885, abs=5e-4)
    poisson = lower_p_count(80, 800, 8)
    assert poisson is not None
    assert poisson < 0.05


def test_higher_and_lower_are_mirrored() -> None:
    assert upper_p_scattered(120, 1, SCATTERED) == pytest.approx(lower_p_scattered(80, 1, SCATTERED))
    assert upper_p_scattered(100, 1, SCATTERED) == pytest.approx(lower_p_scattered(100, 1, SCATTERED))


def test_scatter_of_counts_of_unequal_length_is_that_about_their_rate() -> None:
    """Ten a day, whatever the number of days: no scatter at all."""
    assert dispersion([(10.0 * days, days) for days in (5, 4, 5, 3, 5, 5, 2, 5)]) == 0
    wide = [(10.0 * days + (6 if step % 2 else -6), days) for step, days in enumerate((5.0, 4.0, 5.0, 4.0, 5.0, 5.0, 4.0, 4.0))]
    assert dispersion(wide) == pytest.approx(sum(36 / (10 * days) for _, days in wide) / 7)


@pytest.mark.parametrize(
    "old", [SCATTERED[:7], [(100.0, 1.0)] * 8, [(0.0, 1.0)] * 8, [], [(0.0, 0.0)] * 8, [(99.0, 1.0), (101.0, 1.0)] * 4]
)
def test_few_counts_or_no_more_scatter_than_poisson_leave_it_to_that(old: list[tuple[float, float]]) -> None:
    assert lower_p_scattered(1, 1, old) is None
    assert upper_p_scattered(1, 1, old) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=8, max_size=20), st.integers(0, 500))
def test_scattered_counts_have_a_probability_and_less_is_rarer(counts: list[int], count: int) -> None:
    old = [(float(each), 1.0) for each in counts]
    p, fewer = lower_p_scattered(count + 1, 1, old), lower_p_scattered(count, 1, old)
    if p is None or fewer is None:
        assert (dispersion(old) or 0) <= 1
    else:
        assert 0 <= fewer <= p <= 1
