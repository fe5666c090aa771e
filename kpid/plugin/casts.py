"""Texts in their types, as custom fields and histories hold them: what does not fit is null, on every engine, and no error.

Engines disagree about what a number or a day looks like, so the form is judged by a pattern that all of them read alike.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Date, DateTime, Numeric, Text, case, cast, false, func, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from kpid.plugin.expressions import ZONE, Expression

EXACT = Numeric(28, 8)
"""Numbers of custom fields, and results of multiplying and dividing."""

_DAY = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = "[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?"
NUMBER_FORM = "^[+-]?([0-9]{1,19}([.][0-9]*)?|[.][0-9]+)$"
DAY_FORM = f"^{_DAY}({_TIME}.*)?$"
ZONED_FORM = f"^{_DAY}{_TIME}(Z|[+-][01][0-9](:?[0-5][0-9])?)$"
LOCAL_FORM = f"^{_DAY}{_TIME}$"

_MATCHES = {
    "duckdb": "regexp_matches({x}, '{form}')",
    "spark": "({x} RLIKE '{form}')",
    "clickhouse": "match({x}, '{form}')",
    "trino": "regexp_like({x}, '{form}')",
    "snowflake": "regexp_like({x}, '{form}')",
    "bigquery": "REGEXP_CONTAINS({x}, r'{form}')",
}


class HasForm(FunctionElement[bool]):
    """Whether a text has a form, given as a pattern without backslashes and quotes."""

    name = "has_form"
    inherit_cache = False
    type = Boolean()

    def __init__(self, text: Expression, form: str) -> None:
        super().__init__(text)
        self.form = form


class TryDate(FunctionElement[Any]):
    """The day that a text begins with, if there is such a day; the text has the form of one."""

    name = "try_date"
    inherit_cache = True
    type = Date()


class Midnight(FunctionElement[Any]):
    """The instant of a local date-time (a date: its midnight) in a zone: ``Midnight(date, zone)``."""

    name = "midnight"
    inherit_cache = True
    type = DateTime(timezone=True)


@compiles(HasForm)
def _has_form(element: HasForm, compiler: Any, **options: Any) -> str:
    [x] = (compiler.process(clause, **options) for clause in element.clauses)
    return _MATCHES.get(_engine(compiler), "({x} ~ '{form}')").replace("{x}", x).replace("{form}", element.form)


@compiles(TryDate)
def _try_date(element: TryDate, compiler: Any, **options: Any) -> str:
    [x] = (compiler.process(clause, **options) for clause in element.clauses)
    match _engine(compiler):
        case "postgresql":
            first = f"make_date(CAST(substr({x}, 1, 4) AS INTEGER), CAST(substr({x}, 6, 2) AS INTEGER), 1)"
            last = f"EXTRACT(day FROM ({first} + INTERVAL '1 month - 1 day'))"
            day = f"CAST(substr({x}, 9, 2) AS INTEGER)"
            return f"CASE WHEN {day} <= {last} THEN CAST(substr({x}, 1, 10) AS DATE) END"
        case "clickhouse":
            day = f"toDate32OrNull(substring({x}, 1, 10))"  # which takes 29 February of any year for some day
            return f"if(toString({day}) = substring({x}, 1, 10), {day}, NULL)"
        case "bigquery":
            return f"SAFE_CAST(substr({x}, 1, 10) AS DATE)"
        case _:
            return f"TRY_CAST(substr({x}, 1, 10) AS DATE)"


@compiles(Midnight)
def _midnight(element: Midnight, compiler: Any, **options: Any) -> str:
    local, zone = (compiler.process(clause, **options) for clause in element.clauses)
    match _engine(compiler):
        case "spark":
            return f"to_utc_timestamp(CAST({local} AS TIMESTAMP), {zone})"
        case "clickhouse":
            return f"toDateTime64({local}, 6, {zone})"
        case "trino":
            return f"with_timezone(CAST({local} AS TIMESTAMP), {zone})"
        case "snowflake":
            return f"CONVERT_TIMEZONE({zone}, 'UTC', CAST({local} AS TIMESTAMP_NTZ))"
        case "bigquery":
            return f"TIMESTAMP(CAST({local} AS DATETIME), {zone})"
        case _:
            return f"timezone({zone}, CAST({local} AS TIMESTAMP))"


def _engine(compiler: Any) -> str:
    return str(compiler.dialect.name).partition("+")[0].removesuffix("~")


class TextPart(FunctionElement[str]):
    """A part of a text that semicolons divide, counted from 1; empty beyond the last; use :func:`text_part`."""

    name = "text_part"
    inherit_cache = False
    type = Text()

    def __init__(self, text: Expression, number: int) -> None:
        super().__init__(text)
        self.number = number


@compiles(TextPart)
def _text_part(element: TextPart, compiler: Any, **options: Any) -> str:
    [x] = (compiler.process(clause, **options) for clause in element.clauses)
    match _engine(compiler):
        case "clickhouse":
            return f"splitByChar(';', ifNull({x}, ''))[{element.number}]"
        case "bigquery":
            return f"split({x}, ';')[SAFE_ORDINAL({element.number})]"
        case _:
            return f"split_part({x}, ';', {element.number})"


def text_part(text: Expression, number: int) -> Expression:
    """A part of a text that semicolons divide (``price;timing``), counted from 1, bare of blanks; null if there is none."""
    return func.nullif(func.trim(TextPart(text, number)), "")


def number_of(text: Expression) -> Expression:
    """A text as a number."""
    bare = func.trim(text)
    return case((HasForm(bare, NUMBER_FORM), cast(bare, EXACT)))


def boolean_of(text: Expression) -> Expression:
    """A text as a truth value."""
    word = func.lower(func.trim(text))
    return case((word.in_(["true", "yes", "t", "y", "1"]), true()), (word.in_(["false", "no", "f", "n", "0"]), false()))


def date_of(text: Expression) -> Expression:
    """A text as a date: the day that it begins with."""
    bare = func.trim(text)
    return case((HasForm(bare, DAY_FORM), TryDate(bare)))


def instant_of(text: Expression) -> Expression:
    """A text as an instant: with a zone, or local; a day alone stands for its midnight."""
    bare = func.trim(text)
    day = date_of(bare)
    return case(
        (day.is_(None), None),
        (HasForm(bare, ZONED_FORM), cast(bare, DateTime(timezone=True))),
        (HasForm(bare, LOCAL_FORM), Midnight(bare, ZONE)),
        (HasForm(bare, f"^{_DAY}$"), Midnight(day, ZONE)),
    )


def text_of_any(value: Expression) -> Expression:
    """Any value as text, for a dimension."""
    return value if isinstance(value.type, Text) else cast(value, Text())
