from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kpid.commands.check import check_config, connect_checks
from kpid.config.load import Loaded, load_config
from kpid.errors import AuthError
from kpid.model import Finding
from kpid.registry import Plugins, load_plugins

TOYS = Path(__file__).parents[1] / "bad_config" / "plugins"
GOOD = """\
timezone: Europe/Berlin
sources:
  crm: {connector: toy, token: x0x0x0}
receivers:
  team: {notifier: box, to: [a@example.com]}
kpis:
  toy_rate: {target: 25%, params: {mode: plain}}
rules:
  - name: low
    kpi: toy_rate
    period: month
    by: [owner]
    where: {region: EMEA}
    warn: "< 50%"
    critical: "< 40%"
    recover: ">= 55%"
    to: [team]
reports:
  weekly: {report: toy_report, every: mon 07:30, to: [team]}
"""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(plugins_dir=TOYS)


def load(folder: Path, text: str) -> Loaded:
    (folder / "kpid.yml").write_text(text)
    return load_config(folder / "kpid.yml", environ={})


def wrong(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if not finding.ok and finding.subject != "plugins"]


def test_good_configuration_gives_only_good_findings(tmp_path: Path, plugins: Plugins) -> None:
    findings = check_config(load(tmp_path, GOOD), plugins)
    assert wrong(findings) == []
    assert {"configuration", "sources", "receivers", "kpis", "rules", "reports", "data", "templates"} <= {
        f.subject for f in findings
    }


def test_all_mistakes_are_found_in_one_go(tmp_path: Path, plugins: Plugins) -> None:
    text = GOOD.replace("token: x0x0x0", "tokn: x").replace("mode: plain", "mode: fast").replace("[owner]", "[ownr]")
    text = text.replace("< 40%", "< 60%").replace("EMEA}", "EMEA, size: big}")
    found = wrong(check_config(load(tmp_path, text), plugins))
    assert [finding.where.rpartition(":")[2] for finding in found] == ["3", "3", "7", "12", "13", "15"]
    assert all(finding.where.startswith(str(tmp_path)) for finding in found)
    assert [finding.subject for finding in found] == ["sources", "sources", "kpis", "rule low", "rule low", "rule low"]


def test_dimension_named_twice_is_found(tmp_path: Path, plugins: Plugins) -> None:
    found = wrong(check_config(load(tmp_path, GOOD.replace("[owner]", "[owner, owner]")), plugins))
    assert [finding.text for finding in found] == ["by: names a dimension twice"]


def test_kpi_that_no_source_feeds_is_a_warning(tmp_path: Path, plugins: Plugins) -> None:
    text = GOOD.replace("kpi: toy_rate", "kpi: toy_tickets").replace("    where: {region: EMEA}\n", "")
    text = text.replace('"< 50%"', '"> 50"').replace('"< 40%"', '"> 90"').replace('">= 55%"', '"< 40"')
    found = wrong(check_config(load(tmp_path, text), plugins))
    assert [(finding.warning, finding.text) for finding in found] == [(True, "no source brings tickets: it will have no value")]
    assert found[0].where == f"{tmp_path}/kpid.yml:10"


def test_broken_plugin_that_nothing_names_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text((TOYS / "toy.py").read_text())
    (tmp_path / "sick.py").write_text("1/0")
    findings = check_config(load(tmp_path, GOOD), load_plugins(plugins_dir=tmp_path))
    sick = [finding for finding in findings if "sick" in finding.text]
    assert [(finding.ok, finding.warning) for finding in sick] == [(False, True)]
    assert sick[0].text == "sick could not be loaded: ZeroDivisionError: division by zero"


def test_source_that_fails_to_say_what_it_reads_is_found(tmp_path: Path) -> None:
    text = (TOYS / "toy.py").read_text().replace('return [EntityReads("deals")]', 'raise KeyError("deals")')
    (tmp_path / "toy.py").write_text(text)
    found = wrong(check_config(load(tmp_path, GOOD), load_plugins(plugins_dir=tmp_path)))
    assert [finding.text for finding in found] == ["source crm cannot say what it reads: KeyError: 'deals'"]


def test_templates_are_checked_by_what_renders_them(tmp_path: Path, plugins: Plugins) -> None:
    bad = Finding("template weekly.html.j2", False, "no such variable", "Look at line 3")
    loaded = load(tmp_path, GOOD)
    assert wrong(check_config(loaded, plugins, check_templates=lambda: [bad, Finding("t", True, "fine")])) == [bad]


@dataclass
class Running:
    """As much of an app as the checks touch: a real configuration, real plugins."""

    loaded: Loaded
    notifiers: Mapping[str, Any]
    connectors: Mapping[str, Any]

    @property
    def config(self) -> Any:
        return self.loaded.config

    @contextmanager
    def connector(self, name: str) -> Iterator[Any]:
        yield self.connectors[name]


def test_connect_checks_ask_everybody_and_survive_each(tmp_path: Path, plugins: Plugins) -> None:
    loaded = load(tmp_path, GOOD.replace("x0x0x0}", "x0x0x0}\n  old: {connector: toy, token: y0y0y0}"))

    class Refused(plugins.connectors["toy"].connector):
        def check(self) -> list[Finding]:
            raise AuthError("the token was refused", hint="Make a new one")

    kind = plugins.connectors["toy"].connector
    app = Running(loaded, {"team": plugins.notifiers["box"](None, None)}, {"crm": kind(None, None), "old": Refused(None, None)})
    findings = connect_checks(app)
    assert [(finding.subject, finding.ok, finding.text) for finding in findings] == [
        ("toy", True, "reachable"),
        ("source old", False, "the token was refused"),
        ("receiver team", False, "its check failed: RuntimeError: the box is shut"),
    ]
    assert findings[1].hint == "Make a new one"
    assert findings[1].where == f"{tmp_path}/kpid.yml:4"
