from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kpid.config.load import Loaded, load_config
from kpid.errors import ConfigError, PluginError
from kpid.registry import PluginInfo, Plugins, load_plugins, options_of, secrets_of

TOY = (Path(__file__).parent / "bad_config" / "plugins" / "toy.py").read_text(encoding="utf-8")
KPI = """
from kpid.plugin import Definition, Kpi, hookimpl

@hookimpl
def kpid_kpis():
    return [Kpi(id="NAME", name="N", category="c", unit="count", better="up", define=Definition({}, lambda m: 1))]
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, distribution: str, **modules: str) -> None:
    """Put a distribution with one entry point per module on the path, as pip would."""
    info = folder / f"{distribution}-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2.3\n")
    (info / "entry_points.txt").write_text("[kpid]\n" + "".join(f"{name} = {name}\n" for name in modules))
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(folder))


def plugin_folder(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def rows(plugins: Plugins, distribution: str) -> list[PluginInfo]:
    return [row for row in plugins.listing() if row.distribution == distribution]


def reason_of(folder: Path, text: str) -> str:
    return load_plugins(plugins_dir=plugin_folder(folder, sick=text)).broken["sick"]


def configured(folder: Path, text: str) -> Loaded:
    file = folder / "kpid.yml"
    file.write_text("timezone: UTC\n" + text)
    return load_config(file, environ={"TOKEN": "from-the-environment"})


def test_installed_plugin_is_found_with_its_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "acme-kpid", acme_one=KPI.replace("NAME", "acme_sales"))
    plugins = load_plugins()
    assert plugins.kpis["acme_sales"].name == "N"
    assert rows(plugins, "acme-kpid") == [PluginInfo("kpi", "acme_sales", "1.2.3", "acme-kpid")]


def test_single_file_plugins_bring_every_kind(tmp_path: Path) -> None:
    plugins = load_plugins(plugins_dir=plugin_folder(tmp_path, toy=TOY, _draft="raise SystemExit"))
    assert plugins.connectors["toy"].summary == "A toy CRM"
    assert plugins.notifiers["box"].name == "box"
    assert {"toy_rate", "toy_tickets"} <= set(plugins.kpis)
    assert plugins.reports["toy_report"].kpis == ("toy_rate",)
    own = rows(plugins, str(tmp_path / "toy.py"))
    assert [(row.kind, row.name, row.state) for row in own] == [
        ("connector", "toy", "ok"),
        ("kpi", "toy_rate", "ok"),
        ("kpi", "toy_tickets", "ok"),
        ("notifier", "box", "ok"),
        ("report", "toy_report", "ok"),
    ]


def test_single_file_plugin_hides_no_installed_module(tmp_path: Path) -> None:
    load_plugins(plugins_dir=plugin_folder(tmp_path, json=KPI.replace("NAME", "mine")))
    import json

    assert json.dumps({}) == "{}"
    assert "kpid_local_json" in sys.modules


def test_missing_plugins_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="there is no folder"):
        load_plugins(plugins_dir=tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def x(:", "SyntaxError: "),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "it implements no hook: is @hookimpl missing?"),
        (KPI.replace("kpid_kpis", "kpid_kpi"), "there is no hook kpid_kpi. Did you mean 'kpid_kpis'?"),
        (KPI.replace("kpid_kpis()", "kpid_kpis(config)"), "PluginValidationError: "),
        (KPI.replace('return [Kpi(id="NAME"', 'raise KeyError("x") or [Kpi(id="NAME"'), "KeyError: 'x'"),
        (
            KPI.replace("return [Kpi(", "return (Kpi(").replace("1))]", "1)))"),
            "kpid_kpis returned a value of type Kpi, not a list",
        ),
        (KPI.replace("    return [Kpi(", "    x = [Kpi("), "kpid_kpis returned None, not a list"),
        (KPI.replace("NAME", "a b"), "the id of a Kpi must be a short text of letters, digits, _ and -, not 'a b'"),
    ],
)
def test_broken_plugin_is_kept_with_its_reason(tmp_path: Path, text: str, reason: str) -> None:
    assert reason_of(tmp_path, text).startswith(reason)


def test_broken_plugin_takes_no_other_with_it(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path, a="1/0", b=KPI.replace("NAME", "b_kpi"), c="import nothing_here")
    plugins = load_plugins(plugins_dir=folder)
    assert "b_kpi" in plugins.kpis
    assert {row.name: row.reason for row in plugins.rows if row.state == "broken" and str(folder) in row.distribution} == {
        "a": "ZeroDivisionError: division by zero",
        "c": "ModuleNotFoundError: No module named 'nothing_here'",
    }


def test_plugin_that_fails_in_one_hook_brings_nothing(tmp_path: Path) -> None:
    text = KPI.replace("NAME", "half") + "\n@hookimpl\ndef kpid_reports():\n    return ['weekly']\n"
    plugins = load_plugins(plugins_dir=plugin_folder(tmp_path, half=text))
    assert "half" not in plugins.kpis
    assert plugins.broken["half"] == "kpid_reports returned a value of type str where a Report is wanted"


def test_two_of_one_name_name_both_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "a", monkeypatch, "acme", acme_a=KPI.replace("NAME", "same"))
    install(tmp_path / "b", monkeypatch, "bolt", bolt_b=KPI.replace("NAME", "same"))
    plugins = load_plugins()
    for look in (lambda: "other" in plugins.kpis, lambda: plugins.kpis["same"], plugins.listing):  # whoever asks, and every time
        with pytest.raises(PluginError) as caught:
            look()
        assert "two plugins bring a kpi called 'same': acme_a of acme and bolt_b of bolt" in str(caught.value)
    assert "disabled_plugins: [bolt_b]" in str(caught.value)
    assert "same" in load_plugins(disabled=["bolt_b"]).kpis


def test_two_connectors_of_one_name_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="two plugins bring a connector called 'toy'"):
        load_plugins(plugins_dir=plugin_folder(tmp_path, one=TOY, two=TOY))


def test_a_plugin_with_kpis_alone_is_asked_when_one_is_wanted(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    noted = f"    with open({str(asked)!r}, 'a') as file:\n        file.write('x')\n    return"
    text = KPI.replace("NAME", "mine").replace("    return", noted)
    plugins = load_plugins(plugins_dir=plugin_folder(tmp_path, mine=text, toy=TOY))
    assert plugins.connectors["toy"].summary == "A toy CRM"
    assert not asked.exists()
    assert {"mine", "toy_rate"} <= set(plugins.kpis)
    assert [row.name for row in rows(plugins, str(tmp_path / "mine.py"))] == ["mine"]
    assert asked.read_text() == "x"


@pytest.mark.parametrize("name", ["acme_one", "acme-kpid"])
def test_disabled_plugin_is_listed_and_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    install(tmp_path, monkeypatch, "acme-kpid", acme_one="raise SystemExit")
    plugins = load_plugins(disabled=[name])
    assert rows(plugins, "acme-kpid") == [PluginInfo("plugin", "acme_one", "1.2.3", "acme-kpid", "disabled")]
    assert "acme_one" not in sys.modules


def test_entry_point_must_be_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "acme", acme_x="value = 1")
    (tmp_path / "acme-1.2.3.dist-info" / "entry_points.txt").write_text("[kpid]\nacme_x = acme_x:value\n")
    assert load_plugins().broken["acme_x"] == "its entry point acme_x:value is not a module"


def test_loading_twice_gives_the_same_and_shares_nothing(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path, toy=TOY)
    first, second = load_plugins(plugins_dir=folder), load_plugins(plugins_dir=folder)
    assert first.rows == second.rows
    assert first.connectors is not second.connectors


def test_require_passes_if_everything_named_is_there(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path, toy=TOY, sick="1/0")
    loaded = configured(tmp_path, "sources: {crm: {connector: toy}}\nreceivers: {a: {notifier: box}}\nkpis: {toy_rate: {}}\n")
    load_plugins(plugins_dir=folder).require(loaded)


def test_require_tells_everything_that_is_missing(tmp_path: Path) -> None:
    folder = plugin_folder(tmp_path, toy=TOY, a_shiny="1/0")
    text = "sources:\n  crm: {connector: toi}\n  new: {connector: shiny}\nreceivers:\n  a: {notifier: bx}\nkpis:\n  toy_rat: {}\n"
    with pytest.raises(ConfigError) as caught:
        load_plugins(plugins_dir=folder).require(configured(tmp_path, text))
    said = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert said == [
        "kpid.yml:3: there is no connector 'toi'. Did you mean 'toy'?",
        "kpid.yml:4: there is no connector 'shiny'. The plugin a_shiny could not be loaded: ZeroDivisionError: division by zero",
        "kpid.yml:6: there is no notifier 'bx'. Did you mean 'box'?",
        "kpid.yml:8: there is no KPI 'toy_rat'. Did you mean 'toy_rate'?",
    ]


def test_require_looks_at_the_kpis_that_a_report_shows(tmp_path: Path) -> None:
    plugin_folder(tmp_path, toy=TOY.replace('kpis=("toy_rate",)', 'kpis=("toy_rate", "gone")'))
    text = "receivers: {a: {notifier: box}}\nreports: {r: {report: toy_report, every: daily 06:00, to: a}}\n"
    with pytest.raises(ConfigError, match="there is no KPI 'gone'"):
        load_plugins(plugins_dir=tmp_path).require(configured(tmp_path, text))


def test_options_become_the_settings_of_the_plugin(tmp_path: Path) -> None:
    plugins = load_plugins(plugins_dir=plugin_folder(tmp_path, toy=TOY))
    loaded = configured(tmp_path, 'sources: {crm: {connector: toy, token: "${env:TOKEN}", limit: 5}}\n')
    kind = plugins.connectors["toy"].connector.Settings
    settings = options_of(kind, loaded.config.sources["crm"].options, loaded, ("sources", "crm"))
    assert settings.limit == 5
    assert settings.token.get_secret_value() == "from-the-environment"
    assert "from-the" not in repr(settings)
    assert "from-the" not in repr(loaded)


def test_secrets_are_those_in_fields_of_type_secret(tmp_path: Path) -> None:
    plugins = load_plugins(plugins_dir=plugin_folder(tmp_path, toy=TOY))
    text = (
        'sources: {crm: {connector: toy, token: "${env:TOKEN}"}}\nreceivers: {a: {notifier: box, to: [x], password: plain-pw}}\n'
    )
    loaded = configured(tmp_path, text)
    assert loaded.secrets == frozenset()
    assert secrets_of(loaded, plugins) == {"from-the-environment", "plain-pw"}


def test_mistakes_in_options_quote_no_secret(tmp_path: Path) -> None:
    check = (
        "\n    @field_validator('host')\n    @classmethod\n    def check(cls, value):\n        raise ValueError('bad ' + value)\n"
    )
    text = TOY.replace(
        '    token: Secret = Field(description="Token of the toy CRM.")', f"    token: Secret\n    host: str\n{check}"
    )
    text = text.replace("from pydantic import Field", "from pydantic import Field, field_validator")
    plugins = load_plugins(plugins_dir=plugin_folder(tmp_path, toy=text))
    (tmp_path / "pw").write_text("file-secret")
    loaded = configured(tmp_path, 'sources: {crm: {connector: toy, token: t, host: "x-${file:pw}"}}\n')
    with pytest.raises(ConfigError, match=r"sources\.crm: host: bad x-\*\*\*"):
        options_of(plugins.connectors["toy"].connector.Settings, loaded.config.sources["crm"].options, loaded, ("sources", "crm"))
