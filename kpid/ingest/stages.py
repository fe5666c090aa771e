"""Observes the stages of deals whose history the source does not keep, or does not give."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kpid.ingest.merging import Gone
from kpid.ingest.observed import observed_intervals
from kpid.ingest.run import Run
from kpid.plugin import EntityReads
from kpid.warehouse.types import arrow_schema

HISTORY = "deal_stage_history"
_WATCHED = ("id", "stage_id", "pipeline_id", "updated_at", "synced_at")
_OF_DEALS = "deal_id IN (SELECT unnest($1::VARCHAR[]))"


class StageWatch:
    """Looks at deals about to be stored, beside those that are.

    A source that gives histories may lack that of some deals, by its plan or its rights: those are observed until theirs comes.

    Args:
        run: the sync that this is part of.
        reads: what the connector promises for the deals.
    """

    def __init__(self, run: Run, reads: EntityReads) -> None:
        self._run = run
        self._history = reads.history
        self._has_observed: bool | None = None

    def observed(self, tables: Mapping[str, pa.Table]) -> pa.Table | None:
        """Stage intervals that these deals show."""
        if "deals" not in tables or self._history == "none":
            return None
        deals = tables["deals"].select(_WATCHED)
        rows = self._intervals(self._without_history(deals, tables) if self._history == "full" else deals)
        if not rows:
            return None
        self._has_observed = True
        stamped = [{**row, "synced_at": self._run.clock.now()} for row in rows]
        return pa.Table.from_pylist(stamped, schema=arrow_schema(HISTORY))

    def outdated(self, tables: Mapping[str, pa.Table]) -> list[Gone]:
        """Observed intervals of deals whose own history comes now: it takes their place."""
        if self._history != "full" or HISTORY not in tables or not self._is_any_observed():
            return []
        deals = pc.drop_null(pc.unique(tables[HISTORY].column("deal_id"))).to_pylist()
        sql = f"SELECT id, valid_from FROM {HISTORY} WHERE origin = 'observed' AND deleted_at IS NULL AND {_OF_DEALS}"
        # gone from their beginning: no figure of the past counts a deal twice
        return [(row["id"], row["valid_from"], "deleted", None) for row in self._query(sql, deals).to_pylist()]

    def _intervals(self, incoming: pa.Table) -> list[dict[str, Any]]:
        ids = incoming.column("id").to_pylist()
        if not ids or not self._run.warehouse.may_hold("deals", ids):
            return []
        sql = f"SELECT {', '.join(_WATCHED)} FROM deals WHERE id IN (SELECT unnest($1::VARCHAR[]))"
        stored, incoming = _moved(self._query(sql, ids), incoming)
        if not stored.num_rows:
            return []
        running = f"SELECT * FROM {HISTORY} WHERE origin = 'observed' AND deleted_at IS NULL AND valid_to IS NULL AND {_OF_DEALS}"
        begun = self._query(running, stored.column("id").to_pylist())
        return observed_intervals(stored.to_pylist(), incoming.to_pylist(), begun.to_pylist(), self._run.until)

    def _without_history(self, deals: pa.Table, tables: Mapping[str, pa.Table]) -> pa.Table:
        """Those deals of which the source does not tell, and has not told, the history."""
        if HISTORY in tables:
            deals = _but(deals, tables[HISTORY].column("deal_id"))
        if not deals.num_rows:
            return deals
        sql = f"SELECT DISTINCT deal_id FROM {HISTORY} WHERE origin IS DISTINCT FROM 'observed' AND {_OF_DEALS}"
        return _but(deals, self._query(sql, deals.column("id").to_pylist()).column("deal_id"))

    def _is_any_observed(self) -> bool:
        if self._has_observed is None:
            sql = f"SELECT 1 AS n FROM {HISTORY} WHERE source_id = $1 AND origin = 'observed' AND deleted_at IS NULL LIMIT 1"
            self._has_observed = self._run.warehouse.query(sql, [self._run.source]).num_rows > 0
        return self._has_observed

    def _query(self, sql: str, ids: Collection[str]) -> pa.Table:
        return self._run.warehouse.query(sql, [list(ids)])


def _but(deals: pa.Table, ids: pa.ChunkedArray) -> pa.Table:
    return deals.filter(pc.invert(pc.is_in(deals.column("id"), value_set=ids.combine_chunks())))


def _moved(stored: pa.Table, incoming: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Those deals that are in another stage now, as they were and as they are.

    Found by column: most deals of most batches are new or where they were, and to make rows of them all costs more than to store
    them.
    """
    ids = incoming.column("id").combine_chunks()[::-1]  # of several of one id the last counts
    place = pc.index_in(stored.column("id"), value_set=ids)
    now = pc.take(incoming.column("stage_id").combine_chunks()[::-1], place)
    was = stored.column("stage_id")
    has_moved = pc.and_(pc.is_valid(was), pc.or_(pc.is_null(now), pc.fill_null(pc.not_equal(was, now), False)))
    chosen = pc.subtract(incoming.num_rows - 1, place.filter(has_moved))
    return stored.filter(has_moved), incoming.take(chosen)
