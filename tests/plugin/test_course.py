"""Windows follow one another without a hole, however runs are cut."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpid.plugin import Course, cursor_since

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
FIVE = timedelta(minutes=5)
HOUR = timedelta(hours=1)


def legs(cursor, until=NOW, kinds=("calls", "meetings"), **options):
    return list(Course(kinds, cursor, until, **{"overlap": FIVE, **options}).legs())


def test_a_first_read_takes_everything_and_ends_where_it_began():
    first, last = legs(None)
    assert (first.kind, first.start, first.end, first.place) == ("calls", None, NOW, None)
    assert first.at({"after": 7}) == {"window": [None, NOW.isoformat()], "kind": "calls", "place": {"after": 7}}
    assert first.done() == ({"window": [None, NOW.isoformat()], "kind": "meetings", "place": None}, None)
    assert last.done() == ({"since": NOW.isoformat()}, NOW)


def test_a_first_read_may_have_a_beginning():
    (leg,) = legs(None, kinds=("deals",), limit_start=NOW - HOUR)
    assert leg.start == NOW - HOUR


def test_a_window_begins_an_overlap_before_the_last_end():
    (leg,) = legs({"since": (NOW - HOUR).isoformat()}, kinds=("deals",), lag=timedelta(minutes=1))
    assert (leg.start, leg.end) == (NOW - HOUR - FIVE, NOW - timedelta(minutes=1))


def test_a_day_grained_window_begins_a_whole_day_earlier():
    (leg,) = legs({"since": NOW.isoformat()}, NOW + HOUR, kinds=("deals",), grain="day")
    assert leg.start == datetime(2026, 11, 19, tzinfo=UTC)


def test_what_a_killed_run_began_is_finished_first_then_the_rest():
    begun = {"window": [None, (NOW - HOUR).isoformat()], "kind": "meetings", "place": "x"}
    found = [(leg.kind, leg.start, leg.end, leg.place) for leg in legs(begun)]
    rest = (NOW - HOUR - FIVE, NOW, None)
    assert found == [("meetings", None, NOW - HOUR, "x"), ("calls", *rest), ("meetings", *rest)]


def test_a_window_whose_kind_is_gone_begins_anew():
    begun = {"window": [None, NOW.isoformat()], "kind": "faxes", "place": "x"}
    assert [(leg.kind, leg.place) for leg in legs(begun)] == [("calls", None), ("meetings", None)]


@pytest.mark.parametrize("until", [NOW, NOW - HOUR])
def test_it_never_goes_back(until):
    course = Course(("deals",), cursor_since(NOW), until, overlap=FIVE)
    (page,) = course.still()
    assert (page.rows, page.cursor, page.through) == ({}, {"since": NOW.isoformat()}, NOW)
    assert list(course.legs()) == []


def test_where_there_is_something_to_read_nothing_is_said_before():
    assert list(Course(("deals",), None, NOW, overlap=FIVE).still()) == []
    assert list(Course(("deals",), cursor_since(NOW - HOUR), NOW, overlap=FIVE).still()) == []


RUNS = st.lists(st.tuples(st.integers(-90, 900), st.integers(0, 9)), min_size=1, max_size=12)


@given(runs=RUNS, kinds=st.integers(1, 3), pages=st.integers(1, 3), grain=st.sampled_from(["exact", "day"]))
@settings(max_examples=150, deadline=None)
def test_no_change_is_missed_however_runs_are_cut(runs, kinds, pages, grain):
    """Changes happen each minute; runs come at any time and are killed at any page; a change shows up to an overlap late."""
    names = tuple("abc"[:kinds])
    cursor, clock, marks = None, NOW, []
    seen = {kind: [] for kind in names}
    for minutes, budget in [*runs, (60, 10**6), (60, 10**6)]:
        clock += timedelta(minutes=minutes)
        until, left = clock, budget
        course = Course(names, cursor, until, overlap=FIVE, lag=timedelta(minutes=1), grain=grain)
        told = list(course.still())
        assert not told or not list(course.legs())
        for leg in course.legs():
            for page in range(leg.place or 0, pages):
                if left == 0:
                    break
                left -= 1
                is_last = page == pages - 1
                cursor, through = leg.done() if is_last else (leg.at(page + 1), None)
                cursor = json.loads(json.dumps(cursor))
                if is_last:
                    seen[leg.kind].append((leg.start, leg.end))
                if through is not None:
                    marks.append(through)
            if left == 0:
                break
    assert marks == sorted(marks)
    for windows in seen.values():
        reached = None
        for start, end in windows:
            if reached is None:
                assert start is None
                reached = end
            else:
                assert start is None or start <= reached - FIVE
                reached = max(reached, end)
        assert reached == marks[-1]
