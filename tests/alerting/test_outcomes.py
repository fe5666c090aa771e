from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from kpid.alerting.assessing import RuleConditions, judge
from kpid.alerting.grammar import condition_from_text
from kpid.alerting.guards import Guards
from kpid.alerting.outcomes import Outcome, OutcomeKind, outcome_from_dump
from kpid.alerting.verdicts import exact_value
from kpid.model import Level, Measurement, MeasurementState, Period
from tests.alerting.sights import asks

NOVEMBER = Period("month", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), "2026-11")
OCTOBER = Period("month", datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), "2026-10")


def rate(won: int, closed: int, period: Period = NOVEMBER, **more: Any) -> Measurement:
    value = Decimal(won) / closed if closed else None
    state = MeasurementState.OK if closed else MeasurementState.UNDEFINED
    plain = Measurement("win_rate", period, state, value, closed, numerator=Decimal(won), denominator=Decimal(closed))
    return replace(plain, **more)


def conditions(unit: str = "ratio", min_sample: int | None = None, **texts: str) -> RuleConditions:
    return RuleConditions(unit, min_sample=min_sample, **{name: condition_from_text(text) for name, text in texts.items()})


def test_highest_breached_level_wins_and_carries_its_figures() -> None:
    rules = conditions(warn="< 50%", critical="< 40%")
    found = judge(rules, rate(3, 10), [rate(5, 10, OCTOBER)])
    assert (found.kind, found.level, found.threshold, found.limit) == (
        OutcomeKind.BREACH,
        Level.CRITICAL,
        "< 40%",
        Decimal("0.4"),
    )
    assert (found.value, found.n, found.previous, found.previous_label) == (Decimal("0.3"), 10, Decimal("0.5"), "2026-10")
    assert found.reason == "30.0% is < 40%"
    assert judge(rules, rate(45, 100), []).level is Level.WARN
    assert judge(rules, rate(50, 100), []).kind is OutcomeKind.CLEAR


def test_hold_needs_recover() -> None:
    assert judge(conditions(warn="< 50%"), rate(52, 100), []).kind is OutcomeKind.CLEAR
    banded = conditions(warn="< 50%", recover=">= 55%")
    assert judge(banded, rate(52, 100), []).kind is OutcomeKind.HOLD
    assert judge(banded, rate(52, 100), []).reason == "no longer < 50%, but 52.0% is not >= 55%"
    assert judge(banded, rate(55, 100), []).kind is OutcomeKind.CLEAR


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (MeasurementState.ERROR, OutcomeKind.ERROR),
        (MeasurementState.STALE, OutcomeKind.STALE),
        (MeasurementState.INCOMPLETE, OutcomeKind.STALE),
        (MeasurementState.UNDEFINED, OutcomeKind.NO_DATA),
        (MeasurementState.INSUFFICIENT_SAMPLE, OutcomeKind.INSUFFICIENT),
    ],
)
def test_untrusted_measurement_is_never_a_breach(state: MeasurementState, kind: OutcomeKind) -> None:
    found = judge(conditions(warn="< 50%"), rate(1, 10, state=state, reason="because"), [])
    assert (found.kind, found.level, found.reason) == (kind, Level.NONE, "because")


def test_precedence_puts_stale_before_a_thin_sample() -> None:
    found = judge(conditions(warn="< 50%", min_sample=20), rate(1, 3, state=MeasurementState.STALE), [])
    assert found.kind is OutcomeKind.STALE


def test_own_min_sample_overrules_that_of_the_kpi() -> None:
    thin = rate(1, 15, state=MeasurementState.INSUFFICIENT_SAMPLE)
    assert judge(conditions(warn="< 50%", min_sample=10), thin, []).kind is OutcomeKind.BREACH
    found = judge(conditions(warn="< 50%", min_sample=20), rate(1, 15), [])
    assert (found.kind, found.reason) == (OutcomeKind.INSUFFICIENT, "n = 15, below the rule's minimum of 20")


def test_absent_measurement_is_missing_no_data_or_error() -> None:
    rules = conditions(warn="< 50%")
    assert judge(rules, None, [], others_present=True).kind is OutcomeKind.MISSING
    assert judge(rules, None, []).kind is OutcomeKind.NO_DATA
    failed = judge(rules, None, [], failure="the warehouse was locked")
    assert (failed.kind, failed.reason) == (OutcomeKind.ERROR, "the warehouse was locked")


def test_ratio_is_compared_as_a_fraction() -> None:
    """1/3 kept with few digits is below 33.34 % and above 33.33 %, whatever its decimal says."""
    third = rate(1, 3, value=Decimal("0.3333333333"))
    assert exact_value(third) == Fraction(1, 3)
    third_of_hundred = replace(third, value=Decimal("33.3333333333"))
    assert exact_value(third_of_hundred) == Fraction(100, 3)
    assert exact_value(rate(1, 2, value=Decimal(7))) == 7  # the parts do not make up the value: the value counts
    assert judge(conditions(warn="< 50%"), rate(1, 2), []).kind is OutcomeKind.CLEAR
    assert judge(conditions(warn="<= 50%"), rate(1, 2), []).kind is OutcomeKind.BREACH


def test_drop_is_relative_to_the_period_before() -> None:
    rules = conditions("count", warn="drop > 15% vs previous")
    found = judge(rules, amount(84), [amount(100, OCTOBER)])
    assert (found.kind, found.limit, found.previous) == (OutcomeKind.BREACH, Decimal(85), Decimal(100))
    assert found.reason == "16.0% below 2026-10"
    assert judge(rules, amount(85), [amount(100, OCTOBER)]).kind is OutcomeKind.CLEAR


def amount(value: int, period: Period = NOVEMBER, **more: Any) -> Measurement:
    return replace(Measurement("deals", period, MeasurementState.OK, Decimal(value), value), **more)


@pytest.mark.parametrize(
    ("previous", "kind", "says"),
    [
        (None, OutcomeKind.INSUFFICIENT, "no earlier period"),
        (amount(0, OCTOBER), OutcomeKind.INSUFFICIENT, "2026-10 was zero"),
        (amount(-5, OCTOBER), OutcomeKind.INSUFFICIENT, "2026-10 was negative"),
        (rate(0, 0, OCTOBER), OutcomeKind.INSUFFICIENT, "nothing to compare with"),
        (amount(9, OCTOBER, state=MeasurementState.STALE), OutcomeKind.NO_DATA, "nothing to compare with"),
        (amount(9, OCTOBER, state=MeasurementState.INSUFFICIENT_SAMPLE), OutcomeKind.INSUFFICIENT, "too little to compare"),
    ],
)
def test_change_against_nothing_is_never_a_breach(previous: Measurement | None, kind: OutcomeKind, says: str) -> None:
    rules = conditions("count", warn="drop > 15% vs previous")
    found = judge(rules, amount(1), [] if previous is None else [previous])
    assert found.kind is kind
    assert says in found.reason


def test_breach_that_is_certain_counts_though_another_condition_cannot_be_judged() -> None:
    rules = conditions("count", warn="< 5", critical="drop > 50% vs previous")
    assert judge(rules, amount(3), []).level is Level.WARN
    assert judge(rules, amount(7), []).kind is OutcomeKind.INSUFFICIENT


def test_outcome_survives_the_store() -> None:
    found = judge(conditions(warn="< 50%"), rate(3, 10, warnings=("late rows",)), [rate(5, 10, OCTOBER)])
    assert outcome_from_dump(found.dump()) == found
    assert outcome_from_dump(Outcome(OutcomeKind.STALE).dump()) == Outcome(OutcomeKind.STALE)


def test_a_settled_figure_is_clear_and_says_why() -> None:
    """The target is met: there is no coverage left to fall short of."""
    settled = rate(4, 10, value=None, numerator=None, warnings=("target met",))
    outcome = judge(conditions(warn="< 300%"), settled, [])
    assert (outcome.kind, outcome.reason) == (OutcomeKind.CLEAR, "target met")


@pytest.mark.parametrize("warn", ["< 90% of target", {"all": ["drop > 5% vs avg(8)", "< 90% of target"]}])
def test_missing_data_is_not_hidden_by_too_little_of_it(warn: Any) -> None:
    """Error, stale, no data, insufficient: the first of them that holds is what people hear of."""
    rules = asks("count", critical="drop > 50% vs avg(8)", warn=warn)
    found = judge(rules, amount(7), [])
    assert (found.kind, found.reason) == (OutcomeKind.NO_DATA, "there is no target for this period")


def test_missing_data_is_not_hidden_by_a_guard() -> None:
    rules = asks("count", critical="< 90% of target", warn="< 50", guards=Guards(min_effect=Decimal("0.1")))
    assert judge(rules, amount(7), []).kind is OutcomeKind.NO_DATA
