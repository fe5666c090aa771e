"""Formulas over measures and other KPIs: what they refer to, whether their units make sense, and how they are computed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from kpid.analysis.language import Mistake, Node, printed
from kpid.analysis.language.tree import Binary, Call, Constant, Name, Unary, parts_of
from kpid.config.problems import near_miss
from kpid.errors import ConfigError
from kpid.plugin.kpi import Kpi, Use
from kpid.plugin.quantity import Quantity, Values

Number: TypeAlias = "Quantity | Fraction"
DIMENSIONS = ("currency", "days", "seconds")
_ARITHMETIC = frozenset("+-*/")


@dataclass(frozen=True, slots=True)
class Sense:
    """The unit of a part of a formula.

    ``powers`` are those of ``DIMENSIONS``; None: a number of unknown unit, which goes with everything. ``is_quotient`` says that
    something was divided, ``is_converted`` that a time was multiplied by a number: it may be in another unit of time now.
    """

    powers: tuple[int, ...] | None = (0, 0, 0)
    is_constant: bool = False
    is_quotient: bool = False
    is_converted: bool = False

    def __str__(self) -> str:
        if self.powers is None or not any(self.powers):
            return "a ratio" if self.is_quotient else "a plain number"
        above = " times ".join(name for name, power in zip(DIMENSIONS, self.powers, strict=True) for _ in range(power))
        below = " times ".join(name for name, power in zip(DIMENSIONS, self.powers, strict=True) for _ in range(-power))
        return f"{above or 'a plain number'} per {below}" if below else above


def sense_of_unit(unit: str) -> Sense:
    """The sense of a measure or KPI with a unit; ``number`` is unknown."""
    if unit == "number":
        return Sense(None)
    return Sense(tuple(int(unit == name) for name in DIMENSIONS), is_quotient=unit in ("ratio", "times", "score"))


@dataclass(frozen=True, repr=False)
class Formula:
    """A formula to be called with the measures and used KPIs. ``keys`` say what each name is called there.

    ``origin`` is what else decides about the figures: a change of it, as of the formula, makes the history be measured again.
    """

    tree: Node
    keys: Mapping[str, str]
    origin: str = ""

    def __call__(self, m: Values) -> Quantity:
        """The result."""
        found = self._of(self.tree, m)
        return found if isinstance(found, Quantity) else Quantity(found)

    def __repr__(self) -> str:
        return f"{printed(self.tree)} {sorted(self.keys.items())} {self.origin}"

    def _of(self, node: Node, m: Values) -> Number:
        match node:
            case Constant():
                return Fraction(str(node.value))
            case Unary():
                return -self._of(node.operand, m)
            case Binary():
                return _computed(node.operator, self._of(node.left, m), self._of(node.right, m))
            case _:
                return m[self.keys[printed(node)]]


def _computed(operator: str, left: Number, right: Number) -> Number:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right


def check_shape(tree: Node) -> None:
    """Refuse what has no place in a formula.

    Raises:
        Mistake: something else than numbers, names and arithmetic.
    """
    for node in _computed_nodes(tree):
        match node:
            case Constant(value=Decimal()) | Call() | Unary(operator="-"):
                continue
            case Name() if len(node.parts) == 1:
                continue
            case Binary() if node.operator in _ARITHMETIC:
                continue
        raise Mistake(f"{printed(node)} has no place in a formula", node.span, "It has measures, KPIs, numbers, + - * / and ( )")
    if not references(tree):
        raise Mistake("the formula names no measure and no KPI", tree.span)


def _computed_nodes(node: Node) -> Iterator[Node]:
    """The nodes that are computed: not those inside the parameters of a KPI."""
    yield node
    for part in () if isinstance(node, Call) else parts_of(node):
        yield from _computed_nodes(part)


def references(tree: Node) -> list[Name | Call]:
    """The measures and KPIs that a formula names."""
    return [node for node in _computed_nodes(tree) if isinstance(node, Name | Call)]


def use_of(
    node: Name | Call, find: Callable[[str], Kpi | None], kpis: Collection[str], measures: Collection[str]
) -> tuple[Use, str] | None:
    """The KPI that a formula names, and its unit; None if it is one with mistakes of its own.

    Raises:
        Mistake: there is none, or it has no such parameter.
    """
    name = node.parts[0] if isinstance(node, Name) else node.name
    if name not in kpis:
        what = f"{name} is a measure: it has no parameters" if name in measures else f"there is no measure and no KPI {name!r}"
        raise Mistake(what, node.span, near_miss(name, [*measures, *kpis], what="There are"))
    kpi = find(name)
    if kpi is None:
        return None
    given = {} if isinstance(node, Name) else dict(_param(argument, node) for argument in node.arguments)
    if given.get("snap", "end") != "end":
        hint = f"Write {name}: a formula takes balances at the end of the period"
        raise Mistake(f"{name} with snap={given['snap']} cannot be a part of a formula", node.span, hint)
    try:
        params = kpi.params_from(given)
        return Use(name, given), kpi.definition(params).unit or kpi.unit
    except ConfigError as error:
        raise Mistake(error.what, node.span, error.hint) from None


def _param(argument: Node, call: Call) -> tuple[str, str]:
    if isinstance(argument, Binary) and argument.operator == "=" and isinstance(argument.left, Name):
        value = argument.right
        if isinstance(value, Name) and len(value.parts) == 1:
            return str(argument.left), value.parts[0]
        if isinstance(value, Constant) and value.value is not None and not isinstance(value.value, bool):
            return str(argument.left), str(value.value)
    raise Mistake(f"{printed(argument)} is not a parameter", argument.span, f"Write {call.name}(name=value)")


def sense(node: Node, senses: Mapping[str, Sense]) -> Sense:
    """The unit of a formula, from those of its names.

    Raises:
        Mistake: units that do not go together, or a division by zero.
    """
    match node:
        case Constant():
            return Sense(is_constant=True)
        case Unary():
            return sense(node.operand, senses)
        case Binary():
            left, right = sense(node.left, senses), sense(node.right, senses)
            return _sum(node, left, right) if node.operator in "+-" else _product(node, left, right)
        case _:
            return senses[printed(node)]


def _sum(node: Binary, left: Sense, right: Sense) -> Sense:
    if left.powers is not None and right.powers is not None and left.powers != right.powers:
        raise Mistake(f"{left} and {right} cannot be {'added' if node.operator == '+' else 'subtracted'}", node.span)
    return Sense(
        left.powers if right.powers is not None else None,
        left.is_constant and right.is_constant,
        left.is_quotient or right.is_quotient,
        left.is_converted or right.is_converted,
    )


def _product(node: Binary, left: Sense, right: Sense) -> Sense:
    is_division = node.operator == "/"
    if is_division and right.is_constant and Formula(node.right, {})(Values({})).exact == 0:
        raise Mistake("division by zero", node.right.span)
    converted = left.is_converted or right.is_converted or left.is_constant != right.is_constant
    quotient = left.is_quotient or right.is_quotient or (is_division and not right.is_constant)
    if left.powers is None or right.powers is None:
        return Sense(None, False, quotient, converted)
    sign = -1 if is_division else 1
    powers = tuple(a + sign * b for a, b in zip(left.powers, right.powers, strict=True))
    return Sense(powers, left.is_constant and right.is_constant, quotient, converted)


def unit_problem(unit: str, found: Sense) -> str:
    """What is wrong with calling a formula's result by a unit; the empty text if nothing is."""
    if found.powers is None:
        return ""
    wanted = sense_of_unit(unit).powers
    is_time = found.is_converted and found.powers in ((0, 1, 0), (0, 0, 1))
    if found.powers != wanted and not (is_time and unit in ("days", "seconds")):
        return f"the unit is to be {unit}, but the formula gives {found}"
    if unit in ("ratio", "times") and not found.is_quotient:
        return f"the unit is to be {unit}, but the formula divides nothing"
    return ""
