"""Activity KPIs: what salespeople do, and what it takes to make a sale. What has no status was done."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Activity KPIs."""
    from kpid_activity import calls, meetings, mix, outcomes, sellers  # noqa: PLC0415 - made when wanted

    modules = (calls, meetings, sellers, outcomes, mix)
    return tuple(kpi for module in modules for kpi in module.KPIS)
