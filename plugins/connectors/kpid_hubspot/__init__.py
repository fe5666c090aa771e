"""HubSpot: deals with their stage history, companies, contacts, owners, pipelines, calls, meetings, tickets, leads.

Talks to the dated CRM API (https://developers.hubspot.com/docs/api-reference), by default 2026-09. Needs the token of a private
app or a service key with read scopes for the entities in use: ``crm.objects.owners``, ``.companies``, ``.contacts``, ``.deals``
(calls and meetings come with contacts), ``tickets``, and ``crm.schemas.deals`` for pipelines.

First all records are listed; later the search finds what changed: from five minutes before the last run's end, up to one minute
before now, for its index is late. Deleting a record does not change its modified time: the archived list is a pass of its own.
Limits: 100 requests in 10 s (see ``requests_per_10s``), 5 searches a second, and a number a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from kpid.plugin import (
    Connector,
    ConnectorError,
    ConnectorInfo,
    Cursor,
    DeletedPage,
    EntityReads,
    Finding,
    Known,
    Page,
    SchemaError,
    Secret,
    Settings,
    SourceContext,
    Tombstone,
    hookimpl,
)  # fmt: skip
from kpid_hubspot.endpoints import Access, Batch, Endpoints, changed_since
from kpid_hubspot.mapping import MAPPERS, columns_of, history_rows, owner_row, pipeline_row, stage_rows, stages_of
from kpid_hubspot.values import Place, Stage, instant

INDEX_LAG = timedelta(minutes=1)
OVERLAP = timedelta(minutes=5)
BIN = timedelta(days=90)
"""How long HubSpot lists what was deleted."""
KINDS: Mapping[str, tuple[str, ...]] = {
    "accounts": ("companies",),
    "contacts": ("contacts",),
    "deals": ("deals",),
    "activities": ("calls", "meetings"),
    "tickets": ("tickets",),
    "leads": ("leads",),
}
PREFIX = {"calls": "call-", "meetings": "meeting-"}
MERGEABLE = {"companies", "contacts", "deals", "tickets"}
WITH_STAGES = {"deals", "tickets"}

Entity = Literal["users", "pipelines", "accounts", "contacts", "deals", "activities", "tickets", "leads"]


class HubSpotSettings(Settings):
    """Settings of a HubSpot source."""

    token: Secret = Field(description="Token of a private app or a service key: ${env:HUBSPOT_TOKEN}.")
    base_url: str = Field("https://api.hubapi.com", description="Address of the API; another one only for tests and proxies.")
    api_version: str = Field("2026-09", pattern=r"^\d{4}-\d{2}$", description="Dated version of the API.")
    entities: tuple[Entity, ...] = Field(
        ("users", "pipelines", "accounts", "contacts", "deals", "activities", "tickets"),
        min_length=1,
        description="What to read. `leads` needs the Sales Hub and is off unless named.",
    )
    pipelines: tuple[str, ...] = Field((), description="Only deals of these pipelines (ids or names); empty = all.")
    fields: Mapping[str, Mapping[str, str]] = Field(
        default_factory=dict,
        description="Own properties: `deals: {region: sales_region}` fills the column region; other names go into `extra`.",
    )
    search_page_size: int = Field(200, ge=1, le=200, description="Records per search.")
    requests_per_10s: int = Field(
        90, ge=1, le=250, description="Our share of the account's requests in ten seconds (100 to 250)."
    )
    account_timezone: str | None = Field(None, description="The portal's zone: its daily budget starts anew at midnight there.")
    allow_private: bool = Field(False, description="Allow base_url on a private address.")
    ca_file: Path | None = Field(None, description="A certificate authority of your own.")

    @field_validator("fields")
    @classmethod
    def _known_entities(cls, value: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        if unknown := value.keys() - KINDS.keys():
            raise ValueError(f"no such entity: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
        return value

    @field_validator("account_timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        try:
            return value and ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"no such time zone: {value}") from error


class _Pipelines:
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


class HubSpotConnector(Connector[HubSpotSettings]):
    """Reads one portal."""

    name = "hubspot"
    Settings = HubSpotSettings

    def __init__(self, settings: HubSpotSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._api = Endpoints(_access(settings, context), context)
        self._pipelines = _Pipelines(self._api, settings.pipelines)

    def reads(self) -> Sequence[EntityReads]:
        """The configured entities, those that others point to first."""
        changing = partial(EntityReads, deletes="pass", overlap=OVERLAP, deletes_kept=BIN)
        everything = [
            EntityReads("users", mode="full"),
            EntityReads("pipelines", mode="full", carries=("stages",)),
            *(changing(entity) for entity in ("accounts", "contacts")),
            changing("deals", history="full", carries=("deal_stage_history",)),
            *(changing(entity) for entity in ("activities", "tickets", "leads")),
        ]
        return [reads for reads in everything if reads.entity in self.settings.entities]

    def capabilities(self) -> Mapping[str, Known]:
        """HubSpot tells merges, too."""
        return {**super().capabilities(), "merges": "full"}

    def fills(self) -> Mapping[str, frozenset[str]]:
        """What the mapping says."""
        own = self.settings.fields
        return {name: columns_of(KINDS[name], own.get(name, {})) for name in self.settings.entities if name in KINDS}

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """See :class:`~kpid.plugin.Connector`. Cursors are ``{"since": instant}`` between reads, and a place within one."""
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
        stages, fields = self._pipelines.stages_of(kind, batch), self.settings.fields.get(entity, {})
        place = Place(self.context.timezone, self.context.currency, stages, fields)
        to_row = MAPPERS[kind]
        rows = {entity: [to_row(record, batch.links.get(str(record["id"]), {}), place) for record in batch.records]}
        if kind == "deals":
            wanted = self._pipelines.wanted()
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
        wanted = self._pipelines.wanted() if kind == "deals" else set()
        if wanted and since:
            elsewhere = {"propertyName": "pipeline", "operator": "NOT_IN", "values": sorted(wanted)}
            for batch in self._api.search(kind, [*window, elsewhere]):
                yield from (Tombstone(str(record["id"])) for record in batch.records)

    def server_time(self) -> datetime | None:
        """HubSpot's clock, from the ``Date`` of a small request."""
        for entity in self.settings.entities:
            with suppress(SchemaError):  # a scope that is missing here may not be missing there
                return self._api.first(_place_of(entity)).date
        return None

    def check(self) -> Sequence[Finding]:
        """Try every entity and look for the configured properties."""
        return [finding for reads in self.reads() for finding in self._check(reads.entity)]

    def _check(self, entity: str) -> Iterator[Finding]:
        subject = f"{self.context.source_id}: {entity}"
        try:
            for kind in KINDS.get(entity, (_place_of(entity),)):
                self._api.first(kind)
                own = set(self.settings.fields.get(entity, {}).values())
                absent = own - self._api.property_names(kind) if own else set()
                if absent:
                    text = f"{kind} have no property {', '.join(sorted(absent))}"
                    yield Finding(subject, False, text, "Correct `fields`: use the internal name of the property", warning=True)
            if entity == "deals":
                self._pipelines.wanted()
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
        else:
            yield Finding(subject, True, "can be read")

    def close(self) -> None:
        """Let go of connections."""
        self._api.http.close()


def _access(settings: HubSpotSettings, context: SourceContext) -> Access:
    fields = {kind: tuple(settings.fields.get(entity, {}).values()) for entity, kinds in KINDS.items() for kind in kinds}
    return Access(
        settings.token,
        settings.base_url,
        settings.api_version,
        settings.search_page_size,
        settings.requests_per_10s,
        ZoneInfo(settings.account_timezone) if settings.account_timezone else None,
        settings.allow_private,
        context.folder / settings.ca_file if settings.ca_file else None,
        fields,
    )


def _place_of(entity: str) -> str:
    return {"users": "owners", "pipelines": "pipelines"}.get(entity) or KINDS[entity][0]


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


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """HubSpot."""
    return (
        ConnectorInfo(HubSpotConnector, "HubSpot CRM: deals with stage history, companies, contacts, calls, meetings, tickets"),
    )
