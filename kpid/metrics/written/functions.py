"""The functions of the expression language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, case, cast, func, literal_column

from kpid.analysis.language import Mistake, printed
from kpid.analysis.language.tree import Call, Case, Constant, Node
from kpid.config.problems import near_miss
from kpid.metrics.written.typed import KIND_WORDS, Kind, Typed
from kpid.plugin.casts import EXACT, Midnight
from kpid.plugin.expressions import ZONE, days_between, local_date, seconds_between
from kpid.plugin.kpi import Expression


@dataclass(frozen=True, slots=True)
class _Function:
    """Which kinds each argument may have, what comes out, and how it is said in SQL."""

    arguments: tuple[tuple[Kind, ...], ...]
    result: Kind
    sql: Callable[..., Expression]
    unit: str = ""
    keeps_unit: bool = False


_MOMENT: tuple[Kind, ...] = ("instant", "date")
_FUNCTIONS = {
    "lower": _Function((("text",),), "text", lambda text: func.lower(text.sql)),
    "upper": _Function((("text",),), "text", lambda text: func.upper(text.sql)),
    "trim": _Function((("text",),), "text", lambda text: func.trim(text.sql)),
    "abs": _Function((("number",),), "number", lambda number: func.abs(number.sql), keeps_unit=True),
    "days_between": _Function(
        (_MOMENT, _MOMENT), "number", lambda start, end: days_between(_instant(start), _instant(end)), unit="days"
    ),
    "seconds_between": _Function(
        (_MOMENT, _MOMENT), "number", lambda start, end: seconds_between(_instant(start), _instant(end)), unit="seconds"
    ),
    "local_date": _Function((_MOMENT,), "date", lambda moment: moment.sql if moment.kind == "date" else local_date(moment.sql)),
}
_ALIKE = ("coalesce", "nullif")
_NAMES = (*_FUNCTIONS, *_ALIKE, "round")
_MOST_DIGITS = 8


def called(node: Call, arguments: Sequence[Typed]) -> Typed:
    """What a call means.

    Raises:
        Mistake: there is no such function, or its arguments are others.
    """
    name = node.name.lower()
    if name in _ALIKE:
        return _alike(node, name, arguments)
    if name == "round":
        return _rounded(node, arguments)
    if name not in _FUNCTIONS:
        raise Mistake(f"there is no function {node.name!r}", node.span, near_miss(name, _NAMES, what="There are"))
    function = _FUNCTIONS[name]
    _count(node, len(function.arguments), len(function.arguments))
    for part, typed, kinds in zip(node.arguments, arguments, function.arguments, strict=True):
        if typed.kind not in kinds:
            wanted = " or ".join(KIND_WORDS[kind] for kind in kinds)
            raise Mistake(f"{name} wants {wanted}, and {printed(part)} is {KIND_WORDS[typed.kind]}", part.span)
    unit = arguments[0].unit if function.keeps_unit else function.unit
    return Typed(function.result, function.sql(*arguments), unit)


def _instant(moment: Typed) -> Expression:
    return Midnight(moment.sql, ZONE) if moment.kind == "date" else moment.sql


def _count(node: Call, least: int, most: int) -> None:
    if not least <= len(node.arguments) <= most:
        wanted = str(least) if least == most else f"{least} or more" if most > 9 else f"{least} or {most}"
        raise Mistake(f"{node.name} has {wanted} arguments, not {len(node.arguments)}", node.span)


def chosen(node: Case, branches: Sequence[tuple[ColumnElement[bool], Typed]], otherwise: Typed | None) -> Typed:
    """What a case means: the value of the first branch whose condition holds.

    Raises:
        Mistake: its values are of different kinds, or none has any.
    """
    parts = [value for _, value in node.branches] + ([] if node.otherwise is None else [node.otherwise])
    values = [typed for _, typed in branches] + ([] if otherwise is None else [otherwise])
    first, unit = _common(node, "case", "values", parts, values)
    if first.kind == "json":
        raise Mistake("case chooses between single values, and this is a JSON object", node.span)
    sql = [typed.sql for typed in values]
    if first.kind == "number" and not all(typed.kind == "null" or isinstance(typed.sql.type, Integer) for typed in values):
        sql = [cast(typed.sql, EXACT) for typed in values]
    conditions = [condition for condition, _ in branches]
    found = case(*zip(conditions, sql, strict=False), else_=sql[-1] if otherwise is not None else None)
    return Typed(first.kind, found, unit)


def _alike(node: Call, name: str, arguments: Sequence[Typed]) -> Typed:
    _count(node, 2, 2 if name == "nullif" else 99)
    first, unit = _common(node, name, "arguments", node.arguments, arguments)
    function: Any = func.coalesce if name == "coalesce" else func.nullif
    return Typed(first.kind, function(*(typed.sql for typed in arguments), type_=first.sql.type), unit)


def _common(node: Call | Case, name: str, noun: str, parts: Sequence[Node], arguments: Sequence[Typed]) -> tuple[Typed, str]:
    """The first of the values that go together which is not null, and the unit of all."""
    known = [typed for typed in arguments if typed.kind != "null"]
    if not known:
        raise Mistake(f"{name} of nothing but null has no kind of value", node.span)
    first = known[0]
    for part, typed in zip(parts, arguments, strict=True):
        if typed.kind not in (first.kind, "null"):
            words = f"{printed(part)} is {KIND_WORDS[typed.kind]}, not {KIND_WORDS[first.kind]}"
            raise Mistake(f"the {noun} of {name} are of one kind: {words}", part.span)
    units = {typed.unit for typed in known if not typed.is_constant}
    if len(units) > 1:
        raise Mistake(f"{name} mixes {' and '.join(sorted(unit or 'plain numbers' for unit in units))}", node.span)
    return first, next(iter(units), "")


def _rounded(node: Call, arguments: Sequence[Typed]) -> Typed:
    _count(node, 1, 2)
    if arguments[0].kind != "number":
        raise Mistake(f"round wants a number, and {printed(node.arguments[0])} is {KIND_WORDS[arguments[0].kind]}", node.span)
    digits = node.arguments[1].value if len(node.arguments) == 2 and isinstance(node.arguments[1], Constant) else 0
    whole = str(digits)
    if (
        (len(node.arguments) == 2 and not isinstance(node.arguments[1], Constant))
        or not whole.isdigit()
        or int(whole) > _MOST_DIGITS
    ):
        raise Mistake(f"round wants a number of digits from 0 to {_MOST_DIGITS}", node.span, "Write round(amount, 2)")
    rounded = func.round(cast(arguments[0].sql, EXACT), literal_column(whole))
    return Typed("number", cast(rounded, EXACT), arguments[0].unit)
