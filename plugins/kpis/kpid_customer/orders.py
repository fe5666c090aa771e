"""Orders that count as purchases, and what was bought in them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, case, extract, func, literal, or_, select, union_all
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import NOW, PERIODS, by_account, entities, living, local_date, seconds_between

OPTIONAL = ("accounts", "refunds", "products", "subscriptions", "account_status_history")
"""What refines the figures where a source delivers it."""


def _purchases() -> Subquery:
    """Orders that were not cancelled and not wholly refunded; credit notes (below 0) are no purchases."""
    orders, refunds = living(entities.orders), living(entities.refunds)
    refunded = (
        select(refunds.c.order_id, func.sum(refunds.c.amount).label("amount"))
        .where(refunds.c.refunded_at <= NOW)
        .group_by(refunds.c.order_id)
        .subquery("refunded")
    )
    joined = select(*orders.c, refunded.c.amount.label("refunded")).select_from(
        orders.outerjoin(refunded, refunded.c.order_id == orders.c.id)
    )
    rows = joined.subquery("orders_refunded")
    o = rows.c
    is_gone = and_(o.net_amount > 0, func.coalesce(o.refunded, 0) >= o.net_amount)
    where = and_(
        func.coalesce(o.status, "") != "cancelled", or_(o.net_amount.is_(None), o.net_amount >= 0), ~func.coalesce(is_gone, False)
    )
    return by_account(rows, "purchases", o.id, o.ordered_at, o.owner_id, o.currency, o.source_id, where=where)


PURCHASES = _purchases()


def week_of_quarter(instant: ColumnElement[Any]) -> ColumnElement[Any]:
    """``01`` to ``14``: the week of the calendar quarter that an instant's local day lies in; 01 is its first seven days."""
    date = local_date(instant)
    month, day, year = (extract(part, date) for part in ("month", "day", "year"))
    is_leap = and_(func.mod(year, 4) == 0, or_(func.mod(year, 100) != 0, func.mod(year, 400) == 0))
    before = case(
        (month == 2, 31), (and_(month == 3, is_leap), 60), (month == 3, 59), (month == 5, 30), (month == 6, 61),
        (month == 8, 31), (month == 9, 62), (month == 11, 31), (month == 12, 61), else_=0,
    )  # fmt: skip
    return case(*((before + day <= 7 * week, f"{week:02}") for week in range(1, 14)), (date.is_not(None), "14"))


def _ranked() -> Subquery:
    p = PURCHASES.c
    first = func.min(p.ordered_at).over(partition_by=p.account_id)
    week = week_of_quarter(p.ordered_at).label("week_of_quarter")
    return select(*PURCHASES.c, first.label("first_at"), week).subquery("ranked_orders")


RANKED = _ranked()
"""Purchases, with the time of the account's first one and the week of the quarter."""


@lru_cache
def buyers(days: int | None, by_day: bool) -> Subquery:
    """``no, account_id, orders``: how often an account has bought up to a period's end, ever or in the last days.

    Args:
        days: how many days; None: ever.
        by_day: whether several orders on one local day are one.
    """
    p, t = PURCHASES.c, PERIODS.c
    known = p.ordered_at < t.until
    if days is not None:
        known = and_(known, seconds_between(p.ordered_at, t.until) <= 86_400 * days)
    number = func.count(local_date(p.ordered_at).distinct()) if by_day else func.count()
    columns = (t.no, p.account_id, number.label("orders"))
    return select(*columns).select_from(PURCHASES.join(PERIODS, known)).group_by(t.no, p.account_id).subquery("buyers")


def _bought(level: str) -> Subquery:
    """``account_id, thing, origin, at, size``: what accounts bought or subscribed to when, and how much of it."""
    lines, products, subscriptions = (
        living(table) for table in (entities.order_lines, entities.products, entities.subscriptions)
    )

    def thing(product: ColumnElement[Any], catalogue: Any) -> ColumnElement[Any]:
        return func.coalesce(catalogue.c.category, product) if level == "category" else product

    line, own = products.alias("line_products"), products.alias("own_products")
    joined = lines.join(PURCHASES, PURCHASES.c.id == lines.c.order_id).outerjoin(line, line.c.id == lines.c.product_id)
    columns = (
        PURCHASES.c.account_id,
        thing(lines.c.product_id, line).label("thing"),
        lines.c.product_id,
        literal("order").label("origin"),
    )
    size = func.coalesce(lines.c.quantity, 1).label("size")
    ordered = select(*columns, PURCHASES.c.ordered_at.label("at"), size).select_from(joined)
    s = subscriptions.c
    place = subscriptions.outerjoin(own, own.c.id == s.product_id)
    rows = select(*subscriptions.c, thing(s.product_id, own).label("thing")).select_from(place).subquery("subscribed_rows")
    yearly = case(
        *((rows.c.interval == name, times) for name, times in (("week", 52), ("quarter", 4), ("half", 2), ("year", 1))), else_=12
    )
    worth = ((rows.c.amount - func.coalesce(rows.c.discount, 0)) * yearly).label("size")
    subscribed = by_account(
        rows, "subscribed", rows.c.thing, rows.c.product_id, literal("subscription").label("origin"),
        rows.c.started_at.label("at"), worth, where=func.coalesce(rows.c.status, "") != "trial",
    )  # fmt: skip
    together = union_all(ordered, select(*subscribed.c)).subquery("bought_rows")
    t = together.c
    keys = (t.account_id, t.thing, t.origin, t.at)
    product = func.min(t.product_id).label("product_id")
    found = select(*keys, product, func.sum(t.size).label("size")).where(t.thing.is_not(None), t.at.is_not(None))
    return found.group_by(*keys).subquery("bought")


@lru_cache
def sold(level: str) -> Subquery:
    """``no, account_id, product, is_new, is_more``: what an account bought in a period: new to it, or more than ever."""
    bought, products = _bought(level), living(entities.products)
    b, t = bought.c, PERIODS.c
    first = func.min(b.at).over(partition_by=[b.account_id, b.thing])
    before: dict[str, Any] = {"partition_by": [b.account_id, b.thing, b.origin], "order_by": b.at, "rows": (None, -1)}
    peak = func.max(b.size).over(**before)
    marked = select(*bought.c, first.label("first_at"), peak.label("peak")).subquery("marked_purchases")
    m = marked.c
    joined = marked.join(PERIODS, and_(m.at >= t.starts, m.at < t.until)).outerjoin(products, products.c.id == m.product_id)
    product = func.coalesce(products.c.name, m.product_id).label("product")
    new, more = case((m.at == m.first_at, 1), else_=0).label("is_new"), case((m.size > m.peak, 1), else_=0).label("is_more")
    return select(t.no, m.account_id, product, new, more).select_from(joined).subquery("sold")


@lru_cache
def bought_again() -> Subquery:
    """``no, account_id, orders``: accounts that bought in a period."""
    p, t = PURCHASES.c, PERIODS.c
    joined = PURCHASES.join(PERIODS, and_(p.ordered_at >= t.starts, p.ordered_at < t.until))
    return (
        select(t.no, p.account_id, func.count().label("orders"))
        .select_from(joined)
        .group_by(t.no, p.account_id)
        .subquery("bought_again")
    )
