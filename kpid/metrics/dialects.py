"""The SQL constructs that engines may spell differently, one compile hook each, and the compiler for a warehouse's dialect.

Compiling is all that happens here: the text is run by ``warehouse.query``. DuckDB speaks PostgreSQL's SQL, so its dialect is
PostgreSQL's with other parameter marks. A row's period is found by comparing its clock with the bounds of the wanted periods (a
tree of ``CASE``), not by truncating it in a zone: the bounds come from :mod:`kpid.analysis.periods` alone, so that SQL and
Python cannot disagree about a clock change, and comparing is faster than truncating.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Date, Integer, Select
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from kpid.errors import ConfigError
from kpid.plugin.kpi import DaysBetween, SecondsBetween


class DuckDialect(PGDialect):
    """Compile-only dialect of DuckDB."""

    name = "duckdb"
    supports_statement_cache = True


class LocalDate(FunctionElement[Any]):
    """The local date of an instant in a zone: ``LocalDate(instant, zone)``."""

    name = "local_date"
    type = Date()
    inherit_cache = True


class Quantile(FunctionElement[Any]):
    """Exact quantile with linear interpolation; the fraction is part of the text, since engines want a constant there."""

    name = "quantile"
    inherit_cache = False

    def __init__(self, q: float, expression: ColumnElement[Any]) -> None:
        super().__init__(expression)
        self.q = q
        self.type = expression.type


class PeriodNumber(FunctionElement[int]):
    """Number of the period that an instant falls in; null outside all of them.

    ``bounds`` are ``(start, number)`` in order: from ``start`` on an instant has that number (None: none), up to the next one.
    """

    name = "period_number"
    type = Integer()
    inherit_cache = False

    def __init__(self, instant: ColumnElement[Any], bounds: Sequence[tuple[datetime, int | None]]) -> None:
        super().__init__(instant)
        self.bounds = tuple(bounds)


@compiles(LocalDate)
def _local_date(element: LocalDate, compiler: SQLCompiler, **options: Any) -> str:
    instant, zone = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(timezone({zone}, {instant}) AS DATE)"


@compiles(DaysBetween)
def _days_between(element: DaysBetween, compiler: SQLCompiler, **options: Any) -> str:
    start, end, zone = element.clauses
    return " - ".join(compiler.process(LocalDate(instant, zone), **options) for instant in (end, start)).join("()")


@compiles(SecondsBetween)
def _seconds_between(element: SecondsBetween, compiler: SQLCompiler, **options: Any) -> str:
    start, end = (f"EXTRACT(epoch FROM {compiler.process(clause, **options)})" for clause in element.clauses)
    return f"CAST(floor({end} - {start}) AS BIGINT)"


@compiles(Quantile)
def _quantile(element: Quantile, compiler: SQLCompiler, **options: Any) -> str:
    return f"percentile_cont({element.q!r}) WITHIN GROUP (ORDER BY {compiler.process(element.clauses, **options)})"


@compiles(PeriodNumber)
def _period_number(element: PeriodNumber, compiler: SQLCompiler, **options: Any) -> str:
    instant = compiler.process(element.clauses, **options)

    def number(bounds: Sequence[tuple[datetime, int | None]]) -> str:
        if len(bounds) == 1:
            return "NULL" if bounds[0][1] is None else str(bounds[0][1])
        middle = len(bounds) // 2
        cut = bounds[middle][0].astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S+00:00")
        return f"CASE WHEN {instant} < TIMESTAMPTZ '{cut}' THEN {number(bounds[:middle])} ELSE {number(bounds[middle:])} END"

    return number(((datetime.min.replace(tzinfo=UTC), None), *element.bounds))


@lru_cache(maxsize=8)
def dialect_named(name: str) -> PGDialect:
    """The dialect to compile for.

    Raises:
        ConfigError: kpid cannot write this engine's SQL.
    """
    if name == "duckdb":
        return DuckDialect(paramstyle="qmark")  # type: ignore[no-untyped-call]
    if name == "postgresql":
        return PGDialect(paramstyle="format")  # type: ignore[no-untyped-call]
    raise ConfigError(f"no SQL dialect for warehouse {name!r}", hint="Use duckdb or postgresql")


def compile_statement(statement: Select[Any], dialect: str) -> tuple[str, list[Any]]:
    """SQL text of a statement and its parameters in order."""
    compiled = statement.compile(dialect=dialect_named(dialect), compile_kwargs={"render_postcompile": True})
    values = compiled.params
    return str(compiled), [values[name] for name in getattr(compiled, "positiontup", None) or ()]


def text_of(expression: ColumnElement[Any] | None) -> str:
    """The expression as text, values included: equal text means equal expressions."""
    if expression is None:
        return ""
    return str(expression.compile(dialect=dialect_named("duckdb"), compile_kwargs={"literal_binds": True}))
