"""``tables:``: canonical tables that are the company's own, read in place, and the expressions that make their columns.

An expression is a column (``amount``, ``"Close Date"``, ``props.amount``), a constant (``'EUR'``, ``true``,
``date '2026-01-31'``), or made of them with comparisons, arithmetic, ``and``, ``or``, ``not``, ``in``, ``between``, ``is null``,
``like``, ``case when ... then ... end`` and the functions in :data:`FUNCTIONS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from kpid.analysis.language import Mistake, Node, parse
from kpid.analysis.language.tree import Call, nodes_of
from kpid.config.problems import Place, near_miss
from kpid.config.values import Duration, Model
from kpid.errors import ConfigError
from kpid.plugin.entities import ENTITIES

IN_PLACE = ("spark", "sc", "clickhouse", "clickhouses", "chdb")
"""Kinds of warehouses that are always read in place; PostgreSQL is if there are ``tables:``."""

CASTS = ("text", "number", "integer", "boolean", "date", "instant")
_COUNTS = {"concat": (2, 9), "coalesce": (2, 9), "lower": (1, 1), "upper": (1, 1), "trim": (1, 1), "if": (3, 3), "nullif": (2, 2)}
FUNCTIONS = (*CASTS, *_COUNTS)
"""``number(x)`` and its like convert; ``if(condition, then, else)`` chooses; the others are as in SQL."""

_PART = re.compile(r'"(?:[^"]|"")+"|`[^`]+`|[^".`\s]+')


def _table_name(value: str) -> str:
    if ".".join(_PART.findall(value)) != value or not value:
        raise ValueError("must be a table or view such as crm.opportunities; odd names stand in double quotes")
    return value


class MappedTable(Model):
    """A canonical table that is one of the company's tables or views."""

    table: Annotated[str, AfterValidator(_table_name)] = Field(description="The company's table or view: crm.opportunities.")
    columns: Mapping[str, str] = Field(
        default_factory=dict,
        description="Canonical column: column, constant or small expression of the table. What is not named is null.",
    )
    same_names: bool = Field(
        False, description="Columns that are not named are the table's columns of the same name, if it has them."
    )
    through: str | None = Field(
        None,
        description="How far the table reaches: a column (its largest value), SELECT ..., or `now` (default: `updated_at`).",
    )
    max_age: Duration | None = Field(None, description="Older data is stale: it never fires and never resolves an alert.")

    @property
    def parts(self) -> tuple[str, ...]:
        """The table's name in parts, without quotes."""
        return tuple(part[1:-1].replace('""', '"') if part[0] in '"`' else part for part in _PART.findall(self.table))


def expression(text: str) -> Node:
    """The tree of a mapping's expression.

    Raises:
        Mistake: it cannot be read, or calls a function that there is not; says where.
    """
    tree = parse(text)
    for node in nodes_of(tree):
        if isinstance(node, Call):
            _check_call(node)
    return tree


def _check_call(node: Call) -> None:
    name = node.name.lower()
    if name not in FUNCTIONS:
        raise Mistake(f"there is no function {node.name!r} here", node.span, f"There are: {', '.join(FUNCTIONS)}")
    least, most = _COUNTS.get(name, (1, 1))
    if not least <= len(node.arguments) <= most:
        wanted = str(least) if least == most else f"{least} or more"
        raise Mistake(f"{name} takes {wanted} argument{'s' if wanted != '1' else ''}", node.span)


def table_errors(tables: Mapping[str, MappedTable], warehouse: str, place: Place, *, syncs: bool) -> Iterator[ConfigError]:
    """Every mistake in ``tables:`` that can be seen without asking the engine.

    Args:
        tables: canonical name -> mapping.
        warehouse: its URL.
        place: of keys.
        syncs: whether there are sources.
    """
    kind = warehouse.partition(":")[0]
    if tables and kind == "duckdb":
        yield ConfigError("tables: a duckdb warehouse is kpid's own", where=place("tables"), hint="Take `tables:` out")
    if kind in IN_PLACE and not tables:
        hint = "Map at least one: tables: {deals: {table: crm.opportunities, columns: {id: opportunity_id, ...}}}"
        yield ConfigError(
            f"warehouse: a {kind} warehouse is read in place, and no table is mapped", where=place("warehouse"), hint=hint
        )
    if syncs and (tables or kind in IN_PLACE):
        hint = "Take `sources:` out, or let kpid have a warehouse of its own"
        yield ConfigError("sources: nothing is synced into a warehouse that is read in place", where=place("sources"), hint=hint)
    for entity, mapped in tables.items():
        if entity not in ENTITIES:
            hint = near_miss(entity, ENTITIES, what="There are")
            yield ConfigError(f"tables: there is no canonical table {entity!r}", where=place("tables", entity), hint=hint)
            continue
        yield from _column_errors(entity, mapped, place)
        if "id" not in mapped.columns and not mapped.same_names:
            hint = "Map `id` to what identifies a row"
            yield ConfigError(f"tables.{entity}: `id` is not mapped", where=place("tables", entity), hint=hint)


def _column_errors(entity: str, mapped: MappedTable, place: Place) -> Iterator[ConfigError]:
    known = ENTITIES[entity].columns.keys()
    for name, text in mapped.columns.items():
        where = place("tables", entity, "columns", name)
        if name not in known:
            hint = near_miss(name, known, what="It has")
            yield ConfigError(f"tables.{entity}: the canonical table has no column {name!r}", where=where, hint=hint)
        try:
            expression(text)
        except Mistake as error:
            yield ConfigError(f"tables.{entity}.columns.{name}: {error.what}", where=where, hint=error.hint)
