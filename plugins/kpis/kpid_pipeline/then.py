"""Deals as they were at an instant: open or closed, in which stage, at what amount.

Fields are read from their history: each value holds until the next one. Before the first value that a history knows, that first
one stands in; a deal without a history of a field has today's value. What a text cannot mean (an amount of ``n/a``) is no value.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import CTE, ColumnElement, Subquery, and_, case, func, literal, not_, or_, select, union_all
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import NOW, PERIODS, Param, converted, date_of, entities, living, local_date, number_of

deals = entities.deals
HISTORIES = ("deal_field_history", "deal_stage_history")
OPTIONAL = (*HISTORIES, "stages")
"""What refines the figures where it is delivered."""
COLUMNS = (
    "id", "source_id", "owner_id", "account_id", "pipeline_id", "product", "region", "lead_source", "campaign", "campaign_id",
    "deal_type", "created_at", "extra",
)  # fmt: skip
DIMENSIONS = (
    "owner", "team", "region", "pipeline", "stage", "product", "lead_source", "campaign", "segment", "industry", "country",
    "account", "currency", "deal_type", "source",
)  # fmt: skip
MISSING_FX = Param(("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning.")
WEIGHT = Param(("count", "amount"), "Weigh each deal alike, or by its amount.")
DEGRADES = {
    "deal_field_history": "Without a history of fields past instants show today's amounts and expected closing dates.",
    "deal_stage_history": "Without a history of stages re-opened deals count as open all along, and deals are in today's stage.",
}


@cache
def spans(field: str) -> CTE:
    """The history of a field as spans that do not overlap: ``deal_id, value, valid_from, ends, place`` (1: the first one)."""
    f = living(entities.deal_field_history).c
    newest = [f.updated_at.desc().nulls_last(), f.id]
    rank = func.row_number().over(partition_by=[f.deal_id, f.valid_from], order_by=newest)
    known = select(f.deal_id, f.value, f.valid_from, f.valid_to, rank.label("rank")).where(
        f.field == field, f.valid_from.is_not(None), f.valid_from <= NOW
    )
    return _apart(known.subquery(f"{field}_all"), "value", f"kpid_{field}_spans")


@cache
def stage_spans() -> CTE:
    """Which stage deals were in, as spans that do not overlap: ``deal_id, stage_id, valid_from, ends, place``."""
    s = living(entities.deal_stage_history).c
    newest = [s.seq.desc().nulls_last(), s.updated_at.desc().nulls_last(), s.id.desc()]
    rank = func.row_number().over(partition_by=[s.deal_id, s.valid_from], order_by=newest)
    known = select(s.deal_id, s.stage_id, s.valid_from, s.valid_to, rank.label("rank")).where(s.valid_from <= NOW)
    return _apart(known.subquery("stages_all"), "stage_id", "kpid_stage_spans")


def _apart(known: Subquery, value: str, name: str) -> CTE:
    c = known.c
    follows = func.lead(c.valid_from).over(partition_by=c.deal_id, order_by=c.valid_from)
    ends = func.least(func.coalesce(c.valid_to, follows), func.coalesce(follows, c.valid_to))
    place = func.row_number().over(partition_by=c.deal_id, order_by=c.valid_from)
    columns = (c.deal_id, c[value], c.valid_from, ends.label("ends"), place.label("place"))
    return select(*columns).where(c.rank == 1).cte(name)


def at(span: FromClause, deal_id: ColumnElement[str], instant: ColumnElement[Any]) -> ColumnElement[bool]:
    """The span of a deal that holds just before an instant."""
    begun = or_(span.c.valid_from < instant, span.c.place == 1)
    return and_(span.c.deal_id == deal_id, begun, or_(span.c.ends.is_(None), span.c.ends >= instant))


def _moves() -> Subquery:
    """Every known state of deals and since when: ``deal_id, state, moved_at, seq, move_id``."""
    f, s, t = living(entities.deal_field_history).c, living(entities.deal_stage_history).c, living(entities.stages).c
    states = ("open", "won", "lost")
    told = and_(f.field == "state", f.value.in_(states), f.valid_from <= NOW)
    first = (f.deal_id, f.value.label("state"), f.valid_from.label("moved_at"), literal(0).label("seq"), f.id.label("move_id"))
    have = select(f.deal_id).where(told).distinct().subquery("deals_with_states")
    by_stage = (
        select(s.deal_id, t.state, s.valid_from, func.coalesce(s.seq, 0), s.id)
        .select_from(s.id.table.join(t.id.table, t.id == s.stage_id).outerjoin(have, have.c.deal_id == s.deal_id))
        .where(have.c.deal_id.is_(None), t.state.in_(states), s.valid_from <= NOW)
    )
    return union_all(select(*first).where(told), by_stage).subquery("deal_moves")


@cache
def states() -> CTE:
    """What state deals were in since when: ``deal_id, state, valid_from, ends``.

    A deal whose state today is not the last one that its history knows is taken at its own word, from its own date on.
    """
    d, m = living(deals).c, _moves().c
    newest = [m.moved_at.desc(), m.seq.desc(), m.move_id.desc()]
    back = func.row_number().over(partition_by=m.deal_id, order_by=newest)
    moves = select(m.deal_id, m.state, m.moved_at, m.seq, m.move_id, back.label("back")).cte("kpid_deal_moves")
    last = moves.alias("last_move")
    since = case((d.state == "open", func.coalesce(d.opened_at, last.c.moved_at)), else_=d.closed_at)
    not_before = case((since < last.c.moved_at, last.c.moved_at), else_=since)
    own = (
        select(d.id, d.state, not_before, literal(1), literal(0), d.id)
        .select_from(d.id.table.join(last, and_(last.c.deal_id == d.id, last.c.back == 1)))
        .where(d.state.in_(["open", "won", "lost"]), last.c.state != d.state, since <= NOW)
    )
    c = moves.c
    seen = select(c.deal_id, c.state, c.moved_at.label("valid_from"), literal(0).label("own"), c.seq, c.move_id)
    e = union_all(seen, own).subquery("deal_states_all").c
    ends = func.lead(e.valid_from).over(partition_by=e.deal_id, order_by=[e.own, e.valid_from, e.seq, e.move_id])
    return select(e.deal_id, e.state, e.valid_from, ends.label("ends")).cte("kpid_deal_states")


def state_at(instant: ColumnElement[Any], deal_id: ColumnElement[str]) -> ColumnElement[bool]:
    """The known state of a deal just before an instant."""
    known = states().c
    return and_(known.deal_id == deal_id, known.valid_from < instant, or_(known.ends.is_(None), known.ends >= instant))


@cache
def open_deals(*, at_start: bool = False) -> Subquery:
    """A row per period and deal that is open at its end (or its start), with everything as it was then.

    ``value`` (``was_worth`` at the start) is the amount in the reporting currency; ``closes_inside`` says whether the deal should
    be closed within the period, ``today`` is the local date at its end, ``is_known`` whether it is known that the deal was there
    already. At the start only those that are known to have been there count.
    """
    d, p, state = living(deals).c, PERIODS.c, states().c.state
    until, as_of = (p.starts, p.starts) if at_start else (p.until, p.as_of)
    fields = {name: spans(name) for name in ("amount", "currency", "expected_close_date", "probability")}
    stage = stage_spans()
    was_there = d.created_at < until if at_start else or_(d.created_at.is_(None), d.created_at < until)
    joined: FromClause = d.id.table.join(PERIODS, was_there)
    joined = joined.outerjoin(states(), state_at(until, d.id)).outerjoin(stage, at(stage, d.id, until))
    for span in fields.values():
        joined = joined.outerjoin(span, at(span, d.id, until))
    is_open = case(
        (state.is_not(None), state == "open"),
        (d.closed_at.is_not(None), d.closed_at >= until),
        else_=func.coalesce(d.state == "open", False),
    )

    def was(name: str, value: ColumnElement[Any]) -> ColumnElement[Any]:
        return case((fields[name].c.deal_id.is_not(None), value), else_=d[name]).label(name)

    expected = was("expected_close_date", date_of(fields["expected_close_date"].c.value))
    raw = select(
        p.no, *(d[name] for name in COLUMNS),
        func.coalesce(stage.c.stage_id, d.stage_id).label("stage_id"),
        was("amount", number_of(fields["amount"].c.value)),
        was("currency", func.nullif(func.trim(fields["currency"].c.value), "")),
        was("probability", number_of(fields["probability"].c.value)),
        expected, p.first_day, p.whole_last_day, as_of.label("as_of"), until.label("until"),
        or_(d.created_at.is_not(None), p.is_current).label("is_known"),
    )  # fmt: skip
    name, value = ("open_before", "was_worth") if at_start else ("open", "value")
    r = raw.select_from(joined).where(is_open).subquery(f"{name}_raw")
    return converted(r, f"{name}_deals", **{value: (r.c.amount, r.c.currency, r.c.expected_close_date, r.c.as_of)})


OPEN = open_deals()


def known(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Open deals that are known to have been there, and that the conditions hold for."""
    return and_(OPEN.c.is_known, *conditions)


UNKNOWN = not_(OPEN.c.is_known)
TODAY = local_date(OPEN.c.as_of)
