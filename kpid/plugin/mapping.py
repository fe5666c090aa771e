"""How a source's columns become canonical ones, as written in its settings; for connectors that know no schema of their own.

    columns:
      owner_id: sales_agent                                                   # canonical column: source column
      state: {column: deal_stage, values: {Won: won, Lost: lost, "*": open}}  # "*" = everything else
      closed_at: {column: close_date, date: "%d.%m.%Y"}
      currency: {const: EUR}

Columns that have canonical names already map themselves.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator
from sqlalchemy import JSON, Date, DateTime, Integer, Numeric

from kpid.errors import SchemaError
from kpid.plugin.entities import ENTITIES
from kpid.plugin.settings import Settings

_OWN = frozenset({"id", "source_id", "synced_at", "extra"})
_REST = "*"
_CACHED = 10_000

Convert = Callable[[Any], Any]
ConvertAll = Callable[[Sequence[Any]], list[Any]]
"""Converts a column: whole columns cost half of what their values cost one by one."""


class ColumnMap(Settings):
    """Where a canonical column gets its values from."""

    column: str | None = Field(default=None, description="Column of the source.")
    values: Mapping[str, str | None] | None = Field(
        default=None, description='Replaces values: {Won: won, "*": open}; without "*" the other values stay as they are.'
    )
    date: str | None = Field(
        default=None, description="How its dates are written, like %d.%m.%Y (strptime); not needed for ISO dates."
    )
    default: str | int | float | bool | None = Field(default=None, description="Instead of an empty value.")
    const: str | int | float | bool | None = Field(default=None, description="The same value for every row.")

    @model_validator(mode="after")
    def _one_origin(self) -> ColumnMap:
        if (self.column is None) == (self.const is None):
            raise ValueError("write either `column:` or `const:`")
        return self


class Mapped(Settings):
    """The settings of one entity that say how its columns are mapped."""

    id: str = Field(default="native_id", description="Column of the source that identifies a row.")
    columns: Mapping[str, str | ColumnMap] = Field(
        default_factory=dict, description="Canonical column: source column, or a mapping."
    )
    extra: tuple[str, ...] = Field(default=(), description="Columns of the source that are kept as custom fields.")


@dataclass(frozen=True, slots=True)
class ValueStyle:
    """How a source writes its values.

    Args:
        timezone: the zone of times that state none.
        decimal_comma: ``1.234,50`` instead of ``1234.50``.
    """

    timezone: ZoneInfo
    decimal_comma: bool = False


def filled_columns(entity: str, mapped: Mapped, header: Iterable[str]) -> frozenset[str]:
    """The canonical columns that a source fills: those that are mapped, and those of its own that have canonical names."""
    own = {name for name in header if name in ENTITIES[entity].c and name not in _OWN}
    return frozenset(own | mapped.columns.keys() | {"native_id"})


class Mapper:
    """Turns rows of a source, column by column, into canonical rows.

    Args:
        entity: the canonical table.
        mapped: the settings.
        header: columns of the source, in the order of its rows.
        style: how the source writes its values.
        place: what is read, for error messages: a file, a select.

    Raises:
        SchemaError: the settings name a column that kpid or the source does not have.
    """

    def __init__(self, entity: str, mapped: Mapped, header: Sequence[str], style: ValueStyle, place: str) -> None:
        self._place = place
        self._header = list(header)
        self._index = {name: at for at, name in enumerate(header)}
        self._twice = {name for name, count in Counter(header).items() if count > 1}
        table = ENTITIES[entity]
        known = {column.name: column for column in table.columns if column.name not in _OWN}
        chosen: dict[str, ColumnMap] = {"native_id": ColumnMap(column=mapped.id)}
        chosen |= {name: ColumnMap(column=name) for name in header if name in known}
        if "extra" in self._index and not mapped.extra:
            chosen["extra"] = ColumnMap(column="extra")
        for name, value in mapped.columns.items():
            if name not in known:
                raise self._unknown(f"{entity} has no column", name, known)
            chosen[name] = ColumnMap(column=value) if isinstance(value, str) else value
        chosen["native_id"] = ColumnMap(column=mapped.id)
        self._columns = [(name, self._at(cm), _converter(cm, known.get(name), style)) for name, cm in chosen.items()]
        self._extra = [(name, self._at(ColumnMap(column=name))) for name in mapped.extra]

    def rows(self, columns: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """Canonical rows of a chunk, given as one sequence of values per column of the header."""
        if not columns or not len(columns[0]):
            return []
        count = len(columns[0])
        names = [name for name, _, _ in self._columns]
        values = [convert((None,)) * count if at is None else convert(columns[at]) for _, at, convert in self._columns]
        if self._extra:
            names.append("extra")
            keys = [name for name, _ in self._extra]
            found = zip(*([_plain(value) for value in columns[at or 0]] for _, at in self._extra), strict=True)
            values.append([{k: v for k, v in zip(keys, row, strict=True) if v is not None} for row in found])
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def _at(self, column: ColumnMap) -> int | None:
        if column.column is None:
            return None
        if column.column not in self._index:
            raise self._unknown("there is no column", column.column, self._header)
        if column.column in self._twice:
            raise SchemaError(
                f"there is more than one column {column.column!r}", where=self._place, hint="Give each of them a name of its own"
            )
        return self._index[column.column]

    def _unknown(self, what: str, name: str, there: Iterable[str]) -> SchemaError:
        listed = [str(column) for column in there]
        near = difflib.get_close_matches(name, listed, 1, 0.6) or [column for column in listed if column.lower() == name.lower()]
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return SchemaError(f"{what} {name!r}", where=self._place, hint=f"{hint}There are: {', '.join(listed)}")


def _plain(value: Any) -> Any:
    """A value of an unmapped kind: text without blanks around it, nothing for an empty one."""
    return (value.strip() or None) if isinstance(value, str) else value


def _all_plain(values: Sequence[Any]) -> list[Any]:
    return [(value.strip() or None) if type(value) is str else _plain(value) for value in values]


def _converter(column: ColumnMap, canonical: Any, style: ValueStyle) -> ConvertAll:
    if column.const is not None:
        constant = column.const
        return lambda values: [constant] * len(values)
    steps: list[Convert] = [_plain]
    if column.values is not None:
        steps.append(_replacer(column.values))
    kind = None if canonical is None else canonical.type
    if isinstance(kind, DateTime):
        steps.append(_dates(column.date, style.timezone))
    elif isinstance(kind, Date):
        steps.append(_dates(column.date, None))
    elif isinstance(kind, Numeric | Integer) and style.decimal_comma:
        steps.append(_number_with_comma)
    elif kind is None or isinstance(kind, JSON):
        steps.append(_parsed_json)
    if column.default is not None:
        default = column.default
        steps.append(lambda value: default if value is None else value)
    if len(steps) == 1:
        return _all_plain
    is_plain = len(steps) == 2 and column.date is None and isinstance(kind, DateTime)
    return _unless_exact(_chain(steps)) if is_plain else _chain(steps)


def _unless_exact(convert: ConvertAll) -> ConvertAll:
    """Instants that are written with ``Z`` throughout are handed on as they are: the ingest step reads whole columns of them."""

    def convert_all(values: Sequence[Any]) -> list[Any]:
        is_exact = all(not value or (type(value) is str and len(value) > 16 and value[-1] == "Z") for value in values)
        return [value or None for value in values] if is_exact else convert(values)

    return convert_all


def _chain(steps: Sequence[Convert]) -> ConvertAll:
    """Several steps in a row, remembered: columns repeat their values."""
    known: dict[Any, Any] = {}

    def convert(value: Any) -> Any:
        result = value
        for step in steps:
            result = step(result)
        if len(known) < _CACHED and (value is None or isinstance(value, str)):
            known[value] = result
        return result

    def convert_all(values: Sequence[Any]) -> list[Any]:
        return [known[value] if (type(value) is str or value is None) and value in known else convert(value) for value in values]

    return convert_all


def _replacer(values: Mapping[str, str | None]) -> Convert:
    rest = values.get(_REST)

    def replace(value: Any) -> Any:
        if value is None:
            return rest if _REST in values else None
        key = str(value)
        return values.get(key, rest if _REST in values else value)

    return replace


def _dates(pattern: str | None, zone: ZoneInfo | None) -> Convert:
    """Dates and times; a time that states no zone is in ``zone``. What is no date stays as it is: the ingest step counts it."""
    has_time = pattern is not None and any(sign in pattern for sign in ("%H", "%I", "%c", "%X", "%s"))

    def convert(value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = _date_from_text(value, pattern, has_time=has_time)
            except ValueError:
                return value
        if isinstance(value, datetime) and value.tzinfo is None and zone is not None:
            return value.replace(tzinfo=zone)
        return value

    return convert


def _date_from_text(text: str, pattern: str | None, *, has_time: bool) -> date | datetime:
    if pattern is not None:
        try:
            found = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is added by the caller
            return found if has_time else found.date()
        except ValueError:
            pass  # an ISO date among others can mean only one thing
    return date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)


def _number_with_comma(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    plain = re.sub("[ '\u00a0\u2009\u202f]", "", value)
    if not _COMMA_NUMBER.fullmatch(plain):
        return f"{value} (the decimal sign is a comma)" if any(sign.isdigit() for sign in value) else value
    return Decimal(plain.replace(".", "").replace(",", "."))


_COMMA_NUMBER = re.compile(r"[-+]?(([0-9]{1,3}(\.[0-9]{3})+|[0-9]+)(,[0-9]*)?|,[0-9]+)([eE][-+]?[0-9]{1,3})?")
"""1.234,50 and 1234,5: a point only ever separates thousands. 1.5 is refused, for it would become 15."""


def _parsed_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
