"""Every KPI there is on the real pipeline: what it can feed has a figure, of what it cannot the reason is said, never a 0."""

from __future__ import annotations

import csv
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpid.analysis.periods import period_from_label
from kpid.app import App, open_app
from kpid.clock import ShiftedClock
from kpid.metrics.measure import figures
from kpid.model import Measurement, MeasurementState, SeriesNeed
from kpid.plugin import Now
from kpid.registry import load_plugins
from tests.journey.shell import Shell, make_shell

HERE = Path(__file__).parent
DATA = Path(os.environ.get("KPID_DATA") or HERE.parents[2] / "shared" / "data" / "crm_sales_opportunities")
NOW = "2018-01-02T08:00:00+01:00"
QUARTER = "2017-Q3"
pytestmark = pytest.mark.skipif(
    not (DATA / "sales_pipeline.csv").is_file(), reason=f"the sales pipeline data is not at {DATA}: set KPID_DATA"
)
MISSING = ("activities", "leads", "tickets", "orders", "subscriptions", "email_sends", "survey_responses", "campaign_costs")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    text = (HERE / "crm_sales_opportunities.yml").read_text(encoding="utf-8")
    shell = make_shell(tmp_path_factory.mktemp("every"), text, KPID_DATA=str(DATA))
    shell.run("sync", now=NOW)
    return shell


@pytest.fixture(scope="module")
def availability(shell: Shell) -> dict[str, tuple[str, str]]:
    rows = shell.json("check", "--kpis", now=NOW)
    return {row["kpi"]: (row["state"], " ".join(row["why"])) for row in rows}


@pytest.fixture(scope="module")
def app(shell: Shell) -> Any:
    os.environ["KPID_DATA"] = str(DATA)
    app = open_app(shell.config, ShiftedClock(datetime.fromisoformat(NOW)), warehouse="read")
    yield app
    app.close()


def measured(app: App, kpi: str, label: str = QUARTER, **params: str) -> Measurement:
    period = period_from_label(None, label, app.calendar)
    need = SeriesNeed(kpi, period.kind, (), tuple(sorted(params.items())))
    now = datetime(2018, 1, 2, 7, tzinfo=UTC)
    [found] = figures(need, app.metrics_setup(), start=period.start, end=period.end, now=now, fill=True)
    return found


def test_of_every_kpi_it_is_said_what_it_is_worth_here(availability: dict[str, tuple[str, str]]) -> None:
    assert set(availability) == set(load_plugins().kpis)
    assert {state for state, _ in availability.values()} == {"exact", "approximate", "unavailable"}
    assert {kpi for kpi, (state, why) in availability.items() if state != "exact" and not why} == set()


@pytest.mark.parametrize("kpi", sorted(load_plugins().kpis))
def test_a_kpi_has_a_figure_or_says_why_not(app: App, availability: dict[str, tuple[str, str]], kpi: str) -> None:
    state, why = availability[kpi]
    is_of_now = all(isinstance(one.clock, Now) for one in app.plugins.kpis[kpi].definition({}).measures.values())
    found = measured(app, kpi, "2018-01-02" if is_of_now and not app.plugins.kpis[kpi].definition({}).uses else QUARTER)
    if state == "unavailable":
        assert found.value is None, why
        assert found.state in {MeasurementState.INCOMPLETE, MeasurementState.UNDEFINED, MeasurementState.STALE}
        assert found.reason
    else:
        assert found.state is not MeasurementState.ERROR, found.reason
        assert found.value is not None or found.reason or found.warnings


@pytest.fixture(scope="module")
def deals() -> list[dict[str, str]]:
    with (DATA / "sales_pipeline.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_quarter(day: str) -> bool:
    return "2017-07-01" <= day < "2017-10-01"


def test_what_the_pipeline_can_feed_equals_a_count_by_hand(app: App, deals: list[dict[str, str]]) -> None:
    won = [row for row in deals if row["deal_stage"] == "Won" and in_quarter(row["close_date"])]
    lost = [row for row in deals if row["deal_stage"] == "Lost" and in_quarter(row["close_date"])]
    amount = sum(Decimal(row["close_value"]) for row in won)
    assert measured(app, "win_rate").value == Decimal(len(won)) / (len(won) + len(lost)) or len(won) == 0
    assert measured(app, "won_amount").value == amount
    rate = measured(app, "win_rate", weight="amount")
    assert (rate.numerator, rate.denominator) == (amount, amount)  # lost deals of this data have an amount of 0
    size = measured(app, "avg_deal_size")
    assert (size.numerator, size.denominator, size.n) == (amount, len(won), len(won))


def test_a_cohort_is_followed_to_its_outcome(app: App, deals: list[dict[str, str]]) -> None:
    created = [row for row in deals if in_quarter(row["engage_date"])]
    won = [row for row in created if row["deal_stage"] == "Won"]
    cohort = measured(app, "win_rate", mode="cohort")
    assert (cohort.numerator, cohort.denominator) == (len(won), len(created))


def test_what_is_missing_is_named(availability: dict[str, tuple[str, str]]) -> None:
    told = " ".join(why for _, why in availability.values())
    assert {table for table in MISSING if table not in told} == set()
