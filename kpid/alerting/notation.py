"""The terse notation of series in rule tests: ``0.31 0.24x2 _ ! ? ~``. Pure.

======  =================================================================
token   meaning
======  =================================================================
0.31    a figure; ``35%`` and ``1_000`` are figures, too, and ``4h`` is one where a KPI is a length of time
_       nothing to make a figure of (a rate without cases): no data
!       the figure could not be computed: an error
?       the source had not delivered: stale
~       the series is missing: it is not reported at all
``x4``  behind any of them: so many periods in a row (``0.1x5``, ``~x2``)
======  =================================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from kpid.analysis.durations import duration_from_text, number_from_text

MOST_PERIODS = 5_000
"""So many periods a test has at most: a slip of the finger is not to fill the memory."""
_TOKEN = re.compile(r"(?P<what>[_!?~]|[-+0-9._]+[%smhdw]?)(x(?P<times>[0-9]{1,6}))?")
_SECONDS = {"seconds": 1, "days": 86_400}
"""Units of time, in seconds."""


class CellKind(StrEnum):
    """What stands in one period of a series."""

    FIGURE = "figure"
    NO_DATA = "_"
    ERROR = "!"
    STALE = "?"
    MISSING = "~"


@dataclass(frozen=True, slots=True)
class Cell:
    """One period of a series. ``number`` is None unless it is a figure."""

    kind: CellKind
    number: Decimal | None = None


def parse(text: object, unit: str = "", *, marks: bool = True) -> list[Cell]:
    """Read a series.

    Args:
        text: as written; a single number as YAML gives it is one, too.
        unit: of the KPI: of seconds and days lengths of time are figures, too.
        marks: whether ``_ ! ? ~`` may stand in it; else it is numbers only.

    Raises:
        ValueError: it cannot be read; the message says which token and what to write.
    """
    cells: list[Cell] = []
    for token in str(text).split():
        cells.extend(_cells(token, unit, marks=marks))
        if len(cells) > MOST_PERIODS:
            raise ValueError(f"it has more than {MOST_PERIODS:,} periods")
    if not cells:
        raise ValueError("it is empty: write a figure per period, such as 0.31 0.24x2 _")
    return cells


def numbers(text: object, unit: str = "") -> list[Decimal]:
    """Read a column of numbers, such as sample sizes.

    Raises:
        ValueError: it cannot be read.
    """
    return [cell.number for cell in parse(text, unit, marks=False) if cell.number is not None]


def at(column: Sequence[Decimal], place: int) -> Decimal:
    """The number of a period; the last one goes on for ever."""
    return column[min(place, len(column) - 1)]


def _cells(token: str, unit: str, *, marks: bool) -> list[Cell]:
    found = _TOKEN.fullmatch(token)
    if found is None:
        known = "a number, _ (no data), ! (error), ? (stale), ~ (missing), each with x3 behind it for three of them"
        raise ValueError(f"{token!r} is not known here: write {known if marks else 'numbers, such as 400x4 3'}")
    times = int(found["times"] or 1)
    if not 0 < times <= MOST_PERIODS:
        raise ValueError(f"{token!r}: write how often as a number from 1 to {MOST_PERIODS}")
    what = found["what"]
    if what in set("_!?~"):
        if not marks:
            raise ValueError(f"{what!r} can stand in value: only; here are numbers")
        return [Cell(CellKind(what))] * times
    return [Cell(CellKind.FIGURE, _number(what, unit))] * times


def _number(what: str, unit: str) -> Decimal:
    if what[-1] not in "smhdw":
        return number_from_text(what)
    if unit not in _SECONDS:
        raise ValueError(f"{what!r} is a length of time, and the KPI is none: write a number")
    return Decimal(int(duration_from_text(what).total_seconds())) / _SECONDS[unit]
