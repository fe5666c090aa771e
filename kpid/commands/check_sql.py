"""Whether the engine understands each ``sql:`` of the configuration: asked over empty tables, before there is any data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from sqlalchemy import select

from kpid.config.load import Loaded
from kpid.config.secrets import redact
from kpid.errors import ConfigError, KpidError
from kpid.metrics.dialects import compile_statement
from kpid.plugin.kpi import Kpi
from kpid.warehouse import Warehouse
from kpid.warehouse.duckdb import open_duckdb

_MISSING = re.compile(r'"sql_\w+_rows" does not have a column named "([^"]*)"')
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)  # place-holders need values, and over no rows any will do


def sql_mistakes(loaded: Loaded, kpis: Mapping[str, Kpi]) -> Iterator[ConfigError]:
    """What DuckDB says of the statements, if that is the engine that will run them."""
    wanted = [name for name, text in loaded.config.kpis.items() if text.sql is not None and name in kpis]
    if not wanted or not loaded.config.warehouse.startswith("duckdb:"):
        return
    with TemporaryDirectory(prefix="kpid-check-") as folder:
        warehouse = open_duckdb(Path(folder) / "empty.duckdb")
        try:
            for name in wanted:
                yield from _mistakes(warehouse, loaded, name, kpis[name])
        finally:
            warehouse.close()


def _mistakes(warehouse: Warehouse, loaded: Loaded, name: str, kpi: Kpi) -> Iterator[ConfigError]:
    where = loaded.place("kpis", name, "sql")
    entity = next(iter(kpi.definition({}).measures.values())).entity
    values = {"now": _SOME_DAY, "zone": loaded.config.timezone, "currency": loaded.config.currency}
    try:
        rows = warehouse.query(*compile_statement(select(entity).limit(0), warehouse.dialect, values))
    except KpidError as error:
        said = redact(error.what.partition(": ")[2] or error.what, loaded.secrets)
        if missing := _MISSING.search(said):
            text, hint = f"the statement gives no column {missing[1]!r}", f"Write ... as {missing[1]}, or take it out of columns:"
            yield ConfigError(f"kpis.{name}.sql: {text}", where=where, hint=hint)
            return
        yield ConfigError(f"kpis.{name}.sql: {said.partition('LINE ')[0].strip()}", where=where, hint="Correct the statement")
        return
    for column, kind in loaded.config.kpis[name].columns.items():
        found = _kind(rows.schema.field(column).type)
        if found != kind:
            hint = f"Write cast({column} as ...) in sql:, or {column}: {found}"
            text = f"kpis.{name}: the column {column} of sql: is {found}, not {kind}"
            yield ConfigError(text, where=loaded.place("kpis", name, "columns", column), hint=hint)


def _kind(kind: pa.DataType) -> str:
    """The word for a column's type."""
    if pa.types.is_timestamp(kind):
        return "instant" if kind.tz else "a time without a zone"
    tests = {
        "boolean": pa.types.is_boolean,
        "date": pa.types.is_date,
        "number": lambda one: pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_decimal(one),
        "text": lambda one: pa.types.is_string(one) or pa.types.is_large_string(one),
    }
    return next((name for name, test in tests.items() if test(kind)), str(kind))
