from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kpid.app import App, open_app
from kpid.commands.check import check_config, connect_checks, refuse_mistakes
from kpid.config.load import Loaded, load_config
from kpid.config.problems import ConfigErrors
from kpid.model import Finding
from kpid.registry import Plugins, load_plugins
from kpid.testing import FakeClock

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


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    own = tmp_path / "plugins"
    own.mkdir()
    text = (TOYS / "toy.py").read_text()
    (own / "toy.py").write_text(text)
    refusing = text.replace('name = "toy"', 'name = "toy2"').replace('return [Finding("toy", True, "reachable")]', REFUSE)
    refusing = refusing.replace("    EntityReads,", "    AuthError,\n    EntityReads,")
    (own / "toy2.py").write_text(refusing.partition("@hookimpl\ndef kpid_notifiers")[0])
    load(tmp_path, GOOD.replace("x0x0x0}", "x0x0x0}\n  old: {connector: toy2, token: y0y0y0}") + "plugins_dir: plugins\n")
    opened = open_app(tmp_path / "kpid.yml", FakeClock(), warehouse="none")
    yield opened
    opened.close()


REFUSE = 'raise AuthError(f"the token {self.settings.token.get_secret_value()} was refused", hint="Make a new one")'


def test_connect_checks_ask_everybody_and_survive_each(app: App, tmp_path: Path) -> None:
    findings = connect_checks(app)
    assert [(finding.subject, finding.ok, finding.text) for finding in findings] == [
        ("toy", True, "reachable"),
        ("source old", False, "the token *** was refused"),
        ("receiver team", False, "its check failed: RuntimeError: the box is shut"),
    ]
    assert findings[1].hint == "Make a new one"
    assert findings[1].where == f"{tmp_path}/kpid.yml:4"


def test_mistakes_are_refused_together_and_warnings_pass(tmp_path: Path, plugins: Plugins) -> None:
    unfed = GOOD.replace("reports:", "  - {name: many, kpi: toy_tickets, period: day, warn: '> 50', to: [team]}\nreports:")
    assert [finding.warning for finding in wrong(check_config(load(tmp_path, unfed), plugins))] == [True]
    refuse_mistakes(load(tmp_path, unfed), plugins)
    with pytest.raises(ConfigErrors) as caught:
        refuse_mistakes(load(tmp_path, GOOD.replace("[owner]", "[ownr]").replace('"< 50%"', '"less"')), plugins)
    assert [str(error.where).rpartition(":")[2] for error in caught.value.errors] == ["12", "14"]


def test_source_that_cannot_be_looked_at_yet_is_a_warning(tmp_path: Path) -> None:
    text = (
        (TOYS / "toy.py")
        .read_text()
        .replace('return [EntityReads("deals")]', 'raise ConnectorError("no files yet", hint="Wait")')
    )
    (tmp_path / "toy.py").write_text(text.replace("    ConnectorInfo,", "    ConnectorError,\n    ConnectorInfo,"))
    found = wrong(check_config(load(tmp_path, GOOD), load_plugins(plugins_dir=tmp_path)))
    assert [(finding.subject, finding.text, finding.warning) for finding in found] == [("source crm", "no files yet. Wait", True)]


def test_target_without_its_percent_sign_is_a_warning(tmp_path: Path, plugins: Plugins) -> None:
    found = wrong(check_config(load(tmp_path, GOOD.replace("25%", "25")), plugins))
    assert [(finding.text, finding.hint, finding.warning) for finding in found] == [
        ("the target of toy_rate is 2500%", "If 25% is meant, write the sign", True)
    ]


def test_disabled_plugin_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD + "disabled_plugins: [no_such]\n")
    findings = check_config(loaded, load_plugins(plugins_dir=TOYS, disabled=loaded.config.disabled_plugins))
    said = [finding for finding in findings if "no_such" in finding.text]
    assert [(finding.text, finding.warning) for finding in said] == [("there is no plugin 'no_such' to disable", True)]


def test_targets_of_segments_that_there_are_not_are_found(tmp_path: Path, plugins: Plugins) -> None:
    targets = "[{period: 2026-Q4, value: 25, where: {onwer: Ada Example}}, {period: month, value: 25%, where: {owner: a}}]"
    text = GOOD.replace("{target: 25%, params", f"{{targets: {targets}, params")
    found = wrong(check_config(load(tmp_path, text), plugins))
    assert [(one.text, one.warning) for one in found] == [
        ("KPI toy_rate has no dimension 'onwer'", False),
        ("the target of toy_rate is 2500%", True),
    ]
    assert "owner" in found[0].hint
