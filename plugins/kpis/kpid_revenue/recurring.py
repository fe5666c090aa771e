"""Monthly recurring revenue: what it is at both ends of a period, and what moved it.

Amounts are kept per year: every interval (week, month, quarter, half, year) is in it a whole number of times, so that nothing is
lost to rounding before the last division by 12. A subscription is converted at the rate of its start, the date of the movement:
exchange rates alone move nothing, unless the source itself records such movements.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal, or_, select, union_all
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import PERIODS, by_account, converted, days_between, described, entities, holds_at, later, living

PER_YEAR = {"week": 52, "month": 12, "quarter": 4, "half": 2, "year": 1}
KINDS = ("new", "expansion", "contraction", "churn", "reactivation", "fx")


@lru_cache
def subscriptions(discounts: str, churn_date: str) -> Subquery:
    """Paid subscriptions: ``id, account_id, owner_id, starts_at, ends_at, annual, annual_lacks, is_unpriced``, product and plan.

    No trials, and nothing that is free; paused and ended ones without an end are left out. An interval that is not given is a
    month; one that is unknown, or no amount, is ``is_unpriced`` and worth nothing.
    """
    table, products = living(entities.subscriptions), living(entities.products)
    s = table.c
    times = case(*((s.interval == name, number) for name, number in PER_YEAR.items()), (s.interval.is_(None), 12))
    off: ColumnElement[Any] = func.coalesce(s.discount, 0)
    if discounts == "forever_only":
        off = case((func.coalesce(s.discount_forever, False), off), else_=0)
    price = s.amount - off
    starts = case((s.trial_end > s.started_at, s.trial_end), else_=s.started_at)
    ends = _ends(table, churn_date)
    known_end = or_(func.coalesce(s.status, "").not_in(["paused", "ended"]), s.ended_at.is_not(None))
    where = and_(
        func.coalesce(s.status, "") != "trial", known_end, starts.is_not(None), or_(ends.is_(None), ends > starts),
        func.coalesce(price > 0, True),
    )  # fmt: skip
    unpriced = case((or_(price.is_(None), times.is_(None)), 1), else_=0).label("is_unpriced")
    rows = by_account(
        table, "paid", s.id, s.owner_id, s.product_id, s.plan, s.currency, s.source_id, starts.label("starts_at"),
        ends.label("ends_at"), (price * times).label("annual"), unpriced, where=where,
    )  # fmt: skip
    r = rows.c
    product = func.coalesce(products.c.name, r.product_id).label("product")
    named = select(*rows.c, product).select_from(rows.outerjoin(products, products.c.id == r.product_id)).subquery("paid_named")
    return converted(named, "paid_subscriptions", annual=(named.c.annual, named.c.currency, named.c.starts_at))


def _ends(table: Subquery, churn_date: str) -> ColumnElement[Any]:
    """When a subscription ends: with the paid term, with the notice, or a day after the term."""
    s = table.c
    if churn_date == "cancellation":
        is_earlier = or_(s.ended_at.is_(None), s.cancel_requested_at < s.ended_at)
        return case((is_earlier, func.coalesce(s.cancel_requested_at, s.ended_at)), else_=s.ended_at)
    return later(s.ended_at, days=1) if churn_date == "day_after" else s.ended_at


@lru_cache
def moves(movements: str, discounts: str, churn_date: str) -> Subquery:
    """``account_id, at, kind, annual, lacks``: each change of an account's recurring revenue, and what accounts are cut by."""
    if movements == "recorded":
        m = _recorded().c
        return described(select(m.account_id, m.at, m.kind, m.annual, m.lacks).subquery("recorded_moves"), "moves")
    return described(_derived_moves(discounts, churn_date), "moves")


@lru_cache
def _recorded() -> Subquery:
    """Movements as the source has them, with the product and plan of their subscription."""
    table, products, subscribed = (
        living(entities.mrr_movements),
        living(entities.products),
        entities.subscriptions.alias("of_plan"),
    )
    m = table.c
    columns = (m.subscription_id, m.at, m.kind, (m.amount * 12).label("annual"), m.currency, m.owner_id, m.source_id)
    rows = by_account(table, "recorded", *columns, where=m.at.is_not(None))
    changed = converted(rows, "recorded_converted", annual=(rows.c.annual, rows.c.currency, rows.c.at))
    c, s = changed.c, subscribed.c
    joined = changed.outerjoin(subscribed, s.id == c.subscription_id).outerjoin(products, products.c.id == s.product_id)
    named = (func.coalesce(products.c.name, s.product_id).label("product"), s.plan)
    worth = (func.coalesce(c.annual, 0).label("annual"), _flag(c.annual_lacks).label("lacks"))
    return (
        select(c.account_id, c.owner_id, c.source_id, c.at, c.kind, c.currency, *named, *worth)
        .select_from(joined)
        .subquery("recorded")
    )


def _flag(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return case((condition, 1), else_=0)


def _derived_moves(discounts: str, churn_date: str) -> Subquery:
    """Movements seen in the subscriptions: what an account pays before and after each instant at which one begins or ends."""
    s = subscriptions(discounts, churn_date).c
    worth, lacks = func.coalesce(s.annual, 0), _flag(s.annual_lacks).label("lacks")
    begun = select(s.account_id, s.starts_at.label("at"), worth.label("change"), lacks)
    ended = select(s.account_id, s.ends_at.label("at"), (-worth).label("change"), lacks).where(s.ends_at.is_not(None))
    both = union_all(begun, ended).subquery("changes").c
    summed = (
        select(both.account_id, both.at, func.sum(both.change).label("change"), func.max(both.lacks).label("lacks"))
        .group_by(both.account_id, both.at)
        .subquery("changes_at")
    )
    c = summed.c
    after = func.sum(c.change).over(partition_by=c.account_id, order_by=c.at, rows=(None, 0)).label("after")
    balanced = select(*summed.c, after).subquery("changes_after")
    b = balanced.c
    peak = func.max(b.after).over(partition_by=b.account_id, order_by=b.at, rows=(None, -1)).label("peak")
    known = select(*balanced.c, peak).subquery("changes_known")
    k = known.c
    before = k.after - k.change
    kind = case(
        (and_(before == 0, func.coalesce(k.peak, 0) == 0), "new"),
        (before == 0, "reactivation"),
        (k.after == 0, "churn"),
        (k.change > 0, "expansion"),
        else_="contraction",
    )
    found = select(k.account_id, k.at, kind.label("kind"), k.change.label("annual"), k.lacks)
    return found.where(or_(k.change != 0, k.lacks == 1)).subquery("derived_moves")


@lru_cache
def recurring(movements: str, discounts: str, churn_date: str) -> Subquery:
    """A row per period and subscription, or movement: ``annual_start, annual_end, at_start, is_unpriced, lacks, days``."""
    t = PERIODS.c
    elapsed = days_between(t.starts, t.as_of) + case((t.is_current, 1), else_=0)
    days = (days_between(t.starts, t.ends).label("days"), elapsed.label("elapsed"))
    if movements == "recorded":
        source = _recorded()
        m = source.c
        before = m.at < t.starts
        worth = (
            case((before, m.annual), else_=0).label("annual_start"),
            m.annual.label("annual_end"),
            _flag(before).label("at_start"),
        )
        own = (m.account_id, m.owner_id, m.source_id, m.product, m.plan, m.currency, m.lacks, literal(0).label("is_unpriced"))
        return select(t.no, *own, *worth, *days).select_from(source.join(PERIODS, m.at < t.until)).subquery("recurring")
    source = subscriptions(discounts, churn_date)
    s = source.c
    at_start, at_end = holds_at(s.starts_at, s.ends_at, t.starts), holds_at(s.starts_at, s.ends_at, t.until)
    annual = func.coalesce(s.annual, 0)
    starts, ends = case((at_start, annual), else_=0).label("annual_start"), case((at_end, annual), else_=0).label("annual_end")
    facts = (s.account_id, s.owner_id, s.source_id, s.product, s.plan, s.currency, s.is_unpriced)
    lacks = _flag(s.annual_lacks).label("lacks")
    touches = and_(s.starts_at < t.until, or_(s.ends_at.is_(None), s.ends_at >= t.starts))
    found = select(t.no, *facts, lacks, starts, ends, _flag(at_start).label("at_start"), *days)
    return found.select_from(source.join(PERIODS, touches)).subquery("recurring")


@lru_cache
def by_customer(movements: str, discounts: str, churn_date: str) -> Subquery:
    """A row per period and account: ``annual_start, annual_end, subs_start`` (of movements 1 or 0), ``lacks, days, elapsed``."""
    r = recurring(movements, discounts, churn_date).c
    start = func.sum(r.annual_start)
    number = _flag(start > 0) if movements == "recorded" else func.sum(r.at_start)
    sums = (start.label("annual_start"), func.sum(r.annual_end).label("annual_end"), number.label("subs_start"))
    days = (func.max(r.days).label("days"), func.max(r.elapsed).label("elapsed"))
    grouped = select(r.no, r.account_id, *sums, func.max(r.lacks).label("lacks"), *days)
    return described(grouped.group_by(r.no, r.account_id).subquery("paying_sums"), "paying")


@lru_cache
def moves_by_day(movements: str, discounts: str, churn_date: str) -> Subquery:
    """Movements with the number of their day in each period: ``no, day, kind, annual, lacks``."""
    source = moves(movements, discounts, churn_date)
    m, t = source.c, PERIODS.c
    joined = source.join(PERIODS, and_(m.at >= t.starts, m.at < t.until))
    day = days_between(t.starts, m.at).label("day")
    return select(t.no, day, *(column for column in m)).select_from(joined).subquery("moves_by_day")
