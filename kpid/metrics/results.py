"""The rows of the scans, sorted so that they can be asked for a measure of a segment and period. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.sql.expression import ClauseElement, FromClause

from kpid.metrics.plan import Ask
from kpid.metrics.statements import Columns, Statement
from kpid.model import Period

Ids = tuple[str | None, ...]
"""Values of the dimensions of a cut, in their order."""


class Cell(NamedTuple):
    """What a scan says of one measure for one segment and period; see :class:`~kpid.metrics.statements.Columns`."""

    value: Any = None
    n: int = 0
    rows: int = 0
    missing: int = 0
    unknown: int = 0
    spread: Any = None


NOTHING = Cell()


@dataclass
class Answers:
    """The result of one scan, to be asked for ``(kind, dimensions, period)``."""

    columns: Sequence[Columns]
    names: Sequence[str]
    rows: dict[tuple[str, tuple[str, ...], Period], dict[Ids, tuple[Any, ...]]] = field(default_factory=dict)
    _places: list[tuple[int | None, ...]] = field(default_factory=list)

    def segments(self, by: tuple[str, ...], period: Period) -> dict[Ids, tuple[Any, ...]]:
        """The segments of a cut that have rows in a period."""
        return self.rows.get((period.kind, by, period), {})

    def values_of(self, dimension: str) -> set[str | None]:
        """All values of a dimension."""
        return {ids[cut.index(dimension)] for (_, cut, _), rows in self.rows.items() if dimension in cut for ids in rows}

    def cell(self, row: tuple[Any, ...] | None, measure: int) -> Cell:
        """One measure of a row."""
        if row is None:
            return NOTHING
        if not self._places:
            self._places.extend(self._place(columns) for columns in self.columns)
        return Cell._make([0 if place is None else row[place] for place in self._places[measure]])

    def _place(self, c: Columns) -> tuple[int | None, ...]:
        place = {name: index for index, name in enumerate(self.names)}
        return tuple(None if name is None else place[name] for name in (c.value, c.n, c.rows, c.missing, c.unknown, c.spread))


def read_answers(statement: Statement, names: Sequence[str], rows: Sequence[tuple[Any, ...]], *, is_now: bool) -> Answers:
    """Sort the rows of a scan by cut, period and segment.

    Args:
        statement: the scan's statement.
        names: column names of the result.
        rows: its rows.
        is_now: whether the rows speak of this moment, whatever the period.
    """
    answers = Answers(statement.measures, names)
    place = {name: index for index, name in enumerate(names)}
    number_of = {kind: place.get("p", place.get(f"p{index}", 0)) for index, kind in enumerate(statement.kinds)}
    for row in rows:
        kind, cut = statement.groups[row[place["g"]]]
        number = row[number_of.get(kind, place.get("p", 0))]
        if number is None:
            continue
        ids = tuple(row[place[f"d{statement.dimensions.index(name)}"]] for name in cut)
        for period in statement.numbered if is_now else (statement.numbered[number],):
            answers.rows.setdefault((period.kind, cut, period), {})[ids] = row
    return answers


def entities_of(ask: Ask) -> tuple[str, ...]:
    """Names of the canonical tables that an ask's measures read."""
    names = {name for measure in ask.definition.measures.values() for name in tables_of(measure.entity)}
    return tuple(sorted(names))


@lru_cache(maxsize=4_096)
def tables_of(entity: FromClause) -> tuple[str, ...]:
    """Names of the canonical tables below an entity."""
    names, seen, waiting = set[str](), set[int](), list[ClauseElement]([entity])
    while waiting:  # not SQLAlchemy's iterate(): that walks a part anew for everything that uses it
        element = waiting.pop()
        if isinstance(element, Table):
            names.add(element.name)
        elif id(element) not in seen:
            seen.add(id(element))
            waiting += element.get_children()
    return tuple(sorted(names))
