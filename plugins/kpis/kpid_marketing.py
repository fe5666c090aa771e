"""Marketing KPIs: what campaigns, mails and the web site bring."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Marketing KPIs."""
    return ()
