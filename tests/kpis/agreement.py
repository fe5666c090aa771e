"""Compares the engine with a naive model: ``{(kpi, params): (facts, value, dimensions)}``.

``facts(rows, period)`` lists what counts in a period, each with what it is cut by; ``value(facts)`` makes a figure of some facts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from kpid.analysis.periods import Calendar, is_daily, periods_between
from kpid.config.population import Population
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin import Kpi
from kpid.plugin.quantity import decimal_from_fraction
from kpid.testing.kpis import open_warehouse
from tests.kpis import company, population

CALENDAR = Calendar("Europe/Berlin")
EXACT, SECONDS = Decimal("1e-6"), Decimal(8)
"""Parts of a second are cut off at both ends of each span: durations may be some seconds more or less."""
Params = tuple[tuple[str, str], ...]
Model = Mapping[tuple[str, Params], tuple[Callable[..., list[Any]], Callable[..., Any], tuple[str, ...]]]


def compare(model: Model, kpis: Mapping[str, Kpi], folder: Path, seed: int) -> None:
    """Every KPI and choice, by month, in total and by a dimension; plain ones by another and for other periods too.

    Every other company has a domain of its own, that accounts have: these are internal.
    """
    rows, rng = company.random_rows(seed), random.Random(seed)
    domains = ["a.example"] if seed % 2 else []
    meant = Population.model_validate({"own_domains": domains})
    warehouse = open_warehouse(folder, rows, now=company.NOW)
    setup = MetricsSetup(warehouse, dict(kpis), CALENDAR, "EUR", calendars=company.CALENDARS, population=meant)
    rows = population.counted(rows, domains=domains)
    try:
        for (name, params), (facts_of, value_of, dimensions) in model.items():
            first, second = rng.sample(dimensions, k=2) if len(dimensions) > 1 else (*dimensions, None)
            other = rng.choice(["quarter", "rolling_30d", "day", "week"])
            for kind, by in (("month", None), ("month", first), *([] if params else [("month", second), (other, None)])):
                need = SeriesNeed(name, kind, (by,) if by else (), tuple(sorted(params)))
                slack = SECONDS if kpis[name].unit == "seconds" else EXACT
                _check(setup, rows, need, facts_of, value_of, slack)
    finally:
        warehouse.close()


def _check(setup, rows, need, facts_of, value_of, slack) -> None:
    kind, by = need.period, need.by[0] if need.by else None
    end = company.NOW + timedelta(days=2)
    start = end - timedelta(days=4 if is_daily(kind) or kind == "day" else 30 if kind == "week" else 70)
    made = figures(need, setup, start=start, end=end, now=company.NOW, fill=True)
    found = {(m.period.label, m.dims[0].id if by else None): m for m in made}
    for period in periods_between(kind, start, end, CALENDAR):
        if period.start > company.NOW:
            continue
        parts: dict[Any, list[Any]] = {} if by else {None: []}
        for fact in facts_of(rows, period):
            parts.setdefault(company.segment_of(fact, by, rows) if by else None, []).append(fact)
        for segment, facts in parts.items():
            expected = value_of(facts)
            measured = found.pop((period.label, segment), None)
            if measured is None:
                assert not expected, (need, period.label, segment, expected)
                continue
            assert _agree(measured.value, expected, slack), (need, period.label, segment, expected, measured, facts)
    assert not any(m.value for m in found.values()), [m for m in found.values() if m.value]


def _agree(found: Decimal | None, expected: Any, slack: Decimal) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - decimal_from_fraction(Fraction(expected))) <= slack


def choices(kpis: Mapping[str, Kpi]) -> set[tuple[str, str, str]]:
    """Every choice of every parameter that has a list of them."""
    return {
        (kpi.id, name, value)
        for kpi in kpis.values()
        for name, param in kpi.params.items()
        if param.kind == "choice"
        for value in param.choices
    }


def compared(model: Model, kpis: Mapping[str, Kpi]) -> set[tuple[str, str, str]]:
    """The choices that a model compares, defaults included."""
    return {
        (name, param, dict(params).get(param, kpis[name].params[param].default))
        for name, params in model
        for param in kpis[name].params
        if kpis[name].params[param].kind == "choice"
    }
