"""Activity KPIs: what salespeople do, and what it takes to make a sale. A call without a status was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, func

from kpid.plugin import At, Definition, Kpi, Measure, Param, count, entities, hookimpl

activities = entities.activities
deals = entities.deals
DIRECTION = Param(("outbound", "inbound", "all"), "Calls made by us, to us, or both.")


def _calls(direction: str) -> Measure:
    c = activities.c
    made = and_(c.type == "call", func.coalesce(c.status, "completed") == "completed")
    if direction != "all":
        made = and_(made, c.direction == direction)
    return Measure(activities, At(c.occurred_at), count(made), label="calls")


def _calls_made(params: Mapping[str, str]) -> Definition:
    return Definition({"calls": _calls(params["direction"])}, lambda m: m.calls)


CALLS_MADE = Kpi(
    id="calls_made",
    name="Calls",
    category="activity",
    unit="count",
    better="up",
    define=_calls_made,
    period="day",
    dimensions=("owner", "team", "region", "account", "segment", "direction", "outcome", "source"),
    params={"direction": DIRECTION},
    formula_text="completed calls, by the time they took place",
    why="Effort, days before it shows in results.",
    misleads="More calls are not better calls; what is not logged did not happen.",
    source="base measure",
)


def _calls_per_sale(params: Mapping[str, str]) -> Definition:
    won = Measure(deals, At(deals.c.closed_at), count(deals.c.state == "won"), label="won deals")
    return Definition({"calls": _calls(params["direction"]), "won": won}, lambda m: m.calls / m.won, sample="won")


CALLS_PER_SALE = Kpi(
    id="calls_per_sale",
    name="Calls per sale",
    category="activity",
    unit="count",
    better="down",
    define=_calls_per_sale,
    min_sample=10,
    dimensions=("owner", "team", "region", "account", "segment", "source"),
    params={"direction": DIRECTION},
    formula_text="completed calls / won deals, both of the same period",
    why="What a sale costs in effort.",
    misleads="Calls of this period belong to sales of the next: compare periods longer than the sales cycle.",
    source="calls before a sale",
)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Activity KPIs."""
    return (CALLS_MADE, CALLS_PER_SALE)
