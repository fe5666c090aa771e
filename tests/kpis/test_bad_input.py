"""Bad input: never a crash, never a silent 0, and what is wrong is counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from kpid_files import FilesConnector, FilesSettings
from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, Numeric

from kpid.analysis.periods import Calendar, last_complete, period_at
from kpid.clock import SystemClock
from kpid.ingest.sync import sync_source
from kpid.metrics.measure import MetricsSetup, figures_at
from kpid.model import Measurement, MeasurementState, SeriesNeed
from kpid.plugin import SourceContext
from kpid.plugin.entities import ENTITIES
from kpid.registry import load_plugins
from kpid.store import problems
from kpid.store.engine import Store
from kpid.testing.kpis import measure_rows, open_warehouse
from kpid.warehouse import Warehouse, Watermark
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.types import arrow_schema

NOW = datetime(2018, 1, 2, 8, tzinfo=UTC)
DAY = datetime(2017, 12, 10, 12, tzinfo=UTC)
CALENDAR = Calendar("Europe/Berlin")
PERIODS = (
    *last_complete("month", NOW, CALENDAR, 2),
    period_at("month", NOW, CALENDAR),
    *last_complete("quarter", NOW, CALENDAR, 1),
)
KPIS = load_plugins().kpis
CATEGORIES = sorted({kpi.category for kpi in KPIS.values()})
UNDEFINED = MeasurementState.UNDEFINED
FIRST, LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_ENDS = ("valid_to", "ended_at", "closed_at", "last_day", "ends_on", "converted_at", "trial_end", "last_solved_at")


def _cell(column: Column[Any], kind: str) -> Any:
    """A value that fits the column's type and nothing else."""
    if kind == "nothing" or isinstance(column.type, JSON):
        return None
    backwards = DAY - timedelta(days=20) if column.name in _ENDS or column.name.endswith("_to") else DAY
    instant = {"first": FIRST, "last": LAST}.get(kind, backwards)
    if isinstance(column.type, DateTime):
        return instant
    if isinstance(column.type, Date):
        return instant.date()
    if isinstance(column.type, Boolean):
        return kind == "last"
    if isinstance(column.type, Integer):
        return {"negative": -5, "zero": 0, "first": 11}.get(kind, 7)
    if isinstance(column.type, Numeric):
        score = Decimal(11) if column.name == "score" else Decimal(5)
        return {"negative": Decimal("-10.5"), "zero": Decimal(0), "first": score}.get(kind, score)
    if "ref" in column.info:
        return "crm:nobody" if kind != "negative" else "crm:2"
    return _word(column, kind)


def _word(column: Column[Any], kind: str) -> str:
    """One of the words that a column knows, by turns, or one that it does not."""
    known = [word.strip() for word in (column.doc or "").split(":")[0].split(",")]
    if "currency" in column.name:
        return "XXX" if kind == "backwards" else "EUR"
    if kind == "last" or len(known) < 2:
        return "???"
    return known[("first", "negative", "zero", "backwards").index(kind) % len(known)]


def _rows(entity: str, kinds: tuple[str, ...]) -> pa.Table:
    made = []
    for number, kind in enumerate(kinds):
        row = {column.name: _cell(column, kind) for column in ENTITIES[entity].columns}
        row |= {"id": f"crm:{number}", "source_id": "crm", "native_id": str(number), "synced_at": NOW, "is_test": False}
        made.append(row | {"deleted_at": None, "merged_into_id": "crm:nobody" if kind == "last" else None})
    twice = {**made[0], "updated_at": NOW}
    overlapping = {**made[-1], "id": "crm:overlap", "native_id": "overlap", "merged_into_id": None}
    return pa.Table.from_pylist([*made, twice, overlapping], schema=arrow_schema(entity))


ALL_KINDS = ("first", "last", "backwards", "negative", "zero", "nothing", "backwards", "negative")


@pytest.fixture(scope="module", params=[ALL_KINDS, ("backwards", "nothing"), ("negative",) * 3])
def ruined(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    """Every table full of rows that fit its types and make no sense."""
    warehouse = open_duckdb(tmp_path_factory.mktemp("ruined") / "crm.duckdb")
    with warehouse.batch() as batch:
        for entity in ENTITIES:
            batch.upsert(entity, _rows(entity, request.param))
            batch.save_watermark(Watermark("crm", entity, None, NOW, NOW))
    yield warehouse
    warehouse.close()


def _needs(name: str) -> list[SeriesNeed]:
    """A KPI as it is, with every other choice of its parameters, and by each of its first dimensions."""
    kpi = KPIS[name]
    chosen = [(parameter, choice) for parameter, param in kpi.params.items() for choice in param.choices[1:]]
    found = [SeriesNeed(name, "month", (), params) for params in ((), *(((one, choice),) for one, choice in chosen))]
    return found + [SeriesNeed(name, "month", (dimension,)) for dimension in kpi.dimensions[:1]]


@pytest.mark.parametrize("category", CATEGORIES)
def test_rows_without_sense_never_crash_and_are_never_a_silent_zero(ruined: Warehouse, category: str) -> None:
    setup = MetricsSetup(ruined, KPIS, CALENDAR, "EUR")
    needs = [need for name in sorted(KPIS) if KPIS[name].category == category for need in _needs(name)]
    for some in figures_at(needs, setup, PERIODS, now=NOW):
        for one in some:
            _check(one)


def _check(one: Measurement) -> None:
    assert "failed" not in one.reason, one
    if one.value is None:
        assert one.state is not MeasurementState.OK or one.warnings, one
        assert one.reason or one.warnings, one
    if KPIS[one.kpi].unit == "ratio" and one.value is not None:
        assert one.denominator != 0, one
    if one.low is not None and one.high is not None:
        assert one.low <= one.high, one


# ---- what one bad row does to the KPIs that it is about


def deal(**columns: Any) -> dict[str, Any]:
    return {"created_at": DAY, "closed_at": DAY, "state": "won", "amount": Decimal(10), "currency": "EUR", **columns}


ONLY_BAD: list[tuple[str, dict[str, str], dict[str, list[dict[str, Any]]]]] = [
    ("sales_cycle_days", {}, {"deals": [deal(created_at=DAY + timedelta(days=1))]}),
    ("sales_cycle_days", {"stat": "mean"}, {"deals": [deal(created_at=DAY + timedelta(days=1))]}),
    ("avg_deal_size", {}, {"deals": [deal(amount=None)]}),
    ("avg_deal_size", {"missing_fx": "exclude"}, {"deals": [deal(currency="XXX")]}),
    ("nps", {}, {"survey_responses": [{"kind": "nps", "score": Decimal(11), "submitted_at": DAY}]}),
    ("csat", {}, {"survey_responses": [{"kind": "csat", "score": Decimal(11), "submitted_at": DAY}]}),
    ("lead_response_time", {}, {"leads": [{"created_at": DAY, "first_response_at": DAY - timedelta(days=1)}]}),
    ("lead_response_time", {"stat": "mean"}, {"leads": [{"created_at": DAY, "first_response_at": LAST}]}),
    ("first_reply_time", {}, {"tickets": [{"created_at": DAY, "first_reply_at": DAY - timedelta(days=1)}]}),
    ("resolution_time", {}, {"tickets": [
        {"created_at": DAY, "first_solved_at": DAY - timedelta(hours=1), "last_solved_at": DAY - timedelta(hours=1)}]}),
    ("avg_visit_duration", {}, {"web_daily": [{"date": DAY.date(), "sessions": -5, "duration_s": -60}]}),
    ("website_conversion_rate", {}, {"web_daily": [
        {"date": DAY.date().replace(day=1), "period_kind": "month", "visitors": -9, "conversions": 1}]}),
    ("cost_per_lead", {}, {"leads": [{"created_at": DAY, "lead_source": "ads"}]}),
    ("campaign_roi", {}, {"deals": [deal(campaign_id="gone")]}),
    ("email_open_rate", {}, {"email_sends": [{"sent_at": DAY, "first_open_at": DAY}]}),
    ("list_growth_rate", {}, {"list_membership_history": [
        {"valid_from": DAY - timedelta(days=20), "valid_to": DAY - timedelta(days=60)}]}),
    ("win_rate", {}, {"deals": [deal(closed_at=LAST), deal(closed_at=None), deal(state="???")]}),
    ("customer_churn_rate", {}, {"account_status_history": [
        {"account_id": "x", "status": "active", "valid_from": DAY - timedelta(days=40), "valid_to": DAY - timedelta(days=90)}]}),
]  # fmt: skip


def _with_ids(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    given = {}
    for entity, some in rows.items():
        columns = dict.fromkeys(column for row in some for column in row)
        given[entity] = [{"id": str(number), **columns, **row} for number, row in enumerate(some)]
    return given


@pytest.mark.parametrize(("name", "params", "rows"), [case for case in ONLY_BAD if case[0] in KPIS])
def test_of_bad_rows_alone_nothing_is_made(name: str, params: dict[str, str], rows: dict[str, Any], tmp_path: Path) -> None:
    [found] = measure_rows(KPIS[name], _with_ids(rows), "2017-12", folder=tmp_path, params=params, others=KPIS)
    assert found.value is None, found
    assert found.state is UNDEFINED or "no " in " ".join((found.reason, *found.warnings)), found


MONEY = ("won_amount", "pipeline_open_amount", "marketing_spend", "cost_per_lead", "campaign_roi", "net_revenue")
IN_NO_MONEY = {
    "deals": [
        deal(currency="XXX", campaign_id="0", account_id="0"),
        deal(state="open", closed_at=None, currency="XXX", account_id="0", expected_close_date=date(2018, 3, 1)),
    ],
    "orders": [{"ordered_at": DAY, "net_amount": Decimal(5), "currency": "XXX", "account_id": "0", "deal_id": "0"}],
    "campaign_costs": [
        {"date": DAY.date(), "amount": Decimal(5), "currency": "XXX", "channel": "ads", "campaign_id": "0", "scope": "marketing"}
    ],
    "leads": [{"created_at": DAY, "lead_source": "ads"}],
}


@pytest.mark.parametrize("name", MONEY)
def test_unknown_currency_is_an_error_or_left_out_with_a_word(name: str, tmp_path: Path) -> None:
    for number, params in enumerate(({}, {"missing_fx": "exclude"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        [found] = measure_rows(KPIS[name], _with_ids(IN_NO_MONEY), "2017-12", folder=folder, params=params, others=KPIS)
        said = " ".join((found.reason, *found.warnings))
        if params:
            assert "left out: no exchange rate" in said, found
        else:
            assert (found.state, found.value) == (MeasurementState.ERROR, None)
            assert "no exchange rate to EUR" in said


def test_a_record_twice_in_a_batch_counts_once(tmp_path: Path) -> None:
    rows = {"deals": [{"id": "1", **deal()}, {"id": "1", **deal(amount=Decimal(20))}]}
    [found] = measure_rows(KPIS["won_amount"], rows, "2017-12", folder=tmp_path)
    assert (found.value, found.n) == (20, 1)


def test_references_to_nobody_are_a_segment_without_a_name(tmp_path: Path) -> None:
    rows = _with_ids({"deals": [deal(owner_id="gone", account_id="gone")]})
    for number, by in enumerate(("owner", "team", "segment")):
        folder = tmp_path / str(number)
        folder.mkdir()
        [found] = measure_rows(KPIS["won_deals"], rows, "2017-12", folder=folder, by=[by])
        assert (found.value, found.dims[0].id) == (1, "crm:gone" if by == "owner" else None)


# ---- counted and listed


PROBLEMS = [
    ("deals", deal(created_at=DAY + timedelta(days=1)), "closed_before_created"),
    ("deals", deal(closed_at=LAST), "closed_in_the_future"),
    ("deals", deal(closed_at=None), "closed_without_date"),
    ("deals", deal(amount=Decimal(-1)), "amount_negative"),
    ("deals", deal(amount=None), "amount_missing"),
    ("deals", deal(state="???"), "state_unknown"),
    ("deals", deal(currency="XXX"), "exchange_rate_missing"),
    ("deals", deal(currency="money"), "currency_unknown"),
    ("deals", deal(probability=Decimal(90)), "probability_off_scale"),
    ("orders", {"ordered_at": DAY, "net_amount": Decimal(1), "currency": "XXX"}, "exchange_rate_missing"),
    ("activities", {"type": "call", "occurred_at": DAY, "duration_s": -5}, "negative_duration"),
    ("tickets", {"created_at": DAY, "first_reply_at": DAY - timedelta(days=1)}, "replied_before_created"),
    ("leads", {"created_at": DAY, "converted_at": DAY - timedelta(days=1)}, "converted_before_created"),
    ("subscriptions", {"started_at": DAY, "ended_at": FIRST}, "ended_before_begun"),
    ("survey_responses", {"kind": "nps", "score": Decimal(11), "submitted_at": DAY}, "score_off_scale"),
    ("survey_responses", {"kind": "nps", "score": Decimal("9.5"), "submitted_at": DAY}, "score_not_whole"),
]


@pytest.mark.skipif("data_problems" not in KPIS, reason="the KPI data_problems is not installed")
@pytest.mark.parametrize(("entity", "row", "problem"), PROBLEMS)
def test_what_is_wrong_is_counted_by_problem(entity: str, row: dict[str, Any], problem: str, tmp_path: Path) -> None:
    setup = MetricsSetup(open_warehouse(tmp_path, _with_ids({entity: [row]}), now=NOW), KPIS, CALENDAR, "EUR")
    try:
        need = SeriesNeed("data_problems", "day", ("problem", "entity"))
        [found] = figures_at([need], setup, [period_at("day", NOW, CALENDAR)], now=NOW)
    finally:
        setup.warehouse.close()
    counted = {tuple(sorted(segment.id or "" for segment in one.dims)): one.value for one in found}
    assert counted.get(tuple(sorted((problem, entity)))) == 1, counted


DEALS_CSV = """native_id,state,amount,created_at,closed_at,owner_id
1,won,10,2017-12-01,2017-12-10,ada
2,won,many,2017-12-01,2017-12-10,ada
3,won,30,2017-12-01,2017-02-30,ada
4,won,40,2017-12-11,2017-12-10,ada
1,won,50,2017-12-01,2017-12-10,ada
,won,60,2017-12-01,2017-12-10,ada
"""


@pytest.fixture
def exports(tmp_path: Path) -> Iterator[tuple[MetricsSetup, dict[str, str]]]:
    """A folder with a bad export, read as a source; the setup to measure it, and the problems noted."""
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "deals.csv").write_text(DEALS_CSV, encoding="utf-8")
    warehouse, store = open_duckdb(tmp_path / "crm.duckdb"), Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    context = SourceContext("crm", ZoneInfo("Europe/Berlin"), tmp_path, SystemClock())
    connector = FilesConnector(FilesSettings(path=Path("exports")), context)
    sync_source("crm", connector, warehouse=warehouse, store=store, clock=SystemClock())
    with store.read() as connection:
        noted = {problem.subject: problem.text for problem in problems.list_problems(connection)}
    yield MetricsSetup(warehouse, KPIS, CALENDAR, "EUR"), noted
    warehouse.close()
    store.close()


def test_text_in_a_number_of_a_file_is_counted_and_its_row_stays(exports: tuple[MetricsSetup, dict[str, str]]) -> None:
    setup, noted = exports
    december = next(period for period in PERIODS if period.label == "2017-12")
    amount, deals, size = figures_at(
        [SeriesNeed(name, "month") for name in ("won_amount", "won_deals", "sales_cycle_days")], setup, [december], now=NOW
    )
    assert (amount[0].value, deals[0].value) == (90, 3)  # deal 1 as it came last, deal 2 without an amount, deal 4
    assert "1 won deals have no amount" in amount[0].warnings
    assert (size[0].value, size[0].n) == (9, 2)  # not deal 4, which was closed before it came
    assert noted["data:crm:deals/amount"] == "1 row of deals: not a number: 'many', for example 2"
    assert noted["data:crm:deals/closed_at"] == "1 row of deals: not a date or time: '2017-02-30', for example 3"
    assert noted["data:crm:deals/native_id"].startswith("1 row of deals: rows without an id, left out")
    assert noted["data:deals/closed_at before created_at"] == "1 deal was closed before it was created, for example crm:4"
