"""What a change is explained against, where that is no single period: the average of several, or what was aimed at. Pure.

Both are made into measurements that never were, so that :func:`kpid.analysis.explain.explain` splits the change from them like
any other, and its parts add up to it. The average of ratios is the mean of the periods' ratios, each with its own weights::

    weight = mean of denominator / whole denominator      weight x rate = mean of numerator / whole denominator
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from kpid.analysis.explain import scale_of
from kpid.model import Dims, Measurement, MeasurementState, Period, segment_key
from kpid.plugin.quantity import decimal_from_fraction

SURE_SAMPLE = 10**9
"""A figure that was aimed at does not scatter: its sample is as good as endless."""


def average_of(wholes: Sequence[Measurement], parts: Sequence[Sequence[Measurement]]) -> tuple[Measurement, list[Measurement]]:
    """The mean of several periods, and its parts.

    Args:
        wholes: the figure of each period; all have a value.
        parts: of each period the figures of its segments; a segment that is not there had nothing.

    Returns:
        The whole, whose value is the mean of the values, and a part for each segment of any period. Samples are those of all
        periods together: by them the error of the mean is known.
    """
    weights = _weights(wholes)
    names: dict[str, Dims] = {}
    held: dict[str, list[tuple[Measurement, Fraction]]] = {}
    for weight, members in zip(weights, parts, strict=True):
        for one in members:
            key = segment_key(one.dims)
            names[key] = one.dims
            held.setdefault(key, []).append((one, weight))
    first = wholes[0]
    whole = _together(first, first.dims, list(zip(wholes, weights, strict=True)), len(wholes))
    whole = replace(
        whole, value=decimal_from_fraction(sum((Fraction(one.value or 0) for one in wholes), Fraction(0)) / len(wholes))
    )
    return whole, [_together(first, names[key], members, len(wholes)) for key, members in held.items()]


def aimed_at(
    whole: Measurement, parts: Sequence[Measurement], aim: Decimal, shares: Sequence[Measurement] = ()
) -> tuple[Measurement, list[Measurement]] | None:
    """A figure that was aimed at as the other side of an explanation.

    Of a ratio every segment should have reached it, with the weight that it has. Of a sum each segment has its share of it.

    Args:
        whole: what there is.
        parts: its segments.
        aim: what there should be.
        shares: of sums, figures of all segments by whose values the aim is shared out.

    Returns:
        The whole and its parts; None where nobody can say what a segment should have brought.
    """
    if whole.denominator is not None:
        scale = scale_of([whole])
        return _reached(whole, aim, scale), [_reached(one, aim, scale) for one in parts if one.denominator]
    total = sum((Fraction(one.value or 0) for one in shares), Fraction(0))
    if total <= 0 or any(one.value is not None and one.value < 0 for one in shares):
        return None
    made = [
        replace(_plain(one), value=decimal_from_fraction(Fraction(aim) * Fraction(one.value) / total))
        for one in shares
        if one.value is not None
    ]
    return replace(_plain(whole), value=aim), made


def _weights(wholes: Sequence[Measurement]) -> list[Fraction]:
    """What a period's figures are multiplied with: of ratios as if each had had the same denominator, the mean of all."""
    if any(one.denominator is None or not one.denominator for one in wholes):
        return [Fraction(1)] * len(wholes)
    mean = sum((Fraction(one.denominator or 0) for one in wholes), Fraction(0)) / len(wholes)
    return [mean / Fraction(one.denominator or 1) for one in wholes]


def _together(first: Measurement, dims: Dims, members: Sequence[tuple[Measurement, Fraction]], count: int) -> Measurement:
    """The mean of one segment's figures; of ratios the sum, so that it has as many cases as all periods together."""
    n = sum(one.n for one, _ in members)
    if first.denominator is None:
        value = sum((Fraction(one.value or 0) for one, _ in members), Fraction(0)) / count
        return _made(first.period, members[0][0], dims, decimal_from_fraction(value), n)
    above = sum((Fraction(one.numerator or 0) * weight for one, weight in members), Fraction(0))
    below = sum((Fraction(one.denominator or 0) * weight for one, weight in members), Fraction(0))
    scale = scale_of(one for one, _ in members)
    value_or_none = decimal_from_fraction(scale * above / below) if below else None
    is_share = all(one.denominator == one.n for one, _ in members)
    found = _made(first.period, members[0][0], dims, value_or_none, round(below) if is_share else n)
    return replace(found, numerator=decimal_from_fraction(above), denominator=decimal_from_fraction(below))


def _made(period: Period, like: Measurement, dims: Dims, value: Decimal | None, n: int) -> Measurement:
    return Measurement(like.kpi, period, MeasurementState.OK, value, n, dims, like.params, currency=like.currency)


def _plain(like: Measurement) -> Measurement:
    return _made(like.period, like, like.dims, None, SURE_SAMPLE)


def _reached(one: Measurement, aim: Decimal, scale: Fraction) -> Measurement:
    above = decimal_from_fraction(Fraction(aim) / scale * Fraction(one.denominator or 0))
    return replace(_plain(one), value=aim, numerator=above, denominator=one.denominator, low=aim, high=aim)
