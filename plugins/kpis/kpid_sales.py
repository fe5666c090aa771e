"""Sales KPIs: what was won and lost, how often, how large, how fast.

A deal counts in the period of its ``closed_at``: the last change into won or lost. Re-opened deals count by their latest outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_

from kpid.plugin import At, Definition, During, Kpi, Measure, Param, count, days_between, entities, hookimpl, mean, quantile, sum_

deals = entities.deals
CLOSED = At(deals.c.closed_at)
WON = deals.c.state == "won"
LOST = deals.c.state == "lost"
DECIDED = deals.c.state.in_(["won", "lost"])
DIMENSIONS = (
    "owner", "team", "region", "pipeline", "product", "lead_source", "campaign", "segment", "industry", "country", "account",
    "currency", "deal_type", "source",
)  # fmt: skip
MISSING_FX = Param(("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning.")


def _deals(where: ColumnElement[bool], label: str) -> Measure:
    return Measure(deals, CLOSED, count(where), label=label)


def _amount(where: ColumnElement[bool], label: str) -> Measure:
    return Measure(deals, CLOSED, sum_(deals.c.amount, where), money=deals.c.currency, label=label)


WON_DEALS = Kpi(
    id="won_deals",
    name="Won deals",
    category="sales",
    unit="count",
    better="up",
    define=Definition({"won": _deals(WON, "won deals")}, lambda m: m.won),
    period="week",
    dimensions=DIMENSIONS,
    formula_text="deals won, by the day they were closed",
    why="The plain count of sales: what all other sales figures are weighed against.",
    misleads="A few large deals weigh no more than many small ones.",
    source="base measure",
)

WON_AMOUNT = Kpi(
    id="won_amount",
    name="Won amount",
    category="sales",
    unit="currency",
    better="up",
    define=Definition({"won": _amount(WON, "won deals")}, lambda m: m.won),
    dimensions=DIMENSIONS,
    params={"missing_fx": MISSING_FX},
    formula_text="sum of the amounts of won deals in the reporting currency, by the day they were closed",
    why="Bookings: what the period brought in.",
    misleads="Deals without an amount are missing from it; one exceptional deal makes a month.",
    source="base measure (bookings)",
)

LOST_DEALS = Kpi(
    id="lost_deals",
    name="Lost deals",
    category="sales",
    unit="count",
    better="down",
    define=Definition({"lost": _deals(LOST, "lost deals")}, lambda m: m.lost),
    period="week",
    dimensions=(*DIMENSIONS, "loss_reason", "loss_competitor"),
    formula_text="deals lost, by the day they were closed",
    why="A rise shows before revenue falls.",
    misleads="A pipeline clean-up closes many old deals as lost on one day.",
    source="base measure",
)


def _win_rate(params: Mapping[str, str]) -> Definition:
    closed = _deals(DECIDED, "closed deals")
    if params["weight"] == "count":
        return Definition({"won": _deals(WON, "won deals"), "closed": closed}, lambda m: m.won / m.closed, sample="closed")
    amounts = {"won": _amount(WON, "amount of won deals"), "all": _amount(DECIDED, "amount of closed deals"), "closed": closed}
    return Definition(amounts, lambda m: m.won / m["all"], sample="closed")


WIN_RATE = Kpi(
    id="win_rate",
    name="Win rate",
    category="sales",
    unit="ratio",
    better="up",
    define=_win_rate,
    period="quarter",
    min_sample=30,
    dimensions=(*DIMENSIONS, "loss_competitor"),
    params={"weight": Param(("count", "amount"), "Weigh each deal alike, or by its amount."), "missing_fx": MISSING_FX},
    formula_text="won / (won + lost) among the deals closed in the period",
    why="How well opportunities turn into sales once somebody decides.",
    misleads="Deals that nobody closes are in neither number; a clean-up of old deals makes it fall at once.",
    source="Oracle CX metrics; fivetran dbt_salesforce weighs by amount",
)


def _close_rate(params: Mapping[str, str]) -> Definition:
    outcome = WON if params["closed"] == "won" else DECIDED
    pipeline_set = Measure(
        deals, During(deals.c.created_at, deals.c.closed_at, deals.c.state == "open"), count(), label="deals in the pipeline"
    )
    closed = _deals(and_(outcome, deals.c.created_at.is_not(None)), "closed deals")
    return Definition({"closed": closed, "pipeline": pipeline_set}, lambda m: m.closed / m.pipeline, sample="pipeline")


CLOSE_RATE = Kpi(
    id="close_rate",
    name="Pipeline close rate",
    category="sales",
    unit="ratio",
    better="up",
    define=_close_rate,
    period="quarter",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={"closed": Param(("won", "won_lost"), "Count deals that were won, or all that were decided.")},
    formula_text="deals closed in the period / deals that were open at its start or created in it",
    why="How much of the pipeline a period resolves.",
    misleads="Not the win rate: open deals stay in the denominator, so short periods look worse than long ones.",
    source="10 of 50 deals closed = 20 %",
)


def _avg_deal_size(params: Mapping[str, str]) -> Definition:
    agg = mean(deals.c.amount, WON) if params["stat"] == "mean" else quantile(0.5, deals.c.amount, WON)
    size = Measure(deals, CLOSED, agg, money=deals.c.currency, label="won deals with an amount")
    return Definition({"size": size}, lambda m: m.size, sample="size")


AVG_DEAL_SIZE = Kpi(
    id="avg_deal_size",
    name="Average won deal",
    category="sales",
    unit="currency",
    better="up",
    define=_avg_deal_size,
    period="quarter",
    min_sample=10,
    dimensions=DIMENSIONS,
    params={"stat": Param(("mean", "median"), "The mean, or the deal in the middle."), "missing_fx": MISSING_FX},
    formula_text="won amount / won deals that have an amount",
    why="Shows a move to larger or smaller customers, and discounts.",
    misleads="One very large deal moves the mean: look at the median beside it.",
    source="fivetran dbt_salesforce avg_bookings_amount",
)


def _sales_cycle(params: Mapping[str, str]) -> Definition:
    days = days_between(deals.c.created_at, deals.c.closed_at)
    outcome = {"won": WON, "lost": LOST, "all": DECIDED}[params["outcome"]]
    where = and_(outcome, days >= 0)
    agg = mean(days, where) if params["stat"] == "mean" else quantile(0.5, days, where)
    label = {"won": "won deals", "lost": "lost deals", "all": "closed deals"}[params["outcome"]]
    return Definition({"days": Measure(deals, CLOSED, agg, label=label)}, lambda m: m.days, sample="days")


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
    },
    formula_text="local calendar days from a deal's creation to its closing, over deals closed in the period",
    why="How long money waits; the first thing to stretch when buyers hesitate.",
    misleads="Only deals that closed count: while many old ones stay open it looks too short. Negative spans are left out.",
    source="Salesforce Sales Analytics: mean of close minus created over won deals",
)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Sales KPIs."""
    return (WON_DEALS, WON_AMOUNT, LOST_DEALS, WIN_RATE, CLOSE_RATE, AVG_DEAL_SIZE, SALES_CYCLE_DAYS)
