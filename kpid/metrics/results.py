"""From the rows of the scans to measurements. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.visitors import iterate

from kpid.metrics.margins import margin, quantile_of
from kpid.metrics.plan import Ask, Plan
from kpid.metrics.statements import Columns, Statement
from kpid.metrics.targets import Targets
from kpid.metrics.trust import Coverage, Doubt, verdict
from kpid.model import Dims, Measurement, MeasurementState, Period, Segment
from kpid.plugin.kpi import Definition, Measure
from kpid.plugin.quantity import Quantity, Values, decimal_from_fraction

Ids = tuple[str | None, ...]
"""Values of the dimensions of a cut, in their order."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a scan says of one measure for one segment and period; see :class:`~kpid.metrics.statements.Columns`."""

    value: Any = None
    n: int = 0
    rows: int = 0
    missing: int = 0
    unknown: int = 0
    spread: Any = None


_NOTHING = Cell()


@dataclass
class Answers:
    """The result of one scan, to be asked for ``(kind, dimensions, period)``."""

    columns: Sequence[Columns]
    names: Sequence[str]
    rows: dict[tuple[str, tuple[str, ...], Period], dict[Ids, tuple[Any, ...]]] = field(default_factory=dict)
    _places: list[tuple[int | None, ...]] = field(default_factory=list)

    def segments(self, ask: Ask, by: tuple[str, ...], period: Period) -> dict[Ids, tuple[Any, ...]]:
        """The segments of a cut that have rows in a period."""
        return self.rows.get((ask.need.period, by, period), {})

    def values_of(self, dimension: str) -> set[str | None]:
        """All values of a dimension."""
        return {ids[cut.index(dimension)] for (_, cut, _), rows in self.rows.items() if dimension in cut for ids in rows}

    def cell(self, row: tuple[Any, ...] | None, measure: int) -> Cell:
        """One measure of a row."""
        if row is None:
            return _NOTHING
        if not self._places:
            self._places.extend(self._place(columns) for columns in self.columns)
        return Cell(*(0 if place is None else row[place] for place in self._places[measure]))

    def _place(self, c: Columns) -> tuple[int | None, ...]:
        place = {name: index for index, name in enumerate(self.names)}
        return tuple(None if name is None else place[name] for name in (c.value, c.n, c.rows, c.missing, c.unknown, c.spread))


def read_answers(statement: Statement, names: Sequence[str], rows: Sequence[tuple[Any, ...]], *, is_now: bool) -> Answers:
    """Sort the rows of a scan by cut, period and segment.

    Args:
        statement: the scan's statement.
        names: column names of the result.
        rows: its rows.
        is_now: whether the rows speak of this moment, whatever the period.
    """
    answers = Answers(statement.measures, names)
    place = {name: index for index, name in enumerate(names)}
    number_of = {kind: place.get("p", place.get(f"p{index}", 0)) for index, kind in enumerate(statement.kinds)}
    for row in rows:
        kind, cut = statement.groups[row[place["g"]]]
        number = row[number_of.get(kind, place.get("p", 0))]
        if number is None:
            continue
        ids = tuple(row[place[f"d{statement.dimensions.index(name)}"]] for name in cut)
        for period in statement.numbered if is_now else (statement.numbered[number],):
            answers.rows.setdefault((period.kind, cut, period), {})[ids] = row
    return answers


@dataclass(frozen=True)
class Maker:
    """Makes the measurements of asks from the answers to their plan."""

    plan: Plan
    answers: Sequence[Answers]
    coverage: Coverage
    labels: Mapping[str, Mapping[str, str]]
    currency: str
    now: datetime
    targets: Targets

    def measurements(self, number: int, ask: Ask) -> Iterator[tuple[Measurement, bool]]:
        """Measurements of an ask, and whether there were any rows; the total of a period comes always."""
        measures = ask.definition.measures
        cuts = {name: (self.plan.places[number, name][0], ask.by_of(measure)) for name, measure in measures.items()}
        own = {name for name, (_, by) in cuts.items() if by == ask.by}
        doubts = _Doubts(self.coverage, ask, self.now)
        for period in ask.periods:
            found = {(scan, by): self.answers[scan].segments(ask, by, period) for scan, by in set(cuts.values())}
            segments: set[Ids] = {ids for (_, by), rows in found.items() if by == ask.by for ids in rows}
            for ids in sorted(segments | ({()} if not ask.by else set()), key=repr):
                cells = {name: self._cell(number, name, found[cuts[name]], cuts[name][1], ask, ids) for name in measures}
                has_rows = any(cells[name].rows for name in own)
                if has_rows or not ask.by:
                    yield self._measurement(ask, period, self._dims(ask, ids), cells, doubts), has_rows

    def _cell(self, number: int, name: str, rows: Mapping[Ids, tuple[Any, ...]], by: tuple[str, ...], ask: Ask, ids: Ids) -> Cell:
        """One measure of a segment; of a measure that a dimension does not cut, that of the wider segment."""
        scan, place = self.plan.places[number, name]
        wider = tuple(value for dimension, value in zip(ask.by, ids, strict=True) if dimension in by)
        return self.answers[scan].cell(rows.get(wider), place)

    def empty(self, ask: Ask, period: Period, dims: Dims) -> Measurement:
        """The measurement of a segment without rows."""
        cells = dict.fromkeys(ask.definition.measures, _NOTHING)
        return self._measurement(ask, period, dims, cells, _Doubts(self.coverage, ask, self.now))

    def _dims(self, ask: Ask, ids: Ids) -> Dims:
        parts = []
        for name, value in zip(ask.by, ids, strict=True):
            label = value if name not in self.labels or value is None else self.labels[name].get(value, value)
            parts.append(Segment(name, value, label))
        return tuple(parts)

    def _measurement(self, ask: Ask, period: Period, dims: Dims, cells: Mapping[str, Cell], trust: _Doubts) -> Measurement:
        measures, definition = ask.definition.measures, ask.definition
        excludes = ask.params.get("missing_fx") == "exclude"
        trust = trust.about(dims)
        doubts = trust.of(period) + ([] if excludes else self._lacking(cells))
        quantities = {name: _quantity(measures[name], cells[name], name) for name in measures}
        quantities |= {name: self.targets.of(target, period, dims, self.now) for name, target in definition.targets.items()}
        result = Quantity(None, reason=ask.unknown[0]) if ask.is_about_nobody else _apply(ask, quantities, doubts)
        n = _size(definition, quantities, cells)
        remarks = _remarks(definition, quantities, doubts)
        if result.is_settled:
            remarks.insert(0, result.reason)
        elif not result.is_defined:
            doubts.append((MeasurementState.UNDEFINED, result.reason))
        elif n < ask.min_sample:
            label = _label(measures, definition.sample)
            doubts.append((MeasurementState.INSUFFICIENT_SAMPLE, f"{n} {label}, at least {ask.min_sample} needed"))
        state, reason, warnings = verdict(doubts)
        is_shown = result.is_defined and state is not MeasurementState.ERROR and trust.is_delivered
        unit = definition.unit or ask.kpi.unit
        low, high = margin(definition, unit, quantities, cells, result) if is_shown else (None, None)
        return Measurement(
            kpi=ask.kpi.id,
            period=period,
            state=state,
            value=result.value if is_shown else None,
            n=n,
            dims=dims,
            params=_named_params(ask),
            numerator=_decimal(result.numerator) if is_shown and result.is_ratio else None,
            denominator=_decimal(result.denominator) if is_shown else None,
            currency=self.currency if unit == "currency" else None,
            as_of=min(period.end, self.now),
            data_through=trust.through,
            reason=reason,
            warnings=(*warnings, *ask.unknown, *ask.remarks, *remarks, *_warnings(measures, cells, excludes=excludes)),
            low=low,
            high=high,
        )

    def _lacking(self, cells: Mapping[str, Cell]) -> list[Doubt]:
        missing = max((cell.missing for cell in cells.values()), default=0)
        text = f"no exchange rate to {self.currency} for {_counted(missing, 'amount')}"
        return [(MeasurementState.ERROR, text)] if missing else []


class _Doubts:
    """Doubts about the data of an ask, looked up once per period. Figures of one source depend on that source alone."""

    def __init__(self, coverage: Coverage, ask: Ask, now: datetime) -> None:
        wanted = {source for name, ids in ask.where if name == "source" for source in ids if source}
        self._coverage = replace(coverage, sources=frozenset(wanted)) if wanted else coverage
        self._entities = () if ask.is_now_only else _awaited(ask, coverage)
        self.through = self._coverage.through(self._entities)
        self._ask, self._now, self._known = ask, now, dict[Period, list[Doubt]]()
        self._narrowed: dict[str, _Doubts] = {}

    def about(self, dims: Dims) -> _Doubts:
        """The doubts about one segment: those about its source, if it is one of a source."""
        source = next((segment.id for segment in dims if segment.dimension == "source"), None)
        if source is None:
            return self
        if source not in self._narrowed:
            ask = replace(self._ask, where=(("source", (source,)),))
            self._narrowed[source] = _Doubts(self._coverage, ask, self._now)
        return self._narrowed[source]

    @property
    def is_delivered(self) -> bool:
        """Whether every entity has been delivered at all: before that nobody knows anything, and a count is not 0."""
        return self.through is not None or not self._entities

    def of(self, period: Period) -> list[Doubt]:
        """A list of its own for each caller."""
        if not self._entities:
            return []
        if period not in self._known:
            self._known[period] = self._coverage.doubts(self._entities, period, self._now)
            horizon = self._ask.definition.horizon
            if horizon is not None and (self.through or self._now) < period.end + horizon:
                text = f"the period's cases are followed until {period.end + horizon:%Y-%m-%d}"
                self._known[period].append((MeasurementState.INCOMPLETE, text))
        return list(self._known[period])


def entities_of(ask: Ask) -> tuple[str, ...]:
    """Names of the canonical tables that an ask's measures read."""
    names = {name for measure in ask.definition.measures.values() for name in tables_of(measure.entity)}
    return tuple(sorted(names))


def _awaited(ask: Ask, coverage: Coverage) -> tuple[str, ...]:
    """The tables that have to be delivered; those that only refine a figure, if some source delivers them."""
    optional = {*ask.definition.optional, "fx_rates"}
    names = entities_of(ask)
    return tuple(name for name in names if name not in optional or (name != "fx_rates" and coverage.delivers(name)))


@lru_cache(maxsize=1024)
@lru_cache(maxsize=4_096)
def tables_of(entity: FromClause) -> tuple[str, ...]:
    """Names of the canonical tables below an entity."""
    return tuple(sorted({element.name for element in iterate(entity) if isinstance(element, Table)}))


def _apply(ask: Ask, quantities: Mapping[str, Quantity], doubts: list[Doubt]) -> Quantity:
    """The plugin's formula; whatever it raises is the measurement's error, not the engine's."""
    try:
        result = ask.definition.formula(Values(quantities))
        return result if isinstance(result, Quantity) else Quantity(result)
    except Exception as error:  # noqa: BLE001 - a plugin call
        doubts.append((MeasurementState.ERROR, f"the formula of {ask.kpi.id} failed: {error}"))
        return Quantity(None, reason="the formula failed")


def _size(definition: Definition, quantities: Mapping[str, Quantity], cells: Mapping[str, Cell]) -> int:
    """The sample size: rows of the sample's measure, unless the definition counts otherwise."""
    if definition.size is None:
        return cells[definition.sample or next(iter(definition.measures))].n
    return int(definition.size(Values(quantities)).exact or 0)


def _remarks(definition: Definition, quantities: Mapping[str, Quantity], doubts: list[Doubt]) -> list[str]:
    """What the definition has to say of its figures; its doubts are added to the others."""
    try:
        values = Values(quantities)
        if definition.doubts is not None and (reason := definition.doubts(values)):
            doubts.append((MeasurementState.INCOMPLETE, reason))
        return list(definition.remarks(values)) if definition.remarks is not None else []
    except Exception as error:  # noqa: BLE001 - a plugin call
        doubts.append((MeasurementState.ERROR, f"the definition's remarks failed: {error}"))
        return []


def _quantity(measure: Measure, cell: Cell, name: str) -> Quantity:
    label = measure.label or f"{name} {measure.entity.description}"
    match measure.agg.kind:
        case "count":
            return Quantity(cell.rows, label=label)
        case "count_distinct" | "sum" | "top_sum":
            return Quantity(_exact(cell.value) or 0, label=label)
        case "mean":
            return Quantity(_exact(cell.value) or 0, cell.n, label=label)
        case "quantile":
            return Quantity(_exact(quantile_of(measure, cell.value)) if cell.n else None, label=label)
        case _:
            return Quantity(_exact(cell.value), label=label)


def _exact(value: Any) -> Fraction | None:
    """The number; one that an engine gives as a binary fraction stands for the shortest decimal that it can be."""
    if isinstance(value, float):
        value = repr(value)
    return None if value is None else Fraction(value)


def _decimal(number: Fraction | None) -> Any:
    return None if number is None else decimal_from_fraction(number)


def _label(measures: Mapping[str, Measure], sample: str | None) -> str:
    name = sample or next(iter(measures))
    return measures[name].label or f"{name} {measures[name].entity.description}"


def _warnings(measures: Mapping[str, Measure], cells: Mapping[str, Cell], *, excludes: bool) -> Iterator[str]:
    for name, cell in cells.items():
        label = _label(measures, name)
        if measures[name].money is not None and cell.rows > cell.n + cell.missing:
            yield f"{cell.rows - cell.n - cell.missing} {label} have no amount"
        if cell.unknown:
            yield f"{cell.unknown} {label} left out: nobody knows since when they are open"
        if cell.missing and excludes:
            yield f"{_counted(cell.missing, 'amount')} left out: no exchange rate"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _named_params(ask: Ask) -> tuple[tuple[str, str], ...]:
    defaults = {name: param.default for name, param in ask.kpi.params.items()}
    return tuple(sorted((name, value) for name, value in ask.params.items() if value != defaults[name]))
