"""Targets in the course of a period: curves, pace, projection, what a part of a period has to bring."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.pace import expected_share, pace, progress, prorated, shape_of
from kpid.analysis.periods import Calendar, period_at, period_from_label
from kpid.analysis.workdays import WorkCalendar

BERLIN = Calendar("Europe/Berlin")
OFFICE = WorkCalendar("Europe/Berlin")
D = Decimal


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN.zone).astimezone(UTC)


def month(name: str):
    return period_from_label(None, name, BERLIN)


def test_progress_counts_the_working_days_that_are_over_and_the_hours_of_today():
    half = progress(month("2024-03"), at("2024-03-15T13:00"), BERLIN, OFFICE)
    assert (half.worked, half.working_days, half.position) == (Fraction(21, 2), 21, Fraction(1, 2))
    assert half.passed == Fraction(14 * 24 + 13, 31 * 24 - 1)  # the clocks change on the 31st
    assert progress(month("2024-03"), at("2024-03-16T13:00"), BERLIN, OFFICE).worked == 11
    assert progress(month("2024-03"), at("2024-02-16T13:00"), BERLIN, OFFICE).position == 0
    assert progress(month("2024-03"), at("2024-04-16T13:00"), BERLIN, OFFICE).position == 1


def test_period_without_working_days_goes_by_its_time():
    sunday = period_from_label("day", "2024-03-03", BERLIN)
    assert progress(sunday, at("2024-03-03T06:00"), BERLIN, OFFICE).position == Fraction(1, 4)


@pytest.mark.parametrize(
    ("curve", "share"),
    [
        ("linear_working_days", Fraction(1, 2)),
        ("linear_calendar", Fraction(349, 743)),
        ((D("0.1"), D("0.3"), D("0.6"), D(1)), Fraction(3, 10)),
        ((D("0.2"), D("0.3"), D(1)), Fraction(1, 4)),
        ((D(1),), Fraction(1, 2)),
        ("seasonal", None),
    ],
)
def test_curve_says_how_much_should_be_there(curve, share):
    assert expected_share(curve, progress(month("2024-03"), at("2024-03-15T13:00"), BERLIN, OFFICE)) == share


def test_seasonal_curve_follows_last_year():
    days = [(date(2023, 3, 1), D(10)), (date(2023, 3, 15), D(20)), (date(2023, 3, 31), D(70))]
    shape = shape_of(month("2023-03"), days, BERLIN, OFFICE)
    half = progress(month("2024-03"), at("2024-03-15T13:00"), BERLIN, OFFICE)
    assert shape.total == 100
    assert expected_share("seasonal", half, shape) == Fraction(3, 10)  # 11.5 of its 23 working days: after the 15th
    start = progress(month("2024-03"), at("2024-03-01T13:00"), BERLIN, OFFICE)
    assert expected_share("seasonal", start, shape) == Fraction(1, 10) * Fraction(1, 42) / Fraction(1, 23)
    assert shape_of(month("2023-03"), [(date(2023, 3, 1), D(-5))], BERLIN, OFFICE) is None
    assert shape_of(month("2023-03"), [(date(2023, 2, 28), D(5))], BERLIN, OFFICE) is None


def test_weekend_counts_for_the_working_day_before_it():
    shape = shape_of(
        month("2024-03"), [(date(2024, 3, 1), D(30)), (date(2024, 3, 3), D(20)), (date(2024, 3, 29), D(50))], BERLIN, OFFICE
    )
    assert shape.share_at(Fraction(1, 21)) == Fraction(1, 2)
    assert shape.share_at(Fraction(0)) == 0
    assert shape.share_at(Fraction(1)) == 1


def test_pace_and_projection():
    half = progress(month("2024-03"), at("2024-03-15T13:00"), BERLIN, OFFICE)
    found = pace(D(40), D(100), half.position, half, "up")
    assert (found.expected, found.pace, found.projected, found.attained, found.standing) == (50, D("0.8"), 80, D("0.4"), "watch")
    assert pace(D(45), D(100), half.position, half, "up").standing == "on"
    assert pace(D(37), D(100), half.position, half, "up").standing == "off"
    assert pace(D(60), D(100), half.position, half, "down").standing == "watch"
    assert pace(D(70), D(100), half.position, half, "down").standing == "off"
    assert pace(D(50), D(100), half.position, half, "none").standing == "none"
    assert pace(D(50), None, half.position, half, "up").projected == 100
    assert pace(None, D(100), half.position, half, "up").pace is None
    assert pace(D(50), D(100), Fraction(0), half, "up").pace is None


def test_nothing_is_judged_before_a_fifth_of_the_working_days():
    def standing(text: str) -> str:
        how_far = progress(month("2024-03"), at(text), BERLIN, OFFICE)
        return pace(D(1), D(1000), how_far.position, how_far, "up").standing

    assert standing("2024-03-07T10:00") == "early"  # 4 days and an hour of 21: 19.6 %
    assert standing("2024-03-07T12:00") == "off"


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [("2024-03", "2024-Q1", D(65) * 21 / 65), ("2024-W10", "2024-Q1", D(5)), ("2024-Q1", "2024", D(65) * 65 / 262),
     ("2024-W14", "2024-03", None)],
)  # fmt: skip
def test_part_of_a_period_has_to_bring_its_share_of_the_working_days(part, whole, expected):
    assert prorated(D(65), month(part), month(whole), BERLIN, OFFICE) == expected


@given(
    st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    st.sampled_from(["month", "quarter", "week", "fiscal_year"]),
    st.lists(st.integers(0, 500), min_size=1, max_size=400),
    st.integers(0, 8_000),
    st.sampled_from(["linear_working_days", "linear_calendar", "seasonal", (D("0.5"), D("0.5"), D(1))]),
)
@settings(max_examples=60, deadline=None)
def test_shares_grow_from_nothing_to_all(day, kind, amounts, hours, curve):
    period = period_at(kind, BERLIN.midnight(day), BERLIN)
    shape = shape_of(period, [(day + timedelta(days=number), D(value)) for number, value in enumerate(amounts)], BERLIN, OFFICE)
    moments = [period.start, period.start + timedelta(hours=hours), period.start + timedelta(hours=hours + 7), period.end]
    found = [expected_share(curve, progress(period, moment, BERLIN, OFFICE), shape) for moment in sorted(moments)]
    if None in found:
        assert shape is None
        return
    assert found == sorted(found)
    assert (found[0] <= 1, found[-1]) == (True, 1)
    if curve != "seasonal":
        assert found[0] == 0
