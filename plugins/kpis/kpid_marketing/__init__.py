"""Marketing KPIs: what leads, campaigns, mails and the web site bring, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Marketing KPIs."""
    from kpid_marketing import campaigns, costs, email, inquiries, leads, lists, prospects, response, sends, trials, web  # noqa: PLC0415

    modules = (leads, inquiries, prospects, response, costs, campaigns, sends, email, lists, web, trials)
    return tuple(kpi for module in modules for kpi in module.KPIS)
