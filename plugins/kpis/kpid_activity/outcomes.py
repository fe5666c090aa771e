"""What calls lead to: sales and meetings.

``link=linked`` looks at calls that belong to a sale: those attached to the won deal itself, else to its account, before the deal
was closed. A call belongs to the next such sale only, and counts in the period of the sale; so none is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sqlalchemy import ColumnElement, Subquery, and_, case, func, literal, select, union_all
from sqlalchemy.sql.expression import FromClause

from kpid.plugin import NOW, At, Definition, Kpi, Measure, Param, Values, count, entities, living
from kpid_activity.calls import DIRECTION, calls, is_call

activities = entities.activities
deals = entities.deals
DIMENSIONS = ("owner", "team", "region", "account", "segment", "industry", "country", "source")
LINK = Param(("any", "linked"), "All calls of the period, or only those that belong to its sales.")
WON = Measure(deals, At(deals.c.closed_at), count(deals.c.state == "won"), label="won deals")


def _call_links() -> Subquery:
    """What calls are attached to beyond their own references: ``activity_id, object_type, object_id``."""
    link = living(entities.activity_links, "call_link").c
    of = case((link.object_id.like(link.source_id + ":%"), link.object_id), else_=link.source_id + ":" + link.object_id)
    return select(link.activity_id, link.object_type, of.label("object_id")).subquery("call_links")


def _pairs() -> Subquery:
    """Calls and sales that followed them: ``call_id, direction, deal_id, place`` (0: attached to the deal, 1: to its account)."""
    found = []
    for place, (key, kind) in enumerate((("id", "deals"), ("account_id", "accounts"))):
        own = {"id": "deal_id", "account_id": "account_id"}[key]
        for is_linked in (False, True):
            call, deal = living(activities, f"call_{own}_{is_linked}"), living(deals, f"sale_{own}_{is_linked}")
            c, d = call.c, deal.c
            before = and_(d.state == "won", c.occurred_at <= d.closed_at, d.closed_at <= NOW)
            if is_linked:
                links = _call_links().alias(f"links_{own}")
                is_of_kind = and_(links.c.activity_id == c.id, links.c.object_type == kind)
                joined: FromClause = call.join(links, is_of_kind).join(deal, and_(d[key] == links.c.object_id, before))
            else:
                joined = call.join(deal, and_(d[key] == c[own], before))
            columns = (c.id.label("call_id"), c.direction, d.id.label("deal_id"), literal(place).label("place"))
            found.append(select(*columns).select_from(joined).where(is_call(call, "all")))
    return union_all(*found).subquery("calls_before_sales")


@cache
def sale_calls() -> Subquery:
    """Calls with the sale that each belongs to: the deal's owner, account, source and closing, and the call's direction."""
    pair, deal = _pairs(), living(deals, "next_sale")
    d = deal.c
    first = func.row_number().over(partition_by=pair.c.call_id, order_by=[pair.c.place, d.closed_at, d.id])
    ranked = (
        select(pair.c.direction, d.source_id, d.owner_id, d.account_id, d.region, d.closed_at, first.label("place"))
        .select_from(pair.join(deal, d.id == pair.c.deal_id))
        .subquery("ranked_sale_calls")
    )
    kept = [column for column in ranked.c if column.key != "place"]
    return select(*kept).where(ranked.c.place == 1).subquery("sale_calls")


def _calls(params: Mapping[str, str]) -> Measure:
    if params["link"] == "any":
        return calls(params["direction"])
    linked = sale_calls()
    where = None if params["direction"] == "all" else linked.c.direction == params["direction"]
    return Measure(linked, At(linked.c.closed_at), count(where), label="calls of sales")


def _calls_per_sale(params: Mapping[str, str]) -> Definition:
    measures = {"calls": _calls(params), "won": WON}
    return Definition(measures, lambda m: m.calls / m.won, sample="won", optional=("activity_links",))


CALLS_PER_SALE = Kpi(
    id="calls_per_sale",
    name="Calls per sale",
    category="activity",
    unit="count",
    better="down",
    define=_calls_per_sale,
    min_sample=10,
    dimensions=DIMENSIONS,
    params={"direction": DIRECTION, "link": LINK},
    formula_text="completed calls / won deals, both of the same period",
    why="What a sale costs in effort.",
    misleads="Calls of this period belong to sales of the next: compare periods longer than the sales cycle, or use link=linked.",
    source="sales calls per sale (EasyERP)",
    additivity="R",
    number=19,
)


def _first_calls(key: str) -> Subquery:
    """When a deal or an account was first called: ``of, direction, at``."""
    call = living(activities, f"first_call_{key}")
    c = call.c
    columns = (c[key].label("of"), c.direction, func.min(c.occurred_at).label("at"))
    return (
        select(*columns).where(is_call(call, "all"), c[key].is_not(None)).group_by(c[key], c.direction).subquery(f"called_{key}")
    )


def _booked(entity: FromClause) -> ColumnElement[bool]:
    c = entity.c
    return and_(c.type == "meeting", func.coalesce(c.direction, "unknown") != "internal")


@cache
def called_meetings() -> Subquery:
    """Meetings booked, and when their deal or account was first called: ``outbound_at, inbound_at, any_at``; null: never."""
    meeting = living(activities, "booked_meeting")
    joined: FromClause = meeting
    m, firsts = meeting.c, dict[str, list[ColumnElement[object]]]()
    for key in ("deal_id", "account_id"):
        for direction in ("outbound", "inbound", "all"):
            first = _first_calls(key)
            f = first.c
            rows = select(f.of, func.min(f.at).label("at")).group_by(f.of)
            rows = rows if direction == "all" else rows.where(f.direction == direction)
            found = rows.subquery(f"first_{direction}_{key}")
            joined = joined.outerjoin(found, found.c.of == m[key])
            firsts.setdefault(direction, []).append(found.c.at)
    columns = [func.coalesce(func.least(*both), *both).label(f"{direction}_at") for direction, both in firsts.items()]
    kept = (m.source_id, m.owner_id, m.account_id, m.created_at)
    return select(*kept, *columns).select_from(joined).where(_booked(meeting)).subquery("called_meetings")


def _meetings(params: Mapping[str, str]) -> Measure:
    label = "meetings booked"
    if params["link"] == "any":
        return Measure(activities, At(activities.c.created_at), count(_booked(activities)), label=label)
    meetings = called_meetings()
    c = meetings.c
    called = c[f"{params['direction']}_at"] <= c.created_at
    return Measure(meetings, At(c.created_at), count(called), label=f"{label} after a call")


def _call_success(params: Mapping[str, str]) -> Definition:
    if params["outcome"] == "sale":
        measures = {"successes": WON, "calls": _calls(params)}
    else:
        measures = {"successes": _meetings(params), "calls": calls(params["direction"])}
    what = {"sale": "sales", "meeting": "meetings"}[params["outcome"]]

    def remarks(m: Values) -> list[str]:
        above, below = m.successes.exact, m.calls.exact
        return [f"above 100 %: more {what} than calls"] if above is not None and below and above > below else []

    return Definition(measures, lambda m: m.successes / m.calls, sample="calls", remarks=remarks, optional=("activity_links",))


CALL_SUCCESS_RATE = Kpi(
    id="call_success_rate",
    name="Efficiency of calls",
    category="activity",
    unit="ratio",
    better="up",
    define=_call_success,
    min_sample=50,
    dimensions=DIMENSIONS,
    params={
        "outcome": Param(("sale", "meeting"), "Sales made, or meetings booked, compared with the calls made."),
        "direction": DIRECTION,
        "link": Param(("any", "linked"), "All of the period, or only calls of its sales, or meetings that followed a call."),
    },
    formula_text="won deals (or meetings booked, by the day of booking) / completed calls",
    why="The efficiency rate: what the telephone yields.",
    misleads="Not every sale began with a call: it can pass 100 %. A meeting that is cancelled later was booked all the same.",
    source="efficiency rate (Pégase)",
    additivity="R",
    number=20,
)

KPIS = (CALLS_PER_SALE, CALL_SUCCESS_RATE)
