"""Expressions with the kind of value that they have, and the columns that a table offers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sqlalchemy import JSON, Boolean, Date, DateTime, Integer, Numeric
from sqlalchemy.sql.expression import FromClause

from kpid.analysis.language import Mistake
from kpid.analysis.language.tree import Name
from kpid.config.problems import near_miss
from kpid.metrics.dialects import JsonText
from kpid.plugin import casts
from kpid.plugin.kpi import AS_OF, Expression

Kind: TypeAlias = Literal["text", "number", "boolean", "date", "instant", "json", "null"]
KIND_WORDS: Mapping[Kind, str] = {
    "text": "a text",
    "number": "a number",
    "boolean": "a truth value",
    "date": "a date",
    "instant": "an instant",
    "json": "a JSON object",
    "null": "null",
}
_NO_AMOUNT = frozenset({"probability", "weight", "confidence", "score", "scale_min", "scale_max", "quantity", "value", "rate"})
UNSPEAKABLE = ("%(", "__[")
"""What would be taken for a place-holder of a parameter where it stands in SQL."""

_LONGEST_KEY = 200
_CASTS: Mapping[str, Callable[[Expression], Expression]] = {
    "number": casts.number_of,
    "boolean": casts.boolean_of,
    "date": casts.date_of,
    "instant": casts.instant_of,
}


@dataclass(frozen=True, slots=True)
class Typed:
    """An expression, the kind of its values, and of numbers the unit: ``currency``, ``days``, ``seconds`` or none."""

    kind: Kind
    sql: Expression
    unit: str = ""
    is_constant: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A configured column of a table: ``key`` in ``extra``, or another column's name."""

    table: str
    name: str
    kind: Kind
    key: str | None = None
    column: str = ""


@dataclass(frozen=True)
class Columns:
    """The names that an expression over one entity may use.

    Args:
        entity: the table, or the subquery that an ``sql:`` became.
        label: what it is called in messages.
        fields: custom fields of the table, by name.
        kinds: of an ``sql:`` the declared columns; None: the kinds follow from the table.
    """

    entity: FromClause
    label: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    kinds: Mapping[str, Kind] | None = None

    def find(self, name: Name) -> Typed:
        """The column of a name.

        Raises:
            Mistake: there is none.
        """
        first, *rest = name.parts
        if first == self.label and rest:
            return self.find(Name(tuple(rest), span=name.span))
        if rest:
            return self._custom(name)
        if first in self.fields:
            return self._field(self.fields[first])
        if first in self.entity.c:
            return self._column(first)
        if first == "as_of":
            return Typed("instant", AS_OF)
        names = [*self.entity.c.keys(), *self.fields, "as_of"]
        raise Mistake(f"{self.label} has no column {first!r}", name.span, near_miss(first, names, what="It has"))

    def _custom(self, name: Name) -> Typed:
        if name.parts[0] != "extra" or len(name.parts) != 2 or "extra" not in self.entity.c:
            raise Mistake(f"there is no {str(name)!r} in {self.label}", name.span, "Custom fields are written extra.name")
        declared = [one for one in self.fields.values() if one.key == name.parts[1]]
        if len(declared) == 1:  # declared in several types, it is the text that it is
            return self._field(declared[0])
        if problem := key_problem(name.parts[1]):
            raise Mistake(problem, name.span)
        return Typed("text", JsonText(self.entity.c["extra"], name.parts[1]))

    def _field(self, one: Field) -> Typed:
        if one.key is None:
            return self._column(one.column)
        text = JsonText(self.entity.c["extra"], one.key)
        return Typed(one.kind, _CASTS[one.kind](text) if one.kind in _CASTS else text)

    def _column(self, name: str) -> Typed:
        column = self.entity.c[name]
        kind = kind_of(column) if self.kinds is None else self.kinds[name]
        unit = "currency" if self._is_amount(name, column) else "seconds" if name.endswith("_s") and kind == "number" else ""
        return Typed(kind, column, unit)

    def _is_amount(self, name: str, column: Expression) -> bool:
        kind = column.type
        is_money = isinstance(kind, Numeric) and kind.scale == 6 and name not in _NO_AMOUNT
        return self.kinds is None and is_money and "currency" in self.entity.c


def key_problem(key: str) -> str:
    """Why a key cannot be that of a custom field; the empty text if it can."""
    if not key.strip() or len(key) > _LONGEST_KEY or not key.isprintable():
        return f"the name of a custom field is a text of 1 to {_LONGEST_KEY} characters"
    stray = next((sign for sign in UNSPEAKABLE if sign in key), None)
    return f"{stray} cannot be in the name of a custom field" if stray else ""


def kind_of(column: Expression) -> Kind:
    """The kind of a column's values."""
    kinds: tuple[tuple[type, Kind], ...] = (
        (DateTime, "instant"),
        (Date, "date"),
        (Boolean, "boolean"),
        (Integer, "number"),
        (Numeric, "number"),
        (JSON, "json"),
    )
    return next((kind for type_, kind in kinds if isinstance(column.type, type_)), "text")
