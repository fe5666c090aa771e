"""Sales KPIs: what was won and lost, how often, how large, how fast, against which target, and why not.

A deal counts in the period of its ``closed_at``: its latest closing, as the CRM dates it. Re-opened deals, closings by their
transitions, and starts before the deal itself are read from histories, by parameters; the defaults are plain scans of deals.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Sales KPIs."""
    from kpid_sales import closed, cycle, losses, quota, rates, velocity  # noqa: PLC0415 - made when wanted

    modules = (closed, rates, cycle, velocity, quota, losses)
    return tuple(kpi for module in modules for kpi in module.KPIS)
