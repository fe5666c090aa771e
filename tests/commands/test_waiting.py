"""A rule that lacks history says so, and until when."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.rules import plan_of
from kpid.analysis.periods import period_from_label
from kpid.commands.alerts import list_alerts
from kpid.commands.check import connect_checks
from kpid.store import history
from tests.alerting.sights import plain
from tests.commands.handled import opened

CONFIG = """
timezone: Europe/Berlin
receivers:
  team: {notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [ada@example.com]}
rules:
  - {name: wins-down, kpi: won_deals, period: month, warn: "drop > 5% vs last_year", to: [team]}
  - {name: few-wins, kpi: won_deals, period: month, warn: "< 5", to: [team]}
"""


def test_rule_without_enough_history_is_listed_and_checked_with_the_day_on_which_it_begins(tmp_path: Path) -> None:
    with opened(tmp_path, CONFIG) as app:
        setup = app.alerting_setup()
        for label in ("2026-09", "2026-10"):
            period = period_from_label("month", label, app.calendar)
            for rule in app.config.rules:
                plan = plan_of(rule, app.plugins.kpis[rule.kpi])
                with app.store.write() as conn:
                    figure = plain(period, 9, kpi="won_deals", as_of=period.end, data_through=period.end)
                    history.append(conn, plan.need, [figure], periods=[period], definition="d", now=period.end)
                    history.save_family(conn, plan.need, "d", 1, period.end + timedelta(days=5))
        evaluate_rules(setup, store=app.store, now=app.clock.now())
        (one,) = list_alerts(app)
        assert (one["rule"], one["status"]) == ("wins-down", "waiting")
        assert one["reason"] == "not judged yet: too little is known to compare with until 2027-10-01"
        assert list_alerts(app, rule="few-wins") == []
        (finding,) = [one for one in connect_checks(app) if one.subject == "rule wins-down"]
        assert (finding.warning, finding.text) == (True, one["reason"])
        assert finding.where.endswith("kpid.yml:6")
