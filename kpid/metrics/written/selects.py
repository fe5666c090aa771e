"""``sql:``: one SELECT over canonical tables, refused unless it is certain that it only reads those.

The text is run as it is written, so it is judged word by word, by what is allowed: canonical tables, known functions. Whatever
engines read differently (backslashes, dollar quotes, back-ticks, parameters) is refused, so that no text is one thing here and
another thing there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Boolean, Date, DateTime, Numeric, Text, column, select, text
from sqlalchemy.sql.expression import Subquery
from sqlalchemy.types import TypeEngine

from kpid.analysis.language import Mistake
from kpid.config.problems import near_miss
from kpid.metrics.written.typed import UNSPEAKABLE, Kind
from kpid.plugin.entities import ENTITIES
from kpid.plugin.expressions import counts

MAX_LENGTH = 20_000
_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*(?:[^*/]|\*(?!/)|/(?!\*))*\*/)
      | (?P<text>'(?:[^'\\]|'')*')
      | (?P<quoted>"(?:[^"\\]|"")+")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
      | (?P<sign>::|<=|>=|<>|!=|\|\||->>|[-+*/%()=<>,.])""",
    re.VERBOSE | re.ASCII,
)
_WHY = {
    ";": "One statement is wanted: take the semicolon out",
    "\\": "Backslashes mean different things to different engines",
    "`": 'Quote names like "this"',
    "$": "Parameters and dollar quotes are not possible",
    "?": "Parameters are not possible",
    ":": "Parameters are not possible; :: is a cast",
    "#": "Comments begin with --",
    "[": "Arrays are not possible",
    "{": "Write plain SQL",
    "'": "The text has no end, or a backslash in it",
    '"': "The name has no end, or a backslash in it",
    "/": "The comment has no end, or another in it",
}
_WRITING = frozenset(
    "insert update delete merge into copy attach detach create drop alter truncate grant call execute".split()  # noqa: SIM905
)
_FUNCTIONS = frozenset(
    """abs age avg bool_and bool_or cast ceil ceiling char_length coalesce concat concat_ws corr count cume_dist date date_diff
    date_part date_trunc dense_rank exp extract first_value floor greatest lag last_value lead least left length ln log lower lpad
    ltrim make_date max median min mod nth_value ntile nullif percent_rank percentile_cont percentile_disc position pow power
    quantile_cont quantile_disc rank regexp_replace replace right round row_number rpad rtrim sign split_part sqrt stddev
    stddev_pop stddev_samp strpos substr substring sum timezone to_char to_date to_timestamp trim trunc try_cast upper var_pop
    var_samp variance json_extract_string
    numeric decimal varchar char timestamp timestamptz interval double""".split()  # noqa: SIM905
)
_BEFORE_PARENTHESES = frozenset(
    """and or not in on where when then else select from join using over by all any some exists between case as with having filter
    group distinct union except intersect limit offset is like ilike within order partition values""".split()  # noqa: SIM905
)
_ENDS_FROM = frozenset("where group having order limit offset union except intersect window qualify select fetch".split())  # noqa: SIM905
_STRAY = frozenset("table lateral tablesample pivot unpivot asof positional recursive summarize describe".split())  # noqa: SIM905
_FROM_INSIDE = frozenset({"extract", "substring", "trim", "position", "overlay"})
_TYPES: Mapping[Kind, TypeEngine[Any]] = {
    "text": Text(),
    "number": Numeric(28, 8),
    "boolean": Boolean(),
    "date": Date(),
    "instant": DateTime(timezone=True),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end

    @property
    def low(self) -> str:
        """A bare word in small letters; nothing of what is quoted."""
        return self.text.lower() if self.kind in ("word", "sign") else ""

    @property
    def is_name(self) -> bool:
        """Whether it may name something."""
        return self.kind in ("word", "label", "quoted")

    @property
    def name(self) -> str:
        """The name that a word stands for: in small letters, unless it is quoted."""
        return self.text[1:-1].replace('""', '"') if self.kind == "quoted" else self.text.lower()


def check_select(sql: str) -> tuple[str, ...]:
    """The canonical tables that a text reads, if it is one SELECT over nothing else.

    Raises:
        Mistake: it is something else, or cannot be told from it.
    """
    words = _words(sql)
    if not words or words[0].low not in ("select", "with"):
        raise Mistake("one SELECT is wanted", words[0].span if words else (0, 1), "Begin with select, or with WITH")
    for word in words:
        if word.low in _WRITING:
            raise Mistake(
                f"{word.text} is not possible here: the statement only reads", word.span, f'A column is quoted: "{word.text}"'
            )
        if word.low in _STRAY:
            raise Mistake(f"{word.text} is not possible here", word.span)
    own = set(_own_names(words))
    for before, word, after in zip([None, *words], words, [*words[1:], None], strict=False):
        _check_call(before, word, after, own)
    named = list(_tables(words))
    for word in named:
        if not word.is_name or word.name not in {*ENTITIES, *own}:
            what = f"there is no canonical table {word.name!r}" if word.is_name else f"{word.text} is no table"
            raise Mistake(what, word.span, near_miss(word.name, [*ENTITIES, *own], what="Tables"))
    tables = tuple(sorted({word.name for word in named if word.name in ENTITIES}))
    if not tables:
        raise Mistake("the statement reads no canonical table", (0, 6), f"Tables are {', '.join(ENTITIES)}")
    return tables


def select_entity(sql: str, name: str, kinds: Mapping[str, Kind]) -> Subquery:
    """A checked SELECT as an entity with the declared columns.

    It sees living rows only: deleted ones, merged ones and tests are left out of each table before it begins.

    Raises:
        Mistake: see :func:`check_select`.
    """
    tables = [ENTITIES[table] for table in check_select(sql)]
    escaped = sql.replace("\\", "\\\\").replace(":", "\\:")
    rows = text(f"{escaped}\n").columns(*(column(key, _TYPES[kind]) for key, kind in kinds.items())).subquery(f"{name}_rows")
    seen = select(*rows.c)
    for table in tables:
        alive = select(*table.c).where(*counts(table)).cte(table.name, nesting=True)
        seen = seen.add_cte(alive, nest_here=True)
    return seen.subquery(name)


def _words(sql: str) -> list[_Word]:
    if len(sql) > MAX_LENGTH:
        raise Mistake(f"the statement has {len(sql):,} characters; {MAX_LENGTH:,} are allowed", (MAX_LENGTH, MAX_LENGTH + 1))
    if strange := _CONTROL.search(sql):
        raise Mistake("there is a control character", strange.span(), "Write it anew")
    for sign in UNSPEAKABLE:
        if sign in sql:
            start = sql.index(sign)
            raise Mistake(f"{sign} has a meaning of its own", (start, start + len(sign)), "Put a blank between")
    found: list[_Word] = []
    place = 0
    while place < len(sql):
        match = _TOKEN.match(sql, place)
        if match is None or (sql.startswith("/*", place) and match.lastgroup != "blank"):
            raise Mistake(f"{sql[place]!r} cannot stand here", (place, place + 1), _WHY.get(sql[place]))
        if match.lastgroup != "blank":
            kind = str(match.lastgroup)
            if kind == "word" and found and found[-1].low in (".", "as"):
                kind = "label"  # no keyword, whatever it is called
            found.append(_Word(kind, match.group(), match.start(), match.end()))
        place = match.end()
    for before, word in pairwise(found):
        if before.end == word.start and before.kind in ("word", "label", "number") and word.kind in ("text", "word", "number"):
            what = f"{before.text}{word.text[:8]} is no plain text or number"
            raise Mistake(what, (before.start, word.end), "Texts have no prefix")
    return found


def _check_call(before: _Word | None, word: _Word, after: _Word | None, own: Collection[str]) -> None:
    """Refuse a function that is not known."""
    if after is None or after.low != "(" or not word.is_name:
        return
    is_column_list = word.name in own and (before is None or before.low in ("with", ","))
    if is_column_list or (word.kind == "word" and word.name in _BEFORE_PARENTHESES):
        return
    if word.kind == "quoted" or word.name not in _FUNCTIONS or (before is not None and before.low == "."):
        near = near_miss(word.name, _FUNCTIONS)
        hint = near if near.startswith("Did") else "Plain functions of values are possible, nothing that reads files or settings"
        raise Mistake(f"there is no function {word.name!r} here", word.span, hint)


def _own_names(words: Sequence[_Word]) -> Iterator[str]:
    """Names that the statement gives to its parts before it begins: ``with x as (`` and ``, y (a, b) as (``."""
    depth = 0
    for place, word in enumerate(words):
        depth += (word.low == "(") - (word.low == ")")
        if depth == 0 and word.low == "select":
            return
        if depth == 0 and place and word.is_name and words[place - 1].low in ("with", ","):
            if word.name in ENTITIES:
                raise Mistake(f"{word.name} is a canonical table: give this part another name", word.span)
            yield word.name


@dataclass
class _Level:
    """What is known inside one pair of parentheses: whether tables are listed, and whether one is expected next."""

    is_function: bool = False
    in_from: bool = False
    wants_table: bool = False


def _tables(words: Sequence[_Word]) -> Iterator[_Word]:
    """The words that stand where a table is read."""
    levels = [_Level()]
    for place, word in enumerate(words):
        level, before = levels[-1], words[place - 1].low if place else ""
        if word.low == "(":
            is_list = level.wants_table
            level.wants_table = False
            levels.append(_Level(before in _FROM_INSIDE, in_from=is_list, wants_table=is_list))
            continue
        if word.low == ")":
            if len(levels) == 1:
                raise Mistake("there is no ( for it", word.span)
            levels.pop()
            continue
        if level.wants_table and word.low not in ("select", "with", "values"):
            level.wants_table = False
            yield word
            _refuse_path(words, place)
        elif word.low in ("select", "with", "values"):
            level.wants_table = level.in_from = False
        _step(level, word, before, words[place - 2].low if place > 1 else "")
    if len(levels) > 1:
        raise Mistake("a parenthesis is not closed", words[-1].span)


def _step(level: _Level, word: _Word, before: str, earlier: str) -> None:
    is_operator = before == "distinct" and earlier in ("is", "not")
    if word.low == "from" and not level.is_function and not is_operator:
        level.in_from = level.wants_table = True
    elif word.low == "join" or (word.low == "," and level.in_from):
        level.wants_table = True
    elif word.low in _ENDS_FROM:
        level.in_from = level.wants_table = False


def _refuse_path(words: Sequence[_Word], place: int) -> None:
    """A table has one name: what has a schema or a parenthesis after it is something else."""
    after = words[place + 1] if place + 1 < len(words) else None
    if after is not None and after.low in (".", "("):
        raise Mistake(
            f"{words[place].text}{after.text} is no canonical table", (words[place].start, after.end), "Write its name alone"
        )
