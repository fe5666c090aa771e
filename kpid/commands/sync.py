"""``kpid sync``: bring the warehouse up to date now, measure and judge."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Any

from kpid import cycle
from kpid.app import App
from kpid.commands.plain import plain
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.ingest.sync import SyncResult
from kpid.metrics.measure import MeasureResult
from kpid.store import problems

log = logging.getLogger(__name__)

KPI_HINT = "Rules on it neither fire nor resolve until it can be measured"
RATES_HINT = "Deliver fx_rates from a source, or leave such amounts out: `kpis: {... : {params: {missing_fx: exclude}}}`"


class Turns:
    """Who may do what while others wait: one sync per source at a time, one judgement at a time."""

    def __init__(self) -> None:
        self._sources: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self.judging: AbstractContextManager[object] = threading.Lock()

    def source(self, name: str) -> AbstractContextManager[object]:
        """The turn of syncing this source."""
        return self._sources[name]


def sync_sources(
    app: App,
    *,
    source: str | None = None,
    full: bool = False,
    progress: cycle.Progress | None = None,
    turns: Turns | None = None,
) -> list[dict[str, Any]]:
    """Sync one or all sources, then measure and judge. What a source does wrong is in the result; the others go on.

    Args:
        app: everything, open for writing.
        source: only this one.
        full: read everything again instead of what changed.
        progress: told of the progress.
        turns: shared with others of this process that do the same.

    Raises:
        KpidError: there is no such source.
    """
    if source is not None and source not in app.config.sources:
        raise KpidError(f"there is no source {source!r}", hint=near_miss(source, app.config.sources, what="Configured"))
    turns = turns or Turns()
    done = []
    for name in app.config.sources if source is None else [source]:
        with turns.source(name):
            done.append(cycle.sync(app, name, full=full, progress=progress))
    judge(app, turns, progress=progress)
    return [told(result) for result in done]


def sync_one(app: App, name: str, turns: Turns) -> str | None:
    """The job of a source: sync it, measure what changed, judge the rules; why it could not be read to its end, if so.

    What is read in place is not synced, but measured and judged.
    """
    if name not in app.config.sources:
        judge(app, turns)
        return None
    with turns.source(name):
        result = cycle.sync(app, name)
    log.info("synced: %d rows, %d changed", result.rows, result.changed)
    judge(app, turns)
    return failure(result)


def judge(app: App, turns: Turns, *, progress: cycle.Progress | None = None) -> None:
    """Measure what changed and judge the rules."""
    with turns.judging:
        measured, _ = cycle.judge(app, app.clock.now(), progress=progress)
        note_kpis(app, measured)


def note_kpis(app: App, measured: MeasureResult) -> None:
    """KPIs that cannot be measured are problems until they can."""
    now = app.clock.now()
    with app.store.write() as connection:
        for kpi, why in measured.problems:
            problems.note(connection, f"kpi:{kpi}", why, RATES_HINT if "exchange rate" in why else KPI_HINT, now)
        problems.clear_others(connection, "kpi:", [f"kpi:{kpi}" for kpi, _ in measured.problems])


def told(result: SyncResult) -> dict[str, Any]:
    """A sync in JSON's types."""
    return {
        "source": result.source,
        "ok": result.ok,
        "rows": result.rows,
        "changed": result.changed,
        "deletes": result.deletes,
        "error": failure(result),
        "entities": plain(result.entities),
    }


def failure(result: SyncResult) -> str | None:
    """Why a source could not be read to its end; None if it was, or if it asked to be left alone."""
    if not result.failed:
        return None
    return result.error or "; ".join(
        f"{one.entity}: {one.error or one.state}" for one in result.entities if one.state == "failed"
    )
