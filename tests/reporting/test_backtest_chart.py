from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from kpid.reporting.backtest_chart import MOST_ROWS, WIDTH, Picture, backtest_chart
from kpid.reporting.raster import _has_ink, to_png

STATES = ["", "ok", "pending", "warn", "critical", "recovering", "insufficient", "no_data"]
PICTURE = Picture(
    title="win-rate-low: Win rate by week",
    labels=[f"2026-W{number:02}" for number in range(1, 9)],
    rows={"Ada Example": STATES, "Ben <Example> & Co": ["ok"] * 8},
    bars=[("as configured", 4), ("without min_sample: 20", 9), ("without any of them", 2)],
)


def test_every_state_and_every_guard_is_in_the_picture():
    svg = backtest_chart(PICTURE)
    ET.fromstring(svg)
    for text in ("well", "pending", "firing: warn", "firing: critical", "recovering", "not enough to say", "no figure"):
        assert f">{text}<" in svg
    assert ">9  (+5)<" in svg
    assert ">2  (-2)<" in svg
    assert "Ben &lt;Example&gt; &amp; Co" in svg


def test_the_picture_has_ink():
    png = to_png(backtest_chart(PICTURE), scale=1)
    assert png.startswith(b"\x89PNG")
    assert _has_ink(png)


def test_states_differ_by_shape_not_by_colour_alone():
    heights = {}
    for state in STATES[1:]:
        svg = backtest_chart(Picture("", ["p"], {"a": [state]}, []))
        drawn = re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"[^>]*?(stroke)?[^>]*?/>', svg)
        heights[state] = [(size, edge) for x, _, size, edge in drawn if float(x) >= 150]
    assert len({str(one) for one in heights.values()}) == len(heights)


def test_of_many_series_those_that_fire_longest_are_shown():
    rows = {f"seller {number:03}": ["warn" if number % 2 else "ok"] * 3 for number in range(100)}
    svg = backtest_chart(Picture("t", ["a", "b", "c"], rows, []))
    assert svg.count(">seller ") == MOST_ROWS
    assert "seller 000" not in svg
    assert ">and 60 more series, which fire less<" in svg


def test_an_empty_backtest_can_be_drawn():
    svg = backtest_chart(Picture("nothing", [], {}, []))
    assert f'width="{WIDTH}"' in svg
    assert to_png(svg, scale=1)
