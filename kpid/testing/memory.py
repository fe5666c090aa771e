"""A sync in memory, for tests of connectors: what the real one stores, in short."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from kpid.plugin import Connector, Cursor, EntityReads, Page, Tombstone
from kpid.plugin.entities import ENTITIES

_SPENT = object()
_CHUNK = 200


class MemorySync:
    """Upserts by native id, keeps cursors, marks what is gone.

    Attributes:
        rows: by entity and native id.
        cursors: of the pages, by entity.
        deleted_cursors: of the delete pass, by entity.
        pages: how many pages were stored.
        counts: what the source said of its own number of records, by entity, when it was last reconciled.
        missed: ids that a reconciliation found changed or new, by entity.
        warnings: all that pages have warned of, once each.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.cursors: dict[str, Cursor | None] = {}
        self.deleted_cursors: dict[str, Cursor | None] = {}
        self.pages = 0
        self.counts: dict[str, int | None] = {}
        self.missed: dict[str, set[str]] = {}
        self.warnings: list[str] = []

    def run(
        self, connector: Connector[Any], *, entity: str | None = None, stop_after: int | None = None, reconcile: bool = False
    ) -> None:
        """Sync once.

        Args:
            connector: what to read.
            entity: only this one.
            stop_after: end abruptly after so many pages, as a killed process would.
            reconcile: also compare all ids, of entities that have ``listing``, and ask for the count of those that are counted.
        """
        budget = itertools.repeat(None) if stop_after is None else itertools.repeat(None, stop_after)
        until = connector.server_time() or connector.context.clock.now()
        for reads in connector.reads():
            if entity not in {None, reads.entity}:
                continue
            if not self._read(connector, reads, until, budget):
                return
            if reconcile and reads.listing and not self._reconcile(connector, reads, until, budget):
                return
            if reconcile and reads.counted:
                self.counts[reads.entity] = connector.count(reads.entity)

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
                self._bury(reads.entity, deleted.tombstones, until)
                self.deleted_cursors[reads.entity] = deleted.cursor
        return True

    def _reconcile(self, connector: Connector[Any], reads: EntityReads, until: datetime, budget: Iterator[object]) -> bool:
        """What the source lists by id: what is new or changed is fetched, what is not there is gone."""
        entity, met = reads.entity, set[str]()
        wanted: set[str] = set()
        for page in connector.ids(entity, None, until):
            if next(budget, _SPENT) is _SPENT:
                return False
            met |= {native_id for native_id, _ in page.ids}
            wanted |= {native_id for native_id, changed in page.ids if self._differs(reads, native_id, changed)}
        self.missed[entity] = wanted
        absent = self.live(entity).keys() - met
        if reads.by_id:
            self._fetch(connector, entity, wanted)
            absent -= self._fetch(connector, entity, absent)
        self._mark_vanished(entity, self.rows.get(entity, {}).keys() - absent)
        return True

    def _differs(self, reads: EntityReads, native_id: str, changed: datetime | None) -> bool:
        row = self.rows.get(reads.entity, {}).get(native_id)
        if row is None or row.get("deleted_at") is not None:
            return True
        stored = _instant(row.get("updated_at"))
        if changed is None or stored is None:
            return False
        return changed.date() != stored.date() if reads.grain == "day" else changed > stored

    def _fetch(self, connector: Connector[Any], entity: str, ids: Iterable[str]) -> set[str]:
        ordered, met, cursor = sorted(ids), set[str](), self.cursors.get(entity)
        for start in range(0, len(ordered), _CHUNK):
            for page in connector.fetch(entity, ordered[start : start + _CHUNK]):
                met |= self._store(entity, page)
        self.cursors[entity] = cursor
        return met

    def _store(self, entity: str, page: Page) -> set[str]:
        for name in page.whole:
            self._leave_out(entity, name, page)
        for name, rows in page.rows.items():
            for row in rows:
                self.rows.setdefault(name, {})[row["native_id"]] = dict(row)
        self._bury(entity, page.gone, None)
        self.warnings.extend(warning for warning in page.warnings if warning not in self.warnings)
        self.cursors[entity] = page.cursor
        self.pages += 1
        return {row["native_id"] for row in page.rows.get(entity, ())}

    def _leave_out(self, entity: str, child: str, page: Page) -> None:
        """What hung on the page's records and is not among what hangs on them now."""
        parents = {row["native_id"] for row in page.rows.get(entity, ())}
        names = [column.name for column in ENTITIES[child].columns if column.info.get("ref") == entity]
        given = {row["native_id"] for row in page.rows.get(child, ())}
        for native_id, row in self.live(child).items():
            if native_id not in given and any(row.get(name) in parents for name in names):
                row |= {"deleted_at": True, "deleted_reason": "deleted"}

    def _bury(self, entity: str, tombstones: Iterable[Tombstone], until: datetime | None) -> None:
        for stone in tombstones:
            row = self.rows.get(entity, {}).get(stone.native_id)
            if row is not None and row.get("deleted_at") is None:
                row["deleted_at"] = stone.at or until or True
                row |= {"deleted_reason": stone.reason, "merged_into_id": stone.merged_into}

    def _mark_vanished(self, entity: str, met: Iterable[str]) -> None:
        kept = set(met)
        for native_id, row in self.rows.get(entity, {}).items():
            if native_id not in kept and row.get("deleted_at") is None:
                row |= {"deleted_at": True, "deleted_reason": "vanished"}

    def live(self, entity: str) -> dict[str, dict[str, Any]]:
        """The rows that are not marked as gone."""
        return {native_id: row for native_id, row in self.rows.get(entity, {}).items() if row.get("deleted_at") is None}


def _instant(value: Any) -> datetime | None:
    """What a row says of its last change: an instant, or its text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
