"""The SQL of Spark and ClickHouse, and names of types for every engine that is not PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import Float, Numeric, case, cast
from sqlalchemy.dialects.postgresql.base import PGIdentifierPreparer, PGTypeCompiler
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import distinct_op
from sqlalchemy.sql.selectable import Values

from kpid.metrics.spelling import Spelling, listed, only


class Backticks(PGIdentifierPreparer):
    """Names in backticks."""

    def __init__(self, dialect: Any) -> None:
        super().__init__(dialect, initial_quote="`", final_quote="`", escape_quote="`")


class Types(PGTypeCompiler):
    """Names of types; engines differ in five of them."""

    names: ClassVar[dict[str, str]] = {
        "text": "VARCHAR",
        "instant": "TIMESTAMP WITH TIME ZONE",
        "double": "DOUBLE",
        "integer": "BIGINT",
        "json": "JSON",
    }

    def visit_TEXT(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["text"]

    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["text"]

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["instant"]

    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["integer"]

    def visit_BIGINT(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["integer"]

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["double"]

    def visit_DOUBLE_PRECISION(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["double"]

    def visit_JSON(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return self.names["json"]

    def visit_NUMERIC(self, type_: Numeric[Any], **kw: Any) -> str:  # noqa: D102, N802
        return self.decimal(type_.precision or 38, type_.scale if type_.scale is not None else 10)

    def visit_DECIMAL(self, type_: Numeric[Any], **kw: Any) -> str:  # noqa: D102, N802
        return self.visit_NUMERIC(type_, **kw)

    def decimal(self, precision: int, scale: int) -> str:
        """An exact number."""
        return f"DECIMAL({precision}, {scale})"


def backslashed(text: str) -> str:
    """A literal where a backslash escapes: neither it nor a quotation mark in the text can end it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def bits(columns: Sequence[str]) -> str:
    """What ``grouping(a, b)`` is where it takes one column only."""
    return "(" + " + ".join(f"grouping({name}) * {2**place}" for place, name in enumerate(reversed(columns))) + ")"


class SparkTypes(Types):
    """Spark's names of types."""

    names: ClassVar[dict[str, str]] = {
        "text": "STRING",
        "instant": "TIMESTAMP",
        "double": "DOUBLE",
        "integer": "BIGINT",
        "json": "STRING",
    }


class Spark(Spelling):
    """Spark SQL; the session's zone is UTC."""

    def local_date(self, instant: str, zone: str) -> str:
        """The calendar day of an instant in a zone."""
        return f"CAST(from_utc_timestamp({instant}, {zone}) AS DATE)"

    def days(self, start: str, end: str) -> str:
        """Whole days between two dates."""
        return f"datediff({end}, {start})"

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds between two instants, rounded down."""
        return f"CAST(floor((unix_micros({end}) - unix_micros({start})) / 1000000) AS BIGINT)"

    def later(self, instant: str, seconds: int) -> str:
        """An instant moved by elapsed seconds."""
        return f"({instant} + INTERVAL '{seconds}' SECOND)"

    def instant(self, value: datetime) -> str:
        """An instant as a literal."""
        return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00:00'"

    def quantile(self, q: float, x: str, where: str) -> str:
        """Exact quantile with linear interpolation."""
        return f"percentile({x}, {q!r}){only(where)}"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of quantiles."""
        return f"percentile({x}, array({', '.join(f'{float(q)!r}D' for q in fractions)})){only(where)}"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        largest = f"slice(sort_array(collect_list({x}){only(where)}, false), 1, {n})"
        return f"aggregate({largest}, CAST(0 AS DECIMAL(38, 6)), (a, b) -> CAST(a + b AS DECIMAL(38, 6)))"

    def json_text(self, column: str, key: str) -> str:
        """The text at a key of a JSON object."""
        return f"try_element_at(from_json({column}, 'map<string,string>'), {self.quoted(key)})"

    def quoted(self, text: str) -> str:
        """A text as a literal; a backslash escapes."""
        return backslashed(text)

    def render_literal_value(self, value: Any, type_: Any) -> str:
        """A value as a literal."""
        if isinstance(value, str):
            return backslashed(value)
        return str(super().render_literal_value(value, type_))  # type: ignore[no-untyped-call]

    def visit_grouping_func(self, fn: Any, **kw: Any) -> str:
        """Which columns a row is not grouped by, as bits: one column at a time."""
        return bits([self.process(column, **kw) for column in fn.clauses])


class ClickHouseTypes(Types):
    """ClickHouse's names of types: a column may be null only if its type says so."""

    names: ClassVar[dict[str, str]] = {
        "text": "Nullable(String)",
        "instant": "Nullable(DateTime64(6, 'UTC'))",
        "double": "Nullable(Float64)",
        "integer": "Nullable(Int64)",
        "json": "Nullable(String)",
    }

    def decimal(self, precision: int, scale: int) -> str:
        """An exact number."""
        return f"Nullable(Decimal({precision}, {scale}))"

    def visit_DATE(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return "Nullable(Date32)"

    def visit_BOOLEAN(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return "Nullable(Bool)"


class ClickHouse(Spelling):
    """ClickHouse's SQL, with the settings that make it standard (see the warehouse)."""

    def local_date(self, instant: str, zone: str) -> str:
        """The calendar day of an instant in a zone."""
        return f"toDate32(toTimeZone({instant}, {zone}))"

    def days(self, start: str, end: str) -> str:
        """Whole days between two dates."""
        return f"dateDiff('day', {start}, {end})"

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds between two instants, rounded down."""
        micros = [f"toUnixTimestamp64Micro(toDateTime64({x}, 6, 'UTC'))" for x in (end, start)]
        return f"toInt64(floor(({micros[0]} - {micros[1]}) / 1000000))"

    def later(self, instant: str, seconds: int) -> str:
        """An instant moved by elapsed seconds."""
        return f"({instant} + INTERVAL {seconds} SECOND)"

    def instant(self, value: datetime) -> str:
        """An instant as a literal."""
        return f"toDateTime64('{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}', 6, 'UTC')"

    def quantile(self, q: float, x: str, where: str) -> str:
        """Exact quantile with linear interpolation."""
        return f"quantileExactInclusive({q!r})(toFloat64({x})){only(where)}"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of quantiles; of nothing they are no numbers."""
        array = f"quantilesExactInclusive({listed(fractions)})(toFloat64({x})){only(where)}"
        return f"arrayMap(v -> if(isNaN(v), NULL, v), {array})"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        return f"arraySum(arraySlice(arrayReverseSort(groupArray({x}){only(where)}), 1, {n}))"

    def json_text(self, column: str, key: str) -> str:
        """The text at a key of a JSON object."""
        place = f"{column}, {self.quoted(key)}"
        other = f"WHEN 'Null' THEN NULL ELSE JSONExtractRaw({place})"
        return f"(CASE toString(JSONType({place})) WHEN 'String' THEN JSONExtractString({place}) {other} END)"

    def quoted(self, text: str) -> str:
        """A text as a literal; a backslash escapes."""
        return backslashed(text)

    def visit_case(self, clause: Any, **kw: Any) -> str:
        """Decimals of different scales are no alternatives of one another: they are brought to one."""
        results = [result for _, result in clause.whens] + ([] if clause.else_ is None else [clause.else_])
        if len(results) > 1 and any(_is_decimal(result) for result in results):
            whens = [(when, cast(result, WIDE)) for when, result in clause.whens]
            clause = case(*whens, else_=None if clause.else_ is None else cast(clause.else_, WIDE), value=clause.value)
        return str(super().visit_case(clause, **kw))  # type: ignore[no-untyped-call]

    def visit_truediv_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """A decimal divided keeps more digits than it has by itself; by nothing it is null."""
        if not (_is_decimal(binary.left) or _is_decimal(binary.right)):
            return str(super().visit_truediv_binary(binary, operator, **kw))  # type: ignore[no-untyped-call]
        above, below = (self.process(cast(part, WIDE), **kw) for part in (binary.left, binary.right))
        safe = f"ifNull(nullIf({below}, toDecimal128(0, 16)), toDecimal128(1, 16))"  # it divides where the row is null, too
        return f"if(ifNull({below} = 0, true), NULL, CAST(divideDecimal({above}, {safe}, 16) AS Nullable(Decimal(38, 16))))"

    def visit_cast(self, cast: Any, **kw: Any) -> str:
        """A decimal loses digits by rounding, not by cutting them off."""
        scale = cast.type.scale if _is_decimal(cast) else None
        if scale is None or scale >= (WIDE.scale or 0) or not _is_decimal(cast.clause):
            return str(super().visit_cast(cast, **kw))  # type: ignore[no-untyped-call]
        kind = self.process(cast.typeclause, **kw)
        return f"CAST(round({self.process(cast.clause, **kw)}, {scale}) AS {kind})"

    def _render_values(self, element: Values, **kw: Any) -> str:
        """Many rows of plain values are read as one array, a hundred times as fast as one by one."""
        text = str(super()._render_values(element, **kw))  # type: ignore[no-untyped-call]
        if not element.literal_binds:
            return text
        fields = ", ".join(f"kpid_row.{number}" for number, _ in enumerate(element._column_args, 1))
        return f"SELECT {fields} FROM (SELECT arrayJoin([{text.removeprefix('VALUES ')}]) AS kpid_row)"

    def visit_coalesce_func(self, fn: Any, **kw: Any) -> str:
        """The same for the first that is there."""
        parts = list(fn.clauses)
        if len(parts) > 1 and any(_is_decimal(part) for part in parts):
            parts = [cast(part, WIDE) for part in parts]
        return f"coalesce({', '.join(self.process(part, **kw) for part in parts)})"

    def render_literal_value(self, value: Any, type_: Any) -> str:
        """A value as a literal."""
        if isinstance(value, str):
            return backslashed(value)
        return str(super().render_literal_value(value, type_))  # type: ignore[no-untyped-call]


WIDE: Numeric[Any] = Numeric(38, 16)
"""Holds an amount times a rate, exactly."""


def _is_decimal(element: Any) -> bool:
    return isinstance(element.type, Numeric) and not isinstance(element.type, Float)


class QuickClickHouse(ClickHouse):
    """ClickHouse where a figure that is nearly right soon is better than one that is right later."""

    def quantile(self, q: float, x: str, where: str) -> str:
        """Quantile by t-digest."""
        return f"quantileTDigest({q!r})(toFloat64({x})){only(where)}"

    def visit_count_func(self, fn: Any, **kw: Any) -> str:
        """Different values by HyperLogLog."""
        [argument] = list(fn.clauses) or [None]
        if isinstance(argument, UnaryExpression) and argument.operator is distinct_op:
            return f"uniqCombined64({self.process(argument.element, **kw)})"
        return f"count{self.function_argspec(fn, **kw)}"


SPARK = {"type_compiler_cls": SparkTypes, "preparer": Backticks, "div_is_floordiv": False}
CLICKHOUSE = {"type_compiler_cls": ClickHouseTypes, "preparer": Backticks, "div_is_floordiv": False}
