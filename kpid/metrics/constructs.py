"""What engines spell differently, as elements of SQLAlchemy expressions; :mod:`kpid.metrics.spelling` writes them out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Double, Integer, Text
from sqlalchemy.sql.functions import FunctionElement

from kpid.plugin.expressions import DatesBetween, DaysBetween, Later, LocalDate, Placeholder, RateDay, SecondsBetween

__all__ = [
    "DatesBetween",
    "DaysBetween",
    "JsonText",
    "Later",
    "LiteralRows",
    "LocalDate",
    "PeriodNumber",
    "Placeholder",
    "Quantile",
    "Quantiles",
    "RateDay",
    "SecondsBetween",
    "TopSum",
]


class LiteralRows(FunctionElement[Any]):
    """A table written out: texts, whole numbers and truth values under the names of its columns; for thousands of rows."""

    name = "literal_rows"
    inherit_cache = False

    def __init__(self, names: Sequence[str], rows: Sequence[tuple[str | int | bool, ...]]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.rows = rows


class Quantile(FunctionElement[Any]):
    """Exact quantile with linear interpolation; the fraction is part of the text, since engines want a constant there."""

    name = "quantile"
    inherit_cache = False

    def __init__(self, q: float, expression: ColumnElement[Any]) -> None:
        super().__init__(expression)
        self.q = q
        self.type = expression.type


class Quantiles(FunctionElement[Any]):
    """Several quantiles of one expression at once: an array of doubles, in the order of the fractions; null over no values."""

    name = "quantiles"
    inherit_cache = False
    type = ARRAY(Double())

    def __init__(self, fractions: Sequence[float], expression: ColumnElement[Any]) -> None:
        super().__init__(expression)
        self.fractions = tuple(fractions)


class TopSum(FunctionElement[Any]):
    """Sum of the ``n`` largest values; null or 0 over no values."""

    name = "top_sum"
    inherit_cache = False

    def __init__(self, n: int, expression: ColumnElement[Any]) -> None:
        super().__init__(expression)
        self.n = n
        self.type = expression.type


class JsonText(FunctionElement[str]):
    """The value of a key at the top of a JSON object, as text; null where there is none: ``JsonText(deals.c.extra, "tier")``."""

    name = "json_text"
    inherit_cache = False
    type = Text()

    def __init__(self, column: ColumnElement[Any], key: str) -> None:
        super().__init__(column)
        self.key = key


class PeriodNumber(FunctionElement[int]):
    """Number of the period that an instant falls in; null outside all of them.

    ``bounds`` are ``(start, number)`` in order: from ``start`` on an instant has that number (None: none), up to the next one.
    """

    name = "period_number"
    type = Integer()
    inherit_cache = False

    def __init__(self, instant: ColumnElement[Any], bounds: Sequence[tuple[datetime, int | None]]) -> None:
        super().__init__(instant)
        self.bounds = tuple(bounds)
