"""``kpid check`` counts the KPIs that the sources can feed; ``--kpis`` says why the others cannot be had."""

from __future__ import annotations

import json

import pytest

from kpid.cli import main
from kpid.commands.coverage import coverage_of, list_coverage
from kpid.config.load import load_config
from kpid.errors import KpidError
from kpid.registry import load_plugins

CONFIG = """\
timezone: Europe/Berlin
sources:
  crm: {connector: files, path: data}
  old: {connector: sql, url: "sqlite:///old.db", entities: {users: {select: "SELECT id AS native_id, name FROM people"}}}
receivers:
  team: {notifier: mailbox, folder: mail, from: kpid@example.com, to: [a@example.com]}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "deals.csv").write_text("native_id,created_at,closed_at,state,amount\n", encoding="utf-8")
    (tmp_path / "kpid.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def found(folder):
    loaded = load_config(folder / "kpid.yml", environ={})
    return {one["kpi"]: one for one in list_coverage(loaded, load_plugins())}


def test_every_kpi_has_a_state_and_the_lacking_ones_a_reason(folder):
    states = found(folder)
    assert states["won_deals"]["state"] in {"exact", "approximate"}
    assert states["nps"]["state"] == "unavailable"
    assert states["nps"]["why"][0].startswith("no source brings survey_responses")
    assert all(one["why"] for one in states.values() if one["state"] != "exact")


def test_customers_are_looked_for_where_the_company_says_they_are(folder):
    assert "no source brings orders" not in " ".join(found(folder)["active_customers"]["why"])
    (folder / "kpid.yml").write_text(f"{CONFIG}customers: {{basis: orders}}\n", encoding="utf-8")
    for name in ("active_customers", "cac"):  # the latter is made of new customers
        assert "no source brings orders" in " ".join(found(folder)[name]["why"])


def test_column_without_a_mapping_is_missed(folder):
    (folder / "data" / "deals.csv").write_text("native_id,closed_at,state\n", encoding="utf-8")
    assert found(folder)["won_amount"]["state"] == "unavailable"
    assert "no source fills deals.amount" in found(folder)["won_amount"]["why"]


def test_connectors_say_what_they_fill(folder):
    loaded = load_config(folder / "kpid.yml", environ={})
    crm, old = coverage_of(loaded, load_plugins()).sources
    assert crm.columns["deals"] == {"native_id", "created_at", "closed_at", "state", "amount"}
    assert crm.knows("deal_stage_history") == "since_sync"
    assert crm.knows("deals.loss_reason") == "none"
    assert old.columns["users"] >= {"native_id", "name"}
    assert old.knows("users.email") == "none"


def test_select_of_everything_may_fill_anything(folder):
    text = CONFIG.replace("SELECT id AS native_id, name FROM people", "SELECT * FROM people")
    (folder / "kpid.yml").write_text(text, encoding="utf-8")
    loaded = load_config(folder / "kpid.yml", environ={})
    assert "users" not in coverage_of(loaded, load_plugins()).sources[1].columns


def test_tables_that_are_read_in_place_count_as_a_source(folder):
    (folder / "kpid.yml").write_text(
        "timezone: Europe/Berlin\nwarehouse: postgresql://example.com/crm\n"
        "tables: {deals: {table: crm.opportunities, columns: {id: opp_id, closed_at: closed, state: outcome}}}\n",
        encoding="utf-8",
    )
    assert found(folder)["won_deals"]["state"] != "unavailable"
    assert "no source fills deals.amount" in found(folder)["won_amount"]["why"]


def test_source_that_cannot_say_leaves_the_question_open(folder):
    (folder / "data" / "deals.csv").unlink()
    with pytest.raises(KpidError, match="cannot be told"):
        found(folder)


@pytest.fixture
def kpid(capsys, folder):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(folder / "kpid.yml"), *arguments])
        return ended.value.code, capsys.readouterr().out

    return call


def test_check_counts_them(kpid):
    code, out = kpid("check")
    line = next(line for line in out.splitlines() if "catalogue" in line)
    assert code == 0
    assert " exact, " in line
    assert " unavailable " in line


def test_check_lists_them(kpid):
    code, out = kpid("check", "--kpis")
    assert code == 0
    assert any(line.split()[1:3] == ["nps", "unavailable"] for line in out.splitlines())
    assert {"category", "kpi", "state", "why"} == set(json.loads(kpid("check", "--kpis", "--format", "json")[1])[0])
