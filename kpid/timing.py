"""The timer of the daemon: which job runs when, and in which threads. APScheduler behind one door.

It is the timer and the thread pool, nothing more: what is due is decided by the run table, and a job that fires too often, too
seldom or twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from kpid.analysis.schedule import Schedule
from kpid.clock import Clock

Jobs: TypeAlias = dict[str, tuple[BaseTrigger, Callable[..., Any], tuple[Any, ...]]]
"""By name: when, what, and with which arguments."""
THREADS = 8


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at the due times of a schedule, by our clock; what was missed is not its business."""

    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next due time, as the timer's clock will show it."""
        ours = self._clock.now()
        return now + (self._schedule.instant(self._schedule.next(self._schedule.reach(ours))) - ours)


class EveryTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires again and again, so long after the last time."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """The next time."""
        return now + self._interval


class Timer:
    """Jobs by name, each at most once at a time.

    Args:
        machine: the clock of the machine, which the timer goes by.
        alone: jobs of these names have a thread of their own each.
    """

    def __init__(self, machine: Clock, alone: tuple[str, ...] = ()) -> None:
        self._machine = machine
        self._alone = frozenset(alone)
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(THREADS), **{name: ThreadPoolExecutor(1) for name in alone}},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin to run jobs."""
        self._scheduler.start()

    def plan(self, jobs: Jobs) -> None:
        """Run these jobs from now on, in place of all others."""
        for job in self._scheduler.get_jobs():
            job.remove()
        for name, (trigger, work, args) in jobs.items():
            executor = name if name in self._alone else "default"
            self._scheduler.add_job(work, trigger, args, id=name, executor=executor)

    def wake(self, name: str) -> None:
        """Run a job now; nothing happens if there is none of that name (any more)."""
        with suppress(JobLookupError):
            self._scheduler.modify_job(name, next_run_time=self._machine.now())

    def stop(self) -> None:
        """Begin no more jobs; those that run are not waited for."""
        self._scheduler.shutdown(wait=False)
