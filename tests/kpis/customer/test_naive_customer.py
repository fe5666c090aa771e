"""The engine against a second implementation of the customer KPIs, row by row in plain Python, on random canonical data."""

from __future__ import annotations

import importlib.util
import random
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import kpid_customer
import pytest

from kpid.analysis.periods import Calendar, periods_between
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import check_kpi, open_warehouse
from tests.kpis import population

_spec = importlib.util.spec_from_file_location("naive_customer", Path(__file__).with_name("naive.py"))
naive = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(naive)

KPIS = {kpi.id: kpi for kpi in kpid_customer.kpid_kpis()}
CALENDAR = Calendar("Europe/Berlin")
NAMES = sorted({name for name, _ in naive.KPIS})
DIMENSIONS = ("owner", "region", "segment", "lead_source", "account")
OF_ORDERS = {"repeat_order_share": ("segment", "account")}


def agree(found, expected):
    if found is None or expected is None:
        return found is expected
    return abs(found - decimal_from_fraction(Fraction(expected))) <= Decimal("1e-9")


def check(setup, company, name, params, kind, by):
    end = naive.NOW + timedelta(days=2)
    start = end - timedelta(days=4 if kind.startswith("rolling") else 130)
    made = figures(SeriesNeed(name, kind, (by,) if by else (), params), setup, start=start, end=end, now=naive.NOW, fill=True)
    found = {(m.period.label, m.dims[0].id if by else None): m for m in made}
    parts = {} if by else {None: company.accounts()}
    for account in company.accounts() if by else ():
        parts.setdefault(company.segment_of(account, by), set()).add(account)
    for period in periods_between(kind, start, end, CALENDAR):
        if period.start > naive.NOW:
            continue
        for segment, accounts in parts.items():
            expected = naive.KPIS[name, params](company, period, accounts)
            measured = found.pop((period.label, segment), None)
            if measured is None:
                assert not expected, (name, params, kind, by, period.label, segment, expected)
                continue
            assert agree(measured.value, expected), (name, params, kind, by, period.label, segment, expected, measured)
    assert not any(m.value for m in found.values()), [m for m in found.values() if m.value]


@pytest.fixture(scope="module", params=[3, 11])
def company(request, tmp_path_factory):
    rows = naive.random_rows(request.param)
    warehouse = open_warehouse(tmp_path_factory.mktemp("naive"), rows, now=naive.NOW)
    yield request.param, naive.Company(population.counted(rows)), MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")
    warehouse.close()


@pytest.mark.parametrize(
    ("name", "params"), naive.KPIS, ids=lambda value: value if isinstance(value, str) else "-".join(v for _, v in value)
)
def test_engine_agrees_with_plain_python(company, name, params):
    seed, rows, setup = company
    rng = random.Random(f"{seed}{name}{params}")
    check(setup, rows, name, params, rng.choice(["month", "quarter"]), None)
    check(setup, rows, name, params, "month" if seed == 3 else "rolling_30d", rng.choice(OF_ORDERS.get(name, DIMENSIONS)))


def test_every_kpi_and_every_choice_is_compared():
    assert set(KPIS) == set(NAMES)
    for name, kpi in KPIS.items():
        for parameter, param in kpi.params.items():
            if param.kind == "choice" and parameter not in ("annualise", "churn_date"):
                tried = {dict(params).get(parameter, param.default) for known, params in naive.KPIS if known == name}
                assert tried == set(param.choices), (name, parameter)


@pytest.mark.parametrize("name", KPIS)
def test_kpi_keeps_the_contract(name, tmp_path):
    check_kpi(KPIS[name], tmp_path, KPIS)
