"""Revenue KPIs: what customers bring, what they cost, what recurs."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Revenue KPIs."""
    return ()
