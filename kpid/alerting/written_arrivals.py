"""The series of a test of a rule on absence: what came in each hour, and what did not. Pure.

``came: 1x3 _x4 1``: ``1`` it came, ``_`` nothing came, ``!`` it was asked for (a report was due) and failed, ``~`` it is not
configured. What comes in an hour comes at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from kpid.alerting.notation import Cell, CellKind, parse
from kpid.analysis.durations import duration_from_text
from kpid.config.alerting import Rule
from kpid.config.problems import near_miss
from kpid.model import Dims, Segment

_ALL = "all"


@dataclass(frozen=True, slots=True)
class WrittenArrivals:
    """One source or report of a test: how often it is expected, and what came in each hour; the last one goes on."""

    dimension: str
    name: str
    every: timedelta
    cells: tuple[Cell, ...]

    @property
    def dims(self) -> Dims:
        """The series that it is."""
        return (Segment(self.dimension, self.name, self.name),)

    def cell(self, place: int) -> CellKind:
        """What was in an hour, by its place from 0."""
        return self.cells[min(place, len(self.cells) - 1)].kind


def arrivals_from(given: Mapping[str, Any], rule: Rule, expected: Mapping[str, timedelta]) -> WrittenArrivals:
    """Read one series.

    Args:
        given: ``{source: crm, every: 1h, came: 1x3 _x4}``.
        rule: on absence.
        expected: how often the configuration expects each.

    Raises:
        ValueError: something of it cannot be read.
    """
    about = rule.absence
    said = () if about is None else about.source or about.report
    dimension = "source" if about is not None and about.source else "report"
    known = (dimension, "every", "came")
    strange = sorted(set(map(str, given)) - set(known))
    if strange:
        hint = near_miss(strange[0], known, what="A series of a rule on absence has")
        raise ValueError(f"unknown key {strange[0]!r}: {hint}")
    missing = [key for key in (dimension, "came") if key not in given]
    if missing:
        raise ValueError(f"{missing[0]}: is missing: write {{{dimension}: crm, every: 1h, came: 1x3 _x4}}")
    name = str(given[dimension])
    if _ALL not in said and name not in said:
        raise ValueError(f"{dimension}: the rule does not look at {name}: {near_miss(name, said, what='It looks at')}")
    return WrittenArrivals(dimension, name, _every(given, f"{dimension}:{name}", expected), _cells(given["came"]))


def _every(given: Mapping[str, Any], key: str, expected: Mapping[str, timedelta]) -> timedelta:
    if "every" not in given:
        if key not in expected:
            raise ValueError("every: is missing: write how often it is expected, such as every: 1h")
        return expected[key]
    every = duration_from_text(str(given["every"]))
    if not every:
        raise ValueError("every: must be longer than nothing")
    return every


def _cells(text: object) -> tuple[Cell, ...]:
    try:
        cells = parse(text)
    except ValueError as error:
        raise ValueError(f"came: {error}") from None
    if any(cell.kind is CellKind.STALE or (cell.number is not None and cell.number != 1) for cell in cells):
        raise ValueError("came: write 1 (it came), _ (nothing came), ! (it failed), ~ (not configured), each with x3 behind it")
    return tuple(cells)
