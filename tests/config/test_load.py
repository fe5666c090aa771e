from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.config.load import Loaded, load_config
from kpid.config.model import Config, Rule
from kpid.config.problems import ConfigErrors
from kpid.errors import ConfigError

MAIN = """\
timezone: Europe/Berlin
company: Example Inc.
sources:
  crm:
    connector: files
    path: data
    every: 15m
    max_age: 36h
receivers:
  team: {notifier: mailbox, folder: var/mail}
kpis:
  win_rate: {target: 25%}
  won_amount: {target: 1_200_000}
rules:
  - name: win-rate-low
    kpi: win_rate
    period: month
    by: [owner]
    warn: "< 50%"
    for: 2x
    to: [team]
reports:
  weekly: {report: weekly_sales, every: "mon 07:30", to: team}
"""


def write(folder: Path, **files: str) -> Path:
    """Write files by name (``rules__sales`` is ``rules/sales.yml``); gives the main one, ``kpid``."""
    for name, text in files.items():
        file = folder / f"{name.replace('__', '/')}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder / "kpid.yml"


def load(folder: Path, **files: str) -> Loaded:
    return load_config(write(folder, **files), environ={})


def refusal(folder: Path, **files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, **files)
    return str(caught.value).replace(f"{folder}/", "")


def test_configuration_becomes_typed_values(tmp_path: Path) -> None:
    config = load(tmp_path, kpid=MAIN).config
    assert config.timezone == "Europe/Berlin"
    assert config.sources["crm"].max_age == timedelta(hours=36)
    assert config.kpis["win_rate"].target == Decimal("0.25")
    assert config.kpis["won_amount"].target == Decimal(1_200_000)
    assert config.rules[0].for_ == "2x"
    assert config.rules[0].uid == "win-rate-low"
    assert config.reports["weekly"].to == ("team",)


def test_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config = load(tmp_path, kpid=MAIN).config
    with pytest.raises(ValueError, match="frozen"):
        config.company = "Other"


def test_keys_of_the_plugin_become_options(tmp_path: Path) -> None:
    config = load(tmp_path, kpid=MAIN).config
    assert config.sources["crm"].options == {"path": "data"}
    assert config.receivers["team"].options == {"folder": "var/mail"}


def test_smallest_configuration_is_a_timezone(tmp_path: Path) -> None:
    config = load(tmp_path, kpid="timezone: UTC\nsources:\nrules:\n").config
    assert config.sources == {}
    assert config.rules == ()


def test_paths_become_absolute_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    config = load(tmp_path, kpid="timezone: UTC\nplugins_dir: own\ntemplates_dir: own\nwarehouse: duckdb:///w.duckdb\n").config
    assert config.state == f"sqlite:///{tmp_path}/var/kpid.db"
    assert config.warehouse == f"duckdb:///{tmp_path}/w.duckdb"
    assert config.plugins_dir == config.templates_dir == tmp_path / "own"
    assert config.folder == tmp_path


def test_relative_file_is_found_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, config__kpid=MAIN)
    monkeypatch.chdir(tmp_path)
    loaded = load_config(Path("config/kpid.yml"))
    assert loaded.config.folder == tmp_path / "config"
    assert loaded.place("company") == "config/kpid.yml:2"


def test_place_finds_keys_items_options_and_falls_back_to_the_parent(tmp_path: Path) -> None:
    loaded = load(tmp_path, kpid=MAIN)

    def line(*path: str | int) -> int:
        return int(loaded.place(*path).rpartition(":")[2])

    assert line("rules", 0, "warn") == 19
    assert line("rules", 0, "critical") == 15
    assert line("sources", "crm", "path") == 6
    assert line("sources", "crm", "options", "path") == 6
    assert line("sources", "crm", "options", "none") == 4
    assert line("logging", "level") == 1
    assert loaded.place() == f"{tmp_path}/kpid.yml:1"


def test_included_files_add_rules_reports_and_more(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        kpid=MAIN,
        rules__a="rules:\n  - {name: a, kpi: x, period: day, critical: '> 3', to: team}\nkpis:\n  nps: {target: 40}\n",
        rules__b="# first\nrules:\n  - {name: b, kpi: x, period: day, critical: '> 3', to: chat}\n",
        reports__r="reports:\n  daily: {report: r, every: 'daily 06:00', to: team}\nreceivers:\n  chat: {notifier: slack}\n",
    )
    assert [rule.name for rule in loaded.config.rules] == ["win-rate-low", "a", "b"]
    assert set(loaded.config.reports) == {"weekly", "daily"}
    assert loaded.config.kpis["nps"].target == 40
    assert set(loaded.config.receivers) == {"team", "chat"}
    assert loaded.place("rules", 2, "kpi") == f"{tmp_path}/rules/b.yml:3"
    assert loaded.place("kpis", "nps", "target") == f"{tmp_path}/rules/a.yml:4"
    assert [file.name for file in loaded.files] == ["kpid.yml", "a.yml", "b.yml", "r.yml"]


def test_include_replaces_the_usual_places(tmp_path: Path) -> None:
    rule = "rules:\n  - {name: NAME, kpi: x, period: day, critical: '> 3', to: team}\n"
    main = MAIN + "include: [more/*.yml, kpid.yml, none/*.yml]\n"
    loaded = load(tmp_path, kpid=main, rules__a=rule.replace("NAME", "a"), more__b=rule.replace("NAME", "b"))
    assert [one.name for one in loaded.config.rules] == ["win-rate-low", "b"]


def test_mistakes_in_included_files_have_their_own_places(tmp_path: Path) -> None:
    said = refusal(
        tmp_path,
        kpid=MAIN,
        rules__a="rules:\n  - {name: a, kpi: x, perid: day, critical: '> 3', to: team}\n",
        rules__b="- name: b\n",
        rules__c="rules: {name: c}\n",
        rules__d="reports: [x]\nrules: []\n",
        rules__e="\trules: []\n",
    )
    assert said.splitlines() == [
        "rules/a.yml:2: unknown key 'perid'. Did you mean 'period'?",
        "rules/b.yml:1: the file holds a list, not keys with values. Begin with a key such as rules:",
        "rules/c.yml:1: rules must be a list. Look at rules: in config/kpid.yml",
        "rules/d.yml:1: reports must be a mapping of names to settings. Look at reports: in config/kpid.yml",
        "rules/e.yml:1: a tab indents this line. YAML wants blanks: use two per level",
    ]


def test_every_mistake_is_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    write(tmp_path, kpid=MAIN.replace("36h", "soon").replace("25%", "lots").replace("company", "compny").replace("2x", "2y"))
    with pytest.raises(ConfigErrors) as caught:
        load_config(tmp_path / "kpid.yml", environ={})
    assert [error.where for error in caught.value.errors] == [f"{tmp_path}/kpid.yml:{line}" for line in (2, 8, 12, 20)]
    assert len(str(caught.value).splitlines()) == 4


def test_wrong_reference_is_told_once_and_never_with_a_value(tmp_path: Path) -> None:
    said = refusal(tmp_path, kpid=MAIN.replace("25%", '"${env:TARGET}"').replace("36h", '"${env:AGE}"'))
    assert "environment variable AGE is not set" in said.splitlines()[0]
    assert "environment variable TARGET is not set" in said.splitlines()[1]
    assert len(said.splitlines()) == 2


def test_references_are_filled_in_everywhere_and_secrets_remembered(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("file-secret\n")
    text = MAIN.replace("path: data", 'path: "${env:DATA}/x"').replace("25%", '"${env:TARGET}"')
    text += 'state: "postgresql://kpid:${env:PW}@db/kpid"\ntemplates_dir: "${env:DATA}"\n'
    text = text.replace("folder: var/mail", 'folder: var/mail, password: "${file:pw}"')
    file = write(tmp_path, kpid=text)
    loaded = load_config(file, environ={"DATA": str(tmp_path), "TARGET": "25%", "PW": "db-secret"})
    assert loaded.config.sources["crm"].options["path"] == f"{tmp_path}/x"
    assert loaded.config.kpis["win_rate"].target == Decimal("0.25")
    assert loaded.config.receivers["team"].options["password"] == "file-secret"
    assert loaded.secrets == {"file-secret", "db-secret"}
    assert "-secret" not in repr(loaded)


def test_environment_of_the_process_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "KPID_TEST_ZONE", "Europe/Paris")
    assert load_config(write(tmp_path, kpid="timezone: ${env:KPID_TEST_ZONE}\n")).config.timezone == "Europe/Paris"


@pytest.mark.parametrize(("uid", "named"), [("id: a, ", "x"), ("id: b, ", "a"), ("", "a")])
def test_rules_of_one_name_or_id_are_refused(tmp_path: Path, uid: str, named: str) -> None:
    rule = "  - {%sname: %s, kpi: x, period: day, critical: '> 3', to: team}\n"
    text = "timezone: UTC\nreceivers: {team: {notifier: x}}\nrules:\n" + rule % ("", "a") + rule % (uid, named)
    said = refusal(tmp_path, kpid=text)
    assert said.startswith("kpid.yml:5: there are two rules called 'a'")
    assert "kpid.yml:4" in said


def test_schedules_periods_and_receivers_are_told_together(tmp_path: Path) -> None:
    text = MAIN.replace("15m", "often").replace("period: month", "period: moon").replace("to: team", "to: [team, crew]")
    said = refusal(tmp_path, kpid=text).splitlines()
    assert [line.partition(": ")[0] for line in said] == ["kpid.yml:7", "kpid.yml:17", "kpid.yml:23"]
    assert "there is no receiver 'crew'" in said[2]


def test_circle_of_fallbacks_is_refused_but_a_chain_is_fine(tmp_path: Path) -> None:
    text = "timezone: UTC\nreceivers:\n  a: {notifier: x, fallback: b}\n  b: {notifier: x, fallback: c}\n  c: {notifier: x%s}\n"
    assert load(tmp_path, kpid=text % "").config.receivers["a"].fallback == "b"
    assert refusal(tmp_path, kpid=text % ", fallback: a").count("lead back to itself") == 3


KEYS = [*Config.model_fields, *Rule.model_fields, "for", "connector", "notifier", "report", "$" + "{x}"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["2x", "< 5", "UTC", "team"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_whatever_stands_in_a_file_gives_a_configuration_or_a_place(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    file = tmp_path_factory.mktemp("any") / "kpid.yml"
    file.write_text(yaml.safe_dump({"timezone": "UTC", **values}, allow_unicode=True), encoding="utf-8")
    said = ""
    with contextlib.suppress(ConfigError):
        try:
            load_config(file, environ={})
        except ConfigErrors as error:
            said = str(error)
            raise
    assert all(line.startswith(str(file)) for line in said.splitlines())


def test_large_configuration_is_read_in_one_piece(tmp_path: Path) -> None:
    rule = "  - {name: r%d, kpi: win_rate, period: month, by: [owner], warn: '< 50%%', to: [team]}\n"
    text = MAIN.replace("rules:\n", "rules:\n" + "".join(rule % number for number in range(2000)))
    loaded = load(tmp_path, kpid=text)
    assert len(loaded.config.rules) == 2001
    assert loaded.place("rules", 1999, "kpi") == f"{tmp_path}/kpid.yml:{14 + 2000}"
