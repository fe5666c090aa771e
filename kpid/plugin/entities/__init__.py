"""The canonical CRM model: what a deal, a call or a ticket is to kpid, whatever CRM it came from.

Connectors fill these tables, KPIs measure them. Conventions (all tables):

* ``id`` is ``<source>:<native id>``: two CRMs never collide. Columns that point to another table hold such an id too; a connector
  yields native ids and the ingest step adds the source (columns marked ``ref``).
* instants are UTC ``timestamptz``; dates are local calendar dates, never shifted by a zone; a date-only source value of an
  instant column stands for local midnight in the organisation's zone;
* money is ``numeric(20, 6)`` beside an ISO ``currency``;
* rows are never removed: ``deleted_at`` and ``merged_into_id`` mark the ones that KPIs leave out.
"""

from __future__ import annotations

from sqlalchemy import Table

from kpid.plugin.entities.columns import metadata
from kpid.plugin.entities.commerce import mrr_movements, order_lines, orders, refunds, subscriptions
from kpid.plugin.entities.marketing import (
    attributions,
    campaign_costs,
    campaign_members,
    campaigns,
    email_sends,
    list_membership_history,
    web_daily,
    web_goals,
)
from kpid.plugin.entities.people import (
    account_status_history,
    accounts,
    contacts,
    identity_links,
    owner_history,
    team_memberships,
    teams,
    users,
)
from kpid.plugin.entities.planning import calendar_intervals, calendars, fx_rates, holidays, targets, watermarks
from kpid.plugin.entities.sales import (
    activities,
    activity_links,
    deal_field_history,
    deal_lines,
    deal_stage_history,
    deals,
    leads,
    pipelines,
    products,
    stages,
)
from kpid.plugin.entities.service import (
    survey_responses,
    survey_sends,
    ticket_comments,
    ticket_schedule_history,
    ticket_status_history,
    tickets,
)

__all__ = [
    "ENTITIES",
    "account_status_history",
    "accounts",
    "activities",
    "activity_links",
    "attributions",
    "calendar_intervals",
    "calendars",
    "campaign_costs",
    "campaign_members",
    "campaigns",
    "contacts",
    "deal_field_history",
    "deal_lines",
    "deal_stage_history",
    "deals",
    "email_sends",
    "fx_rates",
    "holidays",
    "identity_links",
    "leads",
    "list_membership_history",
    "metadata",
    "mrr_movements",
    "order_lines",
    "orders",
    "owner_history",
    "pipelines",
    "products",
    "refunds",
    "stages",
    "subscriptions",
    "survey_responses",
    "survey_sends",
    "targets",
    "team_memberships",
    "teams",
    "ticket_comments",
    "ticket_schedule_history",
    "ticket_status_history",
    "tickets",
    "users",
    "watermarks",
    "web_daily",
    "web_goals",
]

ENTITIES: dict[str, Table] = {
    table.name: table
    for table in (
        users,
        teams,
        team_memberships,
        accounts,
        account_status_history,
        contacts,
        owner_history,
        identity_links,
        leads,
        pipelines,
        stages,
        stages,
        deals,
        deal_stage_history,
        deal_field_history,
        products,
        deal_lines,
        activities,
        activity_links,
        orders,
        order_lines,
        refunds,
        subscriptions,
        mrr_movements,
        campaigns,
        campaign_costs,
        campaign_members,
        attributions,
        email_sends,
        list_membership_history,
        web_daily,
        web_goals,
        tickets,
        ticket_status_history,
        ticket_comments,
        ticket_schedule_history,
        survey_sends,
        survey_responses,
        targets,
        fx_rates,
        calendars,
        calendar_intervals,
        holidays,
    )
}
"""The entities that a connector may fill, by name."""
