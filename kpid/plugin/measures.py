"""Measures: an aggregate over the rows of an entity, and the clock that puts each row into a period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sqlalchemy.sql.expression import FromClause

from kpid.plugin.expressions import Expression


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What to compute over the rows of a period; build it with the functions below."""

    kind: Literal["count", "count_distinct", "sum", "mean", "quantile", "min", "max", "top_sum"]
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


def top_sum(number: int, expression: Expression, where: Expression | None = None) -> Aggregate:
    """Sum of the ``number`` largest values, ranked within each segment; 0 over no rows. Not additive."""
    return Aggregate("top_sum", expression, where, float(number))


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


@dataclass(frozen=True, slots=True)
class InPeriod:
    """Clock of a derived entity that says itself which period each row belongs to.

    ``no`` is the entity's column with ``PERIODS.c.no``: the entity is a subquery over :data:`~kpid.plugin.PERIODS`, a row per
    period and account, deal, ticket ...: cohorts, populations and everything that looks at both ends of a period.
    """

    no: Expression


Clock: TypeAlias = At | Balance | During | Now | InPeriod


@dataclass(frozen=True, slots=True)
class Measure:
    """An aggregate over an entity. ``entity`` is a canonical table or a subquery of canonical tables.

    Rows of plain tables that are deleted, merged away or tests never count; subqueries leave them out themselves (``living``).

    Args:
        entity: what is aggregated.
        clock: how rows get to periods.
        agg: what is computed.
        money: the currency column if the aggregate is an amount of a plain entity: the engine converts it to the reporting
            currency, by the first of the dates ``rate_at`` (dates, instants, ``AS_OF``) that a rate covers; without ``rate_at``
            that is the clock's own date for events and ``AS_OF`` for other clocks.
        rate_at: see ``money``.
        label: what the rows are called in a sentence ("won deals").
        lacks: of a derived entity with amounts made by ``converted``: the flag of rows without an exchange rate.
        trailing_days: look at so many local days up to the period's end instead of the period itself.
        across: dimensions that do not cut this measure: it is the same in all their segments, as the denominator of a share is
            (lost deals of all reasons, when cut by reason).
    """

    entity: FromClause
    clock: Clock
    agg: Aggregate
    money: Expression | None = None
    rate_at: tuple[Expression, ...] = ()
    label: str = ""
    lacks: Expression | None = None
    trailing_days: int | None = None
    across: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached: the target of a KPI for the same period and segment, as configured or as the CRM has it."""

    kpi: str
    params: Mapping[str, str] = field(default_factory=dict)
    label: str = "target"
    prorate: bool = False
    """Of a period that is not over: the part of the target that its elapsed working days stand for."""


@dataclass(frozen=True, slots=True)
class Use:
    """The result of another KPI as a part of a formula; ``trailing_days`` lets all its measures look so far back."""

    kpi: str
    params: Mapping[str, str] = field(default_factory=dict)
    trailing_days: int | None = None
