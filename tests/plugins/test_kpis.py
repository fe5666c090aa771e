"""The in-tree KPIs: their contract, worked values, and the public data set of a computer seller's pipeline."""

from __future__ import annotations

import csv
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import kpid_activity
import kpid_marketing
import kpid_pipeline
import kpid_quality
import kpid_sales
import kpid_satisfaction
import kpid_support
import pytest

from kpid.analysis.periods import Calendar
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import MeasurementState, SeriesNeed
from kpid.testing.kpis import check_kpi, measure_rows, open_warehouse

MODULES = (kpid_sales, kpid_pipeline, kpid_activity, kpid_marketing, kpid_support, kpid_satisfaction, kpid_quality)
KPIS = {kpi.id: kpi for module in MODULES for kpi in module.kpid_kpis()}
DAY = datetime(2017, 12, 10, 12, tzinfo=UTC)


def test_all_kpis_of_the_first_release_are_there():
    assert set(KPIS) >= {
        "won_deals", "won_amount", "lost_deals", "win_rate", "close_rate", "avg_deal_size", "sales_cycle_days",
        "pipeline_open_amount", "pipeline_created", "leads_created", "calls_made", "calls_per_sale", "ticket_backlog", "nps",
        "data_freshness",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in KPIS if name != "data_freshness"])
def test_kpi_keeps_the_contract(name, tmp_path):
    check_kpi(KPIS[name], tmp_path, KPIS)


def deal(number, state, **columns):
    return {"id": str(number), "state": state, "closed_at": DAY, "created_at": DAY.replace(day=1), **columns}


def one(kpi, rows, folder, label="2017-12", **options):
    [measurement] = measure_rows(KPIS[kpi], rows, label, folder=folder, **options)
    return measurement


def test_win_rate_keeps_what_it_divided_and_its_sample(tmp_path):
    found = one("win_rate", {"deals": [deal(1, "won"), deal(2, "lost"), deal(3, "lost")]}, tmp_path)
    assert (found.value, found.numerator, found.denominator, found.n) == (Decimal("0.3333333333333333333333333333"), 1, 3, 3)
    assert found.state is MeasurementState.INSUFFICIENT_SAMPLE
    assert found.reason == "3 closed deals, at least 30 needed"


def test_win_rate_of_nothing_closed_is_undefined_not_zero(tmp_path):
    found = one("win_rate", {"deals": [deal(1, "open")]}, tmp_path)
    assert (found.state, found.value, found.reason) == (MeasurementState.UNDEFINED, None, "no closed deals")


def test_close_rate_of_10_in_50_is_20_percent(tmp_path):
    deals = [deal(n, "won" if n < 10 else "open") for n in range(50)]
    deals = [d if d["state"] == "won" else d | {"closed_at": None} for d in deals]
    assert one("close_rate", {"deals": deals}, tmp_path).value == Decimal("0.2")


def test_nps_of_20_percent_promoters_and_30_percent_detractors_is_minus_10(tmp_path):
    scores = [9] * 20 + [7] * 50 + [3] * 30 + [11, -1, Decimal("9.5")]
    rows = [{"id": str(n), "kind": "nps", "score": Decimal(score), "submitted_at": DAY} for n, score in enumerate(scores)]
    found = one("nps", {"survey_responses": rows}, tmp_path)
    assert (found.value, found.numerator, found.denominator, found.n) == (-10, -10, 100, 100)


def test_nps_counts_the_latest_answer_of_a_respondent_in_a_wave(tmp_path):
    answers = [("1", 10, DAY), ("2", 0, DAY.replace(day=11))]
    rows = [
        {"id": key, "kind": "nps", "score": Decimal(score), "submitted_at": at, "respondent_id": "r", "wave_id": "w"}
        for key, score, at in answers
    ]
    assert one("nps", {"survey_responses": rows}, tmp_path).value == -100


def test_sales_cycle_counts_local_calendar_days_and_leaves_out_negative_ones(tmp_path):
    late = datetime(2017, 12, 9, 23, 30, tzinfo=UTC)  # half past midnight on the 10th in Berlin
    deals = [
        deal(1, "won", created_at=late),
        deal(2, "won", created_at=DAY.replace(day=8)),
        deal(3, "won", created_at=DAY.replace(day=20)),
    ]
    found = one("sales_cycle_days", {"deals": deals}, tmp_path, params={"stat": "mean"})
    assert (found.value, found.n) == (1, 2)


def test_null_amount_counts_as_deal_but_not_in_the_sum(tmp_path):
    deals = [deal(1, "won", amount=Decimal(10)), deal(2, "won", amount=None), deal(3, "won", amount=Decimal(0))]
    found = one("won_amount", {"deals": deals}, tmp_path)
    assert (found.value, found.currency, found.warnings) == (10, "EUR", ("1 won deals have no amount",))
    (tmp_path / "b").mkdir()
    assert one("avg_deal_size", {"deals": deals}, tmp_path / "b").value == 5


def test_amount_without_rate_is_an_error_unless_left_out(tmp_path):
    rate = {"id": "1", "from_currency": "USD", "to_currency": "EUR", "valid_from": DAY.date(), "rate": Decimal("0.5")}
    deals = [deal(1, "won", amount=Decimal(10), currency="USD"), deal(2, "won", amount=Decimal(10), currency="GBP")]
    rows = {"deals": deals, "fx_rates": [rate]}
    found = one("won_amount", rows, tmp_path)
    assert (found.state, found.value) == (MeasurementState.ERROR, None)
    assert found.reason == "no exchange rate to EUR for 1 amount"
    (tmp_path / "b").mkdir()
    found = one("won_amount", rows, tmp_path / "b", params={"missing_fx": "exclude"})
    assert (found.state, found.value, found.warnings) == (MeasurementState.OK, 5, ("1 amount left out: no exchange rate",))


def test_rate_that_began_last_holds_where_rates_overlap(tmp_path):
    rates = [
        {"id": str(n), "from_currency": "USD", "to_currency": "EUR", "valid_from": day, "valid_to": None, "rate": Decimal(rate)}
        for n, (day, rate) in enumerate(
            [(DAY.replace(day=1).date(), "0.5"), (DAY.replace(day=5).date(), "0.8"), (DAY.replace(day=20).date(), 9)]
        )
    ]
    deals = [deal(1, "won", amount=Decimal(10), currency="USD")]
    assert one("won_amount", {"deals": deals, "fx_rates": rates}, tmp_path).value == 8


def test_calls_per_sale_without_sales_is_undefined(tmp_path):
    call = {"id": "1", "type": "call", "direction": "outbound", "status": "completed", "occurred_at": DAY}
    found = one("calls_per_sale", {"activities": [call]}, tmp_path)
    assert (found.state, found.reason) == (MeasurementState.UNDEFINED, "no won deals")


def test_freshness_is_the_age_of_the_oldest_entity(tmp_path):
    now = datetime(2018, 1, 2, 8, tzinfo=UTC)
    warehouse = open_warehouse(tmp_path, {}, now=now)
    setup = MetricsSetup(warehouse, KPIS, Calendar("UTC"), "EUR")
    later = now.replace(hour=9)
    [found] = figures(SeriesNeed("data_freshness", "day"), setup, start=now.replace(hour=0), end=now.replace(day=3), now=later)
    warehouse.close()
    assert (found.value, found.state) == (3600, MeasurementState.OK)


# ---- the public data set

DATA = os.environ.get("KPID_DATA") or str(Path(__file__).parents[3] / "shared" / "data" / "crm_sales_opportunities")
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def seller(tmp_path_factory):
    folder = Path(DATA) / "crm_sales_opportunities" if DATA and not (Path(DATA) / "sales_pipeline.csv").exists() else Path(DATA)
    if not DATA or not (folder / "sales_pipeline.csv").exists():
        pytest.skip("KPID_DATA does not name a folder with the public data set crm_sales_opportunities")
    zone = ZoneInfo("Europe/Berlin")

    def at(text):
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC) if text else None

    def read(name):
        with (folder / name).open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    deals = [
        {
            "id": row["opportunity_id"],
            "owner_id": row["sales_agent"],
            "product": {"GTXPro": "GTX Pro"}.get(row["product"], row["product"]),
            "state": {"Won": "won", "Lost": "lost"}.get(row["deal_stage"], "open"),
            "created_at": at(row["engage_date"]),
            "closed_at": at(row["close_date"]),
            "amount": Decimal(row["close_value"]) if row["close_value"] else None,
        }
        for row in read("sales_pipeline.csv")
    ]
    users = [
        {"id": row["sales_agent"], "name": row["sales_agent"], "team": row["manager"], "region": row["regional_office"]}
        for row in read("sales_teams.csv")
    ]
    warehouse = open_warehouse(tmp_path_factory.mktemp("seller"), {"deals": deals, "users": users}, now=NOW)
    yield MetricsSetup(warehouse, KPIS, Calendar("Europe/Berlin"), "EUR")
    warehouse.close()


def whole_year(seller, kpi, kind="year", by=(), **params):
    need = SeriesNeed(kpi, kind, by, tuple(sorted(params.items())))
    return figures(
        need, seller, start=datetime(2016, 12, 31, 23, tzinfo=UTC), end=datetime(2017, 12, 31, 23, tzinfo=UTC), now=NOW
    )


@pytest.mark.parametrize(
    ("kpi", "params", "text"),
    [
        ("won_deals", {}, "4238.0000"),
        ("lost_deals", {}, "2473.0000"),
        ("won_amount", {}, "10005534.0000"),
        ("sales_cycle_days", {"stat": "mean"}, "51.7820"),
    ],
)
def test_year_of_the_public_data_set(seller, kpi, params, text):
    [found] = whole_year(seller, kpi, **params)
    assert (f"{found.value:.4f}", found.state) == (text, MeasurementState.OK)


def test_win_rate_of_the_public_data_set(seller):
    [found] = whole_year(seller, "win_rate")
    assert f"{found.value * 100:.4f}" == "63.1501"
    assert (found.numerator, found.denominator) == (4238, 6711)


def test_open_deals_of_the_public_data_set_now_and_then(seller):
    need = SeriesNeed("pipeline_open_amount", "month", params=(("as", "count"),))
    [now] = figures(need, seller, start=NOW, end=NOW.replace(day=3), now=NOW)
    assert (now.value, now.state, now.warnings) == (2089, MeasurementState.INCOMPLETE, ())
    *_, december = whole_year(seller, "pipeline_open_amount", "month", **{"as": "count"})
    assert (december.value, december.state) == (2089 - 500, MeasurementState.OK)
    assert december.warnings == ("500 open deals left out: nobody knows since when they are open",)


@pytest.mark.parametrize("by", ["owner", "team", "region", "product"])
@pytest.mark.parametrize("kpi", ["won_deals", "lost_deals", "won_amount", "pipeline_open_amount"])
def test_slices_of_the_public_data_set_add_up(seller, kpi, by):
    totals = {m.period.label: m.value for m in whole_year(seller, kpi, "month")}
    parts = dict.fromkeys(totals, Decimal(0))
    for part in whole_year(seller, kpi, "month", (by,)):
        parts[part.period.label] += part.value
    assert parts == totals
