"""Figures beside those they are compared with: the part of ``kpid measure --vs`` that is not measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from kpid.analysis.compare import difference, relative_change
from kpid.analysis.comparison import Reference, reference
from kpid.analysis.intervals import difference_interval
from kpid.analysis.periods import days_of
from kpid.analysis.workdays import WorkCalendar
from kpid.app import App
from kpid.commands.plain import number
from kpid.config.times import work_calendars
from kpid.errors import KpidError
from kpid.metrics.measure import figures_at
from kpid.model import Dims, Measurement, MeasurementState, Period, SeriesNeed
from kpid.plugin.kpi import Kpi

_SOLID = {MeasurementState.OK, MeasurementState.INSUFFICIENT_SAMPLE}


@dataclass(frozen=True)
class Compared:
    """One figure, the one it is compared with, and what is to be said of the two.

    ``value`` and ``old_value`` are per working day if that was asked for, else the figures' own.
    """

    new: Measurement
    old: Measurement | None
    reference: Reference
    value: Decimal | None
    old_value: Decimal | None
    warnings: tuple[str, ...]


def compare(
    app: App, need: SeriesNeed, found: Sequence[Measurement], *, vs: str, align: str, per_working_day: bool
) -> list[Compared]:
    """Measure what each figure is compared with, by the data as it is now: current truth on both sides.

    Cohorts are compared at equal age: while the newer one is still followed, the older one is taken as it was when as old.

    Args:
        app: everything.
        need: KPI and cut of the figures.
        found: the figures.
        vs: name of the comparison.
        align: what makes to-date periods equally long: ``calendar_days`` or ``working_days``.
        per_working_day: divide counts and amounts by the working days of their period.

    Raises:
        KpidError: the comparison makes no sense for this KPI or kind of period.
    """
    kpi, now = app.plugins.kpis[need.kpi], app.clock.now()
    work = work_calendars(app.config)[""]
    flows = adds_up(app, need)
    if per_working_day and not flows:
        hint = "Leave --per-working-day out: ratios, averages and balances do not grow with the days"
        raise KpidError(f"{kpi.name} is no count or sum of what happens in a period", hint=hint)
    periods = sorted({one.period for one in found}, key=lambda period: (period.start, period.end))
    references = {period: reference(period, vs, app.calendar, align=align, work=work) for period in periods}
    old = _measured(app, need, kpi, references, now)
    spread = (app, work) if per_working_day else None
    return [_pair(one, references[one.period], old.get((one.period, one.dims)), flows, spread, now) for one in found]


def adds_up(app: App, need: SeriesNeed) -> bool:
    """Whether a KPI is a count or sum of what happens in a period, so that the figures of days add up to those of months."""
    kpi = app.plugins.kpis[need.kpi]
    settings = app.kpi_settings().get(need.kpi)
    definition = kpi.definition({**(settings.params if settings else {}), **dict(need.params)})
    return kpi.adds_up(definition)


def _measured(
    app: App, need: SeriesNeed, kpi: Kpi, references: Mapping[Period, Reference], now: datetime
) -> dict[tuple[Period, Dims], Measurement]:
    """The figures of all reference periods, by (newer period, segment)."""
    setup = app.metrics_setup()
    found: dict[tuple[Period, Dims], Measurement] = {}
    if kpi.additivity != "C":
        wanted = sorted({one.period for one in references.values()}, key=lambda period: (period.start, period.end))
        by_period: dict[Period, list[Measurement]] = {}
        for one in figures_at([need], setup, wanted, now=now)[0] if wanted else ():
            by_period.setdefault(one.period, []).append(one)
        for period, other in references.items():
            found |= {(period, one.dims): one for one in by_period.get(other.period, ())}
        return found
    for period, other in references.items():
        age = min(now, now - period.end + other.period.end)
        found |= {(period, one.dims): one for one in figures_at([need], setup, [other.period], now=age)[0]}
    return found


def _pair(
    new: Measurement,
    other: Reference,
    before: Measurement | None,
    flows: bool,
    spread: tuple[App, WorkCalendar] | None,
    now: datetime,
) -> Compared:
    """One figure with its reference; ``spread`` is how to count working days, if figures are to be per working day."""
    values = [new.value, before.value if before else (Decimal(0) if flows else None)]
    warnings = list(other.warnings)
    if spread is not None:
        values = [_per_day(value, period, *spread, now) for value, period in zip(values, (new.period, other.period), strict=True)]
    elif new.period.end > now and flows:
        warnings.append(f"the period is not over; {other.period.label} is whole")
    if before is not None and before.state not in _SOLID:
        warnings.append(f"{other.period.label} is {before.state.value}: {before.reason}")
    if before is not None and MeasurementState.INSUFFICIENT_SAMPLE in {new.state, before.state}:
        warnings.append("too few cases to compare")
    return Compared(new, before, other, values[0], values[1], tuple(warnings))


def _per_day(value: Decimal | None, period: Period, app: App, work: WorkCalendar, now: datetime) -> Decimal | None:
    first, after = days_of(period, app.calendar)
    days = work.working_days(first, after) if period.end <= now else work.elapsed_days(first, now)
    return value * days.denominator / days.numerator if value is not None and days else None


def told(one: Compared) -> dict[str, Any]:
    """What a row of ``kpid measure`` says of its comparison."""
    interval = _interval(one)
    change = difference(one.value, one.old_value)
    return {
        "compared": number(one.value),
        "reference": {
            "label": one.reference.period.label,
            "value": number(one.old_value),
            "n": one.old.n if one.old else 0,
            "state": one.old.state.value if one.old else "no rows",
        },
        "difference": number(change),
        "difference_low": interval[0] if interval else None,
        "difference_high": interval[1] if interval else None,
        "relative_change": number(relative_change(one.value, one.old_value)),
        "warnings": [*one.new.warnings, *one.warnings],
    }


def _interval(one: Compared) -> tuple[float, float] | None:
    """95 % interval of the difference; None where a side has none, or where figures are per working day."""
    sides = []
    for side, value in ((one.new, one.value), (one.old, one.old_value)):
        if side is None or side.low is None or side.high is None or value is None or value != side.value:
            return None
        sides.append((float(value), float(side.low), float(side.high)))
    return difference_interval(sides[0], sides[1])


def working_days_text(days: Fraction) -> str:
    """``21``, ``20.5``."""
    return f"{float(days):.1f}".removesuffix(".0")
