"""SVG to PNG with the fonts that kpid ships: the same picture on every machine, without a browser.

The rasteriser drops text without a word when its font is missing: ``probe`` renders a word and looks at the pixels, so that
charts without labels are refused at start and not found by readers.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path

import resvg_py

from kpid.errors import KpidError

FONTS = Path(__file__).parent / "fonts"
_FACES = ("Inter-Regular.otf", "Inter-SemiBold.otf", "Inter-Bold.otf")
_PROBE = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="24" font-family="Inter" font-size="16">'
    '<text x="2" y="18" font-weight="{weight}">W46%</text></svg>'
)


def to_png(svg: str, *, scale: float = 2.0, text: bool = True) -> bytes:
    """Rasterise an SVG.

    Args:
        svg: SVG text.
        scale: pixels per CSS pixel.
        text: False for pictures without text, which then need no fonts.

    Raises:
        KpidError: the SVG cannot be rendered.
    """
    try:
        data = resvg_py.svg_to_bytes(
            svg_string=svg,
            skip_system_fonts=True,
            font_files=_font_files() if text else None,
            font_family="Inter",
            zoom=scale,
        )
    except ValueError as error:
        raise KpidError(f"a chart could not be drawn: {error}") from None
    return bytes(data)


def probe() -> None:
    """See that text appears in charts.

    Raises:
        KpidError: the fonts are missing or not usable.
    """
    for weight in (400, 600, 700):
        if not _has_ink(to_png(_PROBE.format(weight=weight), scale=1)):
            raise KpidError(
                f"charts would have no labels: text of weight {weight} comes out blank",
                where=str(FONTS),
                hint="Install kpid again: its font files are missing or damaged",
            )


@cache
def _font_files() -> list[str]:
    return [str(FONTS / face) for face in _FACES if (FONTS / face).is_file()]


def _has_ink(png: bytes) -> bool:
    """Whether any byte of the picture's pixels is not zero (nothing but transparent black)."""
    return any(byte for row in _rows(png) for byte in row[1:])


def _rows(png: bytes) -> list[bytes]:
    width, data, at = struct.unpack(">I", png[16:20])[0], b"", 8
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        if kind == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += length + 12
    raw, stride = zlib.decompress(data), width * 4 + 1
    return [raw[start : start + stride] for start in range(0, len(raw), stride)]
