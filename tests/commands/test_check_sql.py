"""``kpid check --connect`` tries each ``sql:`` on the engine that will run it, over no rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from kpid.app import open_app
from kpid.clock import SystemClock
from kpid.commands.check import connect_checks
from kpid.model import Finding
from kpid.warehouse.postgres import open_postgres
from tests.metrics import engines, random_rows

GOOD = """
  good:
    unit: count
    sql: >
      select closed_at as at, owner_id as who, amount as worth, state = 'won' as is_won, cast(amount as decimal(20, 2)) as cents,
      case when state = 'won' then 1 else 0 end as n from deals
    columns: {at: instant, who: text, worth: number, is_won: boolean, cents: number, n: number}
    measures: {m: {at: at, sum: n, where: is_won}}
"""
BAD = """
  unknown:
    unit: count
    sql: select clossed_at as at from deals
    columns: {at: instant}
    measures: {m: {at: at}}
  absent:
    unit: count
    sql: select closed_at as at from deals
    columns: {at: instant, n: number}
    measures: {m: {at: at, sum: n}}
  other:
    unit: count
    sql: select closed_at as at, state as n from deals
    columns: {at: instant, n: number}
    measures: {m: {at: at, sum: n}}
"""
MAPPED = "tables:\n  deals: {table: src_deals, same_names: true, through: now}\n"


@pytest.fixture(params=["postgresql", "spark", "clickhouse"])
def configured(request, tmp_path) -> Callable[[str], Path]:
    """Writes a configuration over an engine that runs here."""
    url, mapping = engine(request, tmp_path)

    def write(kpis: str) -> Path:
        file = tmp_path / "kpid.yml"
        file.write_text(f"timezone: UTC\nwarehouse: {url}\n{mapping}kpis:{kpis}", encoding="utf-8")
        return file

    return write


def engine(request, folder) -> tuple[str, str]:
    """Its URL, and the mapping of its tables."""
    tables = {"deals": random_rows.rows(7)["deals"]}
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres")
        engines.fill(open_postgres(make_url(url)), tables).close()
        return url, ""
    if request.param == "spark":
        if reason := engines.why_no_spark():
            pytest.skip(reason)
        engines.mapped_spark(tables).close()
        return "spark://local", MAPPED
    if reason := engines.why_no_clickhouse():
        pytest.skip(reason)
    engines.mapped_clickhouse(tables, folder).close()
    return f"chdb:///{folder / 'ch'}", MAPPED


def asked(file: Path) -> list[Finding]:
    app = open_app(file, SystemClock(), warehouse="none")
    try:
        return [finding for finding in connect_checks(app) if finding.subject == "kpis"]
    finally:
        app.close()


def test_a_statement_that_the_engine_understands_is_said_to_be(configured):
    [found] = asked(configured(GOOD))
    assert (found.ok, found.text) == (True, "the warehouse understands 1 statement of sql:")


def test_what_the_engine_does_not_understand_is_told_with_its_line(configured):
    file = configured(GOOD + BAD)
    lines = file.read_text().splitlines()
    found = {lines[int(one.where.rpartition(":")[2]) - 1].strip(): one for one in asked(file)}
    assert not any(one.ok for one in found.values())
    unknown = found["sql: select clossed_at as at from deals"]
    assert unknown.text.startswith("kpis.unknown.sql: ")
    assert "clossed_at" in unknown.text
    absent = found["sql: select closed_at as at from deals"]
    assert absent.text == "kpis.absent.sql: the statement gives no column 'n'"
    other = found["columns: {at: instant, n: number}"]
    assert other.text == "kpis.other: the column n of sql: is text, not number"
    assert len(found) == 3


def test_nothing_is_asked_where_there_is_no_statement(configured):
    assert asked(configured(" {won_deals: {target: 5}}")) == []
