from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kpid.alerting.assessing import judge_slot
from kpid.alerting.outcomes import Outcome, OutcomeKind
from tests.alerting.sights import asks, of, plain, rate


def judged(text: str, values: list[Any], unit: str = "count", make: Any = plain, kind: str = "week", **more: Any) -> Outcome:
    return judge_slot(asks(unit, warn=text), [of(make, values, kind, **more)])[0]


@pytest.mark.parametrize(
    ("value", "outside", "inside"),
    [(19, True, False), (20, False, True), (30, False, True), (40, False, True), (41, True, False)],
)
def test_ends_of_a_band_lie_inside(value: int, outside: bool, inside: bool) -> None:
    assert (judged("outside 20..40", [value]).kind is OutcomeKind.BREACH) is outside
    assert (judged("inside 20..40", [value]).kind is OutcomeKind.BREACH) is inside


def test_band_of_a_rate_names_the_end_that_is_nearer() -> None:
    low = judged("outside 20%..40%", [(1, 10)], "ratio", rate)
    assert (low.kind, low.limit, low.reason) == (OutcomeKind.BREACH, Decimal("0.2"), "10.0% is outside 20%..40%")
    assert judged("outside 20%..40%", [(9, 10)], "ratio", rate).limit == Decimal("0.4")


def test_portion_of_a_target() -> None:
    found = judged("< 90% of target", [89], target=Decimal(100))
    assert (found.kind, found.limit, found.reason) == (OutcomeKind.BREACH, Decimal(90), "89.0% of the target")
    assert judged("< 90% of target", [90], target=Decimal(100)).kind is OutcomeKind.CLEAR
    assert judged("<= 90% of target", [90], target=Decimal(100)).kind is OutcomeKind.BREACH
    assert judged("< 90% of target", [1]).kind is OutcomeKind.NO_DATA


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [
        ("drop > 20% vs avg(4)", [100, 100, 100, 100, 80], OutcomeKind.CLEAR),
        ("drop >= 20% vs avg(4)", [100, 100, 100, 100, 80], OutcomeKind.BREACH),
        ("drop > 20% vs avg(4)", [100, 100, 100, 100, 79], OutcomeKind.BREACH),
        ("rise > 30% vs median(5)", [10, 10, 10, 10, 1000, 14], OutcomeKind.BREACH),
        ("rise > 0% vs max(4)", [5, 9, 7, 8, 9], OutcomeKind.CLEAR),
        ("rise > 0% vs max(4)", [5, 9, 7, 8, 10], OutcomeKind.BREACH),
        ("drop > 0% vs min(4)", [5, 9, 7, 8, 4], OutcomeKind.BREACH),
        ("drop > 20% vs avg(4)", [0, 0, 0, 0, 5], OutcomeKind.INSUFFICIENT),
    ],
)
def test_changes_against_windows(text: str, values: list[int], kind: OutcomeKind) -> None:
    assert judged(text, values).kind is kind


def test_differences_are_in_the_own_unit() -> None:
    found = judged("change < -3pp vs previous", [(50, 100), (46, 100)], "ratio", rate)
    assert (found.kind, found.reason, found.limit) == (OutcomeKind.BREACH, "4.0 points below 2026-W46", Decimal("0.47"))
    assert judged("change < -3pp vs previous", [(50, 100), (47, 100)], "ratio", rate).kind is OutcomeKind.CLEAR
    assert judged("change <= -3pp vs previous", [(50, 100), (47, 100)], "ratio", rate).kind is OutcomeKind.BREACH
    assert judged("change > 5 vs avg(4)", [10, 10, 10, 10, 16]).reason == "6 above the average of 4 weeks"
    assert judged("change > 2h vs previous", [3600, 11_000], "seconds").kind is OutcomeKind.BREACH
    assert judged("change < -5 vs previous", [-10, -20]).kind is OutcomeKind.BREACH  # nothing relative: it may be negative


def test_drop_of_a_rate_is_relative() -> None:
    found = judged("drop > 15% vs previous", [(50, 100), (42, 100)], "ratio", rate)
    assert (found.kind, found.reason) == (OutcomeKind.BREACH, "16.0% below 2026-W46")
    assert found.baseline is None  # the period before is told as `previous`
    assert found.previous == Decimal("0.5")


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [
        ("falls 3x", [9, 8, 7, 6], OutcomeKind.BREACH),
        ("falls 3x", [9, 8, 8, 6], OutcomeKind.CLEAR),
        ("falls 3x", [8, 7, 6], OutcomeKind.INSUFFICIENT),
        ("falls 3x", [9, None, 7, 6], OutcomeKind.INSUFFICIENT),
        ("rises 2x", [1, 2, 3], OutcomeKind.BREACH),
        ("slope < -2% over 6x", [100, 98, 97, 94, 93, 90], OutcomeKind.BREACH),
        ("slope < -2.1% over 6x", [100, 98, 97, 94, 93, 90], OutcomeKind.CLEAR),
        ("slope > 2% over 3x", [10, 11, 12], OutcomeKind.BREACH),
        ("slope < -2% over 6x", [98, 97, 94, 93, 90], OutcomeKind.INSUFFICIENT),
        ("slope < -2% over 3x", [0, 0, 0], OutcomeKind.INSUFFICIENT),
    ],
)
def test_trends(text: str, values: list[Any], kind: OutcomeKind) -> None:
    assert judged(text, values).kind is kind


def test_trends_say_how_they_went() -> None:
    assert judged("falls 3x", [9, 8, 7, 6]).reason == "has fallen 3 times in a row"
    assert judged("falls 3x", [9, 8, 9, 6]).reason == "has not fallen 3 times in a row"
    assert judged("slope < -2% over 6x", [100, 98, 97, 94, 93, 90]).reason == "falls by 2.0% a period over 6"


def test_segment_fires_though_the_total_is_well() -> None:
    rules = asks("ratio", warn="< 30%")
    one, others = of(rate, [(2, 10)]), of(rate, [(80, 100)])
    assert [found.kind for found in judge_slot(rules, [one, others])] == [OutcomeKind.BREACH, OutcomeKind.CLEAR]


def test_recovery_may_be_a_change_too() -> None:
    rules = asks(warn="drop > 20% vs avg(4)", recover="drop > 0% vs min(4)")
    banded = asks(warn="< 50", recover="change > 0 vs previous")
    assert judge_slot(banded, [of(plain, [60, 55])])[0].kind is OutcomeKind.HOLD
    assert judge_slot(banded, [of(plain, [55, 60])])[0].kind is OutcomeKind.CLEAR
    assert judge_slot(rules, [of(plain, [10, 10])])[0].kind is OutcomeKind.INSUFFICIENT
    gone = replace(of(plain, [55, 60]), before=[])
    assert judge_slot(banded, [gone])[0].kind is OutcomeKind.INSUFFICIENT
