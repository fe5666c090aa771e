"""Own KPIs and custom fields in ``kpid check``: counted, looked at once, and used by rules like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpid.commands.check import check_config, refuse_mistakes
from kpid.config.load import load_config
from kpid.errors import ConfigError
from kpid.metrics.written import with_own_kpis
from kpid.model import Finding
from kpid.registry import Plugins, load_plugins

TOYS = Path(__file__).parents[1] / "bad_config" / "plugins"
GOOD = """
timezone: Europe/Berlin
sources:
  crm: {connector: toy, token: x0x0x0}
receivers:
  team: {notifier: box, to: [a@example.com]}
fields:
  deals.tier: {from: extra.tier, dimension: true}
  tickets.level: {from: extra.level}
kpis:
  toy_tickets: {target: 12}
  mine: {unit: ratio, formula: toy_rate / 2, target: 40%}
  big: {unit: count, sql: select closed_at as at from deals, columns: {at: instant}, measures: {n: {at: at}}}
rules:
  - {name: low, kpi: mine, period: month, by: [tier], warn: "< 50%", to: [team]}
  - {name: few, kpi: toy_rate, period: month, where: {tier: gold}, warn: "< 50%", to: [team]}
"""


def both(folder: Path, text: str) -> tuple[list[Finding], Plugins]:
    file = folder / "kpid.yml"
    file.write_text(text, encoding="utf-8")
    loaded, plugins = load_config(file), load_plugins(plugins_dir=TOYS)
    return check_config(loaded, plugins), with_own_kpis(plugins, loaded)


def test_own_kpis_are_counted_and_rules_know_them(tmp_path: Path) -> None:
    findings, plugins = both(tmp_path, GOOD)
    assert [one for one in findings if not one.ok and not one.warning] == []
    [told] = [one for one in findings if one.subject == "kpis"]
    assert told.text == "3 KPIs with settings of their own, 2 defined here: mine, big, 2 custom fields"
    assert plugins.kpis["toy_rate"].dimensions == ("owner", "region", "tier")
    assert plugins.kpis["toy_tickets"].dimensions == ("owner",)
    assert plugins.kpis["mine"].dimensions == ("owner", "region", "tier")
    assert plugins.kpis["mine"].source == "kpid.yml:12"
    rows = [(row.kind, row.name, row.state) for row in plugins.listing() if row.distribution.endswith("kpid.yml")]
    assert rows == [("kpi", "big", "ok"), ("kpi", "mine", "ok")]


def test_plugins_that_have_the_own_kpis_already_are_looked_at_once(tmp_path: Path) -> None:
    _, plugins = both(tmp_path, GOOD)
    loaded = load_config(tmp_path / "kpid.yml")
    refuse_mistakes(loaded, plugins)
    again = with_own_kpis(plugins, loaded)
    assert (again.rows, again.written) == (plugins.rows, plugins.written)
    assert {name: kpi.dimensions for name, kpi in again.kpis.items()} == {
        name: kpi.dimensions for name, kpi in plugins.kpis.items()
    }


def test_rule_on_a_broken_definition_is_one_mistake(tmp_path: Path) -> None:
    findings, _ = both(tmp_path, GOOD.replace("fields:", "logging: {}\nfields:"))
    assert not [one for one in findings if not one.ok and not one.warning]
    (tmp_path / "kpid.yml").write_text(GOOD.replace("toy_rate / 2", "toy_rat / 2"), encoding="utf-8")
    loaded = load_config(tmp_path / "kpid.yml")
    with pytest.raises(ConfigError, match="Did you mean 'toy_rate'") as caught:
        refuse_mistakes(loaded, load_plugins(plugins_dir=TOYS))
    assert "kpid.yml:12:" in str(caught.value)
    assert "there is no KPI 'mine'" not in str(caught.value)
