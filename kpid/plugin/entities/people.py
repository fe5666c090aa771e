"""Users, teams, accounts and contacts."""

from __future__ import annotations

from kpid.plugin.entities.columns import entity, flag, instant, interval, money, ref, text

users = entity(
    "users",
    "People who work with the CRM.",
    text("name"),
    text("email"),
    text("role", "seller, manager, agent, marketer, service"),
    text("team"),
    text("region"),
    ref("manager_id", "users"),
    flag("is_active"),
    instant("active_from"),
    instant("active_to"),
    text("timezone"),
    text("calendar_id"),
)

teams = entity("teams", "Teams of users.", text("name"), ref("parent_id", "teams"), ref("manager_id", "users"))

team_memberships = entity(
    "team_memberships",
    "Who was in which team when: a KPI by team uses the membership at the event's time.",
    ref("team_id", "teams"),
    ref("user_id", "users"),
    flag("is_primary", "the team that the user's figures count for"),
    *interval(),
)

accounts = entity(
    "accounts",
    "Companies: prospects and customers.",
    text("name"),
    ref("parent_id", "accounts"),
    ref("owner_id", "users"),
    text("domain"),
    text("industry"),
    text("segment"),
    text("size_band"),
    text("country"),
    text("region"),
    text("lifecycle", "prospect, customer, former, partner, competitor, internal"),
    instant("became_customer_at"),
    text("lead_source"),
)

account_status_history = entity(
    "account_status_history",
    "When an account was prospect, active customer, churned or paused; the effective dates, not those of a notice.",
    ref("account_id", "accounts"),
    text("status", "prospect, active, churned, paused"),
    *interval(),
    text("reason", "why the customer stayed or left"),
    text("origin", "crm: from the CRM's history; observed: seen by differing syncs"),
)

contacts = entity(
    "contacts",
    "People at accounts.",
    text("name"),
    text("email"),
    ref("account_id", "accounts"),
    ref("owner_id", "users"),
    text("lifecycle"),
    flag("email_opt_in"),
    instant("opt_out_at"),
    text("lead_source"),
)

owner_history = entity(
    "owner_history",
    "Who owned a record when.",
    text("object_type", "deals, leads, accounts, tickets ..."),
    text("object_id", "id of the record"),
    ref("owner_id", "users"),
    *interval(),
    text("origin", "crm or observed"),
)

identity_links = entity(
    "identity_links",
    "Records of several sources that are one and the same.",
    text("entity", "accounts, contacts, users ..."),
    text("a", "id of the record that stays"),
    text("b", "id of the other record"),
    text("rule", "what they were matched by"),
    money("confidence", "0 to 1"),
)
