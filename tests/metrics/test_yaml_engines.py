"""KPIs written in YAML give the same numbers on every engine, whatever stands in the custom fields."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal

import pytest
from sqlalchemy import make_url

from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin.entities import ENTITIES
from kpid.testing.kpis import open_warehouse
from kpid.warehouse.postgres import open_postgres
from tests.metrics import engines
from tests.metrics.random_rows import NOW
from tests.metrics.test_yaml_kpis import END, START, plugins_of, setup_of

STRANGE = [
    5, 7.5, "7.50", " +3 ", "-2", ".5", "5.", "1e3", "Infinity", "NaN", "1_000", "1,5", "9" * 19, "9" * 20, "", " ", True, False,
    None, "yes", "No", "TRUE", "2017-12-01", "2017-02-29", "2016-02-29", "2017-13-01", "2017-12-1", "2017-12-01T23:30:00Z",
    "2017-12-01T23:30:00+01:00", "2017-12-01 23:30:00.123456789-0500", "2017-12-01T24:00:00Z", "2017-12-01 12:00", "20171201",
    "2017-10-29T04:30:00", "0001-01-01", "soon", "ä", "'; drop table deals; --", [1], {"a": 1},
]  # fmt: skip

TEXT = """
fields:
  deals.seats: {from: extra.x, type: number}
  deals.flag: {from: extra.x, type: boolean}
  deals.day: {from: extra.x, type: date}
  deals.moment: {from: extra.x, type: instant}
  deals.tier: {from: extra.tier, dimension: true}
kpis:
  seats: {unit: count, measures: {m: {entity: deals, at: closed_at, sum: seats}}}
  halves: {unit: count, measures: {m: {entity: deals, at: closed_at, sum: "round(seats / 3 * 2, 4)", where: abs(seats) < 100}}}
  flags: {unit: count, measures: {m: {entity: deals, at: closed_at, where: "flag or not coalesce(flag, true)"}}}
  days: {unit: days, measures: {m: {entity: deals, at: closed_at, sum: "days_between(day, closed_at)"}}}
  moments: {unit: seconds, measures: {m: {entity: deals, at: closed_at, sum: "seconds_between(moment, closed_at)"}}}
  by_moment: {unit: count, measures: {m: {entity: deals, at: moment}}}
  by_day: {unit: count, measures: {m: {entity: deals, at: day}}}
  weighed:
    unit: count
    measures:
      m:
        entity: deals
        at: closed_at
        sum: case when state = 'won' and amount > 500 then 1.5 when state = 'won' then 1 when seats > 3 then seats / 4 end
  cases:
    unit: count
    measures: {m: {entity: deals, at: closed_at, where: "case when flag then state else extra.tier end in ('won', 'gold')"}}
  whole: {unit: count, measures: {m: {entity: deals, at: closed_at, sum: case state when 'won' then 1 else 0 end}}}
  capped:
    unit: currency
    measures:
      m: {entity: deals, at: closed_at, sum: case when amount > 500 then 500 else amount end, money: currency}
  moved:
    unit: count
    measures: {m: {entity: deals, at: "case when state = 'won' then closed_at else moment end"}}
  waiting:
    unit: count
    measures: {m: {entity: deals, balance: [created_at, closed_at], where: "state = 'won'", still: "true"}}
  texts: {unit: count, measures: {m: {entity: deals, at: closed_at, where: "extra.x like '%2017%' or extra.x in ('', 'ä')"}}}
  sizes:
    unit: currency
    measures:
      m: {entity: deals, at: closed_at, quantile: {q: 0.25, of: amount * 1.1}, money: currency, where: amount between 1 and 900}
  selected:
    unit: count
    sql: >
      select d.closed_at as at, d.owner_id, 1 as n from deals d join deals e on e.id = d.id
      where d.state = 'won' and d.amount > 1 and 'a:b' <> '%'
    columns: {at: instant, owner_id: text, n: number}
    measures: {m: {at: at, sum: n}}
"""


def rows() -> dict:
    start = datetime(2017, 11, 3, 22, 30, tzinfo=UTC)
    return {
        "deals": [
            {
                "id": str(number),
                "state": ("won", "lost")[number % 5 == 0],
                "amount": Decimal(number * 37),
                "currency": "EUR",
                "owner_id": ("ada", "bob")[number % 2],
                "created_at": start - timedelta(days=number % 7),
                "closed_at": start + timedelta(days=number, hours=number),
                "extra": json.dumps({"x": value, "tier": ("gold", None, "in 'quotes'")[number % 3]}),
            }
            for number, value in enumerate(STRANGE)
        ]
    }


@pytest.fixture(scope="module")
def duck(tmp_path_factory):
    warehouse = open_warehouse(tmp_path_factory.mktemp("duck"), rows(), now=NOW)
    yield warehouse
    warehouse.close()


@pytest.fixture(scope="module", params=["postgresql", "spark", "clickhouse"])
def other(request, duck, tmp_path_factory):
    tables = {name: duck.query(f"SELECT * FROM {name}") for name in ENTITIES}
    if request.param == "postgresql":
        url = make_url(request.getfixturevalue("postgres"))
        warehouse = engines.fill(open_postgres(url.set(drivername="postgresql+psycopg")), tables)
    else:
        why = engines.why_no_spark() if request.param == "spark" else engines.why_no_clickhouse()
        if why:
            pytest.skip(why)
        folder = tmp_path_factory.mktemp("ch")
        warehouse = engines.mapped_spark(tables) if request.param == "spark" else engines.mapped_clickhouse(tables, folder)
    yield warehouse
    warehouse.close()


def told(need: SeriesNeed, setup: MetricsSetup) -> dict:
    found = figures(need, setup, start=START, end=END, now=NOW)
    return {(one.period, one.dims): (rounded(one.value), one.n) for one in found}


def rounded(value: Decimal | None) -> Decimal | None:
    """Quantiles are doubles: their last digits may differ."""
    return None if value is None else Context(prec=25).quantize(value, Decimal("1e-4"))


def test_yaml_kpis_are_the_same_on_every_engine(kpis, duck, other, tmp_path):
    plugins, seen = plugins_of(kpis, tmp_path, TEXT), 0
    for name in sorted(plugins.written):
        for kind, by in (("month", ()), ("quarter", ("owner",)), ("month", ("tier",))):
            if set(by) <= set(plugins.kpis[name].dimensions):
                need = SeriesNeed(name, kind, by)
                here, there = (told(need, setup_of(plugins, warehouse)) for warehouse in (duck, other))
                assert here == there, (name, kind, by)
                if "snap" in plugins.kpis[name].params:
                    average = SeriesNeed(name, kind, by, (("snap", "avg"),))
                    assert told(average, setup_of(plugins, duck)) == told(average, setup_of(plugins, other)) != here
                seen += sum(value is not None for value, _ in here.values())
    assert seen > 40
