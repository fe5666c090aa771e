"""The second pass: what the source no longer has. Deletes and merges that it reports, and rows that a full read no longer met.

Nothing is removed: past figures must stay explainable. Rows are marked, and a row that is seen alive again is unmarked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import pyarrow as pa

from kpid.ingest.position import Position
from kpid.ingest.run import Run, Tally, ask_each
from kpid.plugin import Tombstone
from kpid.plugin.entities import ENTITIES
from kpid.warehouse import Batch, Warehouse, Watermark


def delete_pass(run: Run, entity: str, before: Watermark, position: Position, tally: Tally) -> Position:
    """Read the source's deletions since the last pass, page by page; where the next pass begins.

    Each page is stored together with its cursor, so a killed pass goes on where it was.
    """
    begin = position.deleted
    for page in ask_each(run, lambda: run.connector.deleted(entity, begin, run.until)):
        gone = [_gone(run, tombstone) for tombstone in page.tombstones]
        position = replace(position, deleted=page.cursor if page.cursor is not None else position.deleted)
        with run.warehouse.batch() as batch:
            point_to_winners(batch, run.warehouse, entity, {id_: winner for id_, _, _, winner in gone if winner})
            tally.deletes += batch.tombstone(entity, gone)
            batch.save_watermark(replace(before, cursor=position.to_json()))
    return position


def _gone(run: Run, tombstone: Tombstone) -> tuple[str, datetime, str, str | None]:
    winner = f"{run.source}:{tombstone.merged_into}" if tombstone.merged_into else None
    reason = "merged" if winner else tombstone.reason
    return f"{run.source}:{tombstone.native_id}", tombstone.at or run.until, reason, winner


def point_to_winners(batch: Batch, warehouse: Warehouse, entity: str, merged: Mapping[str, str]) -> None:
    """Rows that refer to a record that was merged now refer to the one that took its place.

    A CRM moves them over too, but does not call that a change of theirs: they may never be read again.

    Args:
        batch: where the rows are stored.
        warehouse: where they are looked up, as they were before the batch.
        entity: of the merged records.
        merged: id of each record that went, and of the one it was merged into.
    """
    if not merged:
        return
    for table in ENTITIES.values():
        names = [column.name for column in table.columns if column.info.get("ref") == entity and column.name not in _OWN_PAST]
        for name in names if table.name not in _OWN_PAST else ():
            found = warehouse.query(
                f'SELECT * FROM "{table.name}" WHERE {name} IN (SELECT unnest($1::VARCHAR[]))', [list(merged)]
            )
            if found.num_rows:
                winners = pa.array([_last_winner(key, merged) for key in found.column(name).to_pylist()], pa.string())
                batch.upsert(table.name, found.set_column(found.column_names.index(name), name, winners))


_OWN_PAST = {"merged_into_id", "deal_stage_history"}
"""What a merged record was itself stays as it was."""


def _last_winner(key: str, merged: Mapping[str, str]) -> str:
    """Who has a record's place after all merges; a circle ends where it began."""
    seen = {key}
    while (following := merged.get(key)) is not None and following not in seen:
        seen.add(following)
        key = following
    return key


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
