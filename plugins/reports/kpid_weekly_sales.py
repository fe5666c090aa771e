"""The sales report: what was won, how well, how long it took, and what is coming. For weeks and months alike.

Its look is in ``report_templates/weekly_sales.*.j2``; KPIs that no source feeds are left out and named.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Report, hookimpl

WEEKLY_SALES = Report(
    id="weekly_sales",
    name="Sales",
    kpis=(
        "won_amount",
        "won_deals",
        "win_rate",
        "avg_deal_size",
        "sales_cycle_days",
        "pipeline_created",
        "pipeline_open_amount",
        "leads_created",
        "calls_made",
        "calls_per_sale",
        "ticket_backlog",
        "nps",
    ),
    period="week",
    periods=13,
    drivers=("owner", "product", "lead_source"),
    summary="What was won, how well and how fast, and what is in the pipeline; the worst first.",
)


@hookimpl
def kpid_reports() -> Sequence[Report]:
    """The report of this file."""
    return (WEEKLY_SALES,)
