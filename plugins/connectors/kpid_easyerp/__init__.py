"""EasyERP: deals, leads, companies, persons, employees, teams, tasks, stages, products, campaigns, invoices or orders, refunds.

Talks to the server of the open source edition (Node, MongoDB, 2018) as its own pages do: a login gives a cookie that holds for
two minutes without a request; without one every list is a 404. Needs a user whose profile sees the lists in use.

What changed is asked for by whole days and kept exactly on our side. Lists tell neither source nor creation of a deal, nor that
it was a lead: each new or changed deal and lead is read by itself (``details``). Deleted records are gone without a word: they
are found by comparing ids (``reconcile: 1d``). Stages are told as they are now; kpid keeps the history that it sees, and of a
closed deal the change at which it first saw it closed. Of amounts and expected closings the detail view tells every change. It
writes down those of stages and owners, too, and does not show them, for a fault of the server; nor do the lists tell of which
company a person is. Teams are the departments that employees are in. Products, invoices, orders and refunds are read whole, and
campaigns: names without costs or members. No list says what papers consist of, or to which deal they belong: lines are not read.
Amounts of papers are in cents; what was given back contains taxes. There is no rate limit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from kpid.plugin import (
    Connector,
    ConnectorError,
    ConnectorInfo,
    Cursor,
    EntityReads,
    Finding,
    IdPage,
    Known,
    Page,
    SourceContext,
    cursor_since,
    hookimpl,
)  # fmt: skip
from kpid_easyerp.changes import OVERLAP, Changes
from kpid_easyerp.endpoints import Endpoints
from kpid_easyerp.mapping import columns_of
from kpid_easyerp.settings import CHANGING, EasyErpSettings

__all__ = ["EasyErpConnector", "EasyErpSettings", "kpid_connectors"]

DETAILED = ("deals", "leads")


class EasyErpConnector(Connector[EasyErpSettings]):
    """Reads one database of a server."""

    name = "easyerp"
    Settings = EasyErpSettings

    def __init__(self, settings: EasyErpSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._api = Endpoints(settings, context)
        self._changes = Changes(self._api, settings, context)

    def reads(self) -> Sequence[EntityReads]:
        """The configured entities, those that others point to first."""
        by_id = self.settings.details
        everything = [
            EntityReads("users", mode="full", deletes="absence", carries=("teams",)),
            EntityReads("pipelines", mode="full", carries=("stages",)),
            EntityReads("accounts", overlap=OVERLAP, listing=True, counted=True),
            EntityReads("contacts", overlap=OVERLAP, listing=True, counted=True),
            EntityReads("products", mode="full", deletes="absence", grain="none"),
            EntityReads("campaigns", mode="full", deletes="absence", grain="none"),
            EntityReads(
                "deals",
                history="since_sync",
                overlap=OVERLAP,
                carries=("deal_field_history",) if by_id else (),
                listing=True,
                by_id=by_id,
                counted=True,
                observed=("closed_at",),
            ),
            EntityReads("leads", overlap=OVERLAP, listing=True, by_id=by_id, observed=("qualified_at", "disqualified_at")),
            EntityReads("activities", overlap=OVERLAP, grain="none", listing=True, counted=True),
            EntityReads("orders", mode="full", deletes="absence", grain="none"),
            EntityReads("refunds", mode="full", deletes="absence", grain="none"),
        ]
        return [reads for reads in everything if reads.entity in self.settings.entities]

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """See :class:`kpid_easyerp.changes.Changes`."""
        return self._changes.pages(entity, cursor, until) if entity in CHANGING else self._changes.everything(entity, until)

    def asks(self, entity: str) -> frozenset[str]:
        """The configured fields, beside what is always read."""
        return frozenset({"_id", *self.settings.fields.get(entity, {}).values()}) if entity in CHANGING else frozenset()

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """All ids of the lists."""
        return self._changes.ids(entity)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Detail views of deals and leads."""
        return self._changes.fetch(entity, ids)

    def count(self, entity: str) -> int | None:
        """The total that a list tells."""
        return int(self._api.first(CHANGING[entity][0])["total"])

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """The API can be asked for what changed since a day."""
        return cursor_since(at) if entity in CHANGING else None

    def capabilities(self) -> Mapping[str, Known]:
        """Deletions are found by comparing ids."""
        return {**super().capabilities(), "deletes": "since_sync"}

    def fills(self) -> Mapping[str, frozenset[str]]:
        """What the mapping says."""
        names = {
            "users": "employees",
            "accounts": "companies",
            "contacts": "persons",
            "activities": "tasks",
            "orders": "invoices",
            "refunds": "payments",
        }
        kept: list[str] = [name for name in self.settings.entities if name != "pipelines"]
        found: dict[str, frozenset[str]] = {
            name: columns_of(names.get(name, name), self.settings.fields.get(name, {})) for name in kept
        }
        if not self.settings.details:
            lacking = {"lead_source", "campaign", "campaign_id", "lead_id", "converted_at", "converted_deal_id"}
            found |= {name: found[name] - lacking for name in DETAILED if name in found}
        return found

    def server_time(self) -> datetime | None:
        """The server's clock, from the ``Date`` of a small request."""
        return self._api.now()

    def check(self) -> Sequence[Finding]:
        """Log in, try every list, and look for the configured stages and fields."""
        try:
            self._api.now()
        except ConnectorError as error:  # once is enough: wrong passwords may be counted
            return [Finding(f"{self.context.source_id}: login", False, error.what, error.hint or "")]
        return [finding for reads in self.reads() for finding in self._check(reads.entity)]

    def _check(self, entity: str) -> Iterator[Finding]:
        subject = f"{self.context.source_id}: {entity}"
        try:
            if entity in {"pipelines", "deals", "leads"}:
                self._changes.stages("Leads" if entity == "leads" else "Opportunities")
            if entity == "deals":
                self._api.currencies()
            if entity == "campaigns":
                self._api.campaigns()
            for kind in self.settings.kinds(entity):
                self._api.first(kind)
            yield from self._check_fields(entity, subject)
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
        else:
            yield Finding(subject, True, "can be read")

    def _check_fields(self, entity: str, subject: str) -> Iterator[Finding]:
        """Fields of which some of the newest records show nothing: with the name that may have been meant."""
        own = self.settings.fields.get(entity, {})
        known = self._changes.names(entity) if own else set()
        for path in sorted(set(own.values()) - known) if known else ():
            near = difflib.get_close_matches(path, sorted(known), 1)
            hint = f"Is it {near[0]}?" if near else f"There are: {', '.join(sorted(known)[:30])}"
            yield Finding(subject, False, f"{entity} have no field {path}", f"Correct `fields`. {hint}", warning=True)

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """EasyERP."""
    return (
        ConnectorInfo(
            EasyErpConnector,
            "EasyERP: deals, leads, companies, persons, employees, tasks, products, campaigns, invoices or orders",
            example={"base_url": "https://erp.example.com", "login": "kpid", "password": "example"},
        ),
    )
