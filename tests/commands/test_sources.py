"""``kpid sources``: where each source stands, and what the connectors say they can do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from kpid.app import open_app
from kpid.cli import main
from kpid.commands.capabilities import list_capabilities, reference
from kpid.commands.sources import ailing, list_sources
from kpid.commands.sync import sync_sources
from kpid.errors import KpidError, PluginError
from kpid.plugin import ConnectorInfo
from kpid.plugin.entities import ENTITIES
from kpid.registry import load_plugins
from kpid.testing.hubspot import TOKEN, policy
from kpid.testing.hubspot_life import fill
from tests.vendors.hubspot import HubSpotBench


@pytest.fixture
def bench():
    with HubSpotBench(entities=["users", "pipelines", "accounts", "contacts", "deals"]) as bench:
        fill(bench.portal, 10)
        yield bench


@pytest.fixture
def config(tmp_path, bench):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "orders.csv").write_text("native_id,ordered_at\no1,2026-11-02\n", encoding="utf-8")
    text = {
        "timezone": "Europe/Berlin", "currency": "EUR", "state": "sqlite:///var/kpid.db", "warehouse": "duckdb:///var/crm.duckdb",
        "sources": {
            "crm": {"connector": "hubspot", "every": "15m", **bench.options()}, "shop": {"connector": "files", "path": "data"},
        },
    }  # fmt: skip
    file = tmp_path / "kpid.yml"
    file.write_text(json.dumps(text), encoding="utf-8")
    return file


@pytest.fixture
def app(config, bench):
    app = open_app(config, bench.clock)
    yield app
    app.close()


def rows(app, source="crm"):
    return {row["entity"]: row for row in list_sources(app, source=source)}


def test_sources_that_were_never_read_say_so(app):
    found = list_sources(app)
    assert {row["source"]: row["connector"] for row in found} == {"crm": "hubspot", "shop": "files"}
    assert {row["state"] for row in found} == {"never", "carried"}
    assert ailing(found)


def test_every_entity_has_its_watermark_age_rows_and_what_comes_next(app, bench):
    sync_sources(app)
    bench.later(7)
    found = rows(app)
    assert list(found) == [
        "users", "pipelines", "stages", "accounts", "contacts", "deals", "deal_stage_history", "deal_field_history",
        "owner_history",
    ]  # fmt: skip
    deals = found["deals"]
    assert (deals["state"], deals["rows"], deals["deleted"], deals["error"], deals["stale"]) == ("done", 10, 0, None, False)
    through = datetime.fromisoformat(deals["through"])
    assert deals["age_s"] == (bench.clock.now() - through).total_seconds()
    assert timedelta(minutes=7) <= bench.clock.now() - through <= timedelta(minutes=10)
    assert (deals["mode"], deals["deletes"], deals["history"], deals["grain"]) == ("incremental", "pass", "full", "exact")
    assert datetime.fromisoformat(deals["next"]) > bench.clock.now()
    assert (deals["every"], deals["reconcile"]) == ("15m", "7d")
    assert {"deletes", "merges", "stage history"} <= set(deals["can"])
    assert (found["stages"]["state"], found["stages"]["carried_by"], found["stages"]["rows"]) == ("carried", "pipelines", 4)
    assert not ailing(list_sources(app))


def test_what_is_gone_is_counted(app, bench):
    sync_sources(app, source="crm")
    bench.later()
    for native_id in sorted(bench.truth())[:3]:
        bench.delete(native_id)
    bench.later()
    sync_sources(app, source="crm")
    assert (rows(app)["deals"]["rows"], rows(app)["deals"]["deleted"]) == (10, 3)


def test_old_data_is_stale(app, bench):
    sync_sources(app, source="crm")
    bench.later(300)
    assert rows(app)["deals"]["stale"]
    assert ailing(list_sources(app, source="crm"))


def test_the_last_error_is_told_without_secrets(app, bench):
    bench.lose_scope("deals")
    sync_sources(app, source="crm")
    found = rows(app)
    assert (found["deals"]["state"], found["accounts"]["state"]) == ("failed", "done")
    assert "scope" in found["deals"]["error"]
    bench.revoke()
    sync_sources(app, source="crm")
    assert TOKEN not in json.dumps(list_sources(app))


def test_a_source_that_cannot_be_read_at_all_says_why(app, bench):
    bench.revoke()
    sync_sources(app, source="crm")
    first = list_sources(app, source="crm")[0]
    assert first["state"] == "failed"
    assert "refused our credentials" in first["error"]
    assert first["error"].endswith("the consent may have been withdrawn")


def test_a_source_that_was_read_before_and_now_refuses_is_failed(app, bench):
    sync_sources(app, source="crm")
    bench.revoke()
    sync_sources(app, source="crm")
    assert {row["state"] for row in list_sources(app, source="crm")} == {"failed", "carried"}
    assert ailing(list_sources(app, source="crm"))


def test_until_when_a_source_is_left_alone(app, bench):
    bench.api.fail(policy("DAILY"), times=99)
    sync_sources(app, source="crm")
    waits = [row for row in list_sources(app, source="crm") if row["state"] == "deferred"]
    assert len(waits) == 1
    assert datetime.fromisoformat(waits[0]["deferred_until"]) > bench.clock.now()
    bench.clock.advance(timedelta(days=2))
    assert [row["deferred_until"] for row in list_sources(app, source="crm") if row["deferred_until"]] == []


def test_how_what_is_stored_is_compared_with_the_whole_is_told(app, config, bench):
    whole, found = rows(app, "shop"), rows(app)
    assert whole["orders"]["compared"] == "each sync"
    assert (found["users"]["compared"], found["deals"]["compared"]) == ("each sync", "by ids")
    assert found["stages"]["compared"] is None, "its carrier says it"
    text = json.loads(config.read_text(encoding="utf-8"))
    text["sources"]["crm"]["reconcile"] = "off"
    config.write_text(json.dumps(text), encoding="utf-8")
    again = open_app(config, bench.clock)
    assert rows(again)["deals"]["compared"] == "with --full"
    again.close()


def test_when_ids_were_compared_and_how_far_old_rows_are(app, bench):
    sync_sources(app, source="crm")
    (mark,) = [mark for mark in app.warehouse.watermarks() if (mark.source, mark.entity) == ("crm", "deals")]
    side = {"kind": "fields", "began": "2026-11-20T09:00:00+00:00", "cursor": {"after": "4"}, "wanted": ["region"], "met": 4}
    cursor = {**(mark.cursor or {}), "listed_at": "2026-11-18T09:00:00+00:00", "side": side}
    with app.warehouse.batch() as batch:
        batch.save_watermark(replace(mark, cursor=cursor))
    deals = rows(app)["deals"]
    assert (deals["reconciled_at"], deals["backfill"]) == ("2026-11-18T09:00:00+00:00", "4 of 10 (new: region)")


def test_what_a_source_filled_once_is_shown(app, config, bench):
    sync_sources(app)
    (config.parent / "data" / "orders.csv").unlink()
    (config.parent / "data" / "deals.csv").write_text("native_id,name,state\nd1,One,open\n", encoding="utf-8")
    assert {(entity, row["state"]) for entity, row in rows(app, "shop").items()} == {("deals", "never"), ("orders", "left")}


def test_a_source_that_cannot_say_what_it_reads_is_one_row(app, config):
    (config.parent / "data" / "orders.csv").unlink()
    (config.parent / "data").rmdir()
    (only,) = list_sources(app, source="shop")
    assert (only["entity"], only["state"]) == (None, "failed")
    assert only["error"]


def test_an_unknown_source_is_an_error(app):
    with pytest.raises(KpidError, match="there is no source 'crn'"):
        list_sources(app, source="crn")


# ---- the command


@pytest.fixture
def kpid(config, capsys, bench):
    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["--now", bench.clock.now().isoformat(), *arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def test_the_command_prints_a_table_for_each_source(kpid, config, bench):
    app = open_app(config, bench.clock)
    sync_sources(app)
    app.close()
    code, out, err = kpid("sources", "--config", str(config))
    assert (code, err) == (0, "")
    assert "crm (hubspot)  next " in out
    assert " Europe/Berlin, every 15m; can: deletes, merges, stage history; observed: -" in out
    assert "shop (files)  next " in out
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert lines["entity"] == ["entity", "state", "through", "age", "rows", "gone", "reads", "compared", "last", "error"]
    assert lines["deal_stage_history"][1:3] == ["with", "deals"]
    code, out, _ = kpid("sources", "shop", "--format", "json", "--config", str(config))
    assert [row["entity"] for row in json.loads(out)] == ["orders"]


def test_the_command_fails_if_a_source_does(kpid, config):
    assert kpid("sources", "--config", str(config))[0] == 1


def test_capabilities_need_no_configuration(kpid, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KPID_CONFIG", raising=False)
    code, out, _ = kpid("sources", "--capabilities")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines() if line.startswith("hubspot")][:3] == ["users", "pipelines", "stages"]
    code, out, _ = kpid("sources", "--capabilities", "--format", "json")
    assert {row["connector"] for row in json.loads(out)} >= {"hubspot"}


# ---- declarations


def test_every_declared_entity_and_column_is_canonical():
    for row in list_capabilities(load_plugins()):
        assert row["entity"] in ENTITIES
        assert set(row["columns"] or ()) <= {column.name for column in ENTITIES[row["entity"]].columns}


def test_every_connector_to_an_api_has_an_example():
    plugins = load_plugins()
    ours = {row.name for row in plugins.listing() if row.kind == "connector" and row.distribution == "kpid"}
    told = {row["connector"] for row in list_capabilities(plugins, "kpid")}
    assert ours - told <= {"files", "sql", "singer"}, "their entities come from the configuration alone"


def test_entities_that_are_only_read_if_named_are_marked():
    found = {row["entity"]: row["usual"] for row in list_capabilities(load_plugins()) if row["connector"] == "hubspot"}
    assert (found["deals"], found["stages"], found["leads"]) == (True, True, False)
    page = reference(load_plugins())
    assert "| `leads` (if named) | changes |" in page.partition("## `hubspot`")[2]


def test_a_connector_that_cannot_be_made_of_its_example_is_told():
    plugins = load_plugins()
    info = plugins.connectors["hubspot"]
    broken = replace(plugins, connectors={**plugins.connectors, "hubspot": ConnectorInfo(info.connector, example={"tokn": "x"})})
    with pytest.raises(PluginError, match="connector hubspot cannot say what it can do"):
        reference(broken)
