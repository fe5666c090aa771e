# ruff: noqa: E501
"""Which timestamp puts a record into which period: the event-time matrix, a line per KPI of the catalogue.

Each line is a minimal fixture of December 2017. Moving the event time of the numerator or the denominator by thirty days moves
the figure to November; moving any other timestamp changes nothing. Each variant of a fixture is a source of its own in one
warehouse, so that every KPI is measured once, by source (or by owner: the sources' owners have names of their own).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import kpid_activity
import kpid_customer
import kpid_marketing
import kpid_pipeline
import kpid_quality
import kpid_revenue
import kpid_sales
import kpid_satisfaction
import kpid_support
import pyarrow as pa
import pytest

from kpid.analysis.periods import Calendar, period_from_label
from kpid.metrics.measure import MetricsSetup, figures
from kpid.model import SeriesNeed
from kpid.plugin import Now
from kpid.plugin.entities import ENTITIES
from kpid.warehouse import Watermark
from kpid.warehouse.duckdb import open_duckdb

MODULES = (
    kpid_sales, kpid_pipeline, kpid_activity, kpid_customer, kpid_revenue, kpid_marketing, kpid_support, kpid_satisfaction,
    kpid_quality,
)  # fmt: skip
KPIS = {kpi.id: kpi for module in MODULES for kpi in module.kpid_kpis()}
CALENDAR = Calendar("Europe/Berlin")
NOW = datetime(2018, 6, 15, 12, tzinfo=UTC)
D = datetime(2017, 12, 10, 12, tzinfo=UTC)
LONG_AGO = datetime(2017, 9, 1, 12, tzinfo=UTC)
LATER = datetime(2018, 3, 10, 12, tzinfo=UTC)
SHIFT = timedelta(days=30)
NOVEMBER, DECEMBER = "2017-11", "2017-12"
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Line:
    """A KPI, its rows, its figures of November and December, what they are with a timestamp moved, and what moves nothing.

    A figure is a number, a ratio as ``above/below``, or ``-`` where it is undefined. A timestamp is ``table.id.column``.
    """

    kpi: str
    rows: Rows
    base: tuple[str, str]
    moves: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stays: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    by: str = "source"

    @property
    def name(self) -> str:
        return "-".join((self.kpi, *self.params.values()))


def deal(key="1", state="won", created=LONG_AGO, closed=D, **more):
    return {
        "id": key,
        "state": state,
        "created_at": created,
        "closed_at": closed,
        "amount": Decimal(100),
        "account_id": "a",
        **more,
    }


def status(key, kind, start, end=None, account="a"):
    return {"id": key, "account_id": account, "status": kind, "valid_from": start, "valid_to": end}


def order(key, at, account="a", **more):
    return {"id": key, "account_id": account, "ordered_at": at, "net_amount": Decimal(100), "status": "paid", **more}


def activity(kind, **more):
    return {"id": "1", "type": kind, "direction": "outbound", "owner_id": "u", "account_id": "a", "status": "completed", **more}


def email(**more):
    sent = {"sent_at": D, "delivered_at": D + timedelta(hours=40 * 24), "open_count": 1, "click_count": 1}
    return {"id": "1", "recipient_id": "r", **sent, "first_open_at": LATER, "first_click_at": LATER, **more}


ACCOUNT = [{"id": "a", "name": "Acme Example", "created_at": LONG_AGO}]
WON, OTHER_LOST = deal(), deal("2", "lost")
TWO = {"deals": [WON, OTHER_LOST]}
CUSTOMER = {"accounts": ACCOUNT, "account_status_history": [status("1", "active", LONG_AGO)]}
LEFT = {"accounts": ACCOUNT, "account_status_history": [status("1", "active", LONG_AGO, D)]}
CALL = activity("call", occurred_at=D, created_at=LATER, ended_at=LATER)
MEETING = activity("meeting", ended_at=D, occurred_at=LATER, created_at=LATER, scheduled_end=LATER)
BOOKED = activity("meeting", created_at=D, occurred_at=LATER, ended_at=LATER)
SELLER = {"id": "u", "name": "Ada Example", "role": "seller", "is_active": True}
SUBSCRIPTION = {
    "id": "1",
    "account_id": "a",
    "started_at": LONG_AGO,
    "status": "active",
    "interval": "month",
    "amount": Decimal(10),
}
TICKET = {"id": "1", "created_at": D, "status": "open"}
SOLVED = {"id": "1", "created_at": LONG_AGO, "status": "solved", "first_solved_at": D, "last_solved_at": D, "closed_at": LATER}
STAGES = [{"id": f"s{n}", "pipeline_id": "p", "sort_order": n, "state": "open", "name": f"S{n}"} for n in (1, 2)]
ENTRY = {"id": "1", "deal_id": "1", "stage_id": "s1", "pipeline_id": "p", "valid_from": D, "valid_to": LATER, "seq": 1}
COST = {"id": "1", "campaign_id": "c", "channel": "web", "scope": "marketing", "date": D.date(), "amount": Decimal(50)}
CAMPAIGN = [{"id": "c", "name": "Example", "channel": "web"}]
TARGETS = [
    {"id": str(day.month), "kpi": "won_amount", "period_kind": "month", "period_start": day, "value": Decimal(200)}
    for day in (date(2017, 11, 1), date(2017, 12, 1))
]
EMAIL_STAYS = ("email_sends.1.first_open_at", "email_sends.1.first_click_at", "email_sends.1.updated_at")

LINES = (
    Line("won_deals", {"deals": [WON]}, ("0", "1"), {"deals.1.closed_at": ("1", "0")}, ("deals.1.created_at",)),
    Line("lost_deals", {"deals": [OTHER_LOST]}, ("0", "1"), {"deals.2.closed_at": ("1", "0")}, ("deals.2.created_at",)),
    Line("won_amount", {"deals": [WON]}, ("0", "100"), {"deals.1.closed_at": ("100", "0")}, ("deals.1.created_at",)),
    Line("pipeline_created", {"deals": [deal(created=D, closed=LATER)]}, ("0", "1"), {"deals.1.created_at": ("1", "0")},
         ("deals.1.closed_at",), {"as": "count"}),
    Line("leads_created", {"leads": [{"id": "1", "created_at": D, "converted_at": LATER}]}, ("0", "1"),
         {"leads.1.created_at": ("1", "0")}, ("leads.1.converted_at",)),
    Line("leads_converted", {"leads": [{"id": "1", "created_at": LONG_AGO, "converted_at": D, "converted_account_id": "a"}],
                             "accounts": ACCOUNT}, ("0", "1"),
         {"leads.1.converted_at": ("1", "0")}, ("leads.1.created_at",)),
    Line("calls_made", {"activities": [CALL]}, ("0", "1"), {"activities.1.occurred_at": ("1", "0")},
         ("activities.1.created_at", "activities.1.ended_at")),
    Line("meetings_held", {"activities": [MEETING]}, ("0", "1"), {"activities.1.ended_at": ("1", "0")},
         ("activities.1.created_at", "activities.1.occurred_at", "activities.1.scheduled_end")),
    Line("new_customers", {"accounts": ACCOUNT, "account_status_history": [status("1", "active", D)]}, ("0", "1"),
         {"account_status_history.1.valid_from": ("1", "0")}, ("accounts.a.created_at",)),
    Line("lost_customers", LEFT, ("0", "1"), {"account_status_history.1.valid_to": ("1", "0")},
         ("account_status_history.1.valid_from",)),
    Line("net_revenue", {"orders": [order("1", D)], "accounts": ACCOUNT}, ("0", "100"), {"orders.1.ordered_at": ("100", "0")},
         ("orders.1.updated_at",)),
    Line("net_revenue", {"orders": [order("1", LONG_AGO)], "accounts": ACCOUNT, "refunds": [
        {"id": "1", "order_id": "1", "account_id": "a", "refunded_at": D, "amount": Decimal(30)}]}, ("0", "-30"),
         {"refunds.1.refunded_at": ("-30", "0")}, (), {"refund_basis": "refund_date"}),
    Line("marketing_spend", {"campaign_costs": [COST], "campaigns": CAMPAIGN}, ("0", "50"), {"campaign_costs.1.date": ("50", "0")}),
    Line("tickets_created", {"tickets": [TICKET | {"first_reply_at": LATER}]}, ("0", "1"), {"tickets.1.created_at": ("1", "0")},
         ("tickets.1.first_reply_at",)),
    Line("emails_sent", {"email_sends": [email()]}, ("0", "1"), {"email_sends.1.sent_at": ("1", "0")}, EMAIL_STAYS),
    Line("close_date_push_rate", {"deals": [deal(state="open", closed=None)], "deal_field_history": [
        {"id": "1", "deal_id": "1", "field": "expected_close_date", "value": "2017-12-01", "valid_from": LONG_AGO},
        {"id": "2", "deal_id": "1", "field": "expected_close_date", "value": "2018-03-01", "valid_from": D}]}, ("0/1", "1/1"),
         {"deal_field_history.2.valid_from": ("1/1", "0/1")}, ("deals.1.created_at",)),
    # ---- sales
    Line("win_rate", TWO, ("-", "1/2"), {"deals.1.closed_at": ("1/1", "0/1"), "deals.2.closed_at": ("0/1", "1/1")},
         ("deals.1.created_at", "deals.2.created_at")),
    Line("win_rate", {"deals": [deal(created=D, closed=LATER), deal("2", "open", D, None)]}, ("-", "1/2"),
         {"deals.1.created_at": ("1/1", "0/1"), "deals.2.created_at": ("0/1", "1/1")}, ("deals.1.closed_at",), {"mode": "cohort"}),
    Line("close_rate", {"deals": [WON, deal("2", "open", D, None)]}, ("0/1", "1/2"),
         {"deals.1.closed_at": ("1/1", "0/1"), "deals.2.created_at": ("0/2", "1/2")}, ("deals.1.created_at",)),
    Line("prospect_conversion_rate", {"deals": [WON], "accounts": [*ACCOUNT, {"id": "b", "name": "Beta"}], "account_status_history": [
        status("1", "prospect", LONG_AGO), status("2", "prospect", LONG_AGO, D, "b")]}, ("0/2", "1/2"),
         {"deals.1.closed_at": ("1/2", "0/2"), "account_status_history.2.valid_to": ("0/2", "1/1")}, ("deals.1.created_at",)),
    Line("lead_conversion_rate", {"leads": [{"id": "1", "owner_id": "u", "created_at": D, "converted_at": D + timedelta(days=50),
                                             "converted_account_id": "a"}], "accounts": ACCOUNT}, ("-", "1/1"),
         {"leads.1.created_at": ("1/1", "-")}, ("leads.1.converted_at",), by="owner"),
    Line("avg_deal_size", {"deals": [WON]}, ("-", "100/1"), {"deals.1.closed_at": ("100/1", "-")}, ("deals.1.created_at",)),
    Line("sales_cycle_days", {"deals": [WON]}, ("-", "100"), {"deals.1.closed_at": ("70", "-")}, ("deals.1.updated_at",)),
    Line("sales_velocity", {"deals": [deal(created=D - timedelta(days=40)), deal("2", "open", LONG_AGO, None)]}, ("-", "100/40"),
         {"deals.1.closed_at": ("100/10", "-")}, ("deals.2.created_at",)),
    Line("loss_reason_share", {"deals": [deal("1", "lost", loss_reason="price"), OTHER_LOST]}, ("-", "1/2"),
         {"deals.1.closed_at": ("1/1", "0/1"), "deals.2.closed_at": ("0/1", "1/1")}, ("deals.1.created_at",), {"reason": "price"}),
    Line("quota_attainment", {"deals": [WON], "targets": TARGETS}, ("0/200", "100/200"), {"deals.1.closed_at": ("100/200", "0/200")},
         ("deals.1.created_at",)),
    # ---- pipeline
    Line("pipeline_open_amount", {"deals": [deal("1", "open", D, None)]}, ("0", "100"), {"deals.1.created_at": ("100", "100")}),
    Line("pipeline_open_amount", {"deals": [WON]}, ("100", "0"), {"deals.1.closed_at": ("0", "0")}, ("deals.1.created_at",)),
    Line("pipeline_weighted_amount", {"deals": [deal("1", "open", D, None, probability=Decimal("0.5"))]}, ("0", "50"),
         {"deals.1.created_at": ("50", "50")}),
    Line("stage_conversion_rate", {"deals": [deal("1", "open", closed=None, stage_id="s2", pipeline_id="p", owner_id="u")],
                                   "stages": STAGES, "deal_stage_history": [
        ENTRY, ENTRY | {"id": "2", "stage_id": "s2", "valid_from": LATER, "valid_to": None, "seq": 2}]}, ("-", "1/1"),
         {"deal_stage_history.1.valid_from": ("1/1", "-")}, ("deals.1.created_at",), by="owner"),
    Line("stage_loss_rate", {"deals": [deal("1", "lost", closed=LATER, stage_id="s1", pipeline_id="p", owner_id="u")], "stages": STAGES,
                             "deal_stage_history": [ENTRY]}, ("-", "1/1"), {"deal_stage_history.1.valid_from": ("1/1", "-")},
         ("deals.1.created_at", "deals.1.closed_at"), by="owner"),
    Line("stage_dwell_days", {"deals": [deal("1", "open", LONG_AGO, None, stage_id="s2", pipeline_id="p")], "stages": STAGES,
                              "deal_stage_history": [ENTRY | {"valid_from": LONG_AGO, "valid_to": D}]}, ("-", "100"),
         {"deal_stage_history.1.valid_to": ("70", "-")}, ("deals.1.created_at",)),
    Line("stale_deal_share", {"deals": [deal("1", "open", LONG_AGO, None)], "activities": [CALL | {"deal_id": "1"}]}, ("1/1", "0/1"),
         {"activities.1.occurred_at": ("0/1", "1/1")}, ("activities.1.created_at",)),
    Line("overdue_deal_share", {"deals": [deal("1", "open", LONG_AGO, None, expected_close_date=D.date())]}, ("0/1", "1/1"),
         {"deals.1.expected_close_date": ("1/1", "1/1")}, ("deals.1.created_at",)),
    Line("pipeline_coverage", {"deals": [deal("1", "open", LONG_AGO, None, expected_close_date=D.date()), deal("2")],
                               "targets": TARGETS}, ("0/200", "100/100"),
         {"deals.1.expected_close_date": ("100/200", "0/100"), "deals.2.closed_at": ("0/100", "100/200")}, ("deals.1.created_at",)),
    # ---- activity
    Line("calls_per_rep", {"activities": [CALL], "users": [SELLER]}, ("0/1", "1/1"), {"activities.1.occurred_at": ("1/1", "0/1")},
         ("activities.1.created_at",)),
    Line("calls_per_rep", {"activities": [CALL], "users": [SELLER | {"active_from": D}]}, ("-", "1/1"),
         {"users.u.active_from": ("0/1", "1/1")}),
    Line("calls_per_sale", {"activities": [CALL], "deals": [WON]}, ("-", "1/1"),
         {"activities.1.occurred_at": ("-", "0/1"), "deals.1.closed_at": ("0/1", "-")}, ("deals.1.created_at",)),
    Line("call_success_rate", {"activities": [CALL], "deals": [WON]}, ("-", "1/1"),
         {"deals.1.closed_at": ("-", "0/1"), "activities.1.occurred_at": ("0/1", "-")}, ("activities.1.created_at",)),
    Line("call_success_rate", {"activities": [BOOKED, CALL | {"id": "2"}]}, ("-", "1/1"),
         {"activities.1.created_at": ("-", "0/1"), "activities.2.occurred_at": ("0/1", "-")},
         ("activities.1.occurred_at", "activities.1.ended_at"), {"outcome": "meeting"}),
    Line("meeting_to_sale_ratio", {"activities": [MEETING], "deals": [WON], "accounts": ACCOUNT, "account_status_history": [
        status("1", "prospect", LONG_AGO)]}, ("-", "1/1"), {"deals.1.closed_at": ("-", "0/1"), "activities.1.ended_at": ("0/1", "-")},
         ("activities.1.created_at", "activities.1.occurred_at")),
    Line("prospect_meeting_share", {"activities": [MEETING], "accounts": ACCOUNT, "account_status_history": [
        status("1", "prospect", LONG_AGO, datetime(2017, 12, 1, tzinfo=UTC)), status("2", "active", datetime(2017, 12, 1, tzinfo=UTC))]},
         ("-", "0/1"), {"activities.1.ended_at": ("1/1", "-")}, ("activities.1.created_at", "activities.1.occurred_at")),
    Line("lead_response_time", {"leads": [{"id": "1", "created_at": D, "first_response_at": LATER, "converted_at": LATER}]},
         ("-", str(90 * 86_400)), {"leads.1.created_at": (str(120 * 86_400), "-")}, ("leads.1.converted_at",)),
    # ---- customer
    Line("active_customers", {"accounts": ACCOUNT, "account_status_history": [status("1", "active", D)]}, ("0", "1"),
         {"account_status_history.1.valid_from": ("1", "1")}, ("accounts.a.created_at",)),
    Line("customer_retention_rate", LEFT, ("1/1", "0/1"), {"account_status_history.1.valid_to": ("0/1", "-")},
         ("account_status_history.1.valid_from",)),
    Line("customer_churn_rate", LEFT, ("0/1", "1/1"), {"account_status_history.1.valid_to": ("1/1", "-")},
         ("account_status_history.1.valid_from",)),
    Line("repurchase_rate", CUSTOMER | {"orders": [order("1", D)]}, ("0/1", "1/1"), {"orders.1.ordered_at": ("1/1", "0/1")},
         ("orders.1.updated_at",)),
    Line("cross_sell_rate", CUSTOMER | {"orders": [order("0", LONG_AGO), order("1", D)], "products": [
        {"id": "x", "name": "X"}, {"id": "y", "name": "Y"}], "order_lines": [
        {"id": "0", "order_id": "0", "product_id": "x"}, {"id": "1", "order_id": "1", "product_id": "y"}]}, ("0/1", "1/1"),
         {"orders.1.ordered_at": ("1/1", "0/1")}),
    Line("loyal_customer_share", CUSTOMER | {"orders": [order("0", LONG_AGO), order("1", D)]}, ("0/1", "1/1"),
         {"orders.1.ordered_at": ("1/1", "1/1")}, (), {"min_purchases": "2"}),
    Line("repeat_order_share", CUSTOMER | {"orders": [order("0", LONG_AGO), order("1", D)]}, ("-", "1/1"),
         {"orders.1.ordered_at": ("1/1", "-")}, ("orders.0.ordered_at",)),
    # ---- revenue
    Line("revenue_per_customer", CUSTOMER | {"orders": [order("1", D)]}, ("-", "100/1"), {"orders.1.ordered_at": ("100/1", "-")}),
    Line("revenue_concentration", CUSTOMER | {"orders": [order("1", D)]}, ("-", "100/100"),
         {"orders.1.ordered_at": ("100/100", "-")}),
    Line("customer_lifetime_value", CUSTOMER | {"orders": [order("1", D)]}, ("-", "100/1"), {"orders.1.ordered_at": ("100/1", "100/1")}),
    Line("mrr", CUSTOMER | {"subscriptions": [SUBSCRIPTION | {"started_at": D}]}, ("0", "10"),
         {"subscriptions.1.started_at": ("10", "10")}),
    Line("mrr_churn_rate", CUSTOMER | {"subscriptions": [SUBSCRIPTION | {"ended_at": D}]}, ("0/120", "120/120"),
         {"subscriptions.1.ended_at": ("120/120", "-")}, ("subscriptions.1.started_at",)),
    Line("revenue_retention", CUSTOMER | {"subscriptions": [SUBSCRIPTION | {"ended_at": D}]}, ("120/120", "0/120"),
         {"subscriptions.1.ended_at": ("0/120", "-")}, ("subscriptions.1.started_at",)),
    Line("cac", {"accounts": ACCOUNT, "account_status_history": [status("1", "active", D)], "campaigns": CAMPAIGN,
                 "campaign_costs": [COST, COST | {"id": "2", "date": date(2017, 11, 5)}]}, ("-", "50/1"),
         {"campaign_costs.2.date": ("-", "50/1"), "account_status_history.1.valid_from": ("50/1", "-")}),
    Line("ltv_cac_ratio", CUSTOMER | {"campaigns": CAMPAIGN, "subscriptions": [
        SUBSCRIPTION, SUBSCRIPTION | {"id": "2", "account_id": "b", "ended_at": D}], "campaign_costs": [
        COST, COST | {"id": "2", "date": date(2017, 11, 5)}], "accounts": [*ACCOUNT, {"id": "b", "name": "Beta"}, {"id": "n", "name": "New"}],
        "account_status_history": [
            status("1", "active", LONG_AGO), status("2", "active", LONG_AGO, D, "b"), status("3", "active", D, None, "n")]}, ("-", "240/100"),
         {"account_status_history.3.valid_from": ("-", "-")}),
    # ---- marketing
    Line("campaign_roi", {"deals": [deal(campaign_id="c")], "campaigns": CAMPAIGN, "campaign_costs": [COST]}, ("-", "100/50"),
         {"deals.1.closed_at": ("-", "0/50"), "campaign_costs.1.date": ("0/50", "-")}, ("deals.1.created_at",), {"form": "ratio"}),
    Line("campaign_conversion_rate", {"campaigns": CAMPAIGN, "campaign_members": [
        {"id": "1", "campaign_id": "c", "person_id": "p", "exposed_at": D, "converted_at": D + timedelta(days=20)},
        {"id": "2", "campaign_id": "c", "person_id": "q", "exposed_at": D}]}, ("-", "1/2"),
         {"campaign_members.2.exposed_at": ("0/1", "1/1"), "campaign_members.1.exposed_at": ("0/1", "0/1")},
         ("campaign_members.2.responded_at",)),
    Line("website_conversion_rate", {"web_daily": [
        {"id": "1", "period_kind": "month", "date": date(2017, 12, 1), "visitors": 10, "sessions": 20, "conversions": 1}]}, ("-", "1/10"),
         {"web_daily.1.date": ("1/10", "-")}, ("web_daily.1.updated_at",)),
    Line("avg_visit_duration", {"web_daily": [
        {"id": "1", "period_kind": "day", "date": D.date(), "visitors": 10, "sessions": 20, "duration_s": 60}]}, ("-", "60/20"),
         {"web_daily.1.date": ("60/20", "-")}, ("web_daily.1.updated_at",)),
    Line("cost_per_lead", {"leads": [{"id": "1", "created_at": D, "lead_source": "web", "converted_at": LATER}], "campaigns": CAMPAIGN,
                           "campaign_costs": [COST]}, ("-", "50/1"), {"leads.1.created_at": ("0/1", "-"), "campaign_costs.1.date": ("-", "0/1")}, ("leads.1.converted_at",)),
    Line("email_delivery_rate", {"email_sends": [email()]}, ("-", "1/1"), {"email_sends.1.sent_at": ("1/1", "-")}, EMAIL_STAYS),
    Line("email_open_rate", {"email_sends": [email()]}, ("-", "1/1"), {"email_sends.1.sent_at": ("1/1", "-")}, EMAIL_STAYS),
    Line("email_click_rate", {"email_sends": [email()]}, ("-", "1/1"), {"email_sends.1.sent_at": ("1/1", "-")}, EMAIL_STAYS),
    Line("email_click_to_open_rate", {"email_sends": [email()]}, ("-", "1/1"), {"email_sends.1.sent_at": ("1/1", "-")}, EMAIL_STAYS),
    Line("email_unsubscribe_rate", {"email_sends": [email(unsubscribed_at=LATER)]}, ("-", "1/1"),
         {"email_sends.1.sent_at": ("1/1", "-")}, ("email_sends.1.unsubscribed_at",)),
    Line("list_growth_rate", {"list_membership_history": [
        {"id": "0", "list_id": "l", "person_id": "p", "valid_from": LONG_AGO},
        {"id": "1", "list_id": "l", "person_id": "q", "valid_from": D}]}, ("0/1", "1/1"),
         {"list_membership_history.1.valid_from": ("1/1", "0/2")}, ("list_membership_history.0.valid_from",)),
    # ---- support
    Line("ticket_backlog", {"tickets": [TICKET]}, ("0", "1"), {"tickets.1.created_at": ("1", "1")}, ("tickets.1.first_reply_at",)),
    Line("ticket_backlog", {"tickets": [TICKET | {"created_at": LONG_AGO, "status": "solved", "closed_at": LATER}],
                            "ticket_status_history": [{"id": "1", "ticket_id": "1", "status": "solved", "valid_from": D}]}, ("1", "0"),
         {"ticket_status_history.1.valid_from": ("0", "0")}, ("tickets.1.created_at",)),
    Line("ticket_response_rate", {"tickets": [TICKET | {"first_reply_at": LATER}]}, ("-", "1/1"), {"tickets.1.created_at": ("1/1", "-")},
         ("tickets.1.first_reply_at",)),
    Line("first_reply_time", {"tickets": [TICKET | {"first_reply_at": D + timedelta(hours=1)}]}, ("-", "3600"),
         {"tickets.1.created_at": (str(30 * 86_400 + 3600), "-")}, ("tickets.1.updated_at",)),
    Line("first_reply_time", {"tickets": [TICKET | {"created_at": LONG_AGO, "first_reply_at": D}]}, ("-", str(100 * 86_400)),
         {"tickets.1.first_reply_at": (str(70 * 86_400), "-")}, ("tickets.1.updated_at",), {"by": "replied"}),
    Line("resolution_time", {"tickets": [SOLVED | {"first_solved_at": LONG_AGO}]}, ("-", str(100 * 86_400)),
         {"tickets.1.last_solved_at": (str(70 * 86_400), "-")}, ("tickets.1.first_solved_at", "tickets.1.closed_at")),
    Line("resolution_time", {"tickets": [SOLVED | {"last_solved_at": LATER}]}, ("-", str(100 * 86_400)),
         {"tickets.1.first_solved_at": (str(70 * 86_400), "-")}, ("tickets.1.last_solved_at", "tickets.1.closed_at"),
         {"which": "first"}),
    Line("same_day_close_rate", {"tickets": [TICKET | {"first_solved_at": LATER, "status": "solved"}]}, ("-", "0/1"),
         {"tickets.1.created_at": ("0/1", "-")}, ("tickets.1.first_solved_at",)),
    Line("first_contact_resolution_rate", {"tickets": [SOLVED | {"reply_count_public": 1}]}, ("-", "1/1"),
         {"tickets.1.last_solved_at+first_solved_at": ("1/1", "-")}, ("tickets.1.created_at", "tickets.1.closed_at")),
    Line("reopen_rate", {"tickets": [SOLVED], "ticket_status_history": [
        {"id": "1", "ticket_id": "1", "status": "solved", "valid_from": D, "valid_to": D + timedelta(days=40)},
        {"id": "2", "ticket_id": "1", "status": "open", "valid_from": D + timedelta(days=40)}]}, ("-", "0/1"),
         {"ticket_status_history.1.valid_from": ("0/1", "-"), "ticket_status_history.2.valid_from": ("-", "1/1")},
         ("tickets.1.created_at",)),
    # ---- satisfaction
    Line("nps", {"survey_responses": [{"id": "1", "kind": "nps", "score": Decimal(9), "submitted_at": D, "created_at": LATER}]},
         ("-", "1/1"), {"survey_responses.1.submitted_at": ("1/1", "-")}, ("survey_responses.1.created_at",)),
    Line("csat", {"survey_responses": [{"id": "1", "kind": "csat", "score": Decimal(5), "submitted_at": D, "created_at": LATER}]},
         ("-", "1/1"), {"survey_responses.1.submitted_at": ("1/1", "-")}, ("survey_responses.1.created_at",)),
    Line("survey_response_rate", {"survey_sends": [{"id": "1", "kind": "nps", "sent_at": D, "delivered_at": LATER}],
                                  "survey_responses": [{"id": "1", "kind": "nps", "score": Decimal(9), "submitted_at": LATER,
                                                        "send_id": "1"}]}, ("-", "1/1"), {"survey_sends.1.sent_at": ("1/1", "-")},
         ("survey_sends.1.delivered_at", "survey_responses.1.submitted_at")),
)  # fmt: skip
NOW_ONLY = ("data_freshness", "missing_owner_share", "field_completeness")


def moved(rows: Rows, what: str) -> Rows:
    """The rows with a timestamp (or several of one row, with ``+``) thirty days earlier; one that is not set stays so."""
    table, key, columns = what.split(".")
    found = {name: [dict(row) for row in some] for name, some in rows.items()}
    for row in found.get(table, []):
        if row["id"] == key:
            for column in columns.split("+"):
                row[column] = None if row.get(column) is None else row[column] - SHIFT
    return found


def variants(line: Line) -> dict[str, Rows]:
    return {"": line.rows, **{what: moved(line.rows, what) for what in (*line.moves, *line.stays)}}


def canonical(table: str, row: Mapping[str, Any], source: str) -> dict[str, Any]:
    made = {"synced_at": NOW, "is_test": False, **row}
    if table == "targets":
        made["dims"] = json.dumps({"source": source})
    for column in ENTITIES[table].columns:
        if "ref" in column.info and made.get(column.name) is not None:
            made[column.name] = f"{source}:{made[column.name]}"
    return {**made, "id": f"{source}:{row['id']}", "source_id": source, "native_id": row["id"]}


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    warehouse = open_duckdb(tmp_path_factory.mktemp("events") / "events.duckdb")
    with warehouse.batch() as batch:
        stored: dict[str, list[dict[str, Any]]] = {}
        for number, line in enumerate(LINES):
            for place, rows in enumerate(variants(line).values()):
                for table, some in rows.items():
                    stored.setdefault(table, []).extend(canonical(table, row, f"v{number}x{place}") for row in some)
        for table, some in stored.items():
            columns = {name for row in some for name in row}
            batch.upsert(table, pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in some]))
        for table in ENTITIES:
            batch.save_watermark(Watermark("v0x0", table, None, NOW, NOW))
    yield MetricsSetup(warehouse, KPIS, CALENDAR, "EUR")
    warehouse.close()


@pytest.fixture(scope="module")
def measured(setup):
    """Figures by KPI and parameters: by source and month."""
    known: dict[Any, dict[tuple[str, str], str]] = {}

    def of(line: Line) -> dict[tuple[str, str], str]:
        key = (line.kpi, tuple(sorted(line.params.items())))
        if key not in known:
            need = SeriesNeed(line.kpi, "month", (line.by,), key[1])
            start, end = period_from_label(None, NOVEMBER, CALENDAR).start, period_from_label(None, DECEMBER, CALENDAR).end
            made = figures(need, setup, start=start, end=end, now=NOW)
            known[key] = {((m.dims[0].id or "").partition(":")[0], m.period.label): written(m) for m in made}
        return known[key]

    return of


def written(measurement: Any) -> str:
    if measurement.value is None:
        return "-"
    if measurement.denominator is not None:
        return f"{measurement.numerator:f}/{measurement.denominator:f}"
    return f"{measurement.value:f}"


def expected_of(line: Line) -> dict[str, tuple[str, str]]:
    return {"": line.base, **line.moves, **dict.fromkeys(line.stays, line.base)}


@pytest.mark.parametrize("number", range(len(LINES)), ids=lambda number: f"{number}-{LINES[number].name}")
def test_event_time_alone_moves_a_figure_to_another_period(number, measured):
    line = LINES[number]
    found = measured(line)
    for place, (what, expected) in enumerate(expected_of(line).items()):
        got = tuple(found.get((f"v{number}x{place}", month), "nothing") for month in (NOVEMBER, DECEMBER))
        assert all(a == b or (a == "nothing" and (b in ("0", "-") or b.startswith("0/"))) for a, b in zip(got, expected, strict=True)), (
            line.name, what or "as it is", got, expected,
        )  # fmt: skip


@pytest.mark.parametrize("name", NOW_ONLY)
def test_state_of_the_data_has_no_past(name):
    definition = KPIS[name].definition({})
    assert all(isinstance(measure.clock, Now) for measure in definition.measures.values())


def test_every_kpi_of_the_catalogue_has_a_line():
    numbered = {kpi.id for kpi in KPIS.values() if kpi.number is not None}
    lines = {line.kpi for line in LINES} | set(NOW_ONLY)
    assert not numbered - lines
