from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.conditions import Change, Threshold, check_condition, check_levels, condition_from_text

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("text", "op", "number", "unit"),
    [
        ("< 50%", "<", "50", "%"),
        ("<50 %", "<", "50", "%"),
        (">= 1_000_000 EUR", ">=", "1000000", "EUR"),
        ("== 0", "==", "0", ""),
        ("!= -3.5", "!=", "-3.5", ""),
        ("> 4h", ">", "4", "h"),
        ("<= .5", "<=", "0.5", ""),
        ("> 30 days", ">", "30", "days"),
        ("< 40 points", "<", "40", "points"),
    ],
)
def test_threshold_is_read(text: str, op: str, number: str, unit: str) -> None:
    found = condition_from_text(text)
    assert isinstance(found, Threshold)
    assert (found.op, found.number, found.unit) == (op, Decimal(number), unit)
    assert not found.needs_previous


@pytest.mark.parametrize(
    ("text", "direction", "op", "percent"),
    [
        ("drop > 15% vs previous", "drop", ">", "15"),
        ("rise >= 2.5 % vs previous", "rise", ">=", "2.5"),
        ("DROP > 5% VS Previous", "drop", ">", "5"),
    ],
)
def test_change_is_read(text: str, direction: str, op: str, percent: str) -> None:
    found = condition_from_text(text)
    assert isinstance(found, Change)
    assert (found.direction, found.op, found.percent, found.reference) == (direction, op, Decimal(percent), "previous")
    assert found.needs_previous


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the condition is empty"),
        ("<", "ends where a number should be"),
        ("50%", "write `< 50%` or `> 50%`"),
        ("below 50%", "write `<`"),
        ("=< 3", "write `<=`"),
        ("≤ 3", "write `<=`"),
        ("= 3", "write `==`"),
        ("<< 3", "use one of < <= > >= == !="),
        ("< many", "'many' at position 3 should be a number"),
        ("< 1,200", "write `1_200`"),
        ("< 1,5", "write `1.5`"),
        ("< 1.2.3", "is not a number"),
        ("< 5 bananas", "'bananas' at position 5 is not a unit"),
        ("< 50% 60", "'60' at position 7"),
        ("< 3pp", "`change`, which is not available yet"),
        ("< 20% vs previous", "write `drop > 20% vs previous`"),
        ("drip > 15% vs previous", "did you mean `drop`?"),
        ("drop", "write `drop > 15% vs previous`"),
        ("drop 15% vs previous", "write `drop > 15% vs previous`"),
        ("drop < 15% vs previous", "compared with > or >="),
        ("drop > -15% vs previous", "is not negative"),
        ("drop > 15 vs previous", "write `drop > 15% vs previous`"),
        ("drop > 15%", "does not say compared with what: write `drop > 15% vs previous`"),
        ("drop > 15% against previous", "write `drop > 15% vs previous`"),
        ("drop > 15% vs previus", "did you mean previous?"),
        ("drop > 15% vs previous month", "nothing may follow"),
        ("drop > 15pp vs previous", "`change`, which is not available yet"),
        ("drop > 15% vs last_year", "`vs last_year` is not available yet. Available are"),
        ("drop > 15% vs avg(8)", "`vs avg` is not available yet"),
        ("pace < 90% of target", "`pace` is not available yet. Available are"),
        ("forecast < target", "`forecast` is not available yet"),
        ("change < -3pp vs previous", "`change` is not available yet"),
        ("anomaly up", "`anomaly` is not available yet"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        condition_from_text(text)
    assert says in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="<>=!%dropise vsprevu0123456789.,_-EURhx≤", max_size=30))
def test_any_text_is_a_condition_or_a_value_error(text: str) -> None:
    try:
        found = condition_from_text(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - either way is right
    else:
        assert condition_from_text(found.text) == found


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


@pytest.mark.parametrize(
    ("text", "unit", "better", "says"),
    [
        ("< 50%", "currency", "up", "such as `< 50`, or a change such as `drop > 50% vs previous`"),
        ("> 50%", "count", "down", "`rise > 50% vs previous`"),
        ("< 50", "ratio", "up", "write `< 50%`"),
        ("> 4h", "count", "down", "is a length of time"),
        ("< 4 points", "ratio", "up", "is in points"),
        ("< 1000 EUR", "count", "up", "is an amount of money"),
        ("drop > 100% vs previous", "count", "up", "can never hold"),
    ],
)
def test_condition_for_the_wrong_kind_of_kpi_gives_a_hint(text: str, unit: str, better: str, says: str) -> None:
    assert says in check_condition(condition_from_text(text), unit, better)


@pytest.mark.parametrize(
    ("text", "unit"),
    [("< 50%", "ratio"), ("< 0.5", "ratio"), ("< 1000 EUR", "currency"), ("> 30 days", "days"), ("< 30", "score"),
     ("drop > 15% vs previous", "currency"), ("rise > 300% vs previous", "count"), ("> 48h", "seconds")],
)  # fmt: skip
def test_condition_of_the_right_kind_gives_none(text: str, unit: str) -> None:
    assert check_condition(condition_from_text(text), unit, "up") == ""


@pytest.mark.parametrize(
    ("warn", "critical", "recover", "says"),
    [
        ("< 50%", "< 40%", ">= 55%", ""),
        ("< 40%", "< 50%", None, "critical must be the worse"),
        ("> 60", "> 50", None, "critical must be the worse"),
        ("drop > 20% vs previous", "drop > 10% vs previous", None, "critical must be the worse"),
        ("< 50%", None, "< 55%", "must lie on the good side"),
        ("< 50%", None, ">= 45%", "must lie on the good side"),
        ("<= 50%", None, ">= 50%", "must lie on the good side"),
        ("< 50%", None, ">= 50%", ""),
        ("> 60", "> 90", "<= 50", ""),
        ("> 60", None, "<= 70", "must lie on the good side"),
        ("< 50%", "drop > 30% vs previous", ">= 55%", ""),
    ],
)
def test_levels_and_recovery_must_fit_together(warn: str, critical: str | None, recover: str | None, says: str) -> None:
    read = [None if text is None else condition_from_text(text) for text in (warn, critical, recover)]
    found = check_levels(*read, "ratio" if "%" in warn and "vs" not in warn else "count")
    assert says in found if says else found == ""
