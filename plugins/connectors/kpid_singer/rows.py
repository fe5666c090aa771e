"""Records of one stream into canonical rows and tombstones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from sqlalchemy import DateTime

from kpid.plugin import ColumnMap, Mapper, Row, SchemaError, Tombstone, ValueStyle, entities
from kpid_singer.catalog import lacking, near
from kpid_singer.references import Reference
from kpid_singer.settings import Stream

Record = Mapping[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECONDS = 100_000_000_000
"""Larger numbers are no seconds: as such they would lie beyond the year 5000."""


class Reader:
    """Turns records of one stream into rows.

    Args:
        name: of the stream.
        stream: how it is mapped.
        style: how it writes its values.
        until: the end of this sync's reach, for records that are deleted at no told time.
        refs: columns whose ids need a prefix.

    Raises:
        SchemaError: the mapping names a column that kpid does not have.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        style: ValueStyle,
        until: datetime,
        refs: Mapping[str, Reference] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.stream = stream
        self._until = until
        self._style = style
        self._key_getters = [_getter(key) for key in stream.id]
        self._fields = stream.fields
        self._names = {field: f"{name}.{field}" for field in self._fields}
        own = {column: f"{name}.{reference.field} as {column}" for column, reference in refs.items()}
        self._refs = [reference.reader(_getter, _id_text) for reference in refs.values()]
        header = ["native_id", *self._names.values(), *own.values(), *(["extra"] if stream.extra else [])]
        self._mapper = Mapper(stream.entity, stream.mapped(self._names, own), header, style, f"stream {name}")
        self._columns = [(_column(field), _prepared(field, stream)) for field in self._fields]
        self._extra = [(field, _getter(field)) for field in stream.extra]
        self._deleted = _getter(stream.deletion)
        self._rows: list[Record] = []
        self._ids: list[str | None] = []
        self.gone: dict[str, Tombstone] = {}
        self.warnings: list[str] = []

    def describe(self, schema: Any, keys: Sequence[str]) -> None:
        """Take over what the tap tells of the stream.

        Raises:
            SchemaError: nothing tells a record from another.
        """
        known = self.stream.id or tuple(keys)
        self._key_getters = [_getter(key) for key in known]
        missing = lacking(schema, known)
        if missing or not known:
            there = schema.get("properties") or {}
            text = f"the stream has no field {missing[0]!r}" if missing else "the tap tells no key of the stream"
            hint = f"Write `id:` in its mapping. {near(missing[0] if missing else 'id', there, 'There are')}"
            raise SchemaError(text, where=f"stream {self.name}", hint=hint)
        absent = ", ".join(lacking(schema, [*self.stream.asked, *self.stream.extra]))
        self.warnings = [f"The tap's stream {self.name} has no field {absent}: what it fills stays empty"] if absent else []

    def take(self, record: Record) -> None:
        """One record. What is deleted is told by its id alone: such a record is seldom whole."""
        native_id = self._native_id(record)
        deleted = self._deleted(record)
        if deleted and native_id is not None:
            self.gone[native_id] = Tombstone(native_id, self._instant(deleted))
            return
        if native_id is not None:
            self.gone.pop(native_id, None)
        self._rows.append(record)
        self._ids.append(native_id)

    def __len__(self) -> int:
        return len(self._rows) + len(self.gone)

    def rows(self) -> list[Row]:
        """The rows that have come together."""
        columns: list[Sequence[Any]] = [self._ids]
        for read, prepare in self._columns:
            values = read(self._rows)
            columns.append(values if prepare is None else list(map(prepare, values)))
        columns += [list(map(read, self._rows)) for read in self._refs]
        if self._extra:
            columns.append([self._custom(record) for record in self._rows])
        rows: list[Row] = list(self._mapper.rows(columns))
        self._rows, self._ids = [], []
        return rows

    def _custom(self, record: Record) -> dict[str, Any]:
        found = {name: get(record) for name, get in self._extra}
        return {name: _as_json(value) for name, value in found.items() if value is not None}

    def _native_id(self, record: Record) -> str | None:
        parts = [_id_text(get(record)) for get in self._key_getters]
        if not parts or not all(parts):
            return None
        if len(parts) > 1:
            parts = [part.replace("%", "%25").replace("/", "%2F") for part in parts]
        return self.stream.prefix + "/".join(parts)

    def _instant(self, value: Any) -> datetime:
        """When a record was deleted: as told, else when this sync saw it."""
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                return self._until
        value = _from_epoch(value)
        if not isinstance(value, datetime):
            return self._until
        return value if value.tzinfo else value.replace(tzinfo=self._style.timezone)


def _getter(field: str) -> Callable[[Record], Any]:
    """A field of a record; a point leads into an object, unless a field has that very name."""
    top, point, rest = field.partition(".")
    if not point:
        return lambda record: record.get(field)
    inner = _getter(rest)

    def get(record: Record) -> Any:
        if field in record:
            return record[field]
        found = record.get(top)
        return inner(found) if isinstance(found, Mapping) else None

    return get


def _column(field: str) -> Callable[[Sequence[Record]], list[Any]]:
    """A field of many records."""
    if "." not in field:
        return lambda records: [record.get(field) for record in records]
    get = _getter(field)
    return lambda records: [get(record) for record in records]


def _prepared(field: str, stream: Stream) -> Callable[[Any], Any] | None:
    """What is done to a field's values before they are mapped: ids are texts, truth values have names, numbers may be times."""
    table = entities.ENTITIES[stream.entity].c
    told = {name: ColumnMap(column=value) if isinstance(value, str) else value for name, value in stream.columns.items()}
    used = {name: one for name, one in told.items() if one.column == field}
    if any(name in table and table[name].info.get("ref") for name in used):
        return _id_text
    if any(one.values is not None for one in used.values()):
        return _word
    if any(name in table and isinstance(table[name].type, DateTime) for name in used):
        return _from_epoch
    return None


def _word(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else _whole(value)


def _id_text(value: Any) -> str:
    if type(value) is str:
        return value
    return "" if value is None else str(_whole(value))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value() else value


def _from_epoch(value: Any) -> Any:
    """Seconds or milliseconds since 1970 as an instant."""
    if type(value) is str or isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return value
    milliseconds = value * 1000 if -_MILLISECONDS < value < _MILLISECONDS else value
    try:
        return _EPOCH + timedelta(milliseconds=float(milliseconds))
    except (OverflowError, ValueError):
        return value


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        whole = _whole(value)
        return whole if isinstance(whole, int) else float(value)
    if isinstance(value, Mapping):
        return {name: _as_json(item) for name, item in value.items()}
    return [_as_json(item) for item in value] if isinstance(value, list) else value
