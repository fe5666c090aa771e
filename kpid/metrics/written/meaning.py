"""Conditions and expressions over the columns of an entity: from the tree to SQL, with the kinds of values checked.

Values never become SQL text: each is a bound parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Boolean, Date, DateTime, Integer, Numeric, Text, and_, cast, func, literal, not_, null, or_

from kpid.analysis.language import Mistake, Node, parse, printed
from kpid.analysis.language.tree import (
    COMPARISONS,
    Between,
    Binary,
    Call,
    Case,
    Constant,
    In,
    IsNull,
    Like,
    Name,
    Several,
    Unary,
)
from kpid.metrics.written.functions import called, chosen
from kpid.metrics.written.typed import KIND_WORDS, Columns, Kind, Typed
from kpid.plugin.casts import EXACT
from kpid.plugin.expressions import local_date
from kpid.plugin.kpi import Expression

_COMPARE: dict[str, Callable[[Any, Any], Expression]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_ORDERED = frozenset({"number", "date", "instant", "null"})


def condition(text: str, columns: Columns) -> Expression:
    """A condition over the columns of an entity.

    Raises:
        Mistake: it is none.
    """
    tree = parse(text)
    found = meaning(tree, columns)
    if found.kind != "boolean":
        raise Mistake(f"a condition is wanted, and this is {KIND_WORDS[found.kind]}", tree.span, "Compare it with something")
    return found.sql


def expression(text: str, columns: Columns, *kinds: Kind) -> Typed:
    """An expression that has one of some kinds of values.

    Raises:
        Mistake: it is none, or has another kind.
    """
    tree = parse(text)
    found = meaning(tree, columns)
    if kinds and found.kind not in kinds:
        wanted = " or ".join(KIND_WORDS[kind] for kind in kinds)
        raise Mistake(
            f"{wanted} is wanted, and {printed(tree)} is {KIND_WORDS[found.kind]}", tree.span, _cure(tree, found, kinds)
        )
    return found


def _cure(tree: Node, found: Typed, kinds: Sequence[Kind]) -> str | None:
    if found.kind == "text" and isinstance(tree, Name) and tree.parts[0] == "extra":
        return f"Declare its type below fields: {{from: {tree}, type: {kinds[0]}}}"
    return None


def meaning(node: Node, columns: Columns) -> Typed:
    """What a tree means.

    Raises:
        Mistake: a name is unknown, or kinds of values do not go together.
    """
    match node:
        case Constant():
            return _constant(node)
        case Name():
            return columns.find(node)
        case Call() | Case():
            return _made(node, columns)
        case Unary(operator="-"):
            return _negative(node, columns)
        case Binary() if node.operator not in COMPARISONS:
            return _arithmetic(node, meaning(node.left, columns), meaning(node.right, columns))
        case _:
            return Typed("boolean", _truth_of(node, columns))


def _made(node: Call | Case, columns: Columns) -> Typed:
    if isinstance(node, Call):
        return called(node, [meaning(argument, columns) for argument in node.arguments])
    branches = [(_truth(condition, columns), meaning(value, columns)) for condition, value in node.branches]
    return chosen(node, branches, None if node.otherwise is None else meaning(node.otherwise, columns))


def _truth_of(node: Several | Unary | Binary | In | Between | IsNull | Like, columns: Columns) -> Expression:
    match node:
        case Several():
            parts = [_truth(operand, columns) for operand in node.operands]
            return and_(*parts) if node.operator == "and" else or_(*parts)
        case Unary():
            return not_(_truth(node.operand, columns))
        case Binary():
            return _compared(node, node.operator, node.left, node.right, columns)
        case _:
            found = _predicate(node, columns)
            return not_(found) if node.negated and not isinstance(node, IsNull) else found


def _predicate(node: In | Between | IsNull | Like, columns: Columns) -> Expression:
    match node:
        case IsNull():
            operand = meaning(node.operand, columns).sql
            return operand.is_not(None) if node.negated else operand.is_(None)
        case In():
            return or_(*(_compared(node, "=", node.operand, item, columns) for item in node.items))
        case Between():
            low = _compared(node, ">=", node.operand, node.low, columns)
            return and_(low, _compared(node, "<=", node.operand, node.high, columns))
        case Like():
            operands = [meaning(part, columns) for part in (node.operand, node.pattern)]
            for part, typed in zip((node.operand, node.pattern), operands, strict=True):
                if typed.kind != "text":
                    raise Mistake(f"like compares texts, and {printed(part)} is {KIND_WORDS[typed.kind]}", part.span)
            return operands[0].sql.like(operands[1].sql)


def _constant(node: Constant) -> Typed:
    match node.value:
        case bool():
            return Typed("boolean", literal(node.value, Boolean()), is_constant=True)
        case Decimal():
            whole = node.value == node.value.to_integral_value() and abs(node.value) < 2**31
            sql = literal(int(node.value), Integer()) if whole else literal(node.value, Numeric())
            return Typed("number", sql, is_constant=True)
        case str():
            return Typed("text", literal(node.value, Text()), is_constant=True)
        case datetime():
            return Typed("instant", literal(node.value, DateTime(timezone=True)), is_constant=True)
        case date():
            return Typed("date", literal(node.value, Date()), is_constant=True)
        case None:
            return Typed("null", null(), is_constant=True)


def _truth(node: Node, columns: Columns) -> Expression:
    found = meaning(node, columns)
    if found.kind != "boolean":
        raise Mistake(f"{printed(node)} is {KIND_WORDS[found.kind]}, not a condition", node.span, "Compare it with something")
    return found.sql


def _negative(node: Unary, columns: Columns) -> Typed:
    found = meaning(node.operand, columns)
    if found.kind != "number":
        raise Mistake(f"{printed(node.operand)} is {KIND_WORDS[found.kind]}, not a number", node.operand.span)
    return Typed("number", -found.sql, found.unit, found.is_constant)


def _compared(whole: Node, operator: str, left: Node, right: Node, columns: Columns) -> Expression:
    one, other = meaning(left, columns), meaning(right, columns)
    if "null" in (one.kind, other.kind):
        raise Mistake("nothing is equal to null", whole.span, "Write is null or is not null")
    a, b = one.sql, other.sql
    if {one.kind, other.kind} == {"date", "instant"}:
        a, b = (local_date(typed.sql) if typed.kind == "instant" else typed.sql for typed in (one, other))
    elif one.kind != other.kind or one.kind == "json":
        words = f"{printed(left)} is {KIND_WORDS[one.kind]} and {printed(right)} is {KIND_WORDS[other.kind]}"
        raise Mistake(f"{words}: they cannot be compared", whole.span, _advice(left, one, right, other))
    elif one.kind not in _ORDERED and operator not in ("=", "<>"):
        hint = _cure(left, one, ("number",)) or _cure(right, other, ("number",)) or "Use = or <>"
        raise Mistake(f"{KIND_WORDS[one.kind]} has no order: {operator} is for numbers, dates and instants", whole.span, hint)
    return _COMPARE[operator](a, b)


def _advice(left: Node, one: Typed, right: Node, other: Typed) -> str | None:
    for node, typed, beside_node, beside in ((left, one, right, other), (right, other, left, one)):
        if beside.kind in ("date", "instant") and typed.kind == "text" and isinstance(node, Constant):
            return f"Write date {printed(node)}"
        if beside.kind == "number" and typed.kind == "text" and isinstance(node, Constant):
            return "Numbers stand without quotes"
        if beside.kind == "text" and beside_node != node and isinstance(beside_node, Name) and beside_node.parts[0] == "extra":
            return _cure(beside_node, beside, (typed.kind,))
    return "Texts stand in single quotes" if "text" in (one.kind, other.kind) else None


def _arithmetic(node: Binary, left: Typed, right: Typed) -> Typed:
    for part, typed in ((node.left, left), (node.right, right)):
        if typed.kind != "number":
            is_span = {left.kind, right.kind} <= {"date", "instant"} and node.operator == "-"
            hint = "Write days_between(start, end) or seconds_between(start, end)" if is_span else None
            raise Mistake(f"{printed(part)} is {KIND_WORDS[typed.kind]}, not a number", part.span, hint)
    constant = left.is_constant and right.is_constant
    if node.operator in ("+", "-"):
        unit = _common_unit(node, left, right)
        return Typed("number", left.sql + right.sql if node.operator == "+" else left.sql - right.sql, unit, constant)
    if node.operator == "*":
        if left.unit and right.unit:
            raise Mistake(f"{left.unit} times {right.unit} is nothing that can be measured", node.span)
        return Typed("number", cast(left.sql * right.sql, EXACT), left.unit or right.unit, constant)
    if isinstance(node.right, Constant) and node.right.value == 0:
        raise Mistake("division by zero", node.span)
    if right.unit and left.unit != right.unit:
        raise Mistake(f"{left.unit or 'a plain number'} per {right.unit} is nothing that can be measured", node.span)
    ratio = cast(left.sql, EXACT) / func.nullif(cast(right.sql, EXACT), 0)
    return Typed("number", cast(ratio, EXACT), "" if right.unit else left.unit, constant)


def _common_unit(node: Binary, left: Typed, right: Typed) -> str:
    if left.unit == right.unit or right.is_constant:
        return left.unit
    if left.is_constant:
        return right.unit
    said = " and ".join(typed.unit or "a plain number" for typed in (left, right))
    raise Mistake(f"{said} cannot be added", node.span)
