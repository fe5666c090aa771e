"""The timer: jobs run when they are due or woken, and only those that are planned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from kpid.analysis.schedule import schedule_from_text
from kpid.clock import SystemClock
from kpid.testing import FakeClock
from kpid.timing import EveryTrigger, ScheduleTrigger, Timer

NOW = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
NEVER = EveryTrigger(timedelta(days=1))
LONG = 30.0


@pytest.fixture
def timer() -> Iterator[Timer]:
    timer = Timer(SystemClock(), alone=("deliver",))
    timer.start()
    yield timer
    timer.stop()


def test_a_woken_job_runs_at_once_with_its_arguments(timer: Timer) -> None:
    ran, given = threading.Event(), []

    def work(*args: str) -> None:
        given.extend(args)
        ran.set()

    timer.plan({"sync:crm": (NEVER, work, ("sync:crm",))})
    timer.wake("sync:crm")
    assert ran.wait(LONG)
    assert given == ["sync:crm"]


def test_a_job_that_is_no_longer_planned_cannot_be_woken(timer: Timer) -> None:
    ran, other = threading.Event(), threading.Event()
    timer.plan({"sync:crm": (NEVER, ran.set, ())})
    timer.plan({"deliver": (NEVER, other.set, ())})
    timer.wake("sync:crm")
    timer.wake("deliver")
    assert other.wait(LONG)
    assert not ran.is_set()


def test_a_job_with_a_thread_of_its_own_waits_for_no_other(timer: Timer) -> None:
    go, begun, delivered = threading.Event(), threading.Semaphore(0), threading.Event()

    def busy() -> None:
        begun.release()
        go.wait(LONG)

    names = [f"sync:{number}" for number in range(8)]
    timer.plan({**dict.fromkeys(names, (NEVER, busy, ())), "deliver": (NEVER, delivered.set, ())})
    for name in names:
        timer.wake(name)
    assert all(begun.acquire(timeout=LONG) for _ in names)
    timer.wake("deliver")
    assert delivered.wait(LONG)
    go.set()


def test_a_schedule_is_followed_by_our_clock_whatever_the_machine_shows() -> None:
    ours = FakeClock(NOW)
    trigger = ScheduleTrigger(schedule_from_text("0 9 * * *", "Europe/Berlin"), ours)
    machine = datetime(2031, 1, 1, tzinfo=UTC)
    assert trigger.get_next_fire_time(None, machine) - machine == timedelta(hours=1)
    assert EveryTrigger(timedelta(seconds=5)).get_next_fire_time(None, machine) - machine == timedelta(seconds=5)
