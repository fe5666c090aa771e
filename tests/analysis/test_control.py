from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.control import (
    is_monotone,
    mean_and_scatter,
    p_limits,
    robust_limits,
    robust_z,
    seasonal,
    slope,
    standard_score,
    xmr,
)

BASELINE = [10, 12, 11, 13, 12, 11, 12]


def test_values_that_were_worked_out() -> None:
    mean, deviation = mean_and_scatter(BASELINE)
    assert (mean, deviation) == (pytest.approx(11.5714, abs=5e-5), pytest.approx(0.9759, abs=5e-5))
    assert standard_score(BASELINE, 30) == pytest.approx(18.88, abs=5e-3)
    assert robust_z(BASELINE, 30) == pytest.approx(12.141, abs=5e-4)
    limits = xmr(BASELINE)
    assert limits is not None
    assert (limits.low, limits.high) == (pytest.approx(8.0248, abs=5e-5), pytest.approx(15.1181, abs=5e-5))


def test_robust_score_falls_back_where_most_figures_are_the_same() -> None:
    assert robust_z([10] * 6 + [14], 20) == pytest.approx(13.963, abs=5e-4)
    assert robust_z([10] * 7, 20) is None
    assert robust_z([], 20) is None


def test_robust_limits_are_where_the_score_reaches_them() -> None:
    limits = robust_limits(BASELINE, 3.5)
    assert limits is not None
    assert robust_z(BASELINE, limits.low) == pytest.approx(-3.5)
    assert robust_z(BASELINE, limits.high) == pytest.approx(3.5)
    assert robust_limits([5, 5, 5], 3.5) is None


def test_limits_of_a_rate() -> None:
    limits = p_limits(0.4, 50)
    assert (limits.low, limits.high) == (pytest.approx(0.19215, abs=5e-6), pytest.approx(0.60785, abs=5e-6))
    assert p_limits(0.02, 30).low == 0
    assert p_limits(0.5, 0) == (0.5, 0.0, 1.0)


def test_slope_is_that_of_least_squares() -> None:
    found = slope([100, 98, 97, 94, 93, 90])
    assert found is not None
    assert found.step == pytest.approx(-1.9429, abs=5e-5)
    assert found.relative == pytest.approx(-0.02038, abs=5e-6)
    assert slope([1]) is None
    negative = slope([-1, -2, -3])
    assert negative is not None
    assert (negative.step, negative.relative) == (-1, None)


@pytest.mark.parametrize(
    ("values", "steps", "falls", "rises"),
    [
        ([5, 4, 3, 2], 3, True, False),
        ([9, 5, 4, 3, 2], 3, True, False),
        ([1, 5, 4, 3, 2], 4, False, False),
        ([5, 4, 4, 2], 3, False, False),
        ([1, 2, 3], 2, False, True),
        ([3, 2], 2, False, False),
    ],
)
def test_run_is_strict_and_long_enough(values: list[float], steps: int, falls: bool, rises: bool) -> None:
    assert is_monotone(values, steps, "falls") is falls
    assert is_monotone(values, steps, "rises") is rises


def test_too_few_points_have_no_limits() -> None:
    assert xmr([1]) is None
    assert standard_score([1], 2) is None
    assert standard_score([2, 2], 2) is None


def test_season_is_taken_out() -> None:
    """Mondays bring 100, Sundays 10: 60 is far too little for a Monday, though it lies between all figures."""
    points = [(day, usual + wobble) for wobble in (-2, -1, 0, 1, 2) for day, usual in (("mon", 100.0), ("sun", 10.0))]
    monday, sunday = seasonal(points, "mon", 60), seasonal(points, "sun", 11)
    assert monday is not None
    assert sunday is not None
    assert (monday.usual, sunday.usual) == (100, 10)
    low, plain = robust_z(monday.points, monday.value), robust_z(sunday.points, sunday.value)
    assert low is not None
    assert plain is not None
    assert low < -10 < -1 < plain < 1
    assert seasonal(points, "tue", 60) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.floats(-1e6, 1e6))
def test_more_is_never_less_unusual(points: list[float], value: float) -> None:
    low, high = robust_z(points, value), robust_z(points, value + 1)
    assert (low is None) == (high is None)
    if low is not None and high is not None:
        assert low <= high
