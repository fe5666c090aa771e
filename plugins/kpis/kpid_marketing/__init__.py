"""Marketing KPIs: what leads, campaigns, mails and the web site bring, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl
from kpid_marketing import campaigns, costs, email, inquiries, leads, lists, prospects, response, sends, trials, web

_MODULES = (leads, inquiries, prospects, response, costs, campaigns, sends, email, lists, web, trials)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Marketing KPIs."""
    return tuple(kpi for module in _MODULES for kpi in module.KPIS)
