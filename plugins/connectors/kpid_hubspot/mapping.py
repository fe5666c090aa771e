"""HubSpot records as canonical rows. Pure: what a property means is said here and nowhere else.

Won and lost are read from the pipeline's metadata, never from names: companies rename their stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from kpid.plugin import SchemaError
from kpid_hubspot.activity_rows import call_row, email_row, meeting_row, task_row
from kpid_hubspot.commerce_rows import invoice_row, line_row, order_row, product_row
from kpid_hubspot.history import versions
from kpid_hubspot.marketing_rows import contact_row, lead_row
from kpid_hubspot.objects import Kind
from kpid_hubspot.service_rows import feedback_row, ticket_row
from kpid_hubspot.values import Links, Place, Record, Row, core, custom, instant, local_date, number, text

DEAL_TYPES = {"newbusiness": "new", "existingbusiness": "expansion", "renewal": "renewal"}
CUSTOMERS = {"customer", "evangelist"}


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


def _entered(record: Record, place: Place) -> datetime | str | None:
    """When the deal got into its stage, for closed deals without a close date."""
    found = versions(record, "dealstage")
    return instant(found[0].get("timestamp"), place.zone) if found else None


MAPPERS: Mapping[str, Callable[[Record, Links, Place], Row]] = {
    "companies": account_row,
    "contacts": contact_row,
    "deals": deal_row,
    "calls": call_row,
    "meetings": meeting_row,
    "emails": email_row,
    "tasks": task_row,
    "tickets": ticket_row,
    "leads": lead_row,
    "products": product_row,
    "line_items": line_row,
    "orders": order_row,
    "invoices": invoice_row,
    "feedback_submissions": feedback_row,
}
"""How a record of each type becomes a row."""


def columns_of(kinds: Iterable[Kind], fields: Mapping[str, str]) -> frozenset[str]:
    """The canonical columns that records of some types fill, as far as HubSpot has a value."""
    blank: Record = {"id": "0", "properties": {"dealstage": "0"}}
    place = Place(ZoneInfo("UTC"), fields=fields)
    return frozenset(name for kind in kinds for name in MAPPERS[kind.name](blank, {}, place))
