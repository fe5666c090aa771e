"""Small multiples: many series as a grid of small lines, each with its name and newest value. Pure: an SVG comes out.

Two columns, so that the names can be read on a phone, where the picture is little more than half as wide. Series of a share have
one scale, so that they can be compared; sums of large and small segments each have their own, or the small ones would be flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kpid.reporting.charts import BLUE, GREY, INK, TONES, Line
from kpid.reporting.svg import Plane, dashes, element, label, picture, stroke, width_of

WIDTH = 552
_EDGE, _GAP, _CELL, _NOTE, _FOOT = 8, 26, 82, 15, 20
_NAME, _VALUE, _SMALL = 15.5, 15.5, 12.5
_TOP, _BOTTOM = 30, 10
_DOT = 6


@dataclass(frozen=True, slots=True)
class Cell:
    """One series: what it is called, its line, its first and last period, and a line in small letters below its name."""

    name: str
    line: Line
    span: tuple[str, str] = ("", "")
    note: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """What a picture of several series shows.

    Attributes:
        cells: row by row.
        one_scale: all have the same scale.
        total: how many series there are; those that are not drawn are counted below.
    """

    cells: Sequence[Cell]
    one_scale: bool = False
    total: int = 0

    @property
    def scope(self) -> str:
        """What is drawn: ``20 series``, ``the 6 worst of 1,000 series``."""
        count = len(self.cells)
        return f"{count} series" if self.left <= 0 else f"the {count} worst of {self.total:,} series"

    @property
    def left(self) -> int:
        """How many series are not drawn."""
        return max(0, self.total - len(self.cells))

    @property
    def height(self) -> int:
        """Of the picture, in CSS pixels."""
        rows = (len(self.cells) + 1) // 2
        return _EDGE + rows * self.step + _FOOT + (_FOOT if self.left else 0)

    @property
    def step(self) -> int:
        """From one row to the next, in CSS pixels."""
        return _CELL + (_NOTE if any(cell.note for cell in self.cells) else 0)


def grid_chart(grid: Grid) -> str:
    """The grid as SVG text of :data:`WIDTH` x ``grid.height``."""
    ends = [_range(cell.line) for cell in grid.cells]
    if grid.one_scale:
        ends = [(min(low for low, _ in ends), max(high for _, high in ends))] * len(ends)
    parts = [element("rect", width=WIDTH, height=grid.height, fill="#ffffff")]
    wide, head = (WIDTH - _GAP - 2 * _EDGE) / 2, _TOP + grid.step - _CELL
    for number, (cell, (low, high)) in enumerate(zip(grid.cells, ends, strict=True)):
        left, top = _EDGE + (number % 2) * (wide + _GAP), _EDGE + (number // 2) * grid.step
        bottom = top + grid.step - _BOTTOM
        parts += _cell(cell, Plane(left, left + wide - _DOT, top + head, bottom, low, high, len(cell.line.values)), top)
    base = _EDGE + ((len(grid.cells) + 1) // 2) * grid.step + _SMALL - 2
    parts += _feet(grid.cells, wide, base)
    if grid.left:
        rest = f"{grid.scope[:1].upper()}{grid.scope[1:]}; {grid.left:,} more are not drawn"
        parts.append(label(_EDGE, base + _FOOT, rest, fill=GREY, size=_SMALL))
    return picture(WIDTH, grid.height, parts, _SMALL)


def _range(line: Line) -> tuple[float, float]:
    known = [value for value in (*line.values, line.target) if value is not None]
    return min(known, default=0.0), max(known, default=1.0)


def _cell(cell: Cell, plane: Plane, top: float) -> list[str]:
    line, base, right = cell.line, top + _NAME, plane.right + _DOT
    room = right - plane.left - width_of(line.end_text, _VALUE) * 1.1 - 10
    tone = TONES.get(line.status, INK)
    parts = [
        label(plane.left, base, _short(cell.name, room), fill=INK, weight=600, size=_NAME),
        label(right, base, line.end_text, fill=tone, anchor="end", weight=700, size=_VALUE),
    ]
    if cell.note:
        parts.append(label(plane.left, base + _NOTE, _short(cell.note, right - plane.left), fill=GREY, size=_SMALL))
    if line.target is not None:
        parts.append(dashes(plane.left, plane.right, plane.y(line.target), GREY, "4 3"))
    parts += stroke(line.values, plane, BLUE, 1.8)
    if line.values and line.values[-1] is not None:
        at = {"cx": plane.x(len(line.values) - 1), "cy": plane.y(line.values[-1])}
        parts.append(element("circle", **at, r=3.6, fill=TONES.get(line.status, BLUE), stroke="#ffffff", stroke_width=1.2))
    return parts


def _short(name: str, room: float) -> str:
    """As much of a name as there is room for."""
    if width_of(name, _NAME) * 1.05 <= room:
        return name
    letters = max(1, int(room / (width_of("x", _NAME) * 1.05)) - 1)
    return f"{name[:letters].rstrip()}\u2026"


def _feet(cells: Sequence[Cell], wide: float, base: float) -> list[str]:
    """First and last period below each column, where all its lines have the same."""
    parts = []
    for column in range(min(2, len(cells))):
        labels = {cell.span for cell in cells[column::2]}
        if len(labels) != 1:
            continue
        first, last = labels.pop()
        left = _EDGE + column * (wide + _GAP)
        parts.append(label(left, base, first, fill=GREY, size=_SMALL))
        parts.append(label(left + wide, base, last, fill=GREY, anchor="end", size=_SMALL))
    return parts
