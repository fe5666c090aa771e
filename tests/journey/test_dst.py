"""Both nights of a clock change in three zones, with kpid stopped and started in between: no run lost, none doubled."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from kpid.analysis.schedule import due_runs, schedule_from_text
from kpid.store.engine import Store, open_store
from kpid.store.runs import finish_run, list_runs, plan_runs, position_of, take_run

NIGHTS = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-10-04", "2026-04-05"),
}
NAME = "report:nightly"


@pytest.mark.parametrize("clock", ["00:00", "01:30", "02:00", "02:15", "02:30", "03:00"])
@pytest.mark.parametrize(("zone", "night"), [(zone, night) for zone, nights in NIGHTS.items() for night in nights])
def test_every_nominal_time_of_the_night_runs_once(tmp_path: Path, zone: str, night: str, clock: str) -> None:
    schedule = schedule_from_text(f"daily {clock}", zone)
    day = datetime.fromisoformat(night)
    begin = (day - timedelta(days=2, hours=-12)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = (day + timedelta(days=2, hours=12)).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rng = Random(f"{zone}{night}{clock}")
    store = open_store(f"sqlite:///{tmp_path / 'kpid.db'}")
    done: list[tuple[str, datetime]] = []
    now = begin
    while now < end:
        if rng.random() < 0.05:  # stopped for up to three hours, over the change if it comes to that
            store.close()
            now += timedelta(minutes=rng.randint(1, 180))
            store = open_store(f"sqlite:///{tmp_path / 'kpid.db'}")
        done.extend((due, now) for due in tick(store, schedule, now))
        now += timedelta(minutes=rng.randint(1, 25))
    nominals = [due for due, _ in done]
    last = (end - timedelta(hours=1)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    hour, minute = map(int, clock.split(":"))
    expected = [
        at.isoformat()
        for n in range(-2, 3)
        if begin.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        < (at := datetime.combine(day + timedelta(days=n), time(hour, minute)))
        <= last
    ]
    assert nominals == expected
    assert all(at >= schedule.instant(datetime.fromisoformat(due)) for due, at in done), "never before its time"
    assert all(one[1] < other[1] for one, other in pairwise(done))
    with store.read() as connection:
        assert {run.state for run in list_runs(connection)} == {"done"}
    store.close()


def tick(store: Store, schedule: object, now: datetime) -> list[str]:
    """What the daemon does every 30 s, for one schedule."""
    finished = []
    with store.write() as connection:
        due = due_runs(schedule, position_of(connection, NAME), now, "latest", None)  # type: ignore[arg-type]
        plan_runs(connection, NAME, schedule, due, now=now)  # type: ignore[arg-type]
    while True:
        with store.write() as connection:
            run = take_run(connection, [NAME], now=now)
            if run is None:
                return finished
            assert finish_run(connection, run, now=now)
            finished.append(run.due)
