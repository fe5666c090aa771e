from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.reporting.charts import BIG, HALF, Line, line_chart, sparkline, trend_word

VALUES = st.lists(st.none() | st.floats(-1e9, 1e9, allow_nan=False), max_size=16)


def _line(values: list[float | None], target: float | None = None, **more: object) -> Line:
    return Line([f"W{index}" for index in range(len(values))], values, target, **more)  # type: ignore[arg-type]


@given(VALUES, st.none() | st.floats(-1e6, 1e6), st.sampled_from(["off", "watch", "on"]), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_any_series_gives_well_formed_pictures_inside_the_canvas(
    values: list[float | None], target: float | None, status: str, run: int
) -> None:
    line = _line(
        values, target, status=status, run=min(run, len(values)), end_text="−€1.23M", target_text="target <1&2>", run_text="x"
    )
    for size in (BIG, HALF):
        root = ET.fromstring(line_chart(line, size))
        for element in root.iter():
            for key in ("x", "cx", "x1"):
                assert -1 <= float(element.get(key, "0")) <= size.width + 1
            for key in ("y", "cy", "y1"):
                assert -20 <= float(element.get(key, "0")) <= size.height + 20
    ET.fromstring(sparkline(values, target, status))


def test_labels_of_the_grammar_are_written() -> None:
    line = _line(
        [0.3, 0.28, 0.26, 0.24], 0.25, status="off", run=1, end_text="24%", target_text="target 25%",
        run_text="1 week below target",        best_text="best 30%", best_index=0,
    )  # fmt: skip
    svg = line_chart(line, BIG)
    for label in ("24%", "target 25%", "1 week below target", "best 30%", "W0", "W3"):
        assert f">{label}</text>" in svg
    assert "#b42318" in svg, "a miss is red"


def test_run_is_shaded_only_for_misses() -> None:
    assert "#faeeed" in line_chart(_line([1, 2, 3], 5, status="off", run=2), BIG)
    assert "#faeeed" not in line_chart(_line([1, 2, 3], 0, status="on", run=0), BIG)


def test_gap_breaks_the_line_and_a_lone_value_is_a_dot() -> None:
    svg = line_chart(_line([1, 2, None, 5, None, 3, 4]), BIG)
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 2


def test_end_label_has_room_at_the_right_edge() -> None:
    svg = line_chart(_line([1, 2, 3], end_text="−CHF 412k"), HALF)
    found = re.search(r'<text x="([\d.]+)"[^>]*>−CHF 412k<', svg)
    assert found is not None
    assert float(found[1]) + 9 * HALF.label * 1.32 * 0.6 < HALF.width


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([1, 2, 3, 4, 5, 6], "rising"),
        ([6, 5, 4, 3, 2, 1], "falling"),
        ([3, 4, 3, 4, 3, 4], "steady"),
        ([5, 5, 5], "steady"),
        ([1], "too short for a trend"),
        ([None, None], "too short for a trend"),
    ],
)
def test_trend_word_stands_in_for_the_picture(values: list[float | None], word: str) -> None:
    assert trend_word(values) == word
