"""The KPIs of the data itself against plain Python on random canonical data. They have no past: one figure, of now."""

from __future__ import annotations

from decimal import Decimal

import kpid_quality
import pytest

from kpid.analysis.periods import period_at
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import open_warehouse
from tests.kpis import company, population
from tests.kpis.agreement import CALENDAR
from tests.kpis.quality import naive

KPIS = {kpi.id: kpi for kpi in kpid_quality.kpid_kpis()}


@pytest.mark.parametrize("seed", range(3))
def test_engine_agrees_with_plain_python(seed, tmp_path):
    rows = company.random_rows(seed)
    warehouse = open_warehouse(tmp_path, rows, now=company.NOW)
    rows = population.counted(rows)
    setup, day = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR"), period_at("day", company.NOW, CALENDAR)
    try:
        for (name, params), (facts_of, value_of, cuts) in naive.KPIS.items():
            for by in (None, *cuts):
                need = SeriesNeed(name, "day", (by,) if by else (), params)
                made = figures(need, setup, start=day.start, end=day.end, now=company.NOW)
                found = {m.dims[0].id if by else None: m.value for m in made}
                parts = {} if by else {None: []}
                for fact in facts_of(rows, day):
                    parts.setdefault(company.segment_of(fact, by, rows) if by else None, []).append(fact)
                expected = {segment: value_of(facts) for segment, facts in parts.items()}
                for segment in found.keys() | expected.keys():
                    got, wanted = found.get(segment), expected.get(segment)
                    wanted = None if wanted is None else decimal_from_fraction(naive.Fraction(wanted))
                    told = (name, params, by, segment, got, wanted)
                    assert (got is None) == (wanted is None), told
                    assert got is None or abs(got - wanted) < Decimal("1e-6"), told
    finally:
        warehouse.close()


def test_every_kpi_is_compared():
    assert {name for name, _ in naive.KPIS} | {"data_freshness"} == set(KPIS)
