"""A sync in memory, for tests of connectors: what the real one stores, in short."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from kpid.plugin import Connector, Cursor, DeletedPage, EntityReads, Page

_SPENT = object()


class MemorySync:
    """Upserts by native id, keeps cursors, marks what is gone.

    Attributes:
        rows: by entity and native id.
        cursors: of the pages, by entity.
        deleted_cursors: of the delete pass, by entity.
        pages: how many pages were stored.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.cursors: dict[str, Cursor | None] = {}
        self.deleted_cursors: dict[str, Cursor | None] = {}
        self.pages = 0

    def run(self, connector: Connector[Any], *, entity: str | None = None, stop_after: int | None = None) -> None:
        """Sync once.

        Args:
            connector: what to read.
            entity: only this one.
            stop_after: end abruptly after so many pages, as a killed process would.
        """
        budget = itertools.repeat(None) if stop_after is None else itertools.repeat(None, stop_after)
        until = connector.server_time() or connector.context.clock.now()
        for reads in connector.reads():
            if entity in {None, reads.entity} and not self._read(connector, reads, until, budget):
                return

    def _read(self, connector: Connector[Any], reads: EntityReads, until: datetime, budget: Iterator[object]) -> bool:
        """One entity; False if the budget of pages is used up."""
        met: set[str] = set()
        for page in connector.pages(reads.entity, self.cursors.get(reads.entity), until):
            if next(budget, _SPENT) is _SPENT:
                return False
            met |= self._store(reads.entity, page)
        if reads.deletes == "absence":
            self._mark_vanished(reads.entity, met)
        if reads.deletes == "pass":
            for deleted in connector.deleted(reads.entity, self.deleted_cursors.get(reads.entity), until):
                if next(budget, _SPENT) is _SPENT:
                    return False
                self._bury(reads.entity, deleted, until)
        return True

    def _store(self, entity: str, page: Page) -> set[str]:
        for name, rows in page.rows.items():
            for row in rows:
                self.rows.setdefault(name, {})[row["native_id"]] = dict(row)
        self.cursors[entity] = page.cursor
        self.pages += 1
        return {row["native_id"] for row in page.rows.get(entity, ())}

    def _bury(self, entity: str, page: DeletedPage, until: datetime) -> None:
        for stone in page.tombstones:
            row = self.rows.get(entity, {}).get(stone.native_id)
            if row is not None and row.get("deleted_at") is None:
                row["deleted_at"] = stone.at or until
                row |= {"deleted_reason": stone.reason, "merged_into_id": stone.merged_into}
        self.deleted_cursors[entity] = page.cursor

    def _mark_vanished(self, entity: str, met: set[str]) -> None:
        for native_id, row in self.rows.get(entity, {}).items():
            if native_id not in met:
                row |= {"deleted_at": True, "deleted_reason": "vanished"}

    def live(self, entity: str) -> dict[str, dict[str, Any]]:
        """The rows that are not marked as gone."""
        return {native_id: row for native_id, row in self.rows.get(entity, {}).items() if row.get("deleted_at") is None}
