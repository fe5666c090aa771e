"""What moved a number: which segments carry how much of its change. Pure; the effects add up to the change exactly.

Additive KPIs (counts, sums, balances) move by the change of each segment. Ratios, means and scores move in two ways: a segment's
own rate changed, or its weight did (more deals where the rate is low). With weight ``w = denominator / total denominator`` and
rate ``r``::

    rate effect = mean weight x (r_new - r_old)
    mix effect  = (w_new - w_old) x (mean rate - overall mean rate)

Arithmetic is on fractions, so that the sums are exact. A segment that was absent on one side has no rate there: it takes the
rate of its other side, so that all of its effect is mix. Effects are ranked by how far they are beyond chance: effect over its
standard error (:mod:`kpid.analysis.chance`), so that a large segment's usual noise does not pass for a cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from kpid.analysis.chance import Side, Weighed, additive_error, ratio_error, unevenness
from kpid.model import Measurement, MeasurementState, segment_key, segment_label
from kpid.plugin.kpi import Definition

Kind: TypeAlias = Literal["additive", "ratio"]
_TOLERANCE = Fraction(1, 10**9)
"""Values come with 28 digits: sums of them may differ from the total beyond that."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What one segment contributed to the change. ``effect == rate + mix``; additive KPIs have all of it in ``rate``.

    ``new`` and ``old`` are the segment's numerator and denominator on either side (denominator None for additive KPIs), ``n``
    and ``n_was`` its samples, ``error`` the standard error of the effect.
    """

    segment: str
    key: str
    rate: Fraction
    mix: Fraction
    new: tuple[Decimal, Decimal | None]
    old: tuple[Decimal, Decimal | None]
    n: int = 0
    n_was: int = 0
    error: float = 0.0

    @property
    def effect(self) -> Fraction:
        """The whole contribution, in the KPI's own unit."""
        return self.rate + self.mix

    @property
    def score(self) -> float:
        """The effect in standard errors, by size: below 2 it may be chance."""
        return abs(float(self.effect)) / self.error if self.error else 0.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The change of a KPI and its parts, the surest first. ``sum(part.effect) == change``.

    ``scale`` is what a ratio is multiplied with (100 for scores); ``unevenness`` how much less evenly the change is spread over
    the segments than chance would spread it, in standard deviations: by it dimensions are compared.
    """

    change: Fraction
    effects: tuple[Effect, ...]
    kind: Kind = "additive"
    scale: Fraction = Fraction(1)
    unevenness: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """The change looked at along one dimension.

    ``explanation`` is None where the parts do not add up to the whole, and ``reason`` says why; ``segments`` are then all there
    is to show: each segment's measurement in the new period and in the old one.
    """

    dimension: str
    explanation: Explanation | None
    reason: str = ""
    segments: tuple[tuple[Measurement | None, Measurement | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Why:
    """The change of a KPI between two periods, and what is behind it, the dimension that tells most first.

    ``change`` is None where one of the two has no value; ``reason`` says so.
    """

    new: Measurement
    old: Measurement
    change: Decimal | None
    cuts: tuple[Cut, ...]
    reason: str = ""

    @property
    def best(self) -> Cut | None:
        """The dimension that tells most, if any can be split; one that has a single segment tells nothing."""
        return next((cut for cut in self.cuts if cut.explanation is not None and len(cut.segments) > 1), None)


Sides: TypeAlias = tuple[Sequence[Measurement], Sequence[Measurement]]
"""The measurements of all segments of a dimension: of the new period, and of the old one."""


_UNSPLIT = {"quantile", "min", "max", "top_sum"}


def can_be_split(definition: Definition) -> bool:
    """Whether a KPI may be a sum or a ratio of sums: medians, extremes and KPIs made of others are not."""
    return not definition.uses and all(measure.agg.kind not in _UNSPLIT for measure in definition.measures.values())


def explain(new: Measurement, old: Measurement, cuts: Mapping[str, Sides], *, splits: bool = True) -> Why:
    """Explain the change of a total along several dimensions.

    Args:
        new: the total in the new period.
        old: the total in the period that it is compared with.
        cuts: by dimension.
        splits: whether the KPI can be split at all; medians, distinct counts and KPIs made of other KPIs cannot.
    """
    if new.value is None or old.value is None:
        lacking = new if new.value is None else old
        reason = f"{lacking.period.label} has no value ({lacking.reason or lacking.state.value}): there is nothing to compare"
        return Why(new, old, None, (), reason)
    found = [_cut(dimension, sides, new, old, splits=splits) for dimension, sides in cuts.items()]
    found.sort(key=lambda cut: (cut.explanation is None, -(cut.explanation.unevenness if cut.explanation else 0.0)))
    reason = "" if splits else "this KPI is no sum and no ratio of sums: its change cannot be split exactly"
    return Why(new, old, new.value - old.value, tuple(found), reason)


def _cut(dimension: str, sides: Sides, new: Measurement, old: Measurement, *, splits: bool) -> Cut:
    found = explain_change(*sides) if splits else None
    own = _paired(sides)
    if found is None:
        return Cut(dimension, None, "", own)
    lacking = [pair for pair in own for one in pair if one is not None and one.state is MeasurementState.ERROR]
    if lacking:
        return Cut(dimension, None, f"{len(lacking)} figures are missing: the parts do not add up", own)
    if not (_adds_up(sides[0], new) and _adds_up(sides[1], old)):
        reason = "the parts do not add up to the whole: some rows count in several, or on one side of the ratio only"
        return Cut(dimension, None, reason, own)
    return Cut(dimension, found, "", own)


def _paired(sides: Sides) -> tuple[tuple[Measurement | None, Measurement | None], ...]:
    after, before = ({segment_key(one.dims): one for one in side} for side in sides)
    pairs = [(after.get(key), before.get(key)) for key in {**after, **before}]
    return tuple(sorted(pairs, key=lambda pair: -sum(one.n for one in pair if one is not None)))


def _adds_up(segments: Sequence[Measurement], total: Measurement) -> bool:
    """Whether the segments' figures are those of the total, exactly."""
    pairs = [(one.numerator, one.denominator) if one.denominator is not None else (one.value, None) for one in segments]
    if total.denominator is None:
        return _equal(sum((Fraction(value) for value, _ in pairs if value is not None), Fraction(0)), total.value)
    above = sum((Fraction(value) for value, below in pairs if value is not None and below is not None), Fraction(0))
    below = sum((Fraction(part) for _, part in pairs if part is not None), Fraction(0))
    return _equal(above, total.numerator) and _equal(below, total.denominator)


def _equal(found: Fraction, wanted: Decimal | None) -> bool:
    size = Fraction(wanted or 0)
    return abs(found - size) <= abs(size) * _TOLERANCE


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
    kind: Kind = "ratio" if any(side.denominator is not None for side in parts) else "additive"
    scale = scale_of(parts) if kind == "ratio" else Fraction(1)
    found = _ratio_effects(names, now, then, scale) if kind == "ratio" else _additive_effects(names, now, then)
    if found is None:
        return None
    effects, expected = found
    change = sum((effect.effect for effect in effects), Fraction(0))
    spread = unevenness([(float(e.effect), e.error, float(share)) for e, share in zip(effects, expected, strict=True)])
    ranked = sorted(effects, key=lambda effect: (-effect.score, -abs(effect.effect), effect.segment, effect.key))
    return Explanation(change, tuple(ranked), kind, scale, spread)


def _sides(measurements: Iterable[Measurement]) -> tuple[dict[str, Side], dict[str, str]] | None:
    sides: dict[str, Side] = {}
    names: dict[str, str] = {}
    for one in measurements:
        key = segment_key(one.dims)
        if one.numerator is not None and one.denominator is not None:
            sides[key] = Side(one.numerator, one.denominator, one.n, one.value, one.low, one.high)
        elif one.numerator is None and one.denominator is None and one.value is not None:
            sides[key] = Side(one.value, None, one.n, one.value, one.low, one.high)
        elif one.value is not None:
            return None
        else:
            continue
        names[key] = segment_label(one.dims)
    return sides, names


def scale_of(sides: Iterable[Side | Measurement]) -> Fraction:
    """What the ratio is multiplied with to make the value: 1, or 100 for scores."""
    for side in sides:
        if side.value and side.numerator and side.denominator:
            return (Fraction(side.value) * Fraction(side.denominator) / Fraction(side.numerator)).limit_denominator(10**6)
    return Fraction(1)


_Effects: TypeAlias = tuple[list[Effect], list[Fraction]]
"""The effects, and the share of the change that each segment would have if all had moved alike."""


def _additive_effects(names: dict[str, str], now: dict[str, Side], then: dict[str, Side]) -> _Effects:
    nothing = Side(Decimal(0), None)
    pairs = {key: (now.get(key, nothing), then.get(key, nothing)) for key in names}
    whole = sum((abs(Fraction(side.numerator)) for pair in pairs.values() for side in pair), Fraction(0))
    effects, shares = [], []
    for key, (new, old) in pairs.items():
        change = Fraction(new.numerator) - Fraction(old.numerator)
        figures = ((new.numerator, None), (old.numerator, None), new.n, old.n, additive_error(new, old))
        effects.append(Effect(names[key], key, change, Fraction(0), *figures))
        size = abs(Fraction(new.numerator)) + abs(Fraction(old.numerator))
        shares.append(size / whole if whole else Fraction(0))
    return effects, shares


def _ratio_effects(names: dict[str, str], now: dict[str, Side], then: dict[str, Side], scale: Fraction) -> _Effects | None:
    total_new, total_old = _total(now), _total(then)
    if not total_new[1] or not total_old[1]:
        return None
    middle = (total_new[0] / total_new[1] + total_old[0] / total_old[1]) / 2
    samples = (sum(side.n for side in now.values()), sum(side.n for side in then.values()))
    nothing = Side(Decimal(0), Decimal(0))
    effects, shares = [], []
    for key, name in names.items():
        new, old = now.get(key, nothing), then.get(key, nothing)
        rates = _rates(new, old)
        if rates is None:
            continue
        weights = (Fraction(new.denominator or 0) / total_new[1], Fraction(old.denominator or 0) / total_old[1])
        mean_weight = (weights[0] + weights[1]) / 2
        rate = mean_weight * (rates[0] - rates[1])
        above = (rates[0] + rates[1]) / 2 - middle
        mix = (weights[0] - weights[1]) * above
        error = ratio_error(Weighed(new, old, weights, float(above), float(scale)), samples)
        sides = ((new.numerator, new.denominator), (old.numerator, old.denominator), new.n, old.n)
        effects.append(Effect(name, key, scale * rate, scale * mix, *sides, error * float(scale)))
        shares.append(mean_weight)
    return effects, shares


def _total(sides: dict[str, Side]) -> tuple[Fraction, Fraction]:
    """Sums of numerators and denominators; segments without a denominator have no rate and stay out."""
    counted = [side for side in sides.values() if side.denominator]
    return (
        sum((Fraction(side.numerator) for side in counted), Fraction(0)),
        sum((Fraction(side.denominator or 0) for side in counted), Fraction(0)),
    )


def _rates(new: Side, old: Side) -> tuple[Fraction, Fraction] | None:
    """The rates of a segment on both sides; one that is missing is taken from the other."""
    first, second = (Fraction(side.numerator) / Fraction(side.denominator) if side.denominator else None for side in (new, old))
    if first is None and second is None:
        return None
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
