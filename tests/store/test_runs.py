from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kpid.analysis.schedule import due_runs, schedule_from_text
from kpid.store.engine import open_store
from kpid.store.runs import (
    LEASE,
    MAX_ATTEMPTS,
    add_run,
    fail_run,
    finish_run,
    last_run,
    list_runs,
    plan_runs,
    position_of,
    prune_runs,
    reclaim_runs,
    release_run,
    renew_runs,
    skipped_since_last,
    take_run,
)

WEEKLY = schedule_from_text("mon 07:30", "Europe/Berlin")
NAME = "report:weekly"
FIRST = datetime(2026, 11, 3, 10, tzinfo=UTC)
MONDAY = datetime(2026, 11, 9, 6, 30, 5, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'kpid.db'}")
    yield store
    store.close()


def plan(store, now, policy="latest", max_age=None):
    with store.write() as connection:
        due = due_runs(WEEKLY, position_of(connection, NAME), now, policy, max_age)
        return plan_runs(connection, NAME, WEEKLY, due, now=now)


def take(store, now, names=(NAME,)):
    with store.write() as connection:
        return take_run(connection, names, now=now)


def listed(store):
    with store.read() as connection:
        return [(run.due, run.state) for run in list_runs(connection)]


def test_due_run_is_planned_once_and_taken_once(store):
    assert plan(store, FIRST) == 0
    assert plan(store, MONDAY) == 1
    assert plan(store, MONDAY) == 0
    run = take(store, MONDAY)
    assert (run.schedule, run.due, run.fence, run.state) == (NAME, "2026-11-09T07:30:00", 1, "running")
    assert run.due_at == datetime(2026, 11, 9, 6, 30, tzinfo=UTC)
    assert take(store, MONDAY) is None


def test_planning_that_fails_plans_nothing(store):
    plan(store, FIRST)

    def crash():
        with store.write() as connection:
            due = due_runs(WEEKLY, position_of(connection, NAME), MONDAY, "latest", None)
            plan_runs(connection, NAME, WEEKLY, due, now=MONDAY)
            raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        crash()
    assert listed(store) == []
    assert plan(store, MONDAY) == 1


def test_clock_set_back_does_not_run_again(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    with store.write() as connection:
        finish_run(connection, take_run(connection, [NAME], now=MONDAY), now=MONDAY)
    assert plan(store, MONDAY - timedelta(days=1)) == 0
    assert plan(store, MONDAY + timedelta(seconds=30)) == 0
    assert listed(store) == [("2026-11-09T07:30:00", "done")]


def test_what_a_clock_ahead_of_its_time_passed_over_is_run_when_it_comes(store):
    plan(store, FIRST)
    plan(store, MONDAY + timedelta(days=365))
    assert ("2026-11-09T07:30:00", "skipped") in listed(store) or len(listed(store)) >= 50
    plan(store, FIRST)
    monday = MONDAY + timedelta(weeks=20)
    plan(store, monday - timedelta(days=1))
    assert plan(store, monday) == 1


def test_two_missed_mondays_give_one_run_and_one_skipped(store):
    plan(store, FIRST)
    now = datetime(2026, 11, 17, 9, tzinfo=UTC)
    assert plan(store, now) == 1
    assert listed(store) == [("2026-11-16T07:30:00", "due"), ("2026-11-09T07:30:00", "skipped")]
    run = take(store, now)
    with store.read() as connection:
        assert [skipped.due for skipped in skipped_since_last(connection, run)] == ["2026-11-09T07:30:00"]


def test_skipped_since_last_begins_at_the_last_run(store):
    plan(store, FIRST)
    for now in (datetime(2026, 11, 17, 9, tzinfo=UTC), datetime(2026, 11, 24, 9, tzinfo=UTC)):
        plan(store, now)
        run = take(store, now)
        with store.write() as connection:
            skipped = skipped_since_last(connection, run)
            finish_run(connection, run, now=now)
    assert skipped == []


def test_run_of_a_dead_holder_is_taken_again_and_fenced(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    old = take(store, MONDAY)
    assert take(store, MONDAY + LEASE) is None
    new = take(store, MONDAY + LEASE + timedelta(seconds=1))
    assert new.fence == 2
    with store.write() as connection:
        assert not finish_run(connection, old, now=MONDAY)
        assert fail_run(connection, new, now=MONDAY, reason="it rained")
    with store.read() as connection:
        run = last_run(connection, NAME)
    assert (run.state, run.reason) == ("failed", "it rained")


def test_renewed_run_is_not_taken(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    run = take(store, MONDAY)
    with store.write() as connection:
        renew_runs(connection, [run], now=MONDAY + timedelta(seconds=60))
    assert take(store, MONDAY + LEASE + timedelta(seconds=1)) is None


def test_reclaimed_run_is_taken_at_once(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    take(store, MONDAY)
    with store.write() as connection:
        assert reclaim_runs(connection) == 1
    assert take(store, MONDAY).fence == 2


def test_released_run_is_due_again(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    with store.write() as connection:
        release_run(connection, take_run(connection, [NAME], now=MONDAY))
    assert listed(store) == [("2026-11-09T07:30:00", "due")]


def test_run_that_kills_the_process_each_time_is_given_up(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    for _ in range(MAX_ATTEMPTS):
        assert take(store, MONDAY) is not None
        with store.write() as connection:
            reclaim_runs(connection)
    assert take(store, MONDAY) is None
    with store.read() as connection:
        assert last_run(connection, NAME).reason.startswith("abandoned")


def test_a_schedule_has_one_run_at_a_time(store):
    plan(store, FIRST)
    plan(store, datetime(2026, 11, 17, 9, tzinfo=UTC), policy="all")
    now = datetime(2026, 11, 17, 9, tzinfo=UTC)
    assert take(store, now).due == "2026-11-09T07:30:00"
    assert take(store, now) is None


def test_schedules_that_are_not_configured_are_left_alone(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    assert take(store, MONDAY, names=["report:other"]) is None


def test_a_run_can_be_added_by_hand_once(store):
    with store.write() as connection:
        assert add_run(connection, NAME, WEEKLY, datetime(2026, 11, 9, 7, 30))
        assert not add_run(connection, NAME, WEEKLY, datetime(2026, 11, 9, 7, 30))


def test_old_runs_are_forgotten(store):
    plan(store, FIRST)
    plan(store, MONDAY)
    with store.write() as connection:
        assert prune_runs(connection, before=MONDAY + timedelta(days=1), schedule_prefix="report:") == 0
        finish_run(connection, take_run(connection, [NAME], now=MONDAY), now=MONDAY)
        assert prune_runs(connection, before=MONDAY + timedelta(days=1), schedule_prefix="sync:") == 0
        assert prune_runs(connection, before=MONDAY + timedelta(days=1), schedule_prefix="report:") == 1
