"""The series of a rule test as measurements: figures as written, samples, and what follows from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from math import sqrt
from typing import Any

from kpid.alerting.notation import Cell, CellKind, at, numbers, parse
from kpid.analysis.intervals import rate_interval
from kpid.analysis.periods import Calendar
from kpid.analysis.stats import student_t
from kpid.config.problems import near_miss
from kpid.model import Dims, Measurement, MeasurementState, Period, Segment, segment_label
from kpid.plugin.kpi import Definition, Kpi, Quantity, Values

_COLUMNS = ("value", "n", "low", "high", "sd", "target", "through", "name")
_STATES = {
    CellKind.NO_DATA: (MeasurementState.UNDEFINED, "nothing to make a figure of"),
    CellKind.ERROR: (MeasurementState.ERROR, "the figure could not be computed"),
    CellKind.STALE: (MeasurementState.STALE, "the source has not delivered"),
}
_NOTHING = Cell(CellKind.NO_DATA)


@dataclass(frozen=True, slots=True)
class Family:
    """What the figures of a test are figures of.

    Attributes:
        kpi: the KPI.
        definition: of it, with the rule's parameters.
        unit: its unit with these.
        by: the dimensions of the series.
        least: the smallest sample that is enough for the KPI.
        enough: the sample of figures that have none written beside them.
    """

    kpi: Kpi
    definition: Definition
    unit: str
    by: tuple[str, ...]
    least: int
    enough: int


@dataclass(frozen=True, slots=True)
class WrittenSeries:
    """One series of a test. ``targets`` is empty where none are written; of a period behind the last one, the last holds."""

    dims: Dims
    label: str
    length: int
    cells: tuple[Cell, ...]
    columns: Mapping[str, tuple[Decimal, ...]]
    through: date | None = None

    def target(self, place: int) -> Decimal | None:
        """The target of a period, by its place."""
        column = self.columns.get("target")
        return at(column, place) if column else None


def series_from(given: Mapping[str, Any], family: Family) -> WrittenSeries:
    """Read one series.

    Args:
        given: the segment's dimensions, and columns: ``value`` or the KPI's measures, ``n``, ``target`` ...
        family: what it is a series of.

    Raises:
        ValueError: something of it cannot be read.
    """
    measures = tuple(family.definition.measures)
    strange = sorted(set(given) - {*family.by, *_COLUMNS, *measures})
    if strange:
        known = [*family.by, *_COLUMNS, *measures]
        raise ValueError(f"unknown key {strange[0]!r}: {near_miss(strange[0], known, what='A series may have')}")
    missing = [name for name in family.by if name not in given]
    if missing and len(missing) < len(family.by):
        raise ValueError(f"{missing[0]}: is missing: the rule has one series by {', '.join(family.by)}")
    ids = {name: given[name] for name in family.by if name in given}
    dims = tuple(Segment(name, None if value is None else str(value)) for name, value in sorted(ids.items()))
    cells, columns = _columns(given, family)
    length = max(len(column) for column in (cells, *(columns[name] for name in measures if name in columns)))
    label = str(given.get("name") or segment_label(dims))
    return WrittenSeries(dims, label, length, cells, columns, _day(given.get("through")))


def _columns(given: Mapping[str, Any], family: Family) -> tuple[tuple[Cell, ...], dict[str, tuple[Decimal, ...]]]:
    measures = [name for name in family.definition.measures if name in given]
    if ("value" in given) == bool(measures):
        named = ", ".join(family.definition.measures)
        raise ValueError(f"a series has either value: or the KPI's measures ({named})")
    if measures and (family.definition.uses or family.definition.targets):
        raise ValueError(f"{family.kpi.id} is made of other KPIs or of targets: write value: and n:")
    if measures and len(measures) < len(family.definition.measures):
        lacking = next(name for name in family.definition.measures if name not in measures)
        raise ValueError(f"{lacking}: is missing: {family.kpi.id} is made of {', '.join(family.definition.measures)}")
    units = dict.fromkeys(("low", "high", "sd", "target"), family.unit)
    columns: dict[str, tuple[Decimal, ...]] = {}
    for name in ("n", "low", "high", "sd", "target", *measures):
        if name in given:
            columns[name] = tuple(_read(name, lambda name=name: numbers(given[name], units.get(name, ""))))
    cells = tuple(_read("value", lambda: parse(given["value"], family.unit))) if "value" in given else ()
    return cells, columns


def _read(name: str, read: Any) -> list[Any]:
    try:
        found: list[Any] = read()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return found


def _day(text: object) -> date | None:
    try:
        return None if text is None else date.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"through: {text!r} is not a day: write 2026-01-05") from None


def measured(series: WrittenSeries, family: Family, periods: Sequence[Period], calendar: Calendar) -> list[Measurement]:
    """The measurements of a series; none of periods in which it is missing, nor of those after its last one.

    Raises:
        ValueError: the KPI's formula does not take these figures.
    """
    limit = None if series.through is None else calendar.midnight(series.through)
    found = []
    for place, period in enumerate(periods[: series.length]):
        figure = _counted(series, family, period, place) if not series.cells else _figure(series, family, period, place)
        if figure is not None:
            found.append(_late(figure, limit))
    return found


def _late(figure: Measurement, limit: datetime | None) -> Measurement:
    if limit is None or figure.period.end <= limit:
        return figure
    reason = f"the source has delivered up to {limit:%Y-%m-%d %H:%M} UTC only"
    return _with(figure, state=MeasurementState.STALE, reason=reason, data_through=limit)


def _with(figure: Measurement, **changes: Any) -> Measurement:
    values = {name: getattr(figure, name) for name in figure.__slots__}
    return Measurement(**{**values, **changes})


def _figure(series: WrittenSeries, family: Family, period: Period, place: int) -> Measurement | None:
    """A figure as written, with the numerator that its sample makes of a rate."""
    cell = series.cells[place] if place < len(series.cells) else _NOTHING
    if cell.kind is CellKind.MISSING:
        return None
    if cell.number is None:
        state, reason = _STATES[cell.kind]
        return _plain(series, family, period, state=state, reason=reason)
    n = _sample(series, family, cell.number, place)
    is_rate = family.unit == "ratio" and n > 0
    above = Decimal(round(cell.number * n)) if is_rate else None
    low, high = _interval(series, cell.number, above, n, place)
    below = Decimal(n) if is_rate else None
    return _judged(
        _plain(series, family, period, value=cell.number, n=n, numerator=above, denominator=below, low=low, high=high), family
    )


def _sample(series: WrittenSeries, family: Family, value: Decimal, place: int) -> int:
    if "n" in series.columns:
        return int(at(series.columns["n"], place))
    return max(0, int(value)) if family.unit == "count" else family.enough


def _interval(
    series: WrittenSeries, value: Decimal, above: Decimal | None, n: int, place: int
) -> tuple[Decimal | None, Decimal | None]:
    """The 95 % interval: as written, from the standard deviation, or of a rate."""
    columns = series.columns
    if "low" in columns and "high" in columns:
        return at(columns["low"], place), at(columns["high"], place)
    if "sd" in columns and n > 1:
        margin = Decimal(student_t(n - 1)) * at(columns["sd"], place) / Decimal(sqrt(n))
        return value - margin, value + margin
    return _decimals(rate_interval(int(above), n)) if above is not None and 0 <= above <= n else (None, None)


def _decimals(ends: Sequence[Any] | None) -> tuple[Decimal | None, Decimal | None]:
    return (None, None) if ends is None else (Decimal(float(ends[0])), Decimal(float(ends[1])))


def _counted(series: WrittenSeries, family: Family, period: Period, place: int) -> Measurement:
    """A figure that the KPI's own formula makes of its measures."""
    definition = family.definition
    counts = {name: at(series.columns[name], place) for name in definition.measures}
    values = Values({name: Quantity(Fraction(number), label=name) for name, number in counts.items()})
    try:
        result = definition.formula(values)
        quantity = result if isinstance(result, Quantity) else Quantity(Fraction(result))
        ends = definition.interval(values) if definition.interval is not None and quantity.is_defined else None
    except Exception as error:  # noqa: BLE001 - a plugin's formula
        raise ValueError(f"the formula of {family.kpi.id} does not take these figures: {error}") from None
    n = int(at(series.columns["n"], place) if "n" in series.columns else counts[definition.sample or next(iter(counts))])
    if not quantity.is_defined:
        return _plain(series, family, period, n=n, state=MeasurementState.UNDEFINED, reason=quantity.reason)
    above, below = quantity.decimals()
    whole = quantity.whole if quantity.is_ratio and quantity.scale == 1 else None
    if definition.interval is None and whole is not None and 0 <= whole[0] <= whole[1] == n:
        ends = rate_interval(*whole)
    low, high = _decimals(ends)
    return _judged(
        _plain(series, family, period, value=quantity.value, n=n, numerator=above, denominator=below, low=low, high=high), family
    )


def _judged(figure: Measurement, family: Family) -> Measurement:
    """The figure, marked where its sample is below the KPI's own minimum."""
    if figure.n >= family.least:
        return figure
    reason = f"n = {figure.n}, at least {family.least} needed"
    return _with(figure, state=MeasurementState.INSUFFICIENT_SAMPLE, reason=reason)


def _plain(series: WrittenSeries, family: Family, period: Period, **values: Any) -> Measurement:
    given = {"state": MeasurementState.OK, "value": None, "n": 0, **values}
    return Measurement(family.kpi.id, period, dims=series.dims, as_of=period.end, data_through=period.end, **given)
