"""Pipeline KPIs: what is open at an instant, and what comes in.

Past instants are right as far as the CRM's creation and closing dates are. Amounts are today's, since amounts have no history
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import case

from kpid.plugin import AS_OF, At, Balance, Definition, Kpi, Measure, Param, count, entities, hookimpl, sum_

deals = entities.deals
OPEN = deals.c.state == "open"
DIMENSIONS = (
    "owner", "team", "region", "pipeline", "stage", "product", "lead_source", "campaign", "segment", "industry", "country",
    "account", "currency", "deal_type", "source",
)  # fmt: skip
PARAMS = {
    "as": Param(("amount", "count"), "The amount, or the number of deals."),
    "missing_fx": Param(
        ("error", "exclude"), "Amounts without an exchange rate: refuse the number, or leave them out with a warning."
    ),
}


def _open_amount(params: Mapping[str, str]) -> Definition:
    clock = Balance(deals.c.created_at, deals.c.closed_at, OPEN)
    if params["as"] == "count":
        return Definition({"open": Measure(deals, clock, count(), label="open deals")}, lambda m: m.open, unit="count")
    amount = Measure(
        deals, clock, sum_(deals.c.amount), deals.c.currency, (deals.c.expected_close_date, AS_OF), label="open deals"
    )
    return Definition({"open": amount}, lambda m: m.open)


PIPELINE_OPEN_AMOUNT = Kpi(
    id="pipeline_open_amount",
    name="Open pipeline",
    category="pipeline",
    unit="currency",
    better="up",
    define=_open_amount,
    period="week",
    dimensions=DIMENSIONS,
    params=PARAMS,
    formula_text="sum of the amounts of deals that are open at the end of the period (or now)",
    why="What the coming periods can be won from.",
    misleads="Old deals that nobody closes keep it high; amounts are guesses until a deal is won.",
    source="fivetran dbt_salesforce total_pipeline_amount",
)


def _created(params: Mapping[str, str]) -> Definition:
    clock = At(deals.c.created_at)
    if params["as"] == "count":
        return Definition({"created": Measure(deals, clock, count(), label="created deals")}, lambda m: m.created, unit="count")
    rate_at = (
        case((deals.c.state.in_(["won", "lost"]), deals.c.closed_at)),
        case((OPEN, deals.c.expected_close_date)),
        case((OPEN, AS_OF)),
    )
    amount = Measure(deals, clock, sum_(deals.c.amount), deals.c.currency, rate_at, label="created deals")
    return Definition({"created": amount}, lambda m: m.created)


PIPELINE_CREATED = Kpi(
    id="pipeline_created",
    name="Pipeline created",
    category="pipeline",
    unit="currency",
    better="up",
    define=_created,
    period="week",
    dimensions=DIMENSIONS,
    params=PARAMS,
    formula_text="sum of the amounts of deals created in the period",
    why="The earliest sign of the quarters to come.",
    misleads="Deals opened late, just before they are won, make it look healthy.",
    source="base measure",
)

@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Pipeline KPIs."""
    return (PIPELINE_OPEN_AMOUNT, PIPELINE_CREATED)
