"""Pipeline KPIs: what is open at an instant and comes in, how deals get from stage to stage, and what lies still.

Without histories past instants are right as far as the CRM's creation and closing dates are, with today's amounts. Where a source
delivers histories of stages and fields, a deal is at each instant what it was then.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Pipeline KPIs."""
    from kpid_pipeline import balances, change, created, dwell, neglect, pushes, stages  # noqa: PLC0415 - made when wanted

    modules = (balances, change, created, stages, dwell, neglect, pushes)
    return tuple(kpi for module in modules for kpi in module.KPIS)
