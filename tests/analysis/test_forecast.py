"""The forecast to the end of a period: by hand, and tried on years of made-up days whose end is known."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from statistics import median

import pytest

from kpid.analysis.forecast import forecast, quantile
from kpid.analysis.pace import Shape, progress, shape_of
from kpid.analysis.periods import Calendar, days_of, periods_between
from kpid.analysis.workdays import WorkCalendar

UTC_DAYS = Calendar("UTC")
OFFICE = WorkCalendar("UTC")
F = Fraction


def test_forecast_divides_by_the_middle_share_and_its_interval_by_the_outer_ones():
    shares = [F(number, 24) for number in range(1, 13)]  # 1/24 to 12/24
    found = forecast(Decimal(65), shares)
    assert found.share == F(65, 240)
    assert found.value == 240
    assert found.low == pytest.approx(65 * 24 / Decimal("11.7"))
    assert found.high == pytest.approx(65 * 24 / Decimal("1.3"))
    assert (found.periods, found.coverage) == (12, F(4, 5))


def test_few_periods_give_an_interval_that_says_it_covers_less():
    found = forecast(Decimal(10), [F(1, 2), F(1, 4), F(2, 5), F(1, 2)])
    assert (found.value, found.low, found.high) == (pytest.approx(10 / Decimal("0.45")), 20, 40)
    assert found.coverage == F(3, 5)


@pytest.mark.parametrize(
    ("actual", "shares"), [(10, [F(1, 2)] * 3), (0, [F(1, 2)] * 12), (-5, [F(1, 2)] * 12), (10, [F(0)] * 7 + [F(1, 2)] * 5)]
)
def test_where_there_is_nothing_to_go_by_nothing_is_forecast(actual, shares):
    assert forecast(Decimal(actual), shares) is None


def test_interval_has_no_upper_bound_where_nothing_had_come_by_then():
    found = forecast(Decimal(10), [F(0), *[F(1, 2)] * 5])
    assert (found.value, found.high) == (20, None)


def test_quantile_lies_between_its_neighbours_and_never_outside():
    assert quantile([F(1), F(2), F(3)], F(1, 2)) == 2
    assert quantile([F(1), F(2)], F(1, 10)) == 1
    assert quantile([F(1), F(2)], F(9, 10)) == 2


def history(seed: int, months: int) -> list[Shape]:
    """Months of sales: a level that wanders, busy Mondays, quiet weekends, a rush in the last three working days, noise."""
    dice = random.Random(seed)
    level, found = 100.0, []
    start = datetime(2000, 1, 1, tzinfo=UTC)
    for period in periods_between("month", start, start + timedelta(days=31 * months), UTC_DAYS)[:months]:
        first, after = days_of(period, UTC_DAYS)
        level *= dice.uniform(0.9, 1.12)
        days = []
        for number in range((after - first).days):
            day = first + timedelta(days=number)
            usual = 0.05 if day.weekday() >= 5 else 1.3 if day.weekday() == 0 else 1.0
            rush = 3.0 if OFFICE.working_days(day, after) <= 3 else 1.0
            days.append((day, Decimal(round(level * usual * rush * dice.lognormvariate(0, 0.5)))))
        found.append(shape_of(period, days, UTC_DAYS, OFFICE))
    return found


HISTORIES = [history(seed, 60) for seed in range(6)]


@pytest.mark.parametrize(("position", "error"), [(F(1, 4), "0.17"), (F(1, 2), "0.10"), (F(3, 4), "0.09")])
def test_interval_covers_four_of_five_and_the_middle_beats_a_straight_line(position, error):
    covered, errors, straight = [], [], []
    for shapes in HISTORIES:
        shares = [shape.share_at(position) for shape in shapes]
        for number in range(12, len(shapes)):
            total = shapes[number].total
            actual = Decimal(float(shares[number])) * total
            found = forecast(actual, shares[number - 12 : number])
            covered.append(found.low <= total <= found.high)
            errors.append(abs(found.value - total) / total)
            straight.append(abs(actual / Decimal(float(position)) - total) / total)
    assert len(covered) == 6 * 48
    assert 0.72 <= sum(covered) / len(covered) <= 0.88
    assert median(errors) < Decimal(error)
    assert median(errors) < median(straight) * Decimal("0.75")


def test_progress_of_the_running_month_is_where_the_earlier_ones_are_read():
    [march] = periods_between("month", datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC), UTC_DAYS)
    assert progress(march, datetime(2024, 3, 6, 9, tzinfo=UTC), UTC_DAYS, OFFICE).position == F(3, 21)
