"""Single values into canonical types, one at a time: the careful way, for columns that Arrow cannot convert in one go. Pure.

Each function takes a value that is not None and gives what the column holds, None for "no value", or raises ``ValueError``
for something that the column cannot hold. A time without a zone raises :class:`NaiveTimeError`: guessing one would shift
every figure.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 1900, 2199
"""Outside of these a date is a placeholder (0001-01-01, 9999-12-31), not a date."""

_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}


D = TypeVar("D", bound=date)


class NaiveTimeError(ValueError):
    """A date and time of day without a zone."""


def text(value: Any) -> str | None:
    """Text as it is; numbers as people write them. A JSON container is no text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    raise ValueError("not a text")


def instant(value: Any, zone: ZoneInfo) -> datetime | None:
    """A date-only value stands for local midnight."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise NaiveTimeError(f"{value.isoformat()} has no time zone")
        return _plausible(value).astimezone(UTC)
    if isinstance(value, date):
        return midnight(value, zone)
    raise ValueError("not an instant")


@lru_cache(maxsize=50_000)
def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Local midnight of a day, in UTC."""
    return datetime.combine(_plausible(day), time(), zone).astimezone(UTC)


def day(value: Any) -> date | None:
    """A calendar date; of a date and time its own date, never shifted by a zone."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        value = date.fromisoformat(value) if len(value) == 10 else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return _plausible(value).date()
    if isinstance(value, date):
        return _plausible(value)
    raise ValueError("not a date")


def _plausible(value: D) -> D:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError("not a date that can be meant")
    return value


def decimal(value: Any, precision: int, scale: int) -> Decimal | None:
    """An exact number, rounded half-even to the column's scale; never by way of a binary fraction."""
    if isinstance(value, bool):
        raise ValueError("not a number")
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if "_" in value:  # Python's own spelling of thousands
            raise ValueError("not a number")
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
        if not number.is_finite():
            raise ValueError("not a finite number")
        return number.quantize(Decimal(1).scaleb(-scale), context=Context(prec=precision))
    except (InvalidOperation, TypeError):
        raise ValueError("not a number that fits") from None


def integer(value: Any) -> int | None:
    """A whole number of 64 bits; fractions are rounded half-even."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        exact = decimal(value, 38, 6)
        if exact is None:
            return None
        number = int(exact.to_integral_value())
    if abs(number) >= 2**63:
        raise ValueError("too large")
    return number


def flag(value: Any) -> bool | None:
    """Yes or no, in the usual spellings."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else "?"
    if not word:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError("neither yes nor no")


def json_text(value: Any) -> str | None:
    """JSON as text, keys in order, so that equal values are equal texts; nothing in it is nothing."""
    if value in ({}, [], ""):
        return None
    try:
        written = _dumps(value)
    except (TypeError, RecursionError) as error:
        raise ValueError("not JSON") from error
    except ValueError:  # NaN and infinities, which JSON does not have, are no values
        written = _dumps(json.loads(json.dumps(value, default=str), parse_constant=lambda _: None))
    return written.encode("utf-8", "replace").decode()


_dumps = partial(json.dumps, sort_keys=True, ensure_ascii=False, default=str, separators=(",", ":"), allow_nan=False)
