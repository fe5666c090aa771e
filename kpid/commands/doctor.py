"""``kpid doctor``: what is wrong, and what to do about it. Contacts nobody."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kpid import cycle
from kpid.analysis.wording import age_text, count_text, when_text
from kpid.app import App
from kpid.commands.plain import plain
from kpid.commands.rounds import HELD, REPORT, SYNC, schedules
from kpid.config.secrets import redact
from kpid.model import Finding, MeasurementState
from kpid.registry import secrets_of
from kpid.store import history, outbox, problems, runs, syncs

SAFE_SQLITE = (3, 51, 3)
LITTLE_DISK = 500_000_000
RECENT = timedelta(days=8)
FEW = 5
"""So many messages that are stuck are told one by one."""
_MESSAGE = "outbox:"
RECENT_FIGURES = timedelta(days=62)


def doctor(app: App) -> list[dict[str, Any]]:
    """One finding per thing that is wrong, and one that says so if nothing is."""
    now = app.clock.now()
    found = [
        *_problems(app),
        *_plugins(app),
        *_sources(app, now),
        *_kpis(app, now),
        *_messages(app),
        *_runs(app, now),
        *_machine(app),
    ]
    if all(finding.ok for finding in found):
        found.insert(0, Finding("kpid", True, "nothing is wrong"))
    secrets = secrets_of(app.loaded, app.plugins)
    return [
        {key: redact(value, secrets) if isinstance(value, str) else value for key, value in plain(one).items()} for one in found
    ]


def _problems(app: App) -> Iterator[Finding]:
    with app.store.read() as connection:
        noted = problems.list_problems(connection)
    stuck = [one for one in noted if one.subject.startswith(_MESSAGE)]
    if len(stuck) > FEW:
        text = f"{count_text(len(stuck), 'message')} were not delivered or are held; the last: {stuck[-1].text}"
        yield Finding("outbox", False, text, "See `kpid outbox list --state dead`; `kpid outbox retry --all` tries again")
    for one in noted:
        if one in stuck and len(stuck) > FEW:
            continue
        times = f" ({one.count} times, first {when_text(one.first_at, app.config.timezone)})" if one.count > 1 else ""
        yield Finding(one.subject, False, f"{one.text}{times}", one.hint)


def _plugins(app: App) -> Iterator[Finding]:
    for name, reason in sorted(app.plugins.broken.items()):
        yield Finding(
            f"plugin:{name}", False, f"cannot be used: {reason}", "Reinstall or repair it, or add it to disabled_plugins"
        )


def _sources(app: App, now: datetime) -> Iterator[Finding]:
    """Sources whose data is older than it may be, or that never gave any."""
    with app.store.read() as connection:
        ends = syncs.newest_through(connection)
    for name in app.config.sources:
        through = [end for (source, _), end in ends.items() if source == name]
        if not through:
            yield Finding(f"source:{name}", False, "no data has come from it yet", f"Try `kpid sync {name}`")
            continue
        age = now - min(through)
        if age > app.max_age(name):
            text = f"its data is stale: {age_text(age)} old, allowed are {age_text(app.max_age(name))}"
            yield Finding(f"source:{name}", False, text, f"Rules wait until it is fresh. Try `kpid sync {name}`")


def _kpis(app: App, now: datetime) -> Iterator[Finding]:
    """KPIs whose figures could not be computed, newest reason first."""
    reasons: dict[str, str] = {}
    with app.store.read() as connection:
        for need in cycle.needs(app):
            for one in history.current(connection, need, start=now - RECENT_FIGURES):
                if one.state is MeasurementState.ERROR:
                    reasons[one.kpi] = f"{one.period.label}: {one.reason}"
    for kpi, reason in reasons.items():
        yield Finding(f"kpi:{kpi}", False, f"cannot be computed for {reason}", "Tell the plugin's author")


def _messages(app: App) -> Iterator[Finding]:
    """Messages that a person holds back; those that are stuck are problems of their own."""
    with app.store.read() as connection:
        stuck = {one.subject for one in problems.list_problems(connection)}
        held = [row for row in outbox.list_outbox(connection, "hold", 1000) if outbox.problem_of(row.id) not in stuck]
    if held:
        text = f"{count_text(len(held), 'message')} held back by hand"
        yield Finding("outbox", False, text, "`kpid outbox release ID` sends one, `kpid outbox dismiss ID` lets it rest")


def _runs(app: App, now: datetime) -> Iterator[Finding]:
    wanted = schedules(app.config)
    with app.store.read() as connection:
        last = {name: runs.last_run(connection, name) for name in wanted}
        open_ones = [*runs.unended_runs(connection, SYNC), *runs.unended_runs(connection, REPORT)]
    for name, run in last.items():
        if run is not None and run.state == "failed" and now - run.due_at < RECENT:
            yield Finding(name, False, f"its last run ({run.due}) failed: {run.reason}", "`kpid runs` lists them")
    for run in open_ones:
        if run.schedule not in wanted:
            yield Finding(
                run.schedule, False, f"a run of {run.due} was abandoned: it is not configured any more", "Nothing to do"
            )
        elif HELD in run.reason:
            text = f"the report due {run.due} is {run.reason}"
            yield Finding(run.schedule, False, text, "It goes out once the data is fresh; `when_stale: send` does not wait")
        elif run.fence > 1:
            text = f"a run of {run.due} was interrupted {count_text(run.fence - 1, 'time')}"
            yield Finding(run.schedule, False, text, "See the log")


def _machine(app: App) -> Iterator[Finding]:
    if app.store.is_sqlite and sqlite3.sqlite_version_info < SAFE_SQLITE:
        text = (
            f"SQLite {sqlite3.sqlite_version} can lose commits if two connections write at once (mended in 3.51.3); "
            "kpid writes with one only"
        )
        yield Finding("sqlite", True, text, "Leave writing to kpid: no other program should write to its file")
    for folder in sorted({path.parent for path in _files(app) if path.parent.is_dir()}):
        free = shutil.disk_usage(folder).free
        if free < LITTLE_DISK:
            yield Finding("disk", False, f"only {free / 1e6:.0f} MB are free", "Make room", str(folder))


def _files(app: App) -> Iterator[Path]:
    if app.store.file is not None:
        yield app.store.file
    if app.config.warehouse.startswith("duckdb:///"):
        yield Path(app.config.warehouse.removeprefix("duckdb:///"))
