"""How much of a target is reached."""

from __future__ import annotations

from collections.abc import Mapping

from kpid.plugin import Definition, Kpi, Param, Quantity, Target, Use, Values
from kpid_sales.closings import DIMENSIONS


def _attainment(params: Mapping[str, str]) -> Definition:
    kpi = params["kpi"]

    def formula(m: Values) -> Quantity:
        if m.actual.is_ratio:
            return Quantity(None, reason=f"{kpi} is a ratio: only what adds up can be attained in part")
        if m.target.is_defined and not m.target.exact:
            return Quantity(None, reason=f"the target of {kpi} is 0")
        return m.actual / m.target

    return Definition(
        {},
        formula,
        uses={"actual": Use(kpi)},
        targets={"target": Target(kpi, prorate=params["prorate"] == "true")},
    )


QUOTA_ATTAINMENT = Kpi(
    id="quota_attainment",
    name="Target attainment",
    category="sales",
    unit="ratio",
    better="up",
    define=_attainment,
    dimensions=DIMENSIONS,
    params={
        "kpi": Param.text("won_amount", "The KPI that has the target; one whose figures add up."),
        "prorate": Param(
            ("false", "true"), "Of a period that is not over: the whole target, or its part for the working days so far."
        ),
    },
    formula_text="actual / target of the same period and segment",
    why="Where the period stands against what was promised.",
    misleads="Early in a period it says little: look at the pace. Without a target there is no attainment, not 100 %.",
    source="Salesforce pipeline dashboard (quota, won, remaining quota)",
    additivity="R",
    number=8,
)

KPIS = (QUOTA_ATTAINMENT,)
