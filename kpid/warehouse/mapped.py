"""A warehouse that somebody else fills: the canonical tables are mappings of the company's own, read where they are.

Nothing is written and nothing is copied. Each query is led in by the mappings of the tables it names, as ``WITH`` clauses called
``kpid_table_deals`` ...; what is not mapped is empty or null. Nobody says what has changed: everything that ended within a window
is measured anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import Table

from kpid.analysis.language import Node
from kpid.errors import KpidError, StoreError
from kpid.plugin.entities import ENTITIES, watermarks
from kpid.warehouse import Batch, Changes, Watermark
from kpid.warehouse.columns import GRAMMARS, Grammar, constant, kind_of, written

SOURCE = "warehouse"
"""The source that rows of mapped tables are said to come from, unless ``source_id`` is mapped."""

RESTATE = timedelta(days=35)
"""Periods that ended within so long are measured anew each time, since nobody says what has changed."""

_PREFIX = "kpid_table_"
_NAMED = re.compile(rf"\b{_PREFIX}(\w+)")
_WORDS = re.compile(r"\w+")
_PLAIN = re.compile(r"(?:\b(?:FROM|JOIN)\s+|,\s*)\"?(\w+)\b(?!\s*\.)", re.IGNORECASE)
_STAR = re.compile(r"(?:\bSELECT(?:\s+DISTINCT)?\s+|\.|,\s*)\*", re.IGNORECASE)
_NOW = "now"


class Engine(Protocol):
    """Runs SQL somewhere. ``$1`` marks a parameter. Safe to use from several threads."""

    dialect: str
    where: str
    """What it is called in messages; never with a password."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT and give its whole result."""

    def columns_of(self, table: Sequence[str]) -> Sequence[str] | None:
        """Names of a table's or view's columns; None if there is no such table. ``table`` is its name in parts."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class MappedEntity:
    """A canonical table that is one of the company's.

    Args:
        entity: name of the canonical table.
        table: name of the company's table or view, in parts.
        columns: expression of each canonical column that has one.
        same_names: a canonical column without one is the table's column of its name, if there is one.
        through: the column whose largest value says how far the table reaches, a whole query that does, or ``now``.
    """

    entity: str
    table: tuple[str, ...]
    columns: Mapping[str, Node] = field(default_factory=dict)
    same_names: bool = False
    through: str | None = None


class MappedWarehouse:
    """A :class:`~kpid.warehouse.Warehouse` whose tables are read in place.

    Args:
        engine: where the tables are.
        mappings: the canonical tables that there are.

    Raises:
        StoreError: a table of ``same_names`` is not there.
    """

    in_place = True

    def __init__(self, engine: Engine, mappings: Sequence[MappedEntity]) -> None:
        self._engine = engine
        self.dialect = f"{engine.dialect}+mapped"
        self._grammar = GRAMMARS[engine.dialect.strip("~")]
        self._mappings = {mapping.entity: mapping for mapping in mappings}
        self._there = {m.entity: frozenset(self._columns_of(m)) if m.same_names else frozenset() for m in mappings}

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources that watermarks are given for: one per table, since each may have an age of its own."""
        return tuple(map(source_of, self._mappings))

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Run one SELECT over the canonical tables.

        Raises:
            StoreError: the engine refuses it.
        """
        plain = [name for name in dict.fromkeys(_PLAIN.findall(sql)) if name in ENTITIES]  # in SQL that somebody has written
        words = frozenset(_WORDS.findall(sql))
        if plain and _STAR.search(sql):
            words |= {column.name for name in plain for column in ENTITIES[name].columns}
        names = dict.fromkeys([*_NAMED.findall(sql), *plain])
        clauses = [f"{_PREFIX}{name} AS ({self._select(name, words)})" for name in names]
        clauses += [f"{name} AS (SELECT * FROM {_PREFIX}{name})" for name in plain]
        if clauses:
            rest = sql.lstrip()
            own = rest[:5].upper() == "WITH "
            sql = f"WITH {', '.join(clauses)}{', ' + rest[5:] if own else ' ' + rest}"
        return self._engine.query(sql, parameters)

    def batch(self) -> AbstractContextManager[Batch]:
        """Nothing is written to tables that are read in place.

        Raises:
            StoreError: always.
        """
        hint = "Take `sources:` out, or use a warehouse of kpid's own"
        raise StoreError("this warehouse is read in place: nothing is synced into it", where=self._engine.where, hint=hint)

    def may_hold(self, entity: str, ids: Iterable[str]) -> bool:
        """For all it knows."""
        return True

    def watermarks(self) -> Sequence[Watermark]:
        """How far each mapped table reaches."""
        asked = {name: freshness(m, self._grammar, self._there[name]) for name, m in sorted(self._mappings.items())}
        known = self._reached(list(dict.fromkeys(sql for sql in asked.values() if sql is not None)))
        found = {name: None if sql is None else instant_of(known[sql], f"tables.{name}.through") for name, sql in asked.items()}
        return [Watermark(source_of(name), name, None, through, through) for name, through in found.items()]

    def changes(self, after: int) -> Changes:
        """Nobody says: what ended within the window."""
        return Changes(max(after, 1), {}, RESTATE)

    def snapshot_to(self, path: Path | str) -> Path:
        """There is nothing to copy.

        Raises:
            StoreError: always.
        """
        raise StoreError(f"no copy is written to {path}: the warehouse is read in place", where=self._engine.where)

    def give_back_memory(self) -> None:
        """Nothing is cached on this side."""

    def sparing(self) -> AbstractContextManager[None]:
        """The server sees to its memory itself."""
        return nullcontext()

    def close(self) -> None:
        """Let go of connections."""
        self._engine.close()

    def _reached(self, queries: Sequence[str]) -> dict[str, Any]:
        """The answers of freshness queries, all asked at once."""
        if not queries:
            return {}
        parts = (
            f"SELECT {number} AS n, CAST(({sql}) AS {self._grammar.types['text']}) AS at" for number, sql in enumerate(queries)
        )
        found = self._engine.query(f"SELECT n, at FROM ({' UNION ALL '.join(parts)}) AS reached")
        return {queries[number]: at for number, at in zip(found["n"].to_pylist(), found["at"].to_pylist(), strict=True)}

    def _columns_of(self, mapping: MappedEntity) -> Sequence[str]:
        found = self._engine.columns_of(mapping.table)
        if found is None:
            name = ".".join(mapping.table)
            raise StoreError(f"there is no table {name}", where=self._engine.where, hint=f"Correct tables.{mapping.entity}.table")
        return found

    def _select(self, name: str, words: frozenset[str]) -> str:
        if name == watermarks.name:
            return self._marks()
        table, grammar = ENTITIES[name], self._grammar
        mapping = self._mappings.get(name)
        columns = [column for column in table.columns if column.name in words or column.name == "id"]
        cells = [f"{self._cell(mapping, column)} AS {grammar.name(column.name)}" for column in columns]
        source = "" if mapping is None else f" FROM {grammar.name(*mapping.table)}"
        return f"SELECT {', '.join(cells)}{source}{'' if mapping else ' WHERE 1 = 0'}"

    def _cell(self, mapping: MappedEntity | None, column: Any) -> str:
        grammar, sql = self._grammar, "NULL"
        if mapping is not None:
            tree = mapping.columns.get(column.name)
            if tree is None and column.name == "native_id":
                tree = mapping.columns.get("id")
            if tree is not None:
                sql = written(tree, grammar)
            elif column.name in self._there[mapping.entity]:
                sql = grammar.name(column.name)
            elif column.name in _CONSTANTS:
                sql = constant(_CONSTANTS[column.name], grammar)
        return grammar.cast(sql, kind_of(column))

    def _marks(self) -> str:
        table: Table = watermarks
        rows = []
        for mark in self.watermarks():
            values = {"source_id": mark.source, "entity": mark.entity, "through": mark.through, "finished_at": mark.finished_at}
            cells = (
                f"{self._grammar.cast(constant(values.get(c.name), self._grammar), kind_of(c))} AS {self._grammar.name(c.name)}"
                for c in table.columns
            )
            rows.append(f"SELECT {', '.join(cells)}")
        empty = (f"{self._grammar.cast('NULL', kind_of(c))} AS {self._grammar.name(c.name)}" for c in table.columns)
        return " UNION ALL ".join(rows) or f"SELECT {', '.join(empty)} WHERE 1 = 0"


_CONSTANTS: Mapping[str, Any] = {"source_id": SOURCE, "is_test": False}


def source_of(entity: str) -> str:
    """The name under which the freshness of a mapped table is known."""
    return f"{SOURCE}.{entity}"


def names_query(through: str) -> bool:
    """Whether ``through:`` is no column: a query, or ``now``."""
    return through == _NOW or through.split(maxsplit=1)[0].upper() == "SELECT"


def freshness(mapping: MappedEntity, grammar: Grammar, there: frozenset[str] = frozenset()) -> str | None:
    """The query that says how far a mapped table reaches; None if nothing does."""
    through = mapping.through
    if through == _NOW:
        return "SELECT now() AS through" if grammar.quote == '"' else "SELECT CURRENT_TIMESTAMP() AS through"
    if through is not None and names_query(through):
        return through
    source = grammar.name(*mapping.table)
    if through is not None:
        largest = grammar.cast(f"max({grammar.name(*through.split('.'))})", "instant")
        return f"SELECT {largest} AS through FROM {source}"
    tree = mapping.columns.get("updated_at")
    if tree is None and "updated_at" not in there:
        return None
    column = grammar.name("updated_at") if tree is None else written(tree, grammar)
    return f"SELECT {grammar.cast(f'max({column})', 'instant')} AS through FROM {source}"


def instant_of(value: Any, what: str) -> datetime | None:
    """What a freshness query gave as an instant in UTC.

    Raises:
        KpidError: it is none.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise KpidError(f"{what} gave {value!r}: that is not an instant", hint="Make it a timestamp")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
