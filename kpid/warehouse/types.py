"""Which SQL and Arrow types the canonical columns have, read off the tables in :mod:`kpid.plugin.entities`. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, Numeric, Table

from kpid.errors import StoreError
from kpid.plugin.entities import ENTITIES

INSTANT = pa.timestamp("us", tz="UTC")


def entity_table(entity: str) -> Table:
    """The canonical table of that name.

    Raises:
        StoreError: there is none.
    """
    try:
        return ENTITIES[entity]
    except KeyError:
        raise StoreError(f"there is no canonical table {entity!r}", hint=f"There are: {', '.join(ENTITIES)}") from None


_SQL_TYPES = ((DateTime, "TIMESTAMPTZ"), (Date, "DATE"), (Boolean, "BOOLEAN"), (Integer, "BIGINT"), (JSON, "JSON"))


def sql_type(column: Column[Any]) -> str:
    """DuckDB's type for a column. Counts are BIGINT: seconds outgrow 32 bits."""
    if isinstance(column.type, Numeric):
        return f"DECIMAL({column.type.precision}, {column.type.scale})"
    return next((name for kind, name in _SQL_TYPES if isinstance(column.type, kind)), "VARCHAR")


def arrow_type(column: Column[Any]) -> pa.DataType:
    """Arrow's type for a column; JSON travels as text."""
    kind = column.type
    match kind:
        case Numeric():
            return pa.decimal128(kind.precision or 20, kind.scale or 0)
        case DateTime():
            return INSTANT
        case Date():
            return pa.date32()
        case Boolean():
            return pa.bool_()
        case Integer():
            return pa.int64()
        case _:
            return pa.string()


@cache
def arrow_schema(entity: str) -> pa.Schema:
    """All columns of a canonical table, in its order."""
    return pa.schema([pa.field(column.name, arrow_type(column)) for column in entity_table(entity).columns])


@cache
def clock_columns(entity: str) -> tuple[str, ...]:
    """Columns that measures may count by: instants and dates, but for the bookkeeping ones."""
    own = {"synced_at", "deleted_at"}
    return tuple(c.name for c in entity_table(entity).columns if isinstance(c.type, DateTime | Date) and c.name not in own)


def conform(entity: str, rows: pa.Table) -> pa.Table:
    """Rows in the table's columns and types: what is missing is null, ``is_test`` false.

    Of several with one ``id`` the last stays.

    Raises:
        StoreError: a column that the table does not have, or values that do not fit it.
    """
    schema = arrow_schema(entity)
    unknown = [name for name in rows.column_names if name not in schema.names]
    if unknown:
        raise StoreError(f"{entity} has no column {unknown[0]!r}", hint=f"There are: {', '.join(schema.names)}")
    if rows.schema != schema:
        try:
            rows = pa.table([_fitted(rows, field) for field in schema], schema=schema)
        except pa.ArrowException as error:
            raise StoreError(f"rows do not fit the table {entity}: {error}") from error
    return _last_of_each(rows)


def _fitted(rows: pa.Table, field: pa.Field) -> Any:
    if field.name in rows.column_names:
        values = rows.column(field.name)
        return values if values.type == field.type else values.cast(field.type)
    if field.name == "is_test":
        return pa.repeat(pa.scalar(False), rows.num_rows)
    return pa.nulls(rows.num_rows, field.type)


def _last_of_each(rows: pa.Table) -> pa.Table:
    last = {key: index for index, key in enumerate(rows.column("id").to_pylist())}
    return rows if len(last) == rows.num_rows else rows.take(pa.array(sorted(last.values()), pa.int64()))
