"""The SQL of each dialect, as text: a change of it should be seen and meant. ``KPID_GOLDEN=write`` writes the files anew."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from kpid.analysis.periods import Calendar, last_complete
from kpid.errors import ConfigError
from kpid.metrics.dialects import PeriodNumber, compile_statement, dialect_named, text_of
from kpid.metrics.plan import Ask, make_plan
from kpid.metrics.statements import Setting, make_statement
from kpid.model import SeriesNeed
from kpid.plugin import days_between, entities, quantile, seconds_between

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
}


def statements(kpis, case, dialect):
    asks = []
    for name, kind, by in CASES[case]:
        kpi = kpis[name]
        periods = tuple(last_complete(kind, NOW, CALENDAR, 2))
        asks.append(Ask(SeriesNeed(name, kind, by), kpi, kpi.definition({}), kpi.params_from({}), kpi.min_sample, periods))
    setting = Setting(NOW, CALENDAR.timezone, "EUR", frozenset({"deals"}))
    for scan in make_plan(asks).scans:
        yield compile_statement(make_statement(scan, setting).select, dialect)


@pytest.mark.parametrize("dialect", ["duckdb", "postgresql"])
@pytest.mark.parametrize("case", CASES)
def test_sql_is_as_written_down(kpis, case, dialect):
    text = "\n\n".join(f"{sql}\n-- {parameters}" for sql, parameters in statements(kpis, case, dialect)) + "\n"
    file = GOLDEN / f"{case}.{dialect}.sql"
    if os.environ.get("KPID_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


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
    assert len(scan.measures) == 6
    assert sorted(scan.cuts) == [("month", ()), ("month", ("owner",)), ("week", ()), ("week", ("owner",))]


def test_period_number_is_null_outside_the_bounds_and_in_gaps():
    def day(number):
        return datetime(2018, 1, number, tzinfo=UTC)

    text = text_of(PeriodNumber(deals.c.closed_at, [(day(1), 0), (day(2), None), (day(5), 1), (day(6), None)]))
    assert text.count("NULL") == 3
    assert "deals.closed_at < TIMESTAMPTZ '2018-01-02 00:00:00+00:00'" in text


def test_constructs_compile_alone():
    c = deals.c
    assert "AS DATE) - CAST(timezone(kpid_zone, deals.created_at) AS DATE)" in text_of(days_between(c.created_at, c.closed_at))
    assert text_of(seconds_between(c.created_at, c.closed_at)).startswith("CAST(floor(EXTRACT(epoch FROM deals.closed_at)")
    assert quantile(0.9, c.amount).q == 0.9


def test_unknown_dialect_is_refused():
    with pytest.raises(ConfigError, match="no SQL dialect for warehouse 'oracle'"):
        dialect_named("oracle")
    with pytest.raises(ConfigError):
        compile_statement(select(deals.c.id), "oracle")
