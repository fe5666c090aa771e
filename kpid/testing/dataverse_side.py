"""The tables of a fake Dataverse environment that are only asked beside others: closings, parties, service levels, teams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from kpid.testing.api import Request
from kpid.testing.crm import Crm, Record
from kpid.testing.dataverse_query import wanted_ids
from kpid.testing.dataverse_shapes import BASE, CURRENCIES, Lookup, rendered, stamp

CLOSES = {"opportunitycloses": ("_opportunityid_value", "deals"), "incidentresolutions": ("_incidentid_value", "tickets")}
SIDE = {*CLOSES, "organizations", "teams", "activityparties", "slakpiinstances"}
KPI, RIVAL = "f1-", "Example Rival"
"""An incident's service-level KPI has the incident's id behind this; the rival is whom deals are lost to."""


def side_rows(name: str, request: Request, crm: Crm, teams: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of one of the tables that are not asked for by what changed."""
    if name == "organizations":
        return [{"_basecurrencyid_value": next(key for key, (iso, _) in CURRENCIES.items() if iso == BASE)}]
    if name == "teams":
        return [{"teamid": key, "name": team} for key, team in teams.items()]
    told = request.arg("$filter")
    if name == "activityparties":
        return [row for key in wanted_ids(told, "_activityid_value") or () for row in _parties(crm, key)]
    if name == "slakpiinstances":
        found = {key: crm.kinds["tickets"].get(key.removeprefix(KPI)) for key in wanted_ids(told, "slakpiinstanceid") or ()}
        return [
            {"slakpiinstanceid": key, "succeededon": stamp(record.values.get("first_reply_at"))}
            for key, record in found.items()
            if record is not None
        ]
    reference, kind = CLOSES[name]
    wanted = (crm.kinds[kind].get(key) for key in wanted_ids(told, reference) or ())
    return [row for record in wanted if record is not None for row in _closings(kind, reference, record)]


def _parties(crm: Crm, activity: str) -> Iterator[dict[str, Any]]:
    """Who takes part in a campaign's response: its owner, and the customer."""
    response = crm.kinds["members"].get(activity)
    if response is None:
        return
    for role, person, table in ((9, None, "systemuser"), (11, response.values.get("person_id"), "contact")):
        party = {"_activityid_value": activity, "participationtypemask": role, "_partyid_value": Lookup(person, table)}
        yield dict(rendered(party))


def _closings(kind: str, reference: str, record: Record) -> Iterator[dict[str, Any]]:
    rival = {"_competitorid_value": RIVAL, "_competitorid_value@OData.Community.Display.V1.FormattedValue": RIVAL}
    for number, at in enumerate(closings(record)):
        row = {"activityid": f"{record.id}-{number}", reference: record.id, "actualend": stamp(at)}
        yield {**row, **(rival if record.values.get("state") == "lost" else {})} if kind == "deals" else row


def closings(record: Record) -> list[datetime]:
    """The instants at which a deal or ticket was closed, of which the last one holds."""
    now = record.values.get("closed_at")
    if now is None:
        return []
    earlier = {value for name, value, _ in record.log if name == "closed_at" and value is not None and value < now}
    return [*sorted(earlier), now]
