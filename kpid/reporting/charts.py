"""A small SVG kit: line with target, sparkline. Pure: labels come in as text, an SVG comes out.

Grammar: one blue line, a dashed grey target labelled in place, the run that missed it shaded with its length in words, the last
value large at the line's end, the best value labelled instead of an axis, four period labels; no grid, no legend. Charts
with text stand on white paper, so that they read the same in dark mail programs; sparklines are transparent with mid tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kpid.reporting.svg import Plane, dashes, element, label, picture, stroke, width_of

BLUE, GREY, INK = "#2f5d8f", "#6b7480", "#1d2733"
SPARK_BLUE, SPARK_GREY = "#5b84ad", "#8a939d"
TONES = {"off": "#b42318", "watch": "#9a6700"}
_SHADES = {"off": "#faeeed", "watch": "#faf4e9"}
_SPARK_TONES = {"off": "#dc4a3d", "watch": "#b27a00"}


@dataclass(frozen=True, slots=True)
class Line:
    """What a line chart shows.

    Args:
        labels: period labels, oldest first.
        values: one per label; None leaves a gap.
        target: where the dashed line goes; None for none.
        status: ``off``, ``watch`` or anything else: the tone of the missed run.
        run: how many periods at the end missed the target.
        end_text, target_text, run_text, best_text: what is written at the end, on the target
            line, over the run, at the best value.
        best_index: which value is the best; None for none.
    """

    labels: Sequence[str]
    values: Sequence[float | None]
    target: float | None = None
    status: str = "on"
    run: int = 0
    end_text: str = ""
    target_text: str = ""
    run_text: str = ""
    best_text: str = ""
    best_index: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """A canvas in CSS pixels, and the size of its small labels. ``shown`` is the width it is shown at on a desk."""

    width: int
    height: int
    shown: int
    label: float


BIG = Size(430, 158, 552, 12.5)
HALF = Size(264, 128, 264, 11.5)


def line_chart(line: Line, size: Size) -> str:
    """A line chart as SVG text of ``size.width`` x ``size.height``."""
    end_size = size.label * 1.32
    plane = _plane(line, size, end_size)
    parts = [
        element("rect", width=size.width, height=size.height, fill="#ffffff"),
        *_shade(line, plane, size),
        *_target(line, plane, size),
        *stroke(line.values, plane, BLUE, 2.2),
        *_best(line, plane, size),
        *_dots(line, plane),
        *_feet(line, plane, size),
        *_end(line, plane, end_size),
    ]
    return picture(size.width, size.height, parts, size.label)


def sparkline(
    values: Sequence[float | None], target: float | None = None, status: str = "on", *, width: int = 116, height: int = 34
) -> str:
    """A tiny line without text on a transparent ground, as SVG text."""
    known = [value for value in (*values, target) if value is not None]
    plane = Plane(4, width - 6, 5, height - 5, min(known, default=0.0), max(known, default=1.0), len(values))
    parts = []
    if target is not None:
        parts.append(dashes(1, width - 1, plane.y(target), SPARK_GREY, "3 2.5"))
    parts.extend(stroke(values, plane, SPARK_BLUE, 1.5))
    if values and values[-1] is not None:
        tone = _SPARK_TONES.get(status, SPARK_BLUE)
        parts.append(element("circle", cx=plane.x(len(values) - 1), cy=plane.y(values[-1]), r=3.2, fill=tone))
    return picture(width, height, parts, 10)


def trend_word(values: Sequence[float | None]) -> str:
    """One word for what a sparkline shows: the text in place of the picture."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "too short for a trend"
    third = max(1, len(known) // 3)
    first, last = sum(known[:third]) / third, sum(known[-third:]) / third
    spread = max(known) - min(known)
    if not spread or abs(last - first) < spread / 5:
        return "steady"
    return "rising" if last > first else "falling"


# ---- parts
def _plane(line: Line, size: Size, end_size: float) -> Plane:
    known = [value for value in (*line.values, line.target) if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    pad = (high - low) * 0.08
    room = max(width_of(line.end_text, end_size) * 1.08 + 18, 20)
    head = size.label * (3.1 if line.run_text and line.best_text else 1.9)
    return Plane(18, size.width - room, head, size.height - size.label * 2.9, low - pad, high + pad, len(line.values))


def _shade(line: Line, plane: Plane, size: Size) -> list[str]:
    if not line.run or line.status not in TONES:
        return []
    first = len(line.values) - line.run
    step = plane.x(1) - plane.x(0) if plane.count > 1 else 20
    left, right = max(plane.left - 6, plane.x(first) - step / 2), plane.right + 7
    height = size.height - size.label * 1.9
    parts = [element("rect", x=left, y=0, width=right - left, height=height, fill=_SHADES[line.status])]
    if line.run_text:
        end = max(right - 4, width_of(line.run_text, size.label) + 4)
        parts.append(label(end, size.label * 1.15, line.run_text, fill=TONES[line.status], anchor="end", weight=600, halo=0.0))
    return parts


def _target(line: Line, plane: Plane, size: Size) -> list[str]:
    if line.target is None:
        return []
    y, width = plane.y(line.target), width_of(line.target_text, size.label)
    starts = [8.0, *(plane.x(index) for index in range(1, max(2, plane.count - 2)) if plane.x(index) + width < plane.right)]
    places = [(x, base) for x in starts for base in (y + size.label * 1.2, y - size.label * 0.5)]
    left, base = min(places, key=lambda place: _crossings(line, plane, place, size.label, width))
    return [dashes(8, plane.right + 7, y, GREY, "4 3"), label(left, base, line.target_text, fill=GREY)]


def _crossings(line: Line, plane: Plane, place: tuple[float, float], font: float, width: float) -> int:
    """How much of the data line runs through a label that would begin at ``place``."""
    (left, base), step = place, (plane.right - plane.left) / max(1, plane.count - 1)
    hits = 99 if base > plane.bottom + font else 0
    for index, (first, second) in enumerate(zip(line.values, line.values[1:], strict=False)):
        if first is None or second is None:
            continue
        for part in range(6):
            x, y = plane.x(index) + step * part / 6, plane.y(first + (second - first) * part / 6)
            hits += left - 3 < x < left + width + 3 and base - font < y < base + font * 0.35
    return hits


def _best(line: Line, plane: Plane, size: Size) -> list[str]:
    if line.best_index is None or not line.best_text:
        return []
    value = line.values[line.best_index]
    if value is None:
        return []
    x, y = plane.x(line.best_index), plane.y(value)
    half = width_of(line.best_text, size.label) / 2
    x = min(max(x, half + 6), size.width - half - 6)
    high = value >= max(v for v in line.values if v is not None)
    base = y - size.label * 0.6 if high else y + size.label * 1.3
    return [label(x, base, line.best_text, fill=GREY, anchor="middle")]


def _dots(line: Line, plane: Plane) -> list[str]:
    tone = TONES.get(line.status, BLUE)
    count = len(line.values)
    parts = []
    for index in range(max(0, count - max(1, line.run)), count):
        value = line.values[index]
        if value is not None:
            radius = 4.6 if index == count - 1 else 3.6
            at = {"cx": plane.x(index), "cy": plane.y(value)}
            parts.append(element("circle", **at, r=radius, fill=tone, stroke="#ffffff", stroke_width=1.4))
    return parts


def _feet(line: Line, plane: Plane, size: Size) -> list[str]:
    """Up to four period labels, counted back from the last, which is bold."""
    last = len(line.labels) - 1
    if last < 0:
        return []
    step = max(1, round(last / 3))
    y = size.height - size.label * 0.5
    parts = [label(plane.x(last), y, line.labels[last], fill=INK, anchor="middle", weight=600)]
    for index in range(last - step, -1, -step):
        x = max(plane.x(index), width_of(line.labels[index], size.label) / 2 + 2)
        parts.append(label(x, y, line.labels[index], fill=GREY, anchor="middle"))
    return parts


def _end(line: Line, plane: Plane, size: float) -> list[str]:
    if not line.values or line.values[-1] is None:
        return []
    x, y = plane.x(len(line.values) - 1) + 10, plane.y(line.values[-1]) + size * 0.35
    return [label(x, y, line.end_text, fill=TONES.get(line.status, INK), weight=700, size=size)]
