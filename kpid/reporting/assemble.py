"""From a report's description and the history to a ``ReportContext``. Pure: measurements in, context out.

Numbers that cannot be trusted are shown as such and not judged; undefined is never 0; a KPI without any number in the whole
series is left out and named as not available.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from kpid.analysis.explain import Explanation, explain, rounded_shares
from kpid.analysis.periods import Calendar, previous_period
from kpid.analysis.wording import limit_text, period_text, short_period
from kpid.config.model import KpiSettings
from kpid.config.times import company_target
from kpid.model import Measurement, MeasurementState, Period
from kpid.plugin.kpi import At, During, Kpi
from kpid.plugin.report import Report
from kpid.reporting.context import Driver, Drivers, Freshness, KpiLine, Point, ReportContext, Status
from kpid.reporting.headline import headline, joined, lead
from kpid.warehouse import Watermark

WATCH_MARGIN = Decimal("0.05")
"""A target missed by no more than this share of itself is "watch", not "off"."""

_TOP_DRIVERS = 3
_ORDER = {"off": 0, "watch": 1, "on": 2, "none": 3, "unjudged": 4}


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a report is made of.

    Args:
        name: of the configured report.
        report: its description.
        title: for people.
        period: the period reported.
        history: the totals of each KPI by id: newest revisions, ordered by period.
        segments: measurements by KPI id and dimension, of this period and the one before: where "what moved it" is looked for.
        kpis: KPI descriptions by id.
        settings: targets and minimum samples by KPI id.
        watermarks: how far each source has come.
        max_ages: how old each source's data may be.
        alerts: one line per open alert, worst first.
        population: which records count, if not all do.
        pins: how the figures of KPIs are called that are pinned to what was reported, by KPI id: ``first reported``.
    """

    name: str
    report: Report
    title: str
    period: Period
    calendar: Calendar
    kpis: Mapping[str, Kpi]
    history: Mapping[str, Sequence[Measurement]]
    now: datetime
    currency: str
    company: str = ""
    segments: Mapping[str, Mapping[str, Sequence[Measurement]]] = field(default_factory=dict)
    settings: Mapping[str, KpiSettings] = field(default_factory=dict)
    watermarks: Sequence[Watermark] = ()
    max_ages: Mapping[str, timedelta] = field(default_factory=dict)
    alerts: Sequence[str] = ()
    late_note: str = ""
    pins: Mapping[str, str] = field(default_factory=dict)
    population: str = ""


def assemble(given: Ingredients) -> ReportContext:
    """Make the context of one run."""
    periods = series_periods(given.period, given.report.periods, given.calendar)
    lines, missing = [], []
    for kpi_id in given.report.kpis:
        line = _line(kpi_id, periods, given)
        if line is None:
            missing.append(_missing(kpi_id, given))
        else:
            lines.append(line)
    lines.sort(key=_trouble)
    drivers = _drivers(lines, given)
    return ReportContext(
        name=given.name,
        template=given.report.id,
        title=given.title,
        company=given.company,
        currency=given.currency,
        timezone=given.calendar.timezone,
        week_start=given.calendar.week_start,
        period=given.period,
        sent=given.now,
        headline=headline(lines, given.period.kind, period_text(given.period, given.calendar)),
        lead=lead(lines, drivers),
        kpis=tuple(lines),
        drivers=drivers,
        missing=tuple(missing),
        freshness=freshness_of(given.watermarks, given.max_ages, given.now),
        alerts_open=len(given.alerts),
        alerts=tuple(given.alerts),
        late_note=given.late_note,
        pinned=_pinned(given),
        population=given.population,
    )


def series_periods(period: Period, count: int, calendar: Calendar) -> list[Period]:
    """The reported period and the ones before it, oldest first."""
    periods = [period]
    while len(periods) < count:
        periods.append(previous_period(periods[-1], calendar))
    return periods[::-1]


def freshness_of(marks: Sequence[Watermark], max_ages: Mapping[str, timedelta], now: datetime) -> tuple[Freshness, ...]:
    """How far each source reaches: as far as the entity that is furthest behind."""
    found = []
    for source in sorted({mark.source for mark in marks} | set(max_ages)):
        ends = [mark.through for mark in marks if mark.source == source]
        known = [end for end in ends if end is not None]
        through = min(known) if known and len(known) == len(ends) else None
        limit = max_ages.get(source)
        stale = through is None or (limit is not None and now - through > limit)
        found.append(Freshness(source, through, stale))
    return tuple(found)


def judge(value: Decimal | None, target: Decimal | None, better: str) -> Status:
    """A value against its target."""
    if value is None or target is None or better not in {"up", "down"}:
        return "none"
    gap = target - value if better == "up" else value - target
    if gap <= 0:
        return "on"
    return "watch" if target and gap <= abs(target) * WATCH_MARGIN else "off"


def target_of(kpi: Kpi, settings: KpiSettings | None, kind: str, *, quotient: bool = False) -> Decimal | None:
    """The target that holds for a period of this kind.

    A target for an amount per month says nothing about a week: targets of flows (counts and sums of what happened in a period)
    hold for the KPI's own period only. Rates, means (``quotient``), scores and balances can be judged over any period.
    """
    if settings is None or settings.target is None:
        return None
    if kind == _target_period(kpi, settings) or quotient or kpi.unit not in {"count", "currency"}:
        return settings.target
    flows = any(isinstance(measure.clock, At | During) for measure in kpi.definition({}).measures.values())
    return None if flows else settings.target


def _target_period(kpi: Kpi, settings: KpiSettings) -> str:
    return settings.target_period or kpi.period


def _target_note(kpi: Kpi, settings: KpiSettings | None, target: Decimal | None, kind: str) -> tuple[str, ...]:
    """Says so where a configured target is not for periods of this kind."""
    if settings is None or settings.target is None or target is not None:
        return ()
    limit = limit_text(settings.target, kpi.unit)
    return (f"the target {limit} is per {_target_period(kpi, settings)}: set target_period to compare each {kind} with it",)


def _line(kpi_id: str, periods: Sequence[Period], given: Ingredients) -> KpiLine | None:
    kpi = given.kpis.get(kpi_id)
    by_span = {_span(measurement.period): measurement for measurement in given.history.get(kpi_id, ())}
    series = [by_span.get(_span(period)) for period in periods]
    if kpi is None or not any(_says_something(measurement) for measurement in series):
        return None
    settings = given.settings.get(kpi_id)
    quotient = any(measurement.denominator is not None for measurement in series if measurement is not None)
    target = company_target(settings.targets, given.period, given.calendar, given.now) if settings is not None else None
    target = target_of(kpi, settings, given.period.kind, quotient=quotient) if target is None else target
    values = [_trusted(measurement) for measurement in series]
    last = series[-1]
    state = last.state if last is not None else MeasurementState.UNDEFINED
    currency = (last.currency if last is not None else None) or (given.currency if kpi.unit == "currency" else None)
    own = settings.min_sample if settings is not None else None
    needed = kpi.min_sample if own is None else own
    return KpiLine(
        id=kpi_id,
        name=kpi.name,
        unit=kpi.unit,
        currency=currency,
        better=kpi.better,
        definition=kpi.formula_text or kpi.why,
        status=judge(values[-1], target, kpi.better) if state is MeasurementState.OK else "unjudged",
        state=state.value,
        reason=last.reason if last is not None else _unknown(kpi_id, given),
        value=last.value if last is not None else None,
        previous=values[-2] if len(values) > 1 else None,
        target=target,
        n=last.n if last is not None else 0,
        numerator=last.numerator if last is not None else None,
        denominator=last.denominator if last is not None else None,
        low_sample=needed if state is MeasurementState.INSUFFICIENT_SAMPLE else 0,
        run=_run(values, target, kpi.better),
        series=tuple(Point(short_period(p, given.calendar), v) for p, v in zip(periods, values, strict=True)),
        warnings=(*_target_note(kpi, settings, target, given.period.kind), *(last.warnings if last is not None else ())),
        sample=kpi.sample_noun({}),
        low=last.low if last is not None else None,
        high=last.high if last is not None else None,
    )


def _span(period: Period) -> tuple[datetime, datetime]:
    """What makes a period: to-date ones share their start, rolling ones overlap."""
    return period.start, period.end


def _unknown(kpi_id: str, given: Ingredients) -> str:
    """Why there is no figure for the period."""
    return f"nothing was {given.pins[kpi_id]} for this period" if kpi_id in given.pins else "not measured for this period"


def _pinned(given: Ingredients) -> str:
    """``Figures are as first reported, not as known now.`` Empty if all are as known now."""
    words = dict.fromkeys(given.pins.values())
    if not words:
        return ""
    if len(words) == 1 and len(given.pins) == len(given.report.kpis):
        return f"Figures are as {next(iter(words))}, not as known now."
    parts = []
    for word in words:
        names = [given.kpis[kpi].name if kpi in given.kpis else kpi for kpi, said in given.pins.items() if said == word]
        parts.append(f"{joined(names)} as {word}")
    return f"{', '.join(parts)}, not as known now."


def _says_something(measurement: Measurement | None) -> bool:
    """Whether there is a number, and a source that it can come from."""
    if measurement is None or measurement.value is None:
        return False
    without_source = measurement.state in {MeasurementState.INCOMPLETE, MeasurementState.ERROR, MeasurementState.STALE}
    return measurement.data_through is not None or not without_source


def _missing(kpi_id: str, given: Ingredients) -> str:
    """A KPI without any number, by name, and why as far as that is known."""
    name = given.kpis[kpi_id].name if kpi_id in given.kpis else kpi_id
    reason = next((measurement.reason for measurement in reversed(given.history.get(kpi_id, ())) if measurement.reason), "")
    reason = reason or (_unknown(kpi_id, given) if kpi_id in given.pins else "")
    return f"{name} ({reason})" if reason else name


def _trusted(measurement: Measurement | None) -> Decimal | None:
    if measurement is None or measurement.state is not MeasurementState.OK:
        return None
    return measurement.value


def _run(values: Sequence[Decimal | None], target: Decimal | None, better: str) -> int:
    run = 0
    for value in reversed(values):
        if judge(value, target, better) not in {"off", "watch"}:
            break
        run += 1
    return run


def _trouble(line: KpiLine) -> tuple[int, Decimal]:
    """Sorts the worst first; among equals the order of the report stays."""
    miss = Decimal(0)
    if line.status in {"off", "watch"} and line.value is not None and line.target:
        miss = -abs(line.value - line.target) / abs(line.target)
    return _ORDER[line.status], miss


# ---- what moved it
def _drivers(lines: Sequence[KpiLine], given: Ingredients) -> Drivers | None:
    """Explain the KPI of the headline along the dimension that tells most, if its parts really add up to the change."""
    if not lines or lines[0].status not in {"off", "watch", "on", "none"}:
        return None
    line = lines[0]
    if line.value is None or line.previous is None or line.value == line.previous:
        return None
    before = previous_period(given.period, given.calendar)
    new, old = (_at(given.history.get(line.id, ()), period) for period in (given.period, before))
    cuts = {name: (_at(cut, given.period), _at(cut, before)) for name, cut in given.segments.get(line.id, {}).items()}
    cut = explain(new[0], old[0], cuts).best if new and old else None
    if cut is None or cut.explanation is None:
        return None
    return Drivers(line.id, cut.dimension, line.value - line.previous, _driver_rows(cut.explanation, line))


def _at(measurements: Sequence[Measurement], period: Period) -> list[Measurement]:
    return [measurement for measurement in measurements if _span(measurement.period) == _span(period)]


def _driver_rows(found: Explanation, line: KpiLine) -> tuple[Driver, ...]:
    top = [effect for effect in found.effects if effect.effect][:_TOP_DRIVERS]
    rest = found.effects[len(top) :]
    parts = [effect.effect for effect in top] + [sum((effect.effect for effect in rest), Fraction(0))]
    digits = 3 if line.unit == "ratio" else _shown_digits(found.change, line.unit)
    shares = rounded_shares(parts, found.change, digits)
    rows = [Driver(e.segment, share, _figures(e.new), _figures(e.old)) for e, share in zip(top, shares, strict=False)]
    if any(effect.effect for effect in rest):
        rows.append(Driver(f"{len(rest)} others" if len(rest) > 1 else rest[0].segment, shares[-1], (), ()))
    return tuple(row for row in rows if row.effect)


def _shown_digits(change: Fraction, unit: str) -> int:
    size = abs(float(change))
    if unit == "currency":
        return -(len(str(int(size))) - 3) if size >= 10_000 else 0
    return 0 if change.denominator == 1 else 1


def _figures(side: tuple[Decimal, Decimal | None]) -> tuple[Decimal, ...]:
    return tuple(part for part in side if part is not None)
