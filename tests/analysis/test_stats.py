"""Intervals of rates, against published examples."""

from __future__ import annotations

import pytest

from kpid.analysis.stats import newcombe, wilson


def test_wilson_interval_of_81_in_263():
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)  # Newcombe 1998, method 3


@pytest.mark.parametrize(
    ("successes", "n", "expected"), [(0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718)), (15, 148, (0.0624, 0.1605))]
)
def test_wilson_interval_of_small_samples(successes, n, expected):
    assert wilson(successes, n) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [(10, 50, (0.1124, 0.3304)), (0, 10, (0.0, 0.2775)), (9, 10, (0.5958, 0.9821)), (160, 200, (0.7391, 0.8495))],
)
def test_wilson_interval_of_the_catalogue_of_rules(successes, n, expected):
    assert wilson(successes, n) == pytest.approx(expected, abs=5e-5)


def test_newcombe_interval_of_56_in_70_against_48_in_80():
    assert newcombe((56, 70), (48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # Newcombe 1998, method 10


def test_no_cases_have_no_interval():
    assert wilson(0, 0) is None
    assert newcombe((1, 2), (0, 0)) is None
