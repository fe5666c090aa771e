"""Salesforce: deals with their histories, accounts, contacts, leads, users, stages, activities, cases with replies and states.

If they are named in ``entities``: products, lines of deals, orders, their lines and refunds, contracts, campaigns with costs and
members, surveys, exchange rates. Talks to the REST API (https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta), by
default v66.0. Needs an *External Client App* (Setup > App Manager; new connected apps and the SOAP login are on their way out)
with the scope ``api``, and a user with the permissions API Enabled and View All Data, or read access to the objects in use.
Versions 31 to 40 retire in Summer '28.

A first read of many records goes through Bulk API 2.0, that of deals' histories, too. Later ones read by ``SystemModstamp``, from
ten minutes before the last run's end, since long transactions show late. Deletions come from the delete log (15 days), merges
from ``queryAll``. Formulas and roll-ups change no modified time, and a user sees only what is shared with them: comparing all ids
now and then finds both; ``limits/recordCount`` and ``UserPermissionAccess`` tell whether it matters. What is written on a case
does not change the case: comments and e-mails are read by times of their own. ``CaseHistory`` and ``OpportunityFieldHistory``
hold what is tracked, for some two years.

Activities are tasks, events, and those e-mails (``EmailMessage``) and calls (``VoiceCall``) of which there is no task, as
``ActivityId`` says: a task tells what they say, and none counts twice. A call that is logged later is no row of its own from
then on. Few organisations have calls: ``activity_objects`` names what has to be there. ``email_sends`` stay empty: ``ListEmail``
tells totals of a mailing and nothing of a recipient, and e-mails that people write are no mailings.

An address and its headers may have 16,384 bytes together: longer queries go as composite requests. Limit: calls in 24 hours,
which every answer tells.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
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
    SourceContext,
    cursor_since,
    hookimpl,
)  # fmt: skip
from kpid_salesforce.changes import OVERLAP, REACH, Changes
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.mapping import columns_of
from kpid_salesforce.objects import CARRIED, HISTORY, WHOLE, Kind
from kpid_salesforce.rights import Rights
from kpid_salesforce.settings import SalesforceSettings

__all__ = ["SalesforceConnector", "SalesforceSettings", "kpid_connectors"]


class SalesforceConnector(Connector[SalesforceSettings]):
    """Reads one organisation."""

    name = "salesforce"
    Settings = SalesforceSettings

    def __init__(self, settings: SalesforceSettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._api = Endpoints(settings, context)
        self._changes = Changes(self._api, settings, context)

    def reads(self) -> Sequence[EntityReads]:
        """The configured entities, those that others point to first."""
        changing = partial(
            EntityReads, deletes="pass", overlap=OVERLAP, deletes_kept=REACH, listing=True, by_id=True, counted=True
        )
        everything = [
            EntityReads("users", mode="full", carries=("teams",)),
            EntityReads("pipelines", mode="full", carries=("stages",)),
            EntityReads("fx_rates", mode="full"),
            EntityReads("targets", mode="full"),
            *(changing(entity) for entity in ("accounts", "contacts", "leads")),
            changing("deals", history="full", carries=("deal_stage_history", "deal_field_history", "owner_history")),
            changing("activities", carries=("activity_links",)),
            changing("tickets", carries=("ticket_status_history", "ticket_comments")),
            *(changing(entity) for entity in ("products", "deal_lines", "orders", "order_lines", "refunds", "subscriptions")),
            changing("campaigns", carries=("campaign_costs",)),
            *(changing(entity) for entity in ("campaign_members", "attributions", "survey_sends", "survey_responses")),
        ]
        return [reads for reads in everything if reads.entity in self.settings.entities]

    def capabilities(self) -> Mapping[str, Known]:
        """Salesforce tells merges, too."""
        return {**super().capabilities(), "merges": "full"}

    def fills(self) -> Mapping[str, frozenset[str]]:
        """What the mapping says."""
        own, changes = self.settings.fields, self._changes
        mappers = {entity: [changes.mappers[kind.title] for kind in kinds] for entity, kinds in changes.kinds.items()}
        return {name: columns_of(mappers[name], own.get(name, {})) for name in self.settings.entities if name in mappers}

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """See :meth:`kpid_salesforce.changes.Changes.pages`."""
        return self._changes.pages(entity, cursor, until)

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """See :meth:`kpid_salesforce.changes.Changes.deleted`."""
        return self._changes.deleted(entity, cursor, until)

    def asks(self, entity: str) -> frozenset[str]:
        """The fields of the objects behind an entity, and of what hangs on them."""
        asked = self._changes.reading.asked
        own = {name for kind in self._changes.kinds.get(entity, ()) for name in asked(kind)}
        carried = (kind for kind in CARRIED.get(entity, ()) if kind is not HISTORY)
        return frozenset(own | {f"{kind.name}.{name}" for kind in carried for name in asked(kind)})

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """See :meth:`kpid_salesforce.changes.Changes.ids`."""
        return self._changes.ids(entity, cursor)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """See :meth:`kpid_salesforce.changes.Changes.fetch`."""
        return self._changes.fetch(entity, ids)

    def count(self, entity: str) -> int | None:
        """As the user sees them, like all that we read."""
        return self._changes.count(entity) if entity not in WHOLE else None

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """Of what is read by time of change."""
        return cursor_since(at) if entity not in WHOLE else None

    def server_time(self) -> datetime | None:
        """Salesforce's clock, from the ``Date`` of a small answer."""
        return self._api.now()

    def check(self) -> Sequence[Finding]:
        """Log in, look for the version, and try every entity and its fields."""
        found = [*self._check_version()]
        if all(finding.ok for finding in found):
            rights, counts = Rights(self._api, self._changes.reading, self.context.source_id), dict[str, int]()
            found += [finding for reads in self.reads() for finding in self._check(reads.entity, rights, counts)]
            found += rights.seen(counts)
        return found

    def _check_version(self) -> Iterator[Finding]:
        subject, ours = f"{self.context.source_id}: login", self.settings.api_version
        try:
            versions = self._api.versions()
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
            return
        if versions and ours not in versions:
            text = f"the organisation has no version {ours} of the API: {versions[0]} to {versions[-1]}"
            yield Finding(subject, False, text, "Set api_version", warning=True)
        else:
            yield Finding(subject, True, "accepted")

    def _check(self, entity: str, rights: Rights, counts: dict[str, int]) -> Iterator[Finding]:
        subject = f"{self.context.source_id}: {entity}"
        try:
            for kind in self._changes.there(entity) if entity not in WHOLE else (WHOLE[entity],):
                yield from self._check_fields(subject, kind)
                if entity not in WHOLE:
                    counted = self._changes.reading.count(kind)
                    counts |= {} if kind.where or kind.archived else {kind.name: counted}
            yield from rights.beside(entity)
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
        else:
            yield Finding(subject, True, "can be read")

    def _check_fields(self, subject: str, kind: Kind) -> Iterator[Finding]:
        reading = self._changes.reading
        for name in reading.absent(kind):
            near = difflib.get_close_matches(name, self._api.fields(kind.name), 1)
            meant = f"Did you mean {near[0]}? " if near else ""
            hint = f"{meant}It is the API name, and the user's permission set must let it be read"
            yield Finding(subject, False, f"{kind.name} has no field {name} that the user may see", hint, warning=True)

    def close(self) -> None:
        """Let go of connections."""
        with suppress(OSError):
            self._api.close()


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """Salesforce."""
    return (
        ConnectorInfo(
            SalesforceConnector,
            "Salesforce: deals with histories, accounts, contacts, leads, tasks, events, e-mails, calls, cases with replies",
            example={
                "base_url": "https://example.my.salesforce.com",
                "client_id": "example",
                "client_secret": "example",
                "influence_models": {"03V000000000001AAA": "linear"},
                "surveys": {
                    "relation": {"kind": "nps", "survey": "0Kd000000000001AAA", "only": {"QuestionId": "0Vc000000000001AAA"}}
                },
            },
        ),
    )
