"""THE STORY: what kpid does, top to bottom.

    refresh   sync the sources -> measure what changed -> judge the rules -> notices in the outbox
    publish   a due report -> context from history -> mails in the outbox
    deliver   reminders, escalations, what was held back -> the outbox; what is due there -> the receivers

The steps do not know each other. Each leaves its rows in a store, and the next one reads them there: so a crash between any two
lines loses nothing, and the next cycle goes on. Nor do they burden each other: each is imported when it is its turn, so that a
process that syncs has what judges and what writes mails in memory only once there is something to judge.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kpid.app import App
from kpid.model import Period, SeriesNeed

if TYPE_CHECKING:
    from kpid.alerting.evaluate import EvaluateResult
    from kpid.alerting.tending import Tended
    from kpid.delivery.dispatch import Delivered
    from kpid.ingest.sync import SyncResult
    from kpid.metrics.measure import MeasureResult
    from kpid.reporting.publish import Published

Progress = Callable[[str, int, int | None], None]
"""Told (what, done, total) now and then during long work."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What a refresh did."""

    synced: tuple[SyncResult, ...]
    measured: MeasureResult
    judged: EvaluateResult


def refresh(
    app: App,
    now: datetime,
    *,
    sources: Sequence[str] | None = None,
    full: bool = False,
    progress: Progress | None = None,
) -> Refreshed:
    """Sync the named sources (None: all), then measure and judge. A source's fault is recorded, not raised: the others go on."""
    synced = tuple(sync(app, name, full=full, progress=progress) for name in (app.config.sources if sources is None else sources))
    measured, judged = judge(app, now, progress=progress)
    return Refreshed(synced, measured, judged)


def sync(
    app: App,
    name: str,
    *,
    full: bool = False,
    entities: Collection[str] | None = None,
    since: datetime | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> SyncResult:
    """Bring the canonical tables up to date with one source; options as of :func:`~kpid.ingest.sync.sync_source`."""
    from kpid.ingest.sync import sync_source  # noqa: PLC0415

    with app.connector(name) as connector, app.warehouse.sparing():
        return sync_source(
            name,
            connector,
            warehouse=app.warehouse,
            store=app.store,
            clock=app.clock,
            every=app.sync_interval(app.config.sources[name]),
            entities=entities,
            full=full,
            since=since,
            reconcile=app.config.sources[name].reconcile_after,
            force=force,
            progress=progress,
        )


def judge(app: App, now: datetime, *, progress: Progress | None = None) -> tuple[MeasureResult, EvaluateResult]:
    """Measure every period that changed, then take each rule through the slots that have come due."""
    from kpid.alerting.evaluate import evaluate_rules  # noqa: PLC0415
    from kpid.metrics.measure import refresh as measure  # noqa: PLC0415

    measured = measure(needs(app), app.metrics_setup(), store=app.store, now=now, progress=progress)
    judged = evaluate_rules(app.alerting_setup(), store=app.store, now=now)
    return measured, judged


def needs(app: App) -> list[SeriesNeed]:
    """Every family of measurements that a rule or a report wants kept."""
    from kpid.alerting.evaluate import needs_of as needs_of_rule  # noqa: PLC0415
    from kpid.reporting.publish import needs_of  # noqa: PLC0415

    config, plugins, settings = app.config, app.plugins, app.kpi_settings()
    wanted: list[SeriesNeed] = []
    for rule in config.rules:
        if not rule.paused and rule.absence is None:
            wanted.extend(needs_of_rule(rule, plugins.kpis[rule.kpi], settings.get(rule.kpi)))
    for job in config.reports.values():
        wanted.extend(needs_of(job, plugins.reports[job.report], plugins.kpis))
    return wanted


def publish(app: App, report: str, *, due: str, now: datetime, late_note: str = "", period: Period | None = None) -> Published:
    """Write one report from history and put it into the outbox, once per recipient.

    Args:
        app: everything.
        report: name of the configured report.
        due: nominal local time that the run is for; the period reported is the last complete one before it.
        now: the current instant.
        late_note: a sentence for the reader when the report is late.
        period: report this period instead.
    """
    from kpid.reporting.publish import publish_report  # noqa: PLC0415

    return publish_report(
        report,
        app.reporting_setup(),
        store=app.store,
        watermarks=app.warehouse.watermarks(),
        due=due,
        now=now,
        late_note=late_note,
        period=period,
    )


def tend(app: App, now: datetime) -> Tended:
    """See to what time brings: reminders, escalations, notices that were held back and are due. They go into the outbox.

    And what does not come: rules on silence are judged every hour, whether or not anything was synced.
    """
    from kpid.alerting.absence import is_due  # noqa: PLC0415
    from kpid.alerting.evaluate import watch  # noqa: PLC0415
    from kpid.alerting.tending import Tended, has_work  # noqa: PLC0415
    from kpid.alerting.tending import tend as tend_alerts  # noqa: PLC0415

    with app.store.read() as conn:
        is_silence_due = is_due(conn, app.config.rules, app.calendar, now)
        if not is_silence_due and not has_work(conn, app.config.routes, now):
            return Tended()
    if is_silence_due:
        watch(app.alerting_setup(), store=app.store, now=now)
    return tend_alerts(app.alerting_setup(), store=app.store, now=now)


def deliver(app: App, *, stop: Callable[[], bool] = lambda: False) -> Delivered:
    """Put what time brings into the outbox, and send what is due there."""
    from kpid.delivery.dispatch import deliver_due  # noqa: PLC0415

    tend(app, app.clock.now())
    return deliver_due(
        store=app.store,
        notifiers=app.notifiers,
        receivers=app.config.receivers,
        clock=app.clock,
        owner=f"{socket.gethostname()}:{os.getpid()}",
        stop=stop,
    )
