"""KPIs of what it costs to win customers."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

from sqlalchemy import Double, Numeric, and_, case, cast, func, select
from sqlalchemy.sql.expression import Subquery

from kpid.plugin import (
    PERIODS,
    Benchmark,
    Definition,
    InPeriod,
    Kpi,
    Measure,
    Param,
    Quantity,
    Use,
    Values,
    converted,
    dates_between,
    entities,
    living,
    local_date,
    sum_,
)

from .choices import BASIS_PARAMS, DEGRADES_FX, MISSING_FX, chosen

DIMENSIONS = ("lead_source", "source")
COST_PARAMS = {
    "scope": Param(("marketing", "full"), "Marketing alone, or sales costs too."),
    "lag_days": Param.number("0", "Customers are won so many days after the money is spent: the sales cycle.", least=0),
    **BASIS_PARAMS,
    "missing_fx": MISSING_FX,
}
TABLES = ("accounts", "account_status_history", "refunds")


@lru_cache
def costs(scope: str, lag_days: int) -> Subquery:
    """``no, lead_source, cost, lacks``: what costs of a period amount to; those of a longer span are spread over its days."""
    source = living(entities.campaign_costs)
    where = func.coalesce(source.c.scope, "marketing") == "marketing" if scope == "marketing" else source.c.date.is_not(None)
    rows = select(*source.c).where(where).subquery("chosen_costs")
    spent = converted(rows, "spent", cost=(rows.c.amount, rows.c.currency, rows.c.date))
    c, t = spent.c, PERIODS.c
    last = case((c.last_day > c.date, c.last_day), else_=c.date)
    begins, ends = dates_between(t.first_day, c.date) + lag_days, dates_between(t.first_day, last) + lag_days
    today = local_date(t.as_of)
    end = dates_between(t.first_day, case((t.last_day < today, t.last_day), else_=today))
    laid = (
        select(
            t.no,
            c.channel.label("lead_source"),
            c.source_id,
            c.cost,
            c.cost_lacks,
            begins.label("begins"),
            ends.label("ends"),
            end.label("last"),
        )
        .select_from(spent.join(PERIODS, and_(begins <= end, ends >= 0)))
        .subquery("laid_costs")
    )
    s = laid.c
    days = case((s.ends < s.last, s.ends), else_=s.last) - case((s.begins > 0, s.begins), else_=0) + 1
    span = s.ends - s.begins + 1
    part = cast(cast(s.cost * days, Double) / cast(span, Double), Numeric(20, 6))
    cost = case((span == 1, cast(s.cost, Numeric(20, 6))), else_=part).label("cost")
    return select(s.no, s.lead_source, s.source_id, cost, s.cost_lacks.label("lacks")).subquery("costs")


def _cac(params: Mapping[str, str]) -> Definition:
    entity = costs(params["scope"], int(params["lag_days"]))
    c = entity.c
    cost = Measure(entity, InPeriod(c.no), sum_(c.cost), lacks=c.lacks, label="costs")
    rows = Measure(entity, InPeriod(c.no), sum_(case((c.no.is_not(None), 1))), label="costs")
    uses = {"new": Use("new_customers", chosen(params, "basis", "lookback_days"))}
    return Definition({"cost": cost, "rows": rows}, _per_new, sample="new", uses=uses, optional=TABLES)


def _per_new(m: Values) -> Quantity:
    return m.cost / m.new if m.rows.exact else Quantity(None, reason="no costs")


CAC = Kpi(
    id="cac",
    name="Customer acquisition cost",
    category="revenue",
    unit="currency",
    better="down",
    define=_cac,
    period="quarter",
    min_sample=10,
    dimensions=DIMENSIONS,
    params=COST_PARAMS,
    formula_text="marketing spend (and sales cost, scope=full) / new customers",
    why="What a new customer costs, to be held against what it brings.",
    misleads="Costs come before customers: with a long sales cycle set lag_days, or a busy quarter looks dear.",
    source="named by several guides",
    additivity="R",
    degrades=DEGRADES_FX,
    number=37,
)
WORTH_PARAMS = {
    "gross_margin": Param.decimal("1", "What is left of revenue (0.8); 1: all of it.", least=0),
    "revenue": Param(("mrr", "orders"), "Recurring revenue, or orders of the period."),
}


def _ltv_cac(params: Mapping[str, str]) -> Definition:
    basis = chosen(params, "basis", "lookback_days")
    names = ("gross_margin", "revenue", "missing_fx")
    uses = {
        "ltv": Use("customer_lifetime_value", {**basis, **chosen(params, *names), "method": "predictive"}),
        "cac": Use("cac", {**basis, **chosen(params, "scope", "lag_days", "missing_fx")}),
    }
    return Definition({}, lambda m: m.ltv / m.cac, sample="cac", uses=uses)


LTV_CAC_RATIO = Kpi(
    id="ltv_cac_ratio",
    name="Lifetime value to acquisition cost",
    category="revenue",
    unit="times",
    better="up",
    define=_ltv_cac,
    period="quarter",
    dimensions=DIMENSIONS,
    params={**COST_PARAMS, **WORTH_PARAMS},
    formula_text="customer_lifetime_value (predictive) / cac",
    why="Whether winning customers pays.",
    misleads="Two uncertain numbers divided by each other; without churn or new customers it is undefined.",
    source="several guides; 3 : 1 is customary",
    additivity="N",
    degrades=DEGRADES_FX,
    benchmark=Benchmark("3", "3 : 1 is customary", "several guides, unconfirmed", 2023),
    number=38,
)


def _payback(params: Mapping[str, str]) -> Definition:
    basis = chosen(params, "basis", "lookback_days")
    uses = {
        "cac": Use("cac", {**basis, **chosen(params, "scope", "lag_days", "missing_fx")}),
        "arpa": Use(
            "revenue_per_customer", {**basis, "revenue": "mrr", "customers": "active_in_period", **chosen(params, "missing_fx")}
        ),
    }
    margin = Fraction(params["gross_margin"])
    return Definition({}, lambda m: m.cac / (m.arpa * margin), sample="cac", uses=uses, unit="count")


CAC_PAYBACK_MONTHS = Kpi(
    id="cac_payback_months",
    name="Months to earn back a customer",
    category="revenue",
    unit="count",
    better="down",
    define=_payback,
    period="quarter",
    dimensions=("source",),
    params={**COST_PARAMS, "gross_margin": WORTH_PARAMS["gross_margin"]},
    formula_text="cac / (recurring revenue per paying customer and month x gross margin)",
    why="How long the money for growth is bound.",
    misleads="New customers often pay less than the mean of all.",
    source="own",
    additivity="N",
    degrades=DEGRADES_FX,
)

KPIS = (CAC, LTV_CAC_RATIO, CAC_PAYBACK_MONTHS)
