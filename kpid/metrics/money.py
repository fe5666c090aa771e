"""Amounts of plain entities in the reporting currency, by dated exchange rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Date
from sqlalchemy.sql.expression import FromClause

from kpid.metrics.dialects import text_of
from kpid.plugin.amounts import Join, at_rate, rate_for
from kpid.plugin.expressions import local_date


class Rates:
    """Joins of dated rates into the reporting currency, the same ones for amounts of one currency column and date."""

    def __init__(self) -> None:
        self.joins: dict[str, Join] = {}
        self._known: dict[str, ColumnElement[Any]] = {}

    def convert(
        self, amount: ColumnElement[Any], money: ColumnElement[Any], dates: Sequence[ColumnElement[Any]]
    ) -> ColumnElement[Any]:
        """The amount in the reporting currency; null where it is null or no rate covers any of the dates."""
        days = [date if isinstance(date.type, Date) else local_date(date) for date in dates]
        key = " ".join(map(text_of, (money, *days)))
        if key not in self._known:
            alias = f"rate{len(self._known)}_"
            self._known[key], joins = rate_for(money, days, alias)
            self.joins |= {f"{alias}{number}": join for number, join in enumerate(joins)}
        return at_rate(amount, money, self._known[key])


def needs_rates(entity: FromClause, foreign: frozenset[str]) -> bool:
    """Whether rows of the entity are in other currencies than the reporting one."""
    return getattr(entity, "name", "") in foreign
