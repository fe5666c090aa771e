"""Support KPIs: what waits for an answer, how fast it gets one, and whether it stays solved. Spam is no request."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Support KPIs."""
    from kpid_support import backlog, replies, resolution, solves  # noqa: PLC0415 - made when wanted

    modules = (backlog, replies, resolution, solves)
    return tuple(kpi for module in modules for kpi in module.KPIS)
