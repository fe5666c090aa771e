"""HubSpot's endpoints: addresses, page sizes, limits, error categories. Rows are made elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import (
    BearerAuth,
    ConnectorError,
    KpidError,
    NextToken,
    RateLimit,
    Response,
    SchemaError,
    SourceContext,
    dig,
    pacer_of,
    read_pages,
)  # fmt: skip
from kpid_hubspot.links import LINKED, chunks, inline_links, links_of, results_of
from kpid_hubspot.settings import KINDS, HubSpotSettings

LIST_PAGE, HISTORY_PAGE, BATCH = 100, 50, 100
SEARCHES = RateLimit(4, 1.0)
"""The limit is five a second for the whole account; one is left for others."""
LONGEST_QUERY = 3000
"""Longer property lists go into the body of a batch read: long addresses are refused with 414."""

PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "companies": (
        "name", "domain", "industry", "country", "lifecyclestage", "hs_v2_date_entered_customer", "hs_analytics_source",
    ),
    "contacts": (
        "firstname", "lastname", "email", "lifecyclestage", "associatedcompanyid", "hs_email_optout", "hs_analytics_source",
    ),
    "deals": (
        "dealname", "dealstage", "pipeline", "amount", "deal_currency_code", "closedate", "hs_is_closed", "hs_is_closed_won",
        "hs_deal_stage_probability", "dealtype", "closed_lost_reason", "hs_analytics_source", "notes_last_updated",
    ),
    "calls": ("hs_timestamp", "hs_call_direction", "hs_call_duration", "hs_call_disposition", "hs_call_status", "hs_call_title"),
    "meetings": ("hs_timestamp", "hs_meeting_start_time", "hs_meeting_end_time", "hs_meeting_outcome", "hs_meeting_title"),
    "tickets": (
        "subject", "hs_pipeline", "hs_pipeline_stage", "closed_date", "first_agent_reply_date", "hs_ticket_priority",
        "hs_ticket_category", "source_type",
    ),
    "leads": ("hs_lead_name", "hs_pipeline_stage"),
}  # fmt: skip
EVERYWHERE = ("createdate", "hubspot_owner_id")
HISTORY: Mapping[str, tuple[str, ...]] = {"deals": ("dealstage",)}


def modified_property(kind: str) -> str:
    """The property that says when a record changed. With the wrong one, search finds nothing and says 200."""
    return "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"


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
        self._version = settings.api_version
        self._search_page = settings.search_page_size
        self._fields = {
            kind: tuple(settings.fields.get(entity, {}).values()) for entity, kinds in KINDS.items() for kind in kinds
        }
        account_zone = ZoneInfo(settings.account_timezone) if settings.account_timezone else UTC
        token = settings.token.get_secret_value()
        self._absent: dict[str, tuple[str, ...]] = {}
        self._searches = pacer_of(context, "hubspot search", token, [SEARCHES])
        self.http = settings.client(
            context,
            vendor="hubspot",
            account=token,
            auth=BearerAuth(settings.token),
            limits=[RateLimit(settings.requests_per_10s, 10.0)],
            wait_hook=lambda response: asked_pause(response, context.clock.now(), account_zone),
            error_hook=missing_scope,
            transient=(477,),
        )

    def listed(self, kind: str, after: str | None = None, *, archived: bool = False) -> Iterator[Batch]:
        """All records of a type in id order, from ``after`` on; the archived ones bare."""
        names = self._names(kind)
        in_body = not archived and len(",".join(names)) > LONGEST_QUERY
        params = _list_params(kind, () if in_body else names, archived=archived)
        if after:
            params["after"] = after
        for response in read_pages(self.http, self._objects(kind), NextToken("paging.next.after", "after"), params):
            page = results_of(response)
            links = {str(record["id"]): inline_links(record) for record in page}
            records = self.read(kind, [str(record["id"]) for record in page]) if in_body else page
            following = dig(response.json(), "paging.next.after")
            yield Batch(records, links, str(following) if following else None)

    def changed(self, kind: str, since: datetime, until: datetime, after: str = "0") -> Iterator[Batch]:
        """Records changed in ``[since, until)``, complete with history and links, in id order from ``after`` on."""
        window = [changed_since(kind, since), _at(kind, "LT", until)]
        for batch in self.search(kind, window, after=after, names=() if kind in HISTORY else self._names(kind)):
            ids = [str(record["id"]) for record in batch.records]
            records = self.read(kind, ids) if kind in HISTORY else batch.records
            yield Batch(records, links_of(self.http, self._version, kind, ids), batch.after, batch.total)

    def search(
        self, kind: str, filters: Sequence[Mapping[str, Any]], *, after: str = "0", names: Sequence[str] = ()
    ) -> Iterator[Batch]:
        """What the index finds, in id order.

        Paged by key (``hs_object_id`` greater than the last one), not by offset: a search gives no more than 10,000 results to
        offsets, whole imports share one millisecond, and records that change meanwhile would shift offsets past others.
        """
        following: str | None = after
        while following is not None:
            query = {
                "filterGroups": [{"filters": [*filters, {"propertyName": "hs_object_id", "operator": "GT", "value": following}]}],
                "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
                "properties": ["hs_object_id", modified_property(kind), *names],
                "limit": self._search_page,
                "after": "0",
            }
            self._searches.wait()
            response = self.http.post(f"{self._objects(kind)}/search", json=query)
            records = results_of(response)
            last = str(max((int(record["id"]) for record in records), default=0))
            if records and int(last) <= int(following):
                raise ConnectorError(f"the search of {kind} stands still at id {last}", where=self.http.name)
            following = last if records and dig(response.json(), "paging.next.after") else None
            yield Batch(records, {}, following, dig(response.json(), "total"))

    def read(self, kind: str, ids: Sequence[str]) -> list[Mapping[str, Any]]:
        """Records by id, with history. Those that are gone meanwhile are left out."""
        history = HISTORY.get(kind, ())
        found: list[Mapping[str, Any]] = []
        for chunk in chunks(ids, HISTORY_PAGE if history else BATCH):
            query = {"inputs": [{"id": id_} for id_ in chunk], "properties": self._names(kind), "propertiesWithHistory": history}
            found += results_of(self.http.post(f"{self._objects(kind)}/batch/read", json=query))
        return found

    def owners(self, *, archived: bool) -> Iterator[Mapping[str, Any]]:
        """People; former ones are in a list of their own."""
        params = {"limit": LIST_PAGE, "archived": "true" if archived else "false"}
        for response in read_pages(self.http, f"/crm/owners/{self._version}", NextToken("paging.next.after", "after"), params):
            yield from results_of(response)

    def pipelines(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """The pipelines of deals or tickets, with their stages."""
        return results_of(self.http.get(f"/crm/pipelines/{self._version}/{kind}"))

    def property_names(self, kind: str) -> set[str]:
        """The properties that records of this type have."""
        return {str(found["name"]) for found in results_of(self.http.get(f"/crm/properties/{self._version}/{kind}"))}

    def absent(self, kind: str, records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """Properties that we ask for and that the portal does not have (any more), as far as these records show."""
        if not records or kind in self._absent:
            return self._absent.get(kind, ())
        lacking = [name for name in self._names(kind) if all(name not in record["properties"] for record in records)]
        known = set(lacking)
        if lacking:
            with suppress(ConnectorError):  # a token need not be allowed to list properties
                known = self.property_names(kind)
        self._absent[kind] = tuple(name for name in lacking if name not in known)
        return self._absent[kind]

    def first(self, place: str) -> Response:
        """The smallest request that shows whether ``place`` (a type, ``owners``, ``pipelines``) may be read."""
        if place == "pipelines":
            return self.http.get(f"/crm/pipelines/{self._version}/deals")
        path = f"/crm/owners/{self._version}" if place == "owners" else self._objects(place)
        return self.http.get(path, params={"limit": 1})

    def _objects(self, kind: str) -> str:
        return f"/crm/objects/{self._version}/{kind}"

    def _names(self, kind: str) -> list[str]:
        names = (*PROPERTIES[kind], *EVERYWHERE, modified_property(kind), *self._fields.get(kind, ()))
        return list(dict.fromkeys(names))


def asked_pause(response: Response, now: datetime, account_zone: tzinfo) -> timedelta | None:
    """The pause behind a 429 without ``Retry-After``: its policy says which budget is spent."""
    policy = str(dig(response.json(), "policyName") if response.is_json() else "").upper()
    if policy.startswith("DAILY"):
        local = (response.date or now).astimezone(account_zone)
        midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight.astimezone(UTC) - local.astimezone(UTC)
    return {"TEN_SECONDLY_ROLLING": timedelta(seconds=10), "SECONDLY": timedelta(seconds=1)}.get(policy)


def missing_scope(response: Response) -> KpidError | None:
    """A scope that the token lacks ends this entity, not the whole source."""
    body = response.json() if response.status == 403 and response.is_json() else None
    if dig(body, "category") != "MISSING_SCOPES":
        return None
    scopes = sorted(
        {
            str(scope)
            for error in dig(body, "errors") or ()
            for scope in dig(error, "context.requiredGranularScopes") or dig(error, "context.requiredScopes") or ()
        }
    )
    return SchemaError(
        f"the token lacks a scope: {', '.join(scopes) or 'HubSpot does not say which'}",
        hint="Add it to the private app or service key (Settings > Integrations), or leave this entity out of `entities`",
    )


def _list_params(kind: str, names: Sequence[str], *, archived: bool) -> dict[str, Any]:
    """What to ask of a list. No names: ids and links only; archived: nothing but ids and times."""
    params: dict[str, Any] = {"limit": LIST_PAGE, "archived": "true" if archived else "false"}
    if archived:
        return params
    if names:
        params["properties"] = ",".join(names)
    if names and kind in HISTORY:
        params |= {"limit": HISTORY_PAGE, "propertiesWithHistory": ",".join(HISTORY[kind])}
    if kind in LINKED:
        params["associations"] = ",".join(LINKED[kind])
    return params


def changed_since(kind: str, instant: datetime) -> Mapping[str, Any]:
    """The search filter for what changed at ``instant`` or later."""
    return _at(kind, "GTE", instant)


def _at(kind: str, operator: str, instant: datetime) -> Mapping[str, Any]:
    return {"propertyName": modified_property(kind), "operator": operator, "value": str(round(instant.timestamp() * 1000))}
