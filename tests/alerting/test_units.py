"""Figures that are told together are in one unit: those of one KPI, and for as many working days."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from kpid.alerting.assessing import judge_slot
from kpid.alerting.baselines import Terms
from kpid.alerting.guards import Guards
from kpid.alerting.mappings import Composite, condition_from
from kpid.alerting.outcomes import Outcome, OutcomeKind
from tests.alerting.sights import asks, of, plain, rate


def of_another(text: str, figures: list[Any], **more: Any) -> Outcome:
    """A rule on a count of 4, with a condition on the rate of another KPI."""
    found = condition_from({"any": ["> 500", {"kpi": "win_rate", "is": text}]})
    assert isinstance(found, Composite)
    bound = replace(found, members=(found.members[0], replace(found.members[1], place=0, terms=Terms("ratio"))))
    seen = replace(of(plain, [3, 4]), members=(of(rate, figures),))
    return judge_slot(replace(asks("count", warn="> 500", **more), warn=bound), [seen])[0]


def test_limit_and_baseline_of_another_kpi_are_not_told_as_those_of_this_one() -> None:
    found = of_another("drop > 20% vs previous", [(50, 100), (30, 100)])
    assert (found.kind, found.reason) == (OutcomeKind.BREACH, "win_rate: 40.0% below 2026-W46")
    assert (found.value, found.limit, found.baseline, found.effect) == (Decimal(4), None, None, None)
    assert of_another("< 40%", [(50, 100), (30, 100)]).limit is None


def per_day(warn: Any, values: list[Any], unit: str = "count", **more: Any) -> Outcome:
    return judge_slot(asks(unit, warn=warn, per_day=True, adds_up=True, **more), [of(plain, values)])[0]


@pytest.mark.parametrize(
    ("warn", "limit", "baseline"),
    [("drop > 30% vs avg(8)", 70, 100), ("change < -4 vs previous", 80, None), ("drop > 20% vs previous", 80, None)],
)
def test_per_working_day_limit_and_baseline_are_those_of_as_many_days(warn: str, limit: int, baseline: int | None) -> None:
    """What is usual is 20 a day: 100 for the five days of this week."""
    found = per_day(warn, [100] * 8 + [60])
    assert (found.kind, found.value, found.limit, found.baseline) == (OutcomeKind.BREACH, 60, limit, baseline)
    if baseline is not None:
        assert found.baseline_label == "the average of 8 weeks, for as many working days"


def test_threshold_per_working_day_is_told_per_working_day() -> None:
    found = per_day("< 15", [100, 60])
    assert (found.kind, found.reason, found.limit) == (OutcomeKind.BREACH, "12 per working day is < 15", Decimal(75))


def test_what_may_be_bad_on_both_sides_is_tested_on_both() -> None:
    """A figure outside a band is tested on its side; of one that is bad anywhere chance has twice the room."""
    guards = Guards(significance=Decimal("0.05"))
    values = [(50, 100)] * 8 + [(41, 100)]
    one = judge_slot(asks("ratio", warn="< 45%", guards=guards), [of(rate, values)])[0]
    both = judge_slot(asks("ratio", warn="!= 50%", guards=guards), [of(rate, values)])[0]
    assert one.p is not None
    assert both.p == pytest.approx(2 * one.p, abs=2e-6)
    assert (one.kind, both.kind) == (OutcomeKind.BREACH, OutcomeKind.INSUFFICIENT)
