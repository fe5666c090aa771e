"""KPIs of recurring revenue."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from sqlalchemy import case, or_

from kpid.plugin import SNAP, Definition, InPeriod, Kpi, Measure, Param, Quantity, Values, count, max_, sum_

from .choices import ACCOUNT_DIMENSIONS, DEGRADES_FX, MONTH, RECURRING_PARAMS, flows, left_out, unpriced
from .recurring import KINDS, by_customer, moves_by_day, recurring
from .selling import moved_by, movement

OPTIONAL = ("accounts", "products")
LOSSES = ("churn", "contraction")
LONGEST = 92
"""Days of the longest period that daily churn is computed for."""
MRR_DIMENSIONS = (
    "owner", "team", "region", "segment", "industry", "size_band", "country", "account", "product", "plan", "currency", "source",
)  # fmt: skip


def _mrr(params: Mapping[str, str]) -> Definition:
    part = 1 if params["annual"] == "true" else MONTH
    entity = recurring(*flows(params))
    c, clock = entity.c, InPeriod(entity.c.no)
    measures = {"annual": Measure(entity, clock, sum_(c.annual_end), lacks=c.lacks == 1, label="subscriptions")}
    measures["unpriced"] = left_out(entity, c.is_unpriced == 1, "subscriptions without an amount")
    return Definition(measures, lambda m: m.annual * part, remarks=unpriced, optional=OPTIONAL)


MRR = Kpi(
    id="mrr",
    name="Monthly recurring revenue",
    category="revenue",
    unit="currency",
    better="up",
    define=_mrr,
    dimensions=MRR_DIMENSIONS,
    params={"annual": Param(("false", "true"), "Per month, or per year (ARR = 12 x MRR)."), "snap": SNAP, **RECURRING_PARAMS},
    formula_text="paid subscriptions at the end of the period, per month (year / 12, week x 52 / 12); no trials, no tax",
    why="What will come in next month if nothing happens.",
    misleads="No cash and no revenue; discounts that end soon make it look smaller than it will be.",
    source="Stripe, ChartMogul, ProfitWell",
    additivity="S",
    degrades=DEGRADES_FX,
    number=34,
)

MRR_CHANGE = Kpi(
    id="mrr_change",
    name="Change of MRR",
    category="revenue",
    unit="currency",
    better="up",
    define=lambda params: movement(params, *(() if params["kind"] == "net" else (params["kind"],))),
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "kind": Param(("net", *KINDS), "All movements together, or those of a kind; losses are negative."),
        **RECURRING_PARAMS,
    },
    formula_text="new + expansion + reactivation + contraction + churn + fx of the period; losses are negative",
    why="Says what moved the recurring revenue: start + change = end, to the last digit.",
    misleads="A price that changes twice in a month is both an expansion and a contraction.",
    source="ChartMogul (MRR movements)",
    additivity="A",
    degrades=DEGRADES_FX,
)


def _churn(params: Mapping[str, str]) -> Definition:
    paying = by_customer(*flows(params))
    p, clock = paying.c, InPeriod(paying.c.no)
    measures = {
        "start": Measure(paying, clock, sum_(p.annual_start), lacks=p.lacks == 1, label="MRR at the start"),
        "subscriptions": Measure(paying, clock, sum_(p.subs_start), label="subscriptions at the start"),
    }
    if params["method"] == "daily":
        return _daily(params, measures)
    measures["lost"] = moved_by(params, LOSSES)
    if params["method"] == "net":
        measures["won"] = moved_by(params, ("expansion", "reactivation"))
    is_net = params["method"] == "net"

    def formula(m: Values) -> Quantity:
        return -(m.lost + m.won if is_net else m.lost) / m.start

    return Definition(measures, formula, sample="subscriptions", size=lambda m: m.subscriptions, optional=OPTIONAL)


def _daily(params: Mapping[str, str], measures: dict[str, Measure]) -> Definition:
    entity = moves_by_day(*flows(params))
    c, clock = entity.c, InPeriod(entity.c.no)
    lost = case((c.kind.in_(LOSSES), c.annual), else_=0)
    for day in range(LONGEST):
        measures[f"lost{day}"] = Measure(entity, clock, sum_(lost, c.day == day), label="lost MRR")
        measures[f"moved{day}"] = Measure(entity, clock, sum_(c.annual, c.day == day), lacks=c.lacks == 1, label="movements")
    paying = by_customer(*flows(params))
    measures["days"] = Measure(paying, InPeriod(paying.c.no), max_(paying.c.elapsed), label="days")
    return Definition(measures, _sum_of_days, sample="subscriptions", size=lambda m: m.subscriptions, optional=OPTIONAL)


def _sum_of_days(m: Values) -> Quantity:
    """Sum over the days of lost MRR / MRR at the day's start."""
    days = int(m["days"].exact or 0)
    if days > LONGEST:
        return Quantity(None, reason=f"daily churn is for periods of up to {LONGEST} days")
    there, total, is_any = m["start"].exact or Fraction(0), Fraction(0), False
    for day in range(days):
        if there > 0:
            total, is_any = total - (m[f"lost{day}"].exact or 0) / there, True
        there += m[f"moved{day}"].exact or 0
    return Quantity(total) if is_any else Quantity(None, reason="no MRR on any day")


MRR_CHURN_RATE = Kpi(
    id="mrr_churn_rate",
    name="MRR churn",
    category="revenue",
    unit="ratio",
    better="down",
    define=_churn,
    min_sample=30,
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "method": Param(
            ("gross", "net", "daily"), "Churn and contraction; less expansion and reactivation; or added up day by day."
        ),
        **RECURRING_PARAMS,
    },
    formula_text="gross: (churn + contraction) / MRR at the start; net: less expansion and reactivation, never new business",
    why="How fast recurring revenue leaks away, large customers weighing more.",
    misleads="`net` below 0 hides that many customers leave, as long as others grow.",
    source="ChartMogul",
    additivity="C",
    degrades=DEGRADES_FX,
    number=35,
)


def _retention(params: Mapping[str, str]) -> Definition:
    entity = by_customer(*flows(params))
    c, clock = entity.c, InPeriod(entity.c.no)
    was_there, lacks = c.annual_start > 0, c.lacks == 1
    looked_at = or_(was_there, lacks)
    less = c.annual_end < c.annual_start
    kept = case((less, c.annual_end), else_=c.annual_start) if params["method"] == "gross" else c.annual_end
    kept = case((was_there, kept), else_=0)
    measures = {
        "start": Measure(entity, clock, sum_(c.annual_start, looked_at), lacks=lacks, label="customers at the start"),
        "kept": Measure(entity, clock, sum_(kept, looked_at), lacks=lacks, label="customers at the start"),
        "customers": Measure(entity, clock, count(was_there), label="customers at the start"),
    }
    return Definition(measures, lambda m: m.kept / m.start, sample="customers", optional=OPTIONAL)


REVENUE_RETENTION = Kpi(
    id="revenue_retention",
    name="Revenue retention (NRR, GRR)",
    category="revenue",
    unit="ratio",
    better="up",
    define=_retention,
    period="rolling_365d",
    min_sample=30,
    dimensions=ACCOUNT_DIMENSIONS,
    params={
        "method": Param(("net", "gross"), "With what customers added (NRR), or only what they kept (GRR, at most 1)."),
        **RECURRING_PARAMS,
    },
    formula_text="net: MRR at the end of those who paid at the start / their MRR at the start; gross: the smaller of the two",
    why="Whether the customers one has grow or shrink.",
    misleads="Customers who were not there at the start are in neither number, even if they had been before.",
    source="ChartMogul, ChurnZero, Baremetrics",
    additivity="C",
    degrades=DEGRADES_FX,
    number=36,
)


def _quick(params: Mapping[str, str]) -> Definition:
    measures = {"won": moved_by(params, ("new", "expansion")), "lost": moved_by(params, LOSSES)}
    return Definition(measures, _won_per_lost, optional=OPTIONAL)


def _won_per_lost(m: Values) -> Quantity:
    return m.won / -m.lost if m.lost.exact else Quantity(None, reason="nothing was lost")


QUICK_RATIO = Kpi(
    id="quick_ratio",
    name="Quick ratio",
    category="revenue",
    unit="ratio",
    better="up",
    define=_quick,
    dimensions=ACCOUNT_DIMENSIONS,
    params=RECURRING_PARAMS,
    formula_text="(new + expansion MRR) / (contraction + churned MRR)",
    why="How much recurring revenue is won for each unit that is lost.",
    misleads="Very young companies lose little: the ratio is huge and says nothing.",
    source="Social Capital, ChartMogul",
    additivity="R",
    degrades=DEGRADES_FX,
)

KPIS = (MRR, MRR_CHANGE, MRR_CHURN_RATE, REVENUE_RETENTION, QUICK_RATIO)
