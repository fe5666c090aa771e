"""KPIs of the data itself: whether the other numbers can be believed, and what has to be corrected where."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """KPIs of the data itself."""
    from kpid_quality import completeness, duplicates, freshness, problems  # noqa: PLC0415 - made when wanted

    modules = (freshness, completeness, duplicates, problems)
    return tuple(kpi for module in modules for kpi in module.KPIS)
