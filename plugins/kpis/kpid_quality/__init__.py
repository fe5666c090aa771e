"""KPIs of the data itself: whether the other numbers can be believed, and what has to be corrected where."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl
from kpid_quality import completeness, duplicates, freshness, problems

_MODULES = (freshness, completeness, duplicates, problems)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """KPIs of the data itself."""
    return tuple(kpi for module in _MODULES for kpi in module.KPIS)
