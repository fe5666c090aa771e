"""Leads, pipelines, deals and what salespeople do."""

from __future__ import annotations

from kpid.plugin.entities.columns import date, entity, flag, instant, interval, money, number, ref, text

leads = entity(
    "leads",
    "Enquiries that are not yet deals.",
    text("name"),
    text("email"),
    text("company"),
    text("status"),
    ref("owner_id", "users"),
    text("lead_source"),
    text("source_detail"),
    text("campaign"),
    text("campaign_id"),
    text("region"),
    instant("first_response_at", "first outbound touch by a person"),
    instant("qualified_at"),
    instant("disqualified_at"),
    instant("converted_at"),
    ref("converted_account_id", "accounts"),
    ref("converted_contact_id", "contacts"),
    ref("converted_deal_id", "deals"),
)

pipelines = entity("pipelines", "Sales and support pipelines.", text("name"), number("sort_order"))

stages = entity(
    "stages",
    "Stages of pipelines.",
    text("name"),
    ref("pipeline_id", "pipelines"),
    number("sort_order"),
    money("probability", "0 to 1"),
    text("state", "open, won, lost"),
    flag("is_qualified"),
    instant("active_from"),
    instant("active_to"),
)

deals = entity(
    "deals",
    "Sales opportunities.",
    text("name"),
    ref("account_id", "accounts"),
    ref("primary_contact_id", "contacts"),
    ref("lead_id", "leads"),
    ref("owner_id", "users"),
    ref("pipeline_id", "pipelines"),
    ref("stage_id", "stages"),
    text("state", "open, won, lost"),
    money("amount"),
    text("currency", "ISO 4217"),
    money("recurring_amount"),
    text("recurring_interval", "month, quarter, year"),
    money("probability", "0 to 1"),
    text("forecast_category", "omitted, pipeline, best_case, commit, closed"),
    text("deal_type", "new, expansion, renewal"),
    text("product", "main product"),
    text("region"),
    text("lead_source"),
    text("campaign"),
    text("campaign_id"),
    date("expected_close_date"),
    date("crm_close_date"),
    instant("opened_at", "last change into open, if it was ever closed"),
    instant("closed_at", "last change into won or lost; null while open"),
    number("close_count", "how often it was closed"),
    text("loss_reason"),
    text("loss_competitor"),
    text("next_step"),
    instant("last_activity_at"),
)

deal_stage_history = entity(
    "deal_stage_history",
    "Half-open intervals that a deal spent in a stage; valid_to null = there now.",
    ref("deal_id", "deals"),
    ref("stage_id", "stages"),
    ref("pipeline_id", "pipelines"),
    instant("valid_from"),
    instant("valid_to"),
    ref("entered_by", "users"),
    number("seq", "position in the deal's history"),
    text("origin", "crm: from the CRM's history; observed: seen by differing syncs"),
)

deal_field_history = entity(
    "deal_field_history",
    "What a deal's fields were when.",
    ref("deal_id", "deals"),
    text("field", "amount, currency, owner_id, expected_close_date, probability, forecast_category, state"),
    text("value", "as text: a decimal with a point, an ISO date, an id"),
    *interval(),
    ref("changed_by", "users"),
    text("origin", "crm or observed"),
)

products = entity("products", "What is sold.", text("name"), text("code"), text("category"), flag("is_active"))

deal_lines = entity(
    "deal_lines",
    "Product lines of deals.",
    ref("deal_id", "deals"),
    ref("product_id", "products"),
    money("quantity"),
    money("unit_price"),
    money("discount", "an amount"),
    money("amount", "after the discount"),
    text("currency"),
    flag("is_recurring"),
    text("interval", "month, quarter, year"),
)

activities = entity(
    "activities",
    "Calls, meetings, e-mails, tasks, notes, messages.",
    text("type", "call, meeting, email, task, note, message"),
    text("direction", "inbound, outbound, internal, unknown"),
    text("subject"),
    ref("owner_id", "users", "who did it"),
    ref("account_id", "accounts"),
    ref("contact_id", "contacts"),
    ref("deal_id", "deals"),
    ref("lead_id", "leads"),
    instant("scheduled_start"),
    instant("scheduled_end"),
    instant("occurred_at"),
    instant("ended_at"),
    text("status", "planned, completed, cancelled, no_show"),
    text("outcome"),
    number("duration_s", "seconds"),
    flag("is_automated"),
)

activity_links = entity(
    "activity_links",
    "What an activity was about or who took part, beyond the activity's own references.",
    ref("activity_id", "activities"),
    text("object_type", "accounts, contacts, deals, leads, users"),
    text("object_id", "id of the record"),
)
