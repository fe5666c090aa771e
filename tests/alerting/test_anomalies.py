from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.anomalies import Anomaly, season_of
from kpid.alerting.assessing import judge_slot
from kpid.alerting.guards import Guards
from kpid.alerting.mappings import condition_from
from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.series import Spell
from tests.alerting.sights import asks, of, periods, plain, rate

AWAITED = "enough is known from 2026-11-30 on, if figures keep coming"
USUAL = [10, 12, 11, 13, 12, 11, 12, 12]


def judged(condition: dict[str, Any], seen: Any, unit: str = "count", **given: Any) -> Outcome:
    return judge_slot(asks(unit, warn=condition, **given), [seen])[0]


@pytest.mark.parametrize(
    ("given_", "says"),
    [
        ({"anomaly": "sideways"}, "it needs its direction: write `anomaly: down`, `up` or `both`"),
        ({"anomaly": None}, "it needs its direction"),
        ({"anomaly": True}, "it needs its direction"),
        ({"anomaly": "up", "method": "zscore"}, "method: 'zscore' is not known: use one of robust_z, xmr, p_chart"),
        ({"anomaly": "up", "season": "monday"}, "season: 'monday' is not known: use one of none, weekday"),
        ({"anomaly": "up", "sensitivity": 0}, "must lie above 0"),
        ({"anomaly": "up", "sensitivity": "a lot"}, "is not a number"),
        ({"anomaly": "up", "sensitivity": 50}, "20 at most"),
        ({"anomaly": "up", "history": "2x"}, "write 8x to 1000x"),
        ({"anomaly": "up", "history": "long"}, "such as 24x, or a length of time such as 2y"),
        ({"anomaly": "up", "min_effect": "200%"}, "must lie above 0, and be 1 at most"),
    ],
)
def test_what_is_no_anomaly_is_refused_with_what_to_write(given_: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        condition_from(given_)
    assert says in str(caught.value)


def test_anomaly_is_read_with_its_defaults() -> None:
    found = condition_from({"anomaly": "down"})
    assert isinstance(found, Anomaly)
    assert (found.method, found.season, found.sensitivity, found.periods, found.side) == ("robust_z", "none", 3.5, 24, "low")
    assert found.text == "unusually low (robust_z)"
    weekly = condition_from({"anomaly": "both", "method": "xmr", "season": "week_of_year", "history": "2y", "min_effect": "10%"})
    assert (weekly.window("week"), weekly.reach("week")) == (104, 112)
    assert (weekly.least_effect, weekly.text) == (Decimal("0.1"), "unusual (xmr, by week_of_year)")
    daily = condition_from({"anomaly": "down", "season": "weekday"})
    assert (daily.window("day"), daily.reach("day")) == (84, 140)
    assert condition_from({"anomaly": "up", "history": "26w"}).window("week") == 26


@pytest.mark.parametrize("method", ["robust_z", "xmr"])
def test_value_far_from_what_is_usual_is_told_on_the_side_asked_for(method: str) -> None:
    high, low, usual = (of(plain, [*USUAL, value]) for value in (30, 2, 12))
    for direction, kinds in {"up": (True, False), "down": (False, True), "both": (True, True)}.items():
        condition = {"anomaly": direction, "method": method}
        found = [judged(condition, seen).kind is OutcomeKind.BREACH for seen in (high, low, usual)]
        assert found == [*kinds, False]


def test_reason_and_figures_say_what_is_usual() -> None:
    found = judged({"anomaly": "up", "method": "xmr"}, of(plain, [10, 12, 11, 13, 12, 11, 12, 10, 30]))
    assert found.kind is OutcomeKind.BREACH
    assert found.reason.startswith("above its usual range of ")
    assert "(middle 11.4, 8 periods)" in found.reason or "(middle 11, 8 periods)" in found.reason
    assert found.baseline is not None
    assert abs(found.baseline - Decimal("11.375")) < Decimal("0.001")
    assert found.baseline_label == "what is usual (8 periods)"
    assert found.warnings == ("what is usual rests on 8 periods only",)
    twelve = judged({"anomaly": "up"}, of(plain, [*USUAL, 11, 12, 13, 12, 30]))
    assert twelve.warnings == ()


def test_from_fewer_than_eight_figures_nothing_is_unusual() -> None:
    found = judged({"anomaly": "up"}, of(plain, [*USUAL[:7], 3000]))
    assert (found.kind, found.reason) == (
        OutcomeKind.INSUFFICIENT,
        f"7 sound earlier figures: from fewer than 8 nothing is unusual; {AWAITED}",
    )


def test_where_all_were_the_same_what_is_unusual_is_undefined() -> None:
    found = judged({"anomaly": "up"}, of(plain, [5] * 8 + [50]))
    assert (found.kind, "undefined" in found.reason) == (OutcomeKind.INSUFFICIENT, True)
    assert judged({"anomaly": "up"}, of(plain, [10] * 7 + [14, 20])).kind is OutcomeKind.BREACH


def test_old_incident_does_not_widen_the_band() -> None:
    values = [*USUAL, 90, 95, *USUAL, 30]
    seen, spans = of(plain, values), periods("week", len(values))
    condition = {"anomaly": "up", "method": "xmr"}
    assert judged(condition, seen).kind is OutcomeKind.CLEAR
    assert judged(condition, replace(seen, spells=(Spell(spans[8].start, spans[9].end),))).kind is OutcomeKind.BREACH
    assert judged(condition, replace(seen, excluded=((spans[8].start, spans[9].end),))).kind is OutcomeKind.BREACH


def test_mondays_are_compared_with_mondays() -> None:
    days = periods("day", 90)
    values = [10 + index % 3 if index % 7 == 89 % 7 else 100 + index % 3 for index in range(90)]
    assert days[-1].label == "2026-11-22"
    season = {"anomaly": "down", "season": "weekday", "history": "12x"}
    quiet = of(plain, [*values[:-1], 10], "day")
    poor_monday = replace(quiet, period=days[-7], before=days[:-7], current=plain(days[-7], 60))
    assert judged(season, quiet).kind is OutcomeKind.CLEAR
    assert judged(season, poor_monday).kind is OutcomeKind.BREACH
    assert judged({"anomaly": "down", "method": "xmr", "history": "83x"}, poor_monday).kind is OutcomeKind.CLEAR


def test_season_of_the_year_is_taken_out() -> None:
    """Decembers bring 300, other months 100: a December of 110 is bad, though months of 100 are usual."""
    months = periods("month", 47)
    december = [span for span in months if span.label.endswith("-12")]
    values = [300 + index % 5 if span in december else 100 + index % 5 for index, span in enumerate(months)]
    at = months.index(december[-1])
    seen = of(plain, values, "month")
    poor = replace(seen, period=months[at], before=months[:at], current=plain(months[at], 110))
    condition = {"anomaly": "down", "season": "month_of_year", "history": "4y"}
    assert judged(condition, poor).kind is OutcomeKind.BREACH
    assert judged({"anomaly": "down", "history": "47x"}, poor).kind is OutcomeKind.CLEAR
    assert judged(condition, replace(poor, current=plain(months[at], 301))).kind is OutcomeKind.CLEAR


def test_p_chart_widens_with_few_cases() -> None:
    condition = {"anomaly": "both", "method": "p_chart"}
    history = [(40, 100)] * 12
    few, many = of(rate, [*history, (12, 50)]), of(rate, [*history, (9, 50)])
    assert judged(condition, few, "ratio").kind is OutcomeKind.CLEAR
    found = judged(condition, many, "ratio")
    assert (found.kind, found.limit) == (OutcomeKind.BREACH, Decimal("0.192153903092"))
    assert found.p is not None
    assert found.p < 0.0027


def test_p_chart_is_corrected_for_many_series() -> None:
    condition, history = {"anomaly": "down", "method": "p_chart", "sensitivity": 2}, [(40, 100)] * 12
    alone = of(rate, [*history, (12, 50)])
    assert judge_slot(asks("ratio", warn=condition), [alone])[0].kind is OutcomeKind.BREACH
    others = [of(rate, [*history, (20, 50)])] * 30
    assert judge_slot(asks("ratio", warn=condition), [*others, alone])[-1].kind is OutcomeKind.INSUFFICIENT
    single = asks("ratio", warn=condition, guards=Guards(corrected=False))
    assert judge_slot(single, [*others, alone])[-1].kind is OutcomeKind.BREACH


def test_p_chart_keeps_its_level_among_other_conditions() -> None:
    chart = {"anomaly": "down", "method": "p_chart"}
    low = of(rate, [*[(40, 100)] * 12, (5, 50)])
    usual = of(rate, [*[(40, 100)] * 12, (20, 50)])
    both = judge_slot(asks("ratio", warn={"all": ["< 30%", chart]}), [low, usual, usual])
    assert [one.kind for one in both] == [OutcomeKind.BREACH, OutcomeKind.CLEAR, OutcomeKind.CLEAR]


def test_p_chart_of_what_is_no_share_of_cases_says_nothing() -> None:
    condition = {"anomaly": "down", "method": "p_chart"}
    assert "no shares of cases" in judged(condition, of(plain, [*USUAL, 1])).reason
    assert "it always was 0%" in judged(condition, of(rate, [(0, 50)] * 9 + [(5, 50)]), "ratio").reason


def test_smallest_effect_is_part_of_an_anomaly() -> None:
    values = [1000, 1001, 999, 1000, 1002, 998, 1000, 1001, 1010]
    assert judged({"anomaly": "up"}, of(plain, values)).kind is OutcomeKind.BREACH
    found = judged({"anomaly": "up", "min_effect": "10%"}, of(plain, values))
    assert (found.kind, found.unguarded) == (OutcomeKind.INSUFFICIENT, OutcomeKind.BREACH)


@pytest.mark.parametrize(
    ("kind", "season", "seasons"),
    [
        ("week", "week_of_year", [45, 46, 47]),
        ("month", "month_of_year", [8, 9, 10]),
        ("month", "month_of_quarter", [2, 0, 1]),
        ("quarter", "quarter_of_year", ["1", "2", "3"]),
        ("day", "weekday", [4, 5, 6]),
        ("day", "none", ["", "", ""]),
        ("week", "weekday", ["", "", ""]),
    ],
)
def test_season_of_a_period(kind: str, season: str, seasons: list[Any]) -> None:
    found = [season_of(span, season) for span in periods(kind, 3)]
    assert found == seasons


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 500), min_size=9, max_size=30), st.sampled_from(["robust_z", "xmr"]), st.integers(1, 5))
def test_breach_lies_beyond_its_limit(values: list[int], method: str, size: int) -> None:
    found = judged({"anomaly": "both", "method": method, "sensitivity": size}, of(plain, values))
    if found.kind is OutcomeKind.BREACH:
        assert found.limit is not None
        assert found.baseline is not None
        away, limit = (abs(Fraction(one) - Fraction(found.baseline)) for one in (values[-1], found.limit))
        assert away >= limit * Fraction(999, 1000)
    else:
        assert found.kind in {OutcomeKind.CLEAR, OutcomeKind.INSUFFICIENT}
