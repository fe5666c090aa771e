"""What moved a number: which segments carry how much of its change. Pure; the effects add up to the change exactly.

Additive KPIs (counts, sums) move by the change of each segment. Ratios and means move in two ways: a segment's own rate changed,
or its weight did (more deals where the rate is low). With weight ``w = denominator / total denominator`` and rate ``r``::

    rate effect = mean weight x (r_new - r_old)
    mix effect  = (w_new - w_old) x (mean rate - overall mean rate)

Arithmetic is on fractions, so that the sums are exact. A segment that was absent on one side has no rate there: it takes the
rate of its other side, so that all of its effect is mix.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from kpid.model import Measurement, segment_key, segment_label


@dataclass(frozen=True, slots=True)
class Effect:
    """What one segment contributed to the change. ``effect == rate + mix``; additive KPIs have all of it in ``rate``.

    ``new`` and ``old`` are the segment's numerator and denominator on either side (denominator None for additive KPIs).
    """

    segment: str
    key: str
    rate: Fraction
    mix: Fraction
    new: tuple[Decimal, Decimal | None]
    old: tuple[Decimal, Decimal | None]

    @property
    def effect(self) -> Fraction:
        """The whole contribution, in the KPI's own unit."""
        return self.rate + self.mix


@dataclass(frozen=True, slots=True)
class Explanation:
    """The change of a KPI and its parts, the largest first. ``sum(part.effect) == change``."""

    change: Fraction
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    numerator: Decimal
    denominator: Decimal | None


def explain_change(new: Iterable[Measurement], old: Iterable[Measurement]) -> Explanation | None:
    """Explain the change between two periods, given the measurements of all segments of one dimension in each.

    Measurements with numerator and denominator are taken as ratios; those with a value alone as additive.

    Returns:
        None where there is nothing to explain: no segments, a ratio without any denominator on a side, or a KPI that is neither
        (a median).
    """
    after, before = _sides(new), _sides(old)
    if after is None or before is None:
        return None
    (now, names), (then, old_names) = after, before
    names = {**old_names, **names}
    if not names:
        return None
    parts = [*now.values(), *then.values()]
    ratio = any(side.denominator is not None for side in parts)
    effects = _ratio_effects(names, now, then) if ratio else _additive_effects(names, now, then)
    if effects is None:
        return None
    ranked = sorted(effects, key=lambda effect: (-abs(effect.effect), effect.segment, effect.key))
    return Explanation(sum((effect.effect for effect in ranked), Fraction(0)), tuple(ranked))


def _sides(measurements: Iterable[Measurement]) -> tuple[dict[str, _Side], dict[str, str]] | None:
    sides: dict[str, _Side] = {}
    names: dict[str, str] = {}
    for measurement in measurements:
        key = segment_key(measurement.dims)
        if measurement.numerator is not None and measurement.denominator is not None:
            sides[key] = _Side(measurement.numerator, measurement.denominator)
        elif measurement.numerator is None and measurement.denominator is None and measurement.value is not None:
            sides[key] = _Side(measurement.value, None)
        elif measurement.value is not None:
            return None
        else:
            continue
        names[key] = segment_label(measurement.dims)
    return sides, names


def _additive_effects(names: dict[str, str], now: dict[str, _Side], then: dict[str, _Side]) -> list[Effect]:
    nothing = _Side(Decimal(0), None)
    effects = []
    for key, name in names.items():
        new, old = now.get(key, nothing), then.get(key, nothing)
        change = Fraction(new.numerator) - Fraction(old.numerator)
        effects.append(Effect(name, key, change, Fraction(0), (new.numerator, None), (old.numerator, None)))
    return effects


def _ratio_effects(names: dict[str, str], now: dict[str, _Side], then: dict[str, _Side]) -> list[Effect] | None:
    total_new, total_old = _total(now), _total(then)
    if not total_new[1] or not total_old[1]:
        return None
    middle = (total_new[0] / total_new[1] + total_old[0] / total_old[1]) / 2
    nothing = _Side(Decimal(0), Decimal(0))
    effects = []
    for key, name in names.items():
        new, old = now.get(key, nothing), then.get(key, nothing)
        rates = _rates(new, old)
        if rates is None:
            continue
        weight_new = Fraction(new.denominator or 0) / total_new[1]
        weight_old = Fraction(old.denominator or 0) / total_old[1]
        rate = (weight_new + weight_old) / 2 * (rates[0] - rates[1])
        mix = (weight_new - weight_old) * ((rates[0] + rates[1]) / 2 - middle)
        effects.append(Effect(name, key, rate, mix, (new.numerator, new.denominator), (old.numerator, old.denominator)))
    return effects


def _total(sides: dict[str, _Side]) -> tuple[Fraction, Fraction]:
    """Sums of numerators and denominators; segments without a denominator have no rate and stay out."""
    counted = [side for side in sides.values() if side.denominator]
    return (
        sum((Fraction(side.numerator) for side in counted), Fraction(0)),
        sum((Fraction(side.denominator or 0) for side in counted), Fraction(0)),
    )


def _rates(new: _Side, old: _Side) -> tuple[Fraction, Fraction] | None:
    """The rates of a segment on both sides; one that is missing is taken from the other."""
    rates = [Fraction(side.numerator) / Fraction(side.denominator) if side.denominator else None for side in (new, old)]
    if rates[0] is None and rates[1] is None:
        return None
    first, second = rates
    return (first if first is not None else second or Fraction(0), second if second is not None else first or Fraction(0))


def rounded_shares(values: Iterable[Fraction], total: Fraction, digits: int) -> list[Decimal]:
    """Round parts so that what is printed adds up to the printed total (largest remainder).

    Args:
        values: the parts; their sum is ``total``.
        total: the whole.
        digits: digits after the point that people see; negative for tens, hundreds ...
    """
    scale = Fraction(10) ** digits
    scaled = [value * scale for value in values]
    floors = [value.numerator // value.denominator for value in scaled]
    missing = _nearest(total * scale) - sum(floors)
    order = sorted(range(len(scaled)), key=lambda index: floors[index] - scaled[index])
    for index in order[: max(0, missing)]:
        floors[index] += 1
    return [Decimal(value).scaleb(-digits) for value in floors]


def _nearest(value: Fraction) -> int:
    """The nearest integer, halves away from zero: as the formatter rounds."""
    size = abs(value) + Fraction(1, 2)
    whole = size.numerator // size.denominator
    return whole if value >= 0 else -whole
