"""Whether the engine understands each ``sql:`` of the configuration, asked without reading any data.

DuckDB is asked over empty tables, before there is any data. Another engine has to be reached for that, so it is asked by
``kpid check --connect``, for no rows: it reads and types the statement, and looks at nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from sqlalchemy import select

from kpid.app import App
from kpid.config.load import Loaded
from kpid.config.secrets import redact
from kpid.errors import ConfigError, KpidError
from kpid.metrics.dialects import compile_statement
from kpid.model import Finding
from kpid.plugin.kpi import Kpi
from kpid.warehouse import Warehouse
from kpid.warehouse.duckdb import open_duckdb
from kpid.warehouse.opening import open_warehouse

_MISSING = re.compile(
    r""""sql_\w+_rows"\ does\ not\ have\ a\ column\ named\ "(?P<duckdb>[^"]*)"
      | column\ sql_\w+_rows\.(?P<postgresql>\w+)\ does\ not\ exist
      | `sql_\w+_rows`\.`(?P<spark>[^`]*)`\ cannot\ be\ resolved
      | [Ii]dentifier\ [`']sql_\w+_rows\.(?P<clickhouse>\w+)[`']""",
    re.VERBOSE,
)
"""How engines say that the rows of a statement lack a column that is declared."""
_REST = re.compile(r"LINE |\bIn scope\b")
"""What comes after it in an engine's words is the statement as kpid has completed it."""
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


def sql_findings(app: App) -> Iterator[Finding]:
    """What the configured engine says of the statements, if that is not DuckDB; one finding if they are all right.

    Raises:
        KpidError: it cannot be reached.
    """
    wanted = [name for name, text in app.config.kpis.items() if text.sql is not None and name in app.plugins.kpis]
    if not wanted or app.config.warehouse.startswith("duckdb:"):
        return
    warehouse = open_warehouse(app.config, "read")
    assert warehouse is not None  # noqa: S101 - for the type checker: `read` opens one
    try:
        found = [error for name in wanted for error in _mistakes(warehouse, app.loaded, name, app.plugins.kpis[name])]
    finally:
        warehouse.close()
    yield from (Finding("kpis", False, error.what, error.hint or "", error.where or "") for error in found)
    if not found:
        what = f"{len(wanted)} statement{'' if len(wanted) == 1 else 's'} of sql:"
        yield Finding("kpis", True, f"the warehouse understands {what}", where=app.loaded.place("kpis"))


def _mistakes(warehouse: Warehouse, loaded: Loaded, name: str, kpi: Kpi) -> Iterator[ConfigError]:
    where = loaded.place("kpis", name, "sql")
    entity = next(iter(kpi.definition({}).measures.values())).entity
    values = {"now": _SOME_DAY, "zone": loaded.config.timezone, "currency": loaded.config.currency}
    try:
        rows = warehouse.query(*compile_statement(select(entity).limit(0), warehouse.dialect, values))
    except KpidError as error:
        said = redact(error.what.partition(": ")[2] or error.what, loaded.secrets)
        if missing := _MISSING.search(said):
            column = missing[missing.lastgroup or 0]
            text, hint = f"the statement gives no column {column!r}", f"Write ... as {column}, or take it out of columns:"
            yield ConfigError(f"kpis.{name}.sql: {text}", where=where, hint=hint)
            return
        yield ConfigError(f"kpis.{name}.sql: {_REST.split(said)[0].strip()}", where=where, hint="Correct the statement")
        return
    for column, kind in loaded.config.kpis[name].columns.items():
        found = _kind(rows.schema.field(column).type)
        is_truth = kind == "boolean" and rows.schema.field(column).type == pa.uint8()  # as ClickHouse gives a comparison
        if found != kind and not is_truth:
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
