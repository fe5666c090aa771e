"""Campaigns: whom they convert, and what they earn for what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Numeric, Text, and_, case, cast, func, literal, null, or_, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import (
    NOW,
    At,
    Definition,
    Kpi,
    Measure,
    Param,
    Values,
    converted,
    count,
    entities,
    living,
    seconds_between,
    sum_,
)
from kpid_marketing.costs import AMOUNT, IN_PERIOD, MARKETING, MISSING_FX, SPEND, without_amount

_DAY_S = 86_400
_WEIGHT = Numeric(10, 6)


@cache
def exposed() -> Subquery:
    """One row per person and campaign: when it was first shown, and seconds until the first conversion after that."""
    members = living(entities.campaign_members, "member")
    m = members.c
    person = func.coalesce(m.person_id, m.id)
    first = func.min(m.exposed_at).over(partition_by=[m.source_id, m.campaign_id, person])
    rows = select(m.source_id, m.campaign_id, person.label("person"), m.converted_at, first.label("first_at")).subquery(
        "exposures"
    )
    r, campaign = rows.c, living(entities.campaigns, "exposing_campaign")
    of = campaign.c
    after = case((and_(r.converted_at >= r.first_at, r.converted_at <= NOW), r.converted_at))
    people = (
        select(r.source_id, r.campaign_id, r.person, r.first_at, func.min(after).label("converted_at"))
        .where(r.first_at.is_not(None))
        .group_by(r.source_id, r.campaign_id, r.person, r.first_at)
        .subquery("exposed_people")
    )
    p = people.c
    return (
        select(
            p.source_id, func.coalesce(of.name, p.campaign_id).label("campaign"), of.channel, of.owner_id, p.first_at,
            p.converted_at,
        )
        .select_from(people.outerjoin(campaign, of.id == p.campaign_id))
        .subquery("campaign_people")
    )  # fmt: skip


def _conversion(params: Mapping[str, str]) -> Definition:
    days, people = int(params["window_days"]), exposed()
    c = people.c
    in_time = seconds_between(c.converted_at, c.first_at) >= -days * _DAY_S  # rounds down: exact at the bound
    return Definition(
        {
            "converted": Measure(people, At(c.first_at), count(in_time), label="converted people"),
            "exposed": Measure(people, At(c.first_at), count(), label="exposed people"),
        },
        lambda m: m.converted / m.exposed,
        sample="exposed",
        horizon=timedelta(days=days),
        optional=("campaigns",),
    )


CAMPAIGN_CONVERSION_RATE = Kpi(
    id="campaign_conversion_rate",
    name="Campaign conversion",
    category="marketing",
    unit="ratio",
    better="up",
    define=_conversion,
    min_sample=100,
    dimensions=("campaign", "channel", "owner", "team", "source"),
    params={"window_days": Param.number("30", "How many days after the first exposure a conversion counts.", least=0)},
    formula_text="of the people first shown a campaign in the period, the share that converted within window_days; each counts "
    "once in each campaign",
    why="Whether a campaign moves anybody.",
    misleads="Those who would have come anyway are counted as converted.",
    source="50 conversions of 1 000 exposed = 5 %",
    additivity="C",
    number=40,
)


def _campaign_key(table: Any) -> ColumnElement[str]:
    """The id of a campaign that a record names by the CRM's id or by ours."""
    own = case(
        (table.campaign_id.like(table.source_id + ":%"), table.campaign_id), else_=table.source_id + ":" + table.campaign_id
    )
    return case((table.campaign_id.is_not(None), own))


def _sales(kind: str) -> Subquery:
    """Won deals or valid orders: ``id, deal_id, at, revenue, lacks, named`` (the campaign's id) and ``told`` (its name)."""
    if kind == "orders":
        raw, deal = living(entities.orders, "roi_order"), living(entities.deals, "roi_order_deal")
        source = converted(raw, "roi_orders", revenue=(raw.c.net_amount, raw.c.currency, raw.c.ordered_at))
        o = source.c
        return (
            select(
                o.id, o.source_id, o.ordered_at.label("at"), o.revenue, o.revenue_lacks.label("lacks"),
                _campaign_key(deal.c).label("named"), deal.c.campaign.label("told"),
            )
            .select_from(source.outerjoin(deal, deal.c.id == o.deal_id))
            .where(func.coalesce(o.status, "placed") != "cancelled")
            .subquery("roi_order_sales")
        )  # fmt: skip
    raw = living(entities.deals, "roi_deal")
    d = converted(raw, "roi_deals", revenue=(raw.c.amount, raw.c.currency, raw.c.closed_at)).c
    columns = (d.id, d.source_id, d.closed_at.label("at"), d.revenue, d.revenue_lacks.label("lacks"))
    return (
        select(*columns, _campaign_key(d).label("named"), d.campaign.label("told"))
        .where(d.state == "won")
        .subquery("roi_deal_sales")
    )


def _credited(sales: Subquery, kind: str, model: str) -> Subquery:
    """Sales with the campaign they are credited to and the ``weight`` of the credit; one row per credit."""
    s = sales.c
    if model == "campaign_field":
        weight = cast(literal(1), _WEIGHT).label("weight")
        known = or_(s.named.is_not(None), s.told.is_not(None))
        return select(s.source_id, s.at, s.revenue, s.lacks, s.named, s.told, weight).where(known).subquery("credited")
    attributions = living(entities.attributions, "attribution")
    a = attributions.c
    sale = a.order_id if kind == "orders" else a.deal_id
    number = func.count().over(partition_by=sale)
    given = select(sale.label("sale"), a.campaign_id, a.weight, number.label("number")).where(a.model == model, sale.is_not(None))
    credits_given = given.subquery("credits")
    g = credits_given.c
    part = case((g.weight.is_(None), cast(cast(literal(1), _WEIGHT) / g.number, _WEIGHT)), else_=cast(g.weight, _WEIGHT))
    return (
        select(s.source_id, s.at, s.revenue, s.lacks, g.campaign_id.label("named"), cast(null(), Text).label("told"))
        .add_columns(part.label("weight"))
        .select_from(sales.join(credits_given, g.sale == s.id))
        .where(g.campaign_id.is_not(None))
        .subquery("credited")
    )


@cache
def earned(kind: str, model: str) -> Subquery:
    """Revenue by campaign: ``at, revenue, lacks``."""
    credited, campaign = _credited(_sales(kind), kind, model), living(entities.campaigns, "earning_campaign")
    c, of = credited.c, campaign.c
    return (
        select(
            c.source_id, c.at, func.coalesce(of.name, c.told, c.named).label("campaign"), of.channel, of.owner_id, c.lacks,
            (cast(c.revenue, AMOUNT) * c.weight).label("revenue"),
        )
        .select_from(credited.outerjoin(campaign, of.id == c.named))
        .subquery(f"earned_{kind}_{model}")
    )  # fmt: skip


MODELS = {
    "campaign_field": "the campaign that the CRM names with the sale",
    "first": "the first campaign that the customer met",
    "last": "the last campaign before the sale",
    "linear": "all campaigns before the sale, in equal or given parts",
}


def _roi(params: Mapping[str, str]) -> Definition:
    revenue, model, form = params["revenue"], params["attribution"], params["form"]
    entity = earned("orders" if revenue == "orders" else "deals", model)
    c, cost, clock = entity.c, SPEND.c, At(entity.c.at)
    of_campaign = and_(MARKETING, cost.campaign_id.is_not(None))
    margin = Fraction(params["margin"]) if revenue == "gross_profit" else Fraction(1)
    unknown = and_(of_campaign, cost.is_unknown == 1)
    noun = "orders" if revenue == "orders" else "won deals"
    remarks = _remarks(params, margin)
    return Definition(
        {
            "revenue": Measure(entity, clock, sum_(c.revenue), label=f"credited {noun}", lacks=c.lacks),
            "cost": Measure(SPEND, IN_PERIOD, sum_(cost.cost, of_campaign), label="cost of campaigns", lacks=cost.lacks),
            "unknown": Measure(SPEND, IN_PERIOD, count(unknown), label="costs"),
            "unpriced": Measure(entity, clock, count(and_(c.revenue.is_(None), c.lacks.is_(False))), label=noun),
        },
        lambda m: (m.revenue * margin - m.cost) / m.cost if form == "net" else m.revenue * margin / m.cost,
        sample="revenue",
        remarks=remarks,
        optional=("campaigns", "attributions") if model == "campaign_field" else ("campaigns",),
    )


def _remarks(params: Mapping[str, str], margin: Fraction) -> Callable[[Values], Sequence[str]]:
    model, is_net = params["attribution"], params["form"] == "net"

    def remarks(m: Values) -> Sequence[str]:
        ratio = m.revenue * margin / m.cost
        found = [f"attribution {model}: {MODELS[model]}"]
        if ratio.exact is not None:
            other, name = (ratio, "revenue / cost") if is_net else (ratio - 1, "(revenue - cost) / cost")
            found.append(f"{name} = {round(other.value or Decimal(0), 4).normalize():f}")
        if params["revenue"] == "gross_profit" and margin == 1:
            found.append("no margin is given: revenue counts as gross profit")
        if m.unpriced.numerator:
            found.append(f"{m.unpriced.numerator} {m.unpriced.label} have no amount")
        return [*found, *without_amount(m)]

    return remarks


CAMPAIGN_ROI = Kpi(
    id="campaign_roi",
    name="Return on campaigns",
    category="marketing",
    unit="ratio",
    better="up",
    define=_roi,
    period="quarter",
    dimensions=("campaign", "owner", "team", "source"),
    params={
        "form": Param(("net", "ratio"), "(revenue - cost) / cost, or revenue / cost."),
        "attribution": Param(tuple(MODELS), "Which campaign a sale is credited to."),
        "revenue": Param(("deals", "orders", "gross_profit"), "Won deals, orders, or won deals times the margin."),
        "margin": Param.decimal("1", "Gross margin for revenue=gross_profit: 0.4 is 40 %.", least=0),
        "missing_fx": MISSING_FX,
    },
    formula_text="(revenue credited to campaigns - their cost) / their cost, both of the period; form=ratio: revenue / cost",
    why="Whether the money spent on campaigns comes back.",
    misleads="Sales of this period were often paid for in an earlier one; the rule of attribution decides who gets the credit.",
    source="20 000 of revenue for 5 000 of cost: ratio 4, net 300 %",
    additivity="R",
    degrades={"attribution": "Without attributions only attribution=campaign_field has figures: the CRM's own campaign field."},
    number=41,
)

KPIS = (CAMPAIGN_CONVERSION_RATE, CAMPAIGN_ROI)
