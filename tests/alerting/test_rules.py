from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from kpid.alerting.rules import meaning_of, need_of, nothing_of, plan_of
from kpid.analysis.durations import Span
from kpid.config.model import KpiSettings
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
