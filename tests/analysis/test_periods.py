"""Periods: side by side, half-open, right on the nights when clocks change."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.periods import (
    Calendar,
    check_kind,
    days_of,
    is_daily,
    is_fixed,
    is_kind,
    last_complete,
    period_at,
    period_from_label,
    periods_between,
    previous_period,
    recurs,
    span,
)
from kpid.errors import ConfigError

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Pacific/Apia", "UTC")
FISCAL = ("fiscal_month", "fiscal_quarter", "fiscal_year")
DATED = ("day", "week", "month", "quarter", "half", "year", *FISCAL)
SIDE_BY_SIDE = ("hour", *DATED, "iso_week", "week_sun", "week_sat")
DAILY = ("rolling_1d", "rolling_7d", "rolling_90d", "rolling_1d_today", "rolling_30d_today", "wtd", "mtd", "qtd", "ytd",
         "fmtd", "fqtd", "fytd", "since_2004-12-30")  # fmt: skip
BERLIN = Calendar("Europe/Berlin")

patterns = st.sampled_from(("gregorian", "4-4-5", "4-5-4", "5-4-4"))
gregorian = st.builds(
    Calendar,
    st.sampled_from(ZONES),
    st.sampled_from(("mon", "sun", "sat")),
    st.integers(1, 12),
    st.sampled_from(("start", "end")),
)


def listed(base: Calendar, day: int) -> Calendar:
    """Fiscal months from a given day of each month on."""
    months = [base.fiscal_start - 1 + number for number in range(12)]
    days = tuple(date(2016 + month // 12, month % 12 + 1, day) for month in months)
    return replace(base, fiscal_pattern="custom", month_starts=(days,))


calendars = st.one_of(
    st.builds(
        lambda base, pattern, rule, month: replace(base, fiscal_pattern=pattern, year_rule=rule, long_month=month),
        gregorian,
        patterns,
        st.sampled_from(("nearest", "last")),
        st.integers(1, 12),
    ),
    st.builds(listed, gregorian, st.integers(1, 14)),
)
instants = st.datetimes(datetime(2005, 1, 1), datetime(2031, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@given(st.sampled_from(SIDE_BY_SIDE), instants, calendars)
@settings(max_examples=150, deadline=None)
def test_period_at_contains_its_instant_and_touches_its_neighbour(kind, instant, calendar):
    period = period_at(kind, instant, calendar)
    assert period.start <= instant < period.end
    before = previous_period(period, calendar)
    assert before.end == period.start
    assert period_at(kind, period.end, calendar).start == period.end
    assert period_at(kind, period.start, calendar) == period


def name_of(kind: str, day: date, calendar: Calendar) -> tuple[int, ...]:
    """Which period a local date belongs to, worked out once more and otherwise: from the date alone."""
    months = day.year * 12 + day.month - 1
    fiscal = months - (calendar.fiscal_start - 1)
    first = {"mon": 0, "sun": -1, "sat": -2}[calendar.week_start]
    return {
        "day": (day.toordinal(),),
        "week": ((day.toordinal() - 1 - first) // 7,),
        "month": (months,),
        "quarter": (months // 3,),
        "half": (months // 6,),
        "year": (day.year,),
        "fiscal_month": (fiscal,),
        "fiscal_quarter": (fiscal // 3,),
        "fiscal_year": (fiscal // 12,),
    }[kind]


@given(st.sampled_from(DATED), instants, gregorian)
@settings(max_examples=150, deadline=None)
def test_period_holds_the_local_dates_of_its_name_and_no_other(kind, instant, calendar):
    def named(at: datetime) -> tuple[int, ...]:
        return name_of(kind, at.astimezone(ZoneInfo(calendar.timezone)).date(), calendar)

    period, microsecond = period_at(kind, instant, calendar), timedelta(microseconds=1)
    name = named(instant)
    assert [named(period.start), named(period.end - microsecond)] == [name, name]
    assert named(period.start - microsecond) < name < named(period.end)


@given(st.sampled_from(SIDE_BY_SIDE + DAILY), instants, calendars)
@settings(max_examples=150, deadline=None)
def test_label_leads_back_to_its_period(kind, instant, calendar):
    period = period_at(kind, instant, calendar)
    assert period_from_label(kind, period.label, calendar) == period
    plainly = period_from_label(None, period.label, calendar)
    assert plainly.label == period.label
    if not (kind.startswith(("week", "iso_week")) and kind != ("week" if calendar.week_start == "mon" else "iso_week")):
        assert plainly == period


@given(st.sampled_from(SIDE_BY_SIDE), instants, st.integers(1, 60), calendars)
@settings(max_examples=80, deadline=None)
def test_periods_between_cover_the_span_without_gap_or_overlap(kind, start, days, calendar):
    end = start + timedelta(days=days)
    found = periods_between(kind, start, end, calendar)
    assert found[0].start <= start
    assert found[-1].end >= end
    assert all(left.end == right.start for left, right in pairwise(found))
    assert len({period.label for period in found}) == len(found)


@given(st.sampled_from(SIDE_BY_SIDE + DAILY), instants, calendars, st.integers(1, 5))
@settings(max_examples=120, deadline=None)
def test_last_complete_are_over_and_the_next_is_not(kind, now, calendar, count):
    found = last_complete(kind, now, calendar, count)
    assert len(found) == count
    assert all(period.end <= now for period in found)
    assert found == sorted(found, key=lambda period: period.end)
    if is_daily(kind):
        assert calendar.day_of(now) == calendar.day_of(found[-1].end)
    else:
        assert found[-1].end == period_at(kind, now, calendar).start


@given(instants, st.sampled_from(ZONES))
@settings(max_examples=150, deadline=None)
def test_a_day_begins_at_the_first_instant_of_its_date(instant, timezone):
    calendar = Calendar(timezone)
    period = period_at("day", instant, calendar)
    zone = ZoneInfo(timezone)
    day = date.fromisoformat(period.label)
    assert period.start.astimezone(zone).date() == day
    assert (period.start - timedelta(microseconds=1)).astimezone(zone).date() < day


@pytest.mark.parametrize(
    ("timezone", "day", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("Europe/Paris", "2024-03-31", 23),
        ("America/New_York", "2024-03-10", 23),
        ("America/New_York", "2024-11-03", 25),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
        ("Australia/Lord_Howe", "2024-10-06", 23.5),
        ("America/Santiago", "2024-04-06", 25),
        ("America/Santiago", "2024-09-08", 23),
        ("Asia/Kathmandu", "2024-03-31", 24),
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-30", 0),
        ("Pacific/Apia", "2011-12-31", 24),
    ],
)
def test_day_lasts_as_long_as_the_clock_says(timezone, day, hours):
    period = period_from_label("day", day, Calendar(timezone))
    assert period.end - period.start == timedelta(hours=hours)


def test_midnight_that_is_skipped_starts_the_day_at_the_end_of_the_gap():
    santiago = Calendar("America/Santiago")
    assert santiago.midnight(date(2024, 9, 8)).astimezone(santiago.zone).isoformat() == "2024-09-08T01:00:00-03:00"
    toronto = Calendar("America/Toronto")  # 1919-03-30 23:30 became 00:30 of the next day
    assert toronto.midnight(date(1919, 3, 31)).astimezone(toronto.zone).isoformat() == "1919-03-31T00:30:00-04:00"


def test_day_that_never_was_is_an_empty_period_between_its_neighbours():
    apia = Calendar("Pacific/Apia")
    days = periods_between("day", utc(2011, 12, 29), utc(2012, 1, 1), apia)
    labels = [period.label for period in days]
    assert "2011-12-30" in labels
    empty = days[labels.index("2011-12-30")]
    assert empty.start == empty.end == utc(2011, 12, 30, 10)
    after = days[labels.index("2011-12-31")]
    assert previous_period(after, apia) == empty
    assert previous_period(empty, apia).label == "2011-12-29"


@pytest.mark.parametrize(
    ("day", "label"),
    [("2005-01-01", "2004-W53"), ("2008-12-29", "2009-W01"), ("2024-12-30", "2025-W01"), ("2017-12-11", "2017-W50")],
)
def test_iso_week_belongs_to_its_iso_year(day, label):
    assert period_at("week", BERLIN.midnight(date.fromisoformat(day)), BERLIN).label == label


def test_weeks_that_start_on_sunday_are_named_by_their_first_day():
    calendar = Calendar("UTC", week_start="sun")
    period = period_at("week", utc(2017, 12, 13), calendar)
    assert (period.label, period.start, period.end) == ("2017-12-10", utc(2017, 12, 10), utc(2017, 12, 17))
    assert period_at("week_sun", utc(2017, 12, 13), BERLIN).label == "2017-12-10"
    assert period_at("week_sat", utc(2017, 12, 13), BERLIN).label == "2017-12-09"
    assert period_from_label(None, "2017-W50", calendar).kind == "iso_week"
    for kind in ("week", "week_sun"):
        with pytest.raises(ConfigError):
            period_from_label(kind, "2017-W50", calendar)


def test_fiscal_year_is_named_by_its_start_or_its_end():
    ends, starts = Calendar("UTC", fiscal_start=9), Calendar("UTC", fiscal_start=9, fiscal_label="start")
    assert period_at("fiscal_year", utc(2009, 8, 31), ends).label == "FY2009"
    assert period_at("fiscal_year", utc(2009, 8, 31), starts).label == "FY2008"
    assert period_at("fiscal_quarter", utc(2008, 12, 1), ends).label == "FY2009-Q2"
    assert period_at("fiscal_month", utc(2008, 9, 1), ends).label == "FY2009-M01"
    assert period_from_label(None, "FY2009-Q2", ends).start == utc(2008, 12, 1)
    assert period_at("fiscal_year", utc(2009, 8, 31), Calendar("UTC")).label == "FY2009"


def test_rolling_days_end_before_the_day_itself():
    period = period_at("rolling_7d", utc(2018, 1, 2, 8), BERLIN)
    assert (period.start, period.end) == (utc(2017, 12, 25, 23), utc(2018, 1, 1, 23))
    assert period.label == "7d to 2018-01-01"
    assert previous_period(period, BERLIN).label == "7d to 2017-12-25"
    assert last_complete("rolling_7d", utc(2018, 1, 2, 8), BERLIN) == [period]


def test_to_date_ends_with_the_day_and_compares_with_as_many_days():
    period = period_at("mtd", utc(2017, 12, 31, 12), BERLIN)
    assert (period.start, period.end) == (utc(2017, 11, 30, 23), utc(2017, 12, 31, 23))
    assert period.label == "MTD 2017-12-31"
    assert previous_period(period, BERLIN).label == "MTD 2017-11-30"
    assert previous_period(period_from_label("mtd", "2017-12-10", BERLIN), BERLIN).label == "MTD 2017-11-10"
    assert last_complete("mtd", utc(2018, 1, 1, 12), BERLIN)[0].label == "MTD 2017-12-31"


def test_daily_kinds_between_two_instants_are_those_that_end_there():
    found = periods_between("rolling_30d", BERLIN.midnight(date(2018, 1, 1)), BERLIN.midnight(date(2018, 1, 4)), BERLIN)
    assert [period.label[-5:] for period in found] == ["01-01", "01-02", "01-03"]


@pytest.mark.parametrize(
    "kind",
    [
        "weekly",
        "rolling_0d",
        "rolling_d",
        "",
        "Month",
        "rolling_-3d",
        "2017-02-10..2017-01-15",
        "2017-02-30..2017-03-15",
        "since_2017-02-30",
    ],
)
def test_unknown_kind_is_refused_with_the_kinds_there_are(kind):
    with pytest.raises(ConfigError, match="rolling_90d"):
        check_kind(kind)


@pytest.mark.parametrize(
    "label",
    [
        "2017-13",
        "2017-W54",
        "2017-02-30",
        "2017-Q5",
        "December",
        "",
        "FY2018-W01",
        "2017-M01",
        "FY2018-M13",
        "99999d to 2017-01-01",
        "2024-03-31 02:30",
        "2017-01-01 08:15",
        "2017-01-15..2017-01-15",
        "since 2017-02-30 to 2017-04-01",
    ],
)
def test_label_that_names_nothing_is_refused(label):
    with pytest.raises(ConfigError, match="is not a"):
        period_from_label(None, label, BERLIN)


def test_label_of_another_kind_is_refused():
    with pytest.raises(ConfigError, match="of kind week"):
        period_from_label("week", "2017-12", BERLIN)


def test_unknown_zone_and_week_start_are_refused():
    with pytest.raises(ConfigError, match="time zone"):
        Calendar("Europe/Atlantis")
    with pytest.raises(ConfigError, match="week_start"):
        Calendar("UTC", week_start="tue")


def test_rolling_days_with_today_end_with_the_day_itself():
    period = period_at("rolling_7d_today", utc(2018, 1, 2, 8), BERLIN)
    assert (period.start, period.end) == (utc(2017, 12, 26, 23), utc(2018, 1, 2, 23))
    assert period.label == "7d incl 2018-01-02"
    assert previous_period(period, BERLIN).label == "7d incl 2017-12-26"
    assert last_complete("rolling_7d_today", utc(2018, 1, 2, 8), BERLIN)[0].label == "7d incl 2018-01-01"


def test_span_of_given_days_leaves_the_last_one_out_and_compares_with_as_many_before():
    kind = "2017-01-15..2017-02-10"
    period = period_at(kind, utc(2026, 1, 1), BERLIN)
    assert (period.start, period.end, period.label) == (utc(2017, 1, 14, 23), utc(2017, 2, 9, 23), kind)
    assert previous_period(period, BERLIN).label == "2016-12-20..2017-01-15"
    assert periods_between(kind, utc(2017, 1, 1), utc(2018, 1, 1), BERLIN) == [period]
    assert periods_between(kind, utc(2018, 1, 1), utc(2019, 1, 1), BERLIN) == []
    assert last_complete(kind, utc(2017, 2, 9, 23), BERLIN, 5) == [period]
    assert last_complete(kind, utc(2017, 2, 9, 22), BERLIN) == []
    assert period_from_label(None, kind, BERLIN) == period_from_label(kind, kind, BERLIN) == period
    assert (is_kind(kind), is_fixed(kind), recurs(kind), recurs("since_2017-01-15"), recurs("mtd")) == (
        True,
        True,
        False,
        False,
        True,
    )
    with pytest.raises(ConfigError, match="before it starts"):
        span(date(2017, 1, 2), date(2017, 1, 2), BERLIN)


def test_campaign_to_date_runs_from_its_first_day_to_each_day():
    kind = "since_2017-01-15"
    found = periods_between(kind, utc(2017, 1, 13), utc(2017, 1, 17, 23), BERLIN)
    assert [(period.label[-5:], days_of(period, BERLIN)[1]) for period in found[-2:]] == [
        ("01-16", date(2017, 1, 17)), ("01-17", date(2017, 1, 18))]  # fmt: skip
    assert all(period.start == utc(2017, 1, 14, 23) <= period.end for period in found)
    assert previous_period(found[-1], BERLIN).label == "2017-01-12..2017-01-15"


@pytest.mark.parametrize(
    ("timezone", "day", "lengths"),
    [
        ("Europe/Paris", "2024-03-31", {1: 23}),
        ("America/New_York", "2024-03-10", {1: 23}), ("America/New_York", "2024-11-03", {1: 25}),
        ("Australia/Lord_Howe", "2024-04-07", {1: 24, 0.5: 1}), ("Australia/Lord_Howe", "2024-10-06", {1: 23, 0.5: 1}),
        ("America/Santiago", "2024-09-08", {1: 23}), ("Asia/Kathmandu", "2024-03-31", {1: 24}),
        ("Pacific/Apia", "2011-12-30", {}),
    ],
)  # fmt: skip
def test_day_has_the_hours_that_its_clock_shows(timezone, day, lengths):
    calendar = Calendar(timezone)
    whole = period_from_label("day", day, calendar)
    hours = periods_between("hour", whole.start, whole.end, calendar)
    counted = Counter((hour.end - hour.start) / timedelta(hours=1) for hour in hours)
    assert counted == lengths
    assert sum((hour.end - hour.start for hour in hours), timedelta()) == whole.end - whole.start
    assert len({hour.label for hour in hours}) == len(hours)


def test_hour_that_comes_twice_says_which_it_is():
    night = periods_between("hour", utc(2024, 10, 26, 23), utc(2024, 10, 27, 3), BERLIN)
    assert [hour.label for hour in night] == [
        "2024-10-27 01:00", "2024-10-27 02:00+02:00", "2024-10-27 02:00+01:00", "2024-10-27 03:00"]  # fmt: skip
    assert period_from_label("hour", "2024-10-27 02:00+01:00", BERLIN) == night[2]
    assert previous_period(night[2], BERLIN) == night[1]
    assert last_complete("hour", utc(2024, 10, 27, 1, 59), BERLIN, 2) == night[:2]
    assert last_complete("hour", utc(2024, 10, 27, 1), BERLIN, 2) == night[:2]
    with pytest.raises(ConfigError):
        period_from_label("hour", "2024-10-27", BERLIN)
