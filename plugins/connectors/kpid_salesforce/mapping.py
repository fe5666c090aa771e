"""Salesforce records as canonical rows. Pure: what a field means is said here and nowhere else.

Won and lost are read from Salesforce's flags, never from the names of stages, unless the configuration says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from kpid_salesforce.activity_rows import call_row, event_row, message_row, task_row
from kpid_salesforce.case_rows import case_row
from kpid_salesforce.commerce_rows import (
    campaign_row,
    contract_row,
    deal_line_row,
    influence_row,
    member_row,
    order_line_row,
    order_row,
    product_row,
    refund_row,
)
from kpid_salesforce.values import Place, Record, Row, core, custom, midnight, pipeline_of, share, stage_in

LIFECYCLES = {"customer": "customer", "prospect": "prospect", "competitor": "competitor"}
DEAL_TYPES = {
    "New Business": "new", "New Customer": "new", "Existing Business": "expansion", "Existing Customer - Upgrade": "expansion",
    "Existing Customer - Replacement": "expansion", "Renewal": "renewal", "Existing Customer - Renewal": "renewal",
}  # fmt: skip
FORECASTS = {
    "Omitted": "omitted", "Pipeline": "pipeline", "BestCase": "best_case", "MostLikely": "best_case", "Forecast": "commit",
    "Closed": "closed",
}  # fmt: skip


def account_row(record: Record, place: Place) -> Row:
    """A company, or a person who is a customer."""
    return {
        **core(record),
        "name": record.get("Name"),
        "parent_id": record.get("ParentId"),
        "owner_id": record.get("OwnerId"),
        "domain": _domain(record.get("Website")),
        "industry": record.get("Industry"),
        "country": record.get("BillingCountry"),
        "lifecycle": _lifecycle(record.get("Type")),
        "lead_source": record.get("AccountSource"),
        **custom(record, place, "accounts"),
    }


def _domain(website: Any) -> str | None:
    """The host of an address, which may stand there without a scheme."""
    if not isinstance(website, str) or not website.strip():
        return None
    text = website.strip()
    try:
        host = urlsplit(text if "//" in text else f"//{text}").hostname
    except ValueError:
        return None
    return host.removeprefix("www.") if host else None


def _lifecycle(kind: Any) -> str | None:
    text = str(kind or "").casefold()
    if "partner" in text:
        return "partner"
    return next((meaning for word, meaning in LIFECYCLES.items() if text.startswith(word)), None)


def contact_row(record: Record, place: Place) -> Row:
    """A person at a company."""
    opted_out = record.get("HasOptedOutOfEmail")
    return {
        **core(record),
        "name": record.get("Name"),
        "email": record.get("Email"),
        "account_id": record.get("AccountId"),
        "owner_id": record.get("OwnerId"),
        "email_opt_in": None if opted_out is None else not opted_out,
        "lead_source": record.get("LeadSource"),
        **custom(record, place, "contacts"),
    }


def lead_row(record: Record, place: Place) -> Row:
    """An enquiry, with what became of it."""
    is_converted = record.get("IsConverted")
    return {
        **core(record),
        "name": record.get("Name"),
        "email": record.get("Email"),
        "company": record.get("Company"),
        "status": record.get("Status"),
        "owner_id": record.get("OwnerId"),
        "lead_source": record.get("LeadSource"),
        "converted_at": midnight(record.get("ConvertedDate"), place.zone) if is_converted else None,
        "converted_account_id": record.get("ConvertedAccountId"),
        "converted_contact_id": record.get("ConvertedContactId"),
        "converted_deal_id": record.get("ConvertedOpportunityId"),
        **custom(record, place, "leads"),
    }


def deal_row(record: Record, place: Place) -> Row:
    """A deal. While it is open, ``CloseDate`` is the date that the seller expects; sellers may change it later, too.

    It was closed when its stage last changed.
    """
    state, day = state_of(record, place.states, record.get("StageName")), record.get("CloseDate")
    is_open, pipeline = state == "open", pipeline_of(record.get("RecordTypeId"), by_record_type=place.by_record_type)
    return {
        **core(record),
        "name": record.get("Name"),
        "account_id": record.get("AccountId"),
        "primary_contact_id": record.get("ContactId"),
        "owner_id": record.get("OwnerId"),
        "pipeline_id": pipeline,
        "stage_id": stage_in(pipeline, record.get("StageName")),
        "state": state,
        "amount": record.get("Amount"),
        "currency": record.get("CurrencyIsoCode") or place.currency,
        "probability": share(record.get("Probability")),
        "forecast_category": FORECASTS.get(record.get("ForecastCategory") or ""),
        "deal_type": DEAL_TYPES.get(record.get("Type") or ""),
        "lead_source": record.get("LeadSource"),
        "campaign_id": record.get("CampaignId"),
        "expected_close_date": day if is_open else None,
        "crm_close_date": day,
        "closed_at": None if is_open else record.get("LastStageChangeDate") or midnight(day, place.zone),
        "next_step": record.get("NextStep"),
        "last_activity_at": midnight(record.get("LastActivityDate"), place.zone),
        **custom(record, place, "deals"),
    }


def state_of(record: Record, states: Mapping[str, str], *names: Any) -> str:
    """Open, won or lost: as configured for one of the stage's names, or by Salesforce's flags."""
    told = next((states[name] for name in names if name in states), None)
    if told is not None:
        return told
    if record.get("IsWon"):
        return "won"
    return "lost" if record.get("IsClosed") else "open"


MAPPERS: Mapping[str, Callable[[Record, Place], Row]] = {
    "Account": account_row,
    "Contact": contact_row,
    "Lead": lead_row,
    "Opportunity": deal_row,
    "Task": task_row,
    "Event": event_row,
    "EmailMessage": message_row,
    "VoiceCall": call_row,
    "Case": case_row,
    "Product2": product_row,
    "OpportunityLineItem": deal_line_row,
    "Order": order_row,
    "OrderItem": order_line_row,
    "reductions": refund_row,
    "Contract": contract_row,
    "Campaign": campaign_row,
    "CampaignMember": member_row,
    "CampaignInfluence": influence_row,
}
"""How a record of each object becomes a row."""


def columns_of(mappers: Iterable[Callable[[Record, Place], Row]], fields: Mapping[str, str]) -> frozenset[str]:
    """The canonical columns that some mappers fill, as far as Salesforce has a value."""
    place = Place(ZoneInfo("UTC"), fields=fields)
    return frozenset(name for to_row in mappers for name in to_row({"Id": "0"}, place))
