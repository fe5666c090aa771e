"""The engine against a second implementation of the marketing KPIs, row by row in plain Python, on random canonical data."""

from __future__ import annotations

import importlib.util
import random
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import kpid_marketing
import pytest

from kpid.analysis.periods import Calendar, is_daily, periods_between
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import open_warehouse
from tests.kpis import population

_spec = importlib.util.spec_from_file_location("naive_marketing", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

KPIS = {kpi.id: kpi for kpi in kpid_marketing.kpid_kpis()}
CALENDAR = Calendar("Europe/Berlin")
NAMES = sorted({name for name, _ in naive.KPIS})


def agree(found, expected):
    if found is None or expected is None:
        return found is expected
    return abs(found - decimal_from_fraction(Fraction(expected))) <= Decimal("1e-4")


def check(setup, rows, name, params, kind, by):
    facts_of, value_of, _ = naive.KPIS[name, params]
    need = SeriesNeed(name, kind, (by,) if by else (), params)
    end = naive.NOW + timedelta(days=2)
    start = end - timedelta(days=5 if is_daily(kind) else 30 if kind in ("day", "week") else 120)
    made = figures(need, setup, start=start, end=end, now=naive.NOW, fill=True)
    found = {(m.period.label, m.dims[0].id if by else None): m for m in made}
    for period in periods_between(kind, start, end, CALENDAR):
        if period.start > naive.NOW:
            continue
        parts = {} if by else {None: []}
        for fact in facts_of(rows, period):
            parts.setdefault(naive.segment_of(fact, by, rows) if by else None, []).append(fact)
        for segment, facts in parts.items():
            try:
                expected = value_of(facts)
            except naive.NoRateError:
                expected = None
            measured = found.pop((period.label, segment), None)
            if measured is None:
                assert not expected, (name, params, kind, by, period.label, segment, expected)
                continue
            assert agree(measured.value, expected), (name, params, kind, by, period.label, segment, expected, measured)
    assert not any(m.value for m in found.values()), [m for m in found.values() if m.value]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_engine_agrees_with_plain_python(name, seed, tmp_path):
    rows, rng = naive.random_rows(seed), random.Random(seed)
    warehouse = open_warehouse(tmp_path, rows, now=naive.NOW)
    setup = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")
    rows = population.counted(rows)
    try:
        for params in (params for kpi, params in naive.KPIS if kpi == name):
            dimensions = naive.KPIS[name, params][2]
            check(setup, rows, name, params, rng.choice(["month", "quarter", "rolling_30d", "week", "day"]), None)
            for by in rng.sample(dimensions, k=min(2 - seed, len(dimensions))):
                check(setup, rows, name, params, "month", by)
    finally:
        warehouse.close()


def test_every_kpi_and_every_choice_is_compared():
    without_rows = {"leads_created"}  # compared in tests/metrics
    assert {*NAMES, *without_rows} == set(KPIS)
    for name, kpi in KPIS.items():
        for parameter, param in kpi.params.items():
            if param.kind == "choice":
                tried = {dict(params).get(parameter, param.default) for known, params in naive.KPIS if known == name}
                assert tried == set(param.choices), (name, parameter)
