"""``kpid sync``: bring the warehouse up to date now, measure and judge."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from kpid import cycle
from kpid.analysis.durations import duration_from_text
from kpid.analysis.wording import when_text
from kpid.app import App
from kpid.commands.plain import plain
from kpid.commands.rounds import Remark
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
    entities: Sequence[str] | None = None,
    since: str | None = None,
    force: bool = False,
    progress: cycle.Progress | None = None,
    turns: Turns | None = None,
) -> list[dict[str, Any]]:
    """Sync one or all sources, then measure and judge. What a source does wrong is in the result; the others go on.

    Args:
        app: everything, open for writing.
        source: only this one.
        full: read everything again instead of what changed.
        entities: only these, of the sources that fill them; None: all.
        since: read again what changed since then: ``7d``, a day, or an instant.
        force: ask sources although they want to be left alone.
        progress: told of the progress.
        turns: shared with others of this process that do the same.

    Raises:
        KpidError: there is no such source, it does not fill these entities, or ``since`` is no time.
    """
    if source is not None and source not in app.config.sources:
        raise KpidError(f"there is no source {source!r}", hint=near_miss(source, app.config.sources, what="Configured"))
    start = None if since is None else instant_of(since, app.clock.now(), app.calendar.zone)
    wanted = _wanted(app, list(app.config.sources) if source is None else [source], entities)
    turns = turns or Turns()
    done = []
    for name, chosen in wanted.items():
        with turns.source(name):
            done.append(cycle.sync(app, name, full=full, entities=chosen, since=start, force=force, progress=progress))
    judge(app, turns, progress=progress)
    return [told(result, app.calendar.zone) for result in done]


def instant_of(text: str, now: datetime, zone: ZoneInfo) -> datetime:
    """The instant meant by ``7d`` (ago), ``2026-11-01`` (its beginning in the company's zone) or an instant with its offset.

    Raises:
        KpidError: it is none of them, or to come.
    """
    hint = "Write how long ago (7d), a day (2026-11-01) or an instant with its offset (2026-11-01T08:00:00+01:00)"
    try:
        found = now - duration_from_text(text)
    except ValueError:
        try:
            is_day = len(text) == len("2026-11-01")
            found = datetime.combine(date.fromisoformat(text), time(), zone) if is_day else datetime.fromisoformat(text)
        except ValueError as error:
            raise KpidError(f"{text!r} is no time", hint=hint) from error
    if found.tzinfo is None:
        raise KpidError(f"{text!r} lacks its offset from UTC", hint=f"Write {text}+01:00, or {text}Z for UTC")
    if found > now:
        raise KpidError(f"{text!r} is to come", hint=hint)
    return found.astimezone(UTC)


def _wanted(app: App, names: Sequence[str], entities: Collection[str] | None) -> dict[str, list[str] | None]:
    """What is to be read of each source, in their order; sources that have none of it are left out."""
    if not entities:
        return dict.fromkeys(names)
    fills = {name: _fills(app, name) for name in names}
    known = sorted({entity for filled in fills.values() for entity in filled})
    for entity in entities:
        if entity not in known:
            who = f"source {names[0]} does not fill" if len(names) == 1 else "no source fills"
            raise KpidError(f"{who} {entity!r}", hint=near_miss(entity, known, what="Filled are"))
    chosen = {name: list(dict.fromkeys(filled[one] for one in entities if one in filled)) for name, filled in fills.items()}
    return {name: reads or None for name, reads in chosen.items() if reads}


def _fills(app: App, name: str) -> dict[str, str]:
    """The entities that a source fills, and with which of them each is read."""
    with app.connector(name) as connector:
        reads = connector.reads()
    carried = {entity: wanted.entity for wanted in reads for entity in wanted.carries}
    return carried | {wanted.entity: wanted.entity for wanted in reads}


def sync_one(app: App, name: str, turns: Turns) -> str | Remark | None:
    """The job of a source: sync it, measure what changed, judge the rules; why it could not be read to its end, if so.

    What is read in place is not synced, but measured and judged. That a source is left alone because it asked for it is a remark.
    """
    if name not in app.config.sources:
        judge(app, turns)
        return None
    with turns.source(name):
        result = cycle.sync(app, name)
    waits = waiting(result, app.calendar.zone)
    log.info("synced: %d rows, %d changed%s", result.rows, result.changed, f"; {waits}" if waits else "")
    judge(app, turns)
    return failure(result) or (Remark(waits) if waits else None)


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


def told(result: SyncResult, zone: ZoneInfo) -> dict[str, Any]:
    """A sync in JSON's types. To be left alone for a while is a source's right: it is well."""
    return {
        "source": result.source,
        "ok": not result.failed,
        "rows": result.rows,
        "changed": result.changed,
        "deletes": result.deletes,
        "error": failure(result),
        "deferred_until": plain(result.deferred_until),
        "waits": waiting(result, zone),
        "entities": plain(result.entities),
    }


def waiting(result: SyncResult, zone: ZoneInfo) -> str | None:
    """Until when a source asked to be left alone, and why; None if it did not."""
    if result.deferred_until is None:
        return None
    why = f": {result.deferred_why}" if result.deferred_why else ""
    return f"waits until {when_text(result.deferred_until, zone, result.finished_at)}{why}"


def failure(result: SyncResult) -> str | None:
    """Why a source could not be read to its end; None if it was, or if it asked to be left alone."""
    if not result.failed:
        return None
    return result.error or "; ".join(
        f"{one.entity}: {one.error or one.state}" for one in result.entities if one.state == "failed"
    )
