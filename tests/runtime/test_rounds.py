"""What is planned, taken and told, with a clock that does what the test says."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from kpid.app import open_app
from kpid.commands import rounds
from kpid.commands.once import run_once
from kpid.daemon import Daemon
from kpid.errors import KpidError
from kpid.store import problems, runs
from kpid.testing import FakeClock
from tests.runtime.world import CONFIG, make_world

FIRST = datetime(2026, 10, 28, 8, 0, tzinfo=UTC)
MONDAY = datetime(2026, 11, 2, 6, 30, 10, tzinfo=UTC)


@contextmanager
def opened(folder, now, configuration=CONFIG):
    shell = make_world(folder, configuration) if not (folder / "data").exists() else None
    config = shell.config if shell else folder / "kpid.yml"
    config.write_text(configuration)
    app = open_app(config, FakeClock(now))
    try:
        yield app
    finally:
        app.close()


def listed(app, schedule="report:weekly"):
    with app.store.read() as connection:
        return [(run.due, run.state) for run in runs.list_runs(connection, schedule=schedule, limit=1000)]


def take(app, name="report:weekly"):
    return rounds.take(app, [name], app.clock.now())


def test_first_round_wants_every_source_and_every_report_once(tmp_path):
    with opened(tmp_path, FIRST) as app:
        assert rounds.plan(app, FIRST) == 2
        assert rounds.plan(app, FIRST) == 0
        assert listed(app) == [("2026-10-26T07:30:00", "due")]
        assert listed(app, "sync:crm") == [("2026-10-28T08:00:00", "due")]
        assert rounds.late_note(app, take(app), FIRST, None) == ""


def test_new_source_is_synced_at_once_and_new_report_waits(tmp_path):
    with opened(tmp_path, FIRST) as app:
        rounds.plan(app, FIRST)
    more = CONFIG.replace("receivers:", "  more: {connector: files, path: data, every: daily 03:00}\nreceivers:")
    more += '  other: {report: weekly_sales, every: "daily 06:00", to: [team]}\n'
    with opened(tmp_path, FIRST + timedelta(minutes=1), more) as app:
        assert rounds.plan(app, app.clock.now()) == 1
        assert listed(app, "sync:more") == [("2026-10-28T03:00:00", "due")]
        assert listed(app, "report:other") == []


def test_run_that_got_no_turn_for_too_long_is_passed_over(tmp_path):
    with opened(tmp_path, FIRST) as app:
        run_once(app)
        app.clock.set(MONDAY)
        assert rounds.plan(app, MONDAY) > 0
        app.clock.set(MONDAY + timedelta(days=5))
        assert take(app) is None
        assert listed(app)[0] == ("2026-11-02T07:30:00", "skipped")


def test_report_that_was_held_up_gives_way_to_the_next(tmp_path):
    with opened(tmp_path, FIRST) as app:
        run_once(app)
        for week in (0, 1):
            app.clock.set(MONDAY + timedelta(weeks=week))
            rounds.plan(app, app.clock.now())
        assert take(app).due == "2026-11-09T07:30:00"


@pytest.mark.parametrize(
    ("policy", "states"), [("all", ["due", "due"]), ("skip", ["skipped", "skipped"]), ("latest", ["due", "skipped"])]
)
def test_catch_up_is_the_reports_own(tmp_path, policy, states):
    with opened(tmp_path, FIRST, CONFIG.replace('"mon 07:30"', f'"mon 07:30", catch_up: {policy}')) as app:
        run_once(app)
        app.clock.set(MONDAY + timedelta(days=7, hours=3))
        rounds.plan(app, app.clock.now())
        assert [state for _, state in listed(app)[:2]] == states


def test_late_note_says_how_long_nobody_ran_and_what_was_left_out(tmp_path):
    with opened(tmp_path, FIRST) as app:
        run_once(app)
        now = MONDAY + timedelta(days=8, hours=2)
        app.clock.set(now)
        pause = rounds.begin(app, now)
        rounds.plan(app, now)
        note = rounds.late_note(app, take(app), now, pause)
    assert "kpid was not running from" in note
    assert "28 Oct" in note
    assert "2026-W44" in note


def test_report_in_time_has_no_note(tmp_path):
    with opened(tmp_path, FIRST) as app:
        run_once(app)
        app.clock.set(MONDAY)
        rounds.plan(app, MONDAY)
        assert rounds.late_note(app, take(app), MONDAY, None) == ""


def test_a_job_that_fails_is_told_and_ends_there(tmp_path):
    def fail():
        raise KpidError("it rained", hint="take an umbrella")

    def bug():
        raise ZeroDivisionError("a bug")

    with opened(tmp_path, FIRST) as app:
        rounds.plan(app, FIRST)
        run = take(app)
        assert "umbrella" in rounds.attempt(app, run, fail)
        with app.store.read() as connection:
            assert runs.last_run(connection, "report:weekly").state == "failed"
            assert [one.subject for one in problems.list_problems(connection)] == ["report:weekly"]
        assert "a bug" in rounds.attempt(app, take(app, "sync:crm"), bug)
        rounds.attempt(app, run, lambda: None)
        with app.store.read() as connection:
            assert problems.list_problems(connection) == []


def test_a_round_does_everything_once(tmp_path):
    with opened(tmp_path, FIRST) as app:
        done = run_once(app)
        assert (done.published, done.failures, done.delivered.sent) == (("weekly",), (), 2)
        again = run_once(app)
        assert (again.published, again.failures, again.delivered.sent) == ((), (), 0)


def test_report_waits_for_syncs_but_not_for_ever(tmp_path):
    with opened(tmp_path, FIRST) as app:
        daemon = Daemon(app, tmp_path / "kpid.yml", None)
        rounds.plan(app, FIRST)
        assert daemon._had_better_wait(app, "report:weekly")
        assert not daemon._had_better_wait(app, "sync:crm")
        app.clock.advance(timedelta(minutes=16))
        assert not daemon._had_better_wait(app, "report:weekly")


class SteppingClock(FakeClock):
    """Its wall clock can be set without time passing."""

    step = timedelta()

    def now(self):
        return super().now() + self.step

    def monotonic(self):
        return (super().now() - self._start).total_seconds()


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(days=365), timedelta(hours=-1), timedelta(days=-1)])
def test_clock_that_is_set_is_noticed_and_runs_nothing_twice(tmp_path, step, caplog):
    shell = make_world(tmp_path)
    clock = SteppingClock(FIRST)
    app = open_app(shell.config, clock)
    try:
        run_once(app)
        daemon = Daemon(app, shell.config, None)
        daemon.tick()
        before = listed(app)
        clock.step = step
        clock.advance(timedelta(seconds=30))
        daemon.tick()
        assert "the clock was set by" in caplog.text
        new = [one for one in listed(app) if one not in before]
        assert len([one for one in new if one[1] == "due"]) <= 1
        assert len(new) <= 60
        clock.step = timedelta()
        clock.advance(timedelta(seconds=30))
        daemon.tick()
        assert [one for one in listed(app) if one in before] == before
        clock.set(MONDAY)
        daemon.tick()
        assert ("2026-11-02T07:30:00", "due") in listed(app), "what a wrong clock passed over is run when its time comes"
    finally:
        app.close()
