"""Dynamics 365, by the Dataverse Web API 9.2: opportunities, accounts, contacts, leads, activities, cases, orders, surveys.

Needs an app registration in Entra ID with a client secret or a certificate, and in the environment an *application user* of it
whose security role has Read for the whole organisation on the tables in use. Tables with change tracking are read by delta links:
new, changed and deleted rows come alike; a link is good for seven days, after which all rows are read again and ids are compared.
Tables without tracking, or of which the user sees only a part, are read by ``modifiedon``: there, deletions are found by
comparing ids. To go back to an instant takes a new link, which takes reading the table; what changed before is not stored again,
and what was deleted since the old link is found by comparing ids at once. A row that was merged into another stays as an
inactive one that names the winner. A first read asks for pages of 1,000 rows; links are sent back as they came, with the same
``Prefer``. Limits: 6,000 requests and 20 minutes of work in five minutes.

Dataverse keeps no history of stages: kpid observes it. A won or lost deal is in the stage ``won`` or ``lost``; it was closed when
the newest of its ``opportunitycloses`` says. A lead's qualification is dated by its deal, a case's first reply by its service
level (``slakpiinstances``). Of campaigns only who responded is told (``campaignresponses``, the person by ``activityparties``),
not who was shown them. Survey answers are those of Customer Voice (``msfp_surveyresponses``; which column is the score can be
set, for satisfaction metrics are a text of its own making), and the satisfaction 1 to 5 that is noted on cases, dated by the
case's closing. Not sure, since no document says: which states of orders mean paid (``order_states``); with
which status an expired link is refused (400, 404, 410 and 412 are taken for it); whether a link stands for the beginning or the
end of a first read (both are provided for).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

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
    hookimpl,
)  # fmt: skip
from kpid_dynamics365.changes import Changes
from kpid_dynamics365.endpoints import Endpoints
from kpid_dynamics365.mapping import columns_of
from kpid_dynamics365.settings import DynamicsSettings
from kpid_dynamics365.tables import TIMES, USERS, VOICE, Kind
from kpid_dynamics365.tracking import OVERLAP

__all__ = ["DynamicsConnector", "DynamicsSettings", "kpid_connectors"]

MARGIN = timedelta(hours=12)
"""So long before delta links lapse, ids are compared."""


class DynamicsConnector(Connector[DynamicsSettings]):
    """Reads one environment."""

    name = "dynamics365"
    Settings = DynamicsSettings

    def __init__(self, settings: DynamicsSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._api = Endpoints(settings, context)
        self._changes = Changes(self._api, settings, context)

    def reads(self) -> Sequence[EntityReads]:
        """The configured entities, those that others point to first."""
        kept = timedelta(days=self.settings.tracking_days) - MARGIN
        changing = partial(
            EntityReads, deletes="inline", overlap=OVERLAP, deletes_kept=kept, listing=True, by_id=True
        )  # counted only where one table fills the entity, and merged rows do not count
        everything = [
            EntityReads("users", mode="full", carries=("teams",)),
            EntityReads("pipelines", mode="full", carries=("stages",)),
            *(changing(entity) for entity in ("accounts", "contacts", "leads")),
            changing("deals", history="since_sync", counted=True),
            *(changing(entity) for entity in ("products", "deal_lines", "activities", "tickets")),
            *(changing(entity) for entity in ("orders", "order_lines", "campaigns", "campaign_costs", "campaign_members")),
            *(changing(entity) for entity in ("survey_sends", "survey_responses")),
            EntityReads("fx_rates", overlap=OVERLAP),
        ]
        return [reads for reads in everything if reads.entity in self.settings.entities]

    def capabilities(self) -> Mapping[str, Known]:
        """Dynamics tells merges, too; of rates it keeps the ones that now hold."""
        found = dict(super().capabilities())
        if "fx_rates" in found:
            found |= {"fx_rates": "since_sync", "fx_dated": "since_sync"}
        return {**found, "merges": "full"}

    def fills(self) -> Mapping[str, frozenset[str]]:
        """What the mapping says."""
        kinds = {name: self.settings.kinds(name) for name in self.settings.entities}
        return {name: columns_of(name, tables, self.settings.fields.get(name, {})) for name, tables in kinds.items() if tables}

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """See :meth:`kpid_dynamics365.changes.Changes.pages`."""
        return self._changes.pages(entity, cursor, until)

    def asks(self, entity: str) -> frozenset[str]:
        """The columns by name."""
        kinds, own = self.settings.kinds(entity), self.settings.fields.get(entity, {}).values()
        return frozenset((*TIMES, *(name for kind in kinds for name in (*kind.columns, *kind.perhaps)), *own) if kinds else ())

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """See :meth:`kpid_dynamics365.changes.Changes.ids`."""
        return self._changes.ids(entity, cursor)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """See :meth:`kpid_dynamics365.changes.Changes.fetch`."""
        return self._changes.fetch(entity, ids)

    def count(self, entity: str) -> int | None:
        """Up to 5,000, of tables whose rows cannot be merged."""
        return self._api.count(self.settings.kinds(entity)[0]) if entity == "deals" else None

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """See :mod:`kpid_dynamics365.tracking`."""
        kinds = self.settings.kinds(entity)
        return {"kinds": {kind.logical: {"again": at.isoformat()} for kind in kinds}} if kinds else None

    def server_time(self) -> datetime | None:
        """The service's clock, from the ``Date`` of the answer about the metadata."""
        return self._api.server_time()

    def check(self) -> Sequence[Finding]:
        """Try every table and look for the configured columns."""
        return [finding for reads in self.reads() for finding in self._check(reads)]

    def _check(self, reads: EntityReads) -> Iterator[Finding]:
        entity = reads.entity
        subject = f"{self.context.source_id}: {entity}"
        try:
            for kind in self.settings.kinds(entity) or ((USERS,) if entity == "users" else ()):
                found = self._api.found(kind)
                next(self._api.read(self._api.address(kind, (kind.key,), top="1")))
                yield from self._check_columns(subject, entity, kind)
                if reads.deletes == "inline" and not found.tracked:
                    text = f"changes of the table {kind.logical} are not tracked: deletions are only found by comparing ids"
                    hint = "Power Apps > Tables > Properties > Advanced options: turn on Track changes"
                    yield Finding(subject, False, text, hint, warning=True)
            self._changes.try_out(entity)
            for text, error in self._changes.beside.readable(entity):
                yield Finding(subject, False, text, error.hint or "", warning=True)
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
        else:
            yield Finding(subject, True, "can be read")

    def _check_columns(self, subject: str, entity: str, kind: Kind) -> Iterator[Finding]:
        chosen = {self.settings.survey_score, self.settings.survey_submitted} if kind.logical == VOICE else set()
        own = {*self.settings.fields.get(entity, {}).values(), *chosen} & set(self._api.found(kind).absent)
        if own:
            known = self._api.attributes(kind)
            near = [match for name in sorted(own) for match in difflib.get_close_matches(name, known, 1)]
            hint = f"Did you mean {', '.join(near)}?" if near else "Correct `fields`: use the logical name of the column"
            yield Finding(subject, False, f"the table {kind.logical} has no column {', '.join(sorted(own))}", hint, warning=True)

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """Dynamics 365."""
    return (
        ConnectorInfo(
            DynamicsConnector,
            "Dynamics 365 (Dataverse): opportunities, accounts, contacts, leads, activities, cases, orders, campaigns, surveys",
            example={
                "base_url": "https://example.api.crm4.dynamics.com",
                "tenant": "example.onmicrosoft.com",
                "client_id": "example",
                "client_secret": "example",
            },
        ),
    )
