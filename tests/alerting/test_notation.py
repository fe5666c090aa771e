from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.alerting.notation import MOST_PERIODS, Cell, CellKind, at, numbers, parse

FIGURE = CellKind.FIGURE


def figure(text: str) -> Cell:
    return Cell(FIGURE, Decimal(text))


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("0.31", [figure("0.31")]),
        (0.31, [figure("0.31")]),
        (400, [figure("400")]),
        ("0.1x3", [figure("0.1")] * 3),
        ("31% -2", [figure("0.31"), figure("-2")]),
        ("1_000 _", [figure("1000"), Cell(CellKind.NO_DATA)]),
        ("! ? ~", [Cell(CellKind.ERROR), Cell(CellKind.STALE), Cell(CellKind.MISSING)]),
        ("_x2 ~x1", [Cell(CellKind.NO_DATA), Cell(CellKind.NO_DATA), Cell(CellKind.MISSING)]),
    ],
)
def test_series_are_read(text, cells):
    assert parse(text) == cells


def test_lengths_of_time_are_figures_in_the_unit_of_the_kpi():
    assert [cell.number for cell in parse("4h 90mx2", "seconds")] == [14_400, 5_400, 5_400]
    assert numbers("2d 12h", "days") == [2, Decimal("0.5")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("0.1 x3", "'x3' is not known here"),
        ("0,1", "'0,1' is not known here"),
        ("nan", "'nan' is not known here"),
        ("1.2.3", "is not a number"),
        ("0.1x0", "from 1 to 5000"),
        ("0.1x999999", "from 1 to 5000"),
        ("1x4000 1x4000", "more than 5,000 periods"),
        ("4h", "the KPI is none"),
        ("#", "_ (no data), ! (error), ? (stale), ~ (missing)"),
    ],
)
def test_what_cannot_be_read_is_named(text, says):
    with pytest.raises(ValueError, match=says.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        parse(text, "count")


def test_columns_are_numbers_only():
    assert numbers("400x2 3") == [400, 400, 3]
    with pytest.raises(ValueError, match="value: only"):
        numbers("400 _")


def test_the_last_number_goes_on():
    assert [at([Decimal(1), Decimal(2)], place) for place in range(4)] == [1, 2, 2, 2]


@settings(max_examples=150)
@given(st.text(alphabet="0123456789._!?~x%+- smhdw", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        found = parse(text, "seconds")
    except ValueError:
        return
    assert 0 < len(found) <= MOST_PERIODS
    assert all((cell.number is None) != (cell.kind is FIGURE) for cell in found)
