"""What has changed in a portal, and what has gone from it, page by page with the cursors behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import Course, Cursor, DeletedPage, IdPage, Leg, Page, SchemaError, SourceContext, Tombstone
from kpid_hubspot.endpoints import Batch, Endpoints, changed_since
from kpid_hubspot.history import deal_history
from kpid_hubspot.mapping import MAPPERS
from kpid_hubspot.objects import BY_NAME, Kind, kinds_of
from kpid_hubspot.open_deals import OpenDeals
from kpid_hubspot.pipelines import Pipelines
from kpid_hubspot.service_rows import status_rows
from kpid_hubspot.settings import HubSpotSettings
from kpid_hubspot.values import Place, Record, Row, Stage, instant, text

INDEX_LAG = timedelta(minutes=1)
OVERLAP = timedelta(minutes=5)
NO_STAGES: Mapping[str, Stage] = {}


class Changes:
    """Reads what has changed and what has gone.

    Args:
        api: the portal.
        settings: what to read.
        context: zone and currency.
    """

    def __init__(self, api: Endpoints, settings: HubSpotSettings, context: SourceContext) -> None:
        self._api = api
        self._settings = settings
        self._context = context
        self.kinds = kinds_of(settings)
        self.pipelines = Pipelines(api, settings)
        self._open_deals = OpenDeals(api, settings.open_deals_daily, partial(self.fetch, "deals"))

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """As of a connector. At first all records are listed; what changes meanwhile the search finds later."""
        pages = self._since(entity, cursor, until)
        if entity == "deals":
            (kind,) = self.kinds[entity]
            pages = self._open_deals.after(pages, kind, self._filters(kind, "IN"), cursor, until)
        yield from pages

    def _since(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        course = Course([kind.name for kind in self.kinds[entity]], cursor, until, overlap=OVERLAP, lag=INDEX_LAG)
        yield from course.still()
        for leg in course.legs():
            yield from self._leg(entity, leg)

    def _leg(self, entity: str, leg: Leg) -> Iterator[Page]:
        kind, after = BY_NAME[leg.kind], (leg.place or {}).get("after")
        if leg.start is None:
            batches = self._api.listed(kind, after)
        else:
            batches = self._api.changed(kind, leg.start, leg.end, after or "0")
        for batch in batches:
            cursor, through = leg.done() if batch.after is None else (leg.at({"after": batch.after}), None)
            yield Page(self._rows(entity, kind, batch), cursor, through, batch.total, warnings=self._warnings(kind, batch))

    def _warnings(self, kind: Kind, batch: Batch) -> tuple[str, ...]:
        absent = ", ".join(self._api.absent(kind, batch.records))
        return (f"HubSpot's {kind.name} have no property {absent}: what it fills stays empty",) if absent else ()

    def _rows(self, entity: str, kind: Kind, batch: Batch) -> dict[str, list[Row]]:
        records = [record for record in batch.records if self._counts(kind, record)]
        stages = self.pipelines.stages_for(kind, records)
        place = self.place(entity, stages)
        to_row = MAPPERS[kind.name]
        rows = {entity: [to_row(record, batch.links.get(str(record["id"]), {}), place) for record in records]}
        if kind.name == "deals":
            for record in records:
                for name, past in deal_history(record, place).items():
                    rows.setdefault(name, []).extend(past)
        if kind.name == "tickets":
            rows["ticket_status_history"] = [row for record in records for row in status_rows(record, place)]
        return rows

    def place(self, entity: str, stages: Mapping[str, Stage] = NO_STAGES) -> Place:
        """What the mapping has to know."""
        settings, context = self._settings, self._context
        own, scales = settings.fields.get(entity, {}), {str(kind): scale for kind, scale in settings.survey_scales.items()}
        return Place(context.timezone, context.currency, stages, own, context.source_id, settings.order_states, scales)

    def _only(self, kind: Kind) -> tuple[str, Sequence[str]] | None:
        """The property by which records of a type are chosen, and its values; None: all of them are read."""
        if kind.name == "deals" and (wanted := self.pipelines.wanted()):
            return "pipeline", sorted(wanted)
        return kind.only

    def _counts(self, kind: Kind, record: Record) -> bool:
        only = self._only(kind)
        if only is not None and only[0] not in record["properties"]:
            raise SchemaError(
                f"HubSpot gave {kind.name} without the property {only[0]}",
                where=self._api.http.name,
                hint="The token may not read it: without it nobody knows which of them count",
            )
        return only is None or text(record, only[0]) in only[1]

    # -- by id ---------------------------------------------------------------------------------------------------------------

    def ids(self, entity: str, cursor: Cursor | None) -> Iterator[IdPage]:
        """Every living record by id, by list. Cursors are the type and where its list goes on."""
        kinds, place = self.kinds[entity], dict(cursor or {})
        first = next((number for number, kind in enumerate(kinds) if kind.name == place.get("kind")), 0)
        for number, kind in enumerate(kinds[first:], start=first):
            only = self._only(kind)
            names = [kind.modified, *([only[0]] if only else [])]
            for batch in self._api.named(kind, names, place.get("after") if kind.name == place.get("kind") else None):
                told = [
                    (kind.prefix + str(record["id"]), _changed_at(kind, record))
                    for record in batch.records
                    if self._counts(kind, record)
                ]
                following = kind if batch.after else kinds[number + 1] if number + 1 < len(kinds) else None
                yield IdPage(told, {"kind": following.name, "after": batch.after} if following else None)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Living records by id, with what they carry."""
        for kind in self.kinds[entity]:
            mine = [native_id.removeprefix(kind.prefix) for native_id in ids if native_id.startswith(kind.prefix)]
            if mine:
                records = self._api.read(kind, mine)
                links = self._api.links(kind, [str(record["id"]) for record in records])
                yield Page(self._rows(entity, kind, Batch(records, links)))

    def count(self, entity: str) -> int | None:
        """How many records live, by the search index."""
        counts = [self._api.count(kind, self._filters(kind, "IN")) for kind in self.kinds[entity]]
        return None if None in counts else sum(count for count in counts if count is not None)

    def _filters(self, kind: Kind, operator: str) -> list[Mapping[str, Any]]:
        """Search filters for the records that count, or for those that do not."""
        only = self._only(kind)
        return [{"propertyName": only[0], "operator": operator, "values": list(only[1])}] if only else []

    # -- what has gone -------------------------------------------------------------------------------------------------------

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """What lives on elsewhere; then all archived records, each time anew, for their list knows no dates."""
        kinds = self.kinds[entity]
        place = cursor or {}
        since = place.get("since")
        names = [kind.name for kind in kinds]
        first = names.index(place["kind"]) if place.get("kind") in names else 0
        begun = place.get("after") if place.get("kind") in names else None
        place = {"since": since, "started": place.get("started") or until.isoformat()}
        for number, kind in enumerate(kinds[first:], start=first):
            start = begun if number == first else None
            if start is None:  # merges come first: to the archived list their losers are deleted like any other
                yield DeletedPage([*self._moved(kind, since)], {**place, "kind": kind.name, "after": None})
            for batch in self._api.archived(kind, start):
                stones = [Tombstone(kind.prefix + str(record["id"]), _archived_at(record)) for record in batch.records]
                following = kind if batch.after else kinds[number + 1] if number + 1 < len(kinds) else None
                if following is None:
                    yield DeletedPage(stones, {"since": place["started"]})
                else:
                    yield DeletedPage(stones, {**place, "kind": following.name, "after": batch.after})

    def _moved(self, kind: Kind, since: str | None) -> Iterator[Tombstone]:
        """Records that live on elsewhere: merged ones, and those that no longer count (deals in other pipelines)."""
        window = [changed_since(kind, datetime.fromisoformat(since) - OVERLAP - INDEX_LAG)] if since else []
        if kind.merges:
            merged = {"propertyName": "hs_merged_object_ids", "operator": "HAS_PROPERTY"}
            for batch in self._api.search(kind, [*window, merged], names=["hs_merged_object_ids"]):
                yield from (stone for record in batch.records for stone in _losers(record))
        elsewhere = self._filters(kind, "NOT_IN")
        if elsewhere and since:
            for batch in self._api.search(kind, [*window, *elsewhere]):
                yield from (Tombstone(kind.prefix + str(record["id"])) for record in batch.records)


def _losers(winner: Mapping[str, Any]) -> Iterator[Tombstone]:
    """The records that were merged into ``winner``."""
    for loser in (winner["properties"].get("hs_merged_object_ids") or "").split(";"):
        if loser and loser != str(winner["id"]):
            yield Tombstone(loser, None, "merged", str(winner["id"]))


def _archived_at(record: Record) -> datetime | None:
    return _instant(record.get("archivedAt"))


def _changed_at(kind: Kind, record: Record) -> datetime | None:
    return _instant(text(record, kind.modified) or record.get("updatedAt"))


def _instant(value: str | None) -> datetime | None:
    at = instant(value, ZoneInfo("UTC"))
    return at if isinstance(at, datetime) else None
