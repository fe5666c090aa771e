"""Values as JSON can carry them: what every command returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """The value in JSON's types: instants as ISO text in UTC, lengths in seconds, decimals as :func:`number`."""
    for kind, convert in _SIMPLE:
        if isinstance(value, kind):
            return convert(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return value


def instant_text(value: datetime) -> str:
    """An instant in UTC; a nominal time as it is."""
    return (value.astimezone(UTC) if value.tzinfo else value).isoformat()


def number(value: Decimal | None) -> int | float | None:
    """A decimal as a JSON number: whole ones exactly; what has more digits than a double holds is rounded to 15."""
    if value is None:
        return None
    if value == value.to_integral_value():
        return int(value)
    return float(value if len(value.as_tuple().digits) <= _DIGITS else _ROUNDED.plus(value))


_DIGITS = 17
"""A decimal of so many digits that comes from a double is that double again."""
_ROUNDED = Context(prec=15, rounding=ROUND_HALF_EVEN)

_SIMPLE: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: value.value),
    (str, str),
    (Decimal, number),
    (datetime, instant_text),
    (timedelta, timedelta.total_seconds),
    (Path, str),
)
