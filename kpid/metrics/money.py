"""Amounts in the reporting currency, by dated exchange rates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Date, Numeric, and_, case, cast, func, literal, or_, select
from sqlalchemy.sql.expression import FromClause

from kpid.metrics.dialects import LocalDate, text_of
from kpid.plugin.entities import fx_rates


class Rates:
    """Joins of dated rates into the reporting currency, at most one rate per row and date.

    Where rates overlap, the one that began last holds: each is cut off where the next one begins.

    Args:
        currency: the reporting currency.
        zone: expression of the organisation's zone, for the date of an instant.
        now: rates deleted by then do not count.
    """

    def __init__(self, currency: str, zone: ColumnElement[Any], now: datetime) -> None:
        self.currency = currency
        self.joins: dict[str, tuple[FromClause, ColumnElement[bool]]] = {}
        self._zone = zone
        self._now = now

    def convert(
        self, amount: ColumnElement[Any], money: ColumnElement[Any], dates: Sequence[ColumnElement[Any]]
    ) -> ColumnElement[Any]:
        """The amount in the reporting currency; null where it is null or no rate covers any of the dates."""
        found = [self._rate_at(money, date) for date in dates]
        rate = cast(found[0] if len(found) == 1 else func.coalesce(*found), Numeric(18, 10))
        same = or_(money.is_(None), money == self.currency)
        return case((same, amount), else_=cast(amount, Numeric(20, 6)) * rate)

    def _rate_at(self, money: ColumnElement[Any], date: ColumnElement[Any]) -> ColumnElement[Any]:
        day = date if isinstance(date.type, Date) else LocalDate(date, self._zone)
        key = f"rate {text_of(money)} {text_of(day)}"
        if key not in self.joins:
            rates = self._rates(f"rate{len(self.joins)}")
            begun = and_(rates.c.from_currency == money, rates.c.valid_from <= day)
            self.joins[key] = (rates, and_(begun, or_(rates.c.ends.is_(None), day < rates.c.ends)))
        return self.joins[key][0].c.rate

    def _rates(self, name: str) -> FromClause:
        r = fx_rates.c
        alive = and_(or_(r.deleted_at.is_(None), r.deleted_at > literal(self._now)), r.merged_into_id.is_(None))
        newest = [r.updated_at.desc().nulls_last(), r.id]
        place = func.row_number().over(partition_by=[r.from_currency, r.valid_from], order_by=newest)
        latest = (
            select(r.from_currency, r.valid_from, r.valid_to, r.rate, place.label("place"))
            .where(r.to_currency == self.currency, alive)
            .subquery(f"{name}_all")
        )
        follows = func.lead(latest.c.valid_from).over(partition_by=latest.c.from_currency, order_by=latest.c.valid_from)
        ends = func.least(func.coalesce(latest.c.valid_to, follows), func.coalesce(follows, latest.c.valid_to))
        columns = (latest.c.from_currency, latest.c.valid_from, ends.label("ends"), latest.c.rate)
        return select(*columns).where(latest.c.place == 1).subquery(name)


def needs_rates(entity: FromClause, foreign: frozenset[str]) -> bool:
    """Whether rows of the entity are in other currencies than the reporting one."""
    return getattr(entity, "name", "") in foreign
