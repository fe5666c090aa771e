"""From words to a tree: a Pratt parser, an operator at a time by how strongly it binds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from kpid.analysis.language.tokens import Mistake, Token, tokens_of
from kpid.analysis.language.tree import (
    COMPARISONS,
    Between,
    Binary,
    Call,
    Case,
    Constant,
    In,
    IsNull,
    Like,
    Name,
    Node,
    Several,
    Unary,
    parts_of,
)

MAX_DEPTH = 40
_STRENGTHS = {"or": 1, "and": 2, "+": 5, "-": 5, "*": 6, "/": 6}
_NOT, _COMPARES, _SIGN = 3, 4, 7
_VALUES = {"null": None, "true": True, "false": False}
_PREDICATES = frozenset({"in", "between", "is", "like", "not"})
_WORDS = frozenset(("keyword", value) for value in _VALUES)
_CASE_HINT = "Write case when state = 'won' then amount else 0 end"


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        Mistake: it is not one; says which part of the text is wrong.
    """
    parser = _Parser(tokens_of(text))
    if not text.strip():
        raise Mistake("the expression is empty", (0, 1))
    tree = parser.expression(0)
    if parser.next.kind != "end":
        raise Mistake(f"{parser.next} is not expected here", parser.next.span, _advice(parser.next))
    if _is_deep(tree):
        raise Mistake(
            f"the expression is nested deeper than {MAX_DEPTH} levels", (0, len(text)), "Split it into several measures"
        )
    return tree


def _advice(token: Token) -> str | None:
    if token.kind in ("name", "quoted", "text", "number"):
        return "An operator such as and, or, = or + is missing before it"
    return "There is no ( for it" if token.value == ")" else None


def _is_deep(tree: Node) -> bool:
    level: list[Node] = [tree]
    for _ in range(MAX_DEPTH):
        level = [part for node in level for part in parts_of(node)]
        if not level:
            return False
    return True


class _Parser:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def next(self) -> Token:
        return self._tokens[self._place]

    def expression(self, least: int) -> Node:
        """The longest expression whose operators all bind more strongly than ``least``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Mistake(f"the expression is nested deeper than {MAX_DEPTH} levels", self.next.span, "Split it up")
        left = self._prefix()
        while (strength := self._strength()) > least:
            left = self._infix(left, strength)
        self._depth -= 1
        return left

    # ---- words

    def _take(self) -> Token:
        token = self.next
        if token.kind != "end":
            self._place += 1
        return token

    def _is(self, value: str) -> bool:
        return self.next.value == value and self.next.kind in ("operator", "keyword")

    def _want(self, value: str, why: str) -> Token:
        if not self._is(value):
            raise Mistake(f"{value!r} is wanted instead of {self.next}: {why}", self.next.span)
        return self._take()

    def _ended(self) -> int:
        """Where the word before ends."""
        return self._tokens[self._place - 1].end

    def _strength(self) -> int:
        token = self.next
        if token.kind not in ("operator", "keyword"):
            return 0
        if token.value in COMPARISONS or token.value in _PREDICATES:
            return _COMPARES
        return _STRENGTHS.get(token.value, 0)

    # ---- what begins an expression

    def _prefix(self) -> Node:
        token = self._take()
        if token.kind in ("name", "quoted"):
            return self._named(token)
        if token.value == "(" and token.kind == "operator":
            inner = self.expression(0)
            self._want(")", "a parenthesis is open")
            return inner
        if (token.kind, token.value) in (("keyword", "not"), ("operator", "-")):
            operand = self.expression((_NOT if token.value == "not" else _SIGN) - 1)
            return Unary("not" if token.value == "not" else "-", operand, span=(token.start, self._ended()))
        constant = _constant(token)
        if constant is None:
            what = "the expression ends too early" if token.kind == "end" else f"{token} cannot begin an expression"
            raise Mistake(what, token.span)
        return constant

    def _named(self, token: Token) -> Node:
        if token.kind == "name" and token.value.lower() == "case" and self._begins_case():
            return self._case(token)
        if token.kind == "name" and self.next.kind == "text" and token.value.lower() in ("date", "instant"):
            return _moment(token, self._take())
        if token.kind == "name" and self._is("("):
            return self._call(token)
        parts = [token.value]
        while self._is("."):
            self._take()
            part = self._take()
            if part.kind not in ("name", "quoted", "keyword"):
                raise Mistake(f"a name is wanted after the dot, not {part}", part.span)
            parts.append(part.value)
        return Name(tuple(parts), span=(token.start, self._ended()))

    def _begins_case(self) -> bool:
        """Whether what follows ``case`` is no operator: else it is a column's name."""
        return self.next.kind in ("name", "quoted", "text", "number") or (self.next.kind, self.next.value) in _WORDS

    def _case(self, token: Token) -> Node:
        """A case; that of ``case x when 1 then`` is one of ``when x = 1 then``."""
        operand = None if self._is_word("when") else self.expression(0)
        branches = []
        while self._is_word("when"):
            self._take()
            start = self.next.start
            condition = self.expression(0)
            if operand is not None:
                condition = Binary("=", operand, condition, span=(start, self._ended()))
            self._want_word("then", "each `when` has one")
            branches.append((condition, self.expression(0)))
        if not branches:
            raise Mistake(f"'when' is wanted instead of {self.next}", self.next.span, _CASE_HINT)
        otherwise = None
        if self._is_word("else"):
            self._take()
            otherwise = self.expression(0)
        self._want_word("end", "a `case` ends with it")
        return Case(tuple(branches), otherwise, span=(token.start, self._ended()))

    def _is_word(self, word: str) -> bool:
        return self.next.kind == "name" and self.next.value.lower() == word

    def _want_word(self, word: str, why: str) -> None:
        if not self._is_word(word):
            raise Mistake(f"{word!r} is wanted instead of {self.next}: {why}", self.next.span, _CASE_HINT)
        self._take()

    def _call(self, token: Token) -> Node:
        self._take()
        arguments = [] if self._is(")") else self._items()
        self._want(")", f"the arguments of {token.value} end with it")
        return Call(token.value, tuple(arguments), span=(token.start, self._ended()))

    def _items(self) -> list[Node]:
        items = [self.expression(0)]
        while self._is(","):
            self._take()
            items.append(self.expression(0))
        return items

    # ---- what goes on with an expression

    def _infix(self, left: Node, strength: int) -> Node:
        token = self._take()
        start = left.span[0]
        match token.value:
            case "and" | "or":
                return self._several(token, left, strength)
            case "+" | "-" | "*" | "/":
                right = self.expression(strength)
                return Binary(token.value, left, right, span=(start, self._ended()))
        found = self._comparison(token, left)
        if self._strength() == _COMPARES:
            raise Mistake("two comparisons in a row", self.next.span, "Join them with and, or put one in parentheses")
        return found

    def _several(self, token: Token, left: Node, strength: int) -> Node:
        operands = [left, self.expression(strength)]
        while self._is(token.value):
            self._take()
            operands.append(self.expression(strength))
        return Several("and" if token.value == "and" else "or", tuple(operands), span=(left.span[0], self._ended()))

    def _comparison(self, token: Token, left: Node) -> Node:
        start = left.span[0]
        if token.value in COMPARISONS:
            right = self.expression(_COMPARES)
            return Binary(token.value, left, right, span=(start, self._ended()))
        if token.value == "is":
            negated = self._negated()
            self._want("null", "`is null` and `is not null` are what there is")
            return IsNull(left, negated, span=(start, self._ended()))
        negated = token.value == "not"
        if negated:
            token = self._take()
        match token.value if token.kind == "keyword" else "":
            case "in":
                self._want("(", "`in` is followed by a list in parentheses")
                items = tuple(self._items())
                self._want(")", "the list of `in` ends with it")
                return In(left, items, negated, span=(start, self._ended()))
            case "between":
                low = self.expression(_COMPARES)
                self._want("and", "`between` has two ends: between 1 and 5")
                high = self.expression(_COMPARES)
                return Between(left, low, high, negated, span=(start, self._ended()))
            case "like":
                pattern = self.expression(_COMPARES)
                return Like(left, pattern, negated, span=(start, self._ended()))
        raise Mistake(f"in, between or like is wanted after not, not {token}", token.span)

    def _negated(self) -> bool:
        if self._is("not"):
            self._take()
            return True
        return False


def _constant(token: Token) -> Constant | None:
    match token.kind:
        case "number":
            return Constant(Decimal(token.value), span=token.span)
        case "text":
            return Constant(token.value, span=token.span)
        case "keyword" if token.value in _VALUES:
            return Constant(_VALUES[token.value], span=token.span)
        case _:
            return None


def _moment(word: Token, text: Token) -> Constant:
    span = (word.start, text.end)
    try:
        if word.value.lower() == "date":
            return Constant(date.fromisoformat(text.value), span=span)
        instant = datetime.fromisoformat(text.value)
        if instant.tzinfo is None:
            raise Mistake(
                f"{text.value!r} does not say in which zone", span, "Write instant '2017-01-01T09:00:00+01:00', or end it with Z"
            )
        return Constant(instant.astimezone(UTC), span=span)
    except (ValueError, OverflowError):
        example = "date '2017-01-31'" if word.value.lower() == "date" else "instant '2017-01-31T09:00:00Z'"
        raise Mistake(
            f"{text.value!r} is not {'a date' if 'date' in example else 'an instant'}", span, f"Write {example}"
        ) from None
