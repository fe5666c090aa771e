"""Conditions, and those that look at one figure: ``< 40%``, ``outside 20%..40%``, ``< 90% of target``.

Each holds or does not, exactly: values are fractions, nothing is rounded. Where nothing sound can be compared with, the verdict
is that nothing can be said. ``grammar.py`` reads them from text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, Protocol

from kpid.alerting.baselines import Against, Terms, baseline_of, value_of
from kpid.alerting.verdicts import OutcomeKind, Side, Verdict, to_decimal, unsure

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight

OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
TIME_UNITS = {
    "s": 1, "second": 1, "seconds": 1, "min": 60, "minute": 60, "minutes": 60, "h": 3600, "hour": 3600, "hours": 3600,
    "d": 86_400, "day": 86_400, "days": 86_400,
}  # fmt: skip
POINTS = ("point", "points", "pts")
SIDES: dict[str, Side] = {"<": "low", ">": "high"}


class Condition(Protocol):
    """What a rule asks of a figure."""

    @property
    def text(self) -> str:
        """As written."""

    @property
    def needs(self) -> frozenset[str]:
        """What it wants beside the series itself: ``target``, ``total``, ``days``, ``members``."""

    @property
    def side(self) -> Side:
        """On which side of what is usual it finds fault."""

    @property
    def least_effect(self) -> Decimal | None:
        """Nearer than this to what it compares with (as a share of that) is never a breach; None: as the rule says."""

    def reach(self, kind: str) -> int:
        """How many periods before the one judged, each before the other, it may look at."""

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """Whether it is true of a series' current figure, which is sound."""


NOTHING: frozenset[str] = frozenset()
NAMED = frozenset({"target", "total", "benchmark"})


class OfOneFigure:
    """A condition that looks at nothing but the figure itself, on no side in particular, unless it says otherwise."""

    __slots__ = ()

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        return NOTHING

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return ""

    @property
    def least_effect(self) -> Decimal | None:
        """See :class:`Condition`."""
        return None

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return 0


def in_unit(number: Decimal, unit: str, kpi_unit: str) -> Decimal:
    """A number in the unit of the KPI: ``50%`` of a ratio is 0.5, ``4h`` of a KPI in seconds 14400, ``3pp`` 0.03."""
    if unit in {"%", "pp"}:
        return number / 100
    if unit in TIME_UNITS and kpi_unit in {"days", "seconds"}:
        return number * TIME_UNITS[unit] / (86_400 if kpi_unit == "days" else 1)
    return number


def own_value(sight: Sight, terms: Terms) -> Fraction | Verdict:
    """The value that is judged; a verdict where there is none."""
    value = None if sight.current is None else value_of(sight.current, sight, terms)
    return unsure(OutcomeKind.INSUFFICIENT, f"{sight.period.label} has no working day") if value is None else value


@dataclass(frozen=True, slots=True)
class Threshold(OfOneFigure):
    """The value compared with a number.

    Attributes:
        text: as written.
        op: one of ``< <= > >= == !=``.
        number: the number as written, ``50`` for ``50%``.
        unit: as written: empty, ``%``, a currency code, a word for time, ``points``.
    """

    text: str
    op: str
    number: Decimal
    unit: str = ""

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return SIDES.get(self.op[0], "")

    def limit(self, kpi_unit: str) -> Decimal:
        """The number in the unit of the KPI."""
        return in_unit(self.number, self.unit, kpi_unit)

    def holds(self, value: Fraction, kpi_unit: str) -> bool:
        """Whether it is true of the value. Exact: nothing is rounded."""
        return OPERATORS[self.op](value, Fraction(self.limit(kpi_unit)))

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        value = own_value(sight, terms)
        if isinstance(value, Verdict):
            return value
        return Verdict(self.holds(value, terms.kpi_unit), limit=self.limit(terms.kpi_unit), side=self.side)


@dataclass(frozen=True, slots=True)
class Band(OfOneFigure):
    """The value outside, or inside, two numbers; the numbers themselves lie inside: ``outside 20%..40%``."""

    text: str
    where: Literal["inside", "outside"]
    low: Decimal
    high: Decimal
    unit: str = ""

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        value = own_value(sight, terms)
        if isinstance(value, Verdict):
            return value
        low, high = (in_unit(end, self.unit, terms.kpi_unit) for end in (self.low, self.high))
        inside = Fraction(low) <= value <= Fraction(high)
        nearer = low if abs(value - Fraction(low)) <= abs(value - Fraction(high)) else high
        side: Side = "" if self.where == "inside" else "low" if value < Fraction(low) else "high"
        return Verdict(inside if self.where == "inside" else not inside, limit=nearer, side=side)


@dataclass(frozen=True, slots=True)
class Portion(OfOneFigure):
    """The value compared with a part of a target or benchmark: ``< 90% of target``."""

    text: str
    op: str
    percent: Decimal
    of: Literal["target", "benchmark"]

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        return frozenset({self.of})

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return SIDES.get(self.op[0], "")

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        value = own_value(sight, terms)
        whole = baseline_of(Against(self.of), sight, terms)
        if isinstance(value, Verdict):
            return value
        if isinstance(whole, Verdict):
            return whole
        limit = whole.value * Fraction(self.percent) / 100
        reached = f"{float(value / whole.value) * 100:.1f}% of {whole.label}" if whole.value else ""
        return Verdict(OPERATORS[self.op](value, limit), reason=reached, limit=to_decimal(limit), baseline=whole, side=self.side)
