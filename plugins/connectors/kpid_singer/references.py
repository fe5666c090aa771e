"""References between streams: an id points to a record whose own id begins with the prefix of its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from kpid.plugin import ColumnMap, Settings, entities

if TYPE_CHECKING:
    from kpid_singer.settings import Stream


class Ref(Settings):
    """A reference whose target another field tells."""

    by: str = Field(description="The field that says what is meant: `parent_type`.")
    streams: Mapping[str, str] = Field(
        min_length=1, description="Its values, with the stream that each means; others: the reference is none."
    )


@dataclass(frozen=True, slots=True)
class Reference:
    """How the ids of one column become ids of records.

    Args:
        field: holds them.
        prefix: is put before them; None: ``by`` says which one is.
        by: the field that says what is meant.
        prefixes: prefixes by its values; an id with another one is no reference.
    """

    field: str
    prefix: str | None
    by: str = ""
    prefixes: Mapping[str, str] | None = None

    def reader(self, getter: Callable[[str], Callable[[Any], Any]], text: Callable[[Any], str]) -> Callable[[Any], str]:
        """What reads the reference from a record: ``getter`` makes readers of fields, ``text`` writes ids."""
        read = getter(self.field)
        if self.prefix is not None:
            prefix = self.prefix
            return lambda record: prefix + found if (found := text(read(record))) else ""
        told, prefixes = getter(self.by), self.prefixes or {}

        def find(record: Any) -> str:
            before, found = prefixes.get(text(told(record))), text(read(record))
            return "" if before is None or not found else before + found

        return find


def references(streams: Mapping[str, Stream], name: str) -> dict[str, Reference]:
    """By column the references of one stream that need a prefix.

    If one stream alone fills the table that a column points to, that one is meant.

    Raises:
        ValueError: they point to nothing that is mapped, or nobody says which of several streams is meant.
    """
    stream = streams[name]
    if strange := [column for column in stream.refs if _table(stream, column) is None]:
        raise ValueError(f"{name}: `refs:` names {', '.join(strange)}, which is no mapped column that points to a record")
    found = {column: _reference(streams, name, column) for column in stream.columns if _table(stream, column) is not None}
    return {column: reference for column, reference in found.items() if reference is not None and reference.prefix != ""}


def _table(stream: Stream, column: str) -> str | None:
    """The table that a column points to; None if it does not, or is the same for all records."""
    known = entities.ENTITIES[stream.entity].c
    table = known[column].info.get("ref") if column in known and column in stream.columns else None
    return None if table is None or _field(stream, column) is None else str(table)


def _field(stream: Stream, column: str) -> str | None:
    told = stream.columns[column]
    return told.column if isinstance(told, ColumnMap) else told


def _reference(streams: Mapping[str, Stream], name: str, column: str) -> Reference | None:
    stream, told = streams[name], streams[name].refs.get(column)
    field, table = str(_field(stream, column)), str(_table(stream, column))
    if isinstance(told, Ref):
        return Reference(field, None, told.by, {word: _prefix(streams, name, column, one) for word, one in told.streams.items()})
    if told is not None:
        return Reference(field, _prefix(streams, name, column, told))
    there = {other: one.prefix for other, one in streams.items() if one.entity == table}
    if len(there) > 1 and "" not in there.values():
        text = f"{name}: {column} points to {table}, which {' and '.join(there)} fill"
        raise ValueError(f"{text}: say by `refs: {{{column}: ...}}` which of them is meant")
    return Reference(field, next(iter(there.values()))) if len(there) == 1 else None


def _prefix(streams: Mapping[str, Stream], name: str, column: str, target: str) -> str:
    """What ids of a stream begin with."""
    table = _table(streams[name], column)
    if target not in streams or streams[target].entity != table:
        there = ", ".join(other for other, one in streams.items() if one.entity == table) or "none"
        raise ValueError(f"{name}: `refs:` of {column} names {target!r}, but streams of {table} are: {there}")
    return streams[target].prefix
