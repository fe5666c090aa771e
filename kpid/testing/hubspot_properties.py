"""The properties that HubSpot's types have in every portal, as far as anybody here asks for them."""

from __future__ import annotations

from collections.abc import Mapping

_KEPT = {"hs_object_id", "hs_lastmodifieddate", "hs_createdate"}
_OWNED = _KEPT | {"hubspot_owner_id", "createdate"}
_ENGAGEMENT = _KEPT | {"hubspot_owner_id", "hs_timestamp"}

STANDARD: Mapping[str, frozenset[str]] = {
    "companies": frozenset(
        _OWNED | {"name", "domain", "industry", "country", "lifecyclestage", "hs_analytics_source", "hs_merged_object_ids"}
    ),
    "contacts": frozenset(
        _OWNED
        | {
            "firstname", "lastname", "email", "lifecyclestage", "associatedcompanyid", "hs_email_optout", "hs_analytics_source",
            "lastmodifieddate", "hs_merged_object_ids",
        }
    ),
    "deals": frozenset(
        _OWNED
        | {
            "dealname", "dealstage", "pipeline", "amount", "deal_currency_code", "closedate", "hs_is_closed", "hs_is_closed_won",
            "hs_deal_stage_probability", "dealtype", "closed_lost_reason", "hs_analytics_source", "notes_last_updated",
            "hs_manual_forecast_category", "hs_merged_object_ids",
        }
    ),
    "calls": frozenset(
        _ENGAGEMENT
        | {"hs_call_direction", "hs_call_duration", "hs_call_disposition", "hs_call_status", "hs_call_title"}
    ),
    "meetings": frozenset(
        _ENGAGEMENT | {"hs_meeting_start_time", "hs_meeting_end_time", "hs_meeting_outcome", "hs_meeting_title"}
    ),
    "emails": frozenset(_ENGAGEMENT | {"hs_email_direction", "hs_email_status", "hs_email_subject"}),
    "tasks": frozenset(
        _ENGAGEMENT | {"hs_task_status", "hs_task_type", "hs_task_subject", "hs_task_completion_date", "hs_task_priority"}
    ),
    "tickets": frozenset(
        _OWNED
        | {
            "subject", "hs_pipeline", "hs_pipeline_stage", "closed_date", "first_agent_reply_date", "hs_ticket_priority",
            "hs_ticket_category", "source_type", "hs_merged_object_ids",
        }
    ),
    "leads": frozenset(_OWNED | {"hs_lead_name", "hs_pipeline", "hs_pipeline_stage", "hs_lead_type"}),
    "products": frozenset(_OWNED | {"name", "hs_sku", "price", "hs_product_type"}),
    "line_items": frozenset(
        _KEPT
        | {
            "name", "hs_product_id", "quantity", "price", "amount", "discount", "hs_discount_percentage", "hs_total_discount",
            "hs_line_item_currency_code", "recurringbillingfrequency", "createdate",
        }
    ),
    "orders": frozenset(
        _OWNED
        | {
            "hs_order_name", "hs_currency_code", "hs_external_order_status", "hs_fulfillment_status", "hs_external_created_date",
            "hs_processed_date", "hs_total_price", "hs_tax",
        }
    ),
    "invoices": frozenset(
        _OWNED | {"hs_number", "hs_invoice_status", "hs_amount_billed", "hs_invoice_date", "hs_due_date", "hs_currency"}
    ),
    "feedback_submissions": frozenset(
        _KEPT
        | {
            "hs_survey_type", "hs_value", "hs_response_group", "hs_sentiment", "hs_survey_id", "hs_survey_name",
            "hs_survey_channel", "hs_content", "hs_submission_timestamp", "hs_contact_id",
        }
    ),
}  # fmt: skip
