"""The engine against a second implementation of the revenue KPIs, row by row in plain Python, on random canonical data."""

from __future__ import annotations

import importlib.util
import random
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import kpid_customer
import kpid_revenue
import pytest

from kpid.analysis.periods import Calendar, periods_between
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import MeasurementState, SeriesNeed
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import check_kpi, open_warehouse
from tests.kpis import population

_spec = importlib.util.spec_from_file_location("naive_revenue", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

OWN = {kpi.id: kpi for kpi in kpid_revenue.kpid_kpis()}
KPIS = {**OWN, **{kpi.id: kpi for kpi in kpid_customer.kpid_kpis()}}
CALENDAR = Calendar("Europe/Berlin")
ROUNDED = {"cac": "1e-4", "ltv_cac_ratio": "1e-3", "cac_payback_months": "1e-3", "revenue_concentration": "1e-6"}
"""Costs of a span are divided in the database; the Herfindahl index is a double there."""
CUTS = {"cac": ("lead_source",), "ltv_cac_ratio": ("lead_source",), "cac_payback_months": (), "mrr": ("segment", "account")}


def agree(name, found, expected):
    if found is None or expected is None:
        return found is expected
    wanted = decimal_from_fraction(Fraction(expected))
    return abs(found - wanted) <= max(Decimal(ROUNDED.get(name, "1e-7")), abs(wanted) * Decimal("1e-9"))


def figure_of(name, params, company, period, accounts, segment, by):
    more = {"channels": (segment,)} if by == "lead_source" and name in CUTS else {}
    try:
        function = naive.KPIS[name, params]
        if more:
            return naive_by_channel(name, params, company, period, accounts, segment)
        return function(company, period, accounts)
    except naive.NoRateError:
        return "error"


def naive_by_channel(name, params, company, period, accounts, segment):
    given = dict(params)
    fixed = {"basis": given.get("basis", "lifecycle"), "scope": given.get("scope", "marketing")}
    if name == "cac":
        more = {"lag": int(given.get("lag_days", 0)), "excludes": "missing_fx" in given}
        return naive.cac(company, period, accounts, (segment,), **fixed, **more)
    return naive.ltv_cac(company, period, accounts, (segment,), **fixed, revenue=given.get("revenue", "mrr"))


def check(setup, company, name, params, kind, by):
    end = naive.NOW + timedelta(days=2)
    start = end - timedelta(days=4 if kind.startswith("rolling") else 130)
    made = figures(SeriesNeed(name, kind, (by,) if by else (), params), setup, start=start, end=end, now=naive.NOW, fill=True)
    found = {(m.period.label, m.dims[0].id if by else None): m for m in made}
    everybody = {*company.accounts(), None}
    parts = {} if by else {None: everybody}
    for account in everybody if by else ():
        parts.setdefault(company.segment_of(account, by), set()).add(account)
    for period in periods_between(kind, start, end, CALENDAR):
        if period.start > naive.NOW:
            continue
        for segment, accounts in parts.items():
            expected = figure_of(name, params, company, period, accounts, segment, by)
            measured = found.pop((period.label, segment), None)
            told = (name, params, kind, by, period.label, segment, expected, measured)
            if measured is None:
                assert not expected, told
            elif expected == "error":
                assert measured.state is MeasurementState.ERROR, told
            else:
                assert measured.state is not MeasurementState.ERROR, told
                assert agree(name, measured.value, expected), told
    assert not any(m.value for m in found.values()), [m for m in found.values() if m.value]


@pytest.fixture(scope="module", params=["euro", "pounds"])
def company(request, tmp_path_factory):
    rows = naive.people.random_rows(5 if request.param == "euro" else 8, pounds=request.param == "pounds")
    warehouse = open_warehouse(tmp_path_factory.mktemp("naive"), rows, now=naive.NOW)
    yield request.param, naive.people.Company(population.counted(rows)), MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")
    warehouse.close()


def _named(value):
    return value if isinstance(value, str) else "-".join(text for _, text in value) or "default"


@pytest.mark.parametrize(("name", "params"), naive.KPIS, ids=_named)
def test_engine_agrees_with_plain_python(company, name, params):
    seed, rows, setup = company
    rng = random.Random(f"{seed}{name}{params}")
    check(setup, rows, name, params, rng.choice(["month", "quarter"]), None)
    dimensions = CUTS.get(name, ("segment", "account", "lead_source"))
    if dimensions and seed == "euro":
        check(setup, rows, name, params, rng.choice(["month", "rolling_30d"]), rng.choice(dimensions))


def test_every_kpi_and_every_choice_is_compared():
    assert set(OWN) == {name for name, _ in naive.KPIS}
    for name, kpi in OWN.items():
        for parameter, param in kpi.params.items():
            if param.kind == "choice" and parameter in {
                "method",
                "kind",
                "as",
                "stat",
                "customers",
                "form",
                "rollup",
                "level",
                "scope",
            }:
                tried = {dict(params).get(parameter, param.default) for known, params in naive.KPIS if known == name}
                assert tried == set(param.choices), (name, parameter)


@pytest.mark.parametrize("name", OWN)
def test_kpi_keeps_the_contract(name, tmp_path):
    check_kpi(KPIS[name], tmp_path, KPIS)
