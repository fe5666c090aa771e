from __future__ import annotations

import pytest

from kpid.errors import KpidError
from kpid.reporting.raster import FONTS, _has_ink, probe, to_png

EMPTY = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>'
WORD = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="60" height="24">'
    '<text x="2" y="18" font-family="Inter" font-weight="{}">W46</text></svg>'
)


def test_probe_sees_text_in_every_weight() -> None:
    probe()


def test_blank_picture_is_seen_as_blank() -> None:
    assert not _has_ink(to_png(EMPTY))
    assert not _has_ink(to_png(WORD.format(400), text=False)), "without fonts the text is silently missing"
    assert _has_ink(to_png(WORD.format(400)))


def test_png_has_the_scaled_size() -> None:
    png = to_png(EMPTY, scale=3)
    assert png.startswith(b"\x89PNG")
    assert png[16:24] == (30).to_bytes(4, "big") * 2


def test_broken_svg_is_a_clear_error() -> None:
    with pytest.raises(KpidError, match="could not be drawn"):
        to_png("<svg")


def test_fonts_come_with_their_licence_and_stay_small() -> None:
    assert "SIL OPEN FONT LICENSE" in (FONTS / "OFL.txt").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in FONTS.iterdir()) < 1_500_000
