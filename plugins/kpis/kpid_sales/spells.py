"""When deals were in the pipeline: from their creation, or from when they were re-opened, until they were closed.

The plain view knows a deal from its creation to its latest closing. With histories that may be its first closing, or it leaves
the pipeline with each closing and comes back with each re-opening. A change from won to lost re-opens and closes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sqlalchemy import Subquery, and_, case, func, or_, select

from kpid.plugin import During, Measure, count, count_distinct, living
from kpid_sales.closings import COLUMNS, deals, events


def in_pipeline(params: Mapping[str, str]) -> Measure:
    """Different deals that were open at the start of a period, or came into the pipeline in it."""
    basis, reopen = params["close_basis"], params["reopen"]
    if (basis, reopen) == ("crm_date", "latest"):
        clock = During(deals.c.created_at, deals.c.closed_at, deals.c.state == "open")
        return Measure(deals, clock, count(), label="deals in the pipeline")
    entity = _spells(reopen)
    ended = entity.c.crm_at if basis == "crm_date" else entity.c.moved_at
    agg = count_distinct(entity.c.id) if reopen == "every" else count()
    return Measure(entity, During(entity.c.begun_at, ended, entity.c.state == "open"), agg, label="deals in the pipeline")


@cache
def _spells(reopen: str) -> Subquery:
    """A row per time that a deal was in the pipeline: ``begun_at``, and when it left: by the CRM's date, or when history saw it.

    Without an end it is there still, if the deal's own ``state`` says so.
    """
    known = events().c
    order = [known.own, known.moved_at, known.seq, known.move_id]
    told = {"number": func.row_number(), "before": func.lag(known.state), "since": func.lag(known.moved_at)}
    beside = [function.over(partition_by=known.deal_id, order_by=order).label(name) for name, function in told.items()]
    e = select(known.deal_id, known.state, known.moved_at, known.back, *beside).subquery("deal_turns").c
    d = living(deals, "piped_deals").c
    is_closing = e.state.in_(["won", "lost"])
    is_reopened = e.before == "open"
    is_first = or_(e.number == 1, and_(e.number == 2, is_reopened))  # states alternate: before the first closing it was open
    again = case((or_(e.number.is_(None), is_first), d.created_at), (and_(is_closing, is_reopened), e.since), else_=e.moved_at)
    begun = again if reopen == "every" else d.created_at
    is_last = e.back == 1
    counts = {
        "every": or_(is_closing, is_last),
        "first": or_(and_(is_closing, is_first), and_(is_last, e.number == 1)),
        "latest": is_last,
    }[reopen]
    own = case((or_(e.state.is_(None), d.state.in_(["won", "lost"])), d.closed_at))
    moved = case((is_closing, e.moved_at), else_=own)
    is_current = and_(is_last, is_closing, e.state == d.state, d.closed_at.is_not(None))
    crm = case((is_current, d.closed_at), else_=moved)
    return (
        select(*(d[name] for name in COLUMNS), d.state, begun.label("begun_at"), moved.label("moved_at"), crm.label("crm_at"))
        .select_from(d.id.table.outerjoin(e.deal_id.table, e.deal_id == d.id))
        .where(or_(e.deal_id.is_(None), counts))
        .subquery(f"deal_spells_{reopen}")
    )
