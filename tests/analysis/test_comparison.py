"""What periods are compared with: the facts of leap days, weeks 53, working days and clock changes, one by one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.comparison import ALIGNMENTS, COMPARISONS, reference, working_days
from kpid.analysis.periods import Calendar, days_of, period_at, period_from_label
from kpid.analysis.workdays import WorkCalendar
from kpid.errors import ConfigError

BERLIN = Calendar("Europe/Berlin")
RETAIL = Calendar("UTC", "sun", 2, "start", "4-5-4")
OFFICE = WorkCalendar("Europe/Berlin")
BAVARIA = WorkCalendar("Europe/Berlin", regions=(("DE", "BY"),))


def label(kind: str | None, name: str, comparison: str, calendar: Calendar = BERLIN, **how) -> str:
    return reference(period_from_label(kind, name, calendar), comparison, calendar, **how).period.label


@pytest.mark.parametrize(
    ("kind", "name", "comparison", "expected"),
    [
        ("month", "2024-03", "previous", "2024-02"),
        ("day", "2024-03-01", "previous", "2024-02-29"),
        ("day", "2024-03-01", "same_weekday", "2024-02-23"),
        ("day", "2024-03-01", "same_weekday_14d", "2024-02-16"),
        ("week", "2017-W50", "same_weekday", "2017-W49"),
        ("hour", "2024-04-03 02:00", "same_weekday", "2024-03-27 02:00"),
        ("hour", "2024-04-07 02:00", "same_weekday", "2024-03-31 03:00"),  # 02:00 was skipped
        ("rolling_7d", "2024-03-10", "same_weekday", "7d to 2024-03-03"),
        ("wtd", "2024-03-06", "same_weekday", "WTD 2024-02-28"),
        ("2024-03-04..2024-03-09", "2024-03-04..2024-03-09", "same_weekday", "2024-02-26..2024-03-02"),
        # by the calendar
        ("day", "2024-02-29", "last_year", "2023-02-28"),
        ("day", "2024-03-01", "last_year", "2023-03-01"),
        ("day", "2025-02-28", "last_year", "2024-02-28"),
        ("month", "2024-02", "last_year", "2023-02"),
        ("month", "2025-02", "last_year", "2024-02"),
        ("quarter", "2024-Q1", "last_year", "2023-Q1"),
        ("half", "2024-H2", "last_year", "2023-H2"),
        ("year", "2024", "last_year", "2023"),
        ("fiscal_quarter", "FY2024-Q2", "last_year", "FY2023-Q2"),
        ("rolling_90d", "2024-02-29", "last_year", "90d to 2023-02-28"),
        ("mtd", "2024-02-29", "last_year", "MTD 2023-02-28"),
        ("ytd", "2024-12-31", "last_year", "YTD 2023-12-31"),
        ("2024-02-01..2024-03-01", "2024-02-01..2024-03-01", "last_year", "2023-02-01..2023-03-01"),
        ("since_2024-01-15", "2024-02-10", "last_year", "2023-01-15..2023-02-11"),
        ("hour", "2024-03-30 02:00", "last_year", "2023-03-30 02:00"),
        # by ISO week
        ("week", "2017-W50", "last_year_iso_week", "2016-W50"),
        ("week", "2017-W50", "last_year", "2016-W50"),
        ("week", "2020-W53", "last_year_iso_week", "2019-W52"),
        ("week", "2021-W52", "last_year_iso_week", "2020-W52"),
        ("week", "2021-W01", "last_year_iso_week", "2020-W01"),
        ("day", "2024-12-30", "last_year_iso_week", "2024-01-01"),  # Monday of 2025-W01 with Monday of 2024-W01
        ("wtd", "2017-12-13", "last_year_iso_week", "WTD 2016-12-14"),
        # 52 weeks
        ("day", "2024-03-01", "last_year_364d", "2023-03-03"),
        ("week", "2020-W53", "last_year_364d", "2020-W01"),
        ("month", "2024-03", "last_year_364d", "2023-03-03..2023-04-03"),
        ("mtd", "2024-03-10", "last_year_364d", "2023-03-03..2023-03-13"),
        ("rolling_7d", "2024-03-10", "last_year_364d", "7d to 2023-03-12"),
    ],
)
def test_period_is_compared_with(kind, name, comparison, expected):
    assert label(kind, name, comparison) == expected


@pytest.mark.parametrize(
    ("kind", "name", "comparison", "says"),
    [
        ("day", "2024-02-29", "last_year", "2024-02-29 is compared with 2023-02-28"),
        ("mtd", "2024-02-29", "last_year", "2024-02-29 is compared with 2023-02-28"),
        ("week", "2020-W53", "last_year_iso_week", "week 53 of 2020 is compared with week 52 of 2019"),
        ("day", "2020-12-31", "last_year_iso_week", "week 53 of 2020 is compared with week 52 of 2019"),
    ],
)
def test_odd_comparison_says_so(kind, name, comparison, says):
    assert reference(period_from_label(kind, name, BERLIN), comparison, BERLIN).warnings == (says,)


def test_weeks_from_sunday_on_are_compared_52_weeks_earlier():
    sunday = Calendar("UTC", week_start="sun")
    assert label("week", "2017-12-10", "last_year", sunday) == "2016-12-11"
    with pytest.raises(ConfigError, match="no ISO week"):
        label("week", "2017-12-10", "last_year_iso_week", sunday)


def test_fiscal_year_of_53_weeks_is_compared_as_it_is_and_says_so():
    found = reference(period_from_label(None, "FY2024", RETAIL), "last_year", RETAIL)
    assert (found.period.label, found.warnings) == ("FY2023", ("52 weeks are compared with 53",))
    assert reference(period_from_label(None, "FY2024-Q1", RETAIL), "last_year", RETAIL).warnings == ()
    found = reference(period_from_label(None, "FY2024-M12", RETAIL), "last_year", RETAIL)
    assert (found.period.label, found.warnings) == ("FY2023-M12", ("4 weeks are compared with 5",))


@pytest.mark.parametrize(
    ("name", "comparison", "work", "expected"),
    [
        ("2024-03-15", "previous", OFFICE, "MTD 2024-02-15"),  # 11 working days each
        ("2024-03-17", "previous", OFFICE, "MTD 2024-02-15"),  # a Sunday, but a working day follows
        ("2024-05-15", "previous", BAVARIA, "MTD 2024-04-12"),  # 1 and 9 May are free: 9 days; 1 April is, too
        ("2024-06-09", "previous", OFFICE, "MTD 2024-05-07"),
        ("2024-09-08", "last_year", OFFICE, "MTD 2023-09-07"),
        ("2024-06-10", "last_year", OFFICE, "MTD 2023-06-08"),
        ("2024-06-02", "previous", OFFICE, "MTD 2024-05-01"),  # nothing worked yet: still a day
    ],
)
def test_month_to_date_is_compared_with_as_many_working_days(name, comparison, work, expected):
    assert label("mtd", name, comparison, align="working_days", work=work) == expected


def test_month_to_date_that_ends_on_free_days_takes_those_of_the_reference_along():
    assert label("qtd", "2024-07-05", "previous", align="working_days", work=OFFICE) == "QTD 2024-04-05"  # a Friday each
    assert label("qtd", "2024-07-06", "previous", align="working_days", work=OFFICE) == "QTD 2024-04-07"  # and Sunday
    assert label("mtd", "2024-05-07", "previous", align="working_days", work=OFFICE) == "MTD 2024-04-05"  # a Tuesday, a Friday


def test_reference_with_fewer_working_days_is_taken_whole_and_says_so():
    found = reference(period_from_label("mtd", "2024-03-31", BERLIN), "previous", BERLIN, align="working_days", work=OFFICE)
    assert (found.period.label, found.warnings) == ("MTD 2024-02-29", ())  # 21 each
    found = reference(period_from_label("mtd", "2023-03-31", BERLIN), "previous", BERLIN, align="working_days", work=OFFICE)
    assert (found.period.label, found.warnings) == ("MTD 2023-02-28", ("2023-02 has only 20 working days, not 23",))


def test_working_days_of_the_months_of_the_specification():
    months = {"2023-03": 23, "2024-03": 21, "2023-02": 20, "2024-02": 21}
    assert {name: working_days(period_from_label(None, name, BERLIN), BERLIN, OFFICE) for name in months} == months


@pytest.mark.parametrize(
    ("kind", "name", "comparison", "align"),
    [
        ("month", "2024-03", "same_weekday", "calendar_days"),
        ("fiscal_quarter", "FY2024-Q1", "same_weekday", "calendar_days"),
        ("month", "2024-03", "last_year_iso_week", "calendar_days"),
        ("month", "2024-03", "last_week", "calendar_days"),
        ("month", "2024-03", "previous", "hours"),
        ("mtd", "2024-03-10", "last_year_364d", "working_days"),
    ],
)
def test_comparison_that_makes_no_sense_is_refused(kind, name, comparison, align):
    with pytest.raises(ConfigError):
        label(kind, name, comparison, align=align, work=OFFICE)


KINDS = ("hour", "day", "week", "iso_week", "week_sun", "month", "quarter", "half", "year", "fiscal_month",
         "fiscal_year", "rolling_30d", "rolling_7d_today", "wtd", "mtd", "qtd", "ytd", "fmtd", "fqtd", "fytd",
         "2024-02-01..2024-02-20",
         "since_2010-03-05")  # fmt: skip
instants = st.datetimes(datetime(2012, 1, 1), datetime(2031, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))
calendars = st.sampled_from([BERLIN, RETAIL, Calendar("America/New_York", "sun", 4), Calendar("Australia/Lord_Howe", "sat", 10)])


@pytest.mark.parametrize("kind", ["fmtd", "fqtd", "fytd"])
def test_fiscal_period_to_date_of_weeks_is_compared_with_as_many_days_of_the_year_before(kind):
    """4-4-5: the same dates of the year before may lie in another fiscal month or quarter."""
    container = {"fmtd": "fiscal_month", "fqtd": "fiscal_quarter", "fytd": "fiscal_year"}[kind]
    day = date(2024, 1, 1)
    while day < date(2027, 1, 1):
        period = period_at(kind, RETAIL.midnight(day), RETAIL)
        first, after = days_of(period, RETAIL)
        whole = reference(period_at(container, RETAIL.midnight(day), RETAIL), "last_year", RETAIL).period
        earlier = days_of(reference(period, "last_year", RETAIL).period, RETAIL)
        start, stop = days_of(whole, RETAIL)
        assert earlier == (start, min(start + (after - first), stop))
        day += timedelta(days=1)


@given(
    st.sampled_from(KINDS),
    instants,
    st.sampled_from(sorted(COMPARISONS)),
    st.sampled_from(ALIGNMENTS),
    calendars,
)
@settings(max_examples=250, deadline=None)
def test_reference_lies_before_and_is_about_as_long(kind, instant, name, align, calendar):
    period = period_at(kind, instant, calendar)
    try:
        found = reference(period, name, calendar, align=align, work=OFFICE).period
    except ConfigError:
        return
    assert found.start < period.start or (kind.startswith("since_") and period.start == period.end)
    assert found.end < period.end or found.end == period.start
    assert found.end > found.start or period.end == period.start
    if name == "last_year_364d":
        assert [day + timedelta(days=364) for day in days_of(found, calendar)] == list(days_of(period, calendar))
    if name.startswith("last_year"):
        back = (days_of(period, calendar)[0] - days_of(found, calendar)[0]).days
        assert 357 <= back <= 378


def test_day_of_the_year_before_by_the_calendar_is_right_for_each_day_of_four_years():
    day = date(2023, 1, 1)
    while day < date(2027, 1, 1):
        earlier = date.fromisoformat(label("day", day.isoformat(), "last_year"))
        assert (earlier.year, earlier.month) == (day.year - 1, day.month)
        assert earlier.day == day.day or (day.month, day.day, earlier.day) == (2, 29, 28)
        day += timedelta(days=1)
