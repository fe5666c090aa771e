"""SQL for a warehouse's engine. Compiling is all that happens here: the text is run by ``warehouse.query``.

The constructs that engines spell differently are in :mod:`kpid.metrics.constructs`; how they are spelt is in
:mod:`kpid.metrics.spelling` (PostgreSQL, DuckDB) and :mod:`kpid.metrics.engines` (the others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, literal_column, select
from sqlalchemy.dialects.postgresql.base import PGDialect

from kpid.errors import ConfigError
from kpid.metrics import clouds, engines
from kpid.metrics.constructs import (
    DaysBetween,
    JsonText,
    LocalDate,
    PeriodNumber,
    Placeholder,
    Quantile,
    Quantiles,
    SecondsBetween,
    TopSum,
)
from kpid.metrics.scope import PREFIX, Scope, kept
from kpid.metrics.spelling import Duck, DuckNames, Spelling
from kpid.plugin.entities import ENTITIES

__all__ = [
    "DaysBetween", "JsonText", "LocalDate", "PeriodNumber", "Placeholder", "Quantile", "Quantiles", "SecondsBetween", "TopSum",
    "approximate_on", "compile_statement", "dialect_named", "text_of",
]  # fmt: skip

_DIALECTS: dict[str, tuple[type[Spelling], str, dict[str, Any]]] = {
    "duckdb": (Duck, "qmark", {"div_is_floordiv": False, "preparer": DuckNames}),
    "postgresql": (Spelling, "numeric_dollar", {}),
    "spark": (engines.Spark, "numeric_dollar", engines.SPARK),
    "clickhouse": (engines.ClickHouse, "numeric_dollar", engines.CLICKHOUSE),
    "clickhouse~": (engines.QuickClickHouse, "numeric_dollar", engines.CLICKHOUSE),
    "trino": (clouds.Trino, "qmark", clouds.TRINO),
    "snowflake": (clouds.Snowflake, "qmark", clouds.SNOWFLAKE),
    "bigquery": (clouds.BigQuery, "qmark", clouds.BIGQUERY),
}
"""Compiler, parameter marks and peculiarities by name; ``~`` is quick and approximate."""

_MAPPED = "+mapped"
"""Ends the name of a dialect whose canonical tables are mappings of the company's own."""

_INLINED = frozenset({"duckdb", "postgresql"})
"""Engines that might lay out a part of a statement, all of its columns, if they were not told to read it in place."""

_APPROXIMATE = {
    "clickhouse~": frozenset({"quantile", "count_distinct"}),
    "trino": frozenset({"quantile"}),
    "bigquery": frozenset({"quantile"}),
}


def approximate_on(dialect: str) -> frozenset[str]:
    """Kinds of aggregates that an engine does not compute exactly: their figures are marked, and compared with nothing else."""
    return _APPROXIMATE.get(dialect.removesuffix(_MAPPED), frozenset())


def dialect_named(name: str, values: Mapping[str, Any] | None = None) -> PGDialect:
    """The dialect to compile for; ``values`` fill the place-holders ``now``, ``zone`` and ``currency``.

    Raises:
        ConfigError: kpid cannot write this engine's SQL.
    """
    dialect = copy(_dialect(name))
    dialect.kpid_values = dict(values or {})  # type: ignore[attr-defined]
    dialect.kpid_scoped = {}  # type: ignore[attr-defined]
    return dialect


@lru_cache(maxsize=32)
def _dialect(name: str) -> PGDialect:
    engine = name.removesuffix(_MAPPED)
    if engine not in _DIALECTS:
        raise ConfigError(f"no SQL dialect for warehouse {name!r}", hint=f"Use one of {', '.join(_DIALECTS)}")
    compiler, marks, more = _DIALECTS[engine]
    own = {"name": engine.strip("~"), "statement_compiler": compiler, "supports_statement_cache": True, **more}
    dialect: PGDialect = type("CompileOnlyDialect", (PGDialect,), own)(paramstyle=marks)
    dialect.kpid_values = {}  # type: ignore[attr-defined]
    dialect.kpid_is_mapped = name != engine  # type: ignore[attr-defined]
    return dialect


def compile_statement(statement: Select[Any], dialect: str, values: Mapping[str, Any] | None = None) -> tuple[str, list[Any]]:
    """SQL text of a statement and its parameters in order.

    Args:
        statement: what to write.
        dialect: name of the engine's dialect.
        values: what the place-holders stand for: ``now`` (aware), ``zone``, ``currency``.
    """
    sql, names, found = compile_named(statement, dialect, values)
    return sql, [found[name] for name in names]


def compile_named(
    statement: Select[Any], dialect: str, values: Mapping[str, Any] | None = None
) -> tuple[str, Sequence[str], dict[str, Any]]:
    """SQL text of a statement, the names of its parameters in order, and their values; see :func:`compile_statement`."""
    at_work = dialect_named(dialect, values)
    compiled = statement.compile(dialect=at_work, compile_kwargs={"render_postcompile": True})
    sql = str(compiled)
    if scoped := tuple(at_work.kpid_scoped):  # type: ignore[attr-defined]
        parts = ", ".join(_scoped(at_work.kpid_values["scope"], table, dialect) for table in scoped)  # type: ignore[attr-defined]
        sql = f"WITH {parts}{', ' + sql[5:] if sql[:5].upper() == 'WITH ' else ' ' + sql}"
    return sql, getattr(compiled, "positiontup", None) or (), dict(compiled.params)


@lru_cache(maxsize=512)
def _scoped(scope: Scope, table: str, dialect: str) -> str:
    """The rows of a canonical table that count, as the part of a statement that is read in its place."""
    whole = ENTITIES[table].alias(f"kpid_all_{table}")
    rows: Select[Any] = select(literal_column("*")).select_from(whole).where(*kept(scope, table, whole))
    sql = str(rows.compile(dialect=dialect_named(dialect), compile_kwargs={"literal_binds": True}))
    inlined = "NOT MATERIALIZED " if dialect.removesuffix(_MAPPED) in _INLINED else ""
    return f"{PREFIX}{table} AS {inlined}({sql})"


def text_of(expression: ColumnElement[Any] | None) -> str:
    """The expression as text, values included: equal text means equal expressions."""
    if expression is None:
        return ""
    return str(expression.compile(dialect=_dialect("duckdb"), compile_kwargs={"literal_binds": True}))
