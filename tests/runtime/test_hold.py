"""``when_stale: hold``: a report waits until its data is fresh, or until nobody wants it any more."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from kpid import cycle
from kpid.app import open_app
from kpid.commands import rounds
from kpid.commands.doctor import doctor
from kpid.commands.listings import list_runs
from kpid.commands.once import run_once
from kpid.daemon import Daemon
from kpid.errors import HeldError
from kpid.store import runs
from kpid.testing import FakeClock
from tests.runtime.world import CONFIG, make_world

FIRST = datetime(2026, 10, 28, 8, 0, tzinfo=UTC)
MONDAY = datetime(2026, 11, 2, 6, 30, 10, tzinfo=UTC)
STRICT = CONFIG.replace("max_age: 3650d", "max_age: 2h").replace('"mon 07:30"', '"mon 07:30", when_stale: hold')


@contextmanager
def opened(folder, configuration=STRICT, now=FIRST):
    shell = make_world(folder, configuration)
    app = open_app(shell.config, FakeClock(now))
    try:
        yield app
    finally:
        app.close()


def take(app):
    return rounds.take(app, ["report:weekly"], app.clock.now())


def weekly(app):
    return [(run["state"], run["reason"]) for run in list_runs(app, schedule="report:weekly")]


def break_source(app):
    (app.config.folder / "data").rename(app.config.folder / "away")


def mend_source(app):
    (app.config.folder / "away").rename(app.config.folder / "data")


def test_held_report_stays_due_and_goes_out_once_its_data_is_fresh(tmp_path):
    with opened(tmp_path) as app:
        run_once(app)
        break_source(app)
        app.clock.set(MONDAY)
        done = run_once(app)
        assert "too old" in dict(done.failures)["report:weekly"]
        assert weekly(app)[0] == ("due", "held back: the data of crm is too old")
        for _ in range(runs.MAX_ATTEMPTS + 2):
            assert take(app) is None, "waiting costs no attempt"
        (finding,) = [one for one in doctor(app) if one["subject"] == "report:weekly"]
        assert "held back" in finding["text"]

        mend_source(app)
        app.clock.set(MONDAY + timedelta(hours=6))
        assert run_once(app).published == ("weekly",)
        assert weekly(app)[0] == ("done", "")
        assert not [one for one in doctor(app) if one["subject"] == "report:weekly"]


def test_late_note_of_a_held_report_says_why(tmp_path):
    with opened(tmp_path) as app:
        run_once(app)
        app.clock.set(MONDAY)
        rounds.plan(app, MONDAY)
        assert take(app) is None
        app.clock.advance(timedelta(hours=3))
        cycle.refresh(app, app.clock.now())
        assert "its data was too old until now" in rounds.late_note(app, take(app), app.clock.now(), None)


@pytest.mark.parametrize(
    ("later", "state", "why"),
    [(timedelta(days=2), "due", "held back"), (timedelta(days=5), "skipped", "did not become fresh in time")],
)
def test_held_report_is_given_up_when_it_is_too_old_itself(tmp_path, later, state, why):
    with opened(tmp_path) as app:
        run_once(app)
        app.clock.set(MONDAY)
        rounds.plan(app, MONDAY)
        assert take(app) is None
        app.clock.set(MONDAY + later)
        assert take(app) is None
        assert weekly(app)[0][0] == state
        assert why in weekly(app)[0][1]


def test_held_report_gives_way_to_the_next_one(tmp_path):
    with opened(tmp_path) as app:
        run_once(app)
        for week in (0, 1):
            app.clock.set(MONDAY + timedelta(weeks=week))
            rounds.plan(app, app.clock.now())
            assert take(app) is None
        assert [state for state, _ in weekly(app)][:2] == ["due", "skipped"]


def test_very_first_report_is_held_too_and_has_no_late_note(tmp_path):
    with opened(tmp_path) as app:
        rounds.plan(app, FIRST)
        assert take(app) is None, "nothing was synced yet"
        assert weekly(app) == [("due", "first, held back: the data of crm is too old")]
        app.clock.advance(timedelta(hours=5))
        cycle.refresh(app, app.clock.now())
        assert rounds.late_note(app, take(app), app.clock.now(), None) == ""


def test_reports_that_may_be_stale_are_not_held(tmp_path):
    with opened(tmp_path, STRICT.replace(", when_stale: hold", "")) as app:
        run_once(app)
        app.clock.set(MONDAY)
        rounds.plan(app, MONDAY)
        assert take(app) is not None


def test_sources_that_are_gone_hold_nothing_back(tmp_path):
    with opened(tmp_path) as app:
        run_once(app)
    (tmp_path / "kpid.yml").write_text(STRICT.replace("  crm:", "  other:"))
    app = open_app(tmp_path / "kpid.yml", FakeClock(MONDAY))
    try:
        done = run_once(app)
        assert (done.published, done.failures) == (("weekly",), ())
    finally:
        app.close()


def test_work_that_must_wait_is_due_again_and_not_taken_in_the_same_breath(tmp_path):
    tries = []

    def too_early():
        tries.append(1)
        raise HeldError("the moon is not full", hint="Wait")

    with opened(tmp_path) as app:
        run_once(app)
        app.clock.set(MONDAY)
        rounds.plan(app, MONDAY)
        cycle.refresh(app, MONDAY)
        assert "moon" in rounds.attempt(app, take(app), too_early)
        assert weekly(app)[0] == ("due", "held back: the moon is not full")
        assert len(tries) == 1


def test_daemon_publishes_what_was_held_as_soon_as_the_sync_brought_it(tmp_path):
    with opened(tmp_path) as app:
        run_once(app)
        break_source(app)
        app.clock.set(MONDAY)
        daemon = Daemon(app, tmp_path / "kpid.yml", None)
        rounds.plan(app, MONDAY)
        daemon._work("sync:crm")
        daemon._work("report:weekly")
        assert weekly(app)[0][0] == "due"
        mend_source(app)
        app.clock.advance(timedelta(hours=1))
        daemon._work("sync:crm")
        daemon._work("report:weekly")
        assert weekly(app)[0][0] == "done"
