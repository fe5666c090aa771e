"""What has changed in a project, what has gone from it, and what there is, page by page with the cursors behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import Course, Cursor, DeletedPage, IdPage, Page, SchemaError, Tombstone
from kpid_divalto_weavy.endpoints import Batch, Record, Weavy
from kpid_divalto_weavy.mapping import Place, Row, changed_at, is_deleted, row_of
from kpid_divalto_weavy.settings import WeavySettings
from kpid_divalto_weavy.tables import CHANGED, TABLES, code_of

OVERLAP = timedelta(days=1)
"""The zone of ``srvDate`` is not documented: this is more than any is away from UTC."""


class Changes:
    """Reads pages.

    Args:
        api: the project.
        settings: what to read.
        place: what the mapping of an entity has to know.
    """

    def __init__(self, api: Weavy, settings: WeavySettings, place: Callable[[str], Place]) -> None:
        self._api = api
        self._settings = settings
        self._place = place

    def everyone(self, until: datetime) -> Iterator[Page]:
        """All users."""
        place, names, warnings = self._prepared("users")
        rows = [row for batch in self._api.read(place.table, names) for row in self._rows("users", batch, place)]
        yield Page({"users": rows}, through=until, warnings=warnings)

    def pipelines(self, until: datetime) -> Iterator[Page]:
        """The types of deals, which are a pick list, and the steps."""
        place, names, warnings = self._prepared("stages")
        stages = [row for batch in self._api.read(place.table, names) for row in self._rows("stages", batch, place)]
        for row in stages:
            row["state"] = place.codes.stage_state(row["native_id"], row.get("name"))
        types = [{"native_id": pick.code, "name": pick.label} for pick in place.codes.deal_types()]
        if not types and place.codes.picks():
            kinds = sorted({pick.type for pick in place.codes.picks().values() if pick.type})
            told = f"no pick list is called {self._settings.pipeline_type}: set `pipeline_type`; there are {', '.join(kinds)}"
            warnings = (*warnings, told)
        yield Page({"pipelines": types, "stages": stages}, through=until, warnings=(*warnings, *_problem(place)))

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """What changed since the cursor; without one, everything."""
        course = Course((entity,), cursor, until, overlap=OVERLAP)
        yield from course.still()
        place, names, warnings = self._prepared(entity)
        for leg in course.legs():
            for batch in self._api.read(place.table, names, start=leg.start, end=leg.end + OVERLAP, place=leg.place):
                rows = self._rows(entity, batch, place)
                told = (*warnings, *place.warnings, *_problem(place))
                gone = self._elsewhere(batch, place) if entity == "deals" else ()
                if batch.place is None:
                    yield Page({entity: rows}, *leg.done(), warnings=told, gone=gone)
                else:
                    yield Page({entity: rows}, leg.at(batch.place), warnings=told, gone=gone)

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """What is marked as deleted since the cursor. Rows that say themselves that they live are left alone."""
        table, cursor = self._settings.table_of(entity), cursor or {}
        since, started = cursor.get("since"), cursor.get("started") or until.isoformat()
        start = datetime.fromisoformat(since) - OVERLAP if since else None
        attrib, utc = self._settings.deleted_attrib, ZoneInfo("UTC")
        for batch in self._api.read(table, CHANGED, start=start, place=cursor.get("place"), attrib=attrib):
            stones = [
                Tombstone(str(record[code_of(table)]), _instant(changed_at(record, utc)))
                for record in batch.records
                if is_deleted(record) or "srvAttrib" not in record
            ]
            if batch.place is None:
                yield DeletedPage(stones, {"since": started})
            else:
                yield DeletedPage(stones, {"since": since, "started": started, "place": batch.place})

    def ids(self, entity: str, cursor: Cursor | None) -> Iterator[IdPage]:
        """Codes and times of living rows."""
        place, _, _ = self._prepared(entity)
        utc = ZoneInfo("UTC")
        names = [*CHANGED, *([place.natives["pipeline_id"]] if self._is_narrowed(entity) else [])]
        for batch in self._api.read(place.table, names, place=cursor):
            pairs = [
                (str(record[code_of(place.table)]), _instant(changed_at(record, utc)))
                for record in batch.records
                if not is_deleted(record) and self._is_ours(entity, record, place)
            ]
            cursor = batch.place or cursor
            yield IdPage(pairs, cursor)

    def count(self, entity: str) -> int | None:
        """How many living rows are read."""
        place, _, _ = self._prepared(entity)
        kinds = sorted(place.codes.wanted()) if self._is_narrowed(entity) else []
        return self._api.count(place.table, [(place.natives["pipeline_id"], "Equal", code) for code in kinds])

    def lacking(self, entity: str) -> list[str]:
        """Fields that the table of an entity should have and does not."""
        known, own, usual = (
            self._api.fields(self._settings.table_of(entity)),
            self._settings.fields.get(entity, {}),
            TABLES[entity],
        )
        natives = self._settings.natives_of(entity).items()
        return sorted(
            native for column, native in natives if native not in known and (column in own or usual.fields[column].is_sure)
        )

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """These rows, as far as they live."""
        place, names, warnings = self._prepared(entity)
        for batch in self._api.named(place.table, names, ids):
            rows = [row for row in self._rows(entity, batch, place) if not row.get("deleted_at")]
            yield Page({entity: rows}, warnings=(*warnings, *place.warnings))

    def _prepared(self, entity: str) -> tuple[Place, list[str], tuple[str, ...]]:
        """How to map, which fields to ask for, and which are not there."""
        place = self._place(entity)
        known = self._api.fields(place.table)
        if self._is_narrowed(entity) and place.natives["pipeline_id"] not in known:  # else all deals would seem to be others
            text = f"the table {place.table} has no field {place.natives['pipeline_id']}, by which `pipelines` tells deals apart"
            raise SchemaError(text, where=self._api.http.name, hint="Name the right one: `fields: {deals: {pipeline_id: ...}}`")
        lacking = self.lacking(entity)
        text = f"the table {place.table} has no field {', '.join(lacking)}: what it fills stays empty"
        names = [*CHANGED, *(native for native in place.natives.values() if native in known)]
        return place, names, (text,) if lacking else ()

    def _rows(self, entity: str, batch: Batch, place: Place) -> list[Row]:
        return [row_of(entity, record, place) for record in batch.records if self._is_ours(entity, record, place)]

    def _is_narrowed(self, entity: str) -> bool:
        return entity == "deals" and bool(self._settings.pipelines)

    def _is_ours(self, entity: str, record: Record, place: Place) -> bool:
        return not self._is_narrowed(entity) or str(record.get(place.natives["pipeline_id"])) in place.codes.wanted()

    def _elsewhere(self, batch: Batch, place: Place) -> Sequence[Tombstone]:
        """Deals of types that are not read: they may have been of another type before."""
        if not self._is_narrowed("deals"):
            return ()
        others = [record for record in batch.records if not self._is_ours("deals", record, place)]
        return [Tombstone(str(record[code_of(place.table)]), _instant(changed_at(record, ZoneInfo("UTC")))) for record in others]


def _problem(place: Place) -> tuple[str, ...]:
    return (place.codes.problem,) if place.codes.problem else ()


def _instant(told: Any) -> datetime | None:
    """A time as an instant; None if it is none."""
    if isinstance(told, str):
        try:
            told = datetime.fromisoformat(told)
        except ValueError:
            return None
    return told.astimezone(UTC) if isinstance(told, datetime) else None
