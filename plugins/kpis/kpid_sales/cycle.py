"""How long sales take: from the lead, the first contact or the deal itself to its closing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from sqlalchemy import ColumnElement, Subquery, and_, case, func, literal, not_, or_, select, union_all
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import (
    NOW,
    OPEN_HOURS,
    At,
    Definition,
    Kpi,
    Measure,
    Param,
    Values,
    count,
    days_between,
    entities,
    living,
    local_date,
    mean,
    quantile,
)
from kpid_sales.closings import CLOSING, COLUMNS, DEGRADES, DIMENSIONS, LOST_EXCLUDES, PLAIN, Closed, closed_by, deals

_TOUCHES = ("call", "meeting", "email", "message")
_STARTS = ("deal_created", "lead_created", "first_contact")
_LABELS = {"won": "won deals", "lost": "lost deals", "all": "closed deals"}


def _contacts() -> Subquery:
    """First contacts about deals and leads: ``kind, object_id, touched_at``. Links come with or without their source."""
    a, k = living(entities.activities).c, living(entities.activity_links).c
    done = and_(
        a.type.in_(_TOUCHES),
        or_(a.status.is_(None), a.status == "completed"),
        or_(a.direction.is_(None), a.direction != "internal"),
        not_(func.coalesce(a.is_automated, False)),
        a.occurred_at <= NOW,
    )
    link_to = case((k.object_id.like(k.source_id + ":%"), k.object_id), else_=k.source_id + ":" + k.object_id)
    linked = a.id.table.join(k.id.table, k.activity_id == a.id)
    touches = union_all(
        select(literal("deals").label("kind"), a.deal_id.label("object_id"), a.occurred_at).where(done, a.deal_id.is_not(None)),
        select(literal("leads"), a.lead_id, a.occurred_at).where(done, a.lead_id.is_not(None)),
        select(k.object_type, link_to, a.occurred_at).select_from(linked).where(done, k.object_type.in_(["deals", "leads"])),
    ).subquery("touches")
    t = touches.c
    return (
        select(t.kind, t.object_id, func.min(t.occurred_at).label("touched_at"))
        .group_by(t.kind, t.object_id)
        .subquery("contacts")
    )


def _converted_leads() -> Subquery:
    """The oldest lead that became a deal: for deals that do not name theirs."""
    c = living(entities.leads).c
    place = func.row_number().over(partition_by=c.converted_deal_id, order_by=[c.created_at.nulls_last(), c.id])
    ranked = select(c.converted_deal_id, c.id, c.created_at, place.label("place")).where(c.converted_deal_id.is_not(None))
    r = ranked.subquery("converted_leads_all").c
    return select(r.converted_deal_id, r.id, r.created_at).where(r.place == 1).subquery("converted_leads")


@lru_cache
def _from_start(closed_entity: FromClause, start: str) -> Subquery:
    """Closed deals with ``start_at`` and ``fell_to``: 0 as asked, 1 the lead in its place, 2 the deal's own creation."""
    source = select(*_narrow(living(deals))).subquery("started_deals") if closed_entity is deals else closed_entity
    s, contacts = source.c, _contacts()
    lead, found = living(entities.leads, "own_lead"), _converted_leads()
    lead_id = func.coalesce(lead.c.id, found.c.id)
    of_deal, of_lead = contacts.alias("contact_of_deal"), contacts.alias("contact_of_lead")
    joined = source.outerjoin(lead, lead.c.id == s.lead_id).outerjoin(found, found.c.converted_deal_id == s.id)
    lead_at = func.coalesce(lead.c.created_at, found.c.created_at)
    if start == "lead_created":
        fell_to = case((lead_at.is_not(None), 0), else_=2)
        start_at = func.coalesce(lead_at, s.created_at)
    else:
        joined = joined.outerjoin(of_deal, and_(of_deal.c.kind == "deals", of_deal.c.object_id == s.id))
        joined = joined.outerjoin(of_lead, and_(of_lead.c.kind == "leads", of_lead.c.object_id == lead_id))
        first, other = of_deal.c.touched_at, of_lead.c.touched_at
        contact_at = case((and_(first.is_not(None), or_(other.is_(None), first <= other)), first), else_=other)
        fell_to = case((contact_at.is_not(None), 0), (lead_at.is_not(None), 1), else_=2)
        start_at = func.coalesce(contact_at, lead_at, s.created_at)
    return select(*s, start_at.label("start_at"), fell_to.label("fell_to")).select_from(joined).subquery(f"cycles_from_{start}")


def _narrow(source: FromClause) -> list[ColumnElement[object]]:
    return [source.c[name] for name in (*COLUMNS, "state", "closed_at")]


@lru_cache
def _in_business_days(source: FromClause, start: str, end: str) -> Subquery:
    """The source with ``business_days``: working days after the first day up to the last one, by the company's opening hours."""
    h = OPEN_HOURS.c
    pieces = select(local_date(h.from_at).label("day"), case((h.is_open, 1), else_=0).label("is_open")).where(h.calendar == "")
    piece = pieces.subquery("calendar_pieces").c
    by_day = select(piece.day, func.max(piece.is_open).label("is_open")).group_by(piece.day).subquery("calendar_days")
    until = func.sum(by_day.c.is_open).over(order_by=by_day.c.day)
    days = select(by_day.c.day, until.label("open_days")).subquery("open_days")
    first, last = days.alias("first_day"), days.alias("last_day")
    begun, ended = local_date(source.c[start]), local_date(source.c[end])
    joined = source.outerjoin(first, first.c.day == begun).outerjoin(last, last.c.day == ended)
    return (
        select(*source.c, (last.c.open_days - first.c.open_days).label("business_days")).select_from(joined).subquery("business")
    )


@lru_cache
def _living_deals() -> Subquery:
    return select(*_narrow(living(deals))).subquery("living_closed_deals")


def _sales_cycle(params: Mapping[str, str]) -> Definition:
    closed, start = closed_by(params), params["start"]
    entity, ending = closed.entity, str(closed.instant.key)
    if start != "deal_created":
        entity = _from_start(entity, start)
    begin = "created_at" if start == "deal_created" else "start_at"
    is_business = params["unit"] == "business_days"
    if is_business:
        entity = _in_business_days(_living_deals() if entity is deals else entity, begin, ending)
    c = entity.c
    days = days_between(c[begin], c[ending])
    counts = _on(entity, params)
    outcome = counts.of(params["outcome"], params["lost_excludes"])
    is_cohort = params["mode"] == "cohort"
    if is_cohort:
        outcome = and_(outcome, c[ending] <= NOW)
    clock = At(c[begin] if is_cohort else c[ending])
    where, x = and_(outcome, days >= 0), c.business_days if is_business else days
    agg = mean(x, where) if params["stat"] == "mean" else quantile(0.5, x, where)
    label = _LABELS[params["outcome"]]
    measures = {
        "days": Measure(entity, clock, agg, label=label),
        "negative": Measure(entity, clock, count(and_(outcome, days < 0)), label=f"{label} before their start"),
    }
    if start != "deal_created":
        measures["from_lead"] = Measure(entity, clock, count(and_(where, c.fell_to == 1)), label=label)
        measures["from_deal"] = Measure(entity, clock, count(and_(where, c.fell_to == 2)), label=label)
    if is_cohort:
        measures["open"] = Measure(entity, clock, count(_undecided(entity, closed)), label="open deals")
    optional = (*closed.optional, *(("leads", "activities", "activity_links") if start != "deal_created" else ()))
    return Definition(measures, lambda m: m.days, sample="days", remarks=_remarks(label), optional=optional)


def _on(entity: FromClause, params: Mapping[str, str]) -> Closed:
    """The same choice of closings on an entity that is made from them."""
    if params["close_basis"] == "crm_date" and params["reopen"] == "latest":
        return Closed(entity, entity.c.closed_at, None, None)
    c = entity.c
    counted = {"latest": c.back == 1, "first": c.place == 1, "every": None}[params["reopen"]]
    return Closed(entity, c.moved_at, counted, counted)


def _undecided(entity: FromClause, closed: Closed) -> ColumnElement[bool]:
    """Deals of a cohort that have no cycle yet; those of histories are closed, every one."""
    if closed is not PLAIN:
        return and_(entity.c.id.is_(None))
    return or_(entity.c.state == "open", entity.c.closed_at > NOW)


def _remarks(label: str) -> Callable[[Values], list[str]]:
    """Says what was left out and where cycles begin elsewhere than asked."""

    def remark(m: Values) -> list[str]:
        said = []
        if m.negative.value:
            said.append(f"{m.negative.value} {label} left out: closed before they began")
        if "from_deal" in m and m.from_lead.value:
            said.append(f"{m.from_lead.value} {label} begin with their lead: no contact is known")
        if "from_deal" in m and m.from_deal.value:
            said.append(f"{m.from_deal.value} {label} begin with their own creation: nothing earlier is known")
        if "open" in m and m.open.value:
            said.append(f"{m.open.value} deals of the period are still open: they are not in it yet")
        return said

    return remark


SALES_CYCLE_DAYS = Kpi(
    id="sales_cycle_days",
    name="Sales cycle",
    category="sales",
    unit="days",
    better="down",
    define=_sales_cycle,
    period="quarter",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={
        "stat": Param(("median", "mean"), "The deal in the middle, or the mean."),
        "outcome": Param(("won", "lost", "all"), "Which closed deals."),
        "start": Param(
            _STARTS,
            "Where it begins: the deal's creation, its lead's, or the first contact; what is unknown falls back to the next.",
        ),
        "unit": Param(("days", "business_days"), "All local days, or those on which the company is open."),
        "mode": Param(("period", "cohort"), "Deals closed in the period, or those begun in it and closed since."),
        "lost_excludes": LOST_EXCLUDES,
        **CLOSING,
    },
    formula_text="local calendar days from a deal's creation to its closing, over deals closed in the period",
    why="How long money waits; the first thing to stretch when buyers hesitate.",
    misleads="Only deals that closed count: while many old ones stay open it looks too short. Negative spans are left out.",
    source="Salesforce Sales Analytics: mean of close minus created over won deals; Rekener (cohorts)",
    additivity="N",
    degrades={
        **DEGRADES,
        "leads": "Without leads the cycle begins with the deal.",
        "activities": "Without activities no first contact is known.",
    },
    number=6,
)

KPIS = (SALES_CYCLE_DAYS,)
