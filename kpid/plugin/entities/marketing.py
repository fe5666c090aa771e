"""Campaigns, e-mails, lists and the web site."""

from __future__ import annotations

from kpid.plugin.entities.columns import date, entity, instant, interval, money, number, ref, text

campaigns = entity(
    "campaigns",
    "Marketing campaigns.",
    text("name"),
    text("type"),
    text("channel"),
    text("status"),
    ref("owner_id", "users"),
    ref("parent_id", "campaigns"),
    date("starts_on"),
    date("ends_on", "last day"),
)

campaign_costs = entity(
    "campaign_costs",
    "What campaigns and channels cost; a cost of a longer span is spread evenly over its days.",
    ref("campaign_id", "campaigns"),
    text("channel", "lead source that the cost belongs to"),
    text("scope", "marketing or sales"),
    date("date", "first day"),
    date("last_day", "last day of the span; null: the same day"),
    money("amount"),
    text("currency"),
)

campaign_members = entity(
    "campaign_members",
    "People who were shown a campaign, and what they did.",
    ref("campaign_id", "campaigns"),
    text("person_id", "contact, lead or an anonymous id"),
    instant("exposed_at"),
    instant("responded_at"),
    instant("converted_at"),
)

attributions = entity(
    "attributions",
    "Which campaign a sale is credited to; weights of one deal or order and model add up to 1.",
    ref("deal_id", "deals"),
    ref("order_id", "orders"),
    ref("campaign_id", "campaigns"),
    text("channel"),
    text("model", "first, last, linear ..."),
    money("weight", "0 to 1"),
)

email_sends = entity(
    "email_sends",
    "One e-mail to one recipient, and what became of it.",
    ref("campaign_id", "campaigns"),
    text("message_id", "the mailing"),
    text("recipient_id"),
    instant("sent_at"),
    instant("delivered_at"),
    instant("bounced_at"),
    text("bounce_kind", "hard, soft"),
    instant("first_open_at"),
    number("open_count"),
    number("machine_open_count", "opens by mail programs' privacy proxies"),
    instant("first_click_at"),
    number("click_count"),
    number("bot_click_count"),
    instant("unsubscribed_at"),
    instant("complained_at"),
)

list_membership_history = entity(
    "list_membership_history",
    "Who was on which list when.",
    text("list_id"),
    text("person_id"),
    *interval(),
    text("exit_reason", "unsubscribed, hard_bounce, complaint, removed"),
)

web_daily = entity(
    "web_daily",
    "Visits of the web site, counted by the source: distinct visitors of days do not add up to those of a month.",
    text("period_kind", "day; week or month where the source counts distinct visitors of longer spans"),
    date("date", "first day, in the web source's own zone"),
    text("channel", "where visitors came from"),
    text("page_group"),
    number("visitors", "distinct in the span"),
    number("sessions"),
    number("bounces", "sessions of a single page"),
    number("conversions", "all goals"),
    number("duration_s", "seconds, all sessions together"),
)

web_goals = entity(
    "web_goals",
    "Conversions of the web site by goal.",
    text("period_kind", "as in web_daily"),
    date("date"),
    text("channel"),
    text("page_group"),
    text("goal"),
    number("conversions"),
)
