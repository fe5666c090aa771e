"""Intervals cover what they promise, on samples that are drawn; and they agree with published values."""

from __future__ import annotations

import random
from fractions import Fraction
from math import log
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.intervals import (
    RUNGS,
    difference_interval,
    mean_interval,
    nps_interval,
    quantile_grid,
    quantile_interval,
    rate_interval,
    ratio_interval,
)
from kpid.analysis.stats import newcombe, student_t

DRAWS = 400


def _quantiles(values, fractions):
    """Empirical quantiles, linear between neighbours."""
    ranked = sorted(values)
    found = []
    for fraction in fractions:
        place = fraction * (len(ranked) - 1)
        low = int(place)
        high = min(low + 1, len(ranked) - 1)
        found.append(ranked[low] + (ranked[high] - ranked[low]) * (place - low))
    return found


def _share_covered(interval_of_draw, truth):
    inside = 0
    for _ in range(DRAWS):
        low, high = interval_of_draw()
        inside += low <= truth <= high
    return inside / DRAWS


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(10, 50, 0.1124, 0.3304), (0, 10, 0.0, 0.2775), (9, 10, 0.5958, 0.9821), (160, 200, 0.7391, 0.8495)],
)
def test_rates_have_the_intervals_of_the_check_values(successes, n, low, high):
    assert rate_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_rate_has_no_interval(successes, n):
    assert rate_interval(successes, n) is None


def test_mean_of_five_values_has_a_students_interval():
    assert mean_interval(Fraction(15), Fraction(55), 5) == pytest.approx((1.03676, 4.96324), abs=1e-5)


def test_mean_of_equal_values_is_certain_and_of_one_value_unknown():
    assert mean_interval(Fraction(30), 90.0, 10) == (3.0, 3.0)
    assert mean_interval(Fraction(3), 9.0, 1) is None


@pytest.mark.parametrize(("freedom", "expected"), [(1, 12.7062), (10, 2.2281), (11, 2.2010), (30, 2.0423), (120, 1.9799)])
def test_students_t_is_that_of_the_tables(freedom, expected):
    assert student_t(freedom) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("n", [5, 12, 60])
def test_interval_of_a_mean_covers_it(n):
    draw = random.Random(n)

    def interval():
        values = [Fraction(draw.gauss(40, 12)) for _ in range(n)]
        return mean_interval(sum(values), sum(value * value for value in values), n)

    assert 0.92 <= _share_covered(interval, 40) <= 0.98


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.5, 9), (0.5, 19), (0.5, 39), (0.5, 150), (0.9, 40), (0.9, 100), (0.25, 30)])
def test_interval_of_a_quantile_covers_it_whatever_the_spread(q, n):
    draw = random.Random(n)
    truth = NormalDist().inv_cdf(q)  # of the logarithm: the values are skewed like durations

    def interval():
        values = [draw.lognormvariate(0, 1) for _ in range(n)]
        return tuple(log(edge) for edge in quantile_interval(q, n, _quantiles(values, quantile_grid(q))))

    assert _share_covered(interval, truth) >= 0.93


def test_quantile_of_too_few_values_has_no_interval():
    grid = list(quantile_grid(0.5))
    assert quantile_interval(0.5, 5, grid) is None
    assert quantile_interval(0.5, 6, grid) == (0.0, 1.0)
    assert quantile_interval(0.9, 35, list(quantile_grid(0.9))) is None
    assert quantile_interval(0.9, 36, list(quantile_grid(0.9))) is not None


@given(st.floats(0.02, 0.98), st.integers(1, 10**7))
@settings(max_examples=200, deadline=None)
def test_quantile_intervals_enclose_the_quantile_and_shrink_with_n(q, n):
    grid = quantile_grid(q)
    assert list(grid) == sorted(set(grid))
    assert q in grid
    found = quantile_interval(q, n, grid)
    if found is not None:
        assert found[0] <= q <= found[1]
        later = quantile_interval(q, n * 17, grid)
        assert later[0] >= found[0]
        assert later[1] <= found[1]


def test_large_samples_use_the_last_rung():
    grid = quantile_grid(0.5)
    assert quantile_interval(0.5, 10**9, grid) == quantile_interval(0.5, RUNGS[-1], grid)


def test_score_of_the_example_has_a_margin_of_about_fourteen_points():
    low, high = nps_interval(20, 30, 100)
    assert low == pytest.approx(-23.24, abs=0.01)
    assert high == pytest.approx(3.82, abs=0.01)


def test_unanimous_answers_are_not_certain():
    low, high = nps_interval(10, 0, 10)
    assert high == 100
    assert 30 < low < 60


@pytest.mark.parametrize(("promoters", "detractors", "n"), [(0, 0, 0), (3, 3, 5), (-1, 0, 5)])
def test_what_is_no_survey_has_no_interval(promoters, detractors, n):
    assert nps_interval(promoters, detractors, n) is None


@pytest.mark.parametrize("n", [12, 40, 200])
def test_interval_of_the_score_covers_it(n):
    draw = random.Random(n)

    def interval():
        answers = draw.choices((1, 0, -1), (0.45, 0.3, 0.25), k=n)
        return nps_interval(answers.count(1), answers.count(-1), n)

    assert _share_covered(interval, 20) >= 0.92


def test_interval_of_a_ratio_of_sums_covers_it():
    draw = random.Random(4)

    def interval():
        amounts = [Fraction(draw.randint(100, 900)) for _ in range(150)]
        won = [amount if draw.random() < 0.3 else Fraction(0) for amount in amounts]
        squares = (sum(x * x for x in won), sum(y * y for y in amounts))
        return ratio_interval(sum(won), sum(amounts), squares, sum(x * y for x, y in zip(won, amounts, strict=True)), 150)

    assert 0.91 <= _share_covered(interval, 0.3) <= 0.985


def test_ratio_over_nothing_has_no_interval():
    assert ratio_interval(Fraction(1), Fraction(0), (1.0, 0.0), 0.0, 5) is None
    assert ratio_interval(Fraction(1), Fraction(2), (1.0, 4.0), 2.0, 1) is None


def test_difference_of_two_rates_has_newcombes_interval():
    sides = [(successes / n, *rate_interval(successes, n)) for successes, n in ((56, 70), (48, 80))]
    assert difference_interval(*sides) == pytest.approx(newcombe((56, 70), (48, 80)))
