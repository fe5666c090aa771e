"""Scheduled reconciliation: every id that the source lists beside those that are stored.

It finds what no change ever told of: records that vanished without a word, that came with an old date, or whose change did not
count as one. Nothing is buried on the listing's word alone where the record can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from kpid.ingest.beside import Beside
from kpid.ingest.completeness import compare_count
from kpid.ingest.reconcile import living_rows, loss_of, mark_vanished, unmet_ids
from kpid.ingest.run import ask_each
from kpid.ingest.storing import BATCH_ROWS, BATCH_SECONDS
from kpid.plugin import Cursor

RECONCILE = "reconcile"
"""The name of this pass, and of its findings."""

Listed = tuple[str, datetime | None]


def compare_ids(beside: Beside) -> bool:
    """Take the pass as far as its time goes; whether it came to its end."""
    run, entity, begin = beside.run, beside.reads.entity, beside.side.cursor
    listed: list[Listed] = []
    beside.tally.total = living_rows(run.warehouse, run.source, entity)
    began = run.clock.monotonic()
    for page in ask_each(run, lambda: run.connector.ids(entity, begin, run.until)):
        listed.extend(page.ids)
        if len(listed) >= BATCH_ROWS or run.clock.monotonic() - began >= BATCH_SECONDS:
            _compare(beside, listed, page.cursor)
            listed, began = [], run.clock.monotonic()
            if beside.is_over and page.cursor is not None:
                return False
    _compare(beside, listed, None)
    _finish(beside)
    return True


def _compare(beside: Beside, listed: Sequence[Listed], cursor: Cursor | None) -> None:
    """Fetch those of the listed records that are not as they are stored, then move on."""
    stored = _stored(beside, [key for key, _ in listed])
    wanted = {key: told for key, told in listed if _differs(beside, stored.get(key), told)}
    came = beside.fetch(wanted) if beside.reads.by_id else set[str]()
    late = _unnoticed(beside, {key: told for key, told in wanted.items() if key in came and not _is_gone(stored.get(key))})
    side = beside.side
    example = side.example or (f"{late[0]}, changed {wanted[late[0]]:%Y-%m-%d %H:%M} UTC" if late else None)
    moved = replace(side, cursor=cursor or side.cursor, example=example)
    moved = replace(moved, met=side.met + len(listed), missed=side.missed + len(late))
    beside.move(moved, [key for key, _ in listed])


def _stored(beside: Beside, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    sql = f"SELECT native_id, updated_at, deleted_at FROM {beside.reads.entity} WHERE id IN (SELECT unnest($1::VARCHAR[]))"
    found = beside.run.warehouse.query(sql, [beside.keys(ids).to_pylist()])
    return {row["native_id"]: row for row in found.to_pylist()}


def _is_gone(row: dict[str, Any] | None) -> bool:
    return row is not None and row["deleted_at"] is not None


def _differs(beside: Beside, row: dict[str, Any] | None, told: datetime | None) -> bool:
    """Whether a living record of the source is not the row that is stored."""
    if row is None or _is_gone(row):
        return True
    stored, grain = row["updated_at"], beside.reads.grain
    if told is None or stored is None or grain == "none":
        return False
    if grain == "day":
        zone = beside.run.timezone
        return bool(told.astimezone(zone).date() != stored.astimezone(zone).date())
    return bool(told > stored)


def _unnoticed(beside: Beside, fetched: dict[str, datetime | None]) -> list[str]:
    """Which of the records that were fetched had changed so long ago that the main read should have given them."""
    if beside.mark.through is None:
        return []
    limit = beside.mark.through - beside.reads.overlap
    early = {key: told for key, told in fetched.items() if told is not None and told < limit}
    if not early:
        return []
    now = _stored(beside, list(early))  # a record that is even now older than the listing says: the two tell different times
    return [key for key, told in early.items() if key in now and not _differs(beside, now[key], told)]


def _finish(beside: Beside) -> None:
    """All is listed: what is not among it has vanished, unless it can still be had, or so much at once is doubtful."""
    run, entity, side, tally = beside.run, beside.reads.entity, beside.side, beside.tally
    began, name = datetime.fromisoformat(side.began), side.run or ""
    unmet = unmet_ids(run.warehouse, run.source, entity, name, began)
    if unmet and beside.reads.by_id:
        beside.move(side, beside.fetch(unmet))
    loss = loss_of(run.warehouse, run.source, entity, name, began)
    if loss.unmet and not loss.is_doubtful:
        mark_vanished(run, entity, name, tally, began)
    with run.warehouse.batch() as batch:
        batch.forget_seen(run.source, entity)
        position = replace(beside.position, listed_at=run.clock.now().isoformat())
        batch.save_watermark(beside.finished(position))
    tally.findings[RECONCILE] = None
    if loss.is_doubtful:
        tally.findings[RECONCILE] = (
            f"The source lists {side.met:,} {entity}, and not {loss.unmet:,} of {loss.living:,} that are stored: they are kept",
            f"Check the source's permissions and filters; if they are really gone: `kpid sync {run.source} --full`",
        )
    elif side.missed:
        tally.findings[RECONCILE] = (
            f"{side.missed:,} {entity} had changed without the source telling it, for example {side.example}",
            "They are right now, and are looked for again at the next comparison (`reconcile:` of the source)",
        )
    compare_count(run, beside.reads, tally, listed=side.met)
