"""Fiscal years of whole weeks: 4-4-5 and its like, years of 53 weeks, and what they are called."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.comparison import reference
from kpid.analysis.fiscal import first_day, following, weeks, year_before
from kpid.analysis.periods import Calendar, days_of, period_at, period_from_label, periods_between
from kpid.errors import ConfigError

RETAIL = Calendar("UTC", "sun", 2, "start", "4-5-4")
"""The retail calendar of the USA: weeks from Sunday on, the year ends on the Saturday nearest to the end of January."""
TECH = Calendar("UTC", "sun", 10, "end", "4-4-5", year_rule="last")
"""The year ends on the last Saturday of September."""
WEEK = timedelta(days=7)
PAYROLL_2024 = (date(2023, 12, 26), *(date(2024, month, 26) for month in range(1, 12)))
"""Months from the 26th to the 25th."""
PAYROLL = Calendar("UTC", fiscal_pattern="custom", month_starts=(PAYROLL_2024,))


def later(months: tuple[date, ...], years: int) -> tuple[date, ...]:
    return tuple(day.replace(year=day.year + years) for day in months)


def first_of(name: str, calendar: Calendar) -> date:
    return days_of(period_from_label(None, name, calendar), calendar)[0]


@pytest.mark.parametrize(
    ("name", "first"),
    [  # as the retail federation publishes it; 2012, 2017 and 2023 have 53 weeks
        ("FY2012", date(2012, 1, 29)), ("FY2013", date(2013, 2, 3)), ("FY2017", date(2017, 1, 29)), ("FY2018", date(2018, 2, 4)),
        ("FY2022", date(2022, 1, 30)), ("FY2023", date(2023, 1, 29)), ("FY2024", date(2024, 2, 4)), ("FY2025", date(2025, 2, 2)),
        ("FY2023-Q2", date(2023, 4, 30)), ("FY2023-M02", date(2023, 2, 26)), ("FY2023-M03", date(2023, 4, 2)),
    ],
)  # fmt: skip
def test_retail_years_start_when_they_are_published_to(name, first):
    assert first_of(name, RETAIL) == first


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [("FY2022", date(2021, 9, 26), 52), ("FY2023", date(2022, 9, 25), 53), ("FY2024", date(2023, 10, 1), 52),
     ("FY2025", date(2024, 9, 29), 52)],
)  # fmt: skip
def test_year_that_ends_on_the_last_saturday_of_september_is_named_by_its_end(name, first, count):
    assert first_of(name, TECH) == first
    assert weeks("fiscal_year", first, TECH) == count


def test_months_have_the_weeks_of_the_pattern_and_the_extra_week_goes_where_it_is_put():
    def lengths(calendar: Calendar) -> list[int | None]:
        year = period_from_label(None, "FY2023", calendar)
        months = periods_between("fiscal_month", year.start, year.end, calendar)
        return [weeks("fiscal_month", days_of(month, calendar)[0], calendar) for month in months]

    assert lengths(RETAIL) == [4, 5, 4, 4, 5, 4, 4, 5, 4, 4, 5, 5]
    assert lengths(Calendar("UTC", "sun", 2, "start", "4-4-5", long_month=3)) == [4, 4, 6, 4, 4, 5, 4, 4, 5, 4, 4, 5]
    assert lengths(Calendar("UTC", "sun", 1, "start", "5-4-4")) == [5, 4, 4] * 4
    assert weeks("fiscal_month", date(2023, 1, 1), Calendar("UTC")) is None


def test_published_starts_win_and_the_rule_goes_on_from_them():
    listed = Calendar("UTC", "mon", 1, "start", "4-4-5", (date(2022, 1, 3), date(2023, 1, 9), date(2024, 1, 8)))
    assert [first_of(f"FY{year}", listed) for year in (2022, 2023, 2024)] == list(listed.year_starts)
    assert weeks("fiscal_year", date(2022, 1, 3), listed) == 53
    assert [first_of(f"FY{year}", listed) for year in (2025, 2026)] == [date(2025, 1, 6), date(2026, 1, 5)]
    assert first_of("FY2021", listed) == date(2021, 1, 4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fiscal_pattern": "4-4-4"}, "4-4-4"),
        ({"fiscal_pattern": "4-4-5", "year_rule": "first"}, "53 weeks"),
        ({"fiscal_pattern": "4-4-5", "long_month": 13}, "53 weeks"),
        ({"fiscal_pattern": "4-4-5", "year_starts": (date(2023, 1, 2), date(2024, 1, 2))}, "52 or 53 weeks"),
        ({"fiscal_pattern": "4-4-5", "year_starts": (date(2023, 5, 1),)}, "not near"),
        ({"year_starts": (date(2023, 1, 2),)}, "goes with a pattern"),
        ({"fiscal_pattern": "custom", "year_starts": (date(2023, 1, 2),)}, "goes with a pattern"),
        ({"fiscal_pattern": "custom"}, "needs fiscal_month_starts"),
        ({"month_starts": (PAYROLL_2024,)}, "goes with fiscal months of one's own"),
        ({"fiscal_pattern": "custom", "month_starts": (PAYROLL_2024[:11],)}, "twelve months, not 11"),
        ({"fiscal_pattern": "custom", "month_starts": (PAYROLL_2024[::-1],)}, "not near the first of month 1|is no month"),
        ({"fiscal_pattern": "custom", "month_starts": ((*PAYROLL_2024[:3], *PAYROLL_2024[2:11]),)}, "is no month"),
        ({"fiscal_pattern": "custom", "month_starts": (PAYROLL_2024, later(PAYROLL_2024, 2))}, "do not follow one another"),
        ({"fiscal_pattern": "custom", "month_starts": (PAYROLL_2024,), "fiscal_start": 7}, "not near the first of month 7"),
    ],
)
def test_calendar_that_makes_no_sense_is_refused(change, says):
    with pytest.raises(ConfigError, match=says):
        Calendar("UTC", **change)


def test_listed_months_are_those_of_the_company_and_other_years_have_the_same_days():
    assert first_of("FY2024", PAYROLL) == date(2023, 12, 26)
    assert first_of("FY2024-M03", PAYROLL) == date(2024, 2, 26)
    assert first_of("FY2024-Q3", PAYROLL) == date(2024, 6, 26)
    assert first_of("FY2027-M01", PAYROLL) == date(2026, 12, 26)
    assert first_of("FY2021-M12", PAYROLL) == date(2021, 11, 26)
    assert period_at("fiscal_month", datetime(2024, 3, 25, 23, tzinfo=UTC), PAYROLL).label == "FY2024-M03"
    assert period_at("fiscal_month", datetime(2024, 3, 26, tzinfo=UTC), PAYROLL).label == "FY2024-M04"
    assert PAYROLL.identity != Calendar("UTC").identity


def test_a_listed_year_wins_over_the_days_of_its_neighbour():
    moved = (date(2025, 1, 2), *(date(2025, month, 20) for month in range(2, 12)), date(2025, 12, 15))
    listed = Calendar("UTC", fiscal_pattern="custom", month_starts=(PAYROLL_2024, moved))
    assert first_of("FY2025-M02", listed) == date(2025, 2, 20)
    assert first_of("FY2026-M02", listed) == date(2026, 2, 20)
    assert first_of("FY2023-M02", listed) == date(2023, 1, 26)
    december = period_from_label("fiscal_month", "FY2024-M12", listed)
    assert days_of(december, listed) == (date(2024, 11, 26), date(2025, 1, 2))


def test_months_of_quite_another_length_are_compared_with_a_warning():
    weeks_2025 = tuple(date(2024, 12, 30) + WEEK * count for count in (0, 4, 8, 13, 17, 21, 26, 30, 34, 39, 43, 47))
    listed = Calendar("UTC", fiscal_pattern="custom", month_starts=(PAYROLL_2024, weeks_2025))
    told = {}
    for name in ("FY2025-M01", "FY2025-M03", "FY2026-M02"):
        found = reference(period_from_label(None, name, listed), "last_year", listed)
        told[name] = (found.period.label, found.warnings)
    assert told["FY2025-M01"] == ("FY2024-M01", ())
    assert told["FY2025-M03"] == ("FY2024-M03", ("35 days are compared with 29",))
    assert told["FY2026-M02"] == ("FY2025-M02", ())


@given(
    st.integers(1, 12),
    st.lists(st.lists(st.integers(-9, 9), min_size=12, max_size=12), min_size=1, max_size=3),
    st.sampled_from(("start", "end")),
    st.dates(date(2000, 1, 1), date(2050, 1, 1)),
)
@settings(max_examples=120, deadline=None)
def test_listed_months_lie_side_by_side_in_every_year(month, shifts, label, day):
    anchors = [
        [date(2024 + number + (month + n - 1) // 12, (month + n - 1) % 12 + 1, 1) for n in range(12)] for number in range(3)
    ]
    listed = tuple(
        tuple(one + timedelta(days=shift) for one, shift in zip(year, some, strict=True))
        for year, some in zip(anchors, shifts, strict=False)
    )
    calendar = Calendar("UTC", "mon", month, label, "custom", month_starts=listed)
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC)
    year = period_at("fiscal_year", instant, calendar)
    months = periods_between("fiscal_month", year.start, year.end, calendar)
    quarters = periods_between("fiscal_quarter", year.start, year.end, calendar)
    assert (len(months), len(quarters), months[-1].end, quarters[-1].end) == (12, 4, year.end, year.end)
    assert all(one.end == other.start for one, other in pairwise(months))
    assert [one.start for one in months[::3]] == [quarter.start for quarter in quarters]
    assert [period_from_label(None, one.label, calendar) for one in months] == months
    assert sum(one.start <= instant < one.end for one in months) == 1
    first = days_of(year, calendar)[0]
    assert following("fiscal_year", year_before("fiscal_year", first, calendar), calendar) == first
    assert {days_of(one, calendar)[0] for one in periods_between("fiscal_month", START_2020, END_2030, calendar)} >= {
        day for months in listed for day in months
    }


START_2020, END_2030 = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


@given(
    st.builds(
        lambda week_start, month, label, pattern, rule, long: Calendar(
            "UTC", week_start, month, label, pattern, year_rule=rule, long_month=long
        ),
        st.sampled_from(("mon", "sun", "sat")),
        st.integers(1, 12),
        st.sampled_from(("start", "end")),
        st.sampled_from(("4-4-5", "4-5-4", "5-4-4")),
        st.sampled_from(("nearest", "last")),
        st.integers(1, 12),
    ),
    st.dates(date(1990, 1, 1), date(2060, 1, 1)),
)
@settings(max_examples=120, deadline=None)
def test_years_of_weeks_lie_side_by_side_near_their_month(calendar, day):
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC)
    year = period_at("fiscal_year", instant, calendar)
    first, after = days_of(year, calendar)
    assert first <= day < after
    assert (after - first) // WEEK in {52, 53}
    assert (after - first) % WEEK == timedelta()
    nearest = min(abs((first - date(number, calendar.fiscal_start, 1)).days) for number in (first.year, first.year + 1))
    assert nearest <= (3 if calendar.year_rule == "nearest" else 6)
    months = periods_between("fiscal_month", year.start, year.end, calendar)
    quarters = periods_between("fiscal_quarter", year.start, year.end, calendar)
    assert (len(months), len(quarters), months[-1].end, quarters[-1].end) == (12, 4, year.end, year.end)
    assert all(one.end == other.start for one, other in pairwise(months))
    assert [month.start for month in months[::3]] == [quarter.start for quarter in quarters]
    assert following("fiscal_year", year_before("fiscal_year", first, calendar), calendar) == first
    assert first_day(int(year.label[2:]), 0, calendar) == first
