"""Prospects and what they buy.

A prospect is an account while its status history says so; where an account has no history, from its creation to the day it became
a customer, if its lifecycle is prospect, customer or former. A lead is a prospect until it is converted or disqualified; a lead
that became an account is one prospect with it. Only transactions of prospects count: a sale to an old customer converts nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, DateTime, Select, and_, case, cast, func, literal, null, or_, select, union_all
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
    counts,
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
    """When accounts were prospects; the spells that reach the periods, for no others begin, end or last in them.

    Most prospects have one spell and are told of by one record: these are kept apart, since they need no grouping and no look at
    the account again.
    """

    def __init__(self) -> None:
        history = living(entities.account_status_history, "status")
        h = history.c
        told = by_account(history, "status_of_accounts", h.status, h.valid_from, h.valid_to)
        self._known = select(told.c.account_id).distinct().subquery("accounts_with_history")
        t = told.c
        self._told = (
            select(t.account_id, t.valid_from.label("starts_at"), t.valid_to.label("ends_at"))
            .where(t.status == "prospect", _reaches(t.valid_from, t.valid_to))
            .subquery("told_spells")
        )
        named = _leads().where(_LEAD.converted_account_id.is_not(None)).subquery("prospect_leads")
        self._of_leads = by_account(named, "leads_of_accounts", named.c.starts_at, named.c.ends_at)
        self._with_leads = select(self._of_leads.c.account_id).distinct().subquery("accounts_with_leads")

    def single(self) -> Subquery:
        """Accounts that nothing else tells of: ``id, starts_at, ends_at, account_id`` and what they are cut by."""
        account, known, named = _accounts_as_told(), self._known.c, self._with_leads.c
        a = account.c
        joined = account.outerjoin(self._known, known.account_id == a.id).outerjoin(self._with_leads, named.account_id == a.id)
        alone = known.account_id.is_(None), named.account_id.is_(None)
        spells = select(a.id, a.starts_at, a.ends_at, a.id.label("account_id"), *_cuts(a)).select_from(joined).where(*alone)
        return spells.subquery("single_spells")

    def shared(self) -> tuple[Subquery, CTE]:
        """Spells of accounts that other records tell of (``id, starts_at, ends_at``), and these accounts with what cuts them."""
        told, lead, accounts = self._told.c, self._of_leads.c, self._accounts()
        own = accounts.c
        every = union_all(
            select(told.account_id.label("id"), told.starts_at, told.ends_at),
            select(own.id, own.starts_at, own.ends_at).where(own.is_as_told == 1),
            select(lead.account_id, lead.starts_at, lead.ends_at),
        )
        return every.subquery("shared_spells"), accounts

    def _accounts(self) -> CTE:
        """Accounts that other records tell of: each is looked up once. An account with a history is not what it itself tells."""
        every = union_all(select(self._told.c.account_id), select(self._of_leads.c.account_id)).subquery("shared_ids")
        member = select(every.c.account_id).distinct().subquery("shared_members")
        account = entities.accounts.alias("of_account")
        m, a, known = member.c, account.c, self._known.c
        is_as_told = and_(*counts(account), or_(_is_prospect(a), _was_prospect(a)), known.account_id.is_(None))
        joined = member.outerjoin(account, a.id == m.account_id).outerjoin(self._known, known.account_id == m.account_id)
        flag = case((is_as_told, 1), else_=0).label("is_as_told")
        columns = (m.account_id.label("id"), a.id.label("account_id"), *_cuts(a), *_own_spell(a), flag)
        return select(*columns).select_from(joined).cte("kpid_shared_accounts")


def _cuts(columns: Any) -> list[ColumnElement[Any]]:
    return [columns[name] for name in _CUTS]


def _reaches(starts: ColumnElement[Any], ends: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(ends.is_(None), from_reach(ends), from_reach(starts))


def _accounts_as_told() -> Subquery:
    """Accounts that are or were prospects, as far as the account itself tells."""
    a = living(entities.accounts, "plain_account").c
    rows = select(a.id, *_own_spell(a), *_cuts(a))
    return union_all(rows.where(_is_prospect(a)), rows.where(_was_prospect(a))).subquery("accounts_as_told")


def _own_spell(a: Any) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    ends = case((a.lifecycle == "prospect", cast(null(), _STAMP)), else_=a.became_customer_at)
    return a.created_at.label("starts_at"), ends.label("ends_at")


def _is_prospect(a: Any) -> ColumnElement[bool]:
    expression: ColumnElement[bool] = a.lifecycle == "prospect"
    return expression


def _was_prospect(a: Any) -> ColumnElement[bool]:
    reaches = or_(from_reach(a.became_customer_at), from_reach(a.created_at))
    return and_(a.lifecycle.in_(["customer", "former"]), a.became_customer_at.is_not(None), reaches)


_LEAD = living(entities.leads, "prospect_lead").c


def _leads() -> Select[Any]:
    """Leads in reach of the periods, until they were converted or disqualified, whichever came first."""
    ends = case(
        (_LEAD.converted_at.is_(None), _LEAD.disqualified_at),
        (_LEAD.disqualified_at < _LEAD.converted_at, _LEAD.disqualified_at),
        else_=_LEAD.converted_at,
    )
    account = _LEAD.converted_account_id.label("account_id")
    lasts = [or_(end.is_(None), from_reach(end)) for end in (_LEAD.converted_at, _LEAD.disqualified_at)]
    rows = select(_LEAD.id, account, _LEAD.created_at.label("starts_at"), ends.label("ends_at"), *_cuts(_LEAD))
    return rows.where(or_(and_(*lasts), from_reach(_LEAD.created_at)))


def _sales(transaction: str, mode: str) -> tuple[Subquery, Subquery | None]:
    """Transactions of accounts and of leads alone: ``id`` of who bought, ``at``; those at least that the periods can count."""
    if transaction == "order":
        orders = living(entities.orders, "prospect_order")
        is_valid = and_(func.coalesce(orders.c.status, "placed") != "cancelled", orders.c.ordered_at <= NOW)
        order = by_account(orders, "orders_of_accounts", orders.c.ordered_at, where=is_valid).c
        first = select(order.account_id.label("id"), func.min(order.ordered_at).label("at"))
        return first.group_by(order.account_id).subquery("first_orders"), None
    deal, lead = living(entities.deals, "prospect_deal"), living(entities.leads, "deal_lead")
    d = deal.c
    is_won = and_(d.state == "won", d.closed_at <= NOW, in_reach(d.closed_at) if mode == "period" else from_reach(d.closed_at))
    by_itself = select(d.account_id, d.closed_at).where(is_won, d.account_id.is_not(None))
    joined = deal.join(lead, lead.c.id == d.lead_id)
    by_lead = select(lead.c.converted_account_id, d.closed_at).select_from(joined).where(is_won, d.account_id.is_(None))
    named = by_lead.where(lead.c.converted_account_id.is_not(None))
    sales = union_all(by_itself, named).subquery("won_by_prospects")
    sale = by_account(sales, "sales_of_accounts", sales.c.closed_at).c
    of_leads = select(d.lead_id.label("id"), d.closed_at.label("at")).where(is_won, d.account_id.is_(None))
    of_accounts = select(sale.account_id.label("id"), sale.closed_at.label("at")).subquery("prospect_sales")
    return of_accounts, of_leads.where(d.lead_id.is_not(None)).subquery("lead_sales")


@cache
def prospects(transaction: str, mode: str) -> Subquery:
    """One row per period and prospect, with the number of its transactions and what it is cut by."""
    of_accounts, of_leads = _sales(transaction, mode)
    accounts = _with_sales(_accounts(mode), of_accounts, mode, "account")
    leads = _with_sales(_leads_alone(mode), of_leads, mode, "lead")
    return union_all(accounts, leads).subquery(f"prospects_{transaction}_{mode}")


def _with_sales(there: CTE, sales: Subquery | None, mode: str, name: str) -> Select[Any]:
    """Who was there, with the number of transactions."""
    c = there.c
    if sales is None:
        return select(c.no, literal(0).label("sales"), c.account_id, *_cuts(c))
    t = sales.c
    if mode == "period":  # bought in it
        bought = select(P.no, t.id).select_from(sales.join(PERIODS, and_(t.at >= P.starts, t.at < P.until)))
    else:  # bought since
        bought = select(c.no, c.id).select_from(there.join(sales, and_(t.id == c.id, t.at >= c.since)))
    b = bought.subquery(f"{name}_bought").c
    number = cast(func.count(), BigInteger)  # ClickHouse's counts have no sign, and adding them to plain zeros is refused
    sold = select(b.no, b.id, number.label("sales")).group_by(b.no, b.id).subquery(f"{name}_sold").c
    joined = there.outerjoin(sold.id.table, and_(sold.no == c.no, sold.id == c.id))
    return select(c.no, func.coalesce(sold.sales, 0).label("sales"), c.account_id, *_cuts(c)).select_from(joined)


def _accounts(mode: str) -> CTE:
    """Accounts that were prospects in the period, or became some: ``no, id, since, account_id`` and what they are cut by."""
    spells = _Spells()
    shared, accounts = spells.shared()
    h, a = shared.c, accounts.c
    grouped = (
        select(P.no, h.id, func.min(h.starts_at).label("since"))
        .select_from(shared.join(PERIODS, _is_there(mode, h)))
        .group_by(P.no, h.id)
        .subquery("shared_prospects")
    )
    g = grouped.c
    again = select(g.no, g.id, g.since, a.account_id, *_cuts(a)).select_from(grouped.join(accounts, a.id == g.id))
    both = union_all(_in_periods(spells.single(), mode), again).subquery("prospects_of_periods")
    return select(*both.c).cte(f"kpid_prospects_{mode}")


def _leads_alone(mode: str) -> CTE:
    """The same of leads that belong to no account."""
    lead = _leads().where(_LEAD.converted_account_id.is_(None)).subquery("leads_alone")
    return _in_periods(lead, mode).cte(f"kpid_prospect_leads_{mode}")


def _in_periods(spells: Subquery, mode: str) -> Select[Any]:
    s = spells.c
    columns = (P.no, s.id, s.starts_at.label("since"), s.account_id, *_cuts(s))
    return select(*columns).select_from(spells.join(PERIODS, _is_there(mode, s)))


def _is_there(mode: str, spell: Any) -> ColumnElement[bool]:
    """Whether a spell overlaps the period, or begins in it."""
    starts, ends = spell.starts_at, spell.ends_at
    if mode == "cohort":
        return and_(starts >= P.starts, starts < P.until)
    begun = or_(starts < P.until, and_(starts.is_(None), P.is_current))  # nobody knows since when: counts today
    return and_(begun, or_(ends.is_(None), ends > P.starts, starts >= P.starts))


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
