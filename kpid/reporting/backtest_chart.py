"""The picture of a backtest: a row per series and a column per period, and what each guard saves as bars. Pure: an SVG text.

States differ by shape as well as by colour: a picture printed in grey says the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 900
MOST_ROWS = 40
"""So many series are shown: those that fire longest."""
_LEFT, _ROW, _TOP, _BAR, _FONT = 150, 14, 58, 20, 11
_INK, _GREY, _FAINT, _LINE = "#1d2733", "#6b7480", "#eef1f4", "#c9d0d8"
_FILLS = {
    "ok": _FAINT,
    "pending": "#f2dfb3",
    "warn": "#e0a526",
    "critical": "#b42318",
    "recovering": "#a9c7b0",
    "insufficient": "#ffffff",
    "no_data": "#ffffff",
    "": "",
}
_WORDS = {
    "ok": "well",
    "pending": "pending",
    "warn": "firing: warn",
    "critical": "firing: critical",
    "recovering": "recovering",
    "insufficient": "not enough to say",
    "no_data": "no figure",
}
_FIRING = ("critical", "warn", "recovering")


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn.

    Attributes:
        title: a line on top.
        labels: of the periods, oldest first.
        rows: the state of each period by series.
        bars: what is sent with some of the guards, and what that is called; the rule as configured first.
        unit: what the bars count.
    """

    title: str
    labels: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    bars: Sequence[tuple[str, int]]
    unit: str = "notices"


def backtest_chart(picture: Picture) -> str:
    """The picture as SVG text, :data:`WIDTH` pixels wide."""
    shown = _shown(picture.rows)
    parts = [
        _text(12, 22, picture.title, size=15, weight=600),
        *_legend({mark for _, marks in shown for mark in marks}),
        *_grid(shown, len(picture.labels)),
    ]
    bottom = _TOP + _ROW * len(shown)
    parts += _feet(picture.labels, bottom + 14)
    hidden = len(picture.rows) - len(shown)
    if hidden > 0:
        bottom += 16
        parts.append(_text(12, bottom + 14, f"and {hidden} more series, which fire less", fill=_GREY))
    parts += _bars(picture, bottom + 44)
    height = bottom + 60 + _BAR * len(picture.bars)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="Inter" font-size="{_FONT}">'
    return f'{head}<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>'


def _shown(rows: Mapping[str, Sequence[str]]) -> list[tuple[str, Sequence[str]]]:
    """The series that fire longest, in the order of their names."""
    worst = sorted(rows, key=lambda name: (-sum(mark in _FIRING for mark in rows[name]), name))[:MOST_ROWS]
    return [(name, rows[name]) for name in sorted(worst)]


def _grid(rows: Sequence[tuple[str, Sequence[str]]], count: int) -> list[str]:
    step = (WIDTH - _LEFT - 16) / max(1, count)
    parts = []
    for place, (name, marks) in enumerate(rows):
        y = _TOP + place * _ROW
        parts.append(_text(_LEFT - 8, y + 10, _short(name), anchor="end"))
        for column, mark in enumerate(marks):
            parts += _cell(_LEFT + column * step, y, step, mark)
    return parts


def _cell(x: float, y: float, step: float, mark: str) -> list[str]:
    """A period: full while it fires at once to be seen, half as high while pending, hollow where nothing can be said."""
    width, height = max(1.0, step - 1.2), _ROW - 2.0
    if not mark:
        return []
    if mark == "no_data":
        return [_box(x + width / 2 - 1, y + height / 2 - 1, 2, 2, fill=_LINE)]
    if mark == "insufficient":
        return [_box(x + 0.5, y + 2.5, max(0.5, width - 1), height - 5, fill="#ffffff", stroke=_LINE)]
    inset = {"ok": 4.0, "pending": 3.0, "recovering": 2.0, "warn": 1.0}.get(mark, 0.0)
    return [_box(x, y + inset, width, height - 2 * inset, fill=_FILLS[mark])]


def _legend(marks: set[str]) -> list[str]:
    parts, x = [], 12.0
    for mark, word in _WORDS.items():
        if mark not in marks:
            continue
        parts += _cell(x, 34, 14, mark)
        parts.append(_text(x + 17, 44, word, fill=_GREY))
        x += 30 + 6.2 * len(word)
    return parts


def _feet(labels: Sequence[str], y: float) -> list[str]:
    """The first and the last label, and a few between them."""
    step = (WIDTH - _LEFT - 16) / max(1, len(labels))
    every = max(1, -(-len(labels) // 8))
    return [
        _text(_LEFT + (place + 0.5) * step, y, labels[place], anchor="middle", fill=_GREY)
        for place in range(0, len(labels), every)
    ]


def _bars(picture: Picture, top: float) -> list[str]:
    most = max((count for _, count in picture.bars), default=0) or 1
    left, room = 250.0, WIDTH - 330.0
    parts = [_text(12, top - 8, picture.unit, weight=600)] if picture.bars else []
    for place, (name, count) in enumerate(picture.bars):
        y = top + place * _BAR
        length = max(1.0, room * count / most)
        fill = "#2f5d8f" if place == 0 else "#b9c6d6"
        more = count - picture.bars[0][1]
        said = str(count) + (f"  ({more:+d})" if place and more else "")
        parts += [
            _text(left - 8, y + 12, name, anchor="end"),
            _box(left, y + 2, length, _BAR - 6, fill=fill),
            _text(left + length + 6, y + 12, said, weight=600 if not place else 400),
        ]
    return parts


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"


def _box(x: float, y: float, width: float, height: float, *, fill: str, stroke: str = "") -> str:
    edge = f' stroke="{stroke}"' if stroke else ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"{edge}/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", fill: str = _INK, weight: int = 400, size: float = _FONT
) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}" font-size="{size}"'
    return f"<text {where}>{escape(text)}</text>"
