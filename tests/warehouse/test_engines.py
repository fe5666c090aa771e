"""Engines that are read in place: values as parameters, tables that are not there, servers that do not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from kpid.errors import ConfigError, StoreError
from kpid.warehouse.clickhouse import ClickHouseEngine
from kpid.warehouse.mapped import Engine
from kpid.warehouse.parameters import with_marks
from kpid.warehouse.postgres import PostgresEngine
from kpid.warehouse.spark import SparkEngine
from tests.metrics.engines import quiet_spark, why_no_clickhouse, why_no_spark

VALUES: list[Any] = [
    "plain", "it's \\ \"odd\" \t\n`$1` {p1:String} -- ;", "", "Ümlaut 日本", 7, -(2**53), True, False, Decimal("12345.678901"),
    datetime(2018, 1, 1, 0, 0, 0, 123456, tzinfo=UTC), date(1955, 2, 3), None,
]  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module", params=["postgresql", "clickhouse", "spark"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened: Engine
    if request.param == "postgresql":
        opened = PostgresEngine(make_url(request.getfixturevalue("postgres")))
    elif request.param == "clickhouse":
        if reason := why_no_clickhouse():
            pytest.skip(reason)
        opened = ClickHouseEngine(make_url(f"chdb:///{tmp_path_factory.mktemp('engine') / 'ch'}"))
    else:
        if reason := why_no_spark():
            pytest.skip(reason)
        quiet_spark()
        opened = SparkEngine(make_url("spark://local"))
    yield opened
    opened.close()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_parameter_arrives_as_it_is(engine: Engine, value: Any) -> None:
    cast = "CAST($1 AS VARCHAR)" if engine.dialect == "postgresql" and (value is None or isinstance(value, str)) else "$1"
    found = engine.query(f"SELECT {cast} AS x, 'not $1' AS t", [value]).to_pylist()
    assert found == [{"x": value, "t": "not $1"}]


def test_a_table_that_is_not_there_has_no_columns(engine: Engine) -> None:
    assert engine.columns_of(["no_such_table"]) is None
    assert engine.columns_of(["no_such_schema", "no_such_table"]) is None


def test_a_refused_query_says_where_and_the_next_one_works(engine: Engine) -> None:
    with pytest.raises(StoreError, match="refused a query") as caught:
        engine.query("SELECT nonsense_column FROM no_such_table")
    assert caught.value.where == engine.where
    assert engine.query("SELECT 1 AS n").to_pylist() == [{"n": 1}]


def test_marks_inside_texts_and_names_stay() -> None:
    sql = """SELECT $1, '$2', 'it''s $3', "a$4", `b$5`, '\\'$6', $10 FROM t"""
    assert with_marks(sql, lambda n: f":p{n}") == """SELECT :p1, '$2', 'it''s $3', "a$4", `b$5`, '\\'$6', :p10 FROM t"""


@pytest.mark.skipif(find_spec("clickhouse_connect") is None, reason="clickhouse-connect is not installed")
def test_a_clickhouse_that_does_not_answer_is_said_so() -> None:
    with pytest.raises(StoreError, match="does not answer") as caught:
        ClickHouseEngine(make_url(f"clickhouse://reader:hush-hush@127.0.0.1:{free_port()}/crm"))
    assert "hush" not in str(caught.value)


@pytest.mark.skipif(find_spec("clickhouse_connect") is not None, reason="clickhouse-connect is installed")
def test_a_missing_driver_is_named_with_its_extra() -> None:
    with pytest.raises(ConfigError, match=r"pip install .kpid\[clickhouse\]"):
        ClickHouseEngine(make_url("clickhouse://reader@127.0.0.1/crm"))


@pytest.mark.skipif(find_spec("pyspark") is not None, reason="pyspark is installed")
def test_a_missing_pyspark_is_named_with_its_extra() -> None:
    with pytest.raises(ConfigError, match=r"pip install .kpid\[spark\]"):
        SparkEngine(make_url("spark://local"))


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    if reason := why_no_clickhouse():
        pytest.skip(reason)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be opened"):
        ClickHouseEngine(make_url(f"chdb:///{tmp_path / 'file' / 'ch'}"))
