"""HubSpot's endpoints for records: addresses, page sizes, limits, login. Rows are made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import (
    ConnectorError,
    NextToken,
    RateLimit,
    Response,
    SourceContext,
    dig,
    pacer_of,
    read_pages,
)  # fmt: skip
from kpid_hubspot.faults import asked_pause, missing_scope
from kpid_hubspot.links import chunks, inline_links, links_of, results_of
from kpid_hubspot.login import login_of
from kpid_hubspot.objects import Kind, kinds_of
from kpid_hubspot.settings import HubSpotSettings

LIST_PAGE, HISTORY_PAGE, BATCH = 100, 50, 100
SEARCHES = RateLimit(4, 1.0)
"""The limit is five a second for the whole account; one is left for others."""
LONGEST_QUERY = 3000
"""Longer property lists go into the body of a batch read: long addresses are refused with 414."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of one type.

    Args:
        records: as the API gives them.
        links: per record id, the most important associated record of each type.
        after: where to go on; None at the end.
        total: how many the whole read will give, if known.
    """

    records: Sequence[Mapping[str, Any]]
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    after: str | None = None
    total: int | None = None


class Endpoints:
    """One portal's API.

    Args:
        settings: address, token, limits, and the further properties to ask for.
        context: clock and name.
    """

    def __init__(self, settings: HubSpotSettings, context: SourceContext) -> None:
        self.version = settings.api_version
        self._search_page = settings.search_page_size
        self._fields = {
            kind.name: tuple(settings.fields.get(entity, {}).values())
            for entity, kinds in kinds_of(settings).items()
            for kind in kinds
        }
        pause = partial(asked_pause, now=context.clock.now, zone=ZoneInfo(settings.account_timezone or "UTC"))
        self._login = login_of(settings, context, wait_hook=pause)
        account = self._login.account
        self._absent: dict[str, tuple[str, ...]] = {}
        self._searches = pacer_of(context, "hubspot search", account, [SEARCHES])
        self.http = settings.client(
            context,
            vendor="hubspot",
            account=account,
            auth=self._login.auth,
            limits=[RateLimit(settings.requests_per_10s, 10.0)],
            wait_hook=pause,
            error_hook=missing_scope,
            transient=(477,),
        )

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()
        if self._login.client:
            self._login.client.close()

    def listed(self, kind: Kind, after: str | None = None) -> Iterator[Batch]:
        """All living records of a type in id order, from ``after`` on, with history and links."""
        names = self.names(kind)
        in_body = len(",".join(names)) > LONGEST_QUERY
        params: dict[str, Any] = {"limit": LIST_PAGE, "archived": "false"}
        if not in_body:
            params["properties"] = ",".join(names)
            if kind.history:
                params |= {"limit": HISTORY_PAGE, "propertiesWithHistory": ",".join(kind.history)}
        if kind.links:
            params["associations"] = ",".join(kind.links)
        for batch in self._pages(kind, params, after):
            links = {str(record["id"]): inline_links(record) for record in batch.records}
            records = self.read(kind, [str(record["id"]) for record in batch.records]) if in_body else batch.records
            yield Batch(records, links, batch.after)

    def named(self, kind: Kind, names: Sequence[str], after: str | None = None) -> Iterator[Batch]:
        """All living records of a type in id order with a few properties."""
        params = {"limit": LIST_PAGE, "archived": "false", "properties": ",".join(names)}
        return self._pages(kind, params, after)

    def archived(self, kind: Kind, after: str | None = None) -> Iterator[Batch]:
        """All records of a type that were deleted, bare."""
        return self._pages(kind, {"limit": LIST_PAGE, "archived": "true"}, after)

    def _pages(self, kind: Kind, params: Mapping[str, Any], after: str | None) -> Iterator[Batch]:
        begin = {"after": after} if after else {}
        for response in read_pages(self.http, self._objects(kind), NextToken("paging.next.after", "after"), {**params, **begin}):
            following = dig(response.json(), "paging.next.after")
            yield Batch(results_of(response), {}, str(following) if following else None)

    def changed(self, kind: Kind, since: datetime, until: datetime, after: str = "0") -> Iterator[Batch]:
        """Records changed in ``[since, until)``, complete with history and links, in id order from ``after`` on."""
        window = [changed_since(kind, since), _at(kind, "LT", until)]
        for batch in self.search(kind, window, after=after, names=() if kind.history else self.names(kind)):
            ids = [str(record["id"]) for record in batch.records]
            records = self.read(kind, ids) if kind.history else batch.records
            yield Batch(records, self.links(kind, ids), batch.after, batch.total)

    def search(
        self, kind: Kind, filters: Sequence[Mapping[str, Any]], *, after: str = "0", names: Sequence[str] = ()
    ) -> Iterator[Batch]:
        """What the index finds, in id order.

        Paged by key (``hs_object_id`` greater than the last one), not by offset: a search gives no more than 10,000 results to
        offsets, whole imports share one millisecond, and records that change meanwhile would shift offsets past others.
        """
        following: str | None = after
        while following is not None:
            beyond = {"propertyName": "hs_object_id", "operator": "GT", "value": following}
            response = self._found(kind, [*filters, beyond], ["hs_object_id", kind.modified, *names], self._search_page)
            records = results_of(response)
            last = str(max((int(record["id"]) for record in records), default=0))
            if records and int(last) <= int(following):
                raise ConnectorError(f"the search of {kind.name} stands still at id {last}", where=self.http.name)
            following = last if records and dig(response.json(), "paging.next.after") else None
            yield Batch(records, {}, following, dig(response.json(), "total"))

    def count(self, kind: Kind, filters: Sequence[Mapping[str, Any]]) -> int | None:
        """How many records the index finds; None if it does not say."""
        everything = {"propertyName": "hs_object_id", "operator": "HAS_PROPERTY"}
        total = dig(self._found(kind, [*filters, everything], ["hs_object_id"], 1).json(), "total")
        return total if isinstance(total, int) else None

    def _found(self, kind: Kind, filters: Sequence[Mapping[str, Any]], names: Sequence[str], limit: int) -> Response:
        query = {
            "filterGroups": [{"filters": list(filters)}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(names),
            "limit": limit,
            "after": "0",
        }
        self._searches.wait()
        return self.http.post(f"{self._objects(kind)}/search", json=query)

    def read(self, kind: Kind, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Records by id, with history. Those that are gone meanwhile are left out."""
        found: list[Mapping[str, Any]] = []
        for chunk in chunks(ids, HISTORY_PAGE if kind.history else BATCH):
            inputs = [{"id": id_} for id_ in chunk]
            query = {"inputs": inputs, "properties": self.names(kind), "propertiesWithHistory": kind.history}
            found += results_of(self.http.post(f"{self._objects(kind)}/batch/read", json=query))
        return found

    def links(self, kind: Kind, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Per record id, the most important associated record of each type."""
        return links_of(self.http, self.version, kind, ids)

    def property_names(self, kind: Kind) -> set[str]:
        """The properties that records of this type have."""
        return {str(found["name"]) for found in results_of(self.http.get(f"/crm/properties/{self.version}/{kind.name}"))}

    def absent(self, kind: Kind, records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """Properties that we ask for and that the portal does not have (any more), as far as these records show."""
        if not records or kind.name in self._absent:
            return self._absent.get(kind.name, ())
        met = {name for record in records for name in record["properties"]}
        fine = {*met, *kind.optional, *(self._fields[kind.name] if kind.prefix else ())}  # own ones may be another type's
        lacking = [name for name in self.names(kind) if name not in fine]
        known = set(lacking)
        if lacking:
            with suppress(ConnectorError):  # a token need not be allowed to list properties
                known = self.property_names(kind)
        self._absent[kind.name] = tuple(name for name in lacking if name not in known)
        return self._absent[kind.name]

    def first(self, kind: Kind) -> Response:
        """The smallest request that shows whether records of a type may be read."""
        return self.http.get(self._objects(kind), params={"limit": 1})

    def names(self, kind: Kind) -> list[str]:
        """All properties to ask for."""
        return kind.asked(self._fields.get(kind.name, ()))

    def _objects(self, kind: Kind) -> str:
        return f"/crm/objects/{self.version}/{kind.name}"


def changed_since(kind: Kind, instant: datetime) -> Mapping[str, Any]:
    """The search filter for what changed at ``instant`` or later."""
    return _at(kind, "GTE", instant)


def _at(kind: Kind, operator: str, instant: datetime) -> Mapping[str, Any]:
    return {"propertyName": kind.modified, "operator": operator, "value": str(round(instant.timestamp() * 1000))}
