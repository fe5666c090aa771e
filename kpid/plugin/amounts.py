"""Amounts in the reporting currency, by dated exchange rates, inside derived entities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Date, Numeric, and_, case, cast, func, or_, select
from sqlalchemy.sql.expression import CTE, FromClause, Subquery

from kpid.plugin.entities import fx_rates
from kpid.plugin.expressions import CURRENCY, Expression, RateDay, living, local_date


def _rates() -> CTE:
    """Rates into the reporting currency, at most one per currency and day.

    Where rates overlap, the one that began last holds: each is cut off where the next one begins.
    """
    r = living(fx_rates).c
    newest = [r.updated_at.desc().nulls_last(), r.id]
    place = func.row_number().over(partition_by=[r.from_currency, r.valid_from], order_by=newest)
    latest = (
        select(r.from_currency, r.valid_from, r.valid_to, r.rate, place.label("place"))
        .where(r.to_currency == CURRENCY)
        .subquery("kpid_rates_all")
        .c
    )
    follows = func.lead(latest.valid_from).over(partition_by=latest.from_currency, order_by=latest.valid_from)
    ends = func.least(func.coalesce(latest.valid_to, follows), func.coalesce(follows, latest.valid_to))
    columns = (latest.from_currency, latest.valid_from, ends.label("ends"), latest.rate)
    return select(*columns).where(latest.place == 1).cte("kpid_rates")


RATES = _rates()
"""``from_currency, valid_from, ends, rate``: 1 from_currency is rate of the reporting currency in ``[valid_from, ends)``."""

Join = tuple[FromClause, ColumnElement[bool]]


def rate_for(money: Expression, dates: Sequence[Expression], alias: str) -> tuple[ColumnElement[Any], list[Join]]:
    """The rate into the reporting currency by the first of the dates that one covers, and the left joins that this needs.

    Args:
        money: the currency to convert from.
        dates: local dates or instants.
        alias: what the joined rates are called; numbered from 0.
    """
    joins: list[Join] = []
    for number, date in enumerate(dates):
        day = RateDay(date if isinstance(date.type, Date) else local_date(date))
        rates = RATES.alias(f"{alias}{number}")
        begun = and_(rates.c.from_currency == money, rates.c.valid_from <= day)
        joins.append((rates, and_(begun, or_(rates.c.ends.is_(None), day < rates.c.ends))))
    found = [rates.c.rate for rates, _ in joins]
    return cast(found[0] if len(found) == 1 else func.coalesce(*found), Numeric(18, 10)), joins


def at_rate(amount: Expression, money: Expression, rate: Expression) -> ColumnElement[Any]:
    """The amount times the rate; as it is if it has no currency or the reporting one, null if it needs a rate and has none."""
    same = or_(money.is_(None), money == CURRENCY)
    return case((same, amount), else_=cast(amount, Numeric(20, 6)) * rate)


def converted(source: FromClause, name: str | None = None, **amounts: tuple[Expression, ...]) -> Subquery:
    """The rows of a source with amounts in the reporting currency.

    Args:
        source: a canonical table or a subquery.
        name: what the result is called in SQL.
        amounts: ``net=(amount, currency, date, further date ...)`` adds ``net``, converted by the first of the dates or instants
            that a rate covers, and ``net_lacks``: whether there is an amount that none covers. Give the latter as
            ``Measure(lacks=...)``.
    """
    columns: list[ColumnElement[Any]] = []
    joined = source
    for label, (amount, money, *dates) in amounts.items():
        rate, joins = rate_for(money, dates, f"rate_{label}_")
        value = at_rate(amount, money, rate)
        columns += [value.label(label), and_(amount.is_not(None), value.is_(None)).label(f"{label}_lacks")]
        for rates, condition in joins:
            joined = joined.outerjoin(rates, condition)
    kept = [column for column in source.c if column.key not in amounts]
    return select(*kept, *columns).select_from(joined).subquery(name or f"converted_{source.description}")
