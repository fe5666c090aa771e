"""Prospects and what they buy.

A prospect is an account while its status history says so; where an account has no history, from its creation to the day it became
a customer, if its lifecycle is prospect, customer or former. A lead is a prospect until it is converted or disqualified; a lead
that became an account is one prospect with it. Only transactions of prospects count: a sale to an old customer converts nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, DateTime, Select, Text, and_, case, cast, func, literal, null, or_, select, union_all
from sqlalchemy.sql.expression import CTE, Subquery

from kpid.plugin import (
    NOW,
    PERIODS,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Values,
    by_account,
    count,
    entities,
    from_reach,
    in_reach,
    living,
    sum_,
)

_STAMP = DateTime(timezone=True)
P = PERIODS.c


def _spells() -> CTE:
    """When who was a prospect: ``id`` (see ``_key``), ``starts_at``, ``ends_at``; those that reach the periods."""
    history = living(entities.account_status_history, "status")
    h = history.c
    rows = by_account(history, "status_of_accounts", h.status, h.valid_from, h.valid_to).c
    told = select(rows.account_id.label("id"), rows.valid_from.label("starts_at"), rows.valid_to.label("ends_at"))
    every = union_all(told.where(rows.status == "prospect"), _guessed(rows), _leads()).subquery("prospect_spells")
    e = every.c
    lasts = or_(e.ends_at.is_(None), from_reach(e.ends_at), from_reach(e.starts_at))
    return select(*e).where(lasts).cte("kpid_prospect_spells")


def _guessed(history: Any) -> Select[Any]:
    """Accounts without a status history."""
    account = living(entities.accounts, "plain_account")
    known = select(history.account_id).distinct().subquery("accounts_with_history")
    a = account.c
    ends = case((a.lifecycle == "prospect", cast(null(), _STAMP)), else_=a.became_customer_at)
    is_known = or_(a.lifecycle == "prospect", and_(a.lifecycle.in_(["customer", "former"]), a.became_customer_at.is_not(None)))
    return (
        select(a.id, a.created_at, ends)
        .select_from(account.outerjoin(known, known.c.account_id == a.id))
        .where(known.c.account_id.is_(None), is_known)
    )


def _leads() -> Select[Any]:
    lead = living(entities.leads, "prospect_lead").c
    named = select(
        lead.converted_account_id.label("account_id"), lead.id, lead.created_at, lead.converted_at, lead.disqualified_at
    )
    rows = named.subquery("prospect_leads")
    kept = [column for column in rows.c if column.key != "account_id"]
    lead = by_account(rows, "leads_of_accounts", *kept, or_nobody=True).c
    ends = case(
        (lead.converted_at.is_(None), lead.disqualified_at),
        (lead.disqualified_at < lead.converted_at, lead.disqualified_at),
        else_=lead.converted_at,
    )
    return select(_key(lead.account_id, lead.id), lead.created_at, ends)


def _key(account: ColumnElement[Any], lead: ColumnElement[Any]) -> ColumnElement[Any]:
    """Who it is: the account, else the lead; their ids may be the same."""
    return func.coalesce(cast(account, Text), literal("lead ") + lead)


def _sales(transaction: str, mode: str) -> Subquery:
    """The transactions: ``id`` of who bought, ``at``; those at least that the periods can count."""
    if transaction == "order":
        orders = living(entities.orders, "prospect_order")
        is_valid = and_(func.coalesce(orders.c.status, "placed") != "cancelled", orders.c.ordered_at <= NOW)
        order = by_account(orders, "orders_of_accounts", orders.c.ordered_at, where=is_valid).c
        first = select(order.account_id.label("id"), func.min(order.ordered_at).label("at"))
        return first.group_by(order.account_id).subquery("first_orders")
    deal, lead = living(entities.deals, "prospect_deal"), living(entities.leads, "deal_lead")
    d = deal.c
    account = func.coalesce(d.account_id, lead.c.converted_account_id).label("account_id")
    won = select(account, lead.c.id.label("lead_id"), d.closed_at).select_from(deal.outerjoin(lead, lead.c.id == d.lead_id))
    is_near = in_reach(d.closed_at) if mode == "period" else from_reach(d.closed_at)
    sales = won.where(d.state == "won", d.closed_at <= NOW, is_near).subquery("won_by_prospects")
    sale = by_account(sales, "sales_of_accounts", sales.c.lead_id, sales.c.closed_at, or_nobody=True).c
    return select(_key(sale.account_id, sale.lead_id).label("id"), sale.closed_at.label("at")).subquery("prospect_sales")


@cache
def prospects(transaction: str, mode: str) -> Subquery:
    """One row per period and prospect, with the number of its transactions."""
    counted = _in_period(transaction) if mode == "period" else _since_then(transaction)
    return _described(counted, f"prospects_{transaction}_{mode}")


def _in_period(transaction: str) -> Subquery:
    """Who was a prospect in the period, and what they bought in it."""
    spells, sales = _spells(), _sales(transaction, "period")
    s, t = spells.c, sales.c
    begun = or_(s.starts_at < P.until, and_(s.starts_at.is_(None), P.is_current))  # nobody knows since when: counts today
    overlaps = and_(begun, or_(s.ends_at.is_(None), s.ends_at > P.starts, s.starts_at >= P.starts))
    several = select(s.id).group_by(s.id).having(func.count() > 1).subquery("prospects_several")
    there = select(P.no, s.id).select_from(spells.join(PERIODS, overlaps).outerjoin(several, several.c.id == s.id))
    once = there.where(several.c.id.is_(None))  # most need no grouping
    often = there.where(several.c.id.is_not(None)).group_by(P.no, s.id)
    there_once = union_all(once, often).subquery("prospects_there")
    c = there_once.c
    sold = (
        select(P.no, t.id, func.count().label("sales"))
        .select_from(sales.join(PERIODS, and_(t.at >= P.starts, t.at < P.until)))
        .group_by(P.no, t.id)
        .subquery("prospects_sold")
    )
    number = func.coalesce(sold.c.sales, 0).label("sales")
    is_theirs = and_(sold.c.no == c.no, sold.c.id == c.id)
    return select(c.no, c.id, number).select_from(there_once.outerjoin(sold, is_theirs)).subquery("prospect_counts")


def _since_then(transaction: str) -> Subquery:
    """Who became a prospect in the period, and what they have bought since."""
    spells, sales = _spells(), _sales(transaction, "cohort")
    s, t = spells.c, sales.c
    became = and_(s.starts_at >= P.starts, s.starts_at < P.until)
    there = (
        select(P.no, s.id, func.min(s.starts_at).label("since"))
        .select_from(spells.join(PERIODS, became))
        .group_by(P.no, s.id)
        .subquery("prospects_there")
    )
    c = there.c
    return (
        select(c.no, c.id, func.sum(case((t.at >= c.since, 1), else_=0)).label("sales"))
        .select_from(there.outerjoin(sales, t.id == c.id))
        .group_by(c.no, c.id)
        .subquery("prospect_counts")
    )


def _described(counted: Subquery, name: str) -> Subquery:
    """With what prospects are cut by: of the account, else of the lead."""
    account, lead, k = entities.accounts.alias("of_account"), entities.leads.alias("of_lead"), counted.c
    a, of = account.c, lead.c
    both = {column: func.coalesce(a[column], of[column]) for column in ("source_id", "owner_id", "lead_source", "region")}
    return (
        select(k.no, k.sales, a.id.label("account_id"), *(found.label(column) for column, found in both.items()))
        .select_from(counted.outerjoin(account, a.id == k.id).outerjoin(lead, _key(null(), of.id) == k.id))
        .subquery(name)
    )


def _conversion(params: Mapping[str, str]) -> Definition:
    entity = prospects(params["transaction"], params["mode"])
    clock, sales = InPeriod(entity.c.no), entity.c.sales
    is_distinct = params["distinct"] == "true"
    noun = {"deal": "won deals", "order": "first orders"}[params["transaction"]]
    return Definition(
        {
            "sales": Measure(entity, clock, count(sales > 0) if is_distinct else sum_(sales), label=noun),
            "prospects": Measure(entity, clock, count(), label="prospects"),
        },
        lambda m: m.sales / m.prospects,
        sample="prospects",
        remarks=_above_one,
        optional=("account_status_history", "leads", "accounts"),
    )


def _above_one(m: Values) -> Sequence[str]:
    rate = (m.sales / m.prospects).exact
    return ["above 100 %: several transactions by one prospect"] if rate is not None and rate > 1 else []


PROSPECT_CONVERSION_RATE = Kpi(
    id="prospect_conversion_rate",
    name="Prospect conversion",
    category="sales",
    unit="ratio",
    better="up",
    define=_conversion,
    period="quarter",
    min_sample=30,
    dimensions=("owner", "team", "region", "lead_source", "account", "segment", "industry", "country", "source"),
    params={
        "transaction": Param(("deal", "order"), "What counts as a sale: a won deal, or the first order."),
        "mode": Param(("period", "cohort"), "Who was a prospect in the period, or who became one in it, followed until now."),
        "distinct": Param(("true", "false"), "Count a prospect with several transactions once."),
    },
    formula_text="transactions of the period / accounts and leads that were prospects in it; several by one prospect count once",
    why="How many of those who might buy do.",
    misleads="Prospects that nobody removes from the list make it fall; who is a prospect is the CRM's own opinion.",
    source="10 transactions of 50 prospects = 20 %",
    additivity="R",
    degrades={"account_status_history": "Without it, today's lifecycle and the day an account became a customer stand for it."},
    number=3,
)

KPIS = (PROSPECT_CONVERSION_RATE,)
