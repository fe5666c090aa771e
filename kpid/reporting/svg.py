"""What charts are drawn with: places on a canvas, lines, labels. Pure: texts go in, SVG comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LETTER = 0.58
"""Mean width of a letter of Inter, in ems: enough to keep labels inside the picture."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Where values go on a canvas: ``count`` places from left to right, ``low`` at the bottom, ``high`` at the top."""

    left: float
    right: float
    top: float
    bottom: float
    low: float
    high: float
    count: int

    def x(self, index: float) -> float:
        """Of a place."""
        return self.left if self.count < 2 else self.left + (self.right - self.left) * index / (self.count - 1)

    def y(self, value: float) -> float:
        """Of a value."""
        if self.high == self.low:
            return (self.top + self.bottom) / 2
        return self.bottom - (self.bottom - self.top) * (value - self.low) / (self.high - self.low)


def picture(width: int, height: int, parts: Sequence[str], font: float) -> str:
    """A whole picture of its parts."""
    head = element("svg", xmlns="http://www.w3.org/2000/svg", width=width, height=height, font_family="Inter", font_size=font)
    return head.removesuffix("/>") + ">" + "".join(parts) + "</svg>"


def element(name: str, **attributes: object) -> str:
    """An element; numbers with one digit, ``stroke_width`` for ``stroke-width``."""
    pairs = (
        (key.replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else escape(str(value)))
        for key, value in attributes.items()
    )
    return f"<{name} {' '.join(f'{key}={chr(34)}{text}{chr(34)}' for key, text in pairs)}/>"


def label(
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
    tag = element(
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


def dashes(left: float, right: float, y: float, colour: str, pattern: str) -> str:
    """A level dashed line."""
    return element("line", x1=left, x2=right, y1=y, y2=y, stroke=colour, stroke_width=1, stroke_dasharray=pattern)


def stroke(values: Sequence[float | None], plane: Plane, colour: str, width: float) -> list[str]:
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
            parts.append(element("circle", cx=piece[0][0], cy=piece[0][1], r=width, fill=colour))
        elif piece:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            shape = {"stroke_linejoin": "round", "stroke_linecap": "round"}
            parts.append(element("polyline", points=points, fill="none", stroke=colour, stroke_width=width, **shape))
    return parts


def width_of(text: str, size: float) -> float:
    """About how wide a text is."""
    return len(text) * size * _LETTER
