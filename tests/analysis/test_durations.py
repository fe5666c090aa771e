from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.durations import Span, duration_from_text, number_from_text, span_from_text


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("15m", timedelta(minutes=15)),
        ("36h", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("90s", timedelta(seconds=90)),
        ("1w", timedelta(days=7)),
        (" 2 h ", timedelta(hours=2)),
        ("0s", timedelta(0)),
    ],
)
def test_duration_reads_a_number_and_a_unit(text: str, length: timedelta) -> None:
    assert duration_from_text(text) == length


@pytest.mark.parametrize(
    "text", ["", "15", "m", "15 minutes", "1.5h", "-1h", "1h30m", "15M", "٣d", "P1D", "99999999d", "9999999w"]
)
def test_duration_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError):
        duration_from_text(text)


def test_duration_error_says_how_to_write_it() -> None:
    with pytest.raises(ValueError, match="'soon' is not a length of time: write a number and s, m, h, d or w"):
        duration_from_text("soon")


def test_span_is_periods_or_time() -> None:
    assert span_from_text("2x") == Span(periods=2)
    assert span_from_text("10d") == Span(length=timedelta(days=10))


def test_span_of_nothing_is_false() -> None:
    assert not span_from_text("0x")
    assert not span_from_text("0d")
    assert span_from_text("1x")


@pytest.mark.parametrize("text", ["", "x", "2", "x2", "two", "2.5x", "-1x"])
def test_span_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="neither a number of periods such as 2x nor a length of time such as 10d"):
        span_from_text(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("25%", "0.25"),
        ("12.5 %", "0.125"),
        ("1_200_000", "1200000"),
        ("40", "40"),
        ("-3.5", "-3.5"),
        ("+2", "2"),
        (".5", "0.5"),
        ("150%", "1.5"),
    ],
)
def test_number_reads_percent_and_grouped_digits(text: str, value: str) -> None:
    assert number_from_text(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "%", "1,000", "1e5", "NaN", "inf", "25%%", "€5", "1 000", "_1", "٣"])
def test_number_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        number_from_text(text)


@settings(max_examples=60)
@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False, places=4))
def test_number_reads_back_what_decimal_prints(value: Decimal) -> None:
    assert number_from_text(f"{value:f}") == value
    assert number_from_text(f"{value:f}%") == value / 100


@settings(max_examples=60)
@given(st.text(max_size=12))
def test_text_never_raises_anything_but_value_error(text: str) -> None:
    for read in (duration_from_text, span_from_text, number_from_text):
        try:
            read(text)
        except ValueError:
            continue
