"""Which records count: every KPI measures a restricted population as if the other records were not there."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import select

from kpid.config.population import Population
from kpid.metrics.dialects import compile_statement
from kpid.metrics.due import definition_hash
from kpid.metrics.measure import MetricsSetup, _Run, figures_at
from kpid.metrics.scope import FEW
from kpid.metrics.scoping import is_own
from kpid.model import SeriesNeed
from kpid.plugin import entities
from kpid.testing.kpis import measure_rows
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.types import arrow_schema
from tests.kpis import population as naive
from tests.metrics import engines, random_rows
from tests.metrics.test_engines import CALENDAR, KPIS, PERIODS, needs, same, told

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


def test_teams_count_as_if_figures_were_cut_by_them(tmp_path):
    """Whose an event was is told as for ``by: [team]``, so what is left is that segment, of every KPI that has it."""
    warehouse = engines.fill(open_duckdb(tmp_path / "crm.duckdb"), random_rows.rows(7))
    plain = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")
    names = [name for name in sorted(KPIS) if "team" in KPIS[name].dimensions and not KPIS[name].definition({}).uses]
    segment = [SeriesNeed(name, "month", where=(("team", ("team a",)),)) for name in names]
    cut = figures_at(segment, plain, PERIODS, now=NOW)
    scoped = replace(plain, population=Population.model_validate({"teams": ["team a"]}))
    whole = [SeriesNeed(name, "month") for name in names]
    found = figures_at(whole, scoped, PERIODS, now=NOW)
    same(cut, found)
    assert [told(m) for some in figures_at(whole, plain, PERIODS, now=NOW) for m in some] != [
        told(m) for some in found for m in some
    ]
    warehouse.close()


def test_a_population_is_part_of_what_it_changes_only(tmp_path):
    rows = random_rows.rows(7)
    nobody = rows["accounts"].set_column(
        rows["accounts"].schema.get_field_index("lifecycle"), "lifecycle", pa.nulls(len(rows["accounts"]), pa.string())
    )
    warehouse = engines.fill(open_duckdb(tmp_path / "crm.duckdb"), rows | {"accounts": nobody})

    def hash_of(kpi, **population):
        setup = MetricsSetup(warehouse, KPIS, CALENDAR, "EUR", population=Population.model_validate(population))
        run = _Run(setup, NOW)
        return run.scope, definition_hash(run.ask(SeriesNeed(kpi, "month")), CALENDAR, "EUR")

    scope, plain = hash_of("won_deals")
    assert scope is None  # what nobody restricts costs one look at the accounts, and the SQL is what it was
    for population in ({"pipelines": ["crm:1"]}, {"pipelines": ["crm:2"]}, {"exclude_teams": ["team a"]}):
        assert hash_of("won_deals", **population)[1] != plain
    assert hash_of("marketing_spend", pipelines=["crm:1"])[1] == hash_of("marketing_spend")[1]
    statement = select(entities.deals.c.id)
    assert "kpid_" not in compile_statement(statement, "duckdb", {"scope": hash_of("won_deals", teams=["team a"])[0]})[0]
    [told_sql, _] = compile_statement(statement, "duckdb", {"scope": hash_of("won_deals", pipelines=["crm:1"])[0]})
    wanted = "kpid_all_deals.pipeline_id IS NOT NULL AND kpid_all_deals.pipeline_id IN ('crm:1')"
    lead = f"WITH kpid_scoped_deals AS NOT MATERIALIZED (SELECT * FROM deals AS kpid_all_deals WHERE {wanted})"
    assert " ".join(told_sql.split()) == f"{lead} SELECT deals.id FROM kpid_scoped_deals AS deals"
    warehouse.close()


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [("example.net", True), ("https://www.Example.net:8080/a", True), ("Ada <x>", False), ("ada@mail.example.net", True),
     ("notexample.net", False), ("example.net.evil.org", False), ("", False), (None, False)],
)  # fmt: skip
def test_a_domain_is_ours_with_its_parts(text, is_ours):
    assert is_own(text, ("example.net",)) is is_ours


def test_many_internal_records_are_a_table_of_their_own(tmp_path):
    many = [{"id": f"a{n}", "lifecycle": "internal"} for n in range(FEW + 1)] + [{"id": "acme", "lifecycle": "customer"}]
    closed = NOW - timedelta(days=20)
    deals = [{"id": str(n), "state": "won", "closed_at": closed, "account_id": row["id"]} for n, row in enumerate(many)]
    [found] = measure_rows(KPIS["won_deals"], {"accounts": many, "deals": deals}, "2017-12", folder=tmp_path)
    assert found.value == 1
