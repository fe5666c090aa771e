from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from kpid.alerting.changes import Change
from kpid.alerting.conditions import Threshold
from kpid.alerting.grammar import condition_from_text

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("op", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_operators_are_literal(op: str, below: bool, equal: bool, above: bool) -> None:
    found = condition_from_text(f"{op} 50%")
    assert isinstance(found, Threshold)
    tiny = Fraction(1, 10**30)
    assert [found.holds(value, "ratio") for value in (HALF - tiny, HALF, HALF + tiny)] == [below, equal, above]


def test_change_compares_exactly() -> None:
    drop = condition_from_text("drop > 10% vs previous")
    rise = condition_from_text("rise >= 10% vs previous")
    assert isinstance(drop, Change)
    assert isinstance(rise, Change)
    third = Fraction(1, 3)
    assert not drop.holds(third * Fraction(9, 10), third)
    assert drop.holds(third * Fraction(9, 10) - Fraction(1, 10**30), third)
    assert rise.holds(third * Fraction(11, 10), third)
    assert not rise.holds(third * Fraction(11, 10) - Fraction(1, 10**30), third)


def test_units_of_time_follow_the_kpi() -> None:
    four_hours = condition_from_text("> 4h")
    assert isinstance(four_hours, Threshold)
    assert four_hours.limit("seconds") == 14_400
    assert four_hours.limit("days") == Decimal(4) / 24
