"""The SQL of each dialect, as text: a change of it should be seen and meant. ``KPID_GOLDEN=write`` writes the files anew."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Numeric, case, cast, column, func, literal, or_, select, tuple_

from kpid.analysis.periods import Calendar, last_complete
from kpid.errors import ConfigError
from kpid.metrics.constructs import LiteralRows
from kpid.metrics.daily import spread
from kpid.metrics.dialects import (
    JsonText,
    LocalDate,
    PeriodNumber,
    Quantile,
    Quantiles,
    TopSum,
    approximate_on,
    compile_statement,
    dialect_named,
    text_of,
)
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.spine import within
from kpid.metrics.statements import Setting, make_statement
from kpid.model import SeriesNeed
from kpid.plugin import days_between, entities, quantile, seconds_between
from kpid.registry import load_plugins
from tests.metrics.test_yaml_kpis import plugins_of

GOLDEN = Path(__file__).parents[1] / "golden" / "sql"
NOW = datetime(2018, 1, 2, 7, tzinfo=UTC)
CALENDAR = Calendar("Europe/Berlin")
deals = entities.deals
CASES = {
    "events": [("won_deals", "month", ()), ("win_rate", "month", ("team",)), ("won_deals", "week", ("region",))],
    "quantile_of_local_days": [("sales_cycle_days", "quarter", ("owner",))],
    "balance_in_money": [("pipeline_open_amount", "month", ("segment",))],
    "interval": [("close_rate", "quarter", ())],
    "rolling": [("won_deals", "rolling_30d", ("product",))],
    "derived_entity": [("nps", "quarter", ())],
    "now": [("data_freshness", "day", ("source",))],
    "population": [("new_customers", "month", ("segment",)), ("customer_churn_rate", "month", ())],
    "cohort": [("lead_conversion_rate", "month", ("lead_source",))],
    "largest": [("revenue_concentration", "quarter", ())],
    "spread_costs": [("marketing_spend", "month", ("channel",))],
    "seconds": [("lead_response_time", "month", ())],
}
CLOUDS = ("trino", "snowflake", "bigquery")
"""Engines whose SQL is written, but not run by any test: it is read."""
CHOICES = {
    "snap_avg": [("pipeline_open_amount", "month", ("owner",), {"snap": "avg"})],
    "every_closing": [
        ("won_deals", "month", ("owner",), {"reopen": "every", "close_basis": "transition"}),
        ("close_rate", "quarter", (), {"reopen": "every", "closed": "won_lost", "lost_excludes": "duplicate"}),
    ],
    "include_deleted": [("won_amount", "month", (), {"include_deleted": "true"})],
    "at_an_hour": [("ticket_backlog", "day", ("age_band",), {"at_hour": "23"})],
    "case_when": [("weighed", "month", ("owner",), {}), ("moved", "month", (), {}), ("late", "month", (), {})],
}
OWN = """
kpis:
  weighed:
    unit: count
    measures:
      m:
        entity: deals
        at: closed_at
        sum: case when state = 'won' and amount > 500 then 1.5 when state = 'won' then 1 when probability > 0.3 then 1 / 4 end
  moved:
    unit: count
    measures: {m: {entity: deals, at: "case when state = 'won' then closed_at else created_at end"}}
  late:
    unit: count
    measures: {m: {entity: deals, at: closed_at, where: "case state when 'won' then owner_id else lead_source end in ('a', 'b')"}}
"""
DIALECTS = ("duckdb", "postgresql", "spark", "clickhouse", "clickhouse~", "trino", "snowflake", "bigquery")


@pytest.fixture(scope="module")
def kpis():
    return load_plugins().kpis


def statements(kpis, case, dialect):
    asks = []
    for name, kind, by, *more in {**CASES, **CHOICES}[case]:
        kpi, params = kpis[name], more[0] if more else {}
        periods = tuple(last_complete(kind, NOW, CALENDAR, 2))
        need = SeriesNeed(name, kind, by, tuple(sorted(params.items())))
        ask = Ask(need, kpi, kpi.definition(params), kpi.params_from(params), kpi.min_sample, periods)
        asks.append(spread(ask, CALENDAR, NOW))
    setting = Setting(NOW, CALENDAR.timezone, "EUR", frozenset({"deals"}))
    for scan in make_plan(asks).scans:
        statement = make_statement(scan, setting)
        yield compile_statement(statement.select, dialect, {**statement.values, **scan.values})


def golden(dialect, case, compiled):
    """Compare with what is written down: nothing may change that is not meant to."""
    text = "\n\n".join(f"{sql}\n-- {parameters}" for sql, parameters in compiled) + "\n"
    file = GOLDEN / dialect.replace("~", "_quick") / f"{case}.sql"
    if os.environ.get("KPID_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("case", CASES)
def test_sql_is_as_written_down(kpis, case, dialect):
    golden(dialect, case, statements(kpis, case, dialect))


@pytest.mark.parametrize("dialect", CLOUDS)
@pytest.mark.parametrize("case", CHOICES)
def test_choices_are_spelt_for_the_clouds_as_written_down(kpis, case, dialect, tmp_path):
    own = plugins_of({}, tmp_path, OWN).kpis if case == "case_when" else {}
    compiled = list(statements({**kpis, **own}, case, dialect))
    golden(dialect, case, compiled)
    assert all(sql.count("(") == sql.count(")") for sql, _ in compiled)


def test_mapped_tables_are_called_by_their_mapping(kpis):
    golden("spark+mapped", "balance_in_money", statements(kpis, "balance_in_money", "spark+mapped"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_construct_is_as_written_down(dialect):
    c = deals.c
    won = c.state == "won"
    select_all = select(
        func.grouping(c.owner_id).label("g"),
        func.count().filter(won),
        func.count(c.account_id.distinct()),
        func.count(c.account_id.distinct()).filter(won),
        func.sum(c.amount).filter(won),
        Quantile(0.5, c.amount),
        Quantile(0.9, c.amount).filter(or_(won, c.amount > 5)),
        Quantiles((0.1, 0.5), c.amount).filter(won),
        TopSum(3, c.amount),
        TopSum(3, c.amount).filter(or_(won, c.amount > 5)),
        func.max(days_between(c.created_at, c.closed_at)),
        func.max(seconds_between(c.created_at, c.closed_at)),
        func.min(LocalDate(c.created_at, literal("Europe/Berlin"))),
        func.max(JsonText(c.extra, 'it\'s a \\ "key"')),
        func.max(PeriodNumber(c.closed_at, [(NOW, 0), (NOW, None)])),
        func.sum(case((won, cast(c.amount, Numeric(20, 6)) / 3), else_=0)),
        func.max(cast(c.amount, Numeric(18, 10))),
        func.row_number().over(partition_by=c.owner_id, order_by=func.max(c.closed_at).desc().nulls_last()),
    ).group_by(func.grouping_sets(tuple_(c.owner_id), tuple_()))
    golden(dialect, "constructs", [compile_statement(select_all, dialect, {"zone": "Europe/Berlin"})])


def test_parameters_are_never_part_of_the_text(kpis):
    hostile = "x'; DROP TABLE deals; --"
    kpi = kpis["won_deals"]
    need = SeriesNeed("won_deals", "month", where=(("product", (hostile,)),))
    ask = Ask(need, kpi, kpi.definition({}), {}, 0, tuple(last_complete("month", NOW, CALENDAR)), (("product", (hostile,)),))
    [scan] = make_plan([ask]).scans
    sql, parameters = compile_statement(make_statement(scan, Setting(NOW, "Europe/Berlin", "EUR")).select, "duckdb")
    assert "DROP" not in sql
    assert hostile in parameters
    assert sql.count("?") == len(parameters)


def test_measures_of_one_entity_and_clock_share_a_scan(kpis):
    names = ("won_deals", "lost_deals", "won_amount", "win_rate", "avg_deal_size", "sales_cycle_days")
    asks = [
        Ask(SeriesNeed(name, kind, by), kpis[name], kpis[name].definition({}), kpis[name].params_from({}), 0, periods)
        for name in names
        for kind in ("month", "week")
        for by in ((), ("owner",))
        for periods in [tuple(last_complete(kind, NOW, CALENDAR))]
    ]
    plan = make_plan(asks)
    [scan] = plan.scans
    assert len(scan.measures) == 8
    assert sorted(scan.cuts) == [("month", ()), ("month", ("owner",)), ("week", ()), ("week", ("owner",))]


def test_period_number_is_null_outside_the_bounds_and_in_gaps():
    def day(number):
        return datetime(2018, 1, number, tzinfo=UTC)

    text = text_of(PeriodNumber(deals.c.closed_at, [(day(1), 0), (day(2), None), (day(5), 1), (day(6), None)]))
    assert text.count("NULL") == 3
    assert "deals.closed_at < TIMESTAMPTZ '2018-01-02 00:00:00+00:00'" in text


def test_an_instant_that_stands_in_for_another_is_bounded_by_its_first_column_too():
    first, last = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    ended = entities.activities.c.ended_at
    instant = func.coalesce(ended, entities.activities.c.occurred_at)
    text, _ = compile_statement(select(ended).where(within(instant, [(first, last)])), "duckdb")
    where = text.partition("WHERE ")[2]
    assert where.startswith("(activities.ended_at IS NULL OR activities.ended_at >= ? AND activities.ended_at < ?) AND coalesce(")


def test_constructs_compile_alone():
    c = deals.c
    assert "AS DATE) - CAST(timezone(kpid_zone, deals.created_at) AS DATE)" in text_of(days_between(c.created_at, c.closed_at))
    assert text_of(seconds_between(c.created_at, c.closed_at)).startswith("CAST(floor((epoch_us(deals.closed_at)")
    assert quantile(0.9, c.amount).q == 0.9


def test_what_an_engine_only_estimates_is_known():
    assert approximate_on("duckdb") == approximate_on("spark+mapped") == approximate_on("clickhouse+mapped") == frozenset()
    assert approximate_on("clickhouse~+mapped") == {"quantile", "count_distinct"}
    assert approximate_on("trino") == approximate_on("bigquery") == {"quantile"}


def test_unknown_dialect_is_refused():
    with pytest.raises(ConfigError, match="no SQL dialect for warehouse 'oracle'"):
        dialect_named("oracle")
    with pytest.raises(ConfigError):
        compile_statement(select(deals.c.id), "oracle")


def test_written_tables_are_right_in_many_threads():
    """More tables than are kept, so that threads throw away each other's."""
    tables = [((f"t{number}", number), (f"u{number}", -number)) for number in range(12)]
    interval = sys.getswitchinterval()

    def written(number):
        made = LiteralRows(("a", "b"), tables[number % len(tables)]).table_valued(column("a"), column("b"), name="made")
        return number % len(tables), compile_statement(select(made.c.a), "postgresql")[0]

    try:
        sys.setswitchinterval(1e-6)
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(written, range(300)))
    finally:
        sys.setswitchinterval(interval)
    assert all(f"('t{number}',{number})" in sql for number, sql in found)
