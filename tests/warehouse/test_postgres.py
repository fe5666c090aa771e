"""A whole sync into PostgreSQL, and what is said when the server cannot be used."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from sqlalchemy import make_url

from kpid import cycle
from kpid.app import open_app
from kpid.errors import StoreError
from kpid.metrics.measure import figures
from kpid.model import Measurement, SeriesNeed
from kpid.plugin.entities import ENTITIES
from kpid.sample import write_sample
from kpid.testing import FakeClock
from kpid.warehouse.postgres import open_postgres
from kpid.warehouse.types import conform
from tests.warehouse.rows import NOON, store

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
CONFIG = """\
timezone: Europe/Berlin
warehouse: {warehouse}
sources:
  crm:
    connector: files
    path: {folder}
"""


def measured(folder: Path, sample: Path, warehouse: str) -> list[Measurement]:
    folder.mkdir()
    (folder / "kpid.yml").write_text(CONFIG.format(warehouse=warehouse, folder=sample), encoding="utf-8")
    app = open_app(folder / "kpid.yml", FakeClock(NOW))
    try:
        assert [result.error for result in cycle.refresh(app, NOW).synced] == [None]
        if "postgresql" in warehouse:
            assert all(result.changed == 0 for result in cycle.refresh(app, NOW, full=True).synced), (
                "a second sync changes nothing"
            )
        found = []
        for kpi, by in (("won_amount", ()), ("win_rate", ("owner",)), ("sales_cycle_days", ()), ("pipeline_open_amount", ())):
            need = SeriesNeed(kpi, "month", by)
            found += figures(need, app.metrics_setup(), start=datetime(2025, 6, 1, tzinfo=UTC), end=NOW, now=NOW)
        return found
    finally:
        app.close()


def test_a_sync_into_postgresql_gives_the_figures_of_the_embedded_warehouse(postgres: str, tmp_path: Path) -> None:
    sample = tmp_path / "sample"
    write_sample(sample, seed=7, now=NOW)
    for path in sample.glob("*.csv"):
        head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text(head + "".join(lines[-2000:]), encoding="utf-8")  # the latest; it is about the way, not the weight
    here = measured(tmp_path / "here", sample, "duckdb:///crm.duckdb")
    there = measured(tmp_path / "there", sample, postgres)
    assert len(here) > 20
    assert [(one.kpi, one.period, one.dims, one.n, one.state) for one in here] == [
        (one.kpi, one.period, one.dims, one.n, one.state) for one in there
    ]
    assert all(abs((one.value or 0) - (other.value or 0)) < Decimal("1e-9") for one, other in zip(here, there, strict=True))


def test_what_postgresql_cannot_store_is_replaced(postgres: str) -> None:
    warehouse = open_postgres(make_url(postgres).update_query_dict({"schema": "odd"}))
    store(
        warehouse,
        {"id": "crm:1", "name": "zero \0 here", "extra": '{"a": "zero \\u0000", "b": "half \\ud83d", "c": "\\\\u0000"}'},
    )
    [found] = warehouse.query("SELECT name, extra, extra ->> 'a' AS a FROM deals").to_pylist()
    warehouse.close()
    assert found["name"] == "zero \ufffd here"
    assert found["a"] == "zero \ufffd"
    assert '"c": "\\\\u0000"' in found["extra"]


def test_every_canonical_table_takes_empty_and_full_rows(postgres: str) -> None:
    warehouse = open_postgres(make_url(postgres).update_query_dict({"schema": "full"}))
    for name in ENTITIES:
        rows = conform(name, pa.table({"id": ["crm:1"], "source_id": ["crm"], "native_id": ["1"], "synced_at": pa.array([NOON])}))
        with warehouse.batch() as batch:
            assert batch.upsert(name, rows).changed == 1
    warehouse.close()


def test_readers_may_not_write(postgres: str) -> None:
    url = make_url(postgres).update_query_dict({"schema": "read"})
    open_postgres(url).close()
    reader = open_postgres(url, read_only=True)
    with pytest.raises(StoreError, match="reading only"), reader.batch():
        pass
    with pytest.raises(StoreError, match="read-only"):
        reader.query("INSERT INTO seen VALUES ('a', 'b', 'c', 'd') RETURNING id")
    reader.close()


def test_a_lost_connection_is_replaced(postgres: str) -> None:
    warehouse = open_postgres(make_url(postgres).update_query_dict({"schema": "lost"}))
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as other:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        other.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
    assert warehouse.query("SELECT 1 AS n").to_pylist() == [{"n": 1}]
    warehouse.close()
    with pytest.raises(StoreError, match="closed"):
        warehouse.query("SELECT 1 AS n")


def test_an_older_schema_gets_the_new_columns(postgres: str) -> None:
    url = make_url(postgres).update_query_dict({"schema": "older"})
    warehouse = open_postgres(url)
    store(warehouse, {"id": "crm:1"})
    warehouse.close()
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as other:
        other.execute("ALTER TABLE older.deals DROP COLUMN loss_competitor")
        other.execute("DROP TABLE older.fx_rates")
    again = open_postgres(url)
    store(again, {"id": "crm:2", "loss_competitor": "Example Corp"})
    assert again.query("SELECT id, loss_competitor AS l FROM deals ORDER BY id").to_pylist() == [
        {"id": "crm:1", "l": None}, {"id": "crm:2", "l": "Example Corp"},
    ]  # fmt: skip
    assert again.query("SELECT id FROM fx_rates").num_rows == 0
    again.close()


def test_a_server_that_does_not_answer_is_said_so() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(StoreError, match=r"does not answer.*Is PostgreSQL running") as caught:
        open_postgres(make_url(f"postgresql://kpid:hush-hush@127.0.0.1:{port}/crm"))
    assert "hush" not in str(caught.value)


def test_a_wrong_password_and_a_missing_database_are_said_so(postgres: str) -> None:
    url = make_url(postgres)
    with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as admin:
        [[hba]] = admin.execute("SHOW hba_file").fetchall()
        file = Path(hba)
        before = file.read_text(encoding="utf-8")
        admin.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
        file.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}", encoding="utf-8")
        admin.execute("SELECT pg_reload_conf()")
    try:
        with pytest.raises(StoreError, match=r"refused our credentials.*Check user and password") as caught:
            open_postgres(url.set(username="guarded", password="wrong-and-secret"))
        assert "secret" not in str(caught.value)
    finally:
        file.write_text(before, encoding="utf-8")
    with pytest.raises(StoreError, match="no such database"):
        open_postgres(url.set(database="nowhere"))
