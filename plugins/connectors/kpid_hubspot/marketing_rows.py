"""Contacts and leads as canonical rows. Pure."""

from __future__ import annotations

from kpid_hubspot.values import Links, Place, Record, Row, core, custom, full_name, text


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
