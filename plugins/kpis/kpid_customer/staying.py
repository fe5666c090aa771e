"""KPIs of who comes, stays and leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from sqlalchemy import and_

from kpid.plugin import SNAP, Benchmark, ConfigError, Definition, InPeriod, Kpi, Measure, Param, Quantity, Values, sum_

from .population import (
    DEGRADES,
    DIMENSIONS,
    PARAMS,
    customer_definition,
    days_of_customers,
    max_days,
    months_in,
    population,
    spans_of,
)

LONGEST = 92
"""Days of the longest period that daily churn is computed for."""


def _active(params: Mapping[str, str]) -> Definition:
    entity = population(*spans_of(params))
    c = entity.c
    start, end = (c.at_start == 1, "customers at the start"), (c.at_end == 1, "customers")
    if params["snap"] == "avg" and params["at"] != "end":
        hint = "Take one of them out: snap=avg is the mean of the ends of all days"
        raise ConfigError(f"active_customers: at={params['at']} and snap=avg exclude each other", hint=hint)
    if params["at"] == "average":
        return customer_definition(params, entity, {"end": end, "start": start}, lambda m: Fraction(1, 2) * (m.start + m.end))
    return customer_definition(params, entity, {"n": start if params["at"] == "start" else end}, lambda m: m.n)


ACTIVE_CUSTOMERS = Kpi(
    id="active_customers",
    name="Active customers",
    category="customer",
    unit="count",
    better="up",
    define=_active,
    period="month",
    dimensions=DIMENSIONS,
    params={
        **PARAMS,
        "at": Param(("end", "start", "average"), "At the end of the period, at its start, or the mean of the two."),
        "snap": SNAP,
    },
    formula_text="distinct customers at the end of the period, by the basis (status history, purchases, subscription, won deals)",
    why="The base that everything else about customers is a share of.",
    misleads="Each basis counts other people: figures of two bases are not comparable.",
    source="Stripe, ChartMogul (subscribers); own for the other bases",
    additivity="S",
    degrades=DEGRADES,
    number=24,
)


def _new(params: Mapping[str, str]) -> Definition:
    entity = population(*spans_of(params))
    return customer_definition(params, entity, {"n": (entity.c.news > 0, "new customers")}, lambda m: m.n)


NEW_CUSTOMERS = Kpi(
    id="new_customers",
    name="New customers",
    category="customer",
    unit="count",
    better="up",
    define=_new,
    dimensions=DIMENSIONS,
    params=PARAMS,
    formula_text="accounts that became customers for the first time in the period; who comes back is not new",
    why="Growth before anybody leaves.",
    misleads="Says nothing of their worth, nor of how many leave again.",
    source="base measure",
    additivity="A",
    degrades=DEGRADES,
)


def _events(params: Mapping[str, str], column: str, label: str) -> Definition:
    entity = population(*spans_of(params))
    c = entity.c[column]
    events = {"events": Measure(entity, InPeriod(entity.c.no), sum_(c), label=label)}
    return customer_definition(params, entity, {"n": (c > 0, label)}, lambda m: m.events, also=events, sample="n")


LOST_CUSTOMERS = Kpi(
    id="lost_customers",
    name="Lost customers",
    category="customer",
    unit="count",
    better="down",
    define=lambda params: _events(params, "losses", "lost customers"),
    dimensions=DIMENSIONS,
    params=PARAMS,
    formula_text="customers that ceased to be one in the period, by the effective date; who leaves twice counts twice",
    why="The leak that new business has to fill first.",
    misleads="A count: ten lost of a hundred are not ten lost of ten thousand.",
    source="attrition (Pégase); ProfitWell: the effective date, not that of the notice",
    additivity="A",
    degrades=DEGRADES,
)

REACTIVATED_CUSTOMERS = Kpi(
    id="reactivated_customers",
    name="Reactivated customers",
    category="customer",
    unit="count",
    better="up",
    define=lambda params: _events(params, "returns", "returned customers"),
    dimensions=DIMENSIONS,
    params=PARAMS,
    formula_text="former customers that became customers again in the period",
    why="Completes the books: at the end = at the start + new + reactivated - lost.",
    misleads="With basis=orders a slow buyer is lost and reactivated again and again: choose a longer look-back.",
    source="ChartMogul",
    additivity="A",
    degrades=DEGRADES,
)


def _retention(params: Mapping[str, str]) -> Definition:
    entity = population(*spans_of(params))
    c = entity.c
    measures = {"start": (c.at_start == 1, "customers at the start")}
    if params["method"] == "cohort":
        measures["stayed"] = (and_(c.at_start == 1, c.at_end == 1), "customers still there")
    measures |= {"end": (c.at_end == 1, "customers at the end"), "new": (c.news > 0, "new customers")}
    is_cohort, is_annual = params["method"] == "cohort", params["annualise"] == "true"

    def rate(m: Values) -> Quantity:
        return (m.stayed if is_cohort else m.end - m.new) / m.start

    return customer_definition(
        params,
        entity,
        measures,
        (lambda m: _annual(rate(m), m)) if is_annual else rate,
        sample="start",
        also={"days": max_days(entity)} if is_annual else {},
        remarks=lambda m: _retention_remarks(m, rate(m), is_cohort=is_cohort),
    )


def _retention_remarks(m: Values, rate: Quantity, *, is_cohort: bool) -> list[str]:
    if rate.exact is None:
        return []
    formula = ((m.end - m.new) / m.start).exact
    if not is_cohort:
        outside = rate.exact < 0 or rate.exact > 1
        return ["outside 0 to 100 %: customers came back, or new ones have left already"] if outside else []
    if formula is not None and abs(formula - rate.exact) > Fraction(1, 200):
        return [f"(end - new) / start would be {float(100 * formula):.1f} %: customers came back, or new ones have left already"]
    return []


def _annual(rate: Quantity, m: Values) -> Quantity:
    """The rate of a year, if it went on like this: a power, never a multiple."""
    days = m["days"].exact
    if rate.exact is None or not days:
        return rate
    if rate.exact < 0:
        return Quantity(None, reason="a rate below 0 cannot be annualised")
    months = months_in(int(days))
    if months in (1, 2, 3, 4, 6, 12):
        return Quantity(rate.exact ** int(12 / months))
    return Quantity(Fraction(float(rate.exact) ** (12 / months)).limit_denominator(10**12))


CUSTOMER_RETENTION_RATE = Kpi(
    id="customer_retention_rate",
    name="Customer retention",
    category="customer",
    unit="ratio",
    better="up",
    define=_retention,
    period="quarter",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "method": Param(("cohort", "formula"), "Who was there at the start and still is; or (end - new) / start."),
        "annualise": Param(("false", "true"), "As a rate per year: to the power of periods per year."),
        **PARAMS,
    },
    formula_text="cohort: customers of the start who still are / customers at the start; formula: (end - new) / start",
    why="Whether customers find it worth to stay; keeping is cheaper than winning.",
    misleads="`formula` counts who came back and misses new customers who left; a year is not four times a quarter.",
    source="EasyERP, 7 essential CRM metrics: (end - new) / start; HubSpot glossary",
    additivity="C",
    degrades=DEGRADES,
    benchmark=Benchmark("0.6", "at least 60 %", "EasyERP, 7 essential CRM metrics", 2016),
    number=25,
)


def _churn(params: Mapping[str, str]) -> Definition:
    if params["method"] == "daily":
        return _daily_churn(params)
    entity = population(*spans_of(params))
    c = entity.c
    start = {"start": (c.at_start == 1, "customers at the start")}
    gone = (and_(c.at_start == 1, c.at_end == 0), "lost customers")
    match params["method"], params["same_window"]:
        case "net", _:
            measures = {**start, "end": (c.at_end == 1, "customers at the end")}
            return customer_definition(
                params, entity, measures, lambda m: (m.start - m.end) / m.start, sample="start", remarks=_net_change
            )
        case "start_plus_new", _:
            everybody = {
                "all": (c.no.is_not(None), "customers at the start and new ones"),
                "lost": (c.at_end == 0, "lost customers"),
            }
            return customer_definition(params, entity, everybody, lambda m: m.lost / m["all"], sample="all")
        case _, "include":
            measures = {**start, "lost": (c.at_end == 0, "lost customers")}
        case _:
            measures = {**start, "lost": gone}
    return customer_definition(params, entity, measures, lambda m: m.lost / m.start, sample="start")


def _net_change(m: Values) -> Sequence[str]:
    return ["net change of the customer base: new customers make up for lost ones"]


def _daily_churn(params: Mapping[str, str]) -> Definition:
    entity = days_of_customers(*spans_of(params))
    c = entity.c
    measures = {"start": (c.at_start == 1, "customers at the start"), "everybody": (c.no.is_not(None), "customers")}
    for day in range(LONGEST):
        measures |= {f"joined{day}": (c.joined == day, "customers"), f"left{day}": (c.left_on == day, "customers")}
    also = {"days": max_days(entity)}
    return customer_definition(params, entity, measures, _sum_of_days, sample="everybody", also=also)


def _sum_of_days(m: Values) -> Quantity:
    """Sum over the days of lost / there at the day's start."""
    days = int(m["days"].exact or 0)
    if days > LONGEST:
        return Quantity(None, reason=f"daily churn is for periods of up to {LONGEST} days")
    there, total, is_any = m["start"].exact or Fraction(0), Fraction(0), False
    for day in range(days):
        lost = m[f"left{day}"].exact or Fraction(0)
        if there:
            total, is_any = total + lost / there, True
        there += (m[f"joined{day}"].exact or Fraction(0)) - lost
    return Quantity(total) if is_any else Quantity(None, reason="no customers on any day")


CUSTOMER_CHURN_RATE = Kpi(
    id="customer_churn_rate",
    name="Customer churn",
    category="customer",
    unit="ratio",
    better="down",
    define=_churn,
    period="month",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "method": Param(
            ("gross", "net", "start_plus_new", "daily"),
            "Lost of those at the start; net of new ones; of those at the start and new ones; or added up day by day.",
        ),
        "same_window": Param(
            ("exclude", "include"),
            "With method=gross: who joined and left in the period is no loss, or is one.",
        ),
        **PARAMS,
    },
    formula_text="gross: customers of the start who are none at the end / customers at the start; net: (start - end) / start",
    why="The speed at which the base wears away.",
    misleads="`net` hides losses behind new business; monthly rates do not add up to a year's.",
    source="ChartMogul, ProfitWell (gross, daily), Stripe (start_plus_new), customers at start and end (net: 4 of 99 = 4.04 %)",
    additivity="C",
    degrades=DEGRADES,
    number=28,
)

KPIS = (
    ACTIVE_CUSTOMERS, NEW_CUSTOMERS, LOST_CUSTOMERS, REACTIVATED_CUSTOMERS, CUSTOMER_RETENTION_RATE, CUSTOMER_CHURN_RATE,
)  # fmt: skip
