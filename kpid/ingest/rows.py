"""Canonical rows, as connectors yield them, into an Arrow table of canonical types. Pure.

Whole columns are converted at once where Arrow can; a column with anything unusual in it goes cell by cell through
:mod:`kpid.ingest.cells`. Nothing is dropped silently: a value that its column cannot hold becomes null and is counted, a row
without an id is left out and counted.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, Numeric

from kpid.errors import SchemaError
from kpid.ingest import cells
from kpid.warehouse.types import INSTANT, arrow_schema, arrow_type, entity_table

_BOOKKEEPING = ("id", "source_id", "synced_at")
"""Columns that kpid fills itself."""

_NONE = type(None)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Values that could not be stored as they are: how many, and where to look for one."""

    entity: str
    column: str
    what: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Converted:
    """Rows ready to be stored, and what was wrong with some of them."""

    table: pa.Table
    problems: tuple[RowProblem, ...] = ()


def table_from_rows(
    entity: str, rows: Sequence[Mapping[str, Any]], *, source: str, synced_at: datetime, timezone: ZoneInfo
) -> Converted:
    """Convert rows of one entity.

    Args:
        entity: name of a canonical table.
        rows: canonical columns with native ids; missing columns are null.
        source: name of the configured source: becomes ``source_id`` and the prefix of ids and references.
        synced_at: when these rows are stored.
        timezone: the organisation's zone: a date in an instant's column stands for local midnight.

    Raises:
        SchemaError: a column that the entity does not have, or a time without a zone: faults of the mapping.
    """
    table = entity_table(entity)
    given: set[str] = set().union(*rows)
    _check_columns(entity, given)
    native, rows, problems = _native_ids(entity, rows)
    prefix = pa.scalar(f"{source}:")
    columns: dict[str, pa.Array] = {
        "id": pc.binary_join_element_wise(prefix, native, ""),
        "source_id": pa.repeat(pa.scalar(source), len(native)),
        "native_id": native,
        "synced_at": pa.repeat(pa.scalar(synced_at, INSTANT), len(native)),
    }
    for column in table.columns:
        if column.name in columns:
            continue
        if column.name not in given:
            columns[column.name] = _absent(column, len(native))
            continue
        values = _values(rows, column.name)
        converted, bad = _column(entity, column, values, timezone, native)
        if bad:
            problems.append(_problem(entity, column, values, bad, native))
        columns[column.name] = pc.binary_join_element_wise(prefix, converted, "") if column.info.get("ref") else converted
    schema = arrow_schema(entity)
    return Converted(pa.table([columns[name] for name in schema.names], schema=schema), tuple(problems))


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """A column out of the rows; the quick way if every row has it."""
    try:
        return list(map(itemgetter(name), rows))
    except KeyError:
        return [row.get(name) for row in rows]


def _check_columns(entity: str, given: set[str]) -> None:
    known = [column.name for column in entity_table(entity).columns if column.name not in _BOOKKEEPING]
    for name in sorted(given.difference(known), key=str):
        near = difflib.get_close_matches(str(name), known, 1)
        raise SchemaError(
            f"the connector gives {entity} a column {name!r} that kpid does not have",
            where=f"{entity}.{name}",
            hint=f"Did you mean {near[0]!r}?" if near else "Custom fields go into `extra`",
        )


def _native_ids(entity: str, rows: Sequence[Mapping[str, Any]]) -> tuple[pa.Array, Sequence[Mapping[str, Any]], list[RowProblem]]:
    values = _values(rows, "native_id")
    ids = (
        values
        if all(type(value) is str and value and value.isprintable() for value in values)
        else [_native_id(value) for value in values]
    )
    missing = ids.count(None)
    if not missing:
        return pa.array(ids, pa.string()), rows, []
    first = ids.index(None)
    problem = RowProblem(entity, "native_id", "rows without an id, left out", missing, f"row {first + 1} of its page")
    kept = [row for row, key in zip(rows, ids, strict=True) if key is not None]
    return pa.array([key for key in ids if key is not None], pa.string()), kept, [problem]


def _native_id(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        key = cells.text(value)
    except ValueError:
        return None
    return (key.strip() or None) if key else None


def _absent(column: Column[Any], count: int) -> pa.Array:
    return pa.repeat(pa.scalar(False), count) if column.name == "is_test" else pa.nulls(count, arrow_type(column))


def _column(entity: str, column: Column[Any], values: list[Any], zone: ZoneInfo, native: pa.Array) -> tuple[pa.Array, list[int]]:
    """One column, and the places of values that it cannot hold."""
    kinds = set(map(type, values))
    kinds.discard(_NONE)
    kind = arrow_type(column)
    if not kinds:
        return _absent(column, len(values)), []
    try:
        whole = _whole_column(column, values, kinds, kind)
    except (pa.ArrowException, OverflowError, ValueError):
        whole = None
    if whole is not None:
        return whole, []
    convert = _cell(column, zone)
    cell, bad = [], []
    for place, value in enumerate(values):
        try:
            cell.append(None if value is None else convert(value))
        except cells.NaiveTimeError as error:
            raise SchemaError(
                f"{error}: which instant that was cannot be known",
                where=f"{entity}.{column.name} of {native[place].as_py()}",
                hint="Say in the source's settings which time zone its times are in, or correct the connector",
            ) from None
        except (ValueError, OverflowError):
            cell.append(None)
            bad.append(place)
    converted = pa.array(cell, kind)
    return (pc.fill_null(converted, False) if column.name == "is_test" else converted), bad


def _whole_column(column: Column[Any], values: list[Any], kinds: set[type], kind: pa.DataType) -> pa.Array | None:
    """The quick way, for a column of one plain type; None if there is none."""
    if isinstance(column.type, JSON) or len(kinds) > 1:
        return None
    (given,) = kinds
    if pa.types.is_string(kind):
        return _texts(values) if given is str else None
    if given is str:
        found = None if pa.types.is_boolean(kind) or pa.types.is_integer(kind) else pa.array(values, pa.string()).cast(kind)
    elif given in _PLAIN.get(type(column.type), ()):
        found = pa.array(values, kind)
    else:
        return None
    if found is None or not isinstance(column.type, DateTime | Date):
        return pc.fill_null(found, False) if found is not None and column.name == "is_test" else found
    if given is datetime and any(value is not None and value.tzinfo is None for value in values):
        return None
    return found if _is_plausible(found) else None


_PLAIN: dict[type, tuple[type, ...]] = {
    DateTime: (datetime,),
    Date: (date,),
    Numeric: (int, Decimal),
    Integer: (int,),
    Boolean: (bool,),
}
"""Python types that Arrow takes into such a column exactly."""


def _texts(values: list[Any]) -> pa.Array:
    found = pa.array(values, pa.string())
    empty = pc.equal(found, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), found) if pc.any(empty).as_py() else found


def _is_plausible(found: pa.Array) -> bool:
    span = pc.min_max(found).as_py()
    return span["min"] is None or (span["min"].year >= cells.FIRST_YEAR and span["max"].year <= cells.LAST_YEAR)


def _cell(column: Column[Any], zone: ZoneInfo) -> Callable[[Any], Any]:
    kind = column.type
    match kind:
        case JSON():
            return cells.json_text
        case DateTime():
            return partial(cells.instant, zone=zone)
        case Date():
            return cells.day
        case Numeric():
            return partial(cells.decimal, precision=kind.precision or 20, scale=kind.scale or 0)
        case _:
            return {Boolean: cells.flag, Integer: cells.integer}.get(type(kind), cells.text)


def _problem(entity: str, column: Column[Any], values: list[Any], bad: list[int], native: pa.Array) -> RowProblem:
    what = {DateTime: "not a date or time", Date: "not a date", Numeric: "not a number", Integer: "not a whole number"}
    shown = str(values[bad[0]])[:40]
    said = what.get(type(column.type), "not a value of this column")
    return RowProblem(entity, column.name, f"{said}: {shown!r}", len(bad), str(native[bad[0]].as_py()))
