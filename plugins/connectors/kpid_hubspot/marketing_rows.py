"""Contacts, leads and campaigns as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpid_hubspot.values import Links, Place, Record, Row, core, custom, full_name, instant, local_date, number, text


def contact_row(record: Record, links: Links, place: Place) -> Row:
    """A contact. Its modified property has a name of its own."""
    opted_out = text(record, "hs_email_optout")
    return {
        **core(record, place, modified="lastmodifieddate"),
        "name": full_name(text(record, "firstname"), text(record, "lastname")),
        "email": text(record, "email"),
        "account_id": text(record, "associatedcompanyid"),
        "lifecycle": text(record, "lifecyclestage"),
        "email_opt_in": None if opted_out is None else opted_out != "true",
        "lead_source": text(record, "hs_analytics_source"),
        **custom(record, place, "contacts"),
    }


def lead_row(record: Record, links: Links, place: Place) -> Row:
    """A lead of the Sales Hub."""
    return {
        **core(record, place),
        "name": text(record, "hs_lead_name"),
        "status": text(record, "hs_pipeline_stage"),
        **custom(record, place, "leads"),
    }


def campaign_row(campaign: Record, place: Place) -> Row:
    """A campaign."""
    return {
        "native_id": str(campaign["id"]),
        "created_at": campaign.get("createdAt"),
        "updated_at": campaign.get("updatedAt"),
        "name": text(campaign, "hs_name"),
        "status": text(campaign, "hs_campaign_status"),
        "owner_id": text(campaign, "hs_owner"),
        "starts_on": local_date(instant(text(campaign, "hs_start_date"), place.zone), place.zone),
        "ends_on": local_date(instant(text(campaign, "hs_end_date"), place.zone), place.zone),
    }


def cost_rows(campaign: Record, totals: Mapping[str, Any], place: Place) -> list[Row]:
    """What was spent on a campaign, on the days on which it was entered. What is planned costs nothing."""
    rows = []
    for item in totals.get("spendItems") or ():
        at = instant(str(item.get("createdAt") or ""), place.zone)
        rows.append(
            {
                "native_id": f"{campaign['id']}-{item['id']}",
                "created_at": at or None,
                "updated_at": instant(str(item.get("updatedAt") or ""), place.zone) or at or None,
                "campaign_id": str(campaign["id"]),
                "scope": "marketing",
                "date": local_date(at, place.zone) or None,
                "amount": number(str(item["amount"])) if item.get("amount") is not None else None,
                "currency": totals.get("currencyCode") or place.currency,
            }
        )
    return rows
