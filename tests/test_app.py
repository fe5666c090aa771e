"""What an app makes of its configuration."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kpid.app import open_app
from kpid.clock import ShiftedClock
from kpid.errors import ConfigError
from kpid.plugin import Secret

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
