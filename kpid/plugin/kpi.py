"""The contract of KPIs: descriptions, not code that runs queries.

A KPI names measures (an aggregate over an entity, with the clock that puts a row into a period) and a formula over them. The
engine fuses the measures that share an entity and a clock into one scan, cuts them by any declared dimension, and turns every
division by zero and every empty mean into *undefined*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal, TypeAlias

from kpid.errors import ConfigError
from kpid.plugin.expressions import AS_OF, ZONE, DaysBetween, Expression, SecondsBetween, days_between, seconds_between
from kpid.plugin.measures import (
    Aggregate,
    At,
    Balance,
    Clock,
    During,
    InPeriod,
    Measure,
    Now,
    Target,
    Use,
    count,
    count_distinct,
    max_,
    mean,
    min_,
    quantile,
    sum_,
    top_sum,
)
from kpid.plugin.quantity import Quantity, Values

__all__ = [
    "AS_OF", "ZONE", "Additivity", "Aggregate", "At", "Balance", "Benchmark", "Clock", "DaysBetween", "Definition", "During",
    "Expression", "InPeriod", "Kpi", "Measure", "Now", "Param", "Quantity", "SecondsBetween", "Target", "Unit", "Use", "Values",
    "count", "count_distinct", "days_between", "max_", "mean", "min_", "quantile", "seconds_between", "sum_", "top_sum",
]  # fmt: skip

Unit: TypeAlias = Literal["count", "ratio", "times", "currency", "days", "seconds", "score"]
"""What a figure is in. A ``ratio`` is a share and read as a percentage; ``times`` says how many times one thing is another."""
Additivity: TypeAlias = Literal["A", "R", "N", "S", "C"]
"""How figures roll up: A add over time and segments; R ratio of sums, add numerators and denominators; N never, recompute;
S balance, add over segments but not over time; C cohort, add over segments of the same cohort."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a KPI. ``choices[0]`` is the default; of a ``choice`` they are all there are, else they are examples."""

    choices: tuple[str, ...]
    help: str = ""
    kind: Literal["choice", "whole", "decimal", "text"] = "choice"
    least: int | None = None

    @classmethod
    def number(cls, default: str, help: str = "", *, least: int | None = None) -> Param:  # noqa: A002 - as the field
        """A whole number, written as text."""
        return cls((default,), help, "whole", least)

    @classmethod
    def decimal(cls, default: str, help: str = "", *, least: int | None = None) -> Param:  # noqa: A002
        """A decimal number, written as text."""
        return cls((default,), help, "decimal", least)

    @classmethod
    def text(cls, default: str = "", help: str = "") -> Param:  # noqa: A002
        """Any text."""
        return cls((default,), help, "text")

    @property
    def default(self) -> str:
        """The value when nothing is said."""
        return self.choices[0]

    def problem(self, value: str) -> str:
        """What is wrong with a value; the empty text if nothing is."""
        if self.kind == "choice":
            return "" if value in self.choices else f"use one of {', '.join(self.choices)}"
        if self.kind == "text":
            return ""
        try:
            number = int(value) if self.kind == "whole" else Decimal(value)
        except (ValueError, InvalidOperation):
            number = Decimal("nan")
        kind = "a whole number" if self.kind == "whole" else "a number"
        if number != number or (self.least is not None and number < self.least):  # noqa: PLR0124 - not a number
            return f"write {kind}" + (f" of at least {self.least}" if self.least is not None else "")
        return ""


SNAP = Param(
    ("end", "avg"),
    "The value at the end of the period (or now), or the mean of the values at the end of each of its local days so far: that is "
    "measured day by day, and takes as much longer.",
)
"""The parameter ``snap`` of a balance; :meth:`Kpi.definition` does what it says."""


EVERYWHERE: Mapping[str, Param] = {
    "include_deleted": Param(
        ("false", "true"),
        "For audits only, not in rules and reports: records that were deleted count as if they were still there.",
    )
}
"""The parameters that every KPI has, by name."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What others reach: context for readers, never a threshold by itself. ``value`` in the KPI's unit (0.25 is 25 %)."""

    value: str
    text: str
    source: str
    year: int


@dataclass(frozen=True, slots=True)
class Definition:
    """Measures and formula of a KPI for one choice of parameters.

    Args:
        measures: by name.
        formula: gets measures, targets and uses by name and returns their combination.
        sample: the measure (or use) that is the sample size; None: there is none, as for counts.
        unit: where a parameter changes the unit (``as=count``).
        uses: results of other KPIs.
        targets: targets of KPIs, for the same period and segment.
        horizon: how long after its period a cohort is followed: until then its figures are ``incomplete``.
        doubts: says why figures are not all there yet (too many undecided); None: they are.
        remarks: what a reader should know of these figures ("above 100 %: several sales per call").
        interval: the 95 % interval of the result, where it does not follow from the measures.
        optional: tables that refine the figures if a source delivers them, but need not be there (``refunds``).
        size: the sample size, where it is not the number of rows of ``sample``: rows that are counts themselves.
        is_daily_mean: the figure of a period is the mean of those of its days; what ``snap=avg`` makes of a balance.
        finer: by table, the definition that takes this one's place once the table has rows: the plain one stays fast where
            nobody has a history, the first of these is exact where somebody has.
    """

    measures: Mapping[str, Measure]
    formula: Callable[[Values], Quantity]
    sample: str | None = None
    unit: Unit | None = None
    uses: Mapping[str, Use] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)
    horizon: timedelta | None = None
    doubts: Callable[[Values], str | None] | None = None
    remarks: Callable[[Values], Sequence[str]] | None = None
    interval: Callable[[Values], tuple[Fraction | float, Fraction | float] | None] | None = None
    optional: tuple[str, ...] = ()
    finer: Mapping[str, Definition] = field(default_factory=dict)
    size: Callable[[Values], Quantity] | None = None
    is_daily_mean: bool = False


@dataclass(frozen=True, slots=True)
class Kpi:
    """A KPI description. ``define`` is called with the full set of parameters (defaults filled in)."""

    id: str
    name: str
    category: str
    unit: Unit
    better: Literal["up", "down", "none"]
    define: Callable[[Mapping[str, str]], Definition] | Definition
    period: str = "month"
    min_sample: int = 0
    dimensions: tuple[str, ...] = ()
    params: Mapping[str, Param] = field(default_factory=dict)
    formula_text: str = ""
    why: str = ""
    misleads: str = ""
    source: str = ""
    settle: str = ""
    """How long after a period's end late data is still usual (``72h``); empty: no wait."""
    additivity: Additivity = "N"
    requires: tuple[str, ...] = ()
    """Capabilities of a source without which there is no figure, beyond the tables that the measures read."""
    degrades: Mapping[str, str] = field(default_factory=dict)
    """Capability -> what is only approximate without it, as a sentence."""
    benchmark: Benchmark | None = None
    number: int | None = None
    """Number in the catalogue, for those who look a definition up."""
    min_sample_by: Mapping[str, int] = field(default_factory=dict)
    """Smaller samples that are enough where the KPI is cut by a dimension, with a warning: dimension -> size."""

    def least(self, by: Iterable[str] = ()) -> int:
        """The sample that a figure needs when it is cut by these dimensions."""
        return min([self.min_sample, *(self.min_sample_by[name] for name in by if name in self.min_sample_by)])

    def params_from(self, given: Mapping[str, str]) -> dict[str, str]:
        """The full set of parameters, defaults filled in.

        Raises:
            ConfigError: a parameter or its value is unknown.
        """
        for name, value in given.items():
            if name not in self.params and name not in EVERYWHERE:
                raise ConfigError(f"KPI {self.id} has no parameter {name!r}", hint=self.no_param(name))
            if problem := self.param(name).problem(value):
                hint = problem[0].upper() + problem[1:]
                raise ConfigError(f"{name}={value} is not possible for KPI {self.id}", hint=hint)
        found = {name: given.get(name, param.default) for name, param in self.params.items()}
        more = {name: given[name] for name in EVERYWHERE if name in given}
        return found | {name: value for name, value in more.items() if value != EVERYWHERE[name].default}

    def param(self, name: str) -> Param:
        """A parameter of its own, or one that every KPI has."""
        return self.params[name] if name in self.params else EVERYWHERE[name]

    def no_param(self, name: str) -> str:
        """What to do about a parameter that it does not have."""
        if name == "snap":
            why = (
                "its figure is one of whole periods" if self.additivity != "S" else "the mean of shares of many days is no share"
            )
            return f"snap=avg is for amounts and counts at an instant; of {self.id} there is none: {why}"
        return f"It has: {', '.join(self.params) or 'none'}"

    def definition(self, given: Mapping[str, str]) -> Definition:
        """Measures and formula for a choice of parameters."""
        params = self.params_from(given)
        own = {name: value for name, value in params.items() if name in self.params}
        found = self.define(own) if callable(self.define) else self.define
        if self.params.get("snap") != SNAP or params["snap"] != "avg":
            return found
        finer = {table: replace(one, is_daily_mean=True) for table, one in found.finer.items()}
        return replace(found, is_daily_mean=True, finer=finer)

    def adds_up(self, definition: Definition) -> bool:
        """Whether it is a count or sum of what happens in a period, so that the figures of days add up to those of months."""
        if (definition.unit or self.unit) not in {"count", "currency"} or self.additivity in {"S", "C", "R"}:
            return False
        if self.additivity == "A":
            return True
        measures = list(definition.measures.values())
        return len(measures) == 1 and isinstance(measures[0].clock, At) and measures[0].agg.kind in {"count", "sum"}

    def sample_noun(self, given: Mapping[str, str]) -> str:
        """What the sample size counts, in the plural: ``closed deals``; ``records`` where no measure says."""
        definition = self.definition(given)
        measure = definition.measures.get(definition.sample or next(iter(definition.measures), ""))
        return (measure.label if measure else "") or "records"
