"""What has changed in a portal, and what has gone from it, page by page with the cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import Cursor, DeletedPage, Page, SchemaError, SourceContext, Tombstone
from kpid_hubspot.endpoints import Batch, Endpoints, changed_since
from kpid_hubspot.mapping import MAPPERS, history_rows, owner_row, pipeline_row, stage_rows, stages_of
from kpid_hubspot.settings import KINDS, WITH_STAGES, HubSpotSettings
from kpid_hubspot.values import Place, Stage, instant

INDEX_LAG = timedelta(minutes=1)
OVERLAP = timedelta(minutes=5)
PREFIX = {"calls": "call-", "meetings": "meeting-"}
MERGEABLE = {"companies", "contacts", "deals", "tickets"}


class Pipelines:
    """The portal's pipelines, asked for when they are needed and remembered for the length of a sync.

    Args:
        api: the portal.
        named: ids or names of the pipelines to read; empty = all.
    """

    def __init__(self, api: Endpoints, named: Sequence[str]) -> None:
        self._api = api
        self._named = set(named)
        self._stages: dict[str, dict[str, Stage]] = {}
        self._unknown: set[str] = set()
        self._wanted: set[str] | None = None

    def stages_of(self, kind: str, batch: Batch) -> Mapping[str, Stage]:
        """The stages of a type; read anew when records name one that was not there (a pipeline added meanwhile)."""
        if kind not in WITH_STAGES:
            return {}
        name = "dealstage" if kind == "deals" else "hs_pipeline_stage"
        named = {str(stage) for record in batch.records if (stage := record["properties"].get(name))}
        if kind not in self._stages or named - self._stages[kind].keys() - self._unknown:
            self._stages[kind] = stages_of(self._api.pipelines(kind))
            self._unknown |= named - self._stages[kind].keys()
        return self._stages[kind]

    def wanted(self) -> set[str]:
        """Ids of the configured pipelines; empty = all."""
        if self._wanted is None:
            named = self._named
            pipelines = self._api.pipelines("deals") if named else ()
            self._wanted = {str(found["id"]) for found in pipelines if {str(found["id"]), str(found.get("label"))} & named}
            known = {text for found in pipelines for text in (str(found["id"]), str(found.get("label")))}
            if named - known:
                raise SchemaError(
                    f"HubSpot has no pipeline {', '.join(sorted(named - known))}",
                    where=self._api.http.name,
                    hint=f"There are: {', '.join(sorted(known))}",
                )
        return self._wanted


class Changes:
    """Reads what has changed and what has gone.

    Args:
        api: the portal.
        settings: what to read.
        context: zone and currency.
    """

    def __init__(self, api: Endpoints, settings: HubSpotSettings, context: SourceContext) -> None:
        self._api = api
        self._fields = settings.fields
        self._context = context
        self.pipelines = Pipelines(api, settings.pipelines)

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """As of a connector. Cursors are ``{"since": instant}`` between reads, and a place within one."""
        if entity == "users":
            people = [*self._api.owners(archived=True), *self._api.owners(archived=False)]
            yield Page({"users": [owner_row(owner) for owner in people]}, through=until)
        elif entity == "pipelines":
            pipelines = self._api.pipelines("deals")
            stages = [row for pipeline in pipelines for row in stage_rows(pipeline)]
            yield Page({"pipelines": [pipeline_row(pipeline) for pipeline in pipelines], "stages": stages}, through=until)
        elif cursor is None or "backfill" in cursor:
            yield from self._backfill(entity, cursor, until)
        else:
            yield from self._changes(entity, cursor, until - INDEX_LAG)

    def _backfill(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """All records, by list. What changes meanwhile is met by the search from the backfill's first start on."""
        kinds = KINDS[entity]
        place = cursor or {"backfill": kinds[0], "after": None, "started": until.isoformat()}
        started = str(place["started"])
        for kind in kinds[kinds.index(place["backfill"]) :]:
            for batch in self._api.listed(kind, place["after"] if kind == place["backfill"] else None):
                following = kind if batch.after else _next(kinds, kind)
                rows = self._rows(entity, kind, batch)
                if following is None:
                    yield Page(rows, {"since": started}, datetime.fromisoformat(started), warnings=self._warnings(kind, batch))
                else:
                    place = {"backfill": following, "after": batch.after, "started": started}
                    yield Page(rows, place, warnings=self._warnings(kind, batch))

    def _changes(self, entity: str, cursor: Cursor, until: datetime) -> Iterator[Page]:
        """What changed, by search, window by window: the one that an earlier run began, then the rest up to ``until``."""
        kinds, place = KINDS[entity], cursor
        while True:
            if "window" not in place:
                since = datetime.fromisoformat(place["since"])
                if until <= since:
                    yield Page({}, cursor=place, through=since)
                    return
                place = {"window": [(since - OVERLAP).isoformat(), until.isoformat()], "kind": kinds[0], "after": "0"}
            first, after = place["kind"], place["after"]
            start, end = (datetime.fromisoformat(instant) for instant in place["window"])
            for kind in kinds[kinds.index(first) :]:
                for batch in self._api.changed(kind, start, end, after if kind == first else "0"):
                    following = kind if batch.after else _next(kinds, kind)
                    is_last = following is None
                    place = {"since": end.isoformat()} if is_last else {**place, "kind": following, "after": batch.after or "0"}
                    rows = self._rows(entity, kind, batch)
                    yield Page(rows, place, end if is_last else None, batch.total, warnings=self._warnings(kind, batch))

    def _warnings(self, kind: str, batch: Batch) -> tuple[str, ...]:
        absent = ", ".join(self._api.absent(kind, batch.records))
        return (f"HubSpot's {kind} have no property {absent}: what it fills stays empty",) if absent else ()

    def _rows(self, entity: str, kind: str, batch: Batch) -> dict[str, list[dict[str, Any]]]:
        stages, fields = self.pipelines.stages_of(kind, batch), self._fields.get(entity, {})
        place = Place(self._context.timezone, self._context.currency, stages, fields)
        to_row = MAPPERS[kind]
        rows = {entity: [to_row(record, batch.links.get(str(record["id"]), {}), place) for record in batch.records]}
        if kind == "deals":
            wanted = self.pipelines.wanted()
            kept = {row["native_id"] for row in rows[entity] if not wanted or row["pipeline_id"] in wanted}
            rows[entity] = [row for row in rows[entity] if row["native_id"] in kept]
            records = (record for record in batch.records if str(record["id"]) in kept)
            rows["deal_stage_history"] = [row for record in records for row in history_rows(record, place)]
        return rows

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """What lives on elsewhere; then all archived records, each time anew, for their list knows no dates."""
        kinds = KINDS[entity]
        place = cursor or {}
        since = place.get("since")
        first, after = place.get("kind", kinds[0]), place.get("after")
        place = {"since": since, "started": place.get("started") or until.isoformat()}
        for kind in kinds[kinds.index(first) :]:
            start = after if kind == first else None
            if start is None:  # merges come first: to the archived list their losers are deleted like any other
                yield DeletedPage([*self._moved(kind, since)], {**place, "kind": kind, "after": None})
            for batch in self._api.listed(kind, start, archived=True):
                stones = [Tombstone(PREFIX.get(kind, "") + str(record["id"]), _archived_at(record)) for record in batch.records]
                following = kind if batch.after else _next(kinds, kind)
                if following is None:
                    yield DeletedPage(stones, {"since": place["started"]})
                else:
                    yield DeletedPage(stones, {**place, "kind": following, "after": batch.after})

    def _moved(self, kind: str, since: str | None) -> Iterator[Tombstone]:
        """Records that live on elsewhere: merged ones, and deals in pipelines that we do not read."""
        window = [changed_since(kind, datetime.fromisoformat(since) - OVERLAP - INDEX_LAG)] if since else []
        if kind in MERGEABLE:
            merged = {"propertyName": "hs_merged_object_ids", "operator": "HAS_PROPERTY"}
            for batch in self._api.search(kind, [*window, merged], names=["hs_merged_object_ids"]):
                yield from (stone for record in batch.records for stone in _losers(record))
        wanted = self.pipelines.wanted() if kind == "deals" else set()
        if wanted and since:
            elsewhere = {"propertyName": "pipeline", "operator": "NOT_IN", "values": sorted(wanted)}
            for batch in self._api.search(kind, [*window, elsewhere]):
                yield from (Tombstone(str(record["id"])) for record in batch.records)


def _next(kinds: Sequence[str], kind: str) -> str | None:
    place = kinds.index(kind) + 1
    return kinds[place] if place < len(kinds) else None


def _losers(winner: Mapping[str, Any]) -> Iterator[Tombstone]:
    """The records that were merged into ``winner``."""
    for loser in (winner["properties"].get("hs_merged_object_ids") or "").split(";"):
        if loser and loser != str(winner["id"]):
            yield Tombstone(loser, None, "merged", str(winner["id"]))


def _archived_at(record: Mapping[str, Any]) -> datetime | None:
    at = instant(record.get("archivedAt"), ZoneInfo("UTC"))
    return at if isinstance(at, datetime) else None
