"""Which records count: every KPI measures a restricted population as if the other records were not there."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from kpid.config.population import Population
from kpid.metrics.measure import MetricsSetup, figures_at
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.types import arrow_schema
from tests.kpis import population as naive
from tests.metrics import engines, random_rows
from tests.metrics.test_engines import CALENDAR, KPIS, PERIODS, needs, same

NOW = random_rows.NOW


def measured(folder: Path, tables, **population):
    warehouse = engines.fill(open_duckdb(folder / "crm.duckdb"), tables)
    setup = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR", population=Population.model_validate(population))
    asked = [need for name in sorted(KPIS) for need in needs(KPIS[name], every_choice=False)]
    try:
        return figures_at(asked, setup, PERIODS, now=NOW)
    finally:
        warehouse.close()


@pytest.mark.parametrize("seed", [7, 8])
def test_every_kpi_measures_as_if_the_others_were_not_there(tmp_path, seed):
    rows = {name: table.to_pylist() for name, table in random_rows.rows(seed, 60).items()}
    rng = random.Random(seed)
    for account in rows["accounts"]:
        account["domain"] = rng.choice([None, "", "https://www.example.net/x", "example.net", "notexample.net", "a.example.com"])
        account["lifecycle"] = rng.choice([account["lifecycle"], "customer"])
    for row in (*rows["contacts"], *rows["leads"]):
        row["email"] = rng.choice([None, "Ada@Example.net", "bob@mail.example.net", "cy@acme.example.com", "x@notexample.net"])
    told = {"own_domains": ["example.net"], "pipelines": ["crm:1", rows["pipelines"][2]["name"] or "crm:2"]}
    meant = [row["id"] for row in rows["pipelines"] if row["id"] in told["pipelines"] or row["name"] in told["pipelines"]]
    left = naive.counted(rows, domains=["example.net"], pipelines=meant)
    gone = {name: len(rows[name]) - len(left[name]) for name in rows}
    assert all(gone[name] for name in ("accounts", "contacts", "deals", "activities", "orders", "order_lines", "tickets")), gone
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    tables = {name: pa.Table.from_pylist(some, schema=arrow_schema(name)) for name, some in rows.items()}
    kept = {name: pa.Table.from_pylist(some, schema=arrow_schema(name)) for name, some in left.items()}
    same(measured(tmp_path / "a", tables, **told), measured(tmp_path / "b", kept))
