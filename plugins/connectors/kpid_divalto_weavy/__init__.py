"""Divalto weavy: deals, customers, contacts, users, types and steps of deals; if named, what else a project has.

Talks to the Data API (https://divalto.atlassian.net/wiki, "API d'échange"): ``Authenticate`` (a token for twelve hours, an API
account), ``Dictionary`` (which fields a table has), ``Select`` (rows; at most 1,000). Nothing is ever written: ``srvExport``, the
mark of what an ERP link has taken over, is neither sent nor set.

Rows are read in the order of their codes, which do not move; what changed is found by ``srvDate``. Its zone is not documented: a
read begins a day before the last one's end, and ends a day later than it has to. Deleted rows are hidden (``srvAttrib``): a
second question finds them. Stages are as syncs see them: weavy tells no history. Amounts have no currency: the organisation's.
Answers are lists, or objects with a list of rows; both are read. How many rows there are is taken from a total in the answer, or
found by asking for the row behind so many.

If named in ``entities``: leads (``marketinglead``), events as activities, interventions as tickets, contracts as subscriptions,
elements of deals as their lines. Of these the vendor publishes a part of the fields or none: what the Dictionary does not have
stays empty, ``fields`` names others. What tables of products, orders, invoices and their lines are called is not published at
all: ``tables`` has to say. Not sure either: the ``srvAttrib`` of deleted rows (``deleted_attrib``), what a status means
(``states``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import partial
from zoneinfo import ZoneInfo

from kpid.plugin import (
    Connector,
    ConnectorError,
    ConnectorInfo,
    Cursor,
    DeletedPage,
    EntityReads,
    Finding,
    IdPage,
    Page,
    SchemaError,
    SourceContext,
    cursor_since,
    hookimpl,
)  # fmt: skip
from kpid_divalto_weavy.changes import OVERLAP, Changes
from kpid_divalto_weavy.codes import Codes
from kpid_divalto_weavy.endpoints import Weavy
from kpid_divalto_weavy.mapping import Place, columns_of, planned
from kpid_divalto_weavy.settings import WeavySettings

__all__ = ["WeavyConnector", "WeavySettings", "kpid_connectors"]

SOON = timedelta(days=14)
"""A password that expires within this time is worth a warning."""


class WeavyConnector(Connector[WeavySettings]):
    """Reads one project."""

    name = "divalto_weavy"
    Settings = WeavySettings

    def __init__(self, settings: WeavySettings, context: SourceContext) -> None:
        super().__init__(settings, context)
        self._api = Weavy(settings, context)
        self._codes = Codes(self._api, settings)
        self._changes = Changes(self._api, settings, self._place)

    def _place(self, entity: str) -> Place:
        settings, context = self.settings, self.context
        zones, natives = (context.timezone, ZoneInfo(settings.server_timezone)), settings.natives_of(entity)
        return Place(settings.table_of(entity), natives, planned(entity, natives), self._codes, *zones, context.currency)

    def reads(self) -> Sequence[EntityReads]:
        """The configured entities, those that others point to first."""
        changing = partial(EntityReads, deletes="pass", overlap=OVERLAP, listing=True, by_id=True, counted=True)
        everything = [
            EntityReads("users", mode="full", deletes="absence"),
            EntityReads("pipelines", mode="full", deletes="absence", carries=("stages",)),
            *(changing(entity) for entity in ("accounts", "contacts", "leads", "products")),
            changing("deals", history="since_sync"),
            *(changing(entity) for entity in ("deal_lines", "activities", "tickets", "subscriptions", "orders", "order_lines")),
        ]
        return [reads for reads in everything if reads.entity in self.settings.entities]

    def fills(self) -> Mapping[str, frozenset[str]]:
        """What the mapping says."""
        names = [*self.settings.entities, *(["stages"] if "pipelines" in self.settings.entities else [])]
        filled = {name: columns_of(name, self.settings.natives_of(name)) for name in names}
        if "stages" in filled and self.settings.stages:
            filled["stages"] |= {"state"}
        return filled

    def asks(self, entity: str) -> frozenset[str]:
        """Native names of the fields."""
        return frozenset(self.settings.natives_of(entity).values())

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """Of what is read by its changes."""
        return None if entity in {"users", "pipelines"} else cursor_since(at)

    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """See :class:`~kpid_divalto_weavy.changes.Changes`."""
        if entity == "users":
            return self._changes.everyone(until)
        if entity == "pipelines":
            return self._changes.pipelines(until)
        return self._changes.pages(entity, cursor, until)

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """See :meth:`kpid_divalto_weavy.changes.Changes.deleted`."""
        return self._changes.deleted(entity, cursor, until)

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """See :meth:`kpid_divalto_weavy.changes.Changes.ids`."""
        return self._changes.ids(entity, cursor)

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """See :meth:`kpid_divalto_weavy.changes.Changes.fetch`."""
        return self._changes.fetch(entity, ids)

    def count(self, entity: str) -> int | None:
        """See :meth:`kpid_divalto_weavy.endpoints.Weavy.count`."""
        return self._changes.count(entity)

    def server_time(self) -> datetime | None:
        """The server's clock, from the ``Date`` of a look into the Dictionary, which is needed anyway."""
        for entity in self.settings.entities:
            with suppress(SchemaError):  # a table that is missing here need not be missing there
                self._api.fields(self.settings.table_of(entity))
                return self._api.server_now
        return None

    def check(self) -> Sequence[Finding]:
        """Log in, look at the password's age, try every table and look for the configured fields, types and steps."""
        return [finding for reads in self.reads() for finding in self._check(reads.entity)] + self._check_password()

    def _check(self, entity: str) -> Iterator[Finding]:
        subject = f"{self.context.source_id}: {entity}"
        try:
            for part in (entity, "stages") if entity == "pipelines" else (entity,):
                table = self.settings.table_of(part)
                known = self._api.fields(table)
                self._api.first(table)
                for native in self._changes.lacking(part):
                    near = get_close_matches(native, known, n=3)
                    hint = f"Name the right one in `fields: {{{part}: ...}}`" + (f": perhaps {', '.join(near)}" if near else "")
                    yield Finding(subject, False, f"the table {table} has no field {native}", hint, warning=True)
            if entity == "deals":
                self._codes.wanted()
                yield from self._check_stages(subject)
                self._codes.picks()
                if self._codes.problem:
                    hint = f"Give {self.settings.user} the right to read {self.settings.table_of('pipelines')}"
                    yield Finding(subject, False, self._codes.problem, hint, warning=True)
        except ConnectorError as error:
            yield Finding(subject, False, error.what, error.hint or "")
        else:
            yield Finding(subject, True, "can be read")

    def _check_stages(self, subject: str) -> Iterator[Finding]:
        if not self.settings.stages:
            return
        steps = self._codes.steps()
        known = {text.casefold() for pair in steps.items() for text in pair}
        for name in sorted(name for name in self.settings.stages if name.casefold() not in known):
            hint = f"Correct `stages`; there are: {', '.join(sorted(steps.values()))}"
            yield Finding(subject, False, f"the project has no step {name}", hint, warning=True)

    def _check_password(self) -> list[Finding]:
        expires = self._api.password_expires
        if expires is None or expires - self.context.clock.now() >= SOON:
            return []
        text = f"the password of {self.settings.user} expires on {expires:%Y-%m-%d}"
        return [Finding(f"{self.context.source_id}: login", False, text, "Change it in weavy and in kpid's secret", warning=True)]

    def close(self) -> None:
        """Let go of connections."""
        self._api.close()


@hookimpl
def kpid_connectors() -> Sequence[ConnectorInfo]:
    """Divalto weavy."""
    return (
        ConnectorInfo(
            WeavyConnector,
            "Divalto weavy: deals, customers, contacts, users; leads, events, interventions, contracts, lines, orders",
            example={
                "project": "example",
                "user": "kpid",
                "password": "example",
                "tables": {"products": "product", "orders": "saleorder", "order_lines": "saleorderline"},
            },
        ),
    )
