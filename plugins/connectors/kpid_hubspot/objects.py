"""HubSpot's types: which of them fill which entity, their properties, and what has to be known to read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kpid_hubspot.settings import HubSpotSettings


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of record.

    Args:
        name: as it stands in addresses.
        properties: what we ask for beside the time of change.
        history: of these also the former values.
        links: types of which we want the associated record.
        prefix: what its ids begin with here; empty if nothing else fills the entity.
        modified: the property that says when a record changed. With the wrong one, search finds nothing and says 200.
        stage: the property that names the stage; empty if there are none.
        merges: its records can be merged.
        only: a property, and the values with which a record counts.
        optional: these properties may be absent without a word: editions and features bring them.
    """

    name: str
    properties: tuple[str, ...]
    history: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    prefix: str = ""
    modified: str = "hs_lastmodifieddate"
    stage: str = ""
    merges: bool = False
    only: tuple[str, tuple[str, ...]] | None = None
    optional: frozenset[str] = frozenset()

    def asked(self, own: Iterable[str] = ()) -> list[str]:
        """All properties to ask for, with the company's ``own``."""
        return list(dict.fromkeys((*self.properties, self.modified, *own)))


KINDS: Mapping[str, tuple[Kind, ...]] = {
    "accounts": (
        Kind(
            "companies",
            (
                "name", "domain", "industry", "country", "lifecyclestage", "hs_v2_date_entered_customer", "hs_analytics_source",
                "createdate", "hubspot_owner_id",
            ),
            merges=True,
            optional=frozenset({"hs_v2_date_entered_customer"}),
        ),
    ),
    "contacts": (
        Kind(
            "contacts",
            (
                "firstname", "lastname", "email", "lifecyclestage", "associatedcompanyid", "hs_email_optout",
                "hs_analytics_source", "createdate", "hubspot_owner_id",
            ),
            modified="lastmodifieddate",
            merges=True,
        ),
    ),
    "deals": (
        Kind(
            "deals",
            (
                "dealname", "dealstage", "pipeline", "amount", "deal_currency_code", "closedate", "hs_is_closed",
                "hs_is_closed_won", "hs_deal_stage_probability", "dealtype", "closed_lost_reason", "hs_analytics_source",
                "notes_last_updated", "createdate", "hubspot_owner_id",
            ),
            history=("dealstage", "amount", "deal_currency_code", "closedate", "hubspot_owner_id"),
            links=("companies", "contacts"),
            stage="dealstage",
            merges=True,
            optional=frozenset({"deal_currency_code"}),
        ),
    ),
    "activities": (
        Kind(
            "calls",
            (
                "hs_timestamp", "hs_call_direction", "hs_call_duration", "hs_call_disposition", "hs_call_status",
                "hs_call_title", "hubspot_owner_id",
            ),
            links=("deals", "companies", "contacts"),
            prefix="call-",
        ),
        Kind(
            "meetings",
            (
                "hs_timestamp", "hs_meeting_start_time", "hs_meeting_end_time", "hs_meeting_outcome", "hs_meeting_title",
                "hubspot_owner_id",
            ),
            links=("deals", "companies", "contacts"),
            prefix="meeting-",
        ),
        Kind(
            "emails",
            ("hs_timestamp", "hs_email_direction", "hs_email_status", "hs_email_subject", "hubspot_owner_id"),
            links=("deals", "companies", "contacts"),
            prefix="email-",
            optional=frozenset({"hs_email_subject"}),
        ),
        Kind(
            "tasks",
            ("hs_timestamp", "hs_task_status", "hs_task_subject", "hs_task_completion_date", "hubspot_owner_id"),
            links=("deals", "companies", "contacts"),
            prefix="task-",
            optional=frozenset({"hs_task_completion_date"}),
        ),
    ),
    "tickets": (
        Kind(
            "tickets",
            (
                "subject", "hs_pipeline", "hs_pipeline_stage", "closed_date", "first_agent_reply_date", "hs_ticket_priority",
                "hs_ticket_category", "source_type", "createdate", "hubspot_owner_id",
            ),
            history=("hs_pipeline_stage",),
            links=("companies", "contacts"),
            stage="hs_pipeline_stage",
            merges=True,
            optional=frozenset({"first_agent_reply_date"}),
        ),
    ),
    "leads": (Kind("leads", ("hs_lead_name", "hs_pipeline_stage", "hubspot_owner_id")),),
    "products": (Kind("products", ("name", "hs_sku", "hs_product_type"), optional=frozenset({"hs_product_type"})),),
    "deal_lines": (
        Kind(
            "line_items",
            (
                "hs_product_id", "quantity", "price", "amount", "discount", "hs_discount_percentage", "hs_total_discount",
                "hs_line_item_currency_code", "recurringbillingfrequency",
            ),
            links=("deals",),
            optional=frozenset({"hs_discount_percentage", "hs_total_discount", "hs_line_item_currency_code"}),
        ),
    ),
    "orders": (
        Kind(
            "orders",
            (
                "hs_external_order_status", "hs_external_created_date", "hs_processed_date", "hs_total_price", "hs_tax",
                "hs_currency_code", "hubspot_owner_id",
            ),
            links=("companies", "deals"),
            optional=frozenset({"hs_processed_date", "hs_tax"}),
        ),
        Kind(
            "invoices",
            ("hs_invoice_status", "hs_invoice_date", "hs_amount_billed", "hs_currency", "hubspot_owner_id"),
            links=("companies", "deals"),
            only=("hs_invoice_status", ("open", "paid", "voided")),
            optional=frozenset({"hubspot_owner_id"}),
        ),
    ),
    "survey_responses": (
        Kind(
            "feedback_submissions",
            (
                "hs_survey_type", "hs_value", "hs_survey_id", "hs_content", "hs_submission_timestamp", "hs_contact_id",
            ),
            links=("contacts", "companies", "tickets"),
            only=("hs_survey_type", ("NPS", "CSAT", "CES")),
            optional=frozenset({"hs_contact_id"}),
        ),
    ),
}  # fmt: skip
"""By entity the types that fill it."""
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kinds in KINDS.values() for kind in kinds}


def kinds_of(settings: HubSpotSettings) -> Mapping[str, tuple[Kind, ...]]:
    """By entity the types that the settings want."""
    activities = tuple(kind for kind in KINDS["activities"] if kind.name in settings.activity_types)
    orders = tuple(kind for kind in KINDS["orders"] if kind.name == settings.orders_from)
    return {**KINDS, "activities": activities, "orders": orders}
