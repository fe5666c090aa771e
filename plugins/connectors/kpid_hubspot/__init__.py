"""HubSpot: deals with their history, companies, contacts, owners, pipelines, calls, meetings, e-mails, tasks, tickets.

If they are named in ``entities``: leads, products, line items, orders or invoices, answers to surveys, campaigns with what was
spent, what became of marketing e-mails, exchange rates. Talks to the dated API (https://developers.hubspot.com/docs/api-reference),
by default 2026-09; only the log of e-mail events has no date (v1, unsupported from September 2027).

Needs the token of a private app, a service key, or an OAuth app with a refresh token, with read scopes for the entities in use:
``crm.objects.owners``, ``.companies``, ``.contacts`` (activities come with it; subjects of e-mails want ``sales-email-read``),
``.deals``, ``.leads``, ``.products``, ``.line_items``, ``.orders``, ``.invoices``, ``.feedback_submissions``, ``tickets``,
``crm.schemas.deals`` for pipelines, ``marketing.campaigns.read``, ``content`` for e-mail events, ``multi-currency-read``.

First all records are listed; later the search finds what changed: from five minutes before the last run's end, up to one minute
before now, for its index is late. Deleting a record, or linking it to another, does not change its modified time, and a restored
one may keep its old one: the archived list is a pass of its own, and comparing all ids now and then finds the rest. Histories
are cut short by HubSpot after some 20 to 50 values: what was stored stays. Limits: 100 requests in 10 s (see
``requests_per_10s``), 5 searches a second, and a number a day.
"""

from __future__ import annotations

import difflib
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
    IdPage,
    Known,
    Page,
    SchemaError,
    SourceContext,
    cursor_since,
    hookimpl,
)  # fmt: skip
from kpid_hubspot.changes import OVERLAP, Changes
from kpid_hubspot.endpoints import Endpoints
from kpid_hubspot.mailing import LATE, Mailings
from kpid_hubspot.mapping import columns_of
from kpid_hubspot.objects import Kind
from kpid_hubspot.settings import HubSpotSettings
from kpid_hubspot.whole import Whole

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
        self._mailings = Mailings(self._api, settings.email_events_days)
        self._whole = Whole(self._api, self._changes.pipelines, self._changes.place(""))

    def reads(self) -> Sequence[EntityReads]:
        """The configured entities, those that others point to first."""
        changing = partial(EntityReads, deletes="pass", overlap=OVERLAP, deletes_kept=BIN, listing=True, by_id=True, counted=True)
        everything = [
            EntityReads("users", mode="full"),
            EntityReads("pipelines", mode="full", carries=("stages",)),
            EntityReads("fx_rates", mode="full"),
            *(changing(entity) for entity in ("accounts", "contacts")),
            changing("deals", history="full", carries=("deal_stage_history", "deal_field_history", "owner_history")),
            changing("activities"),
            changing("tickets", history="full", carries=("ticket_status_history",)),
            *(changing(entity) for entity in ("leads", "products", "deal_lines", "orders", "survey_responses")),
            EntityReads("campaigns", mode="full", deletes="absence", carries=("campaign_costs",)),
            EntityReads("email_sends", overlap=LATE),
        ]
        return [reads for reads in everything if reads.entity in self.settings.entities]

    def capabilities(self) -> Mapping[str, Known]:
        """HubSpot tells merges, too, and what is deleted: only campaigns, which are few, go by absence."""
        passes: dict[str, Known] = {"deletes": "full"} if any(reads.deletes == "pass" for reads in self.reads()) else {}
        return {**super().capabilities(), **passes, "merges": "full"}

    def fills(self) -> Mapping[str, frozenset[str]]:
        """What the mapping says."""
        own, kinds = self.settings.fields, self._changes.kinds
        return {name: columns_of(kinds[name], own.get(name, {})) for name in self.settings.entities if name in kinds}

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """What changed, see :meth:`kpid_hubspot.changes.Changes.pages`, or the whole of it."""
        if entity in self._changes.kinds:
            return self._changes.pages(entity, cursor, until)
        if entity == "email_sends":
            return self._mailings.pages(cursor, until)
        return self._whole.pages(entity, until)

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """See :meth:`kpid_hubspot.changes.Changes.deleted`."""
        return self._changes.deleted(entity, cursor, until)

    def asks(self, entity: str) -> frozenset[str]:
        """The properties of the types behind an entity."""
        return frozenset(name for kind in self._changes.kinds.get(entity, ()) for name in self._api.names(kind))

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """See :meth:`kpid_hubspot.changes.Changes.ids`."""
        return self._changes.ids(entity, cursor)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """See :meth:`kpid_hubspot.changes.Changes.fetch`."""
        return self._changes.fetch(entity, ids)

    def count(self, entity: str) -> int | None:
        """As the search index has it, a minute late."""
        return self._changes.count(entity) if entity in self._changes.kinds else None

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """Of what is read by time of change. The links of open deals wait for another day."""
        if entity == "deals":
            return {**cursor_since(at), "linked": self.context.clock.now().isoformat()}
        return cursor_since(at) if entity in self._changes.kinds or entity == "email_sends" else None

    def server_time(self) -> datetime | None:
        """HubSpot's clock, from the ``Date`` of a small request."""
        for entity in self.settings.entities:
            with suppress(SchemaError):  # a scope that is missing here may not be missing there
                return self._touch(entity)
        return None

    def _touch(self, entity: str) -> datetime | None:
        """The smallest requests that show whether an entity may be read; gives the server's clock."""
        kinds = self._changes.kinds.get(entity, ())
        if entity == "email_sends":
            return self._mailings.first().date
        if not kinds:
            return self._whole.first(entity).date
        return [self._api.first(kind).date for kind in kinds][-1]

    def check(self) -> Sequence[Finding]:
        """Try every entity and look for the configured properties."""
        return [finding for reads in self.reads() for finding in self._check(reads.entity)]

    def _check(self, entity: str) -> Iterator[Finding]:
        subject = f"{self.context.source_id}: {entity}"
        try:
            self._touch(entity)
            yield from self._check_fields(subject, entity, self._changes.kinds.get(entity, ()))
            if entity == "deals":
                self._changes.pipelines.wanted()
        except ConnectorError as error:
            yield Finding(subject, False, error.what, " ".join(filter(None, (error.hint, self._instead(entity)))))
        else:
            yield Finding(subject, True, "can be read")

    def _instead(self, entity: str) -> str:
        """What else may be tried: not every portal sells by the records that are asked for."""
        if entity != "orders":
            return ""
        other = "invoices" if self.settings.orders_from == "orders" else "orders"
        return f"A portal without {self.settings.orders_from}: set `orders_from: {other}`, or take orders out of `entities`"

    def _check_fields(self, subject: str, entity: str, kinds: Sequence[Kind]) -> Iterator[Finding]:
        """The user's own properties: one of the types must have them."""
        own = set(self.settings.fields.get(entity, {}).values())
        known = {name for kind in kinds for name in self._api.property_names(kind)} if own else set()
        for name in sorted(own - known):
            near = difflib.get_close_matches(name, known, 1)
            meant = f"Did you mean {near[0]}? " if near else ""
            hint = f"{meant}`fields` wants the internal name of the property"
            yield Finding(
                subject, False, f"{' and '.join(kind.name for kind in kinds)} have no property {name}", hint, warning=True
            )

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """HubSpot."""
    return (
        ConnectorInfo(
            HubSpotConnector,
            "HubSpot: deals with history, companies, contacts, calls, meetings, e-mails, tasks, tickets",
            example={"token": "example"},
        ),
    )
