"""Observes the stages of deals whose history the source does not keep, or does not give."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

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
        incoming = tables["deals"].select(_WATCHED).to_pylist()
        if self._history == "full":
            told = self._with_history([row["id"] for row in incoming], tables)
            incoming = [row for row in incoming if row["id"] not in told]
        rows = self._intervals(incoming) if incoming else []
        if not rows:
            return None
        self._has_observed = True
        stamped = [{**row, "synced_at": self._run.clock.now()} for row in rows]
        return pa.Table.from_pylist(stamped, schema=arrow_schema(HISTORY))

    def outdated(self, tables: Mapping[str, pa.Table]) -> list[Gone]:
        """Observed intervals of deals whose own history comes now: it takes their place."""
        if self._history != "full" or HISTORY not in tables or not self._is_any_observed():
            return []
        deals = sorted(_told_of(tables))
        sql = f"SELECT id, valid_from FROM {HISTORY} WHERE origin = 'observed' AND deleted_at IS NULL AND {_OF_DEALS}"
        # gone from their beginning: no figure of the past counts a deal twice
        return [(row["id"], row["valid_from"], "deleted", None) for row in self._query(sql, deals).to_pylist()]

    def _intervals(self, incoming: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids = [row["id"] for row in incoming]
        stored = self._query(f"SELECT {', '.join(_WATCHED)} FROM deals WHERE id IN (SELECT unnest($1::VARCHAR[]))", ids)
        running = f"SELECT * FROM {HISTORY} WHERE origin = 'observed' AND deleted_at IS NULL AND valid_to IS NULL AND {_OF_DEALS}"
        return observed_intervals(stored.to_pylist(), incoming, self._query(running, ids).to_pylist(), self._run.until)

    def _with_history(self, ids: list[str], tables: Mapping[str, pa.Table]) -> set[str]:
        """Those deals of which the source tells, or has told, the history."""
        told = _told_of(tables)
        rest = [key for key in ids if key not in told]
        if rest:
            sql = f"SELECT DISTINCT deal_id FROM {HISTORY} WHERE origin IS DISTINCT FROM 'observed' AND {_OF_DEALS}"
            told.update(self._query(sql, rest).column("deal_id").to_pylist())
        return told

    def _is_any_observed(self) -> bool:
        if self._has_observed is None:
            sql = f"SELECT 1 AS n FROM {HISTORY} WHERE source_id = $1 AND origin = 'observed' AND deleted_at IS NULL LIMIT 1"
            self._has_observed = self._run.warehouse.query(sql, [self._run.source]).num_rows > 0
        return self._has_observed

    def _query(self, sql: str, ids: Collection[str]) -> pa.Table:
        return self._run.warehouse.query(sql, [list(ids)])


def _told_of(tables: Mapping[str, pa.Table]) -> set[str]:
    """Deals whose history is among the rows."""
    return set(tables[HISTORY].column("deal_id").to_pylist()) - {None} if HISTORY in tables else set()
