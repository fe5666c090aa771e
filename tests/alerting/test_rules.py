from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kpid.alerting.baselines import Terms
from kpid.alerting.guards import Guards
from kpid.alerting.mappings import Composite
from kpid.alerting.rules import meaning_of, need_of, needs_of, nothing_of, plan_of
from kpid.analysis.durations import Span
from kpid.config.model import KpiSettings, Rule
from kpid.errors import ConfigError
from kpid.model import Level
from kpid.plugin.entities import deals
from kpid.plugin.kpi import At, Definition, Measure, Param, mean
from tests.alerting.world import DEALS, WIN_RATE, rule


def test_plan_reads_the_whole_rule() -> None:
    written = rule(critical="< 20%", recover=">= 27%", keep_firing_for="10d", settle="72h", min_sample=20,
                   no_data={"do": "fire", "after": "1x", "level": "critical"}, expire_after="5x", **{"for": "2x"})  # fmt: skip
    plan = plan_of(written, WIN_RATE)
    assert plan.policy.for_ == Span(periods=2)
    assert plan.policy.keep == Span(length=timedelta(days=10))
    assert plan.policy.expire_after == Span(periods=5)
    assert (plan.policy.no_data, plan.policy.no_data_level) == ("fire", Level.CRITICAL)
    assert (plan.settle, plan.conditions.min_sample, plan.conditions.kpi_unit) == (timedelta(hours=72), 20, "ratio")
    assert plan.reach == 0


def test_settle_of_the_kpi_holds_where_the_rule_says_nothing() -> None:
    assert plan_of(rule(), replace(WIN_RATE, settle="12h")).settle == timedelta(hours=12)


def test_unreadable_condition_names_the_rule() -> None:
    with pytest.raises(ConfigError, match="rule win-rate-low: 'lower': 'lower' at position 1"):
        plan_of(rule(warn="lower"), WIN_RATE)


def test_unit_may_follow_from_a_parameter() -> None:
    def define(params: object) -> Definition:
        assert isinstance(params, dict)
        share = Definition(WIN_RATE.definition({}).measures, lambda m: m.won / m.closed)
        return share if params["as"] == "share" else replace(share, unit="count")

    kpi = replace(WIN_RATE, define=define, params={"as": Param(("share", "count"))})
    assert plan_of(rule(), kpi).conditions.kpi_unit == "ratio"
    assert plan_of(rule(params={"as": "count"}), kpi).conditions.kpi_unit == "count"
    settings = KpiSettings.model_validate({"params": {"as": "count"}})
    assert plan_of(rule(), kpi, settings).conditions.kpi_unit == "count"


def test_need_reaches_back_far_enough() -> None:
    need = need_of(rule(catch_up=10, where={"team": ["b", "a"]}), WIN_RATE)
    assert (need.kpi, need.period, need.by, need.where) == ("win_rate", "week", ("owner",), (("team", ("b", "a")),))
    assert need.periods >= 13
    rolling = rule(period="rolling_90d", warn="drop > 15% vs previous")
    assert need_of(rolling, WIN_RATE).periods >= 100
    assert need_of(rule(period="rolling_90d"), WIN_RATE).periods < 20


@pytest.mark.parametrize(
    "change",
    [{"kpi": "deals"}, {"warn": "< 24%"}, {"critical": "< 20%"}, {"recover": ">= 30%"}, {"by": ["team"]}, {"period": "month"},
     {"where": {"team": ["a"]}}, {"params": {"a": "b"}}, {"min_sample": 5}, {"for": "2x"}, {"keep_firing_for": "1x"}],
)  # fmt: skip
def test_meaning_changes_with_what_is_judged(change: dict[str, object]) -> None:
    assert meaning_of(rule()) != meaning_of(rule(**change))


@pytest.mark.parametrize(
    "change",
    [{"summary": "x"}, {"runbook": "https://example.com"}, {"to": ["others"]}, {"labels": {"a": "b"}}, {"warn": " <  25%"},
     {"catch_up": 3}, {"settle": "1d"}, {"id": "x"}],
)  # fmt: skip
def test_meaning_does_not_change_with_words_and_receivers(change: dict[str, object]) -> None:
    assert meaning_of(rule()) == meaning_of(rule(**change))


def test_value_of_nothing_is_zero_for_counts_only() -> None:
    assert nothing_of(DEALS.definition({})) == Decimal(0)
    assert nothing_of(WIN_RATE.definition({})) is None
    average = Measure(deals, At(deals.c.closed_at), mean(deals.c.amount))
    assert nothing_of(Definition({"m": average}, lambda m: m.m)) is None


@pytest.mark.parametrize(
    ("given", "meaning"),
    [
        ({"name": "win-rate-low", "kpi": "win_rate", "period": "month", "by": ["owner"], "warn": "< 35%", "critical": "< 28%",
          "recover": ">= 38%", "min_sample": 20, "to": ["team"]},
         "0c30f63d5193a47467eb59bcd6fe1cac0889450c1f1157151b3ac1faf123b0cc"),
        ({"name": "calls-down", "kpi": "calls_made", "period": "week", "by": ["team"], "warn": "drop > 25% vs previous",
          "for": "2x", "to": ["team"]},
         "4f00a214b2d21731e4d49d187cb92ab6c5ec330a572eaefe1a0d61efb514ed71"),
        ({"name": "backlog-high", "kpi": "ticket_backlog", "period": "week", "warn": "> 60", "critical": "> 90",
          "recover": "<= 50", "to": ["team"]},
         "9862c2c6a9682b8fe5eb8f088a2864264beedc1a0feef67d3696da1e38526352"),
    ],
)  # fmt: skip
def test_meaning_of_rules_from_before_guards_stays_the_same(given: dict[str, object], meaning: str) -> None:
    """Otherwise every alert that fires during an upgrade would be judged anew."""
    assert meaning_of(Rule.model_validate(given)) == meaning


@pytest.mark.parametrize(
    "change",
    [{"significance": "5%"}, {"min_effect": "10%"}, {"correct": "none"}, {"disjoint": True}, {"baseline": 12},
     {"per": "working_day"}, {"align": "working_days"}, {"start_after": "2w"}, {"warn": {"anomaly": "down"}}],
)  # fmt: skip
def test_meaning_changes_with_the_guards(change: dict[str, object]) -> None:
    assert meaning_of(rule()) != meaning_of(rule(**change))


def test_order_of_a_mapping_means_nothing() -> None:
    one = rule(warn={"anomaly": "down", "season": "week_of_year"})
    assert meaning_of(one) == meaning_of(rule(warn={"season": "week_of_year", "anomaly": "down"}, recheck="3x"))


def test_absence_has_a_meaning_of_its_own() -> None:
    def late(after: str) -> Rule:
        return Rule.model_validate({"name": "silent", "absence": {"source": "all", "after": after}, "to": ["ops"]})

    assert meaning_of(late("2x")) != meaning_of(late("3x"))


def test_plan_carries_the_guards() -> None:
    plan = plan_of(rule(significance="5%", min_effect="10%", correct="none", disjoint=True, baseline=12), WIN_RATE)
    assert plan.guards == Guards(Decimal("0.05"), Decimal("0.1"), corrected=False, disjoint=True, baseline=12)
    assert plan.reach == 24
    assert plan_of(rule(), WIN_RATE).reach == 0
    assert plan.conditions.better == "up"


def test_no_data_is_kept_by_default() -> None:
    assert plan_of(rule(), WIN_RATE).policy.no_data == "keep"
    assert plan_of(rule(), WIN_RATE).policy.no_data_after == Span(periods=2)


@pytest.mark.parametrize(
    ("warn", "period", "more"),
    [
        ("drop > 5% vs avg(8)", "week", 15),
        ("drop > 5% vs last_year", "month", 12),
        ("drop > 5% vs avg(2)", "rolling_90d", 4 * 90),
        ({"anomaly": "down", "history": "2y"}, "week", 111),
        ("drop > 5% vs previous", "week", 0),
        ("falls 4x", "week", 3),
    ],
)
def test_history_reaches_back_as_far_as_a_condition_looks(warn: object, period: str, more: int) -> None:
    plain = need_of(rule(period=period), WIN_RATE).periods
    assert need_of(rule(period=period, warn=warn), WIN_RATE).periods == plain + more


def test_running_period_is_judged_by_its_to_date_twin() -> None:
    written = rule(kpi="deals", period="quarter", by=[], warn="pace < 90% of target")
    plan = plan_of(written, DEALS)
    assert (plan.period, plan.need.period, plan.needs_targets, plan.days) == ("qtd", "qtd", True, None)
    ahead = plan_of(rule(kpi="deals", period="quarter", warn="forecast < target"), DEALS)
    assert ahead.days is not None
    assert (ahead.days.period, ahead.days.by, ahead.days.periods >= 7 * 92) == ("day", ("owner",), True)
    seasonal = KpiSettings.model_validate({"target": 640, "target_curve": "seasonal"})
    assert plan_of(written, DEALS, seasonal).days is not None
    assert [need.period for need in needs_of(written, DEALS, seasonal)][:2] == ["qtd", "day"]


def test_total_is_measured_where_a_condition_compares_with_it() -> None:
    plan = plan_of(rule(where={"team": ["a"]}, warn="change < -10pp vs total"), WIN_RATE)
    assert plan.total == replace(plan.need, by=())
    assert plan.total in needs_of(plan.rule, WIN_RATE)
    assert plan_of(rule(), WIN_RATE).total is None


def test_conditions_on_other_kpis_get_families_of_their_own() -> None:
    member = {"kpi": "deals", "period": "month", "is": "drop > 5% vs previous", "min_sample": 5}
    written = rule(warn={"any": ["< 25%", member]}, critical={"all": ["< 20%", member]})
    plan = plan_of(written, WIN_RATE, kpis={"win_rate": WIN_RATE, "deals": DEALS})
    assert [(need.kpi, need.period, need.by) for need in plan.members] == [("deals", "month", ("owner",))]
    assert plan.members[0] in needs_of(written, WIN_RATE)
    for condition in (plan.conditions.warn, plan.conditions.critical):
        assert isinstance(condition, Composite)
        assert (condition.members[1].place, condition.members[1].terms) == (0, Terms("count", 5, "up", adds_up=True))
    with pytest.raises(ConfigError, match="there is no KPI 'deals'"):
        plan_of(written, WIN_RATE, kpis={"win_rate": WIN_RATE})


@pytest.mark.parametrize(
    ("text", "period", "count"), [("2x", "week", 2), ("0x", "week", 0), ("15d", "week", 3), ("36h", "day", 2)]
)
def test_restated_window_is_a_number_of_periods(text: str, period: str, count: int) -> None:
    assert plan_of(rule(recheck=text, period=period), WIN_RATE).recheck == count


def test_sample_of_a_count_is_expected_only_where_it_is_compared() -> None:
    assert plan_of(rule(kpi="deals", warn="drop > 5% vs avg(8)"), DEALS).conditions.expects_sample
    assert not plan_of(rule(kpi="deals", warn="< 5"), DEALS).conditions.expects_sample
    assert not plan_of(rule(warn="drop > 5% vs avg(8)"), WIN_RATE).conditions.expects_sample
