"""What orders bring in and refunds take away, in the reporting currency."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select, union_all
from sqlalchemy.sql.expression import FromClause, Subquery

from kpid.plugin import NOW, PERIODS, by_account, converted, counts, days_between, described, entities, living, seconds_between

OPTIONAL = ("accounts", "refunds", "products")
"""What refines the figures where a source delivers it."""


def _orders() -> Subquery:
    """Orders that were not cancelled, and whether each is a purchase: no credit note, and not wholly refunded."""
    orders, refunds = living(entities.orders), living(entities.refunds)
    amount = func.sum(refunds.c.amount).label("amount")
    happened = select(refunds.c.order_id, amount).where(refunds.c.refunded_at <= NOW)
    refunded = happened.group_by(refunds.c.order_id).subquery("refunded")
    o = orders.c
    is_gone = and_(o.net_amount > 0, func.coalesce(refunded.c.amount, 0) >= o.net_amount)
    is_note = o.net_amount < 0
    purchase = case((func.coalesce(or_(is_gone, is_note), False), 0), else_=1).label("is_purchase")
    joined = orders.outerjoin(refunded, refunded.c.order_id == o.id)
    found = select(*orders.c, purchase).select_from(joined).where(func.coalesce(o.status, "") != "cancelled")
    return found.subquery("orders_kept")


ORDERS = _orders()


@lru_cache
def revenue(refund_basis: str, rev_date: str) -> Subquery:
    """A row per order and refund: ``account_id, owner_id, at, amount``, ``net`` (converted at that date) and ``is_purchase``."""
    refunds = living(entities.refunds)
    o, r = ORDERS.c, refunds.c
    every = entities.orders.alias("refunded_orders")
    was = every.c
    when = was[rev_date]
    order_rows = by_account(
        ORDERS, "revenue_orders", o.id.label("order_id"), o.owner_id, o[rev_date].label("at"), o.net_amount.label("amount"),
        o.currency, o.source_id, o.is_purchase, literal(1).label("is_order"), or_nobody=True,
    )  # fmt: skip
    at = r.refunded_at if refund_basis == "refund_date" else case((was.id.is_(None), r.refunded_at), else_=when)
    stands = or_(was.id.is_(None), and_(func.coalesce(was.status, "") != "cancelled", *counts(every)))
    back = (
        select(
            func.coalesce(was.account_id, r.account_id).label("account_id"), r.order_id, was.owner_id, at.label("at"),
            (-func.abs(r.amount)).label("amount"), func.coalesce(r.currency, was.currency).label("currency"), r.source_id,
        )
        .select_from(refunds.outerjoin(every, was.id == r.order_id))
        .where(stands, r.refunded_at <= NOW)
        .subquery("refund_rows")
    )  # fmt: skip
    b = back.c
    refund_rows = by_account(
        back, "revenue_refunds", b.order_id, b.owner_id, b.at, b.amount, b.currency, b.source_id,
        literal(0).label("is_purchase"), literal(0).label("is_order"), or_nobody=True,
    )  # fmt: skip
    rows = union_all(select(*order_rows.c), select(*refund_rows.c)).subquery("revenue_rows")
    a = entities.accounts.alias("paid_by")
    by_source = select(*rows.c, a.c.lead_source).select_from(rows.outerjoin(a, a.c.id == rows.c.account_id))
    named = by_source.subquery("revenue_named")
    c = named.c
    return converted(named, "revenue", net=(c.amount, c.currency, c.at))


@lru_cache
def per_customer(refund_basis: str, rev_date: str, *, ever: bool, to_parent: bool = False) -> Subquery:
    """``no, account_id, net, orders, lacks, days``: a row per period and customer.

    Args:
        refund_basis: see :func:`revenue`.
        rev_date: see :func:`revenue`.
        ever: everything up to the period's end, or the period's alone.
        to_parent: what subsidiaries bring counts for their parent, or its parent.
    """
    source = revenue(refund_basis, rev_date)
    c, t = source.c, PERIODS.c
    account: ColumnElement[Any] = c.account_id
    joined: FromClause = source.join(PERIODS, and_(c.at < t.until, *([] if ever else [c.at >= t.starts])))
    if to_parent:
        own, parent = entities.accounts.alias("own"), entities.accounts.alias("parent")
        joined = joined.outerjoin(own, own.c.id == c.account_id).outerjoin(parent, parent.c.id == own.c.parent_id)
        account = func.coalesce(parent.c.parent_id, own.c.parent_id, c.account_id)
    named = (
        select(t.no, account.label("account_id"), c.net, c.net_lacks, c.is_purchase, days_between(t.starts, t.ends).label("days"))
        .select_from(joined)
        .where(c.account_id.is_not(None))
        .subquery("named_revenue")
    )
    n = named.c
    lacks = func.max(case((n.net_lacks, 1), else_=0)).label("lacks")
    sums = (func.sum(n.net).label("net"), func.sum(n.is_purchase).label("orders"), lacks, func.max(n.days).label("days"))
    return described(select(n.no, n.account_id, *sums).group_by(n.no, n.account_id).subquery("customer_revenue"), "customers")


@lru_cache
def beside_previous(refund_basis: str, rev_date: str) -> Subquery:
    """Revenue of each period (``is_now`` 1) and of the span of the same length just before it (0)."""
    source = revenue(refund_basis, rev_date)
    c, t = source.c, PERIODS.c
    is_now = and_(c.at >= t.starts, c.at < t.until)
    is_before = and_(c.at < t.starts, seconds_between(c.at, t.starts) <= seconds_between(t.starts, t.ends))
    joined = source.join(PERIODS, or_(is_now, is_before))
    return select(t.no, case((is_now, 1), else_=0).label("is_now"), *source.c).select_from(joined).subquery("revenue_twice")


@lru_cache
def crossed(level: str) -> Subquery:
    """Order lines of what was new to a customer who had bought before: ``at, net, net_lacks`` and the order's columns."""
    lines, products = living(entities.order_lines), living(entities.products)
    o = ORDERS.c
    bought = by_account(
        ORDERS,
        "bought",
        o.id,
        o.owner_id,
        o.ordered_at,
        o.currency,
        o.source_id,
        where=and_(o.is_purchase == 1, o.ordered_at.is_not(None)),
    )
    first_order = func.min(bought.c.ordered_at).over(partition_by=bought.c.account_id).label("first_order_at")
    firsts = select(*bought.c, first_order).subquery("bought_first")
    f = firsts.c
    thing = func.coalesce(products.c.category, lines.c.product_id) if level == "category" else lines.c.product_id
    joined = lines.join(firsts, f.id == lines.c.order_id).outerjoin(products, products.c.id == lines.c.product_id)
    first_at = func.min(f.ordered_at).over(partition_by=[f.account_id, thing]).label("first_at")
    product = func.coalesce(products.c.name, lines.c.product_id).label("product")
    money = func.coalesce(lines.c.currency, f.currency).label("currency")
    columns = (
        f.account_id,
        f.owner_id,
        f.source_id,
        product,
        f.ordered_at.label("at"),
        lines.c.net_amount.label("amount"),
        money,
    )
    rows = select(*columns, f.first_order_at, first_at).select_from(joined).where(thing.is_not(None)).subquery("line_rows")
    r = rows.c
    a = entities.accounts.alias("buyers")
    is_new = and_(r.at == r.first_at, r.at > r.first_order_at)
    named = select(*rows.c, a.c.lead_source).select_from(rows.outerjoin(a, a.c.id == r.account_id))
    new = named.where(is_new).subquery("new_things")
    return converted(new, "crossed", net=(new.c.amount, new.c.currency, new.c.at))
