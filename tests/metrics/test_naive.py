"""The engine against a second implementation, row by row in plain Python, on random canonical data."""

from __future__ import annotations

import importlib.util
import random
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpid.analysis.periods import Calendar, is_daily, period_from_label, periods_between
from kpid.config.population import Population
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import open_warehouse
from tests.effort import on_worlds

_spec = importlib.util.spec_from_file_location("naive", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
sys.modules["naive"] = naive
_spec.loader.exec_module(naive)

CALENDAR = Calendar("Europe/Berlin")
START, END = (CALENDAR.midnight(period_from_label("day", day, CALENDAR).start.date()) for day in ("2017-10-02", "2018-02-02"))
DIMENSIONS = {
    "deals": ("owner", "team", "region", "segment", "product"),
    "leads": ("owner", "region"),
    "tickets": ("owner", "segment"),
    "activities": ("owner", "team", "region", "segment"),
    "survey_responses": ("owner", "segment"),
}
ENTITY = {
    "calls_made": "activities",
    "calls_per_sale": "activities",
    "leads_created": "leads",
    "ticket_backlog": "tickets",
    "nps": "survey_responses",
}


def agree(found: Decimal | None, expected: Fraction | float | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - decimal_from_fraction(Fraction(expected))) <= Decimal("1e-6")


def check(setup, rows, name, params, kind, by, span=None):
    expected_of = naive.KPIS[name, params]
    need = SeriesNeed(name, kind, (by,) if by else (), params)
    start, end = span or ((START, END) if not is_daily(kind) else (END.replace(year=2017, month=12, day=26), END))
    found = {
        (m.period.label, m.dims[0].id if by else None): m
        for m in figures(need, setup, start=start, end=end, now=naive.NOW, fill=True)
    }
    parts = naive.slices(rows, by) if by else {None: naive.population(rows)}
    for period in periods_between(kind, start, end, setup.calendar):
        if period.start > naive.NOW:
            continue
        for segment, some in parts.items():
            try:
                expected = expected_of(some, period)
            except naive.NoRateError:
                expected = None
            measured = found.pop((period.label, segment), None)
            value = None if measured is None else measured.value
            if measured is None:
                assert not expected, (name, params, kind, by, period.label, segment, expected)
                continue
            assert agree(value, expected), (name, params, kind, by, period.label, segment, value, expected, measured)
    assert not any(m.value for m in found.values())


@given(st.integers(0, 10**9))
@on_worlds(4, 12)
def test_engine_agrees_with_plain_python(kpis, tmp_path_factory, seed):
    rows, rng = naive.random_rows(seed), random.Random(seed)
    warehouse = open_warehouse(tmp_path_factory.mktemp("naive"), rows, now=naive.NOW)
    setup = MetricsSetup(warehouse, kpis, CALENDAR, "EUR")
    try:
        for name, params in naive.KPIS:
            kind = rng.choice(["month", "month", "week", "quarter", "rolling_30d", "mtd"])
            by = rng.choice([None, *DIMENSIONS[ENTITY.get(name, "deals")]])
            check(setup, rows, name, params, kind, by)
    finally:
        warehouse.close()


@pytest.mark.parametrize(("name", "params"), naive.KPIS)
def test_engine_agrees_for_each_kpi_by_month(kpis, tmp_path, name, params):
    rows = naive.random_rows(7)
    warehouse = open_warehouse(tmp_path, rows, now=naive.NOW)
    try:
        for by in (None, *DIMENSIONS[ENTITY.get(name, "deals")]):
            check(MetricsSetup(warehouse, kpis, CALENDAR, "EUR"), rows, name, params, "month", by)
    finally:
        warehouse.close()


def test_engine_agrees_for_one_team_alone(kpis, tmp_path):
    rows = naive.random_rows(7)
    left = naive.slices(rows, "team").get("north", {})
    warehouse = open_warehouse(tmp_path, rows, now=naive.NOW)
    setup = MetricsSetup(warehouse, kpis, CALENDAR, "EUR", population=Population.model_validate({"teams": ["north"]}))
    period = period_from_label("month", "2017-12", CALENDAR)
    try:
        for name, params in naive.KPIS:
            [found] = figures(
                SeriesNeed(name, "month", (), params), setup, start=period.start, end=period.end, now=naive.NOW, fill=True
            )
            try:
                expected = naive.KPIS[name, params](left, period)
            except naive.NoRateError:
                expected = None
            assert agree(found.value, expected), (name, params, found, expected)
    finally:
        warehouse.close()


BOUNDARY = [
    ("Europe/Berlin", datetime(2017, 10, 29, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2017, 11, 5, 6, 30, tzinfo=UTC)),
    ("America/New_York", datetime(2018, 1, 1, 5, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2018, 4, 1, 15, tzinfo=UTC)),
    ("America/Santiago", datetime(2017, 8, 13, 4, tzinfo=UTC)),
    ("America/Santiago", datetime(2017, 9, 1, 4, tzinfo=UTC) - timedelta(microseconds=1)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2012, 1, 2, 9, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2016, 2, 29, 12, tzinfo=UTC)),
]
KINDS = ("day", "week", "month", "fiscal_quarter", "fiscal_year", "rolling_7d", "rolling_90d", "wtd", "qtd", "fytd")


@pytest.mark.parametrize(("timezone", "now"), BOUNDARY)
def test_engine_agrees_where_clocks_change_and_at_the_bounds(kpis, tmp_path, timezone, now):
    """At the end of a period, one microsecond before it, in it; where midnight is skipped, or a whole day."""
    rng = random.Random(timezone + str(now))
    calendar = Calendar(timezone, rng.choice(["mon", "sun", "sat"]), rng.choice([1, 4, 7]), rng.choice(["start", "end"]))
    with naive.elsewhere(timezone, now):
        rows = naive.random_rows(26)
        warehouse = open_warehouse(tmp_path, rows, now=now)
        setup = MetricsSetup(warehouse, kpis, calendar, "EUR")
        try:
            for name, params in naive.KPIS:
                kind = rng.choice(KINDS)
                back = timedelta(days=4 if is_daily(kind) else 40 if kind == "day" else 130)
                by = rng.choice([None, *DIMENSIONS[ENTITY.get(name, "deals")]])
                check(setup, rows, name, params, kind, by, (now - back, now + timedelta(days=3)))
        finally:
            warehouse.close()
