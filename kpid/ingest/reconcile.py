"""The second pass: what the source no longer has. Deletes and merges that it reports, and rows that a full read no longer met.

Nothing is removed: past figures must stay explainable. Rows are marked, and a row that is seen alive again is unmarked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from kpid.ingest.merging import gone_rows
from kpid.ingest.position import Position
from kpid.ingest.run import Run, Tally, ask_each
from kpid.warehouse import Warehouse, Watermark


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


@dataclass(frozen=True, slots=True)
class Loss:
    """Of ``living`` rows of a source, ``unmet`` were not met by a complete read; ``met_any`` says whether it met anything."""

    unmet: int
    living: int
    met_any: bool

    @property
    def is_doubtful(self) -> bool:
        """Whether so many at once are more likely hidden than gone: a lost permission, a sharing rule, a silent filter."""
        if not self.met_any:
            return self.living > 0
        return self.unmet > LOST_ROWS and self.unmet > LOST_SHARE * self.living


LOST_ROWS, LOST_SHARE = 50, 0.2
"""More than both at once is doubted."""


def loss_of(warehouse: Warehouse, source: str, entity: str, run: str, before: datetime | None = None) -> Loss:
    """What the complete read ``run`` has not met, of the rows stored before an instant (None: of all)."""
    met = warehouse.query(
        "SELECT 1 AS met FROM seen WHERE source_id = $1 AND entity = $2 AND run = $3 LIMIT 1", [source, entity, run]
    )
    unmet = warehouse.query(_UNMET.format(what="count(*) AS n", entity=entity), [source, entity, run, before])
    return Loss(int(unmet.column("n")[0].as_py()), living_rows(warehouse, source, entity), met.num_rows > 0)


def living_rows(warehouse: Warehouse, source: str, entity: str) -> int:
    """How many rows of the source are stored that it still has."""
    found = warehouse.query(f'SELECT count(*) AS n FROM "{entity}" WHERE source_id = $1 AND deleted_at IS NULL', [source])
    return int(found.column("n")[0].as_py())


def unmet_ids(warehouse: Warehouse, source: str, entity: str, run: str, before: datetime | None = None) -> list[str]:
    """Native ids of the rows that would vanish; none if they are more than :data:`ASKED_FOR`."""
    ids = _unmet(warehouse, "native_id", source, entity, run, before, most=ASKED_FOR + 1)
    return ids if len(ids) <= ASKED_FOR else []


def _unmet(
    warehouse: Warehouse, column: str, source: str, entity: str, run: str, before: datetime | None, *, most: int
) -> list[str]:
    sql = f"{_UNMET.format(what=f's.{column}', entity=entity)} LIMIT {most}"
    ids: list[str] = warehouse.query(sql, [source, entity, run, before]).column(column).to_pylist()
    return ids


_UNMET = """SELECT {what} FROM {entity} s WHERE s.source_id = $1 AND s.deleted_at IS NULL
AND (CAST($4 AS TIMESTAMPTZ) IS NULL OR s.synced_at < CAST($4 AS TIMESTAMPTZ))
AND NOT EXISTS (SELECT 1 FROM seen k WHERE k.source_id = $1 AND k.entity = $2 AND k.run = $3 AND k.id = s.id)"""

ASKED_FOR = 2_000
"""Up to so many rows that a listing has left out are asked for one by one before they are believed to be gone."""


_MARKED_AT_ONCE = 20_000
"""Rows: what is marked in one transaction has to fit into memory."""


def mark_vanished(run: Run, entity: str, read: str, tally: Tally, before: datetime | None = None) -> None:
    """Mark what the complete read has not met, of the rows stored before an instant (None: of all).

    It takes several transactions where much is gone. A read that is killed between them is compared again, with what is left.
    """
    while ids := _unmet(run.warehouse, "id", run.source, entity, read, before, most=_MARKED_AT_ONCE):
        with run.warehouse.batch() as batch:
            marked = batch.tombstone(entity, [(key, run.until, "vanished", None) for key in ids])
        tally.deletes += marked
        if not marked:
            return
