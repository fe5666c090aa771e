"""How single values are written in the configuration: durations, numbers, names; and the base of all its parts."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from kpid.analysis.durations import duration_from_text, number_from_text, span_from_text


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    length = duration_from_text(str(value))
    if not length:
        raise ValueError("must be longer than nothing")
    return length


def _number(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else number_from_text(str(value))


def _duration_text(value: str) -> str:
    duration_from_text(value)
    return value


def _span_text(value: str) -> str:
    span_from_text(value)
    return value


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str | int) else value


_DURATION_SCHEMA = {"type": "string", "pattern": r"^\s*[0-9]+\s*[smhdw]\s*$"}
_SPAN_SCHEMA = {"type": "string", "pattern": r"^\s*[0-9]+\s*[xsmhdw]\s*$"}
_NUMBER_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*[+-]?[0-9._]+\s*%?\s*$"}]}
_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}

Duration: TypeAlias = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
DurationText: TypeAlias = Annotated[str, AfterValidator(_duration_text), WithJsonSchema(_DURATION_SCHEMA)]
SpanText: TypeAlias = Annotated[str, AfterValidator(_span_text), WithJsonSchema(_SPAN_SCHEMA)]
Number: TypeAlias = Annotated[Decimal, BeforeValidator(_number), WithJsonSchema(_NUMBER_SCHEMA)]
Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_listed), WithJsonSchema(_NAMES_SCHEMA)]
"""One name, or a list of names."""
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
"""A name that goes into ids, file names and headers: letters, digits, dot, dash, underscore."""


class Model(BaseModel):
    """Base of all parts: frozen, unknown keys refused. Numbers where a text is wanted are taken as written."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        coerce_numbers_to_str=True,
        validate_by_name=False,
        allow_inf_nan=False,
    )
