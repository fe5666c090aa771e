"""How the columns of a company's tables become canonical ones: the expressions of ``tables:``, written out for each engine. Pure.

Names are quoted and texts escaped: nothing in the configuration can become a statement of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, Boolean, Column, Date, DateTime, Integer, Numeric

from kpid.analysis.language import Node
from kpid.analysis.language.tree import (
    Between,
    Binary,
    Call,
    Case,
    Constant,
    In,
    IsNull,
    Name,
    Several,
    Unary,
    nodes_of,
    parts_of,
)

_CASTS = {"text": "text", "number": "decimal", "integer": "integer", "boolean": "boolean", "date": "date", "instant": "instant"}


@dataclass(frozen=True)
class Grammar:
    """What engines spell differently in a mapping.

    Args:
        quote: what names are put between.
        types: names of the types ``text, integer, boolean, date, instant, json``; ``decimal`` is a format.
        backslash: whether a backslash in a text has to be doubled.
        name_backslash: whether one in a name has to be.
    """

    quote: str
    types: dict[str, str]
    backslash: bool = False
    name_backslash: bool = False

    def name(self, *parts: str) -> str:
        """A name, quoted."""
        doubled = [part.replace("\\", "\\\\") if self.name_backslash else part for part in parts]
        return ".".join(f"{self.quote}{part.replace(self.quote, self.quote * 2)}{self.quote}" for part in doubled)

    def text(self, value: str) -> str:
        """A text as a literal."""
        doubled = value.replace("\\", "\\\\") if self.backslash else value
        return "'" + doubled.replace("'", "\\'" if self.backslash else "''") + "'"

    def cast(self, sql: str, kind: str) -> str:
        """An expression in one of our types."""
        return f"CAST({sql} AS {self.types[kind]})"


_STANDARD = {"text": "VARCHAR", "integer": "BIGINT", "boolean": "BOOLEAN", "date": "DATE", "instant": "TIMESTAMPTZ",
             "json": "JSON", "decimal": "DECIMAL(20, 6)", "rate": "DECIMAL(18, 10)"}  # fmt: skip
_SPARK = {**_STANDARD, "text": "STRING", "instant": "TIMESTAMP", "json": "STRING"}
_CLICKHOUSE = {"text": "String", "integer": "Int64", "boolean": "Bool", "date": "Date32", "instant": "DateTime64(6, 'UTC')",
               "json": "String", "decimal": "Decimal(20, 6)", "rate": "Decimal(18, 10)"}  # fmt: skip
GRAMMARS = {
    "postgresql": Grammar('"', _STANDARD),
    "spark": Grammar("`", _SPARK, backslash=True),
    "clickhouse": Grammar(
        "`", {kind: f"Nullable({name})" for kind, name in _CLICKHOUSE.items()}, backslash=True, name_backslash=True
    ),
}
"""By engine."""


def columns_in(tree: Node) -> Iterator[Name]:
    """The columns that an expression reads."""
    return (node for node in nodes_of(tree) if isinstance(node, Name))


_KINDS = ((DateTime, "instant"), (Date, "date"), (Boolean, "boolean"), (Integer, "integer"), (JSON, "json"))


def kind_of(column: Column[Any]) -> str:
    """Which of our types a canonical column has."""
    if isinstance(column.type, Numeric):
        return "rate" if column.type.scale == 10 else "decimal"
    return next((name for kind, name in _KINDS if isinstance(column.type, kind)), "text")


def written(node: Node, grammar: Grammar) -> str:
    """An expression in the SQL of an engine."""
    parts = [written(part, grammar) for part in parts_of(node)]
    if isinstance(node, Constant):
        return constant(node.value, grammar)
    if isinstance(node, Name):
        return grammar.name(*node.parts)
    return _call(node.name.lower(), parts, grammar) if isinstance(node, Call) else f"({_made_of(node, parts)})"


def _made_of(node: Node, parts: list[str]) -> str:
    match node:
        case Unary():
            return f"{node.operator.upper()} {parts[0]}"
        case Binary():
            return f"{parts[0]} {node.operator} {parts[1]}"
        case Several():
            return f" {node.operator.upper()} ".join(parts)
        case In():
            text = f"IN ({', '.join(parts[1:])})"
        case Between():
            text = f"BETWEEN {parts[1]} AND {parts[2]}"
        case IsNull():
            return f"{parts[0]} IS {'NOT ' if node.negated else ''}NULL"
        case Case():
            return _case(parts)
        case _:
            text = f"LIKE {parts[1]}"
    return f"{parts[0]} {'NOT ' if getattr(node, 'negated', False) else ''}{text}"


def _case(parts: list[str]) -> str:
    """A case of its conditions and values in turn; a last one without a value is the ``else``."""
    pairs = zip(parts[::2], parts[1::2], strict=False)
    branches = " ".join(f"WHEN {condition} THEN {value}" for condition, value in pairs)
    return f"CASE {branches}{f' ELSE {parts[-1]}' if len(parts) % 2 else ''} END"


def _call(name: str, arguments: list[str], grammar: Grammar) -> str:
    if name in _CASTS:
        return grammar.cast(arguments[0], _CASTS[name])
    if name == "if":
        return f"(CASE WHEN {arguments[0]} THEN {arguments[1]} ELSE {arguments[2]} END)"
    if name == "concat":
        return "(" + " || ".join(grammar.cast(argument, "text") for argument in arguments) + ")"
    return f"{name}({', '.join(arguments)})"


def constant(value: object, grammar: Grammar) -> str:
    """A value as a literal."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case Decimal() | int():
            return f"{value:f}" if isinstance(value, Decimal) else str(value)
        case datetime():
            zone = "" if grammar.types["instant"].startswith("Nullable") else "+00:00"
            return grammar.cast(f"'{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}{zone}'", "instant")
        case date():
            return grammar.cast(f"'{value.isoformat()}'", "date")
        case _:
            return grammar.text(str(value))
