from __future__ import annotations

from pathlib import Path

import pytest

from kpid.commands.check_rules import rule_findings
from kpid.config.load import load_config
from kpid.model import Finding
from kpid.registry import load_plugins

PLUGINS = load_plugins()


def found(folder: Path, rule: str, kpis: str = "{}") -> list[Finding]:
    file = folder / "kpid.yml"
    file.write_text(
        "timezone: Europe/Berlin\n"
        "sources: {crm: {connector: files, path: rows}}\n"
        "receivers: {team: {notifier: mailbox, folder: mail, from: a@example.com, to: [b@example.com]}}\n"
        f"kpis: {kpis}\n"
        "rules:\n"
        f"  - {{name: x, to: [team], {rule}}}\n",
        encoding="utf-8",
    )
    return list(rule_findings(load_config(file, environ={}), PLUGINS))


@pytest.mark.parametrize(
    ("rule", "kpis", "says"),
    [
        ('kpi: won_deals, period: month, warn: "< 90% of target"', "{}", "the configuration has no target for won_deals"),
        ('kpi: won_deals, period: month, warn: "drop > 5% vs target"', "{}", "the configuration has no target for won_deals"),
        ('kpi: won_deals, period: quarter, warn: "pace < 90% of target"', "{}", "the configuration has no target for won_deals"),
        (
            'kpi: win_rate, period: week, warn: "< 90% of target"',
            "{win_rate: {target: 40%, target_period: month}}",
            "win_rate has a target per month, but the rule judges by week",
        ),
        (
            'kpi: won_deals, period: quarter, warn: "< 90% of target"',
            "{won_deals: {target: 40, target_period: month}}",
            "won_deals has a target per month, but the rule judges by quarter",
        ),
    ],
)
def test_rule_without_its_target_is_a_warning(tmp_path: Path, rule: str, kpis: str, says: str) -> None:
    [finding] = found(tmp_path, rule, kpis)
    assert finding.warning
    assert says in finding.text
    assert finding.where.endswith("kpid.yml:6")
    assert "unless a source delivers one" in finding.hint


@pytest.mark.parametrize(
    ("rule", "kpis"),
    [
        ('kpi: won_deals, period: month, warn: "< 90% of target"', "{won_deals: {target: 40, target_period: month}}"),
        ('kpi: won_deals, period: week, warn: "< 90% of target"', "{won_deals: {target: 40, target_period: month}}"),
        ('kpi: won_deals, period: quarter, warn: "pace < 90% of target"', "{won_deals: {target: 40, target_period: quarter}}"),
        (
            'kpi: won_deals, period: week, warn: "< 90% of target"',
            "{won_deals: {targets: [{period: month, value: 5, where: {owner: ada}}]}}",
        ),
        ('kpi: win_rate, period: month, by: [owner], warn: {any: ["< 20%", {kpi: won_deals, is: "< 3"}]}', "{}"),
        (
            'kpi: win_rate, period: month, warn: {any: ["< 20%", {kpi: won_deals, period: quarter, is: "pace < 90% of target"}]}',
            "{won_deals: {target: 40, target_period: quarter}}",
        ),
        ('kpi: win_rate, period: month, by: [owner], warn: {any: ["< 20%", {kpi: calls_made, is: {anomaly: down}}]}', "{}"),
        ('kpi: calls_made, period: day, per: working_day, warn: "drop > 30% vs avg(8 same_weekdays)"', "{}"),
    ],
)
def test_rule_that_fits_is_not_mentioned(tmp_path: Path, rule: str, kpis: str) -> None:
    assert found(tmp_path, rule, kpis) == []
