"""Functions of definitions as text, the same in every process: a changed function is a changed definition. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

_PLAIN = (str, bytes, int, float, complex, Decimal, Fraction, date, time, timedelta, range, Enum, type(None), type(...))
"""Whose ``repr`` says all, and says it alike in every process. A ``datetime`` is a ``date``."""


def code_text(function: object) -> str:
    """What a function does, as text: its code, and the values that it has taken from where it was made.

    Global names stand for themselves: what a function calls is not looked into. Objects that are neither plain values nor made of
    such are known by their type alone, since their ``repr`` may name an address.
    """
    return _text(function, ())


def _text(value: Any, above: tuple[int, ...]) -> str:
    if isinstance(value, _PLAIN) or _says_itself(value):
        return repr(value)
    if id(value) in above:  # a function that calls itself
        return "itself"
    return f"{type(value).__qualname__} [{', '.join(_parts(value, (*above, id(value))))}]"


def _parts(value: Any, above: tuple[int, ...]) -> Iterable[str]:
    """What a value is made of, as texts."""
    pieces: Iterable[Any] = ()
    match value:
        case Mapping():
            return sorted(f"{_text(key, above)}: {_text(one, above)}" for key, one in value.items())
        case Set():
            return sorted(_text(one, above) for one in value)
        case Sequence():
            pieces = value
        case CodeType():
            pieces = (value.co_code, value.co_names, value.co_consts)
        case FunctionType():
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            pieces = (value.__code__, *cells, value.__defaults__, value.__kwdefaults__)
        case MethodType():
            pieces = (value.__func__, value.__self__)
        case partial():
            pieces = (value.func, value.args, value.keywords)
        case _ if is_dataclass(value) and not isinstance(value, type):
            pieces = (getattr(value, one.name) for one in fields(value) if one.compare)
        case _ if isinstance(value, type):
            return [value.__qualname__]
    return [_text(one, above) for one in pieces]


def _says_itself(value: Any) -> bool:
    """Whether somebody has written what an object is known by: a formula of the configuration is its text, not its places."""
    parameters = getattr(type(value), "__dataclass_params__", None)
    return parameters is not None and not parameters.repr and "__repr__" in type(value).__dict__


def _is_filled(cell: Any) -> bool:
    """Whether a variable of an outer function has a value yet."""
    try:
        cell.cell_contents  # noqa: B018 - raises where there is none
    except ValueError:
        return False
    return True
