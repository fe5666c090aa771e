"""Rule tests of rules that look at more than their own figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kpid.alerting.rulechecks import RuleTester
from kpid.alerting.ruletests import read_suite
from kpid.config.model import Config
from kpid.config.times import work_calendars
from kpid.errors import ConfigError
from kpid.registry import load_plugins
from tests.alerting.world import World


@pytest.fixture
def run(tmp_path):
    calendars = work_calendars(Config.model_validate({"timezone": "Europe/Berlin"}))
    setup = replace(World(tmp_path).setup(), kpis=load_plugins().kpis, calendars=calendars)

    def running(rule, series, **expected):
        lines = "".join(f"    {key}: {value}\n" for key, value in expected.items())
        (tmp_path / "rules.yml").write_text(f"rules:\n  - {{name: it, to: [team], {rule}}}\n")
        (tmp_path / "tests.yml").write_text(
            "rules: [rules.yml]\ntests:\n  - name: it\n    rule: it\n    start: 2026-01-05\n    series:\n"
            + "".join(f"      - {{{one}}}\n" for one in series)
            + lines
        )
        (result,) = RuleTester(setup).run(read_suite(tmp_path / "tests.yml"))
        return result

    return running


def test_targets_stand_beside_the_figures(run):
    found = run(
        'kpi: won_amount, period: week, by: [owner], warn: "< 90% of target"',
        ["owner: ana, value: 95 80 80, target: 100x2 80", "owner: ben, value: 95 80 80"],
        expect="{1: {ana: ok}, 2: {ana: firing warn, ben: no_data}, 3: {ana: ok}}",
    )
    assert found.differences == ()


def test_a_running_quarter_is_judged_day_by_day(run):
    found = run(
        'kpi: won_amount, period: quarter, warn: "pace < 90% of target", start_after: 14d',
        ["value: 0x10 100x10 900x10, target: 1000"],
        expect="{1: {all: insufficient}, 12: {all: firing warn}, 25: {all: ok}}",
        notices="[{at: 10, kind: fired}, {at: 21, kind: resolved}]",
    )
    assert found.differences == ()
    assert found.lines[9].period.endswith("2026-01-14"), "a quarter to date ends with each day"


def test_the_total_is_the_series_without_a_segment(run):
    rule = 'kpi: close_rate, period: week, by: [owner], warn: "change < -10pp vs total", min_sample: 15'
    found = run(rule, ["owner: ana, value: 0.3 0.2, n: 40", "value: 0.35x2, n: 400"], expect="{1: {ana: ok}, 2: {ana: firing}}")
    assert found.differences == ()
    with pytest.raises(ConfigError, match="owner: is missing"):
        run(rule.replace("vs total", "vs previous"), ["owner: ana, value: 0.3, n: 40", "value: 0.35, n: 400"])


def test_other_kpis_of_a_condition_have_series_of_their_own(run):
    rule = 'kpi: won_deals, period: week, by: [owner], warn: {all: ["< 10", {kpi: close_rate, is: "< 25%", min_sample: 20}]}'
    found = run(
        rule,
        ["owner: ana, value: 12 8 8", "kpi: close_rate, owner: ana, value: 0.2x2 0.3, n: 40"],
        expect="{1: {ana: ok}, 2: {ana: firing}, 3: {ana: ok}}",
    )
    assert found.differences == ()
    with pytest.raises(ConfigError, match="does not look at win_rate"):
        run(rule, ["owner: ana, value: 12", "kpi: win_rate, owner: ana, value: 0.2, n: 40"])


def test_forecasts_have_days(run):
    rule = 'kpi: won_amount, period: month, warn: "forecast < target"'
    days = "period: day, start: 2025-05-01, value: 10x270"
    found = run(rule, ["value: 50 60 70x8, target: 310", days], expect="{10: {all: firing}}")
    assert "2026-01-14" in found.lines[9].period
    assert found.differences == ()
    with pytest.raises(ConfigError, match="does not look at figures of a day"):
        run('kpi: won_amount, period: month, warn: "< 10"', ["value: 50", days])
    with pytest.raises(ConfigError, match="start: 'soon' is not a day"):
        run(rule, ["value: 50", "period: day, start: soon, value: 10"])


def test_there_must_be_a_series_of_the_rule_itself(run):
    rule = 'kpi: close_rate, period: week, by: [owner], warn: "change < -10pp vs total"'
    with pytest.raises(ConfigError, match="there is no series of rule it"):
        run(rule, ["value: 0.35, n: 400"])


def test_two_series_of_one_segment_are_refused(run):
    rule = 'kpi: close_rate, period: week, by: [owner], warn: "change < -10pp vs total"'
    with pytest.raises(ConfigError, match="two series of all"):
        run(rule, ["owner: ana, value: 0.3, n: 40", "value: 0.35, n: 400", "value: 0.35, n: 400"])
