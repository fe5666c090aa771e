"""Customer KPIs: who stays, who leaves, who comes back."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Customer KPIs."""
    return ()
