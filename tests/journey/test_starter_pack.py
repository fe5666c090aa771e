"""The packs of rules that kpid comes with: every default is there, loads, and does on written figures what it is for."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kpid.alerting.ruletests import read_suite
from kpid.commands.check import check_config
from kpid.commands.ruletest import run_tests
from kpid.config.load import load_config
from kpid.registry import load_plugins

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
PACKS = sorted(file.stem for file in (CONFIG / "rules").glob("*.yml"))
FIFTEEN = range(1, 16)
DEFAULTS: Mapping[str, tuple[str, str, int | None]] = {
    "win_rate": ("quarter", "drop > 20% vs avg(4)", 30),
    "close_rate": ("quarter", "drop > 25% vs previous", 30),
    "prospect_conversion_rate": ("quarter", "drop > 25% vs previous", 30),
    "lead_conversion_rate": ("month", "drop > 25% vs previous", 30),
    "avg_deal_size": ("month", "drop > 30% vs median(6)", 10),
    "sales_cycle_days": ("quarter", "rise > 25% vs median(4)", 10),
    "sales_velocity": ("quarter", "drop > 20% vs last_year", 10),
    "won_amount": ("quarter", "pace < 90% of target", None),
    "pipeline_coverage": ("qtd", "< 3", None),
    "pipeline_created": ("week", "drop > 30% vs avg(8)", None),
    "stage_conversion_rate": ("quarter", "'p_chart'", 30),
    "stale_deal_share": ("week", "> 20%", 10),
    "overdue_deal_share": ("day", "> 10%", 10),
    "calls_made": ("day", "'robust_z'", None),
    "meetings_held": ("day", "'robust_z'", None),
    "lead_response_time": ("week", "> 60min", 10),
    "inbound_inquiries": ("day", "drop > 40% vs avg(8 same_weekdays)", 20),
    "customer_retention_rate": ("quarter", "change < -5pp vs avg(4)", 30),
    "customer_churn_rate": ("month", "rise > 50% vs avg(6)", 30),
    "mrr_churn_rate": ("month", "rise > 50% vs avg(6)", 30),
    "revenue_concentration": ("rolling_365d", "> 40%", None),
    "cac": ("quarter", "rise > 25% vs avg(4)", 10),
    "cost_per_lead": ("month", "rise > 25% vs avg(4)", 10),
    "campaign_roi": ("quarter", "< 0%", None),
    "email_delivery_rate": ("week", "> 2%", 500),
    "email_click_rate": ("month", "drop > 30% vs avg(8)", 500),
    "email_unsubscribe_rate": ("week", "> 0.5%", 500),
    "ticket_backlog": ("day", "rise > 25% vs avg(4 same_weekdays)", None),
    "first_reply_time": ("week", "rise > 30% vs median(8)", 10),
    "resolution_time": ("week", "rise > 30% vs median(8)", 10),
    "first_contact_resolution_rate": ("week", "change < -5pp vs avg(8)", 30),
    "same_day_close_rate": ("week", "change < -10pp vs avg(8)", 30),
    "reopen_rate": ("week", "change > 5pp vs avg(8)", 30),
    "nps": ("quarter", "change < -10 points vs previous", 30),
    "csat": ("month", "< 75%", 30),
    "missing_owner_share": ("day", "> 2%", None),
    "field_completeness": ("day", "< 90%", None),
}
"""By KPI: period, a condition and the smallest sample of the rule that is on by default."""


def _rules(pack: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((CONFIG / "rules" / f"{pack}.yml").read_text(encoding="utf-8"))["rules"]
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A configuration with every pack."""
    folder = tmp_path_factory.mktemp("everything")
    told = yaml.safe_load((CONFIG / "kpid.yml").read_text(encoding="utf-8"))
    told["include"] = [str(CONFIG / part / "*.yml") for part in ("rules", "kpis", "reports")]
    (folder / "kpid.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
    return load_config(folder / "kpid.yml")


def test_every_pack_together_has_no_mistakes(everything):
    findings = check_config(everything, load_plugins())
    assert [one for one in findings if not one.ok and not one.warning] == []
    assert len(everything.config.rules) == sum(len(_rules(pack)) for pack in PACKS)


@pytest.mark.parametrize("pack", PACKS)
def test_rules_do_on_written_figures_what_they_are_for(pack):
    found = run_tests([CONFIG / "rules" / "tests" / f"{pack}.yml"], CONFIG / "kpid.yml")
    assert [(one["name"], one["differences"]) for one in found["tests"] if not one["passed"]] == []


@pytest.mark.parametrize("pack", PACKS)
def test_every_rule_is_tested_once_as_it_fires_and_once_as_it_does_not(pack):
    suite = read_suite(CONFIG / "rules" / "tests" / f"{pack}.yml")
    fires, rests = set(), set()
    for test in suite.tests:
        is_firing = any(one.kind == "fired" for one in test.notices or ()) or any(
            "firing" in text for states in test.expect.values() for text in states.values()
        )
        (fires if is_firing else rests).add(test.rule)
    judged = {rule["name"] for rule in _rules(pack)}
    assert fires == judged
    assert judged - rests <= {"win-rate-low"}  # in the same test: the second seller


@pytest.mark.parametrize("kpi", DEFAULTS)
def test_the_default_of_a_kpi_is_in_a_pack(kpi):
    period, condition, least = DEFAULTS[kpi]
    found = [rule for pack in PACKS if pack != "fifteen" for rule in _rules(pack) if rule.get("kpi") == kpi]
    fitting = [
        one for one in found if one["period"] == period and condition in str(one["warn"]) and one.get("min_sample") == least
    ]
    assert len(fitting) == 1, found


def test_openings_of_mails_are_judged_by_no_rule():
    assert [rule for pack in PACKS for rule in _rules(pack) if rule.get("kpi") == "email_open_rate"] == []


def test_fifteen_questions_are_asked_and_answered():
    text = (CONFIG / "rules" / "fifteen.yml").read_text(encoding="utf-8")
    assert [int(number) for number in re.findall(r"^  # (\d+)\. ", text, flags=re.MULTILINE)] == list(FIFTEEN)
    names = [test.name for test in read_suite(CONFIG / "rules" / "tests" / "fifteen.yml").tests]
    tested = {int(name.partition(".")[0]) for name in names}
    assert tested == set(FIFTEEN)


def test_the_sample_judges_only_what_it_can_feed():
    loaded = load_config(CONFIG / "kpid.yml")
    plain = {file.stem for file in loaded.files if file.parent.name == "rules"}
    assert plain == {"sales", "pipeline", "activity", "support", "data"}


def test_the_wheel_ships_every_piece():
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    places = shipped["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert {f"config/{part}" for part in ("kpid.yml", "init", "kpis", "rules", "reports")} <= set(places)
    assert all(place.replace("config/", "kpid/sample_config/") == target for place, target in places.items() if "config" in place)
