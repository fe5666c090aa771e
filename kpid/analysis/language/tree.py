"""What a parsed expression consists of, and how it is printed: equal trees print alike, and the print parses to the same tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from kpid.analysis.language.tokens import KEYWORDS

Span: TypeAlias = tuple[int, int]
Value: TypeAlias = "Decimal | str | bool | date | datetime | None"


@dataclass(frozen=True)
class _Written:
    """Something that stands in a text, from ``span[0]`` up to ``span[1]``."""

    span: Span = field(default=(0, 0), compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Constant(_Written):
    """A value that is written down: a number, text, truth value, date, aware instant, or null."""

    value: Value


@dataclass(frozen=True)
class Name(_Written):
    """A column, measure or KPI: ``amount``; a custom field has two parts: ``extra.tier``."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(_name(part) for part in self.parts)


@dataclass(frozen=True)
class Call(_Written):
    """A function with its arguments; in a formula a KPI with its parameters (``weight=amount``: to the parser a comparison)."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Unary(_Written):
    """``not x`` or ``-x``."""

    operator: Literal["not", "-"]
    operand: Node


@dataclass(frozen=True)
class Binary(_Written):
    """A comparison or arithmetic."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Several(_Written):
    """``a and b and c``, or with ``or``: at least two."""

    operator: Literal["and", "or"]
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class In(_Written):
    """``x [not] in (a, b)``."""

    operand: Node
    items: tuple[Node, ...]
    negated: bool = False


@dataclass(frozen=True)
class Between(_Written):
    """``x [not] between low and high``: both ends belong to it."""

    operand: Node
    low: Node
    high: Node
    negated: bool = False


@dataclass(frozen=True)
class IsNull(_Written):
    """``x is [not] null``."""

    operand: Node
    negated: bool = False


@dataclass(frozen=True)
class Like(_Written):
    """``x [not] like pattern``: ``%`` stands for any text, ``_`` for one character."""

    operand: Node
    pattern: Node
    negated: bool = False


@dataclass(frozen=True)
class Case(_Written):
    """``case when a then b [when c then d ...] [else e] end``; without an ``else`` it is null."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None = None


Node: TypeAlias = "Constant | Name | Call | Unary | Binary | Several | In | Between | IsNull | Like | Case"

CASE_WORDS = frozenset({"case", "when", "then", "else", "end"})
"""Words with a meaning of their own only where a case can stand: columns may be called so."""

COMPARISONS = frozenset({"=", "<>", "<", "<=", ">", ">="})
_OR, _AND, _NOT, _COMPARES, _SUM, _PRODUCT, _SIGN, _WORD = range(8)
_STRENGTH = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "or": _OR, "and": _AND}


def parts_of(node: Node) -> Iterator[Node]:
    """The nodes directly below one."""
    match node:
        case Constant() | Name():
            return
        case Call():
            yield from node.arguments
        case Several():
            yield from node.operands
        case Binary():
            yield from (node.left, node.right)
        case In():
            yield from (node.operand, *node.items)
        case Between():
            yield from (node.operand, node.low, node.high)
        case Like():
            yield from (node.operand, node.pattern)
        case Unary() | IsNull():
            yield node.operand
        case Case():
            for branch in node.branches:
                yield from branch
            if node.otherwise is not None:
                yield node.otherwise


def nodes_of(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for part in parts_of(node):
        yield from nodes_of(part)


def printed(node: Node) -> str:
    """The text of a tree, with the parentheses that it needs and no others."""
    return _text(node, _OR)


def _text(node: Node, least: int) -> str:
    """Text of a node where only what binds at least as strongly as ``least`` may stand without parentheses."""
    text, strength = _text_and_strength(node)
    return f"({text})" if strength < least else text


def _text_and_strength(node: Node) -> tuple[str, int]:
    match node:
        case Constant() | Name() | Call() | Case():
            return _word(node), _WORD
        case Several():
            strength = _STRENGTH[node.operator]
            return f" {node.operator} ".join(_text(operand, strength + 1) for operand in node.operands), strength
        case Unary():
            return (
                (f"not {_text(node.operand, _NOT)}", _NOT)
                if node.operator == "not"
                else (f"-{_text(node.operand, _WORD)}", _SIGN)
            )
        case Binary() if node.operator not in COMPARISONS:
            strength = _STRENGTH[node.operator]
            return f"{_text(node.left, strength)} {node.operator} {_text(node.right, strength + 1)}", strength
        case _:
            return _predicate(node), _COMPARES


def _word(node: Constant | Name | Call | Case) -> str:
    match node:
        case Constant():
            return _constant(node.value)
        case Name():
            return str(node)
        case Call():
            return f"{node.name}({_list(node.arguments)})"
        case Case():
            branches = " ".join(f"when {printed(condition)} then {printed(value)}" for condition, value in node.branches)
            otherwise = "" if node.otherwise is None else f" else {printed(node.otherwise)}"
            return f"case {branches}{otherwise} end"


def _predicate(node: Binary | In | Between | IsNull | Like) -> str:
    if isinstance(node, Binary):
        return f"{_text(node.left, _SUM)} {node.operator} {_text(node.right, _SUM)}"
    operand = _text(node.operand, _SUM)
    no = "not " if node.negated else ""
    match node:
        case In():
            return f"{operand} {no}in ({_list(node.items)})"
        case Between():
            return f"{operand} {no}between {_text(node.low, _SUM)} and {_text(node.high, _SUM)}"
        case IsNull():
            return f"{operand} is {no}null"
        case Like():
            return f"{operand} {no}like {_text(node.pattern, _SUM)}"


def _list(nodes: tuple[Node, ...]) -> str:
    return ", ".join(printed(node) for node in nodes)


def _name(part: str) -> str:
    is_plain = part.isascii() and part.isidentifier() and part.lower() not in KEYWORDS | CASE_WORDS
    return part if is_plain else '"' + part.replace('"', '""') + '"'


def _constant(value: Value) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Decimal():
            return f"{value:f}"
        case datetime():
            return f"instant '{value.astimezone(UTC).isoformat()}'"
        case date():
            return f"date '{value.isoformat()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
