"""Words of the expression language, and what is said of a text that is not in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from kpid.errors import ConfigError

MAX_LENGTH = 4_000
MAX_TOKENS = 600

KEYWORDS = frozenset({"and", "or", "not", "in", "between", "is", "null", "like", "true", "false"})

Kind: TypeAlias = Literal["number", "text", "name", "quoted", "keyword", "operator", "end"]

_TOKEN = re.compile(
    r"""(?P<blank>\s+)
      | (?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator><=|>=|<>|!=|[-+*/()=<>,.])""",
    re.VERBOSE | re.ASCII,
)
_HINTS = {
    "'": "A text ends with ': write '' for an apostrophe inside it",
    '"': 'A quoted name ends with "; texts stand in single quotes',
    "-": "There are no comments here; write a - (-b) if that is meant",
    ";": "One expression is wanted, without a semicolon",
    "%": "Write 0.2 for 20%",
    "&": "Write and",
    "|": "Write or",
    "!": "Write not, or <> for unequal",
    "“": "Texts stand in plain single quotes",
    "‘": "Texts stand in plain single quotes",
    "’": "Texts stand in plain single quotes",
}


class Mistake(ConfigError):  # noqa: N818 - what it is to whom it is told
    """Something in an expression that cannot be used: ``start`` and ``end`` say which part of its text."""

    def __init__(self, what: str, span: tuple[int, int] = (0, 0), hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.start, self.end = span


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it stands. ``value`` is what it means: quotes are gone, keywords are in small letters."""

    kind: Kind
    value: str
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        """Where it stands in the text."""
        return self.start, self.end

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.value)


def tokens_of(text: str) -> list[Token]:
    """The words of a text, the last one being its end.

    Raises:
        Mistake: a character that the language does not know, or a text that is too long.
    """
    if len(text) > MAX_LENGTH:
        raise Mistake(f"the expression has {len(text):,} characters; {MAX_LENGTH:,} are allowed", (MAX_LENGTH, MAX_LENGTH + 1))
    found: list[Token] = []
    place = 0
    while place < len(text):
        match = None if text.startswith("--", place) else _TOKEN.match(text, place)
        if match is None:
            raise Mistake(f"{text[place]!r} cannot stand here", (place, place + 1), _HINTS.get(text[place]))
        if match.lastgroup != "blank":
            found.append(_token(match))
        place = match.end()
        if len(found) > MAX_TOKENS:
            raise Mistake(f"the expression has more than {MAX_TOKENS} words", found[-1].span, "Split it into several measures")
    _refuse_glued(found)
    return [*found, Token("end", "", len(text), len(text) + 1)]


def _refuse_glued(found: list[Token]) -> None:
    for number, name in pairwise(found):
        if number.kind == "number" and name.start == number.end and name.kind in ("name", "number", "keyword"):
            raise Mistake(f"{number.value}{name.value} is not a number", (number.start, name.end), "Write 50000 or 0.25")


def _token(match: re.Match[str]) -> Token:
    text, start, end = match.group(), match.start(), match.end()
    match match.lastgroup:
        case "text":
            return Token("text", text[1:-1].replace("''", "'"), start, end)
        case "quoted":
            return Token("quoted", text[1:-1].replace('""', '"'), start, end)
        case "name" if text.lower() in KEYWORDS:
            return Token("keyword", text.lower(), start, end)
        case "number":
            return Token("number", text, start, end)
        case "name":
            return Token("name", text, start, end)
        case _:
            return Token("operator", "<>" if text == "!=" else text, start, end)
