"""Customer KPIs: who stays, who leaves, who comes back, who buys more.

Who is a customer is the company's choice (parameter ``basis``), and every figure says by which. Intervals are half-open; a
customer at an instant is one just before it, so that the customers at the end are those at the start, plus new and returned, less
lost ones, whatever the basis. A status span without a beginning, or that ends before it begins, counts for nothing; of
subscriptions, trials and free ones do not count, nor do paused or ended ones without an end. Orders that are cancelled or wholly
refunded (in their own currency) are no purchases.
"""

from __future__ import annotations

from collections.abc import Sequence

from kpid.plugin import Kpi, hookimpl


@hookimpl
def kpid_kpis() -> Sequence[Kpi]:
    """Customer KPIs."""
    from . import buying, staying  # noqa: PLC0415 - made when wanted

    return (*staying.KPIS, *buying.KPIS)
