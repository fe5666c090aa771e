"""How PostgreSQL and DuckDB write what engines spell differently: one method per construct. Other engines override them.

DuckDB speaks PostgreSQL's SQL, and the others are near enough to it that their compilers are made from PostgreSQL's. A row's
period is found by comparing its clock with the bounds of the wanted periods (a tree of ``CASE``), not by truncating it in a zone:
the bounds come from :mod:`kpid.analysis.periods` alone, so that SQL and Python cannot disagree about a clock change, and
comparing is faster than truncating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, Table, and_, bindparam, literal
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGIdentifierPreparer
from sqlalchemy.ext.compiler import compiles

from kpid.metrics.constructs import (
    DatesBetween,
    DaysBetween,
    JsonText,
    Later,
    LiteralRows,
    LocalDate,
    PeriodNumber,
    Placeholder,
    Quantile,
    Quantiles,
    RateDay,
    SecondsBetween,
    TopSum,
)
from kpid.metrics.scope import PREFIX, Scope, restricted

MAPPED = "kpid_table_"
"""Where tables are read in place, a canonical table is called ``kpid_table_deals``; the warehouse says what that is."""


class Spelling(PGCompiler):
    """PostgreSQL's SQL, and the methods in which engines differ. Arguments and results are SQL text."""

    def local_date(self, instant: str, zone: str) -> str:
        """The calendar day of an instant in a zone."""
        return f"CAST(timezone({zone}, {instant}) AS DATE)"

    def days(self, start: str, end: str) -> str:
        """Whole days between two dates."""
        return f"({end} - {start})"

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds between two instants, rounded down."""
        return f"CAST(floor(EXTRACT(epoch FROM {end}) - EXTRACT(epoch FROM {start})) AS BIGINT)"

    def later(self, instant: str, seconds: int) -> str:
        """An instant moved by elapsed seconds."""
        return f"({instant} + INTERVAL '{seconds} seconds')"

    def instant(self, value: datetime) -> str:
        """An instant as a literal."""
        return f"TIMESTAMPTZ '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00:00'"

    def quantile(self, q: float, x: str, where: str) -> str:
        """Exact quantile with linear interpolation."""
        return f"percentile_cont({q!r}) WITHIN GROUP (ORDER BY {x}){only(where)}"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of quantiles."""
        return f"percentile_cont(ARRAY[{listed(fractions)}]) WITHIN GROUP (ORDER BY {x}){only(where)}"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        known = f"{x} IS NOT NULL AND {where}" if where else f"{x} IS NOT NULL"
        largest = f"(array_agg({x} ORDER BY {x} DESC){only(known)})[1:{n}]"
        return f"(SELECT sum(kpid_top) FROM unnest({largest}) AS kpid_top)"

    def json_text(self, column: str, key: str) -> str:
        """The text at a key of a JSON object."""
        return f"({column} ->> {self.quoted(key)})"

    def quoted(self, text: str) -> str:
        """A text as a literal."""
        return str(self.render_literal_value(text, String()))  # type: ignore[no-untyped-call]

    def literal_rows(self, names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
        """A table written out, of literals."""
        listed_rows = ",".join(f"({','.join(row)})" for row in rows)
        return f"(SELECT * FROM (VALUES {listed_rows}) AS kpid_rows({', '.join(names)}))"

    def filtered(self, function: Any, where: ColumnElement[bool], **options: Any) -> str:
        """A plain aggregate over the rows that a condition holds for."""
        return f"{self.process(function, **options)}{only(self.process(where, **options))}"

    # ---- what SQLAlchemy calls

    def visit_funcfilter(self, funcfilter: Any, **kwargs: Any) -> str:
        """Our own aggregates know best where a condition goes."""
        function, where = funcfilter.func, funcfilter.criterion
        if isinstance(function, Quantile | Quantiles | TopSum):
            return _aggregate(function, self, self.process(where.self_group(against=and_), **kwargs), kwargs)
        return self.filtered(function, where, **kwargs)

    def visit_table(self, table: Any, *args: Any, **kwargs: Any) -> str:
        """A table's name; of one that is read in place, or by half, the name of what stands for it, called as it would be."""
        name = str(super().visit_table(table, *args, **kwargs))  # type: ignore[no-untyped-call]
        if not kwargs.get("asfrom") or not isinstance(table, Table) or not (prefix := self._prefix(table.name)):
            return name
        is_aliased = getattr(kwargs.get("enclosing_alias"), "element", None) is table
        return f"{prefix}{table.name}" if is_aliased else f"{prefix}{table.name} AS {name}"

    def _prefix(self, table: str) -> str:
        """What is in front of the name of that which is read for a canonical table."""
        dialect: Any = self.dialect
        scope: Scope | None = dialect.kpid_values.get("scope")
        if scope is None or table not in restricted(scope):
            return MAPPED if dialect.kpid_is_mapped else ""
        dialect.kpid_scoped[table] = True
        return PREFIX


class DuckNames(PGIdentifierPreparer):
    """Names in DuckDB: it reserves one word more."""

    reserved_words = PGIdentifierPreparer.reserved_words | {"at"}


class Duck(Spelling):
    """DuckDB's SQL."""

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds, by microseconds: an epoch is a double here."""
        return f"CAST(floor((epoch_us({end}) - epoch_us({start})) / 1000000) AS BIGINT)"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of quantiles."""
        return f"quantile_cont(CAST({x} AS DOUBLE), [{listed(fractions)}]){only(where)}"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        return f"list_sum(max({x}, {n}){only(where)})"

    def literal_rows(self, names: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
        """One text, taken apart by the engine: it takes long over thousands of single literals."""
        if not rows or any(mark in cell[1:-1] for row in rows for cell in row for mark in "|'\n"):
            return super().literal_rows(names, rows)
        packed = "\n".join("|".join(cell.strip("'") for cell in row) for row in rows)
        read = []
        for place, (name, cell) in enumerate(zip(names, rows[0], strict=True), 1):
            kind = "VARCHAR" if cell.startswith("'") else "BOOLEAN" if cell in {"true", "false"} else "BIGINT"
            read.append(f"CAST(split_part(kpid_row, '|', {place}) AS {kind}) AS {name}")
        lines = f"SELECT unnest(string_split('{packed}', chr(10))) AS kpid_row"
        return f"(SELECT {', '.join(read)} FROM ({lines}))"

    def json_text(self, column: str, key: str) -> str:
        """By path where the key would be taken for one."""
        if key.startswith(("$", "/")):
            path = '$."' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
            return f"({column} ->> {self.quoted(path)})"
        return super().json_text(column, key)


def only(where: str) -> str:
    """The condition of an aggregate, if it has one."""
    return f" FILTER (WHERE {where})" if where else ""


def listed(fractions: Sequence[float]) -> str:
    """Numbers with commas between them."""
    return ", ".join(repr(float(fraction)) for fraction in fractions)


# ---- the constructs, handed to the methods of the compiler at work


def _process(compiler: Any, element: Any, options: Any) -> list[str]:
    return [compiler.process(clause, **options) for clause in element.clauses]


_LATE = ("now", "gone", "first", "last")


@compiles(Placeholder)
def _placeholder(element: Placeholder[Any], compiler: Any, **options: Any) -> str:
    values: Mapping[str, Any] = compiler.dialect.kpid_values
    what = "now" if element.what == "gone" and "gone" not in values else element.what
    if what not in values:
        return f"kpid_{what}"
    if what in _LATE:  # by name, so that a statement that is kept can be run at another time
        return str(compiler.process(bindparam(f"kpid_{what}", values[what], element.type), **options))
    return str(compiler.process(literal(values[what], element.type), **options))


@compiles(LiteralRows)
def _literal_rows(element: LiteralRows, compiler: Any, **options: Any) -> str:
    key = (type(compiler), element.names, id(element.rows))
    written = _ROWS.get(key)  # looked up once: another thread may clear them at any time
    if written is None:
        if len(_ROWS) >= _ROWS_KEPT:
            _ROWS.clear()
        texts: dict[str, str] = {}
        for value in {cell for row in element.rows for cell in row if isinstance(cell, str)}:
            texts[value] = str(compiler.quoted(value))
        rows = [tuple(_literal(cell, texts) for cell in row) for row in element.rows]
        _ROWS[key] = written = (str(compiler.literal_rows(element.names, rows)), element.rows)
    return written[0]


_ROWS: dict[tuple[Any, ...], tuple[str, Any]] = {}
_ROWS_KEPT = 8
"""Written tables that are kept, with their rows, so that the ids in the keys stay theirs."""


def _literal(value: str | int | bool, texts: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return texts[value] if isinstance(value, str) else str(value)


@compiles(LocalDate)
def _local_date(element: LocalDate, compiler: Any, **options: Any) -> str:
    return str(compiler.local_date(*_process(compiler, element, options)))


@compiles(RateDay)
def _rate_day(element: RateDay, compiler: Any, **options: Any) -> str:
    fixed = compiler.dialect.kpid_values.get("rate_day")
    (given,) = element.clauses
    return str(compiler.process(given if fixed is None else literal(fixed, element.type), **options))


@compiles(DaysBetween)
def _days_between(element: DaysBetween, compiler: Any, **options: Any) -> str:
    start, end, zone = _process(compiler, element, options)
    return str(compiler.days(compiler.local_date(start, zone), compiler.local_date(end, zone)))


@compiles(DatesBetween)
def _dates_between(element: DatesBetween, compiler: Any, **options: Any) -> str:
    return str(compiler.days(*_process(compiler, element, options)))


@compiles(Later)
def _later(element: Later, compiler: Any, **options: Any) -> str:
    [instant] = _process(compiler, element, options)
    return str(compiler.later(instant, element.seconds))


@compiles(SecondsBetween)
def _seconds_between(element: SecondsBetween, compiler: Any, **options: Any) -> str:
    return str(compiler.seconds(*_process(compiler, element, options)))


@compiles(Quantile)
@compiles(Quantiles)
@compiles(TopSum)
def _unfiltered(element: Quantile | Quantiles | TopSum, compiler: Any, **options: Any) -> str:
    return _aggregate(element, compiler, "", options)


def _aggregate(element: Quantile | Quantiles | TopSum, compiler: Any, where: str, options: Any) -> str:
    [x] = _process(compiler, element, options)
    match element:
        case Quantile():
            return str(compiler.quantile(element.q, x, where))
        case Quantiles():
            return str(compiler.quantiles(element.fractions, x, where))
        case _:
            return str(compiler.top_sum(element.n, x, where))


@compiles(JsonText)
def _json_text(element: JsonText, compiler: Any, **options: Any) -> str:
    return str(compiler.json_text(*_process(compiler, element, options), element.key))


@compiles(PeriodNumber)
def _period_number(element: PeriodNumber, compiler: Any, **options: Any) -> str:
    instant = compiler.process(element.clauses, **options)

    def number(bounds: Sequence[tuple[datetime, int | None]]) -> str:
        if len(bounds) == 1:
            return "NULL" if bounds[0][1] is None else str(bounds[0][1])
        middle = len(bounds) // 2
        cut = compiler.instant(bounds[middle][0])
        return f"CASE WHEN {instant} < {cut} THEN {number(bounds[:middle])} ELSE {number(bounds[middle:])} END"

    return number(((datetime.min.replace(tzinfo=UTC), None), *element.bounds))
