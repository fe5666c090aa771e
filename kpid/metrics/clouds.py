"""The SQL of Trino, Snowflake and BigQuery. It is written only: compared with what is written down, not with results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, case, cast, literal
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import distinct_op
from sqlalchemy.sql.selectable import Values

from kpid.metrics.engines import Backticks, Types, backslashed, bits
from kpid.metrics.spelling import Spelling, listed, only


class Trino(Spelling):
    """Trino's SQL; it has no exact quantile."""

    def local_date(self, instant: str, zone: str) -> str:
        """The calendar day of an instant in a zone."""
        return f"CAST(at_timezone({instant}, {zone}) AS DATE)"

    def days(self, start: str, end: str) -> str:
        """Whole days between two dates."""
        return f"date_diff('day', {start}, {end})"

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds between two instants, rounded down."""
        return f"CAST(floor(date_diff('millisecond', {start}, {end}) / 1e3) AS BIGINT)"

    def later(self, instant: str, seconds: int) -> str:
        """An instant moved by elapsed seconds."""
        return f"date_add('second', {seconds}, {instant})"

    def instant(self, value: datetime) -> str:
        """An instant as a literal."""
        return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC'"

    def quantile(self, q: float, x: str, where: str) -> str:
        """Approximate quantile."""
        return f"approx_percentile(CAST({x} AS DOUBLE), {q!r}){only(where)}"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of approximate quantiles."""
        return f"approx_percentile(CAST({x} AS DOUBLE), ARRAY[{listed(fractions)}]){only(where)}"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        return f"reduce(max({x}, {n}){only(where)}, CAST(0 AS DECIMAL(38, 6)), (a, b) -> a + b, a -> a)"

    def json_text(self, column: str, key: str) -> str:
        """The text at a key of a JSON object."""
        path = '$["' + key.replace("\\", "\\\\").replace('"', '\\"') + '"]'
        return f"json_extract_scalar({column}, {self.quoted(path)})"


class Unfiltered(Spelling):
    """Engines without ``FILTER`` and without bare ``VALUES``: what is aggregated is null where the condition does not hold."""

    def _render_values(self, element: Values, **options: Any) -> str:
        """Rows of values as selects."""
        names = [self.preparer.format_column(column) for column in element._column_args]
        selects = []
        for row in (row for some in element._data for row in some):
            cells = [self.process(_cell(cell, column), **options) for cell, column in zip(row, element._column_args, strict=True)]
            selects.append("SELECT " + ", ".join(f"{cell} AS {name}" for cell, name in zip(cells, names, strict=True)))
        return " UNION ALL ".join(selects)

    def visit_cte(self, cte: Any, *args: Any, **options: Any) -> str | None:
        """The selects name their columns: a list of them behind the name is not understood everywhere."""
        text = super().visit_cte(cte, *args, **options)
        if isinstance(cte.element, Values) and self.ctes and cte in self.ctes:
            self.ctes[cte] = re.sub(r"^(\S+?)\([^)]*\) AS", r"\1 AS", self.ctes[cte])
        return text if text is None else str(text)

    def filtered(self, function: Any, where: ColumnElement[bool], **options: Any) -> str:
        """A plain aggregate over the rows that a condition holds for."""
        [argument] = list(function.clauses) or [None]
        is_distinct = isinstance(argument, UnaryExpression) and argument.operator is distinct_op
        value = argument.element if is_distinct and isinstance(argument, UnaryExpression) else argument
        counted = 1 if value is None or str(value) == "*" else value
        text = self.process(case((where, counted)), **options)
        return f"{function.name}({'DISTINCT ' if is_distinct else ''}{text})"


def _cell(cell: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(cell if isinstance(cell, ColumnElement) else literal(cell, column.type), column.type)


def _if(where: str, x: str) -> str:
    return f"CASE WHEN {where} THEN {x} END" if where else x


class Snowflake(Unfiltered):
    """Snowflake's SQL."""

    def local_date(self, instant: str, zone: str) -> str:
        """The calendar day of an instant in a zone."""
        return f"CAST(convert_timezone({zone}, {instant}) AS DATE)"

    def days(self, start: str, end: str) -> str:
        """Whole days between two dates."""
        return f"datediff('day', {start}, {end})"

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds between two instants, rounded down."""
        return f"CAST(floor(timestampdiff('microsecond', {start}, {end}) / 1000000) AS BIGINT)"

    def later(self, instant: str, seconds: int) -> str:
        """An instant moved by elapsed seconds."""
        return f"timestampadd('second', {seconds}, {instant})"

    def instant(self, value: datetime) -> str:
        """An instant as a literal."""
        return f"'{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} +0000'::TIMESTAMP_TZ"

    def quantile(self, q: float, x: str, where: str) -> str:
        """Exact quantile with linear interpolation."""
        return f"percentile_cont({q!r}) WITHIN GROUP (ORDER BY {_if(where, x)})"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of quantiles."""
        return f"array_construct({', '.join(self.quantile(float(q), x, where) for q in fractions)})"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        largest = f"array_slice(array_agg({_if(where, x)}) WITHIN GROUP (ORDER BY {_if(where, x)} DESC NULLS LAST), 0, {n})"
        return f"reduce({largest}, 0::NUMBER(38, 6), (a, b) -> a + b)"

    def json_text(self, column: str, key: str) -> str:
        """The text at a key of a JSON object."""
        return f"CAST(get(parse_json({column}), {self.quoted(key)}) AS VARCHAR)"

    def quoted(self, text: str) -> str:
        """A text as a literal; a backslash escapes."""
        return backslashed(text)


class SnowflakeTypes(Types):
    """Snowflake's names of types."""

    names: ClassVar[dict[str, str]] = {
        "text": "VARCHAR",
        "instant": "TIMESTAMP_TZ",
        "double": "DOUBLE",
        "integer": "BIGINT",
        "json": "VARIANT",
    }


class BigQueryTypes(Types):
    """BigQuery's names of types."""

    names: ClassVar[dict[str, str]] = {
        "text": "STRING",
        "instant": "TIMESTAMP",
        "double": "FLOAT64",
        "integer": "INT64",
        "json": "STRING",
    }

    def decimal(self, precision: int, scale: int) -> str:
        """An exact number."""
        return "BIGNUMERIC" if scale > 9 else "NUMERIC"

    def visit_BOOLEAN(self, type_: Any, **kw: Any) -> str:  # noqa: D102, N802
        return "BOOL"


class BigQuery(Unfiltered):
    """BigQuery's SQL; it has no exact quantile of groups."""

    def visit_grouping_func(self, fn: Any, **kw: Any) -> str:
        """Which columns a row is not grouped by, as bits: one column at a time."""
        return bits([self.process(column, **kw) for column in fn.clauses])

    def local_date(self, instant: str, zone: str) -> str:
        """The calendar day of an instant in a zone."""
        return f"DATE({instant}, {zone})"

    def days(self, start: str, end: str) -> str:
        """Whole days between two dates."""
        return f"date_diff({end}, {start}, DAY)"

    def seconds(self, start: str, end: str) -> str:
        """Whole seconds between two instants, rounded down."""
        return f"CAST(floor(timestamp_diff({end}, {start}, MICROSECOND) / 1000000) AS INT64)"

    def later(self, instant: str, seconds: int) -> str:
        """An instant moved by elapsed seconds."""
        return f"timestamp_add({instant}, INTERVAL {seconds} SECOND)"

    def instant(self, value: datetime) -> str:
        """An instant as a literal."""
        return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}+00'"

    def quantile(self, q: float, x: str, where: str) -> str:
        """Approximate quantile."""
        return f"approx_quantiles({_if(where, x)}, 1000)[OFFSET({round(1000 * q)})]"

    def quantiles(self, fractions: Sequence[float], x: str, where: str) -> str:
        """Array of approximate quantiles."""
        return f"[{', '.join(self.quantile(float(q), x, where) for q in fractions)}]"

    def top_sum(self, n: int, x: str, where: str) -> str:
        """Sum of the n largest values."""
        largest = f"array_agg({_if(where, x)} IGNORE NULLS ORDER BY {_if(where, x)} DESC LIMIT {n})"
        return f"(SELECT sum(kpid_top) FROM unnest({largest}) AS kpid_top)"

    def json_text(self, column: str, key: str) -> str:
        """The text at a key of a JSON object."""
        path = '$."' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"json_value({column}, {self.quoted(path)})"

    def quoted(self, text: str) -> str:
        """A text as a literal; a backslash escapes."""
        return backslashed(text)


TRINO = {"type_compiler_cls": Types, "div_is_floordiv": True}
SNOWFLAKE = {"type_compiler_cls": SnowflakeTypes, "div_is_floordiv": False}
BIGQUERY = {"type_compiler_cls": BigQueryTypes, "preparer": Backticks, "div_is_floordiv": False}
