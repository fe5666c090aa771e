"""What a running period will come to: from how much of earlier periods was there at the same point of their working days. Pure.

Each earlier period says what share of its total it had by then; the actual figure divided by such a share is what this period
comes to if it goes on like that one. The middle one is the forecast. The interval lies between the shares that a further period
exceeds, or falls short of, in one case of ten: with as many earlier periods as there are, those at the ranks 0.1 and 0.9 times
(n + 1). That holds for whatever distribution they have, if this period is no different from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

LEAST = 4
"""From fewer earlier periods nothing is forecast."""
PERIODS = 12
"""So many earlier periods are looked at."""
_TAIL = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Forecast:
    """The total that a period will come to, with an 80 % interval; ``coverage`` says what the interval really covers.

    ``high`` is None where it has no bound: in some earlier period nothing had come by then.
    """

    value: Decimal
    low: Decimal
    high: Decimal | None
    share: Fraction
    periods: int
    coverage: Fraction


def forecast(actual: Decimal, shares: Sequence[Fraction]) -> Forecast | None:
    """Forecast the total of a running period.

    Args:
        actual: what is there by now.
        shares: shares of their totals that earlier periods had at this point, one each.

    Returns:
        None where there is nothing to go by: too few earlier periods, nothing there yet, or most of them had nothing by then.
    """
    ordered = sorted(max(share, Fraction(0)) for share in shares)
    count = len(ordered)
    if count < LEAST or actual <= 0:
        return None
    middle = quantile(ordered, Fraction(1, 2))
    if middle <= 0:
        return None
    least, most = quantile(ordered, _TAIL), quantile(ordered, 1 - _TAIL)
    outer = Fraction(count - 1, count + 1)  # what lies between the least and the largest of them
    return Forecast(
        value=_over(actual, middle),
        low=_over(actual, most),
        high=_over(actual, least) if least > 0 else None,
        share=middle,
        periods=count,
        coverage=min(1 - 2 * _TAIL, outer),
    )


def quantile(ordered: Sequence[Fraction], q: Fraction) -> Fraction:
    """The value at rank ``q (n + 1)`` of an ordered sample, between two of them in proportion, at most the outermost."""
    rank = q * (len(ordered) + 1)
    below = int(rank)
    if below < 1:
        return ordered[0]
    if below >= len(ordered):
        return ordered[-1]
    return ordered[below - 1] + (ordered[below] - ordered[below - 1]) * (rank - below)


def _over(actual: Decimal, share: Fraction) -> Decimal:
    return actual * share.denominator / share.numerator
