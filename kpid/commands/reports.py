"""``kpid report``: a report by hand, as files or into the outbox."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kpid import cycle
from kpid.analysis.periods import last_complete, period_from_label
from kpid.app import App
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.model import Period
from kpid.reporting.publish import render_files


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
    with tempfile.TemporaryDirectory(prefix="kpid-") as folder:
        files = render_files(
            name,
            app.reporting_setup(),
            store=app.store,
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
    changed = app if not to else _to(app, name, to)
    done = cycle.publish(changed, name, due=f"by hand {now.isoformat(timespec='milliseconds')}", now=now, period=shown)
    sent = cycle.deliver(app).sent if deliver else 0
    return {"report": name, "period": done.period.label, "enqueued": done.messages, "sent": sent}


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
