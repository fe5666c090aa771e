"""The mean of a balance over the days of a period, in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from kpid.model import Period

ZONE = ZoneInfo("Europe/Berlin")


def days(period: Period, now: datetime) -> list[Period]:
    """The local days of a period that have begun."""
    first, found = period.start.astimezone(ZONE).date(), []
    while True:
        start, end = (
            datetime(day.year, day.month, day.day, tzinfo=ZONE).astimezone(period.start.tzinfo)
            for day in (first, first + timedelta(days=1))
        )
        if start >= period.end or start > now:
            return found
        found.append(Period("day", start, end, first.isoformat()))
        first += timedelta(days=1)


def mean(value_of: Callable[..., Any], now: datetime) -> Callable[..., Any]:
    """The mean of what a function of ``(company, period, accounts)`` says of each day."""

    def value(company: Any, period: Period, accounts: Any, **more: Any) -> Any:
        values = [value_of(company, day, accounts, **more) for day in days(period, now)]
        return None if None in values else Fraction(sum(map(Fraction, values)), len(values))

    return value


def facts(facts_of: Callable[..., list[dict[str, Any]]], now: datetime) -> Callable[..., list[dict[str, Any]]]:
    """The facts of each day."""

    def found(rows: Any, period: Period) -> list[dict[str, Any]]:
        known = days(period, now)
        return [{**fact, "_day": day, "_days": len(known)} for day in known for fact in facts_of(rows, day)]

    return found


def of_facts(value_of: Callable[..., Any]) -> Callable[..., Any]:
    """The mean of what a function of facts (and perhaps their period) says of each day; days without facts are 0."""

    def value(some: list[dict[str, Any]], *rest: Any) -> Any:
        by_day: dict[Any, list[dict[str, Any]]] = {}
        for fact in some:
            by_day.setdefault(fact["_day"], []).append(fact)
        values = [value_of(group, *([day] if rest else [])) for day, group in by_day.items()]
        return Fraction(sum(map(Fraction, values)), some[0]["_days"]) if some else 0

    return value
