"""How much revenue sales makes per day, from four figures that everybody watches one by one."""

from __future__ import annotations

from collections.abc import Mapping

from kpid.plugin import Definition, Kpi, Param, Quantity, Use, Values
from kpid_sales.closings import DIMENSIONS, MISSING_FX

_WON_NEEDED = 10
_DAYS = {"day": 1, "month": 30}
_YEAR = 365


def _velocity(params: Mapping[str, str]) -> Definition:
    back = _YEAR if params["factors"] == "ttm" else None
    fx = {"missing_fx": params["missing_fx"]}
    opps = {"open_at_end": "pipeline_open_amount", "created_in_period": "pipeline_created"}[params["opps"]]
    uses = {
        "opps": Use(opps, {"as": "count"}),
        "rate": Use("win_rate", {"weight": "count", "mode": "period"}, back),
        "size": Use("avg_deal_size", {"stat": "mean", **fx}, back),
        "cycle": Use("sales_cycle_days", {"stat": "mean", "outcome": "won", "mode": "period"}, back),
    }
    days = _DAYS[params["per"]]

    def formula(m: Values) -> Quantity:
        if m.cycle.is_defined and not m.cycle.exact:
            return Quantity(None, reason="the mean sales cycle is 0 days")
        return days * m.opps * m.rate * m.size / m.cycle

    return Definition({}, formula, sample="rate", uses=uses, remarks=_remarks)


def _remarks(m: Values) -> list[str]:
    won = m.rate.numerator
    return [f"{won} won deals only, at least {_WON_NEEDED} needed"] if won is not None and won < _WON_NEEDED else []


SALES_VELOCITY = Kpi(
    id="sales_velocity",
    name="Sales velocity",
    category="sales",
    unit="currency",
    better="up",
    define=_velocity,
    period="rolling_90d",
    min_sample=30,
    dimensions=DIMENSIONS,
    params={
        "opps": Param(("open_at_end", "created_in_period"), "The opportunities: those open at the end, or those created."),
        "factors": Param(("period", "ttm"), "Win rate, deal size and cycle of the period, or of the 365 days up to its end."),
        "per": Param(("day", "month"), "Per day, or per 30 days."),
        "missing_fx": MISSING_FX,
    },
    formula_text="opportunities x win rate x average won deal / mean sales cycle in days",
    why="One figure for what all four together do to revenue.",
    misleads="Factors can cancel each other out: look at them too. The velocities of teams do not add up to the company's. "
    "Below 10 won deals there is a warning, below 30 closed ones no judgement.",
    source="HubSpot blog, worked examples",
    additivity="N",
    number=7,
)

KPIS = (SALES_VELOCITY,)
