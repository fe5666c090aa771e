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
    SourceContext,
    hookimpl,
)  # fmt: skip
from kpid_hubspot.changes import OVERLAP, Changes
from kpid_hubspot.endpoints import Endpoints
from kpid_hubspot.mapping import columns_of
from kpid_hubspot.settings import KINDS, HubSpotSettings

__all__ = ["HubSpotConnector", "HubSpotSettings", "kpid_connectors"]

BIN = timedelta(days=90)
"""How long HubSpot lists what was deleted."""


class HubSpotConnector(Connector[HubSpotSettings]):
    """Reads one portal."""

    name = "hubspot"
    Settings = HubSpotSettings

    def __init__(self, settings: HubSpotSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._api = Endpoints(settings, context)
        self._changes = Changes(self._api, settings, context)

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
        """See :meth:`kpid_hubspot.changes.Changes.pages`."""
        return self._changes.pages(entity, cursor, until)

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """See :meth:`kpid_hubspot.changes.Changes.deleted`."""
        return self._changes.deleted(entity, cursor, until)

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
                self._changes.pipelines.wanted()
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
        else:
            yield Finding(subject, True, "can be read")

    def close(self) -> None:
        """Let go of connections."""
        self._api.http.close()


def _place_of(entity: str) -> str:
    return {"users": "owners", "pipelines": "pipelines"}.get(entity) or KINDS[entity][0]


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """HubSpot."""
    return (
        ConnectorInfo(
            HubSpotConnector,
            "HubSpot CRM: deals with stage history, companies, contacts, calls, meetings, tickets",
            example={"token": "example"},
        ),
    )
