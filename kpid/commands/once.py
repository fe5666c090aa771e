"""``kpid run --once``: one full round: sync, measure, judge, publish what is due, deliver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kpid import cycle
from kpid.app import App
from kpid.commands import rounds
from kpid.commands.sync import failure, note_kpis, waiting
from kpid.delivery.dispatch import Delivered
from kpid.store import outbox, runs


@dataclass(frozen=True, slots=True)
class Round:
    """What a round did. ``failures`` maps what went wrong to why; ``deferred`` says why sources are left alone, until when."""

    refreshed: cycle.Refreshed
    published: tuple[str, ...]
    delivered: Delivered
    waiting: int
    failures: tuple[tuple[str, str], ...]
    deferred: tuple[tuple[str, str], ...] = ()


def run_once(app: App, *, progress: cycle.Progress | None = None) -> Round:
    """Do everything there is to do now. What fails is told in the result; the rest goes on.

    Args:
        app: everything, open for writing; the caller holds the lock.
        progress: told of the progress.
    """
    now = app.clock.now()
    pause = rounds.begin(app, now)
    rounds.plan(app, now)
    done = cycle.refresh(app, now, progress=progress)
    note_kpis(app, done.measured)
    failures = {result.source: why for result in done.synced if (why := failure(result))}
    failures |= {f"kpi {kpi}": why for kpi, why in done.measured.problems}
    failures |= {f"rule {rule}": why for rule, why in done.judged.failed}
    wanted = rounds.schedules(app.config)
    deferred = {result.source: why for result in done.synced if (why := waiting(result, app.calendar.zone))}
    outcomes: dict[str, str | rounds.Remark] = {name: rounds.Remark(why) for name, why in deferred.items()}
    _settle_syncs(app, [name for name in wanted if name.startswith(rounds.SYNC)], outcomes | failures)
    published = []
    reports = [name for name in wanted if name.startswith(rounds.REPORT)]
    while (run := rounds.take(app, reports, app.clock.now())) is not None:
        why = rounds.attempt(app, run, lambda run=run: rounds.publish(app, run, pause))  # type: ignore[misc]
        name = run.schedule.removeprefix(rounds.REPORT)
        if why is None:
            published.append(name)
        else:
            failures[run.schedule] = why
            reports.remove(run.schedule)
    delivered = cycle.deliver(app)
    with app.store.read() as connection:
        waits = [run for run in runs.unended_runs(connection, rounds.REPORT) if rounds.HELD in run.reason]
        failures |= {run.schedule: run.reason for run in waits}
        ready = outbox.count_by_state(connection).get("ready", 0)
    return Round(done, tuple(published), delivered, ready, tuple(failures.items()), tuple(deferred.items()))


def _settle_syncs(app: App, names: list[str], outcomes: Mapping[str, str | rounds.Remark]) -> None:
    """All sources have just been synced: that is what their due runs wanted."""
    while (run := rounds.take(app, names, app.clock.now())) is not None:
        why = outcomes.get(run.schedule.removeprefix(rounds.SYNC))
        rounds.attempt(app, run, lambda why=why: why)  # type: ignore[misc]
