"""Activity KPIs: what salespeople do, and what it takes to make a sale. What has no status was done."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl
from kpid_activity import calls, meetings, mix, outcomes, sellers

_MODULES = (calls, meetings, sellers, outcomes, mix)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Activity KPIs."""
    return tuple(kpi for module in _MODULES for kpi in module.KPIS)
