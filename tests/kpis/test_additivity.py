"""Every KPI adds up as it says: whatever it is cut by, and however its segments and months are put together.

Additivity A: values add over segments and time; R: numerators and denominators do; S: over segments only; C: over the segments of
the same cohort; N: nothing does, and nothing is claimed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest

from kpid.analysis.periods import Calendar, period_from_label
from kpid.errors import ConfigError
from kpid.metrics.compose import define
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import Measurement, MeasurementState, SeriesNeed
from kpid.plugin import Kpi
from kpid.registry import load_plugins
from kpid.testing.kpis import open_warehouse
from tests.kpis import company
from tests.kpis.customer import naive as customer
from tests.kpis.marketing import naive as marketing
from tests.kpis.sales import deals

KPIS = load_plugins().kpis
CALENDAR = Calendar("Europe/Berlin")
MONTHS = ("2017-10", "2017-11", "2017-12")
QUARTER = "2017-Q4"
LETTERS = {"A", "R", "N", "S", "C"}
DIGITS = Decimal("1e-6")

NOT_OVER_TIME = {
    "avg_visit_duration": "the web source counts longer spans by itself",
    "close_date_push_rate": "a deal is open in several months",
    "close_rate": "a deal is in the pipeline of several months",
    "customer_lifetime_value": "a customer is one in several months",
    "pipeline_coverage": "each month has a pipeline at its end",
    "prospect_conversion_rate": "a prospect is one in several months",
    "revenue_per_customer": "a customer is one in several months",
    "website_conversion_rate": "the web source counts longer spans by itself",
}
"""Ratios of sums over segments, whose denominators are there in several months, or counted anew for each span."""


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Iterator[MetricsSetup]:
    """A company with something of everything; amounts without a rate are left out, so that figures are there to be added."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for seed, source in enumerate((customer, marketing, company, deals), 5):
        rows |= {entity: some for entity, some in source.random_rows(seed).items() if some}
    warehouse = open_warehouse(tmp_path_factory.mktemp("additivity"), rows, now=deals.NOW)
    yield MetricsSetup(warehouse, KPIS, CALENDAR, "EUR", calendars=company.CALENDARS)
    warehouse.close()


def params_of(kpi: Kpi) -> tuple[tuple[str, str], ...]:
    return (("missing_fx", "exclude"),) if "missing_fx" in kpi.params else ()


def measured(setup: MetricsSetup, kpi: Kpi, label: str, by: Sequence[str] = (), where: tuple[Any, ...] = ()) -> list[Measurement]:
    period = period_from_label(None, label, CALENDAR)
    need = SeriesNeed(kpi.id, period.kind, tuple(by), params_of(kpi), where)
    return figures(need, setup, start=period.start, end=period.end, now=deals.NOW, fill=not by)


def add_up(whole: Sequence[Measurement], parts: Sequence[Measurement], *, is_ratio: bool) -> bool:
    """Whether parts make up the whole. What is undefined divides by nothing, and does not tell what it would have divided."""
    if not is_ratio:
        return agree(_sum(one.value for one in whole), _sum(one.value for one in parts))
    if not agree(_sum(one.denominator for one in whole), _sum(one.denominator for one in parts)):
        return False
    is_told = all(one.denominator is not None for one in (*whole, *parts))
    return not is_told or agree(_sum(one.numerator for one in whole), _sum(one.numerator for one in parts))


def _sum(numbers: Iterable[Decimal | None]) -> Decimal:
    return sum((number for number in numbers if number is not None), Decimal(0))


def agree(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= DIGITS * max(1, abs(one))


def dimensions_of(setup: MetricsSetup, kpi: Kpi) -> list[str]:
    """Dimensions that every measure is cut by."""
    definition = define(kpi, kpi.params_from(dict(params_of(kpi))), KPIS, lambda _: {})
    across = {name for measure in definition.measures.values() for name in measure.across}
    found = []
    for name in kpi.dimensions:
        try:
            measured(setup, kpi, MONTHS[0], (name,))
        except ConfigError:
            continue
        found.append(name)
    return [name for name in found if name not in across]


@pytest.mark.parametrize("name", sorted(KPIS))
def test_kpi_says_how_it_adds_up(name):
    assert KPIS[name].additivity in LETTERS


@pytest.mark.parametrize("name", sorted(name for name, kpi in KPIS.items() if kpi.additivity in "ARSC"))
def test_kpi_adds_up_as_it_says(setup, name):
    kpi, rng = KPIS[name], random.Random(name)
    totals = {label: measured(setup, kpi, label)[:1] for label in (*MONTHS, QUARTER)}
    assert not [one for some in totals.values() for one in some if one.state is MeasurementState.ERROR]
    is_ratio = any(one.denominator is not None for some in totals.values() for one in some)
    dimensions = dimensions_of(setup, kpi)
    for by in rng.sample(dimensions, k=min(3, len(dimensions))):
        label = rng.choice(MONTHS)
        segments = measured(setup, kpi, label, (by,))
        assert add_up(totals[label], segments, is_ratio=is_ratio), (by, label, totals[label], segments)
        some = [one for one in segments if rng.random() < 0.6]
        if some:
            where = ((by, tuple(one.dims[0].id or "" for one in some)),)
            assert add_up(measured(setup, kpi, label, where=where), some, is_ratio=is_ratio), (by, label, where)
    if kpi.additivity in "AR" and name not in NOT_OVER_TIME:
        months = [one for label in MONTHS for one in totals[label]]
        assert add_up(totals[QUARTER], months, is_ratio=is_ratio), totals
