"""Satisfaction KPIs: what customers say when asked, and how many answer."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Satisfaction KPIs."""
    from kpid_satisfaction import promoters, sends, support_scores  # noqa: PLC0415 - made when wanted

    modules = (promoters, support_scores, sends)
    return tuple(kpi for module in modules for kpi in module.KPIS)
