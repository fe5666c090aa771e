"""HubSpot records as canonical rows. Pure: what a property means is said here and nowhere else.

Won and lost are read from the pipeline's metadata, never from names: companies rename their stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import SchemaError
from kpid_hubspot.marketing_rows import contact_row, lead_row
from kpid_hubspot.service_rows import call_row, meeting_row, ticket_row
from kpid_hubspot.values import Links, Place, Record, Row, Stage, core, custom, full_name, instant, local_date, number, text

DEAL_TYPES = {"newbusiness": "new", "existingbusiness": "expansion", "renewal": "renewal"}
CUSTOMERS = {"customer", "evangelist"}


# -- records -----------------------------------------------------------------------------------------------------------------


def account_row(record: Record, links: Links, place: Place) -> Row:
    """A company."""
    stage = text(record, "lifecyclestage")
    return {
        **core(record, place),
        "name": text(record, "name"),
        "domain": text(record, "domain"),
        "industry": text(record, "industry"),
        "country": text(record, "country"),
        "lifecycle": None if stage is None or stage == "other" else "customer" if stage in CUSTOMERS else "prospect",
        "became_customer_at": instant(text(record, "hs_v2_date_entered_customer"), place.zone),
        "lead_source": text(record, "hs_analytics_source"),
        **custom(record, place, "accounts"),
    }


def deal_row(record: Record, links: Links, place: Place) -> Row:
    """A deal. Only a closed stage makes ``closedate`` a closing: while a deal is open it is the date that the seller expects."""
    if "dealstage" not in record["properties"]:
        raise SchemaError(
            "HubSpot gave deals without the property dealstage",
            where="deals",
            hint="The token may not read it: without stages no deal can be called won or lost",
        )
    stage = place.stages.get(text(record, "dealstage") or "")
    state = stage.state if stage else _flagged_state(record)
    closing = instant(text(record, "closedate"), place.zone)
    is_open = state == "open"
    probability = number(text(record, "hs_deal_stage_probability"))
    return {
        **core(record, place),
        "name": text(record, "dealname"),
        "account_id": links.get("companies"),
        "primary_contact_id": links.get("contacts"),
        "pipeline_id": stage.pipeline if stage else text(record, "pipeline"),
        "stage_id": text(record, "dealstage"),
        "state": state,
        "amount": number(text(record, "amount")),
        "currency": text(record, "deal_currency_code") or place.currency,
        "probability": probability if probability is not None or stage is None else stage.probability,
        "deal_type": DEAL_TYPES.get(text(record, "dealtype") or ""),
        "lead_source": text(record, "hs_analytics_source"),
        "expected_close_date": local_date(closing, place.zone) if is_open else None,
        "crm_close_date": local_date(closing, place.zone),
        "closed_at": None if is_open else closing or _entered(record, place),
        "loss_reason": text(record, "closed_lost_reason") if state == "lost" else None,
        "last_activity_at": instant(text(record, "notes_last_updated"), place.zone),
        **custom(record, place, "deals"),
    }


def _flagged_state(record: Record) -> str:
    """For a stage that no pipeline knows any more: HubSpot's own flags."""
    if text(record, "hs_is_closed_won") == "true":
        return "won"
    return "lost" if text(record, "hs_is_closed") == "true" else "open"


def _versions(record: Record, name: str) -> Sequence[Mapping[str, Any]]:
    return (record.get("propertiesWithHistory") or {}).get(name) or ()


def _entered(record: Record, place: Place) -> datetime | str | None:
    """When the deal got into its stage, for closed deals without a close date."""
    versions = _versions(record, "dealstage")
    return instant(versions[0].get("timestamp"), place.zone) if versions else None


def history_rows(record: Record, place: Place) -> list[Row]:
    """The stages that a deal went through, as half-open intervals.

    An interval's id is made of deal and instant: what HubSpot later leaves out of a long history stays as it was stored,
    and the last interval gets its end when the deal moves on.
    """
    moves: dict[datetime, str] = {}
    for version in reversed(_versions(record, "dealstage")):  # newest first: of two at one instant the newer one counts
        at, stage = instant(version.get("timestamp"), place.zone), version.get("value")
        if isinstance(at, datetime) and stage:
            moves[at] = stage
    starts = sorted(moves)
    ends: list[datetime | None] = [*starts[1:], None]
    deal = str(record["id"])
    return [
        {
            "native_id": f"{deal}-{_epoch_ms(start)}",
            "deal_id": deal,
            "stage_id": moves[start],
            "pipeline_id": place.stages[moves[start]].pipeline if moves[start] in place.stages else None,
            "valid_from": start,
            "valid_to": end,
            "origin": "crm",
            "updated_at": end or start,
        }
        for start, end in zip(starts, ends, strict=True)
    ]


def _epoch_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


# -- metadata ----------------------------------------------------------------------------------------------------------------


def owner_row(owner: Mapping[str, Any]) -> Row:
    """A person; archived ones too, for their deals of the past."""
    teams = owner.get("teams") or []
    primary = next((team.get("name") for team in teams if team.get("primary")), teams[0].get("name") if teams else None)
    return {
        "native_id": str(owner["id"]),
        "created_at": owner.get("createdAt"),
        "updated_at": owner.get("updatedAt"),
        "name": full_name(owner.get("firstName"), owner.get("lastName")) or owner.get("email"),
        "email": owner.get("email") or None,
        "team": primary,
        "is_active": not owner.get("archived", False),
    }


def pipeline_row(pipeline: Mapping[str, Any]) -> Row:
    """A pipeline."""
    return {
        "native_id": str(pipeline["id"]),
        "created_at": pipeline.get("createdAt"),
        "updated_at": pipeline.get("updatedAt"),
        "name": pipeline.get("label"),
        "sort_order": pipeline.get("displayOrder"),
    }


def stage_rows(pipeline: Mapping[str, Any]) -> list[Row]:
    """Its stages."""
    known = stages_of([pipeline])
    return [
        {
            "native_id": str(stage["id"]),
            "created_at": stage.get("createdAt"),
            "updated_at": stage.get("updatedAt"),
            "name": stage.get("label"),
            "pipeline_id": str(pipeline["id"]),
            "sort_order": stage.get("displayOrder"),
            "probability": known[str(stage["id"])].probability,
            "state": known[str(stage["id"])].state,
        }
        for stage in pipeline.get("stages", ())
    ]


def stages_of(pipelines: Sequence[Mapping[str, Any]]) -> dict[str, Stage]:
    """All stages by id. Won and lost are told by their metadata, never by their names: companies rename them."""
    return {
        str(stage["id"]): Stage(str(stage["id"]), str(pipeline["id"]), *_meaning(stage.get("metadata") or {}))
        for pipeline in pipelines
        for stage in pipeline.get("stages", ())
    }


def _meaning(metadata: Mapping[str, Any]) -> tuple[str, Decimal | None]:
    ticket = str(metadata.get("ticketState") or "").upper()
    if ticket:
        return ("closed" if ticket == "CLOSED" else "open"), None
    odds = number(str(metadata.get("probability") or "") or None)
    probability = odds if isinstance(odds, Decimal) and odds.is_finite() else None
    if str(metadata.get("isClosed", "")).lower() != "true":
        return "open", probability
    return ("won" if probability is not None and probability >= 1 else "lost"), probability


MAPPERS: Mapping[str, Callable[[Record, Links, Place], Row]] = {
    "companies": account_row,
    "contacts": contact_row,
    "deals": deal_row,
    "calls": call_row,
    "meetings": meeting_row,
    "tickets": ticket_row,
    "leads": lead_row,
}
"""How a record of each type becomes a row."""


def columns_of(kinds: Iterable[str], fields: Mapping[str, str]) -> frozenset[str]:
    """The canonical columns that records of some types fill, as far as HubSpot has a value."""
    blank: Record = {"id": "0", "properties": {"dealstage": "0"}}
    place = Place(ZoneInfo("UTC"), fields=fields)
    return frozenset(name for kind in kinds for name in MAPPERS[kind](blank, {}, place))
