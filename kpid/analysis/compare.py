"""How one number stands to another: differences, and relative changes where they mean something."""

from __future__ import annotations

from decimal import Decimal


def difference(new: Decimal | None, old: Decimal | None) -> Decimal | None:
    """``new - old`` in the unit of the KPI (for ratios: 0.05 is 5 points); None if either is undefined."""
    return None if new is None or old is None else new - old


def relative_change(new: Decimal | None, old: Decimal | None) -> Decimal | None:
    """``new / old - 1``; None if either is undefined or ``old`` is zero or negative: there a percentage would mislead."""
    if new is None or old is None or old <= 0:
        return None
    return (new - old) / old


def share(part: Decimal | None, whole: Decimal | None) -> Decimal | None:
    """``part / whole``, e.g. of a target; None if either is undefined or the whole is zero or negative."""
    return None if part is None or whole is None or whole <= 0 else part / whole
