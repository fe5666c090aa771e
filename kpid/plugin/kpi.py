"""The contract of KPIs: descriptions, not code that runs queries.

A KPI names measures (an aggregate over an entity, with the clock that puts a row into a period) and a formula over them. The
engine fuses the measures that share an entity and a clock into one scan, cuts them by any declared dimension, and turns every
division by zero and every empty mean into *undefined*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sqlalchemy import BigInteger, ColumnElement, DateTime, Text, column
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.functions import FunctionElement

from kpid.errors import ConfigError
from kpid.plugin.quantity import Quantity, Values

__all__ = ["Quantity", "Values"]

Expression: TypeAlias = ColumnElement[Any]

AS_OF: ColumnElement[Any] = column("kpid_as_of", DateTime(timezone=True))
"""In an expression: the instant that a measurement speaks of (end of the period, at most now)."""

ZONE: ColumnElement[Any] = column("kpid_zone", Text())
"""In an expression: the organisation's zone."""


class DaysBetween(FunctionElement[int]):
    """``end's local date - start's local date``; use :func:`days_between`."""

    name = "days_between"
    type = BigInteger()
    inherit_cache = True


class SecondsBetween(FunctionElement[int]):
    """Whole seconds from ``start`` to ``end``; use :func:`seconds_between`."""

    name = "seconds_between"
    type = BigInteger()
    inherit_cache = True


def days_between(start: Expression, end: Expression) -> Expression:
    """Whole local calendar days between two instants: 0 on the same day, negative if ``end`` comes first."""
    return DaysBetween(start, end, ZONE)


def seconds_between(start: Expression, end: Expression) -> Expression:
    """Whole elapsed seconds between two instants."""
    return SecondsBetween(start, end)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What to compute over the rows of a period; build it with the functions below."""

    kind: Literal["count", "count_distinct", "sum", "mean", "quantile", "min", "max"]
    expression: Expression | None = None
    where: Expression | None = None
    q: float | None = None


def count(where: Expression | None = None) -> Aggregate:
    """Number of rows. Unit: count."""
    return Aggregate("count", None, where)


def count_distinct(expression: Expression, where: Expression | None = None) -> Aggregate:
    """Number of different values. Not additive."""
    return Aggregate("count_distinct", expression, where)


def sum_(expression: Expression, where: Expression | None = None) -> Aggregate:
    """Sum of the non-null values; 0 over no rows."""
    return Aggregate("sum", expression, where)


def mean(expression: Expression, where: Expression | None = None) -> Aggregate:
    """Mean of the non-null values, kept as sum and count; undefined over none."""
    return Aggregate("mean", expression, where)


def quantile(q: float, expression: Expression, where: Expression | None = None) -> Aggregate:
    """Exact quantile with linear interpolation; undefined over no values."""
    return Aggregate("quantile", expression, where, q)


def min_(expression: Expression, where: Expression | None = None) -> Aggregate:
    """Smallest value; undefined over none."""
    return Aggregate("min", expression, where)


def max_(expression: Expression, where: Expression | None = None) -> Aggregate:
    """Largest value; undefined over none."""
    return Aggregate("max", expression, where)


@dataclass(frozen=True, slots=True)
class At:
    """Clock of an event: the row counts in the period that ``instant`` falls in."""

    instant: Expression


@dataclass(frozen=True, slots=True)
class Balance:
    """Clock of a balance: the row counts in each period at whose end it is in [start, end); end null = still.

    Past instants are right as far as ``start`` and ``end`` are. A null ``start`` counts only in the current period, since nobody
    knows since when; a warning says how many.
    """

    start: Expression
    end: Expression
    open_when: Expression | None = None
    """What must hold for a row with a null ``end`` (``deals.c.state == "open"``)."""


@dataclass(frozen=True, slots=True)
class During:
    """Clock of an interval: the row counts in every period that [start, end) overlaps; end null = still."""

    start: Expression
    end: Expression
    open_when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Now:
    """Clock of a state that is only known now: no past periods."""


Clock: TypeAlias = At | Balance | During | Now


@dataclass(frozen=True, slots=True)
class Measure:
    """An aggregate over an entity. ``entity`` is a canonical table or a subquery of canonical tables with the same key columns.

    Rows that are deleted, merged away or tests never count. ``money`` names the currency column if the aggregate is an amount:
    the engine converts it to the reporting currency, by the first of the dates ``rate_at`` (dates, instants, ``AS_OF``) that a
    rate covers; without ``rate_at`` that is the clock's own date for events and ``AS_OF`` for other clocks. ``label`` is what
    the rows are called in a sentence ("won deals").
    """

    entity: FromClause
    clock: Clock
    agg: Aggregate
    money: Expression | None = None
    rate_at: tuple[Expression, ...] = ()
    label: str = ""


Unit: TypeAlias = Literal["count", "ratio", "currency", "days", "seconds", "score"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a KPI: its choices, the first being the default, and what it changes."""

    choices: tuple[str, ...]
    help: str = ""

    @property
    def default(self) -> str:
        """The value when nothing is said."""
        return self.choices[0]


@dataclass(frozen=True, slots=True)
class Definition:
    """Measures and formula of a KPI for one choice of parameters.

    ``formula`` gets the measures by name and returns their combination; ``sample`` names the measure that is the sample size
    (None: there is none, as for counts).
    """

    measures: Mapping[str, Measure]
    formula: Callable[[Values], Quantity]
    sample: str | None = None
    unit: Unit | None = None
    """Where a parameter changes the unit (``as=count``)."""


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

    def params_from(self, given: Mapping[str, str]) -> dict[str, str]:
        """The full set of parameters, defaults filled in.

        Raises:
            ConfigError: a parameter or its value is unknown.
        """
        for name, value in given.items():
            if name not in self.params:
                known = ", ".join(self.params) or "none"
                raise ConfigError(f"KPI {self.id} has no parameter {name!r}", hint=f"It has: {known}")
            if value not in self.params[name].choices:
                choices = ", ".join(self.params[name].choices)
                raise ConfigError(f"{name}={value} is not possible for KPI {self.id}", hint=f"Use one of {choices}")
        return {name: given.get(name, param.default) for name, param in self.params.items()}

    def definition(self, given: Mapping[str, str]) -> Definition:
        """Measures and formula for a choice of parameters."""
        params = self.params_from(given)
        return self.define(params) if callable(self.define) else self.define

    def sample_noun(self, given: Mapping[str, str]) -> str:
        """What the sample size counts, in the plural: ``closed deals``; ``records`` where no measure says."""
        definition = self.definition(given)
        only = next(iter(definition.measures)) if len(definition.measures) == 1 else ""
        measure = definition.measures.get(definition.sample or only)
        return (measure.label if measure else "") or "records"
