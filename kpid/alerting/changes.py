"""Conditions that compare a figure with earlier ones: ``drop > 15% vs previous``, ``change < -3pp vs avg(8)``, ``falls 4x``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from kpid.alerting.awaiting import day_after, too_little
from kpid.alerting.baselines import PREVIOUS, Against, Terms, baseline_of, sound_figures, value_of
from kpid.alerting.conditions import NAMED, OPERATORS, SIDES, OfOneFigure, in_unit, own_value
from kpid.alerting.verdicts import OutcomeKind, Side, Verdict, to_decimal, unsure
from kpid.analysis.control import is_monotone, slope
from kpid.analysis.wording import value_text

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight


@dataclass(frozen=True, slots=True)
class Change(OfOneFigure):
    """The relative change against another figure: ``drop > 15% vs previous``, ``rise > 30% vs median(8)``.

    Attributes:
        text: as written.
        direction: which way is bad.
        op: ``>`` or ``>=``.
        percent: 15 for 15 %.
        against: what it is compared with.
    """

    text: str
    direction: Literal["drop", "rise"]
    op: str
    percent: Decimal
    against: Against = PREVIOUS

    @property
    def reference(self) -> str:
        """What it is compared with, as text."""
        return str(self.against)

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        return frozenset({self.against.name}) & NAMED

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return "low" if self.direction == "drop" else "high"

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return self.against.reach(kind)

    def limit_from(self, previous: Fraction) -> Fraction:
        """The value at which it begins to hold."""
        part = Fraction(self.percent) / 100
        return previous * (1 - part if self.direction == "drop" else 1 + part)

    def holds(self, value: Fraction, previous: Fraction) -> bool:
        """Whether it is true of the value, against a positive previous one. Exact."""
        limit = self.limit_from(previous)
        worse = value < limit if self.direction == "drop" else value > limit
        return worse or (self.op == ">=" and value == limit)

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        value, found = own_value(sight, terms), baseline_of(self.against, sight, terms)
        if isinstance(value, Verdict):
            return value
        if isinstance(found, Verdict):
            return found
        if found.value <= 0:
            size = "zero" if found.value == 0 else "negative"
            return unsure(OutcomeKind.INSUFFICIENT, f"{found.label} was {size}: a change in percent means nothing")
        change = (value - found.value) / found.value * 100
        size = f"{abs(float(change)):.1f}% {'below' if change < 0 else 'above'}" if change else "the same as"
        reason = f"{size} {found.label}{_per_day(terms)}"
        limit = to_decimal(self.limit_from(found.value))
        return Verdict(
            self.holds(value, found.value), reason=reason, limit=limit, baseline=found, side=self.side, warnings=found.warnings
        )


@dataclass(frozen=True, slots=True)
class Difference(OfOneFigure):
    """The change against another figure in the KPI's own unit: ``change < -3pp vs previous``, ``change > 20 vs avg(8)``."""

    text: str
    op: str
    number: Decimal
    unit: str
    against: Against

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        return frozenset({self.against.name}) & NAMED

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return SIDES.get(self.op[0], "")

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return self.against.reach(kind)

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        value, found = own_value(sight, terms), baseline_of(self.against, sight, terms)
        if isinstance(value, Verdict):
            return value
        if isinstance(found, Verdict):
            return found
        step = Fraction(in_unit(self.number, self.unit, terms.kpi_unit))
        change = value - found.value
        size = f"{_size(change, terms)} {'below' if change < 0 else 'above'}" if change else "the same as"
        reason = f"{size} {found.label}{_per_day(terms)}"
        limit = to_decimal(found.value + step)
        holds = OPERATORS[self.op](change, step)
        return Verdict(holds, reason=reason, limit=limit, baseline=found, side=self.side, warnings=found.warnings)


@dataclass(frozen=True, slots=True)
class Run(OfOneFigure):
    """The value has fallen, or risen, so many times in a row: ``falls 4x``."""

    text: str
    direction: Literal["falls", "rises"]
    steps: int

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return "low" if self.direction == "falls" else "high"

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return self.steps

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        values = _in_a_row(sight, terms, self.steps)
        if isinstance(values, Verdict):
            return values
        holds = is_monotone(values, self.steps, self.direction)
        went = "fallen" if self.direction == "falls" else "risen"
        reason = f"has {'' if holds else 'not '}{went} {self.steps} times in a row"
        return Verdict(holds, reason=reason, side=self.side)


@dataclass(frozen=True, slots=True)
class Slope(OfOneFigure):
    """The straight line through the last periods falls or rises by so much of their mean a period: ``slope < -2% over 6x``."""

    text: str
    op: str
    percent: Decimal
    steps: int

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return SIDES.get(self.op[0], "")

    def reach(self, kind: str) -> int:
        """See :class:`Condition`."""
        return self.steps - 1

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        values = _in_a_row(sight, terms, self.steps - 1)
        if isinstance(values, Verdict):
            return values
        found = slope(values)
        if found is None or found.relative is None:
            return unsure(OutcomeKind.INSUFFICIENT, "the mean is not above zero: a slope in percent means nothing")
        holds = OPERATORS[self.op](Fraction(found.relative) * 100, Fraction(self.percent))
        reason = f"{'falls' if found.relative < 0 else 'rises'} by {abs(found.relative) * 100:.1f}% a period over {self.steps}"
        return Verdict(holds, reason=reason, side=self.side)


def _in_a_row(sight: Sight, terms: Terms, steps: int) -> Sequence[float] | Verdict:
    """The last figures without a gap, the current one last."""
    value = own_value(sight, terms)
    if isinstance(value, Verdict):
        return value
    earlier = [
        found for one in sound_figures(sight, terms, sight.before[-steps:]) if (found := value_of(one, sight, terms)) is not None
    ]
    if len(earlier) < steps:
        reason = f"only {len(earlier)} sound figures of the {steps} periods before: a trend needs all of them"
        return too_little(reason, sight, day_after(sight, steps - len(earlier)))
    return [float(one) for one in (*earlier, value)]


def _size(change: Fraction, terms: Terms) -> str:
    size = abs(change)
    if terms.kpi_unit == "ratio":
        return f"{float(size) * 100:.1f} points"
    return value_text(to_decimal(size), terms.kpi_unit)


def _per_day(terms: Terms) -> str:
    return " per working day" if terms.per_day else ""
