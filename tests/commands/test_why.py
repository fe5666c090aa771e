"""``kpid why``: what moved an alert is told against what its rule compares with."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.rules import needs_of
from kpid.analysis.periods import period_from_label
from kpid.app import App
from kpid.commands.alerts import list_alerts
from kpid.commands.why import why
from kpid.model import Measurement, MeasurementState, Period, Segment, SeriesNeed
from kpid.store import history
from tests.commands.handled import CONFIG, opened

RULE = '{name: few-wins, kpi: won_deals, period: month, warn: "drop > 30% vs avg(4)", to: [team]}'
OWN = CONFIG.replace(CONFIG[CONFIG.index("{name: few-wins") : CONFIG.index("\n  - {name: low-calls")], RULE)
MONTHS = {"2026-06": (20, 20), "2026-07": (20, 20), "2026-08": (22, 18), "2026-09": (25, 12), "2026-10": (18, 4)}


def _measured(need: SeriesNeed, period: Period, owner: str | None, value: int) -> Measurement:
    dims = () if owner is None else (Segment("owner", f"crm:{owner}", owner.title()),)
    plain = Measurement(need.kpi, period, MeasurementState.OK, Decimal(value), value, dims, need.params)
    return Measurement(**{name: getattr(plain, name) for name in plain.__slots__} | {"data_through": period.end})


def _put(app: App) -> Period:
    rule = app.config.rules[0]
    settings = app.kpi_settings().get(rule.kpi)
    periods = [period_from_label("month", label, app.calendar) for label in MONTHS]
    for need in needs_of(rule, app.plugins.kpis[rule.kpi], settings):
        if need.by not in {(), ("owner",)}:
            continue
        for period, (ada, bob) in zip(periods, MONTHS.values(), strict=True):
            values = {None: ada + bob} if not need.by else {"ada": ada, "bob": bob}
            found = [_measured(need, period, owner, value) for owner, value in values.items()]
            with app.store.write() as conn:
                history.append(conn, need, found, periods=[period], definition="d", now=period.end)
                history.save_family(conn, need, "d", 1, period.end)
    return periods[-1]


def test_reason_is_told_against_the_average_that_the_rule_compares_with(tmp_path: Path) -> None:
    with opened(tmp_path, OWN) as app:
        last = _put(app)
        evaluate_rules(app.alerting_setup(), store=app.store, now=last.end + timedelta(days=4))
        (alert,) = list_alerts(app)
        found = why(app, number=alert["id"])
    assert found["moved_from"] == "the average of 4 months"
    assert found["sentences"][0].startswith("owner Bob accounts for −13.5 (from 17.5 to 4")
    assert sum(Decimal(str(cause["effect"])) for cause in found["causes"]) == Decimal(22) - Decimal("39.25")
