"""What an app makes of its configuration."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from kpid import cycle
from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.rules import need_of
from kpid.analysis.periods import last_complete
from kpid.app import open_app
from kpid.clock import ShiftedClock
from kpid.errors import ConfigError
from kpid.model import Measurement, MeasurementState, Segment
from kpid.plugin import Secret
from kpid.store import history
from kpid.store.tables import outbox
from tests.commands import handled

CONFIG = """timezone: Europe/Berlin
customers: {basis: orders, lookback_days: 180}
kpis:
  mrr: {min_sample: 3}
  customer_churn_rate: {params: {basis: subscription}}
"""


def opened(tmp_path, text):
    (tmp_path / "kpid.yml").write_text(text, encoding="utf-8")
    return open_app(tmp_path / "kpid.yml", ShiftedClock(datetime(2018, 1, 2, 8, tzinfo=UTC)), warehouse="none")


def test_who_is_a_customer_is_said_once_and_a_kpi_may_differ(tmp_path):
    app = opened(tmp_path, CONFIG)
    try:
        settings = app.kpi_settings()
        assert dict(settings["active_customers"].params) == {"basis": "orders", "lookback_days": "180"}
        assert dict(settings["customer_churn_rate"].params) == {"basis": "subscription", "lookback_days": "180"}
        assert "loyal_customer_share" not in settings  # its days are another question
        assert settings["mrr"].min_sample == 3
        assert app.alerting_setup().settings == app.reporting_setup().settings == settings
    finally:
        app.close()


def test_an_unknown_basis_is_refused_where_it_stands(tmp_path):
    with pytest.raises(ConfigError, match="customers") as refused:
        opened(tmp_path, CONFIG.replace("basis: orders", "basis: gut feeling"))
    assert "kpid.yml:2" in str(refused.value)


def test_who_shows_no_pages_is_written_none(tmp_path):
    config = """
timezone: Europe/Berlin
receivers:
  team: {notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [ada@example.com]}
  hook: {notifier: webhook, url: "http://127.0.0.1:9/hook"}
rules:
  - {name: few-wins, kpi: won_deals, period: month, by: [owner], warn: "< 1000", to: [team, hook]}
"""
    with handled.opened(tmp_path, config) as app:
        assert app.alerting_setup().pageless == {"hook"}
        rule = app.config.rules[0]
        need = need_of(rule, app.plugins.kpis[rule.kpi])
        period = last_complete("month", handled.NOW, app.calendar, 1)[-1]
        dims = (Segment("owner", "crm:1", "Ada Example"),)
        figure = Measurement(need.kpi, period, MeasurementState.OK, Decimal(5), 5, dims, data_through=period.end)
        with app.store.write() as conn:
            history.append(conn, need, [figure], periods=[period], definition="d", now=period.end)
            history.save_family(conn, need, "d", 1, period.end)
        evaluate_rules(app.alerting_setup(), store=app.store, now=handled.NOW)
        with app.store.read() as conn:
            written = {row.receiver: row.message for row in conn.execute(select(outbox))}
    assert written["hook"]["html"] is None
    assert written["hook"]["text"] == written["team"]["text"]
    assert "Ada Example" in written["team"]["html"]


CRM = """timezone: Europe/Berlin
sources:
  crm: {connector: hubspot, token: example-token}
"""


def test_a_source_keeps_rotated_secrets_beside_the_state_and_shares_limits_across_a_reload(tmp_path):
    app = opened(tmp_path, CRM)
    try:
        with app.connector("crm") as connector:
            connector.context.keep.put("refresh_token", Secret("r1"))
            assert connector.context.pacers is app.pacers
        assert [path.name for path in (tmp_path / "var" / "kept").glob("*.json")] == ["crm.json"]
        reloaded = open_app(tmp_path / "kpid.yml", app.clock, warehouse="none", stores_of=app)
        assert reloaded.pacers is app.pacers
        with reloaded.connector("crm") as connector:
            assert connector.context.keep.get("refresh_token") == Secret("r1")
    finally:
        app.close()


@pytest.mark.parametrize(("written", "after"), [("", 7), ("reconcile: 2w", 14), ("reconcile: off", None)])
def test_how_often_ids_are_compared_is_a_matter_of_the_source(tmp_path, written, after):
    app = opened(tmp_path, CRM.replace("token: example-token", f"token: example-token, {written}"))
    try:
        found = app.config.sources["crm"].reconcile_after
        assert found == (None if after is None else timedelta(days=after))
    finally:
        app.close()


def test_an_odd_interval_of_comparisons_is_refused_where_it_stands(tmp_path):
    with pytest.raises(ConfigError, match="reconcile") as refused:
        opened(tmp_path, CRM.replace("token:", "reconcile: weekly, token:"))
    assert "kpid.yml:3" in str(refused.value)


SHELF = """
import json

from kpid.plugin import Connector, ConnectorInfo, EntityReads, IdPage, Page, Settings, hookimpl


class Shelf(Connector[Settings]):
    name = "shelf"
    Settings = Settings

    def reads(self):
        return [EntityReads("deals", listing=True)]

    def pages(self, entity, cursor, until):
        rows = [] if cursor else [{"native_id": key} for key in self.held()]
        yield Page({"deals": rows}, cursor={"since": until.isoformat()})

    def ids(self, entity, cursor, until):
        yield IdPage([(key, None) for key in self.held()])

    def held(self):
        return json.loads((self.context.folder / "shelf.json").read_text())

    def check(self):
        return []


@hookimpl
def kpid_connectors():
    return [ConnectorInfo(Shelf)]
"""


@pytest.mark.parametrize(("written", "left"), [("7d", ["1", "2"]), ("off", ["1", "2", "3"])])
def test_what_vanished_without_a_word_is_found_by_the_comparison_of_ids(tmp_path, written, left):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "kpid_shelf.py").write_text(SHELF)
    source = f"sources: {{crm: {{connector: shelf, reconcile: {written}}}}}\n"
    (tmp_path / "kpid.yml").write_text(f"timezone: Europe/Berlin\nplugins_dir: plugins\n{source}")
    for day, held in ((2, ["1", "2", "3"]), (3, ["1", "2"]), (12, ["1", "2"])):
        (tmp_path / "shelf.json").write_text(json.dumps(held))
        app = open_app(tmp_path / "kpid.yml", ShiftedClock(datetime(2018, 1, day, 8, tzinfo=UTC)))
        try:
            assert cycle.sync(app, "crm").ok
            rows = app.warehouse.query("SELECT native_id FROM deals WHERE deleted_at IS NULL ORDER BY native_id").to_pylist()
            assert [row["native_id"] for row in rows] == (left if day == 12 else ["1", "2", "3"])
        finally:
            app.close()
