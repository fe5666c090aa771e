"""``kpid runs``, ``kpid schedule`` and ``kpid plugins``: what ran, what comes, what is installed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kpid.app import App
from kpid.commands.plain import plain
from kpid.commands.rounds import schedules
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.registry import Plugins
from kpid.store import runs


def list_runs(app: App, *, schedule: str | None = None, state: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
    """Runs, newest first: schedule, nominal due time, state and why.

    Raises:
        KpidError: there is no such schedule, and never was.
    """
    with app.store.read() as connection:
        known = runs.planned_schedules(connection) | set(schedules(app.config))
        if schedule is not None and schedule not in known:
            hint = near_miss(schedule, sorted(known), what="There are")
            raise KpidError(f"there is no schedule {schedule!r}", hint=hint)
        return [plain(run) for run in runs.list_runs(connection, schedule=schedule, state=state, limit=limit)]


def list_schedule(app: App, *, count: int = 5) -> list[dict[str, Any]]:
    """The next due times of everything that has a schedule, soonest first."""
    return next_runs(app, app.clock.now(), count)


def next_runs(app: App, now: datetime, count: int) -> list[dict[str, Any]]:
    """As :func:`list_schedule`, for a given instant."""
    found: list[tuple[datetime, dict[str, Any]]] = []
    for name, schedule in schedules(app.config).items():
        nominal = schedule.reach(now)
        for _ in range(count):
            nominal = schedule.next(nominal)
            due_at = schedule.instant(nominal)
            local = due_at.astimezone(app.calendar.zone)
            told = {"schedule": name, "every": schedule.describe(), "due": local.isoformat(), "due_at": plain(due_at)}
            found.append((due_at, told))
    return [told for _, told in sorted(found, key=lambda item: (item[0], item[1]["schedule"]))]


def list_plugins(plugins: Plugins) -> list[dict[str, Any]]:
    """What every plugin brings, broken ones with their reason."""
    return [plain(row) for row in plugins.listing()]


def connect_findings(app: App) -> list[dict[str, Any]]:
    """``kpid check --connect``: what every source and receiver says when it is contacted."""
    from kpid.commands.check import connect_checks  # noqa: PLC0415 - it checks KPIs, too, which is far from a list

    return [plain(finding) for finding in connect_checks(app)]
