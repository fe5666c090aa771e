from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from kpid.alerting.slots import PATIENCE, due_periods, is_waiting, judged_periods, slot_of
from kpid.analysis.periods import Calendar, period_from_label
from kpid.model import Measurement, MeasurementState

BERLIN = Calendar("Europe/Berlin")
NOVEMBER = period_from_label("month", "2026-11", BERLIN)
HOUR = timedelta(hours=1)


def labels(now: datetime, last: datetime | None = None, settle: timedelta = timedelta(0), catch_up: int = 10) -> list[str]:
    found = due_periods("month", now=now, settle=settle, last_slot=last, catch_up=catch_up, calendar=BERLIN)
    return [period.label for period in found]


def test_only_closed_periods_are_due() -> None:
    october = period_from_label("month", "2026-10", BERLIN)
    assert labels(NOVEMBER.end - HOUR, october.end) == []
    assert labels(NOVEMBER.end, october.end) == ["2026-11"]
    assert labels(NOVEMBER.end, NOVEMBER.end) == []


def test_first_round_and_pauses_reach_back_as_far_as_catch_up() -> None:
    assert labels(NOVEMBER.end, catch_up=3) == ["2026-09", "2026-10", "2026-11"]
    assert labels(NOVEMBER.end, datetime(2025, 1, 1, tzinfo=UTC), catch_up=2) == ["2026-10", "2026-11"]


def test_settle_delays() -> None:
    october = period_from_label("month", "2026-10", BERLIN)
    assert labels(NOVEMBER.end + 71 * HOUR, october.end, settle=72 * HOUR) == []
    assert labels(NOVEMBER.end + 72 * HOUR, october.end, settle=72 * HOUR) == ["2026-11"]


def test_judged_periods_end_with_the_last_slot() -> None:
    def judged(last: datetime | None) -> list[str]:
        found = judged_periods("month", now=NOVEMBER.end + HOUR, last_slot=last, count=2, calendar=BERLIN)
        return [period.label for period in found]

    assert judged(None) == []
    assert judged(NOVEMBER.end) == ["2026-10", "2026-11"]
    assert judged(NOVEMBER.start) == ["2026-09", "2026-10"]


@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_nights_of_clock_changes_have_one_slot_each(night: str) -> None:
    day = period_from_label("day", night, BERLIN)
    found = due_periods("day", now=day.end + HOUR, settle=timedelta(0), last_slot=day.start, catch_up=10, calendar=BERLIN)
    assert [slot_of(period).label for period in found] == [night]
    assert slot_of(day).at - day.start in {timedelta(hours=23), timedelta(hours=25)}


def test_waiting_ends_with_the_figures_or_with_patience() -> None:
    whole = Measurement("deals", NOVEMBER, MeasurementState.OK, Decimal(3), 3)
    partial = replace(whole, state=MeasurementState.INCOMPLETE)

    def waits(*figures: Measurement, measured: bool = True, after: timedelta = HOUR, settle: timedelta = timedelta(0)) -> bool:
        return is_waiting(NOVEMBER, figures, measured=measured, now=NOVEMBER.end + after, settle=settle)

    assert waits(partial, whole)
    assert not waits(whole)
    assert not waits()
    assert waits(measured=False)
    assert not waits(partial, after=PATIENCE)
    assert waits(partial, after=PATIENCE, settle=HOUR)
