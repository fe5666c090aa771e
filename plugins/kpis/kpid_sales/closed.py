"""What was closed: deals won and lost, what the won ones bring, and how large they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from kpid.plugin import At, Definition, Kpi, Measure, Param, Values, mean, quantile
from kpid_sales.closings import CLOSING, DEGRADES, DIMENSIONS, LOST_EXCLUDES, MISSING_FX, closed_by


def negatives(noun: str) -> Callable[[Values], Sequence[str]]:
    """Says how many amounts are below zero: legal in some CRMs, and rarely meant."""

    def remark(m: Values) -> Sequence[str]:
        found = m.negative.value
        return [f"negative amounts among the {noun}: {found}"] if found else []

    return remark


def _won_deals(params: Mapping[str, str]) -> Definition:
    closed = closed_by(params)
    return Definition({"won": closed.number(closed.won(), "won deals")}, lambda m: m.won, optional=closed.optional)


def _won_amount(params: Mapping[str, str]) -> Definition:
    closed = closed_by(params)
    measures = {"won": closed.amount(closed.won(), "won deals"), "negative": closed.negative(closed.won())}
    return Definition(measures, lambda m: m.won, remarks=negatives("won deals"), optional=closed.optional)


def _lost_deals(params: Mapping[str, str]) -> Definition:
    closed = closed_by(params)
    lost = closed.number(closed.lost(params["lost_excludes"]), "lost deals")
    return Definition({"lost": lost}, lambda m: m.lost, optional=closed.optional)


def _avg_deal_size(params: Mapping[str, str]) -> Definition:
    closed = closed_by(params)
    amount, won = closed.entity.c.amount, closed.won()
    agg = mean(amount, won) if params["stat"] == "mean" else quantile(0.5, amount, won)
    size = Measure(closed.entity, At(closed.instant), agg, closed.entity.c.currency, label="won deals with an amount")
    measures = {"size": size, "negative": closed.negative(won)}
    return Definition(measures, lambda m: m.size, sample="size", remarks=negatives("won deals"), optional=closed.optional)


WON_DEALS = Kpi(
    id="won_deals",
    name="Won deals",
    category="sales",
    unit="count",
    better="up",
    define=_won_deals,
    period="week",
    dimensions=DIMENSIONS,
    params=CLOSING,
    formula_text="deals won, by the day they were closed",
    why="The plain count of sales: what all other sales figures are weighed against.",
    misleads="A few large deals weigh no more than many small ones; with reopen=every a deal that was won twice counts twice.",
    source="base measure",
    additivity="A",
    degrades=DEGRADES,
)

WON_AMOUNT = Kpi(
    id="won_amount",
    name="Won amount",
    category="sales",
    unit="currency",
    better="up",
    define=_won_amount,
    dimensions=DIMENSIONS,
    params={"missing_fx": MISSING_FX, **CLOSING},
    formula_text="sum of the amounts of won deals in the reporting currency, by the day they were closed",
    why="Bookings: what the period brought in.",
    misleads="Deals without an amount are missing from it; one exceptional deal makes a month.",
    source="base measure (bookings)",
    additivity="A",
    degrades={**DEGRADES, "fx_dated": "Without dated exchange rates amounts in other currencies cannot be converted."},
)

LOST_DEALS = Kpi(
    id="lost_deals",
    name="Lost deals",
    category="sales",
    unit="count",
    better="down",
    define=_lost_deals,
    period="week",
    dimensions=(*DIMENSIONS, "loss_reason", "loss_competitor"),
    params={"lost_excludes": LOST_EXCLUDES, **CLOSING},
    formula_text="deals lost, by the day they were closed",
    why="A rise shows before revenue falls.",
    misleads="A pipeline clean-up closes many old deals as lost on one day.",
    source="base measure",
    additivity="A",
    degrades=DEGRADES,
)

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
    params={"stat": Param(("mean", "median"), "The mean, or the deal in the middle."), "missing_fx": MISSING_FX, **CLOSING},
    formula_text="won amount / won deals that have an amount",
    why="Shows a move to larger or smaller customers, and discounts.",
    misleads="One very large deal moves the mean: look at the median beside it. Of medians, those of teams do not average to the "
    "company's.",
    source="fivetran dbt_salesforce avg_bookings_amount",
    additivity="R",
    degrades=DEGRADES,
    number=5,
)

KPIS = (WON_DEALS, WON_AMOUNT, LOST_DEALS, AVG_DEAL_SIZE)
