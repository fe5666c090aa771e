"""Customers at both ends of a period: the entity of everything that says who stayed and who left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, null, or_, select
from sqlalchemy.sql.expression import FromClause, Subquery

from kpid.plugin import (
    PERIODS,
    Definition,
    InPeriod,
    Measure,
    Now,
    Param,
    Quantity,
    Values,
    count,
    days_between,
    described,
    holds_at,
    max_,
)

from .spans import spans, spells, undated

DIMENSIONS = (
    "owner", "team", "region", "segment", "industry", "size_band", "country", "account", "lead_source", "source",
)  # fmt: skip
BASES = {
    "lifecycle": "customers by their status history",
    "orders": "customers by a purchase in the last {lookback_days} days",
    "subscription": "customers by a paid subscription",
    "deal": "customers by a won deal",
}
BASIS_PARAMS = {
    "basis": Param(tuple(BASES), "Who is a customer: by status history, purchases, paid subscriptions, or won deals."),
    "lookback_days": Param.number("365", "With basis=orders: how long a purchase makes a customer.", least=1),
}
PARAMS = {
    **BASIS_PARAMS,
    "churn_date": Param(
        ("term_end", "cancellation", "day_after"),
        "With basis=subscription: a customer leaves with the paid term, at the notice, or a day after the term.",
    ),
}
DEGRADES = {
    "account_status_history": "Without a status history a customer is one since the CRM's date, and nobody is seen to leave.",
    "merges": "Accounts that were merged may count twice.",
}
REQUIRED = {"lifecycle": "accounts", "orders": "orders", "subscription": "subscriptions", "deal": "deals"}
TABLES = ("accounts", "account_status_history", "orders", "refunds", "subscriptions", "deals", "products", "order_lines")


def spans_of(params: Mapping[str, str]) -> tuple[str, int, str]:
    """What the spans of customers depend on; parameters that do not matter for a basis are left out."""
    basis = params["basis"]
    lookback = int(params["lookback_days"]) if basis == "orders" else 0
    return basis, lookback, params.get("churn_date", "term_end") if basis == "subscription" else ""


@lru_cache
def population(basis: str, lookback_days: int, churn_date: str) -> Subquery:
    """A row per period and account that is a customer at its start or becomes one in it.

    Returns:
        ``no, account_id, at_start, at_end`` (0 or 1), ``news, returns, losses`` (how often it came for the first time, came back,
        and left), ``days`` of the period, and what accounts are cut by.
    """
    found = spells(spans(basis, lookback_days, churn_date), "spells")
    s, t = found.c, PERIODS.c
    touches = and_(s.starts_at < t.until, or_(s.ends_at.is_(None), s.ends_at >= t.starts))
    begins = s.starts_at >= t.starts

    def most(condition: ColumnElement[bool], name: str) -> ColumnElement[Any]:
        return func.max(case((condition, 1), else_=0)).label(name)

    def total(condition: ColumnElement[bool], name: str) -> ColumnElement[Any]:
        return func.sum(case((condition, 1), else_=0)).label(name)

    rows = (
        select(
            t.no, s.account_id,
            most(holds_at(s.starts_at, s.ends_at, t.starts), "at_start"),
            most(holds_at(s.starts_at, s.ends_at, t.until), "at_end"),
            total(and_(begins, s.spell == 1), "news"),
            total(and_(begins, s.spell > 1), "returns"),
            total(s.ends_at < t.until, "losses"),
            func.max(days_between(t.starts, t.ends)).label("days"),
        )
        .select_from(found.join(PERIODS, touches))
        .group_by(t.no, s.account_id)
        .subquery("population")
    )  # fmt: skip
    return of_any_product(described(rows, "customers_described"), "customers_in_period")


@lru_cache
def days_of_customers(basis: str, lookback_days: int, churn_date: str) -> Subquery:
    """A row per period and spell of midnights: ``at_start``, ``joined``, ``left_on`` (number of the day), ``days`` so far."""
    found = spells(spans(basis, lookback_days, churn_date), "daily_spells", by_day=True)
    s, t = found.c, PERIODS.c
    touches = and_(s.starts_at < t.until, or_(s.ends_at.is_(None), s.ends_at >= t.starts))
    joined = case((s.starts_at >= t.starts, days_between(t.starts, s.starts_at)))
    left = case((s.ends_at < t.until, days_between(t.starts, s.ends_at)))
    elapsed = days_between(t.starts, t.as_of) + case((t.is_current, 1), else_=0)
    columns = (
        t.no, s.account_id, case((s.starts_at < t.starts, 1), else_=0).label("at_start"),
        joined.label("joined"), left.label("left_on"), elapsed.label("days"),
    )  # fmt: skip
    rows = select(*columns).select_from(found.join(PERIODS, touches)).subquery("daily")
    return described(rows, "customers_by_day")


def of_any_product(rows: FromClause, name: str) -> Subquery:
    """Rows of customers, with no product: shares of them by product have the same denominator (``across``)."""
    return select(*rows.c, cast(null(), Text).label("product")).subquery(name)


UNDATED = of_any_product(undated(), "undated_customers")


def optional_tables(params: Mapping[str, str], *required: str) -> tuple[str, ...]:
    """The tables that need not be there: all but the one that the basis needs, and those that are ``required`` besides."""
    return tuple(name for name in TABLES if name not in (REQUIRED[params["basis"]], *required))


def customer_definition(
    params: Mapping[str, str],
    entity: FromClause,
    measures: Mapping[str, tuple[ColumnElement[bool] | None, str]],
    formula: Callable[[Values], Quantity],
    **more: Any,
) -> Definition:
    """A definition over a row per period and customer.

    Args:
        params: of the KPI, with ``basis``.
        entity: the rows, with ``no``.
        measures: name -> (which rows to count, what they are called).
        formula: of the KPI.
        more: other fields of the definition; ``remarks`` come after the sentence that names the basis, ``required`` names tables
            that have to be delivered besides those of the basis.
    """
    clock = InPeriod(entity.c.no)
    counted = {name: Measure(entity, clock, count(where), label=label) for name, (where, label) in measures.items()}
    counted |= more.pop("also", {})
    own: Callable[[Values], Sequence[str]] = more.pop("remarks", lambda m: ())
    remarks = _remarks(BASES[params["basis"]].format(**params), own)
    optional = optional_tables(params, *more.pop("required", ()))
    across = more.pop("across", ())
    if params["basis"] != "lifecycle":
        return Definition(counted, formula, remarks=remarks, optional=optional, **more)
    first = next(iter(counted))
    counted["undated"] = Measure(UNDATED, Now(), count(), label="customers without a date", across=across)
    doubts = lambda m: _nobody_knows(m) if m["undated"].exact and not m[first].exact else None  # noqa: E731
    return Definition(counted, formula, remarks=remarks, doubts=doubts, optional=optional, **more)


def _remarks(basis: str, own: Callable[[Values], Sequence[str]]) -> Callable[[Values], Sequence[str]]:
    def remarks(m: Values) -> list[str]:
        left_out = [_nobody_knows(m)] if "undated" in m and m["undated"].exact else []
        return [basis, *left_out, *own(m)]

    return remarks


def _nobody_knows(m: Values) -> str:
    return f"{m['undated'].exact} customers left out: nobody knows since when they are customers"


def max_days(entity: FromClause) -> Measure:
    """How many days a period has."""
    return Measure(entity, InPeriod(entity.c.no), max_(entity.c.days), label="days")


def months_in(days: int) -> float:
    """How many months a number of days is: whole ones from 28 days on."""
    return max(round(days / 30.4375), 1) if days >= 28 else days / 30.4375
