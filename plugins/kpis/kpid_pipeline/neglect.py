"""Deals that nobody looks after: nothing happens with them, or their closing date has passed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Subquery, and_, case, func, not_, or_, select, union_all

from kpid.plugin import (
    AS_OF,
    NOW,
    PERIODS,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    count,
    dates_between,
    entities,
    living,
    local_date,
    seconds_between,
    sum_,
)
from kpid_pipeline.balances import AT_END, PLAIN, RATE_AT, remarks, unknown_deals
from kpid_pipeline.then import DEGRADES, DIMENSIONS, HISTORIES, MISSING_FX, OPEN, OPTIONAL, TODAY, WEIGHT, deals, known

_DAY = 86_400


def _touches() -> Subquery:
    """Everything that happened with deals: ``deal_id, touched_at``. What is planned, cancelled or automatic did not happen."""
    a, k, d = living(entities.activities).c, living(entities.activity_links).c, living(deals).c
    h, f = living(entities.deal_stage_history).c, living(entities.deal_field_history).c
    done = and_(
        or_(a.status.is_(None), a.status == "completed"), not_(func.coalesce(a.is_automated, False)), a.occurred_at <= NOW
    )
    link_to = case((k.object_id.like(k.source_id + ":%"), k.object_id), else_=k.source_id + ":" + k.object_id)
    links = a.id.table.join(k.id.table, k.activity_id == a.id)
    moved = f.field.in_(["amount", "currency", "expected_close_date"])
    return union_all(
        select(a.deal_id.label("deal_id"), a.occurred_at.label("touched_at")).where(done, a.deal_id.is_not(None)),
        select(link_to, a.occurred_at).select_from(links).where(done, k.object_type == "deals"),
        select(h.deal_id, h.valid_from).where(h.valid_from <= NOW),
        select(f.deal_id, f.valid_from).where(moved, f.valid_from <= NOW),
        select(d.id, d.created_at).where(d.created_at <= NOW),
        select(d.id, d.last_activity_at).where(d.last_activity_at <= NOW),
    ).subquery("touches")


def _touched() -> Subquery:
    """Open deals with ``touched_at``: when something last happened with them by the end of the period."""
    t, p = _touches().c, PERIODS.c
    last = (
        select(p.no, t.deal_id, func.max(t.touched_at).label("touched_at"))
        .select_from(t.deal_id.table.join(PERIODS, t.touched_at < p.until))
        .group_by(p.no, t.deal_id)
        .subquery("last_touches")
    )
    joined = OPEN.outerjoin(last, and_(last.c.no == OPEN.c.no, last.c.deal_id == OPEN.c.id))
    return select(*OPEN.c, last.c.touched_at).select_from(joined).subquery("touched_deals")


TOUCHED = _touched()


def _stale(params: Mapping[str, str]) -> Definition:
    c, clock = TOUCHED.c, InPeriod(TOUCHED.c.no)
    is_stale = or_(c.touched_at.is_(None), seconds_between(c.touched_at, c.as_of) >= int(params["days"]) * _DAY)
    number = Measure(TOUCHED, clock, count(c.is_known), label="open deals")
    unknown = Measure(TOUCHED, clock, count(not_(c.is_known)), label="open deals")
    if params["weight"] == "count":
        stale = Measure(TOUCHED, clock, count(and_(c.is_known, is_stale)), label="stale deals")
        measures = {"stale": stale, "open": number, "unknown": unknown}
        return Definition(measures, lambda m: m.stale / m.open, "open", remarks=remarks(), optional=_OPTIONAL)
    measures = {
        "stale": _amount(TOUCHED, clock, and_(c.is_known, is_stale)),
        "all": _amount(TOUCHED, clock, c.is_known),
        "open": number,
        "unknown": unknown,
    }
    return Definition(measures, lambda m: m.stale / m["all"], "open", remarks=remarks(), optional=_OPTIONAL)


_OPTIONAL = (*OPTIONAL, "activity_links")


def _amount(entity: Subquery, clock: InPeriod, where: ColumnElement[bool]) -> Measure:
    return Measure(entity, clock, sum_(entity.c.value, where), label="amount of open deals", lacks=entity.c.value_lacks)


def _overdue(params: Mapping[str, str]) -> Definition:
    expected, grace = deals.c.expected_close_date, int(params["closed_late_grace_days"])
    past = dates_between(expected, local_date(AS_OF)) > grace
    late, dated = dates_between(OPEN.c.expected_close_date, TODAY) > grace, OPEN.c.expected_close_date.is_not(None)
    if params["weight"] == "count":
        plain = {
            "late": Measure(deals, PLAIN, count(past), label="overdue deals"),
            "dated": Measure(deals, PLAIN, count(expected.is_not(None)), label="open deals with a date"),
        }
        exact = {
            "late": Measure(OPEN, AT_END, count(known(late)), label="overdue deals"),
            "dated": Measure(OPEN, AT_END, count(known(dated)), label="open deals with a date"),
        }
    else:
        plain = {
            "late": Measure(deals, PLAIN, sum_(deals.c.amount, past), deals.c.currency, RATE_AT, "overdue deals"),
            "all": Measure(deals, PLAIN, sum_(deals.c.amount, expected.is_not(None)), deals.c.currency, RATE_AT, "open deals"),
            "dated": Measure(deals, PLAIN, count(expected.is_not(None)), label="open deals with a date"),
        }
        exact = {
            "late": _amount(OPEN, AT_END, known(late)),
            "all": _amount(OPEN, AT_END, known(dated)),
            "dated": Measure(OPEN, AT_END, count(known(dated)), label="open deals with a date"),
        }
    below = "all" if "all" in plain else "dated"
    exact["unknown"] = unknown_deals()
    finer = Definition(exact, lambda m: m.late / m[below], "dated", remarks=remarks(), optional=OPTIONAL)
    return Definition(plain, lambda m: m.late / m[below], "dated", finer=dict.fromkeys(HISTORIES, finer))


STALE_DEAL_SHARE = Kpi(
    id="stale_deal_share",
    name="Stale deals",
    category="pipeline",
    unit="ratio",
    better="down",
    define=_stale,
    period="week",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={
        "days": Param.number("30", "A deal is stale when nothing happened with it for so many days.", least=1),
        "weight": WEIGHT,
        "missing_fx": MISSING_FX,
    },
    formula_text="open deals without an activity or a change of stage, amount or date for 30 days / open deals",
    why="Deals that nobody works on are rarely won, and keep the pipeline looking full.",
    misleads="Work that nobody logs looks like neglect; a planned activity is none yet.",
    source="own; Pipedrive has rotting days per stage",
    additivity="S",
    degrades={**DEGRADES, "deal_stage_history": "Without a history of stages only activities and fields keep a deal alive."},
    number=16,
)

OVERDUE_DEAL_SHARE = Kpi(
    id="overdue_deal_share",
    name="Deals past their closing date",
    category="pipeline",
    unit="ratio",
    better="down",
    define=_overdue,
    period="day",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={
        "closed_late_grace_days": Param.number("0", "A deal may be so many days late before it counts.", least=0),
        "weight": WEIGHT,
        "missing_fx": MISSING_FX,
    },
    formula_text="open deals whose expected closing date has passed / open deals that have one",
    why="Dates that nobody keeps up make every forecast wrong.",
    misleads="A deal due today is not late. Deals without a date are in neither number.",
    source="own",
    additivity="S",
    degrades=DEGRADES,
    number=17,
)

KPIS = (STALE_DEAL_SHARE, OVERDUE_DEAL_SHARE)
