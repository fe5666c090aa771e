"""Fields that are asked for only now: old rows get them, while the cursor of the changes stays where it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kpid.ingest.beside import CHUNK, Beside
from kpid.ingest.reconcile import living_rows
from kpid.ingest.run import ask_each
from kpid.plugin import Page

BACKFILL = "backfill"
"""The name of this pass, and of its findings."""

_AHEAD = 50 * CHUNK
"""So many ids are looked up at once."""


def fill_fields(beside: Beside) -> bool:
    """Take the pass as far as its time goes; whether it came to its end."""
    beside.tally.total = living_rows(beside.run.warehouse, beside.run.source, beside.reads.entity)
    if not (_by_id(beside) if beside.reads.by_id else _by_pages(beside)):
        return False
    beside.store()
    position = beside.position
    with beside.run.warehouse.batch() as batch:
        asked = tuple(sorted({*position.asked, *beside.side.wanted}))
        batch.save_watermark(beside.finished(replace(position, asked=asked)))
    beside.tally.findings[BACKFILL] = None
    return True


def _by_id(beside: Beside) -> bool:
    """In the order of their ids. What does not come is left as it is: deletions are another pass's work."""
    for ids in _chunks(beside):
        beside.fetch_chunk(ids)
        moved = replace(beside.side, cursor={"after": ids[-1]}, met=beside.side.met + len(ids))
        if beside.is_due or beside.is_over:
            beside.store(moved)
            if beside.is_over:
                return False
        beside.side = moved
    return True


def _chunks(beside: Beside) -> Iterator[list[str]]:
    after = (beside.side.cursor or {}).get("after", "")
    sql = (
        f"SELECT native_id FROM {beside.reads.entity} WHERE source_id = $1 AND deleted_at IS NULL AND native_id > $2 "
        f"ORDER BY native_id LIMIT {_AHEAD}"
    )
    while ids := beside.run.warehouse.query(sql, [beside.run.source, after]).column("native_id").to_pylist():
        for start in range(0, len(ids), CHUNK):
            yield ids[start : start + CHUNK]
        after = ids[-1]


def _by_pages(beside: Beside) -> bool:
    """By a read of everything, with a cursor of its own."""
    for page in _pages(beside):
        beside.take(page)
        rows = len(page.rows.get(beside.reads.entity, ()))
        moved = replace(beside.side, met=beside.side.met + rows)
        if page.cursor is not None:
            moved = replace(moved, cursor={"read": page.cursor})
        if beside.is_due or beside.is_over:
            beside.store(moved)
            if beside.is_over and page.cursor is not None:
                return False
        beside.side = moved
    return True


def _pages(beside: Beside) -> Iterator[Page]:
    run, begin = beside.run, (beside.side.cursor or {}).get("read")
    return ask_each(run, lambda: run.connector.pages(beside.reads.entity, begin, run.until))
