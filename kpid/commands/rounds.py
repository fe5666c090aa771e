"""Planning and doing what is due: the same for the daemon and for ``kpid run --once``.

The run table is the truth. :func:`plan` writes down what has come due, :func:`take` hands out one run at a time, :func:`attempt`
does it and writes down what came of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from kpid import cycle
from kpid.analysis.periods import last_complete
from kpid.analysis.schedule import ON_TIME, Due, Position, Schedule, due_runs, report_max_age, schedule_from_text
from kpid.analysis.wording import count_text, when_text
from kpid.app import App
from kpid.config.model import Config, ReportJob
from kpid.config.secrets import redact
from kpid.errors import HeldError, KpidError
from kpid.registry import secrets_of
from kpid.reporting.assemble import freshness_of
from kpid.store import outbox, problems, runs, sending, syncs
from kpid.store.runs import Run
from kpid.warehouse.mapped import SOURCE

log = logging.getLogger(__name__)

SYNC, REPORT = "sync:", "report:"
PAUSE = timedelta(minutes=2)
"""Without a beat for so long, kpid was not running."""
KEEP_SYNC_RUNS = timedelta(days=30)
KEEP_SENT = timedelta(days=90)
"""Sent messages keep their contents so long; keys, receipts and titles stay for good."""
_FIRST = "first"
HELD = "held back: "
"""How the reason of a run begins that is due and waits for fresh data."""
_LONG_AGO = timedelta(days=800)


@dataclass(frozen=True, slots=True)
class Pause:
    """From when to when kpid was not running."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Remark:
    """What is to be said of a run that went well all the same."""

    text: str


def schedules(config: Config) -> dict[str, Schedule]:
    """Everything that has a schedule: ``sync:<source>`` and ``report:<name>``; tables read in place count as one source."""
    timezone = config.timezone
    found = {f"{SYNC}{name}": schedule_from_text(source.every, timezone) for name, source in config.sources.items()}
    if config.tables:
        found[f"{SYNC}{SOURCE}"] = schedule_from_text(config.read_every, timezone)
    return found | {f"{REPORT}{name}": schedule_from_text(job.every, timezone) for name, job in config.reports.items()}


def begin(app: App, now: datetime) -> Pause | None:
    """What a process does first that holds the lock: take back what a dead one left, and see how long nobody ran."""
    with app.store.write() as connection:
        if app.store.is_sqlite and (left := runs.reclaim_runs(connection)):
            log.warning("interrupted and taken up again: %s", count_text(left, "run"))
        if app.store.is_sqlite:
            sending.expire_leases(connection, now)
        before = runs.beat(connection, now)
    tidy(app, now)
    return Pause(before, now) if before is not None and now - before > PAUSE else None


def tidy(app: App, now: datetime) -> None:
    """Once a day: forget what nobody looks at any more."""
    with app.store.write() as connection:
        runs.prune_runs(connection, before=now - KEEP_SYNC_RUNS, schedule_prefix=SYNC)
        syncs.prune(connection, now - KEEP_SYNC_RUNS)
        outbox.purge(connection, now - KEEP_SENT)


def plan(app: App, now: datetime) -> int:
    """Write down what has come due; how many runs. Costs one read where there is nothing.

    The very first round syncs every source and writes every report once, for the last complete period, so that a new user sees
    one. A new source is synced at once; a new or changed report waits for its time.
    """
    wanted = schedules(app.config)
    with app.store.read() as connection:
        if not any(_is_news(app, connection, name, schedule, now) for name, schedule in wanted.items()):
            return 0
    with app.store.write() as connection:
        first = not runs.planned_schedules(connection)
        return sum(_plan_one(app, connection, name, schedule, now, first=first) for name, schedule in wanted.items())


def _is_news(app: App, connection: Connection, name: str, schedule: Schedule, now: datetime) -> bool:
    position = runs.position_of(connection, name)
    return position is None or _due(app, name, schedule, position, now).position != position


def _plan_one(app: App, connection: Connection, name: str, schedule: Schedule, now: datetime, *, first: bool) -> int:
    position = runs.position_of(connection, name)
    due = _due(app, name, schedule, position, now)
    new = runs.plan_runs(connection, name, schedule, due, now=now)
    if due.skipped:
        last = due.skipped[-1]
        log.warning("%s: skipped %s, the last %s: %s", name, count_text(len(due.skipped), "due time"), last.nominal, last.reason)
    if position is None and (first or name.startswith(SYNC)):
        for nominal in schedule.newest(due.position.last - _LONG_AGO, due.position.last, 1):
            new += runs.add_run(connection, name, schedule, nominal, reason=_FIRST)
    return new


def _due(app: App, name: str, schedule: Schedule, position: Position | None, now: datetime) -> Due:
    if name.startswith(SYNC):
        return due_runs(schedule, position, now, "latest", None, limit=1)  # a sync brings what the ones before it would have
    job = app.config.reports[name.removeprefix(REPORT)]
    reached = schedule.reach(now)
    newest = schedule.newest(reached - _LONG_AGO, reached, 1)
    return due_runs(schedule, position, now, job.catch_up, _max_age(job, schedule, newest[0]) if newest else None)


def _max_age(job: ReportJob, schedule: Schedule, nominal: datetime) -> timedelta | None:
    if job.max_age is not None or job.catch_up == "all":
        return job.max_age
    return report_max_age(schedule, nominal)


def take(app: App, names: Collection[str], now: datetime) -> Run | None:
    """The next run of these schedules, ours from now on; those that are of no use any more are passed over."""
    wanted = schedules(app.config)
    names = set(names) - _hold_back(app, names, wanted, now)
    while True:
        with app.store.write() as connection:
            run = runs.take_run(connection, names, now=now)
            if run is None:
                return None
            refusal = _refusal(app, connection, run, wanted[run.schedule], now)
            if refusal is None:
                return run
            runs.pass_over_run(connection, run, now=now, reason=refusal)
        log.warning("%s due %s is skipped: %s", run.schedule, run.due, refusal)


def _hold_back(app: App, names: Collection[str], wanted: dict[str, Schedule], now: datetime) -> set[str]:
    """The reports whose data is too old to be sent now: their runs stay due and say what they wait for, or it is too late."""
    jobs = app.config.reports
    strict = {name for name in names if name.startswith(REPORT) and jobs[name.removeprefix(REPORT)].when_stale == "hold"}
    with app.store.read() as connection:
        found = [run for run in runs.unended_runs(connection, REPORT) if run.schedule in strict and run.state == "due"]
    stale = _stale_sources(app, now) if found else []
    if not stale:
        return set()
    reason = f"{HELD}the data of {', '.join(stale)} is too old"
    for run in found:
        with app.store.write() as connection:
            refusal = _refusal(app, connection, run, wanted[run.schedule], now)
            if refusal is None:
                first = f"{_FIRST}, " if run.reason.startswith(_FIRST) else ""
                runs.put_off_run(connection, run, f"{first}{reason}")
            else:
                runs.pass_over_run(connection, run, now=now, reason=refusal)
        if refusal is not None or HELD not in run.reason:
            log.warning("%s due %s %s", run.schedule, run.due, f"is skipped: {refusal}" if refusal else f"is {reason}")
    return {run.schedule for run in found}


def _stale_sources(app: App, now: datetime) -> list[str]:
    max_ages = app.max_ages()
    marks = [mark for mark in app.warehouse.watermarks() if mark.source in max_ages]
    return [one.source for one in freshness_of(marks, max_ages, now) if one.stale]


def _refusal(app: App, connection: Connection, run: Run, schedule: Schedule, now: datetime) -> str | None:
    """Why a run that was planned long ago (and never got its turn) is not run now."""
    first, held = run.reason.startswith(_FIRST), HELD in run.reason
    if first and not held:
        return None
    job = app.config.reports.get(run.schedule.removeprefix(REPORT)) if run.schedule.startswith(REPORT) else None
    newest = runs.newest_due(connection, run.schedule)
    if (job is None or job.catch_up == "latest") and newest is not None and newest > run.due_at:
        return "a later one was due as well"
    if job is not None and not first:
        max_age = _max_age(job, schedule, datetime.fromisoformat(run.due))
        if max_age is not None and now - run.due_at > max_age:
            return "its data did not become fresh in time" if held else "its turn came too late"
    return None


def waits_for_sync(app: App) -> bool:
    """Whether a sync is due or under way: a report that is due had better wait for its data."""
    with app.store.read() as connection:
        return bool(runs.unended_runs(connection, SYNC))


def attempt(app: App, run: Run, work: Callable[[], str | Remark | None]) -> str | None:
    """Do a run and write down what came of it. Whatever goes wrong ends with the run: kpid goes on.

    Args:
        app: everything.
        run: a run that was taken.
        work: does it; returns why it failed if it could go on regardless, or a remark on what was done.

    Returns:
        Why it failed; None if it did not.
    """
    remark = ""
    try:
        came_of_it = work()
        failure = None if isinstance(came_of_it, Remark) else came_of_it
        remark = came_of_it.text if isinstance(came_of_it, Remark) else ""
    except HeldError as error:
        with app.store.write() as connection:
            runs.put_off_run(connection, run, f"{HELD}{error.what}")
        log.warning("%s due %s waits: %s", run.schedule, run.due, error)
        return str(error)
    except KpidError as error:
        failure = str(error)
    except (Exception, SystemExit) as error:  # a plugin may say exit: the run ends, not we
        log.exception("%s failed", run.schedule)
        failure = f"{type(error).__name__}: {error}"
    now = app.clock.now()
    secrets = secrets_of(app.loaded, app.plugins)
    failure = failure and redact(failure, secrets)
    with app.store.write() as connection:
        if failure is None:
            runs.finish_run(connection, run, now=now, note=redact(remark, secrets))
        else:
            runs.fail_run(connection, run, now=now, reason=failure)
        _note(connection, run, failure, now)
    if failure is not None:
        log.error("%s due %s failed: %s", run.schedule, run.due, failure)
    return failure


def _note(connection: Connection, run: Run, failure: str | None, now: datetime) -> None:
    """A report that failed is a problem until one succeeds; sources say so themselves."""
    name = run.schedule.removeprefix(REPORT)
    if failure is None:
        problems.clear(connection, run.schedule)
    elif run.schedule.startswith(REPORT):
        problems.note(connection, run.schedule, failure, f"Put it right, then `kpid report send {name}`", now)


def publish(app: App, run: Run, pause: Pause | None) -> None:
    """Publish the report that a run is for."""
    now = app.clock.now()
    cycle.publish(app, run.schedule.removeprefix(REPORT), due=run.due, now=now, late_note=late_note(app, run, now, pause))


def late_note(app: App, run: Run, now: datetime, pause: Pause | None) -> str:
    """What the reader of a late report is told: why, since when, and which others were passed over. Empty if it is not late."""
    if run.reason.startswith(_FIRST) or now - run.due_at <= ON_TIME:
        return ""
    zone = app.config.timezone
    why = "its data was too old until now" if HELD in run.reason else "it could not be written earlier"
    if pause is not None and pause.start <= run.due_at <= pause.end:
        why = f"kpid was not running from {when_text(pause.start, zone)} to {when_text(pause.end, zone)}"
    note = f"This report was due {when_text(run.due_at, zone)} and is late: {why}."
    with app.store.read() as connection:
        skipped = runs.skipped_since_last(connection, run)
    if skipped:
        name = run.schedule.removeprefix(REPORT)
        job = app.config.reports[name]
        kind = job.period or app.plugins.reports[job.report].period
        labels = ", ".join(last_complete(kind, one.due_at, app.calendar)[-1].label for one in skipped)
        note += f" Not sent meanwhile: {labels}; `kpid report send {name} --period ...` sends one."
    return note
