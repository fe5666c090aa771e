"""What an app makes of its configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import select

from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.rules import need_of
from kpid.analysis.periods import last_complete
from kpid.app import open_app
from kpid.clock import ShiftedClock
from kpid.errors import ConfigError
from kpid.model import Measurement, MeasurementState, Segment
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
