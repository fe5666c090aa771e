"""A small SVG kit: line with target, sparkline. Pure: labels come in as text, an SVG comes out.

Grammar: one blue line, a dashed grey target labelled in place, the run that missed it shaded with its length in words, the last
value large at the line's end, the best value labelled instead of an axis, four period labels; no grid, no legend. Charts
with text stand on white paper, so that they read the same in dark mail programs; sparklines are transparent with mid tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

BLUE, GREY, INK = "#2f5d8f", "#6b7480", "#1d2733"
SPARK_BLUE, SPARK_GREY = "#5b84ad", "#8a939d"
TONES = {"off": "#b42318", "watch": "#9a6700"}
_SHADES = {"off": "#faeeed", "watch": "#faf4e9"}
_SPARK_TONES = {"off": "#dc4a3d", "watch": "#b27a00"}
_LETTER = 0.58
"""Mean width of a letter of Inter, in ems: enough to keep labels inside the picture."""


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


@dataclass(frozen=True, slots=True)
class _Plane:
    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    count: int

    def x(self, index: float) -> float:
        return self.left if self.count < 2 else self.left + (self.right - self.left) * index / (self.count - 1)

    def y(self, value: float) -> float:
        if self.high == self.low:
            return (self.top + self.bottom) / 2
        return self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)


def line_chart(line: Line, size: Size) -> str:
    """A line chart as SVG text of ``size.width`` x ``size.height``."""
    end_size = size.label * 1.32
    plane = _plane(line, size, end_size)
    parts = [
        _tag("rect", width=size.width, height=size.height, fill="#ffffff"),
        *_shade(line, plane, size),
        *_target(line, plane, size),
        *_path(line.values, plane, BLUE, 2.2),
        *_best(line, plane, size),
        *_dots(line, plane),
        *_feet(line, plane, size),
        *_end(line, plane, end_size),
    ]
    return _svg(size.width, size.height, parts, size.label)


def sparkline(
    values: Sequence[float | None], target: float | None = None, status: str = "on", *, width: int = 116, height: int = 34
) -> str:
    """A tiny line without text on a transparent ground, as SVG text."""
    known = [value for value in (*values, target) if value is not None]
    plane = _Plane(4, width - 6, 5, height - 5, min(known, default=0.0), max(known, default=1.0), len(values))
    parts = []
    if target is not None:
        parts.append(_dashes(1, width - 1, plane.y(target), SPARK_GREY, "3 2.5"))
    parts.extend(_path(values, plane, SPARK_BLUE, 1.5))
    if values and values[-1] is not None:
        tone = _SPARK_TONES.get(status, SPARK_BLUE)
        parts.append(_tag("circle", cx=plane.x(len(values) - 1), cy=plane.y(values[-1]), r=3.2, fill=tone))
    return _svg(width, height, parts, 10)


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
def _plane(line: Line, size: Size, end_size: float) -> _Plane:
    known = [value for value in (*line.values, line.target) if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    pad = (high - low) * 0.08
    room = max(_width(line.end_text, end_size) * 1.08 + 18, 20)
    head = size.label * (3.1 if line.run_text and line.best_text else 1.9)
    return _Plane(18, size.width - room, head, size.height - size.label * 2.9, low - pad, high + pad, len(line.values))


def _width(text: str, size: float) -> float:
    return len(text) * size * _LETTER


def _svg(width: int, height: int, parts: Sequence[str], font: float) -> str:
    head = _tag("svg", xmlns="http://www.w3.org/2000/svg", width=width, height=height, font_family="Inter", font_size=font)
    return head.removesuffix("/>") + ">" + "".join(parts) + "</svg>"


def _tag(name: str, **attributes: object) -> str:
    """An element; numbers with one digit, ``stroke_width`` for ``stroke-width``."""
    pairs = (
        (key.replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else escape(str(value)))
        for key, value in attributes.items()
    )
    return f"<{name} {' '.join(f'{key}={chr(34)}{text}{chr(34)}' for key, text in pairs)}/>"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    fill: str,
    anchor: str = "start",
    weight: int = 400,
    size: float | None = None,
    halo: float = 0.8,
) -> str:
    """A label with a white halo, so that a line behind it does not make it unreadable."""
    tag = _tag(
        "text",
        x=x,
        y=y,
        fill=fill,
        text_anchor=anchor,
        font_weight=weight,
        stroke="#ffffff",
        stroke_width=3,
        stroke_opacity=halo,
        paint_order="stroke",
        stroke_linejoin="round",
        **({"font_size": size} if size else {}),
    )
    return f"{tag.removesuffix('/>')}>{escape(text)}</text>"


def _dashes(left: float, right: float, y: float, stroke: str, dashes: str) -> str:
    return _tag("line", x1=left, x2=right, y1=y, y2=y, stroke=stroke, stroke_width=1, stroke_dasharray=dashes)


def _shade(line: Line, plane: _Plane, size: Size) -> list[str]:
    if not line.run or line.status not in TONES:
        return []
    first = len(line.values) - line.run
    step = plane.x(1) - plane.x(0) if plane.count > 1 else 20
    left, right = max(plane.left - 6, plane.x(first) - step / 2), plane.right + 7
    height = size.height - size.label * 1.9
    parts = [_tag("rect", x=left, y=0, width=right - left, height=height, fill=_SHADES[line.status])]
    if line.run_text:
        end = max(right - 4, _width(line.run_text, size.label) + 4)
        parts.append(_text(end, size.label * 1.15, line.run_text, fill=TONES[line.status], anchor="end", weight=600, halo=0.0))
    return parts


def _target(line: Line, plane: _Plane, size: Size) -> list[str]:
    if line.target is None:
        return []
    y, width = plane.y(line.target), _width(line.target_text, size.label)
    starts = [8.0, *(plane.x(index) for index in range(1, max(2, plane.count - 2)) if plane.x(index) + width < plane.right)]
    places = [(x, base) for x in starts for base in (y + size.label * 1.2, y - size.label * 0.5)]
    left, base = min(places, key=lambda place: _crossings(line, plane, place, size.label, width))
    return [_dashes(8, plane.right + 7, y, GREY, "4 3"), _text(left, base, line.target_text, fill=GREY)]


def _crossings(line: Line, plane: _Plane, place: tuple[float, float], font: float, width: float) -> int:
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


def _path(values: Sequence[float | None], plane: _Plane, stroke: str, width: float) -> list[str]:
    """The line, broken where a value is missing; a value between two gaps is a dot."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((plane.x(index), plane.y(value)))
    parts = []
    for piece in pieces:
        if len(piece) == 1:
            parts.append(_tag("circle", cx=piece[0][0], cy=piece[0][1], r=width, fill=stroke))
        elif piece:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            shape = {"stroke_linejoin": "round", "stroke_linecap": "round"}
            parts.append(_tag("polyline", points=points, fill="none", stroke=stroke, stroke_width=width, **shape))
    return parts


def _best(line: Line, plane: _Plane, size: Size) -> list[str]:
    if line.best_index is None or not line.best_text:
        return []
    value = line.values[line.best_index]
    if value is None:
        return []
    x, y = plane.x(line.best_index), plane.y(value)
    half = _width(line.best_text, size.label) / 2
    x = min(max(x, half + 6), size.width - half - 6)
    high = value >= max(v for v in line.values if v is not None)
    label = y - size.label * 0.6 if high else y + size.label * 1.3
    return [_text(x, label, line.best_text, fill=GREY, anchor="middle")]


def _dots(line: Line, plane: _Plane) -> list[str]:
    tone = TONES.get(line.status, BLUE)
    count = len(line.values)
    parts = []
    for index in range(max(0, count - max(1, line.run)), count):
        value = line.values[index]
        if value is not None:
            radius = 4.6 if index == count - 1 else 3.6
            at = {"cx": plane.x(index), "cy": plane.y(value)}
            parts.append(_tag("circle", **at, r=radius, fill=tone, stroke="#ffffff", stroke_width=1.4))
    return parts


def _feet(line: Line, plane: _Plane, size: Size) -> list[str]:
    """Up to four period labels, counted back from the last, which is bold."""
    last = len(line.labels) - 1
    if last < 0:
        return []
    step = max(1, round(last / 3))
    y = size.height - size.label * 0.5
    parts = [_text(plane.x(last), y, line.labels[last], fill=INK, anchor="middle", weight=600)]
    for index in range(last - step, -1, -step):
        x = max(plane.x(index), _width(line.labels[index], size.label) / 2 + 2)
        parts.append(_text(x, y, line.labels[index], fill=GREY, anchor="middle"))
    return parts


def _end(line: Line, plane: _Plane, size: float) -> list[str]:
    if not line.values or line.values[-1] is None:
        return []
    x, y = plane.x(len(line.values) - 1) + 10, plane.y(line.values[-1]) + size * 0.35
    return [_text(x, y, line.end_text, fill=TONES.get(line.status, INK), weight=700, size=size)]
