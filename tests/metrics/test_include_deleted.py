"""``include_deleted=true``, for audits: every figure as it would be had nothing been deleted; never in rules and reports."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from sqlalchemy import make_url

from kpid.analysis.periods import Calendar, last_complete, period_at
from kpid.errors import ConfigError
from kpid.metrics.measure import MetricsSetup, figures_at, refresh
from kpid.model import SeriesNeed
from kpid.registry import load_plugins
from kpid.store.engine import Store, open_store
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.postgres import open_postgres
from tests.metrics import engines, random_rows

BERLIN = Calendar("Europe/Berlin")
NOW = random_rows.NOW
KPIS = load_plugins().kpis
PERIODS = (*last_complete("quarter", NOW, BERLIN, 1), period_at("month", NOW, BERLIN))
ALL = (("include_deleted", "true"),)


def setup_of(warehouse) -> MetricsSetup:
    return MetricsSetup(warehouse, KPIS, BERLIN, "EUR")


def undeleted(rows: pa.Table) -> pa.Table:
    if "deleted_at" not in rows.column_names:
        return rows
    place = rows.column_names.index("deleted_at")
    return rows.set_column(place, rows.schema.field(place), pa.nulls(rows.num_rows, rows.schema.field(place).type))


def with_deletions(rows: pa.Table) -> pa.Table:
    """Every third row was deleted an hour ago."""
    if "deleted_at" not in rows.column_names:
        return rows
    place = rows.column_names.index("deleted_at")
    kept = rows.column("deleted_at").to_pylist()
    found = [NOW - timedelta(hours=1) if number % 3 == 0 else at for number, at in enumerate(kept)]
    return rows.set_column(place, rows.schema.field(place), pa.array(found, rows.schema.field(place).type))


@pytest.fixture(scope="module")
def tables():
    return {name: with_deletions(rows) for name, rows in random_rows.rows(11).items()}


@pytest.fixture(scope="module")
def duck(tables, tmp_path_factory):
    warehouse = engines.fill(open_duckdb(tmp_path_factory.mktemp("deleted") / "a.duckdb"), tables)
    yield setup_of(warehouse)
    warehouse.close()


@pytest.fixture(scope="module")
def as_if(tables, tmp_path_factory):
    kept = {name: undeleted(rows) for name, rows in tables.items()}
    warehouse = engines.fill(open_duckdb(tmp_path_factory.mktemp("kept") / "b.duckdb"), kept)
    yield setup_of(warehouse)
    warehouse.close()


def needs(name: str, *params: tuple[str, str]) -> list[SeriesNeed]:
    return [SeriesNeed(name, "month", by, params) for by in ((), KPIS[name].dimensions[:1])]


def told(measured) -> list:
    return [
        (one.kpi, one.period, one.dims, one.value, one.n, one.state, one.reason, one.warnings)
        for some in measured
        for one in some
    ]


@pytest.mark.parametrize("name", sorted(KPIS))
def test_figures_are_those_of_data_that_nothing_was_deleted_from(duck, as_if, name):
    audited = figures_at(needs(name, *ALL), duck, PERIODS, now=NOW)
    assert told(audited) == told(figures_at(needs(name), as_if, PERIODS, now=NOW))
    assert all(one.params == ALL for some in audited for one in some)


def test_deleted_records_make_a_difference_and_both_views_fit_into_one_plan(duck):
    differ = set()
    for name in sorted(KPIS):
        plain, audited = figures_at([*needs(name)[:1], *needs(name, *ALL)[:1]], duck, PERIODS, now=NOW)
        differ |= {name for one, other in zip(plain, audited, strict=True) if (one.value, one.n) != (other.value, other.n)}
    assert len(differ) > 0.6 * len(KPIS), sorted(set(KPIS) - differ)


@pytest.mark.parametrize("name", ["won_amount", "pipeline_open_amount", "customer_churn_rate", "nps", "lead_conversion_rate"])
@pytest.mark.parametrize("engine", ["postgresql", "clickhouse"])
def test_other_engines_agree(duck, tables, name, engine, request):
    other = request.getfixturevalue(f"on_{engine}")
    here, there = (figures_at(needs(name, *ALL), setup, PERIODS, now=NOW) for setup in (duck, other))
    for one, same in zip(told(here), told(there), strict=True):
        assert (*one[:3], rounded(one[3]), *one[4:]) == (*same[:3], rounded(same[3]), *same[4:])


def rounded(value: Decimal | None) -> Decimal | None:
    return None if value is None else round(value, 9)


@pytest.fixture(scope="module")
def on_postgresql(tables, postgres):
    warehouse = engines.fill(open_postgres(make_url(postgres)), tables)
    yield setup_of(warehouse)
    warehouse.close()


@pytest.fixture(scope="module")
def on_clickhouse(tables, tmp_path_factory):
    if reason := engines.why_no_clickhouse():
        pytest.skip(reason)
    warehouse = engines.mapped_clickhouse(tables, tmp_path_factory.mktemp("ch"))
    yield setup_of(warehouse)
    warehouse.close()


def test_history_never_has_such_figures(duck, tmp_path):
    store: Store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    result = refresh([SeriesNeed("won_deals", "month", (), ALL)], duck, store=store, now=NOW)
    [(name, why)] = result.problems
    assert (name, result.appended) == ("won_deals", 0)
    assert "include_deleted is for audits" in why
    store.close()


def test_only_true_and_false_are_answers():
    with pytest.raises(ConfigError, match="include_deleted=yes is not possible"):
        KPIS["won_deals"].params_from({"include_deleted": "yes"})
    assert KPIS["won_deals"].params_from({"include_deleted": "false"}) == KPIS["won_deals"].params_from({})
