"""Exact arithmetic of formulas."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.plugin.quantity import Quantity, Values, decimal_from_fraction

numbers = st.integers(-10_000, 10_000)


def test_ratio_keeps_what_it_divided():
    rate = Quantity(4238) / Quantity(6711)
    assert (rate.numerator, rate.denominator, rate.is_ratio) == (4238, 6711, True)
    assert rate.value == Decimal("0.6315005215318134406198778125")


def test_constant_factor_scales_and_leaves_the_people_counted():
    nps = 100 * (Quantity(20) - Quantity(30)) / Quantity(100)
    assert (nps.value, nps.numerator, nps.denominator) == (-10, -10, 100)


def test_division_by_zero_is_undefined_and_says_what_is_missing():
    rate = Quantity(0) / Quantity(0, label="closed deals")
    assert (rate.value, rate.numerator, rate.denominator, rate.reason) == (None, None, None, "no closed deals")
    assert Quantity(0, 0, label="won deals").reason == "no won deals"
    assert (Quantity(1) / 0).reason == "division by zero"


@pytest.mark.parametrize(
    "use", [lambda q: q + 1, lambda q: 1 - q, lambda q: q * 2, lambda q: 2 / q, lambda q: q / q, lambda q: -q]
)
def test_undefined_stays_undefined_with_its_reason(use):
    result = use(Quantity(None, reason="no answers"))
    assert (result.value, result.reason) == (None, "no answers")


@given(numbers, numbers, numbers.filter(bool), numbers.filter(bool))
@settings(max_examples=60, deadline=None)
def test_arithmetic_is_that_of_fractions(a, b, c, d):
    left, right = Quantity(a) / Quantity(c), Quantity(b) / Quantity(d)
    x, y = Fraction(a, c), Fraction(b, d)
    assert (left + right).exact == x + y
    assert (left - right).exact == x - y
    assert (left * right).exact == x * y
    assert (3 * left / 7 - 2).exact == 3 * x / 7 - 2
    if b:
        assert (left / right).exact == x / y


@given(st.fractions(max_denominator=10**6))
@settings(max_examples=60, deadline=None)
def test_decimal_has_28_digits(number):
    assert abs(Fraction(decimal_from_fraction(number)) - number) <= abs(number) / 10**27


def test_decimal_of_a_whole_number_has_no_exponent():
    assert str(decimal_from_fraction(Fraction(1000))) == "1000"
    assert str(decimal_from_fraction(Fraction(1, 4))) == "0.25"


def test_values_are_reached_by_name_and_tell_which_there_are():
    values = Values({"won": Quantity(1), "all": Quantity(2)})
    assert (values.won / values["all"]).value == Decimal("0.5")
    assert (len(values), list(values)) == (2, ["won", "all"])
    with pytest.raises(AttributeError, match="no measure 'lost'; there are won, all"):
        _ = values.lost
