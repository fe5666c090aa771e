"""Revenue KPIs: what customers bring in, once or every month, and what it costs to win them.

Amounts are in the reporting currency, by the rate of the day of the order, refund or movement. A refund takes away what it says,
whatever its sign; cancelled orders and their refunds count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Revenue KPIs."""
    from . import selling, subscribing, winning  # noqa: PLC0415 - made when wanted

    return (*selling.KPIS, *subscribing.KPIS, *winning.KPIS)
