"""Conditions as people say them: each form of the grammar, and what is none of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpid.alerting.mappings import condition_from
from kpid.analysis.condition_words import condition_text

SAID = {
    "< 40%": "below 40%",
    ">=55%": "at or above 55%",
    "> 30 days": "above 30 days",
    "outside 20%..40%": "outside 20% to 40%",
    "< 90% of target": "below 90% of the target",
    ">= 110% of benchmark": "at or above 110% of the benchmark",
    "pace < 75% of target": "a pace below 75% of the target",
    "forecast < target": "a forecast below the target",
    "forecast < 90% of target with 80%": "a forecast below 90% of the target, 80% sure",
    "drop > 15% vs previous": "more than 15% below the period before",
    "rise >= 30% vs median(8)": "at least 30% above the median of 8 periods",
    "drop > 30% vs avg(8 same_weekdays)": "more than 30% below the average of 8 same weekdays",
    "drop > 20% vs last_year": "more than 20% below the same period last year",
    "change < -10pp vs avg(8)": "more than 10 pp below the average of 8 periods",
    "change >= 5 points vs previous": "at least 5 points above the period before",
    "change > -3pp vs total": "a change of above -3 pp from the total",
    "falls 4x": "falling 4 times in a row",
    "rises 3x": "rising 3 times in a row",
    "slope < -2% over 6x": "a slope below -2% a period over 6 periods",
    "something else": "something else",
    "": "",
}


@pytest.mark.parametrize("condition", SAID)
def test_condition_text_spells_the_condition(condition: str) -> None:
    assert condition_text(condition) == SAID[condition]


@pytest.mark.parametrize("condition", [text for text in SAID if text not in {"", "something else"}])
def test_what_is_spelt_is_what_may_be_written(condition: str) -> None:
    assert condition_text(condition_from(condition).text) == SAID[condition]


@pytest.mark.parametrize(
    ("condition", "unit", "said"),
    [
        ("< 3", "times", "below 3×"),
        ("> 45.5", "days", "above 45.5 days"),
        (">= 412_345", "currency", "at or above €412,345"),
        ("< -0.25", "currency", "below −€0.25"),
        ("> 90", "seconds", "above 90 s"),
        ("> 1_200", "count", "above 1,200"),
        ("< 0.405", "ratio", "below 40.5%"),
        ("outside 2..3.5", "times", "outside 2× to 3.5×"),
        ("< 3 or win_rate < 2", "times", "below 3× or win_rate below 2"),
        ("< 40%", "ratio", "below 40%"),
        ("falls 3x", "times", "falling 3 times in a row"),
        ("< 2..3", "times", "below 2..3"),
    ],
)
def test_bare_numbers_get_the_unit_of_the_kpi(condition: str, unit: str, said: str) -> None:
    assert condition_text(condition, unit, "EUR") == said


@given(st.text(max_size=80))
def test_any_text_gives_a_text(condition: str) -> None:
    assert isinstance(condition_text(condition), str)
    assert isinstance(condition_text(condition, "currency", "EUR"), str)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"any": ["drop > 30% vs median(6)", "rise > 30% vs median(6)"]},
            "more than 30% below the median of 6 periods or more than 30% above the median of 6 periods",
        ),
        ({"all": ["< 20%", "drop > 15% vs previous"]}, "below 20% and more than 15% below the period before"),
        (
            {"any": ["rise > 0% vs max(12)", {"kpi": "customer_retention_rate", "is": "< 60%"}]},
            "more than 0% above the highest of 12 periods or customer_retention_rate below 60%",
        ),
        ({"all": ["< 20%", "falls 3x", "> 5%"]}, "below 20% and falling 3 times in a row and above 5%"),
    ],
)
def test_each_of_several_conditions_is_spelt(given: dict[str, list[object]], said: str) -> None:
    assert condition_text(condition_from(given).text) == said


def test_and_in_a_text_of_another_kind_joins_nothing() -> None:
    assert condition_text("early and often") == "early and often"
