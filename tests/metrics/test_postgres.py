"""The SQL that is written for PostgreSQL, on a real one: every KPI gives what DuckDB gives."""

from __future__ import annotations

from decimal import Decimal
from itertools import product
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, insert, make_url, text

from kpid.analysis.periods import Calendar
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin import entities
from kpid.plugin.entities import ENTITIES, watermarks
from kpid.testing.kpis import open_warehouse
from tests.metrics import naive

CALENDAR = Calendar("Europe/Berlin")
START, END = (CALENDAR.midnight(day) for day in (naive.date(2017, 9, 1), naive.date(2018, 2, 1)))


class PostgresWarehouse:
    """Just enough of a warehouse to be measured."""

    dialect = "postgresql"

    def __init__(self, url, like):
        self.engine = create_engine(url)
        self.like = like
        entities.metadata.create_all(self.engine)
        with self.engine.begin() as conn:
            for table in (*ENTITIES.values(), watermarks):
                rows = like.query(f"SELECT * FROM {table.name}").to_pylist()
                if rows:
                    conn.execute(insert(table), rows)

    def watermarks(self):
        return self.like.watermarks()

    def query(self, sql, parameters=()):
        with self.engine.connect() as conn:
            found = conn.exec_driver_sql(sql, tuple(parameters))
            names, rows = list(found.keys()), found.all()
        columns = [SimpleNamespace(to_pylist=lambda place=place: [row[place] for row in rows]) for place in range(len(names))]
        return Rows(names, columns, len(rows))


class Rows:
    """What is read off an Arrow table."""

    def __init__(self, names, columns, num_rows):
        self.column_names, self.columns, self.num_rows = names, columns, num_rows

    def __getitem__(self, name):
        return self.columns[self.column_names.index(name)]


@pytest.fixture(scope="module")
def both(postgres, kpis, tmp_path_factory):
    url, admin = make_url(postgres), create_engine(postgres, isolation_level="AUTOCOMMIT")
    with admin.connect() as conn:
        conn.execute(text("CREATE DATABASE warehouse"))
    admin.dispose()
    duck = open_warehouse(tmp_path_factory.mktemp("duck"), naive.random_rows(26), now=naive.NOW)
    other = PostgresWarehouse(url.set(database="warehouse"), duck)
    yield tuple(MetricsSetup(one, kpis, CALENDAR, "EUR") for one in (duck, other))
    other.engine.dispose()
    duck.close()


def near(one, other):
    """Equal, but for the last digits of a double: PostgreSQL's quantiles are doubles."""
    return one == other or (None not in (one, other) and abs(one - other) <= Decimal("1e-9") * max(1, abs(one)))


def told(one):
    return one.period, one.dims, one.state, one.n, one.numerator, one.denominator, one.reason, one.warnings


@pytest.mark.parametrize("name", sorted({name for name, _ in naive.KPIS}))
def test_kpi_is_the_same_on_postgresql(both, kpis, name):
    kpi, seen = kpis[name], 0
    for values in product(*(param.choices for param in kpi.params.values())):
        params = tuple(zip(kpi.params, values, strict=True))
        for kind, by in (("month", ()), ("week", kpi.dimensions[:2]), ("rolling_30d", ("source",)), ("quarter", kpi.dimensions)):
            need = SeriesNeed(name, kind, by, params)
            start = START if kind != "rolling_30d" else CALENDAR.midnight(naive.date(2017, 12, 20))
            here, there = (figures(need, setup, start=start, end=END, now=naive.NOW, fill=not by) for setup in both)
            assert [told(one) for one in here] == [told(one) for one in there], (params, kind, by)
            assert all(near(one.value, other.value) for one, other in zip(here, there, strict=True)), (params, kind, by)
            seen += sum(one.value is not None for one in here)
    assert seen, "nothing was compared"


def test_filters_and_ages_are_the_same_on_postgresql(both):
    now = naive.NOW
    for need in (
        SeriesNeed("won_deals", "month", where=(("owner", ("Ada Example", "crm:bob", "")), ("product", ("x", "z")))),
        SeriesNeed("data_freshness", "day", ("source",)),
    ):
        start = START if need.period == "month" else CALENDAR.midnight(naive.local_day(now))
        here, there = (figures(need, setup, start=start, end=END, now=now) for setup in both)
        assert here == there != []


def test_median_on_postgresql_has_no_binary_noise(both):
    need = SeriesNeed("avg_deal_size", "quarter", params=(("missing_fx", "exclude"), ("stat", "median")))
    for setup in both:
        for one in figures(need, setup, start=START, end=END, now=naive.NOW):
            assert one.value is not None and len(one.value.as_tuple().digits) <= 17  # noqa: PT018
