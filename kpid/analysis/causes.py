"""What moved a number, for people: figures and sentences behind `kpid explain`, alerts and reports."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from kpid.analysis.explain import Cut, Effect
from kpid.analysis.wording import NOTHING, change_text, noun_text, value_text
from kpid.model import Cause
from kpid.plugin.quantity import decimal_from_fraction

SURE = 2.0
"""Standard errors from which on an effect is not put down to chance."""


def causes_of(cut: Cut, most: int = 3, *, along: bool = False) -> tuple[Cause, ...]:
    """The surest effects of a cut, as figures for people. Segments that have moved nothing are no causes.

    Args:
        cut: a dimension, explained.
        most: at most so many.
        along: only those that moved the whole in the direction in which it went; what has worked against it is no cause.
    """
    found = cut.explanation
    if found is None:
        return ()
    effects = [one for one in found.effects if one.effect and (not along or (one.effect > 0) == (found.change > 0))]
    wholes = [sum((Fraction(below or 0) for _, below in side), Fraction(0)) for side in _columns(found.effects)]
    return tuple(_cause(cut.dimension, effect, found.scale, wholes) for effect in effects[:most])


def _columns(effects: Sequence[Effect]) -> tuple[list[tuple[Decimal, Decimal | None]], ...]:
    return [effect.new for effect in effects], [effect.old for effect in effects]


def _cause(dimension: str, effect: Effect, scale: Fraction, wholes: Sequence[Fraction]) -> Cause:
    values = [_value(side, scale) for side in (effect.new, effect.old)]
    weights = [
        decimal_from_fraction(Fraction(side[1] or 0) / whole) if whole else None
        for side, whole in zip((effect.new, effect.old), wholes, strict=True)
    ]
    return Cause(
        dimension=dimension,
        segment=effect.segment,
        effect=decimal_from_fraction(effect.effect),
        rate=decimal_from_fraction(effect.rate),
        mix=decimal_from_fraction(effect.mix),
        value=values[0],
        value_was=values[1],
        n=effect.n,
        n_was=effect.n_was,
        score=effect.score,
        weight=weights[0],
        weight_was=weights[1],
    )


def _value(side: tuple[Decimal, Decimal | None], scale: Fraction) -> Decimal | None:
    above, below = side
    if below is None:
        return above
    return decimal_from_fraction(scale * Fraction(above) / Fraction(below)) if below else None


def moved_text(
    name: str, new: Decimal, old: Decimal, unit: str, currency: str | None = None, periods: tuple[str, str] = ("", "")
) -> str:
    """``Win rate fell 8.2 pt, from 61.2% in Q2 2026 to 53.0% in Q3 2026``.

    Args:
        name: of the KPI.
        new: its value.
        old: what it was.
        unit: of both.
        currency: ISO code of amounts.
        periods: the names of the new period and the old one; empty: they are not named.
    """
    told = change_text(new, old, unit, currency)
    after, before = (
        f"{value_text(value, unit, currency)}{f' in {name}' if name else ''}"
        for value, name in zip((new, old), periods, strict=True)
    )
    if new == old:
        return f"{name} stayed at {after}"
    return f"{name} {'rose' if new > old else 'fell'} {told[1:]}, from {before} to {after}"


def cause_text(cause: Cause, unit: str, currency: str | None = None, sample: str = "records") -> str:
    """``region EMEA accounts for \u22125.1 pt (from 61.0% to 44.0% on 120 closed deals)``."""
    effect = change_text(cause.effect, Decimal(0), unit, currency)
    return f"{_dimension(cause)} accounts for {effect} ({detail_text(cause, unit, currency, sample)})"


def detail_text(cause: Cause, unit: str, currency: str | None = None, sample: str = "records") -> str:
    """How a segment moved the whole: its own figures, or its weight. ``from 61.0% to 44.0% on 120 closed deals``."""
    after, before = value_text(cause.value, unit, currency), value_text(cause.value_was, unit, currency)
    if cause.is_aim:
        now = after if cause.value is not None else value_text(Decimal(0), unit, currency)
        return f"{now} instead of {before}{_on(cause.n, unit, sample)}" if cause.value_was is not None else f"{now}, not expected"
    if cause.value_was is None:
        return f"new: {after}{_on(cause.n, unit, sample)}"
    if cause.value is None:
        return f"gone: was {before}{_on(cause.n_was, unit, sample)}"
    if cause.weight is not None and abs(cause.mix) > abs(cause.rate):
        grew = "grew" if (cause.weight or 0) > (cause.weight_was or 0) else "shrank"
        shares = [value_text(weight, "ratio") for weight in (cause.weight_was, cause.weight)]
        return f"{grew} from {shares[0]} to {shares[1]} of all {sample}, at {after}{_on(cause.n, unit, sample)}"
    if after == before:
        return f"{after} as before{_on(cause.n, unit, sample)}"
    return f"from {before} to {after}{_on(cause.n, unit, sample)}"


def causes_text(
    causes: Sequence[Cause], unit: str, currency: str | None = None, sample: str = "records", moved_from: str = ""
) -> str:
    """The causes in one clause; what may be chance is said to be. ``moved_from`` names what they are the distance from."""
    told = "; ".join(cause_text(cause, unit, currency, sample) for cause in causes)
    told = f"vs {moved_from}: {told}" if moved_from and told else told
    return f"{told}; none of it beyond chance" if causes and all(cause.score < SURE for cause in causes) else told


def interval_text(low: Decimal | None, high: Decimal | None, unit: str, currency: str | None = None) -> str:
    """The 95 % interval of a value: ``52.1% to 61.4%``; empty where there is none, or where it is one point."""
    if low is None or high is None or low == high:
        return ""
    first, last = value_text(low, unit, currency), value_text(high, unit, currency)
    return "" if first == last or NOTHING in {first, last} else f"{first} to {last}"


def _on(number: int, unit: str, sample: str) -> str:
    return f" on {number:,} {noun_text(number, sample)}" if number and unit != "count" else ""


def _dimension(cause: Cause) -> str:
    word = cause.dimension.replace("_", " ")
    return cause.segment if cause.segment.startswith("no ") else f"{word} {cause.segment}"
