"""How far data can be trusted: what sources have delivered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kpid.metrics.trust import Coverage, verdict
from kpid.model import MeasurementState as State
from kpid.model import Period
from kpid.warehouse import Watermark

JAN = Period("month", datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC), "2018-01")
NOW = datetime(2018, 2, 2, tzinfo=UTC)


def mark(source, entity, through):
    return Watermark(source, entity, None, through, through)


def states(coverage, *entities, period=JAN, now=NOW):
    return [state for state, _ in coverage.doubts(entities, period, now)]


def test_data_reach_as_far_as_the_slowest_source_and_entity():
    slow = NOW - timedelta(hours=5)
    coverage = Coverage([mark("a", "deals", NOW), mark("b", "deals", slow), mark("a", "users", JAN.start)], {})
    assert coverage.through(["deals"]) == slow
    assert coverage.through(["deals", "users"]) == JAN.start
    assert coverage.through(["deals", "tickets"]) is None
    assert coverage.through([]) is None


def test_source_without_a_limit_is_never_stale():
    marks = [mark("a", "deals", NOW - timedelta(hours=5))]
    assert states(Coverage(marks, {}), "deals") == []
    assert states(Coverage(marks, {"a": timedelta(hours=4)}), "deals") == [State.STALE]
    assert states(Coverage(marks, {"a": timedelta(hours=5)}), "deals") == []


def test_one_late_source_of_two_leaves_the_period_incomplete():
    coverage = Coverage([mark("a", "deals", NOW), mark("b", "deals", JAN.end - timedelta(seconds=1))], {})
    [(state, reason)] = coverage.doubts(["deals"], JAN, NOW)
    assert state is State.INCOMPLETE
    assert reason == "b has delivered deals up to 2018-01-31 23:59 UTC only: before the end of the period"


def test_current_period_is_incomplete_by_nature():
    coverage = Coverage([mark("a", "deals", JAN.start)], {})
    assert coverage.doubts(["deals"], JAN, JAN.start) == [(State.INCOMPLETE, "the period is not over")]


def test_entity_that_no_source_delivers_is_incomplete():
    assert Coverage([], {}).doubts(["tickets"], JAN, NOW) == [(State.INCOMPLETE, "no source delivers tickets")]


def test_verdict_takes_the_gravest_and_tells_the_rest_once():
    doubts = [(State.UNDEFINED, "none"), (State.ERROR, "broken"), (State.STALE, "old"), (State.STALE, "old")]
    assert verdict(doubts) == (State.ERROR, "broken", ("old", "none"))
    assert verdict([]) == (State.OK, "", ())
