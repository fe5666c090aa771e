"""Lengths of time and numbers as people write them in YAML: ``15m``, ``2x``, ``25%``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_DURATION = re.compile(r"([0-9]{1,7})\s*([smhdw])")
_PERIODS = re.compile(r"([0-9]{1,4})\s*x")
_NUMBER = re.compile(r"[+-]?([0-9][0-9_]*(\.[0-9]+)?|\.[0-9]+)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Span:
    """How long something must last: a number of periods of the rule (``2x``) or a length of time (``10d``)."""

    periods: int | None = None
    length: timedelta | None = None

    def __bool__(self) -> bool:
        return bool(self.periods or self.length)


@lru_cache(maxsize=256)
def duration_from_text(text: str) -> timedelta:
    """``15m``, ``36h``, ``7d``, ``90s``, ``1w`` as a length of time.

    Raises:
        ValueError: it is written otherwise; the message says how to.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a length of time: write a number and s, m, h, d or w, such as 15m, 36h or 7d")
    length = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if length > _LONGEST:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return length


@lru_cache(maxsize=256)
def span_from_text(text: str) -> Span:
    """``2x`` (two periods) or ``10d`` (ten days).

    Raises:
        ValueError: it is written otherwise; the message says how to.
    """
    found = _PERIODS.fullmatch(text.strip())
    if found is not None:
        return Span(periods=int(found[1]))
    try:
        return Span(length=duration_from_text(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither a number of periods such as 2x nor a length of time such as 10d") from None


def number_from_text(text: str) -> Decimal:
    """``25%`` as 0.25, ``1_200_000``, ``40``, ``-3.5`` as they stand.

    Raises:
        ValueError: it is written otherwise; the message says how to.
    """
    bare = text.strip()
    percent = bare.endswith("%")
    digits = bare.removesuffix("%").rstrip()
    if _NUMBER.fullmatch(digits) is None:
        raise ValueError(
            f"{text!r} is not a number: write it such as 25%, 40, 0.5 or 1_200_000 (a point for decimals, no blanks or commas)"
        )
    try:
        value = Decimal(digits.replace("_", ""))
    except InvalidOperation:  # pragma: no cover - the pattern allows nothing that Decimal refuses
        raise ValueError(f"{text!r} is not a number") from None
    return value / 100 if percent else value
