"""What the connectors that come with kpid say they can tell, without contacting anybody."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kpid.clock import SystemClock
from kpid.plugin import SourceContext, entities
from kpid.plugin.capabilities import is_capability
from kpid.registry import load_plugins

CONNECTORS = load_plugins().connectors


def connector(name: str, folder: Path, **settings: object):
    kind = CONNECTORS[name].connector
    context = SourceContext("crm", ZoneInfo("Europe/Berlin"), folder, SystemClock(), "EUR")
    return kind(kind.Settings.model_validate(settings), context)


def columns_are_canonical(fills):
    return all(names <= set(entities.ENTITIES[entity].c.keys()) for entity, names in fills.items())


@pytest.fixture
def hubspot(tmp_path):
    return connector("hubspot", tmp_path, token="x", fields={"deals": {"loss_competitor": "competitor", "score": "my_score"}})


def test_hubspot_tells_stage_history_deletes_and_merges(hubspot):
    found = hubspot.capabilities()
    assert {name: found[name] for name in ("deals", "deal_stage_history", "deletes", "merges")} == dict.fromkeys(
        ("deals", "deal_stage_history", "deletes", "merges"), "full"
    )
    assert found["fx_dated"] == "none"
    assert all(is_capability(name) for name in found)


def test_hubspot_fills_what_its_mapping_and_the_settings_say(hubspot):
    fills = hubspot.fills()
    assert {"amount", "closed_at", "loss_reason", "loss_competitor"} <= fills["deals"]
    assert "forecast_category" not in fills["deals"]
    assert {"duration_s", "scheduled_start"} <= fills["activities"], "calls and meetings together"
    assert columns_are_canonical(fills)


def test_hubspot_says_of_what_is_read_only_if_named(tmp_path):
    named = [
        "deals", "tickets", "leads", "products", "deal_lines", "orders", "survey_responses", "campaigns", "email_sends",
        "fx_rates",
    ]  # fmt: skip
    hubspot = connector("hubspot", tmp_path, token="x", entities=named, fields={"orders": {"tax": "my_tax"}})
    found = hubspot.capabilities()
    told = [
        "owner_history",
        "deal_field_history",
        "ticket_status_history",
        "campaign_costs",
        "fx_dated",
        "email_events",
        "deletes",
    ]
    assert {name: found[name] for name in told} == dict.fromkeys(told, "full")
    assert columns_are_canonical(hubspot.fills())
    assert connector("hubspot", tmp_path, token="x", entities=["campaigns"]).capabilities()["deletes"] == "since_sync"


def test_files_fill_the_columns_of_their_headers(tmp_path):
    (tmp_path / "deals.csv").write_text("deal;amount;state;other\n", encoding="utf-8")
    (tmp_path / "users.jsonl").write_text('{"native_id": 1}\n', encoding="utf-8")
    mapped = {"deals": {"file": "deals.csv", "id": "deal", "columns": {"closed_at": "other"}}, "users": {"file": "users.jsonl"}}
    files = connector("files", tmp_path, path=".", entities=mapped)
    assert files.fills() == {"deals": {"native_id", "amount", "state", "closed_at"}}
    assert files.capabilities()["deal_stage_history"] == "since_sync"
    assert files.capabilities()["deletes"] == "since_sync"


def test_file_that_is_not_there_may_have_any_column(tmp_path):
    files = connector("files", tmp_path, path=".", entities={"deals": {"file": "deals.csv"}})
    assert files.fills() == {}


def test_select_fills_the_names_that_stand_in_it(tmp_path):
    selects = {
        "deals": {
            "select": "SELECT id AS native_id, value AS amount, count(*) FROM deal GROUP BY 1, 2",
            "columns": {"state": "s"},
        },
        "users": {"select": "SELECT u.* FROM users u"},
    }
    sql = connector("sql", tmp_path, url="sqlite:///x.db", entities=selects)
    assert sql.fills() == {"deals": {"native_id", "amount", "state"}}
    assert columns_are_canonical(sql.fills())
