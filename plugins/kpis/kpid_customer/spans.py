"""Since when and until when an account is a customer, by each basis; and spells: spans without a gap between them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, null, or_, select, union_all
from sqlalchemy.sql.expression import FromClause, Subquery

from kpid.plugin import NOW, by_account, entities, later, living, local_date

from .orders import PURCHASES

PER_YEAR = {"week": 52, "month": 12, "quarter": 4, "half": 2, "year": 1}


def spans(basis: str, lookback_days: int, churn_date: str) -> Subquery:
    """``account_id, starts_at, ends_at`` (null: still): the times that an account is a customer; they may overlap."""
    if basis == "orders":
        c = PURCHASES.c
        found = select(c.account_id, c.ordered_at.label("starts_at"), later(c.ordered_at, days=lookback_days).label("ends_at"))
        return found.where(c.ordered_at.is_not(None)).subquery("order_spans")
    if basis == "subscription":
        return _subscription_spans(churn_date)
    return _deal_spans() if basis == "deal" else _status_spans()


def _is_span(starts: ColumnElement[Any], ends: ColumnElement[Any]) -> ColumnElement[bool]:
    return and_(starts.is_not(None), or_(ends.is_(None), ends > starts))


def first_statuses(history: FromClause) -> Subquery:
    """``account_id, status, valid_from`` of the first thing that is known of each account."""
    h = history.c
    place = func.row_number().over(partition_by=h.account_id, order_by=[h.valid_from, h.id])
    ranked = (
        select(h.account_id, h.status, h.valid_from, place.label("place")).where(h.valid_from.is_not(None)).subquery("ranked")
    )
    return select(ranked.c.account_id, ranked.c.status, ranked.c.valid_from).where(ranked.c.place == 1).subquery("first_status")


def _status_spans() -> Subquery:
    """Active spans of the status history; before it begins, and without one, a customer is one since the CRM's date."""
    history = living(entities.account_status_history)
    h = history.c
    known = by_account(
        history, "active_spans", h.valid_from.label("starts_at"), h.valid_to.label("ends_at"),
        where=and_(h.status == "active", _is_span(h.valid_from, h.valid_to)),
    )  # fmt: skip
    a = living(entities.accounts, "customers")
    since = a.c.became_customer_at
    first = first_statuses(history)
    is_before = case(
        (first.c.account_id.is_(None), case((a.c.lifecycle == "customer", 1), else_=0)),
        (and_(first.c.status == "active", since < first.c.valid_from), 1),
        else_=0,
    )
    joined = a.outerjoin(first, first.c.account_id == a.c.id)
    columns = (a.c.id.label("account_id"), since.label("starts_at"), first.c.valid_from.label("ends_at"))
    dated = select(*columns).select_from(joined).where(since.is_not(None), is_before == 1).subquery("dated")
    before = by_account(dated, "spans_before", dated.c.starts_at, dated.c.ends_at)
    return union_all(select(*known.c), select(*before.c)).subquery("status_spans")


def undated() -> Subquery:
    """Customers by their lifecycle of whom nobody knows since when: no status history, no date."""
    history = living(entities.account_status_history)
    a = living(entities.accounts, "customers")
    first = first_statuses(history)
    columns = (a.c.id.label("account_id"), a.c.owner_id, a.c.region, a.c.lead_source, a.c.source_id)
    joined = a.outerjoin(first, first.c.account_id == a.c.id)
    is_undated = and_(a.c.lifecycle == "customer", a.c.became_customer_at.is_(None), first.c.account_id.is_(None))
    return select(*columns).select_from(joined).where(is_undated).subquery("undated")


def _subscription_spans(churn_date: str) -> Subquery:
    """Times with a paid subscription: not in its trial, not free, past due counts until it ends."""
    table = living(entities.subscriptions)
    s = table.c
    starts = case((s.trial_end > s.started_at, s.trial_end), else_=s.started_at)
    ends = ends_of(table, churn_date)
    paid = s.amount - func.coalesce(s.discount, 0) > 0
    known_end = or_(func.coalesce(s.status, "").not_in(["paused", "ended"]), s.ended_at.is_not(None))
    where = and_(func.coalesce(s.status, "") != "trial", known_end, paid, _is_span(starts, ends))
    return by_account(table, "subscription_spans", starts.label("starts_at"), ends.label("ends_at"), where=where)


def ends_of(table: FromClause, churn_date: str) -> ColumnElement[Any]:
    """When a subscription ends: with the paid term, with the notice, or a day after the term."""
    s = table.c
    if churn_date == "cancellation":
        is_earlier = or_(s.ended_at.is_(None), s.cancel_requested_at < s.ended_at)
        return case((is_earlier, func.coalesce(s.cancel_requested_at, s.ended_at)), else_=s.ended_at)
    return later(s.ended_at, days=1) if churn_date == "day_after" else s.ended_at


def _deal_spans() -> Subquery:
    """From each won deal until the account is next marked as churned; none for former customers of an unknown end."""
    deals, history = living(entities.deals), living(entities.account_status_history)
    a = living(entities.accounts, "customers")
    won = by_account(
        deals, "won", deals.c.id.label("deal_id"), deals.c.closed_at, where=and_(deals.c.state == "won", deals.c.closed_at <= NOW)
    )
    left = by_account(history, "left_accounts", history.c.valid_from.label("left_at"), where=history.c.status == "churned")
    ends = func.min(case((left.c.left_at > won.c.closed_at, left.c.left_at)))
    ever_left = func.count(left.c.left_at)
    joined = won.outerjoin(left, left.c.account_id == won.c.account_id).outerjoin(a, a.c.id == won.c.account_id)
    is_lost = and_(func.max(func.coalesce(a.c.lifecycle, "")) == "former", ever_left == 0)
    columns = (won.c.account_id, won.c.closed_at.label("starts_at"), ends.label("ends_at"))
    found = select(*columns, case((is_lost, 1), else_=0).label("is_lost")).select_from(joined)
    grouped = found.group_by(won.c.account_id, won.c.deal_id, won.c.closed_at).subquery("won_spans")
    g = grouped.c
    return select(g.account_id, g.starts_at, g.ends_at).where(g.is_lost == 0).subquery("deal_spans")


def spells(rows: FromClause, name: str, *, by_day: bool = False) -> Subquery:
    """Spans without gaps between them, numbered from 1 for each account: ``account_id, spell, starts_at, ends_at``.

    Args:
        rows: spans.
        name: what the result is called in SQL.
        by_day: whether only midnights are looked at: a customer who leaves and returns on the same day has not left, and one who
            comes and goes on the same day has never been there.
    """
    r = rows.c
    begin, end = (local_date(r.starts_at), local_date(r.ends_at)) if by_day else (r.starts_at, r.ends_at)
    keyed = select(*rows.c, begin.label("begins"), end.label("ends")).where(or_(r.ends_at.is_(None), begin < end))
    k = keyed.subquery(f"{name}_keyed").c
    columns = (k.account_id, k.begins, func.max(k.ends).label("ends"), func.min(k.starts_at).label("starts_at"))
    is_open = func.max(case((k.ends_at.is_(None), 1), else_=0)).label("is_open")
    once = select(*columns, func.max(k.ends_at).label("ends_at"), is_open).group_by(k.account_id, k.begins)
    first = once.subquery(f"{name}_once")
    f = first.c
    so_far: dict[str, Any] = {"partition_by": f.account_id, "order_by": f.begins, "rows": (None, -1)}
    goes_on = or_(func.max(f.is_open).over(**so_far) == 1, func.max(f.ends).over(**so_far) >= f.begins)
    marked = select(*first.c, case((goes_on, 0), else_=1).label("is_first")).subquery(f"{name}_marked")
    m = marked.c
    number = func.sum(m.is_first).over(partition_by=m.account_id, order_by=m.begins, rows=(None, 0))
    numbered = select(*marked.c, number.label("spell")).subquery(f"{name}_numbered")
    n = numbered.c
    ends_at = case((func.max(n.is_open) == 1, null()), else_=func.max(n.ends_at))
    found = (n.account_id, n.spell, func.min(n.starts_at).label("starts_at"), ends_at.label("ends_at"))
    return select(*found).group_by(n.account_id, n.spell).subquery(name)
