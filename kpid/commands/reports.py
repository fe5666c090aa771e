"""``kpid report``: a report by hand, as files or into the outbox."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kpid import cycle
from kpid.analysis.periods import last_complete, period_from_label, periods_between
from kpid.app import App
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.metrics.measure import refresh
from kpid.model import Period, SeriesNeed
from kpid.reporting.publish import needs_of, render_files
from kpid.store import history
from kpid.store.engine import Store


def render(app: App, *, name: str, period: str | None = None) -> dict[str, str]:
    """A report as files; nothing is sent and nothing is remembered.

    Args:
        app: everything, open for reading.
        name: of the configured report.
        period: label such as ``2017-W50``; the last complete one if None.

    Returns:
        File name -> content in base64: whoever asked writes them, with his own rights.

    Raises:
        KpidError: no such report or period, or a template is faulty.
    """
    shown = _period(app, name, period)
    with tempfile.TemporaryDirectory(prefix="kpid-") as folder, _history(app, name, shown) as store:
        files = render_files(
            name,
            app.reporting_setup(),
            store=store,
            watermarks=app.warehouse.watermarks(),
            period=shown,
            now=app.clock.now(),
            out=Path(folder),
        )
        return {file.name: base64.b64encode(file.read_bytes()).decode() for file in files}


def send(
    app: App, *, name: str, period: str | None = None, to: Sequence[str] | None = None, deliver: bool = True
) -> dict[str, Any]:
    """Put a report into the outbox, whether it is due or not.

    Args:
        app: everything.
        name: of the configured report.
        period: as for :func:`render`.
        to: these receivers instead of the configured ones.
        deliver: send it at once; False where somebody else delivers.

    Raises:
        KpidError: no such report, period or receiver, or a template is faulty.
    """
    shown, now = _period(app, name, period), app.clock.now()
    if not _is_measured(app, name, shown):
        _measure(app, name, shown, app.store)
    changed = app if not to else _to(app, name, to)
    done = cycle.publish(changed, name, due=f"by hand {now.isoformat(timespec='milliseconds')}", now=now, period=shown)
    sent = cycle.deliver(app).sent if deliver else 0
    return {"report": name, "period": done.period.label, "enqueued": done.messages, "sent": sent}


@contextmanager
def _history(app: App, name: str, period: Period) -> Iterator[Store]:
    """A store with the report's history: ours, or for a period from before it one in memory, measured now and forgotten."""
    if _is_measured(app, name, period):
        yield app.store
        return
    store = Store("sqlite://")
    try:
        store.create()
        _measure(app, name, period, store)
        yield store
    finally:
        store.close()


def _is_measured(app: App, name: str, period: Period) -> bool:
    with app.store.read() as connection:
        return any(history.current(connection, need, start=period.start, end=period.end) for need in _needs(app, name, period))


def _measure(app: App, name: str, period: Period, store: Store) -> None:
    """Measure all that the report shows of a period, however long ago it was."""
    now = app.clock.now()
    back = len(periods_between(period.kind, period.start, now, app.calendar))
    needs = [replace(need, periods=need.periods + back) for need in _needs(app, name, period)]
    refresh(needs, app.metrics_setup(), store=store, now=now)


def _needs(app: App, name: str, period: Period) -> list[SeriesNeed]:
    job = app.config.reports[name].model_copy(update={"period": period.kind})
    return needs_of(job, app.plugins.reports[job.report], app.plugins.kpis)


def _to(app: App, name: str, to: Sequence[str]) -> App:
    for receiver in to:
        if receiver not in app.config.receivers:
            hint = near_miss(receiver, app.config.receivers, what="Configured")
            raise KpidError(f"there is no receiver {receiver!r}", hint=hint)
    job = app.config.reports[name].model_copy(update={"to": tuple(to)})
    config = app.config.model_copy(update={"reports": {**app.config.reports, name: job}})
    return replace(app, loaded=replace(app.loaded, config=config))


def _period(app: App, name: str, label: str | None) -> Period:
    if name not in app.config.reports:
        raise KpidError(f"there is no report {name!r}", hint=near_miss(name, app.config.reports, what="Configured"))
    job = app.config.reports[name]
    kind = job.period or app.plugins.reports[job.report].period
    if label is None:
        return last_complete(kind, app.clock.now(), app.calendar, 1)[-1]
    return period_from_label(kind, label, app.calendar)
