"""The part of SOQL that our connector speaks; everything else is refused, as Salesforce refuses what it does not understand."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

Getter: TypeAlias = Callable[[str], Any]

_ORDERED: Mapping[str, Callable[[Any, Any], Any]] = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')"
    r"|(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d))"
    r"|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z_][\w.]*)"
    r"|(?P<sign><=|>=|!=|[=<>(),]))"
)


class SoqlError(ValueError):
    """The query is none."""


@dataclass(frozen=True, slots=True)
class Test:
    """``field operator value``; of ``IN`` the value is a tuple."""

    field: str
    operator: str
    value: Any

    def holds(self, get: Getter) -> bool:
        """Whether a record passes."""
        value = get(self.field)
        match self.operator:
            case "=":
                return bool(value == self.value)
            case "!=":
                return bool(value != self.value)
            case "IN":
                return value in self.value
        if value is None or self.value is None:
            return False
        return bool(
            {">": value > self.value, ">=": value >= self.value, "<": value < self.value, "<=": value <= self.value}[
                self.operator
            ]
        )

    def tests(self) -> Iterator[Test]:
        """All tests in here."""
        yield self


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions of which all (``AND``) or one (``OR``) must hold."""

    word: str
    parts: Sequence[Test | Group]

    def holds(self, get: Getter) -> bool:
        """Whether a record passes."""
        held = (part.holds(get) for part in self.parts)
        return any(held) if self.word == "OR" else all(held)

    def tests(self) -> Iterator[Test]:
        """All tests in here."""
        for part in self.parts:
            yield from part.tests()


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query.

    Args:
        fields: what to select; empty = ``COUNT()``.
        object: from what.
        where: an ``AND`` of conditions, perhaps of none.
        order: fields to sort by.
        limit: at most so many.
    """

    fields: tuple[str, ...]
    object: str
    where: Group = field(default_factory=lambda: Group("AND", ()))
    order: tuple[str, ...] = ()
    limit: int | None = None

    def names(self) -> list[str]:
        """All fields that it names."""
        return [*self.fields, *(test.field for test in self.where.tests()), *self.order]

    def bound(self, name: str, sign: str) -> Any:
        """The value of a test that every record has to pass; None if there is none such."""
        for part in self.where.parts:
            if isinstance(part, Test) and (part.field, part.operator) == (name, sign):
                return part.value
        return None


def parse(text: str) -> Query:
    """A query from its text.

    Raises:
        SoqlError: it is none that we know.
    """
    return _Parser(text).query()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [*_tokens(text)]
        self._place = 0

    def query(self) -> Query:
        self._word("SELECT")
        fields = self._selected()
        self._word("FROM")
        name = self._taken("word")
        where = self._joined() if self._is_next("WHERE") else Group("AND", ())
        if isinstance(where, Test) or where.word == "OR":
            where = Group("AND", (where,))
        order: tuple[str, ...] = ()
        if self._is_next("ORDER"):
            self._word("BY")
            order = self._ordered()
        limit = int(self._taken("number")) if self._is_next("LIMIT") else None
        if self._place != len(self._tokens):
            raise SoqlError(f"unexpected token: {self._tokens[self._place][1]}")
        return Query(fields, str(name), where, order, limit)

    def _selected(self) -> tuple[str, ...]:
        first = str(self._taken("word"))
        if first.upper() == "COUNT":
            self._sign("(")
            self._sign(")")
            return ()
        fields = [first]
        while self._is_next(","):
            fields.append(str(self._taken("word")))
        if len(set(fields)) < len(fields):
            raise SoqlError("duplicate field selected")
        return tuple(fields)

    def _ordered(self) -> tuple[str, ...]:
        names = []
        while True:
            names.append(str(self._taken("word")))
            self._is_next("ASC")
            if not self._is_next(","):
                return tuple(names)

    def _joined(self) -> Test | Group:
        parts, words = [self._condition()], set()
        while self._peek().upper() in {"AND", "OR"}:
            words.add(self._peek().upper())
            self._place += 1
            parts.append(self._condition())
        if len(words) > 1:
            raise SoqlError("AND and OR need brackets")
        return Group(words.pop(), tuple(parts)) if words else parts[0]

    def _condition(self) -> Test | Group:
        if self._is_next("("):
            inner = self._joined()
            self._sign(")")
            return inner
        name = str(self._taken("word"))
        if self._is_next("IN"):
            self._sign("(")
            values = [self._literal()]
            while self._is_next(","):
                values.append(self._literal())
            self._sign(")")
            return Test(name, "IN", tuple(values))
        return Test(name, str(self._taken("sign")), self._literal())

    def _literal(self) -> Any:
        kind, value = self._next()
        if kind == "word":
            known = {"true": True, "false": False, "null": None}
            if str(value).lower() not in known:
                raise SoqlError(f"unexpected token: {value}")
            return known[str(value).lower()]
        if kind == "sign":
            raise SoqlError(f"unexpected token: {value}")
        return value

    def _peek(self) -> str:
        return str(self._tokens[self._place][1]) if self._place < len(self._tokens) else ""

    def _is_next(self, text: str) -> bool:
        found = self._peek().upper() == text
        self._place += found
        return found

    def _next(self) -> tuple[str, Any]:
        if self._place >= len(self._tokens):
            raise SoqlError("unexpected end of the query")
        self._place += 1
        return self._tokens[self._place - 1]

    def _taken(self, kind: str) -> Any:
        found, value = self._next()
        if found != kind:
            raise SoqlError(f"unexpected token: {value}")
        return value

    def _word(self, text: str) -> None:
        if str(self._taken("word")).upper() != text:
            raise SoqlError(f"expected {text}")

    def _sign(self, text: str) -> None:
        if self._taken("sign") != text:
            raise SoqlError(f"expected {text}")


def _tokens(text: str) -> Iterator[tuple[str, Any]]:
    place, text = 0, text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise SoqlError(f"unexpected token: {text[place : place + 10]}")
        place = match.end()
        kind = str(match.lastgroup)
        yield kind, _value(kind, match[kind])


def _value(kind: str, text: str) -> Any:
    match kind:
        case "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        case "instant":
            return datetime.fromisoformat(text).astimezone(UTC)
        case "date":
            return date.fromisoformat(text)
        case "number":
            return Decimal(text)
    return text
