"""Support KPIs: what waits for an answer, how fast it gets one, and whether it stays solved. Spam is no request."""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl
from kpid_support import backlog, replies, resolution, solves

_MODULES = (backlog, replies, resolution, solves)


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Support KPIs."""
    return tuple(kpi for module in _MODULES for kpi in module.KPIS)
