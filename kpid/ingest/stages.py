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
        rows = self._intervals((self._without_history(deals, tables) if self._history == "full" else deals).to_pylist())
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

    def _intervals(self, incoming: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = [row["id"] for row in incoming]
        if not ids:
            return []
        stored = self._query(f"SELECT {', '.join(_WATCHED)} FROM deals WHERE id IN (SELECT unnest($1::VARCHAR[]))", ids)
        running = f"SELECT * FROM {HISTORY} WHERE origin = 'observed' AND deleted_at IS NULL AND valid_to IS NULL AND {_OF_DEALS}"
        return observed_intervals(stored.to_pylist(), incoming, self._query(running, ids).to_pylist(), self._run.until)

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
