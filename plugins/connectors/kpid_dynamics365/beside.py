"""What rows need from tables beside their own: when things were closed, who responded. A missing right costs only that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kpid.plugin import SchemaError
from kpid_dynamics365.endpoints import Endpoints
from kpid_dynamics365.tables import Kind
from kpid_dynamics365.values import FORMATTED, Record

CLOSINGS = {
    "opportunity": ("opportunitycloses", "_opportunityid_value", ",_competitorid_value"),
    "incident": ("incidentresolutions", "_incidentid_value", ""),
}
"""Where the instant of closing is kept: the row itself has a day, or nothing."""
RIVAL = f"_competitorid_value@{FORMATTED}"
REPLY, CUSTOMER = "_firstresponsebykpiid_value", 11
"""A case's service-level KPI of the first response; the part that a person plays in a campaign's response."""
TABLES: Mapping[str, Mapping[str, str]] = {
    "deals": {"opportunitycloses": "closings are known by day at best"},
    "tickets": {"incidentresolutions": "closings are known by the last change", "slakpiinstances": "first replies are not known"},
    "campaign_members": {"activityparties": "responses are told by their address only"},
    "leads": {"opportunities": "conversions are known by the last change"},
    "users": {"teams": "records that they own have no owner"},
}
"""By entity: the tables beside its own, and what comes of it where they may not be read."""


@dataclass
class Known:
    """What was found, by id; see :class:`~kpid_dynamics365.values.Place`."""

    closed: dict[str, str] = field(default_factory=dict)
    rivals: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    replies: dict[str, str] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Beside:
    """Looks things up for the rows of a page.

    Args:
        api: the environment.
    """

    def __init__(self, api: Endpoints) -> None:
        self._api = api

    def of(self, kind: Kind, records: Sequence[Record]) -> Known:
        """What the rows of a table need."""
        known = Known()
        if kind.logical in CLOSINGS:
            self._closings(kind, records, known)
        if kind.logical == "incident":
            self._replies(records, known)
        if kind.logical == "lead":
            self._made(records, known)
        if kind.logical == "campaignresponse":
            self._people(records, known)
        return known

    def readable(self, entity: str) -> list[tuple[str, SchemaError]]:
        """What follows for an entity from tables beside its own that may not be read."""
        found = []
        for table, text in TABLES.get(entity, {}).items():
            try:
                self._api.try_out(table)
            except SchemaError as error:
                found.append((f"{table} may not be read: {text}", error))
        return found

    def _closings(self, kind: Kind, records: Sequence[Record], known: Known) -> None:
        """The last closing of each; a deal may have been opened again."""
        path, reference, more = CLOSINGS[kind.logical]
        ids = [str(record[kind.key]) for record in records if record.get("statecode")]
        for row in self._rows(path, reference, ids, f"{reference},actualend{more}", known, labels=bool(more)):
            at, key = row.get("actualend"), str(row.get(reference))
            if at and at > known.closed.get(key, ""):
                known.closed[key] = at
                known.rivals.pop(key, None)
                if rival := row.get(RIVAL):
                    known.rivals[key] = str(rival)

    def _replies(self, records: Sequence[Record], known: Known) -> None:
        """When the service level of the first response was met."""
        ids = [str(kpi) for record in records if (kpi := record.get(REPLY))]
        for row in self._rows("slakpiinstances", "slakpiinstanceid", ids, "slakpiinstanceid,succeededon", known):
            if at := row.get("succeededon"):
                known.replies[str(row["slakpiinstanceid"])] = at

    def _made(self, leads: Sequence[Record], known: Known) -> None:
        """When the deals came to be that leads became; none, if deals may not be read."""
        ids = [str(deal) for lead in leads if (deal := lead.get("_qualifyingopportunityid_value"))]
        for row in self._rows("opportunities", "opportunityid", ids, "opportunityid,createdon", None):
            known.made[str(row["opportunityid"])] = row["createdon"]

    def _people(self, responses: Sequence[Record], known: Known) -> None:
        """Who responded: the customer among an activity's parties."""
        ids = [str(response["activityid"]) for response in responses]
        select = "_activityid_value,_partyid_value,participationtypemask"
        for row in self._rows("activityparties", "_activityid_value", ids, select, known):
            if row.get("participationtypemask") == CUSTOMER and row.get("_partyid_value"):
                known.people.setdefault(str(row["_activityid_value"]), str(row["_partyid_value"]))

    def _rows(
        self, path: str, reference: str, ids: Sequence[str], select: str, known: Known | None, *, labels: bool = False
    ) -> list[Record]:
        """Rows that refer to one of ``ids``; a table that may not be read is told in the warnings of ``known``."""
        try:
            return list(self._api.belonging(path, reference, ids, select, labels=labels)) if ids else []
        except SchemaError as error:
            if known is not None:
                text = next(texts[path] for texts in TABLES.values() if path in texts)
                told = f"Dynamics' {path} may not be read: {text}. {error.hint or ''}".rstrip()
                known.warnings = (*known.warnings, told)
            return []
