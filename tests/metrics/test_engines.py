"""The same KPIs over the same rows on every engine that runs here: PostgreSQL, ClickHouse and Spark give what DuckDB gives.

``KPID_ENGINES=all`` compares every KPI on Spark, and every choice of every parameter on ClickHouse; without it these take one KPI
of each kind, and the defaults: Spark needs seconds for each query, however small.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from kpid.analysis.periods import Calendar, last_complete
from kpid.config.population import Population
from kpid.metrics.measure import MetricsSetup, figures_at
from kpid.metrics.results import tables_of
from kpid.model import Measurement, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.registry import load_plugins
from kpid.warehouse import Warehouse
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.postgres import open_postgres
from tests.metrics import engines, random_rows

CALENDAR = Calendar("Europe/Berlin")
NOW = random_rows.NOW
PERIODS = (*last_complete("month", NOW, CALENDAR, 2), *last_complete("quarter", NOW, CALENDAR, 1))
KPIS = load_plugins().kpis
EVERYTHING = os.environ.get("KPID_ENGINES") == "all"
ONE_OF_EACH_KIND = (
    "won_amount", "win_rate", "sales_cycle_days", "pipeline_open_amount", "close_rate", "nps", "new_customers",
    "lead_conversion_rate", "revenue_concentration", "marketing_spend",
)  # fmt: skip
ON_SPARK = sorted(KPIS) if EVERYTHING else [name for name in ONE_OF_EACH_KIND if name in KPIS]
BATCHES = [ON_SPARK[start : start + 8] for start in range(0, len(ON_SPARK), 8)]


def needs(kpi: Kpi, *, every_choice: bool) -> list[SeriesNeed]:
    """The KPI as it is, with each other choice of each parameter, and by its first dimension."""
    chosen = [(name, choice) for name, param in kpi.params.items() for choice in param.choices[1:] if every_choice]
    found = [SeriesNeed(kpi.id, "month", (), params) for params in ((), *(((name, choice),) for name, choice in chosen))]
    return found + ([SeriesNeed(kpi.id, "month", kpi.dimensions[:1])] if kpi.dimensions else [])


class World:
    """DuckDB with the rows, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tables = random_rows.rows(7)
        self.setup = setup_of(engines.fill(open_duckdb(folder / "crm.duckdb"), self.tables))
        self._said: dict[tuple[str, bool], list[list[Measurement]]] = {}

    def says(self, name: str, *, every_choice: bool) -> list[list[Measurement]]:
        key = (name, every_choice)
        if key not in self._said:
            self._said[key] = figures_at(needs(KPIS[name], every_choice=every_choice), self.setup, PERIODS, now=NOW)
        return self._said[key]


def setup_of(warehouse: Warehouse, **population: Any) -> MetricsSetup:
    return MetricsSetup(warehouse, KPIS, CALENDAR, "EUR", population=Population.model_validate(population))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("engines"))
    yield made
    made.setup.warehouse.close()


@pytest.fixture(scope="module")
def on_postgresql(world: World, postgres: str) -> Iterator[MetricsSetup]:
    warehouse = engines.fill(open_postgres(make_url(postgres)), world.tables)
    yield setup_of(warehouse)
    warehouse.close()


@pytest.fixture(scope="module")
def on_clickhouse(world: World) -> Iterator[MetricsSetup]:
    if reason := engines.why_no_clickhouse():
        pytest.skip(reason)
    warehouse = engines.mapped_clickhouse(world.tables, world.folder)
    yield setup_of(warehouse)
    warehouse.close()


@pytest.fixture(scope="module")
def on_spark(world: World) -> MetricsSetup:
    if reason := engines.why_no_spark():
        pytest.skip(reason)
    measures = [measure for name in ON_SPARK for measure in KPIS[name].definition({}).measures.values()]
    read = {table for measure in measures for table in tables_of(measure.entity)}
    looked_up = (
        "users", "accounts", "pipelines", "stages", "fx_rates", "owner_history", "team_memberships", "targets", "refunds",
        "deal_stage_history", "deal_field_history", "account_status_history", "campaigns",
    )  # fmt: skip
    wanted = {name: rows for name, rows in world.tables.items() if EVERYTHING or name in {*read, *looked_up}}
    return setup_of(engines.mapped_spark(wanted))


def same(here: Sequence[Sequence[Measurement]], there: Sequence[Sequence[Measurement]]) -> None:
    for one, other in zip(here, there, strict=True):
        assert [told(m) for m in one] == [told(m) for m in other]
        for here_one, there_one in zip(one, other, strict=True):
            for part in ("value", "numerator", "denominator", "low", "high"):
                assert near(getattr(here_one, part), getattr(there_one, part)), (part, here_one, there_one)


def told(one: Measurement) -> tuple[Any, ...]:
    return one.kpi, one.params, one.period.label, one.dims, one.state, one.n, one.reason, one.warnings, one.currency


def near(one: Decimal | None, other: Decimal | None) -> bool:
    """Equal, but for the last digits of a double: what quantiles and intervals are made of."""
    return one == other or (one is not None and other is not None and abs(one - other) <= Decimal("1e-9") * max(1, abs(one)))


@pytest.mark.parametrize("name", sorted(KPIS))
def test_kpi_is_the_same_on_postgresql(world: World, on_postgresql: MetricsSetup, name: str) -> None:
    there = figures_at(needs(KPIS[name], every_choice=True), on_postgresql, PERIODS, now=NOW)
    same(world.says(name, every_choice=True), there)


@pytest.mark.parametrize("name", sorted(KPIS))
def test_kpi_is_the_same_on_clickhouse(world: World, on_clickhouse: MetricsSetup, name: str) -> None:
    there = figures_at(needs(KPIS[name], every_choice=EVERYTHING), on_clickhouse, PERIODS, now=NOW)
    same(world.says(name, every_choice=EVERYTHING), there)


@pytest.mark.parametrize("names", BATCHES, ids=lambda names: names[0])
def test_kpis_are_the_same_on_spark(world: World, on_spark: MetricsSetup, names: list[str]) -> None:
    there = figures_at([need for name in names for need in needs(KPIS[name], every_choice=False)], on_spark, PERIODS, now=NOW)
    same([one for name in names for one in world.says(name, every_choice=False)], there)


@pytest.mark.parametrize("engine", ["on_postgresql", "on_clickhouse", "on_spark"])
def test_a_part_of_the_records_is_the_same_on_every_engine(world: World, request: pytest.FixtureRequest, engine: str) -> None:
    there = request.getfixturevalue(engine).warehouse
    names = ("won_amount", "win_rate", *(() if engine == "on_spark" else ("calls_made", "meeting_to_sale_ratio")))
    asked = [SeriesNeed(name, "month", by) for name in names for by in ((), ("owner",))]
    part = {"pipelines": ["crm:1", "crm:2"], "exclude_teams": ["team a"], "own_domains": ["example.org"]}
    here = figures_at(asked, setup_of(world.setup.warehouse, **part), PERIODS, now=NOW)
    same(here, figures_at(asked, setup_of(there, **part), PERIODS, now=NOW))
    whole = figures_at(asked, world.setup, PERIODS, now=NOW)
    assert [m.n for some in here for m in some] != [m.n for some in whole for m in some]


def test_the_rows_are_worth_comparing(world: World) -> None:
    said = [one for name in KPIS for some in world.says(name, every_choice=EVERYTHING) for one in some]
    shown = {one.kpi for one in said if one.value is not None}
    assert len(shown) >= 0.6 * len(KPIS), sorted(set(KPIS) - shown)


def test_what_is_quick_on_clickhouse_is_marked(world: World, on_clickhouse: MetricsSetup) -> None:
    quick = engines.mapped_clickhouse(world.tables, world.folder, quick=True)
    need = SeriesNeed("sales_cycle_days", "month", (), (("stat", "median"),))
    [found] = figures_at([need], setup_of(quick), PERIODS, now=NOW)
    assert all("approximate: the quantile of clickhouse" in " ".join(one.warnings) for one in found)
    [exact] = figures_at([need], on_clickhouse, PERIODS, now=NOW)
    assert not any("approximate" in text for one in exact for text in one.warnings)
