"""Satisfaction KPIs: what customers say when asked, and how many answer."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl
from kpid_satisfaction import promoters, sends, support_scores

_MODULES = (promoters, support_scores, sends)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Satisfaction KPIs."""
    return tuple(kpi for module in _MODULES for kpi in module.KPIS)
