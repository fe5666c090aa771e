"""What is configured, where the mails go, what runs next: the first lines of a daemon and the last of a round."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from kpid.analysis.schedule import schedule_from_text
from kpid.app import App
from kpid.commands.listings import next_runs


def overview(app: App) -> Iterator[str]:
    """Lines for people."""
    config = app.config
    for name, source in config.sources.items():
        yield f"source {name}: {source.connector}, {schedule_from_text(source.every, config.timezone).describe()}"
    yield f"rules: {len(config.rules)} ({', '.join(rule.name for rule in config.rules[:8]) or 'none'})"
    for name, job in config.reports.items():
        yield f"report {name}: {schedule_from_text(job.every, config.timezone).describe()} to {', '.join(job.to)}"
    for name, receiver in config.receivers.items():
        yield f"receiver {name}: {receiver.notifier}{_place(app, name)}"
    for one in next_runs(app, app.clock.now(), 1)[:5]:
        utc = datetime.fromisoformat(one["due_at"])
        yield f"next: {one['schedule']} at {one['due'][:16].replace('T', ' ')} {config.timezone} ({utc:%Y-%m-%d %H:%M} UTC)"


def _place(app: App, name: str) -> str:
    """Where a receiver's messages end up: its folder if it has one, its recipients."""
    folder = app.config.receivers[name].options.get("folder")
    recipients = ", ".join(recipient for recipient in app.notifiers[name].recipients() if recipient)
    place = f" in {(app.config.folder / str(folder)).resolve()}" if folder else ""
    return f"{place}{f' for {recipients}' if recipients else ''}"
