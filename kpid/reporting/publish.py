"""Publishes a report: the frozen context and one outbox row per recipient, in one transaction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kpid.analysis.periods import last_complete
from kpid.errors import HeldError
from kpid.model import Period, canonical_json
from kpid.plugin.notifier import Message
from kpid.reporting.context import ReportContext, context_to_json
from kpid.reporting.files import render_files
from kpid.reporting.gather import ReportingSetup, gather_context, needs_of
from kpid.reporting.render import RenderedReport
from kpid.store import reports
from kpid.store.engine import Store
from kpid.store.outbox import enqueue
from kpid.warehouse import Watermark

__all__ = ["Published", "ReportingSetup", "needs_of", "publish_report", "render_files", "reported_period"]

BY_HAND = "by hand"
"""How a due time begins that is none: somebody wants the report now, whatever the state of the data."""

_SHORTEST_USE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing did. ``messages`` counts the rows put into the outbox: 0 when this due time had been published before."""

    report: str
    period: Period
    due: str
    subject: str
    messages: int
    run: int


def publish_report(
    name: str,
    setup: ReportingSetup,
    *,
    store: Store,
    watermarks: Sequence[Watermark],
    due: str,
    now: datetime,
    late_note: str = "",
    period: Period | None = None,
) -> Published:
    """Write a report from history and put it into the outbox, once per recipient; again for the same due time does nothing.

    Args:
        name: of the configured report.
        setup: what publishing needs.
        store: the state store.
        watermarks: how far each source has come.
        due: nominal local time of the run (ISO, without a zone), or ``by hand <something unique>``.
        now: the current instant.
        late_note: a sentence for the reader when the report is late.
        period: report this period; default: the last one complete at the due time.

    Raises:
        HeldError: a source is stale and the report is to be held back then.
        KpidError: a template is faulty.
        ConfigError: there is no such report.
    """
    job, _ = setup.job(name)
    with store.read() as conn:
        earlier = reports.find_run(conn, name, due)
        shown = period or reported_period(name, setup, due, now)
        if earlier is not None:
            return Published(name, shown, due, "", 0, earlier.id)
        context = gather_context(name, setup, conn, period=shown, watermarks=watermarks, now=now, late_note=late_note)
    _check_fresh(name, context, setup.max_ages, hold=job.when_stale == "hold" and not due.startswith(BY_HAND))
    rendered = setup.renderer.report(context)
    expires_at = now + max(_SHORTEST_USE, shown.end - shown.start)
    with store.write() as conn:
        earlier = reports.find_run(conn, name, due)
        if earlier is not None:
            return Published(name, shown, due, rendered.subject, 0, earlier.id)
        run = reports.save_run(conn, name, shown, due, json.loads(context_to_json(context)), now)
        count = 0
        for receiver, message in _messages(name, due, rendered, setup, now):
            origin = f"report {name} {shown.label}"
            count += enqueue(conn, message, receiver=receiver, origin=origin, now=now, expires_at=expires_at)
    return Published(name, shown, due, rendered.subject, count, run)


def reported_period(name: str, setup: ReportingSetup, due: str, now: datetime) -> Period:
    """The last period that was complete when the report was due: a late run reports what it would have reported in time."""
    job, report = setup.job(name)
    try:
        local = datetime.fromisoformat(due)
        instant = local if local.tzinfo is not None else local.replace(tzinfo=setup.calendar.zone)
    except ValueError:
        instant = now
    return last_complete(job.period or report.period, instant, setup.calendar, 1)[-1]


def _check_fresh(name: str, context: ReportContext, sources: Collection[str], *, hold: bool) -> None:
    stale = [entry.source for entry in context.freshness if entry.stale and entry.source in sources]
    if hold and stale:
        raise HeldError(
            f"report {name} is held back: the data of {', '.join(stale)} is too old",
            hint="Sync it (`kpid doctor` says what is wrong), or set when_stale: send",
        )


def _messages(
    name: str, due: str, rendered: RenderedReport, setup: ReportingSetup, now: datetime
) -> Iterator[tuple[str, Message]]:
    for receiver in dict.fromkeys(setup.jobs[name].to):
        for recipient in setup.recipients.get(receiver, ()):
            yield (
                receiver,
                Message(
                    key=_key(name, due, receiver, recipient),
                    kind="report",
                    title=rendered.subject,
                    text=rendered.text,
                    html=rendered.html,
                    created_at=now,
                    sections=rendered.sections,
                    facts=rendered.facts,
                    images=rendered.images,
                    recipient=recipient,
                    list_id=name,
                ),
            )


def _key(*parts: str) -> str:
    return hashlib.sha256(canonical_json(["report", *parts]).encode("utf-8", "replace")).hexdigest()
