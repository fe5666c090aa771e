"""The catalogue for readers: listed, searched, looked up; and the reference page is the one that the definitions give."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kpid.cli import main
from kpid.commands.kpis import card, list_kpis, reference, show_kpi
from kpid.config.load import load_config
from kpid.errors import KpidError
from kpid.plugin.kpi import Benchmark, Param
from kpid.registry import load_plugins

PAGE = Path(__file__).parents[2] / "plugins" / "kpis" / "README.md"
CONFIG = """\
timezone: Europe/Berlin
sources:
  crm: {connector: files, path: data}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
kpis:
  big_wins:
    name: Big wins
    unit: count
    better: up
    measures: {won: {entity: deals, at: closed_at, where: "state = 'won' and amount > 10000"}}
    formula: won
"""


@pytest.fixture(scope="module")
def plugins():
    return load_plugins()


def test_every_kpi_is_listed_once_by_category(plugins):
    found = list_kpis(plugins)
    assert sorted(one["id"] for one in found) == sorted(plugins.kpis)
    categories = [one["category"] for one in found]
    assert categories == sorted(categories)
    assert all(one["what"] for one in found), "each has its line"


def test_what_the_id_says_is_found_first(plugins):
    assert list_kpis(plugins, "win rate".replace(" ", "_"))[0]["id"] == "win_rate"
    assert list_kpis(plugins, "WIN")[0]["id"] == "win_rate"
    assert "nps" in [one["id"] for one in list_kpis(plugins, "promoter")]


def test_category_narrows(plugins):
    assert {one["category"] for one in list_kpis(plugins, category="sales")} == {"sales"}


@pytest.mark.parametrize(
    ("search", "category", "hint"),
    [("win_rat", "", ""), ("xyzzy", "", "kpid kpis"), ("", "sale", "sales"), ("win_raet", "", "win_rate")],
)
def test_what_is_not_there_is_said_with_help(plugins, search, category, hint):
    if search == "win_rat":
        assert list_kpis(plugins, search)
        return
    with pytest.raises(KpidError) as error:
        list_kpis(plugins, search, category)
    assert hint in str(error.value.hint)


def test_card_says_what_a_person_must_know(plugins):
    shown = dict(card(show_kpi(plugins, "win_rate")))
    assert shown["Definition"].startswith("won / (won + lost)")
    assert shown["Unit"] == "ratio, higher is better"
    assert "closed deals" in shown["Sample"]
    assert shown["  weight="].startswith("count | amount: ")
    assert "owner" in shown["Cut by"]
    assert shown["Why"]
    assert shown["Misleads"]
    assert shown["Source"]


def test_card_has_everything_that_a_kpi_can_say(plugins):
    kpi = replace(
        plugins.kpis["win_rate"],
        params={"horizon": Param.number("90", "Days that a cohort is followed.", least=1), "note": Param.text("", "Anything.")},
        define=plugins.kpis["win_rate"].definition({}),
        benchmark=Benchmark("0.333", "about one of three", "S3", 2019),
        requires=("deal_stage_history",),
        degrades={"merges": "duplicates count twice"},
        settle="72h",
    )
    shown = dict(card(show_kpi(replace(plugins, kpis={"win_rate": kpi}), "win_rate")))
    assert shown["  horizon="] == "90 (a whole number): Days that a cohort is followed."
    assert shown["  note="] == "a text: Anything."
    assert shown["Benchmark"] == "0.333: about one of three (S3, 2019); never judged by itself"
    assert shown["Needs"] == "deal_stage_history"
    assert shown["  without merges"] == "duplicates count twice"
    assert shown["Usual period"] == "quarter, 72h after its end"


def test_every_kpi_says_why_it_matters_and_how_it_misleads(plugins):
    lacking = {kpi.id for kpi in plugins.kpis.values() if not (kpi.formula_text and kpi.why and kpi.misleads)}
    assert lacking == set()


def test_unknown_kpi_is_refused_with_the_near_one(plugins):
    with pytest.raises(KpidError) as error:
        show_kpi(plugins, "win_rte")
    assert "win_rate" in str(error.value.hint)


def test_reference_page_is_up_to_date(plugins):
    assert PAGE.read_text(encoding="utf-8") == reference(plugins), "run `make reference`"


def test_reference_leaves_out_what_is_only_installed_here(plugins):
    page = reference(plugins, distribution="somebody-else")
    assert "### " not in page


def test_reference_is_one_line_per_fact(plugins):
    page = reference(plugins)
    assert "### `win_rate` Win rate" in page
    assert "- `weight=` count \\| amount: " in page
    assert all(line == line.rstrip() for line in page.splitlines())


# ---- the command line
@pytest.fixture
def kpid(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("KPID_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code, capsys.readouterr().out

    return call


@pytest.fixture
def config(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deals.csv").write_text("native_id,created_at,closed_at,state,amount\n", encoding="utf-8")
    (tmp_path / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    return str(tmp_path / "kpid.yml")


def test_catalogue_needs_no_configuration(kpid):
    code, out = kpid("kpis")
    assert code == 0
    assert any(line.startswith("win_rate ") for line in out.splitlines())
    assert "win_rate" in kpid("kpis", "list", "win", "rate")[1]
    assert {one["category"] for one in json.loads(kpid("kpis", "--category", "sales", "--format", "json")[1])} == {"sales"}


def test_definition_is_shown_without_a_state(kpid):
    code, out = kpid("kpis", "show", "nps")
    assert code == 0
    assert out.startswith("Net Promoter Score (nps, satisfaction)\n")
    assert "\nHere" not in out


def test_with_a_configuration_the_state_is_shown(kpid, config):
    out = kpid("--config", config, "kpis", "show", "nps")[1]
    assert "unavailable; no source brings survey_responses" in out
    assert json.loads(kpid("--config", config, "kpis", "show", "won_deals", "--format", "json")[1])["state"] != "unavailable"


def test_own_kpis_are_in_the_catalogue(kpid, config):
    assert load_config(Path(config)).config.kpis["big_wins"].is_definition
    assert "big_wins" in kpid("--config", config, "kpis", "big")[1]


def test_markdown_is_the_reference(kpid, plugins):
    assert kpid("kpis", "--markdown")[1] == reference(plugins)
