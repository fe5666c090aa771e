"""The second pass: what the source no longer has. Deletes and merges that it reports, and rows that a full read no longer met.

Nothing is removed: past figures must stay explainable. Rows are marked, and a row that is seen alive again is unmarked.
"""

from __future__ import annotations

from dataclasses import replace

from kpid.ingest.merging import gone_rows
from kpid.ingest.position import Position
from kpid.ingest.run import Run, Tally, ask_each
from kpid.warehouse import Batch, Warehouse, Watermark


def delete_pass(run: Run, entity: str, before: Watermark, position: Position, tally: Tally) -> Position:
    """Read the source's deletions since the last pass, page by page; where the next pass begins.

    Each page is stored together with its cursor, so a killed pass goes on where it was.
    """
    begin = position.deleted
    for page in ask_each(run, lambda: run.connector.deleted(entity, begin, run.until)):
        gone = gone_rows(run.source, page.tombstones, run.until)
        position = replace(position, deleted=page.cursor if page.cursor is not None else position.deleted)
        stubs = run.merges.stubs(entity, gone, run.clock.now())
        with run.warehouse.batch() as batch:
            run.merges.point_to_winners(batch, entity, run.merges.learn(entity, None, gone))
            if stubs is not None:
                batch.upsert(entity, stubs)
            tally.deletes += batch.tombstone(entity, gone)
            batch.save_watermark(replace(before, cursor=position.to_json()))
    return position


def suspicious_zero(warehouse: Warehouse, source: str, entity: str, run: str) -> int:
    """How many living rows a complete read has all missed at once; 0 if it has met any, or there were none.

    An empty answer to a full read is far more often a lost permission or a silent filter than an emptied CRM.
    """
    met = warehouse.query(
        "SELECT 1 AS met FROM seen WHERE source_id = $1 AND entity = $2 AND run = $3 LIMIT 1", [source, entity, run]
    )
    if met.num_rows:
        return 0
    alive = warehouse.query(f'SELECT count(*) AS n FROM "{entity}" WHERE source_id = $1 AND deleted_at IS NULL', [source])
    return int(alive.column("n")[0].as_py())


def mark_vanished(batch: Batch, run: Run, entity: str, read: str, tally: Tally) -> None:
    """Mark what the complete read has not met, and forget what it has."""
    tally.deletes += batch.vanish(run.source, entity, read, run.until)
    batch.forget_seen(run.source, entity)
