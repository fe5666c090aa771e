"""``kpid compare``: a KPI some months before and after an event; nothing is written to history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypeAlias

from kpid.analysis.before_after import SURE, Windows, mann_whitney, months_of, two_proportions, windows
from kpid.analysis.intervals import difference_interval
from kpid.analysis.wording import change_text, period_text, value_text
from kpid.app import App
from kpid.commands.comparing import adds_up
from kpid.commands.measure import check_words, need_of
from kpid.commands.plain import number
from kpid.errors import KpidError
from kpid.metrics.measure import figures_at
from kpid.model import Dims, Measurement, MeasurementState, Period, SeriesNeed, segment_label
from kpid.plugin.kpi import Kpi

_Pair: TypeAlias = tuple[Decimal | None, Decimal | None]
_Interval: TypeAlias = tuple[float, float] | None
_UNSURE = {MeasurementState.ERROR, MeasurementState.STALE, MeasurementState.INCOMPLETE}


@dataclass(frozen=True)
class _Sides:
    """A segment before and after, whole and month by month."""

    dims: Dims
    old: Measurement
    new: Measurement
    old_months: tuple[Decimal, ...]
    new_months: tuple[Decimal, ...]


def compare_event(
    app: App,
    *,
    kpi: str,
    event: str,
    months: int = 6,
    settle_months: int = 0,
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
    params: Mapping[str, str] | None = None,
    progress: Any = None,
) -> list[dict[str, Any]]:
    """Compare a KPI over whole months before and after an event, and say whether the difference is more than chance.

    Rates are compared by a two-proportion test with Newcombe's interval; everything else by the rank sum of the months' figures.

    Args:
        app: everything.
        kpi: its id.
        event: the day it happened (ISO).
        months: whole months on each side.
        settle_months: months that are left out on both sides of the event.
        by: dimensions.
        where: dimension -> ids or names to restrict to.
        params: parameters of the KPI.
        progress: unused; it is one plan.

    Raises:
        KpidError: there is no such KPI, dimension or parameter, the day is none, or the months after it are still to come.
    """
    check_words(app, kpi, "month", [*by, *(where or {})], params or {})
    found = windows(_day(event), months, settle_months, app.calendar)
    now = app.clock.now()
    if found.after.start >= now:
        hint = f"The months after are {found.after.label}: take fewer --settle-months, or wait"
        raise KpidError(f"nothing is over yet of what came after {event}", hint=hint)
    need = need_of(kpi, "month", by, where, params)
    return [_told(app, need, sides, found, event, months) for sides in _measured(app, need, found)]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise KpidError(f"{text!r} is not a day", hint="Write 2017-06-01") from None


def _measured(app: App, need: SeriesNeed, both: Windows) -> list[_Sides]:
    """Both sides of each segment that has a figure on one of them; cohorts of both sides at equal age."""
    now, setup = app.clock.now(), app.metrics_setup()
    is_cohort = app.plugins.kpis[need.kpi].additivity == "C"
    sides = []
    for window in (both.before, both.after):
        at = min(now, now - both.after.end + window.end) if is_cohort else now
        begun = [month for month in months_of(window, app.calendar) if month.start < at]
        sides.append(figures_at([need], setup, [window, *begun], now=at)[0])
    before, after = (_by_segment(found) for found in sides)
    found = []
    for dims in sorted(before.keys() | after.keys(), key=segment_label):
        old, old_months = _side(before.get(dims, []), both.before, need, dims)
        new, new_months = _side(after.get(dims, []), both.after, need, dims)
        found.append(_Sides(dims, old, new, old_months, new_months))
    return found


def _by_segment(found: Sequence[Measurement]) -> dict[Dims, list[Measurement]]:
    segments: dict[Dims, list[Measurement]] = {}
    for one in found:
        segments.setdefault(one.dims, []).append(one)
    return segments


def _side(found: Sequence[Measurement], window: Period, need: SeriesNeed, dims: Dims) -> tuple[Measurement, tuple[Decimal, ...]]:
    nothing = Measurement(need.kpi, window, MeasurementState.UNDEFINED, None, 0, dims, need.params, reason="no rows")
    whole = next((one for one in found if one.period == window), nothing)
    return whole, tuple(one.value for one in found if one.period != window and one.value is not None)


def _told(app: App, need: SeriesNeed, sides: _Sides, both: Windows, event: str, months: int) -> dict[str, Any]:
    kpi = app.plugins.kpis[need.kpi]
    unit = kpi.definition(dict(need.params)).unit or kpi.unit
    old, new = sides.old.value, sides.new.value
    flows = adds_up(app, need)
    if flows:  # of counts and sums the mean of the months
        old, new = (value / months if value is not None else None for value in (old, new))
    test, p = _tested(sides, unit)
    interval = _interval(sides) if test == "two proportions" else None
    doubts = _doubts(sides, kpi, app)
    words = _Words(unit, sides.new.currency or sides.old.currency, " a month" if flows else "")
    return {
        "kpi": kpi.id,
        "unit": unit,
        "currency": words.currency,
        "segment": segment_label(sides.dims),
        "dims": {part.dimension: {"id": part.id, "name": part.name or part.id} for part in sides.dims},
        "event": event,
        "before": {"period": both.before.label, "value": number(old), "n": sides.old.n, "state": sides.old.state.value},
        "after": {"period": both.after.label, "value": number(new), "n": sides.new.n, "state": sides.new.state.value},
        "difference": number(new - old) if new is not None and old is not None else None,
        "difference_low": interval[0] if interval else None,
        "difference_high": interval[1] if interval else None,
        "test": test,
        "p": p,
        "significant": p is not None and p < SURE and not doubts,
        "doubts": doubts,
        "sentence": _sentence(app, words, kpi.name, sides, (old, new), interval, _verdict(p, doubts)),
    }


def _tested(sides: _Sides, unit: str) -> tuple[str, float | None]:
    """Which test fits, and how often chance alone makes such a difference."""
    counts = [_counts(one) for one in (sides.new, sides.old)]
    if unit == "ratio" and counts[0] is not None and counts[1] is not None:
        return "two proportions", two_proportions(counts[0], counts[1])
    return "rank sum of months", mann_whitney(sides.new_months, sides.old_months)


def _counts(one: Measurement) -> tuple[int, int] | None:
    """Successes and cases of a share of cases; None if it is none."""
    above, below = one.numerator, one.denominator
    if above is None or below is None or above % 1 or below % 1 or not 0 <= above <= below or below != one.n:
        return None
    return int(above), int(below)


def _interval(sides: _Sides) -> _Interval:
    figures = []
    for one in (sides.new, sides.old):
        if one.value is None or one.low is None or one.high is None:
            return None
        figures.append((float(one.value), float(one.low), float(one.high)))
    return difference_interval(figures[0], figures[1])


def _doubts(sides: _Sides, kpi: Kpi, app: App) -> list[str]:
    """Why the two sides cannot be compared, if so."""
    settings = app.kpi_settings().get(kpi.id)
    least = kpi.min_sample if settings is None or settings.min_sample is None else settings.min_sample
    found = [f"{one.period.label} is {one.state.value}: {one.reason}" for one in (sides.old, sides.new) if one.state in _UNSURE]
    if min(sides.old.n, sides.new.n) < least:
        sample = kpi.sample_noun(dict(sides.new.params))
        found.append(f"{sides.old.n} and {sides.new.n} {sample}, at least {least} needed on both sides")
    return found


def _verdict(p: float | None, doubts: Sequence[str]) -> str:
    """What the test says, and what cannot be said."""
    chance = "" if p is None else f", p {'< 0.001' if p < 0.001 else f'{p:.3f}'}"
    if doubts:
        return f"{chance}; nothing can be said: {'; '.join(doubts)}"
    if p is None:
        return "; too few figures, or none that differ, to test"
    if p < SURE:
        return f"{chance}; the difference is associated with the event; whether it was caused by it, the figures do not say"
    return f"{chance}; the difference is not more than chance may bring"


@dataclass(frozen=True)
class _Words:
    """How figures of one KPI are written."""

    unit: str
    currency: str | None
    each: str
    """What stands behind the mean of counts and sums: ``a month``."""

    def value(self, value: Decimal, one: Measurement) -> str:
        return f"{value_text(value, self.unit, self.currency)}{self.each} (n {one.n})"

    def change(self, new: Decimal, old: Decimal, interval: _Interval) -> str:
        text = change_text(new, old, self.unit, self.currency)
        if interval is None:
            return text
        low, high = (change_text(Decimal(repr(end)), Decimal(0), self.unit, self.currency) for end in interval)
        return f"{text}, 95 % interval {low} to {high}"


def _sentence(app: App, words: _Words, name: str, sides: _Sides, values: _Pair, interval: _Interval, verdict: str) -> str:
    old, new = values
    if old is None or new is None:
        reason = sides.old.reason if old is None else sides.new.reason
        return f"{name}: cannot be compared ({reason})"
    spans = "; ".join(period_text(one.period, app.calendar) for one in (sides.old, sides.new))
    text = f"{name}: {words.value(old, sides.old)} before, {words.value(new, sides.new)} after [{spans}]"
    return f"{text}: {words.change(new, old, interval)}{verdict}"
