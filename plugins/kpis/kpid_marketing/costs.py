"""What marketing costs, and what a lead costs.

A cost of several days is spread evenly over them, in millionths that add up to the whole: each period has the days of the
cost that lie in it and have come. It is worth what its first day's exchange rate says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Integer, Numeric, and_, case, cast, func, literal, null, or_, select, union_all
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import (
    NOW,
    PERIODS,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Values,
    converted,
    count,
    count_distinct,
    dates_between,
    days_between,
    entities,
    living,
    local_date,
    sum_,
)

MISSING_FX = Param(("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning.")
AMOUNT = Numeric(20, 6)
P = PERIODS.c


def _spend() -> Subquery:
    """One row per period and cost: ``cost`` is the part of the period, null without an amount or a rate."""
    raw = living(entities.campaign_costs, "cost")
    costs = converted(raw, "cost_in_currency", value=(raw.c.amount, raw.c.currency, raw.c.date))
    campaign = living(entities.campaigns, "cost_campaign")
    c, of = costs.c, campaign.c
    days = case((c.last_day > c.date, dates_between(c.date, c.last_day) + 1), else_=1)
    until = case((P.last_day < local_date(NOW), P.last_day), else_=local_date(NOW))
    first, past = _within(dates_between(c.date, P.first_day), days), _within(dates_between(c.date, until) + 1, days)
    part = _up_to(c.value, past, days) - _up_to(c.value, first, days)
    channel = func.coalesce(c.channel, of.channel)
    is_here = and_(c.date <= until, past > first, days_between(P.starts, P.ends) >= 1)  # of hours, the one that ends the day
    return (
        select(
            P.no, c.source_id, c.campaign_id, func.coalesce(of.name, c.campaign_id).label("campaign"), channel.label("channel"),
            channel.label("lead_source"), of.owner_id, c.currency, func.coalesce(c.scope, "marketing").label("scope"),
            cast(part, AMOUNT).label("cost"), c.value_lacks.label("lacks"),
            case((or_(c.value.is_not(None), c.value_lacks), 0), else_=1).label("is_unknown"),
        )
        .select_from(costs.join(PERIODS, is_here).outerjoin(campaign, of.id == c.campaign_id))
        .subquery("spend")
    )  # fmt: skip


def _within(days: ColumnElement[int], total: ColumnElement[int]) -> ColumnElement[int]:
    return case((days < 0, 0), (days > total, total), else_=days)


def _up_to(amount: ColumnElement[object], days: ColumnElement[int], total: ColumnElement[int]) -> ColumnElement[object]:
    """The part of an amount that its first days take."""
    part = cast(cast(amount, AMOUNT) * cast(days, Integer) / cast(total, Integer), AMOUNT)
    return case((days <= 0, cast(literal(0), AMOUNT)), (days >= total, cast(amount, AMOUNT)), else_=part)


SPEND = _spend()
IN_PERIOD = InPeriod(SPEND.c.no)
MARKETING = SPEND.c.scope != "sales"


def _marketing_spend(params: Mapping[str, str]) -> Definition:
    c = SPEND.c
    where = {"marketing": MARKETING, "sales": c.scope == "sales", "all": None}[params["scope"]]
    unknown = c.is_unknown == 1
    return Definition(
        {
            "cost": Measure(SPEND, IN_PERIOD, sum_(c.cost, where), label="costs", lacks=c.lacks),
            "unknown": Measure(SPEND, IN_PERIOD, count(unknown if where is None else and_(where, unknown)), label="costs"),
        },
        lambda m: m.cost,
        remarks=without_amount,
        optional=("campaigns",),
    )


def without_amount(m: Values) -> Sequence[str]:
    """The warning about costs whose amount nobody entered."""
    number = int(m.unknown.numerator or 0)
    return [f"{number} costs have no amount"] if number else []


MARKETING_SPEND = Kpi(
    id="marketing_spend",
    name="Marketing spend",
    category="marketing",
    unit="currency",
    better="none",
    define=_marketing_spend,
    dimensions=("campaign", "channel", "lead_source", "currency", "source"),
    params={"scope": Param(("marketing", "sales", "all"), "Whose costs."), "missing_fx": MISSING_FX},
    formula_text="sum of the costs of the period; a cost of several days is spread evenly over them",
    why="What the leads and customers of the period were paid for with.",
    misleads="Salaries and tools are rarely among the costs; what is booked late makes the last month look cheap.",
    source="base measure",
    additivity="A",
    degrades={"fx_dated": "Without dated exchange rates, costs in other currencies are errors or left out."},
)


def _lead_costs() -> Subquery:
    """Costs and leads of each period, a row each, with whether the channel has costs in the period."""
    cost, lead = SPEND.c, living(entities.leads, "costed_lead")
    of = lead.c
    campaign = living(entities.campaigns, "costed_campaign")
    key = case((of.campaign_id.like(of.source_id + ":%"), of.campaign_id), else_=of.source_id + ":" + of.campaign_id)
    name = func.coalesce(campaign.c.name, of.campaign, key)
    came = and_(of.created_at >= P.starts, of.created_at < P.until)
    rows = union_all(
        select(
            cost.no, cost.source_id, cost.channel, cost.campaign, cast(literal(0), Integer).label("is_lead"), cost.cost,
            cost.lacks, case((cost.is_unknown == 0, 1), else_=0).label("is_cost"),
        ).where(MARKETING),
        select(
            P.no, of.source_id, of.lead_source, name, cast(literal(1), Integer), cast(null(), AMOUNT), literal(0) == 1,
            cast(literal(0), Integer),
        ).select_from(lead.join(PERIODS, came).outerjoin(campaign, campaign.c.id == key)),
    ).subquery("costs_and_leads")  # fmt: skip
    c = rows.c
    has_cost = func.max(c.is_cost).over(partition_by=[c.no, c.channel])
    known = case((c.channel.is_(None), 0), else_=has_cost)
    return select(
        c.no, c.source_id, c.channel, c.channel.label("lead_source"), c.campaign, c.is_lead, c.cost, c.lacks,
        known.label("has_cost"),
    ).subquery("lead_costs")  # fmt: skip


LEAD_COSTS = _lead_costs()


def _cost_per_lead(_: Mapping[str, str]) -> Definition:
    c = LEAD_COSTS.c
    clock, is_lead, has_cost = InPeriod(c.no), c.is_lead == 1, c.has_cost == 1
    left_out = func.coalesce(c.channel, "unknown")
    return Definition(
        {
            "cost": Measure(LEAD_COSTS, clock, sum_(c.cost, has_cost), label="costs", lacks=c.lacks),
            "leads": Measure(LEAD_COSTS, clock, count(and_(is_lead, has_cost)), label="leads of channels with costs"),
            "free": Measure(LEAD_COSTS, clock, count(and_(is_lead, c.has_cost == 0)), label="leads of channels without costs"),
            "idle": Measure(
                LEAD_COSTS, clock, count_distinct(left_out, and_(is_lead, c.has_cost == 0)), label="channels without costs"
            ),
            "nowhere": Measure(LEAD_COSTS, clock, sum_(c.cost, c.has_cost == 0), label="costs without a channel"),
        },
        lambda m: m.cost / m.leads,
        sample="leads",
        remarks=_left_out,
        optional=("campaigns",),
    )


def _left_out(m: Values) -> Sequence[str]:
    free, idle, nowhere = (q.value or 0 for q in (m.free, m.idle, m.nowhere))
    found = [f"{free} leads of {idle} channels without costs are left out: cut by lead_source to see which"] if free else []
    return [*found, f"costs of {nowhere} without a channel are left out"] if nowhere else found


COST_PER_LEAD = Kpi(
    id="cost_per_lead",
    name="Cost per lead",
    category="marketing",
    unit="currency",
    better="down",
    define=_cost_per_lead,
    min_sample=10,
    dimensions=("lead_source", "channel", "campaign", "source"),
    params={"missing_fx": MISSING_FX},
    formula_text="marketing spend / new leads of the same channels; channels without costs are left out of both",
    why="Which channel buys interest most cheaply.",
    misleads="A cheap lead that never buys is dear: look at the conversion beside it.",
    source="own",
    additivity="R",
    degrades={"fx_dated": "Without dated exchange rates, costs in other currencies are errors or left out."},
    number=42,
)

KPIS = (MARKETING_SPEND, COST_PER_LEAD)
