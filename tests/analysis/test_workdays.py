"""Working days and business hours: against counting minute by minute, on the nights when clocks change, and on holidays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.analysis.periods import Calendar
from kpid.analysis.public_holidays import check_region, holidays_of
from kpid.analysis.workdays import OFFICE, WorkCalendar, hours_from_text, open_spans, week_from_texts
from kpid.errors import ConfigError

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE_WEEK = WorkCalendar("Europe/Berlin")
ALWAYS = ((0, 86_400),)
MINUTE = timedelta(minutes=1)


def berlin(*parts: int, fold: int = 0) -> datetime:
    return datetime(*parts, tzinfo=BERLIN, fold=fold).astimezone(UTC)


@st.composite
def hours(draw):
    marks = sorted(draw(st.lists(st.integers(0, 96), max_size=6, unique=True)))
    return tuple((low * 900, high * 900) for low, high in zip(marks[::2], marks[1::2], strict=False))


zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia", "UTC"])
week_calendars = st.builds(
    WorkCalendar,
    zones,
    st.tuples(*[hours()] * 7),
    st.just(()),
    st.lists(st.tuples(st.dates(date(2024, 3, 28), date(2024, 4, 10)), hours()), max_size=3, unique_by=lambda one: one[0]).map(
        tuple
    ),
)
# around the nights on which the clocks of these zones change, and the day that Apia never had
starts = st.sampled_from([datetime(2024, 3, 9, 20), datetime(2024, 3, 30, 18), datetime(2024, 4, 6, 9), datetime(2011, 12, 29, 7),
                          datetime(2024, 10, 26, 12), datetime(2024, 11, 2, 22), datetime(2024, 9, 7, 20)])  # fmt: skip


def is_open(calendar: WorkCalendar, instant: datetime) -> bool:
    """Whether the clock on the wall stands inside the hours, looked up once more and otherwise."""
    local = instant.astimezone(ZoneInfo(calendar.timezone))
    special = dict(calendar.days)
    intervals = special.get(local.date(), calendar.weekly[local.weekday()])
    second = local.hour * 3600 + local.minute * 60 + local.second
    return any(opens <= second < closes for opens, closes in intervals)


@given(week_calendars, starts, st.integers(0, 2_000), st.integers(0, 2_900))
@settings(max_examples=60, deadline=None)
def test_business_time_is_the_open_minutes_counted_one_by_one(calendar, base, shift, minutes):
    start = base.replace(tzinfo=UTC) + shift * MINUTE
    counted = sum(is_open(calendar, start + number * MINUTE) for number in range(minutes))
    assert calendar.open_between(start, start + minutes * MINUTE) == counted * MINUTE


@given(week_calendars, starts, st.integers(0, 6), st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_spans_lie_side_by_side_and_give_the_same_time_as_counting(calendar, base, days, left, right):
    first = base.date()
    found = open_spans(calendar, first, first + timedelta(days=days))
    bounds = Calendar(calendar.timezone)
    low, high = bounds.midnight(first), bounds.midnight(first + timedelta(days=days + 1))
    if low == high:
        assert found == []
        return
    assert (found[0].from_instant, found[-1].to_instant) == (low, high)
    assert all(one.to_instant == other.from_instant for one, other in pairwise(found))
    assert all(one.from_instant < one.to_instant and bounds.day_of(one.from_instant) == one.day for one in found)

    def before(instant: datetime) -> float:
        [span] = [one for one in found if one.from_instant <= instant < one.to_instant]
        return span.open_seconds_before + ((instant - span.from_instant).total_seconds() if span.is_open else 0)

    length = (high - low - MINUTE) / MINUTE
    start, end = (low + timedelta(minutes=part % (length + 1)) for part in (left, right))
    assert before(end) - before(start) == calendar.open_between(start, end).total_seconds()


@given(week_calendars, starts, st.integers(0, 5_000), st.integers(0, 5_000))
@settings(max_examples=40, deadline=None)
def test_business_time_adds_up_and_turns_round(calendar, base, left, right):
    start = base.replace(tzinfo=UTC)
    middle, end = start + left * MINUTE, start + (left + right) * MINUTE
    assert calendar.open_between(start, middle) + calendar.open_between(middle, end) == calendar.open_between(start, end)
    assert calendar.open_between(end, start) == -calendar.open_between(start, end)
    opening = calendar.next_opening(start)
    if opening is not None:
        assert is_open(calendar, opening)
        assert calendar.open_between(start, opening) == timedelta()


@pytest.mark.parametrize(
    ("start", "end", "takes"),
    [
        (berlin(2024, 3, 4, 10), berlin(2024, 3, 4, 11, 30), timedelta(hours=1.5)),
        (berlin(2024, 3, 4, 7), berlin(2024, 3, 4, 9, 15), timedelta(minutes=15)),  # begins at the next opening
        (berlin(2024, 3, 1, 16, 30), berlin(2024, 3, 4, 9, 30), timedelta(hours=1)),  # over a weekend
        (berlin(2024, 3, 2, 10), berlin(2024, 3, 3, 18), timedelta()),  # wholly outside: 0, not unknown
        (berlin(2024, 3, 4, 17), berlin(2024, 3, 5, 9), timedelta()),  # an interval is half-open
        (berlin(2024, 3, 4, 9), berlin(2024, 3, 4, 9, 0, 0, 7), timedelta(microseconds=7)),
        (berlin(2024, 3, 29, 9), berlin(2024, 4, 1, 17), timedelta(hours=16)),
    ],
)
def test_business_time_in_an_office_week(start, end, takes):
    assert OFFICE_WEEK.open_between(start, end) == takes


def test_nights_when_clocks_change_have_the_hours_that_pass():
    night = WorkCalendar("Europe/Berlin", (((0, 6 * 3600),),) * 7)
    spring, autumn = date(2024, 3, 31), date(2024, 10, 27)
    assert night.open_between(berlin(2024, 3, 31), berlin(2024, 4, 1)) == timedelta(hours=5)
    assert night.open_between(berlin(2024, 10, 27), berlin(2024, 10, 28)) == timedelta(hours=7)
    assert [span.is_open for span in open_spans(night, spring, spring)] == [True, False]
    inside_the_repeated_hour = WorkCalendar("Europe/Berlin", (((2 * 3600, 2 * 3600 + 1800),),) * 7)
    spans = [span for span in open_spans(inside_the_repeated_hour, autumn, autumn) if span.is_open]
    assert [span.from_instant for span in spans] == [berlin(2024, 10, 27, 2), berlin(2024, 10, 27, 2, fold=1)]
    assert open_spans(WorkCalendar("Pacific/Apia", (ALWAYS,) * 7), date(2011, 12, 30), date(2011, 12, 30)) == []


def test_day_open_all_round_the_clock_is_as_long_as_the_day():
    for zone, day, length in [("America/New_York", date(2024, 3, 10), 23), ("America/New_York", date(2024, 11, 3), 25),
                              ("Australia/Lord_Howe", date(2024, 4, 7), 24.5)]:  # fmt: skip
        [span] = open_spans(WorkCalendar(zone, (ALWAYS,) * 7), day, day)
        assert (span.to_instant - span.from_instant, span.is_open) == (timedelta(hours=length), True)


@pytest.mark.parametrize(
    ("first", "after", "count"),
    [
        (date(2023, 3, 1), date(2023, 4, 1), 23),
        (date(2024, 3, 1), date(2024, 4, 1), 21),
        (date(2023, 2, 1), date(2023, 3, 1), 20),
        (date(2024, 2, 1), date(2024, 3, 1), 21),
        (date(2024, 2, 1), date(2024, 2, 1), 0),
        (date(2024, 2, 2), date(2024, 2, 1), 0),
    ],
)
def test_working_days_without_holidays_are_weekdays(first, after, count):
    assert OFFICE_WEEK.working_days(first, after) == count


def test_holidays_are_free_half_days_count_half_and_own_days_win():
    calendar = WorkCalendar(
        "Europe/Berlin",
        regions=(("DE", "BY"),),
        days=((date(2026, 12, 24), None), (date(2026, 12, 31), ()), (date(2026, 12, 26), ((9 * 3600, 13 * 3600),)),
              (date(2026, 1, 6), OFFICE)),
    )  # fmt: skip
    assert calendar.weight(date(2026, 12, 25)) == 0
    assert (calendar.weight(date(2026, 12, 24)), calendar.hours(date(2026, 12, 24))) == (Fraction(1, 2), ((32_400, 46_800),))
    assert calendar.weight(date(2026, 12, 31)) == 0
    assert calendar.weight(date(2026, 12, 26)) == Fraction(1, 2)  # a Saturday on which somebody is there
    assert calendar.weight(date(2026, 1, 6)) == 1  # Epiphany, worked all the same
    assert calendar.weight(date(2026, 6, 4)) == 0  # Corpus Christi, in Bavaria
    assert WorkCalendar("Europe/Berlin", regions=(("DE", "HH"),)).weight(date(2026, 6, 4)) == 1
    assert calendar.working_days(date(2026, 12, 21), date(2027, 1, 1)) == 3 + Fraction(1, 2) + Fraction(1, 2) + 3


def test_half_day_is_the_first_half_of_its_hours():
    split = WorkCalendar("UTC", (hours_from_text("09:00-12:00, 13:00-17:00"),) * 7, (), ((date(2026, 5, 5), None),))
    assert split.hours(date(2026, 5, 5)) == hours_from_text("09:00-12:00, 13:00-13:30")
    assert split.weight(date(2026, 5, 5)) == Fraction(1, 2)


def test_half_holidays_of_the_library_are_half_days():
    day = next(day for day, kind in holidays_of("GR", "", 2026).items() if kind == "half" and day.weekday() < 5)
    assert WorkCalendar("Europe/Athens", regions=(("GR", ""),)).weight(day) == Fraction(1, 2)


def test_country_and_region_that_nobody_knows_are_refused():
    with pytest.raises(ConfigError, match="country 'XX'"):
        check_region("XX")
    with pytest.raises(ConfigError, match="region 'XX' of DE"):
        check_region("DE", "XX")
    check_region("US", "CA")


def test_week_is_read_from_days_and_ranges():
    week = week_from_texts({"mon-thu": "09:00-12:00,13:00-17:30", "fri, sun": "00:00-24:00", "sat": "closed"})
    assert week[0] == week[3] == ((32_400, 43_200), (46_800, 63_000))
    assert (week[4], week[5], week[6]) == (ALWAYS, (), ALWAYS)
    assert WorkCalendar("UTC", week).weight(date(2024, 3, 8)) == 1  # a short or long weekday is a working day


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("mon", "9-17", "09:00-12:30"), ("mon", "09:00-09:00", "empty"), ("mon", "22:00-06:00", "split it"),
        ("mon", "09:00-25:00", "24:00"), ("mon", "09:75-10:00", "time of day"), ("mon", "09:00-12:00, 11:00-13:00", "overlap"),
        ("monday", "09:00-10:00", "not a weekday"), ("fri-mon", "09:00-10:00", "backwards"),
        ("mon-fri, wed", "09:00-10:00", "twice"),
    ],
)  # fmt: skip
def test_hours_that_make_no_sense_are_refused_with_how_to_write_them(key, text, says):
    with pytest.raises(ValueError, match=says):
        week_from_texts({key: text})


def test_calendar_that_never_opens_has_no_opening_and_no_working_days():
    never = WorkCalendar("UTC", ((),) * 7)
    assert never.next_opening(datetime(2024, 1, 1, tzinfo=UTC)) is None
    assert never.working_days(date(2024, 1, 1), date(2025, 1, 1)) == 0
    assert OFFICE_WEEK.next_opening(berlin(2024, 3, 2, 12)) == berlin(2024, 3, 4, 9)
