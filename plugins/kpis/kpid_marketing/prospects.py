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
from sqlalchemy.sql.expression import CTE, CompoundSelect, Subquery

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


# What prospects are cut by.
_CUTS = ("source_id", "owner_id", "lead_source", "region")


class _Spells:
    """When who was a prospect; those that reach the periods.

    Most prospects have one spell and are told of by one record: these are kept apart, since they need no grouping and no look at
    the account again.
    """

    def __init__(self) -> None:
        history = living(entities.account_status_history, "status")
        h = history.c
        self._told = by_account(history, "status_of_accounts", h.status, h.valid_from, h.valid_to).c
        self._known = select(self._told.account_id).distinct().subquery("accounts_with_history")
        named = _leads().where(_LEAD.converted_account_id.is_not(None)).subquery("prospect_leads")
        n = named.c
        self._of_leads = by_account(named, "leads_of_accounts", n.starts_at, n.ends_at).c
        self._with_leads = select(self._of_leads.account_id).distinct().subquery("accounts_with_leads")

    def single(self) -> Subquery:
        """Prospects of one record: ``id`` (see ``_key``), ``starts_at``, ``ends_at``, ``account_id`` and what they are cut by."""
        account, known, named = _account(), self._known.c, self._with_leads.c
        a = account.c
        joined = account.outerjoin(self._known, known.account_id == a.id).outerjoin(self._with_leads, named.account_id == a.id)
        alone = known.account_id.is_(None), named.account_id.is_(None)
        accounts = select(a.id, a.starts_at, a.ends_at, a.id.label("account_id"), *_cuts(a)).select_from(joined).where(*alone)
        lead = _leads().where(_LEAD.converted_account_id.is_(None)).subquery("leads_alone").c
        leads = select(_key(null(), lead.id), lead.starts_at, lead.ends_at, cast(null(), Text), *_cuts(lead))
        return _reaching(union_all(accounts, leads), "single_spells")

    def shared(self) -> Subquery:
        """Spells of accounts that several records tell of: ``id``, ``starts_at``, ``ends_at``."""
        told, lead, account = self._told, self._of_leads, _account()
        a = account.c
        joined = account.join(self._with_leads, self._with_leads.c.account_id == a.id)
        joined = joined.outerjoin(self._known, self._known.c.account_id == a.id)
        every = union_all(
            select(told.account_id.label("id"), told.valid_from.label("starts_at"), told.valid_to.label("ends_at")).where(
                told.status == "prospect"
            ),
            select(a.id, a.starts_at, a.ends_at).select_from(joined).where(self._known.c.account_id.is_(None)),
            select(lead.account_id, lead.starts_at, lead.ends_at),
        )
        return _reaching(every, "shared_spells")


def _cuts(columns: Any) -> list[ColumnElement[Any]]:
    return [columns[name] for name in _CUTS]


def _reaching(spells: CompoundSelect[Any], name: str) -> Subquery:
    every = spells.subquery(f"every_{name}")
    e = every.c
    return select(*e).where(or_(e.ends_at.is_(None), from_reach(e.ends_at), from_reach(e.starts_at))).subquery(name)


def _account() -> Subquery:
    """Accounts that are or were prospects, as far as the account itself tells."""
    a = living(entities.accounts, "plain_account").c
    ends = case((a.lifecycle == "prospect", cast(null(), _STAMP)), else_=a.became_customer_at)
    is_known = or_(a.lifecycle == "prospect", and_(a.lifecycle.in_(["customer", "former"]), a.became_customer_at.is_not(None)))
    rows = select(a.id, a.created_at.label("starts_at"), ends.label("ends_at"), *_cuts(a)).where(is_known)
    return rows.subquery("accounts_as_told")


_LEAD = living(entities.leads, "prospect_lead").c


def _leads() -> Select[Any]:
    """Leads until they were converted or disqualified."""
    ends = case(
        (_LEAD.converted_at.is_(None), _LEAD.disqualified_at),
        (_LEAD.disqualified_at < _LEAD.converted_at, _LEAD.disqualified_at),
        else_=_LEAD.converted_at,
    )
    account = _LEAD.converted_account_id.label("account_id")
    return select(_LEAD.id, account, _LEAD.created_at.label("starts_at"), ends.label("ends_at"), *_cuts(_LEAD))


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
    """One row per period and prospect, with the number of its transactions and what it is cut by."""
    there, sales = _there(mode), _sales(transaction, mode)
    c, t = there.c, sales.c
    if mode == "period":  # bought in it
        bought = select(P.no, t.id).select_from(sales.join(PERIODS, and_(t.at >= P.starts, t.at < P.until))).subquery("bought")
    else:  # bought since
        bought = select(c.no, c.id).select_from(there.join(sales, and_(t.id == c.id, t.at >= c.since))).subquery("bought")
    b = bought.c
    sold = select(b.no, b.id, func.count().label("sales")).group_by(b.no, b.id).subquery("prospects_sold").c
    number = func.coalesce(sold.sales, 0).label("sales")
    joined = there.outerjoin(sold.id.table, and_(sold.no == c.no, sold.id == c.id))
    return select(c.no, number, c.account_id, *_cuts(c)).select_from(joined).subquery(f"prospects_{transaction}_{mode}")


def _there(mode: str) -> CTE:
    """Who was a prospect in the period, or became one in it: ``no, id, since, account_id`` and what they are cut by."""
    spells = _Spells()
    single, shared, account = spells.single(), spells.shared(), entities.accounts.alias("of_account")
    s, h, a = single.c, shared.c, account.c
    is_there = _overlaps if mode == "period" else _begins
    once = select(P.no, s.id, s.starts_at.label("since"), s.account_id, *_cuts(s)).select_from(
        single.join(PERIODS, is_there(s.starts_at, s.ends_at))
    )
    grouped = (
        select(P.no, h.id, func.min(h.starts_at).label("since"))
        .select_from(shared.join(PERIODS, is_there(h.starts_at, h.ends_at)))
        .group_by(P.no, h.id)
        .subquery("shared_prospects")
    )
    g = grouped.c
    joined = grouped.outerjoin(account, a.id == g.id)
    both = union_all(once, select(g.no, g.id, g.since, a.id, *_cuts(a)).select_from(joined)).subquery("prospects_of_periods")
    return select(*both.c).cte(f"kpid_prospects_{mode}")


def _overlaps(starts: ColumnElement[Any], ends: ColumnElement[Any]) -> ColumnElement[bool]:
    begun = or_(starts < P.until, and_(starts.is_(None), P.is_current))  # nobody knows since when: counts today
    return and_(begun, or_(ends.is_(None), ends > P.starts, starts >= P.starts))


def _begins(starts: ColumnElement[Any], _ends: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(starts >= P.starts, starts < P.until)


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
