"""Support requests and surveys."""

from __future__ import annotations

from kpid.plugin.entities.columns import entity, flag, instant, interval, money, number, ref, text

tickets = entity(
    "tickets",
    "Support requests.",
    ref("account_id", "accounts"),
    ref("requester_id", "contacts"),
    ref("owner_id", "users"),
    text("group_id"),
    text("subject"),
    text("channel"),
    text("priority"),
    text("category"),
    text("status", "new, open, pending, on_hold, solved, closed"),
    flag("created_by_agent"),
    text("schedule_id", "opening hours that count"),
    instant("first_reply_at"),
    instant("first_solved_at"),
    instant("last_solved_at"),
    instant("closed_at", "null while not solved and not closed"),
    number("reopen_count"),
    number("reply_count_public"),
)

ticket_status_history = entity(
    "ticket_status_history",
    "What state a ticket was in when.",
    ref("ticket_id", "tickets"),
    text("status", "new, open, pending, on_hold, solved, closed"),
    *interval(),
    text("origin", "crm or observed"),
)

ticket_comments = entity(
    "ticket_comments",
    "What was written on tickets.",
    ref("ticket_id", "tickets"),
    text("author_role", "agent, end_user, bot"),
    ref("author_id", "users"),
    flag("is_public"),
    instant("at"),
)

ticket_schedule_history = entity(
    "ticket_schedule_history",
    "Which opening hours a ticket was under when.",
    ref("ticket_id", "tickets"),
    text("schedule_id", "name of a calendar"),
    *interval(),
)

survey_sends = entity(
    "survey_sends",
    "Surveys that were sent.",
    text("kind", "nps, csat, ces"),
    text("respondent_id"),
    ref("account_id", "accounts"),
    ref("ticket_id", "tickets"),
    text("wave_id"),
    instant("sent_at"),
    instant("delivered_at", "null: bounced, or not yet"),
    instant("closes_at"),
)

survey_responses = entity(
    "survey_responses",
    "Answers to NPS, CSAT and CES surveys.",
    text("kind", "nps, csat, ces"),
    money("score"),
    money("scale_min"),
    money("scale_max"),
    ref("send_id", "survey_sends"),
    text("respondent_id"),
    ref("account_id", "accounts"),
    ref("ticket_id", "tickets"),
    ref("owner_id", "users", "the agent at the time of the answer"),
    text("wave_id"),
    instant("submitted_at"),
    text("comment"),
)
