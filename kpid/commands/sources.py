"""``kpid sources``: where each source stands, entity by entity, and what it can tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kpid.app import App
from kpid.commands.listings import next_runs
from kpid.commands.plain import plain
from kpid.commands.rounds import SYNC
from kpid.config.problems import near_miss
from kpid.config.secrets import redact
from kpid.errors import ConnectorError, KpidError, PluginError
from kpid.ingest.position import Position, position_from_json
from kpid.ingest.run import ask
from kpid.plugin import EntityReads, Known
from kpid.plugin.entities import ENTITIES
from kpid.registry import secrets_of
from kpid.store import problems, syncs
from kpid.store.syncs import SyncRun
from kpid.warehouse import Watermark

WORDS: Mapping[str, str] = {
    "deletes": "deletes",
    "merges": "merges",
    "deal_stage_history": "stage history",
    "fx_dated": "dated exchange rates",
    "email_events": "e-mail events",
    "business_hours": "opening hours",
    "attribution": "attribution",
}
"""Capabilities beyond tables and columns, as people read them."""

_SHARED = ("can", "observes")
_OWN = (
    "entity", "state", "through", "age_s", "stale", "rows", "deleted", "error", "deferred_until", "mode", "deletes", "history",
    "grain", "carried_by", "compared", "reconciled_at", "backfill",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Held:
    """What our stores know of all sources."""

    marks: Mapping[tuple[str, str], Watermark]
    syncs: Mapping[tuple[str, str], SyncRun]
    ends: Mapping[tuple[str, str], datetime]
    problems: Mapping[str, str]
    next: Mapping[str, str]
    now: datetime


def list_sources(app: App, *, source: str | None = None) -> list[dict[str, Any]]:
    """One row per source and entity: how far it is complete, its rows, and what went wrong last. Contacts nobody.

    Args:
        app: everything, with the warehouse.
        source: only this one.

    Returns:
        Rows with ``source``, ``connector``, ``entity``, ``state`` (never, running, done, failed, deferred, carried, left),
        ``through``, ``age_s``, ``stale``, ``rows``, ``deleted``, ``error``, ``deferred_until``, ``next``, ``every``, ``mode``,
        ``deletes``, ``history``, ``grain``, ``carried_by``, ``can``, ``observes``, ``compared`` (how what is stored is compared
        with all that the source has: each sync, by ids, with --full), ``reconciled_at``, ``reconcile`` and ``backfill``. A
        source that cannot say what it reads has one row without entity.

    Raises:
        KpidError: there is no such source.
    """
    sources = app.config.sources
    if source is not None and source not in sources:
        raise KpidError(f"there is no source {source!r}", hint=near_miss(source, sources, what="Configured"))
    held = _held(app)
    found = [row for name in (sources if source is None else [source]) for row in _rows_of(app, name, held)]
    counted = _counts(app, {row["entity"] for row in found if row["entity"] in ENTITIES})
    secrets = secrets_of(app.loaded, app.plugins)
    for row in found:
        row["rows"], row["deleted"] = counted.get((row["source"], row["entity"]), (0, 0))
        row["error"] = row["error"] and redact(row["error"], secrets)
        row["backfill"] = row["backfill"] and row["backfill"].format(of=f"{row['rows'] - row['deleted']:,}")
    return [{key: plain(value) for key, value in row.items()} for row in found]


def _held(app: App) -> _Held:
    now = app.clock.now()
    with app.store.read() as connection:
        runs, ends, noted = syncs.latest(connection), syncs.newest_through(connection), problems.list_problems(connection)
    return _Held(
        {(mark.source, mark.entity): mark for mark in app.warehouse.watermarks()},
        {(run.source, run.entity): run for run in runs},
        ends,
        {one.subject: f"{one.text}. {one.hint}" if one.hint else one.text for one in noted},
        {one["schedule"]: one["due_at"] for one in next_runs(app, now, 1)},
        now,
    )


def _rows_of(app: App, name: str, held: _Held) -> Iterator[dict[str, Any]]:
    wanted = app.config.sources[name]
    failed = held.problems.get(f"source:{name}")
    shared: dict[str, Any] = {
        "source": name,
        "connector": wanted.connector,
        "every": wanted.every,
        "next": held.next.get(f"{SYNC}{name}"),
        "reconcile": wanted.reconcile,
    }
    try:
        with app.connector(name) as connector:
            reads = ask(name, connector, connector.reads)
            known = ask(name, connector, connector.capabilities)
    except (ConnectorError, PluginError) as error:
        yield shared | _nothing() | {"state": "failed", "error": failed or str(error)}
        return
    shared |= {"can": _words(known, "full"), "observes": _words(known, "since_sync")}
    for one in reads:
        yield _nothing() | shared | _entity(app, name, one, held, failed)
        carried = {"state": "carried", "carried_by": one.entity, "mode": one.mode}
        for entity in one.carries:
            yield _nothing() | shared | carried | {"entity": entity}
    filled = {entity for one in reads for entity in (one.entity, *one.carries)}
    for source, entity in held.marks:
        if source == name and entity not in filled:
            yield (
                _nothing()
                | shared
                | {
                    "entity": entity,
                    "state": "left",
                    "through": held.ends.get((source, entity)),
                    "error": held.problems.get(f"source:{source}/{entity}"),
                }
            )


def _nothing() -> dict[str, Any]:
    return dict.fromkeys((*_OWN, *_SHARED))


def _words(known: Mapping[str, Known], wanted: Known) -> list[str]:
    return [word for name, word in WORDS.items() if known.get(name, "none") == wanted]


def _entity(app: App, name: str, reads: EntityReads, held: _Held, failed: str | None) -> dict[str, Any]:
    key = (name, reads.entity)
    run, through = held.syncs.get(key), held.ends.get(key)
    position = position_from_json(held.marks[key].cursor) if key in held.marks else Position()
    age = held.now - through if through else None
    state = run.state if run else "never"
    waits = run.deferred_until if run and run.deferred_until and run.deferred_until > held.now else None
    error = run.error if run and state in {"failed", "deferred"} else failed
    return {
        "entity": reads.entity,
        "state": "failed" if failed else state,
        "through": through,
        "age_s": age,
        "stale": age is None or age > app.max_age(name),
        "error": error or "; ".join(run.warnings if run else ()) or None,
        "deferred_until": waits,
        "mode": reads.mode,
        "deletes": reads.deletes,
        "history": reads.history,
        "grain": reads.grain,
        "compared": _compared(app, name, reads),
        "reconciled_at": position.listed_at and datetime.fromisoformat(position.listed_at),
        "backfill": _backfill(position),
    }


def _compared(app: App, name: str, reads: EntityReads) -> str:
    """How what changes do not tell is found."""
    if reads.mode == "full":
        return "each sync"
    return "by ids" if reads.listing and app.config.sources[name].reconcile_after is not None else "with --full"


def _backfill(position: Position) -> str | None:
    """How far old rows have got their new fields; ``{of}`` stands for how many there are."""
    side = position.side
    if side is None or side.kind != "fields":
        return None
    fields = ", ".join(side.wanted).replace("{", "{{").replace("}", "}}")
    return f"{side.met:,} of {{of}} (new: {fields})"


def _counts(app: App, entities: Iterable[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """Rows of each source and entity, and how many of them are gone."""
    found = {}
    for entity in sorted(entities):
        sql = f"SELECT source_id, count(*) AS n, count(deleted_at) AS gone FROM {entity} GROUP BY source_id"
        for row in app.warehouse.query(sql).to_pylist():
            found[row["source_id"], entity] = (int(row["n"]), int(row["gone"]))
    return found


def ailing(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an entity failed, is too old, or was never read."""
    return any(row["state"] in {"failed", "never"} or row["stale"] for row in rows)
