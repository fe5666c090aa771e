"""From the answers of the scans to measurements. Pure.

A hundred thousand figures are made in one go: what is the same for all figures of an ask is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

from kpid.metrics.daily import mean_of_days
from kpid.metrics.margins import Margin, margin, quantile_of
from kpid.metrics.plan import Ask, Plan
from kpid.metrics.results import NOTHING, Answers, Cell, Ids, entities_of
from kpid.metrics.targets import Targets
from kpid.metrics.trust import Coverage, Doubt, verdict
from kpid.model import Dims, Measurement, MeasurementState, Period, Segment
from kpid.plugin.kpi import Measure
from kpid.plugin.quantity import Quantity, Values

_ERROR = MeasurementState.ERROR


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
        frame = _Frame(self, ask)
        read = [self._reader(number, name, ask) for name in ask.definition.measures]
        own = [place for place, one in enumerate(read) if one.by == ask.by]
        for period in ask.periods:
            parts = ask.parts_of(period)
            rows = [[one.answers.segments(one.by, part) for one in read] for part in parts]
            segments: set[Ids] = {ids for some in rows for place in own for ids in some[place]}
            if not ask.by:
                segments.add(())
            for ids in _in_order(segments):
                cells = [{one.name: one.cell(of, ids) for one, of in zip(read, some, strict=True)} for some in rows]
                has_rows = any(cell[read[place].name].rows for cell in cells for place in own)
                if has_rows or not ask.by:
                    yield frame.figure(period, frame.dims(ids), cells), has_rows

    def empty(self, ask: Ask, period: Period, dims: Dims) -> Measurement:
        """The measurement of a segment without rows."""
        nothing = dict.fromkeys(ask.definition.measures, NOTHING)
        return _Frame(self, ask).figure(period, dims, [nothing for _ in ask.parts_of(period)])

    def _reader(self, number: int, name: str, ask: Ask) -> _Reader:
        scan, place = self.plan.places[number, name]
        by = ask.by_of(ask.definition.measures[name])
        kept = None if by == ask.by else tuple(index for index, dimension in enumerate(ask.by) if dimension in by)
        return _Reader(name, self.answers[scan], place, by, kept)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Where a measure's cells are. ``kept``: of a measure that not every dimension cuts, the ones that do."""

    name: str
    answers: Answers
    place: int
    by: tuple[str, ...]
    kept: tuple[int, ...] | None

    def cell(self, rows: Mapping[Ids, tuple[Any, ...]], ids: Ids) -> Cell:
        """The measure of a segment; of one that a dimension does not cut, that of the wider segment."""
        return self.answers.cell(rows.get(ids if self.kept is None else tuple(ids[index] for index in self.kept)), self.place)


class _Frame:
    """What all measurements of an ask have in common."""

    def __init__(self, maker: Maker, ask: Ask) -> None:
        self.maker, self.ask = maker, ask
        definition, kpi = ask.definition, ask.kpi
        self.excludes = ask.params.get("missing_fx") == "exclude"
        self.unit = definition.unit or kpi.unit
        self.currency = maker.currency if self.unit == "currency" else None
        self.params = tuple(sorted((name, value) for name, value in ask.params.items() if value != kpi.param(name).default))
        self.labels = {name: label_of(name, measure) for name, measure in definition.measures.items()}
        self.sample = definition.sample or next(iter(definition.measures), "")
        self.makers = {name: _quantity_maker(measure, self.labels[name]) for name, measure in definition.measures.items()}
        self.money = {name for name, measure in definition.measures.items() if measure.money is not None}
        self.trust = _Doubts(maker.coverage, ask, maker.now)
        self.is_of_sources = "source" in ask.by
        self.always = (*ask.unknown, *ask.remarks)
        self.nothing = dict.fromkeys(definition.measures, NOTHING)
        self._dims: dict[Ids, Dims] = {}

    def dims(self, ids: Ids) -> Dims:
        """The segment with its names."""
        if ids not in self._dims:
            self._dims[ids] = tuple(
                Segment(name, value, value if value is None else self.maker.labels.get(name, {}).get(value, value))
                for name, value in zip(self.ask.by, ids, strict=True)
            )
        return self._dims[ids]

    def figure(self, period: Period, dims: Dims, cells: Sequence[Mapping[str, Cell]]) -> Measurement:
        """The measurement of a period from the cells of its parts: its own, or those of its days."""
        if self.ask.days is None:
            return self.measurement(period, dims, cells[0])
        days = [self.measurement(day, dims, of) for day, of in zip(self.ask.parts_of(period), cells, strict=True)]
        trust = self.trust.about(dims) if self.is_of_sources else self.trust
        told = {text for day in days for _, text in trust.of(day.period)}
        return mean_of_days(period, dims, days, trust.of(period), told, self.measurement(period, dims, self.nothing))

    def measurement(self, period: Period, dims: Dims, cells: Mapping[str, Cell]) -> Measurement:
        """One figure, with everything there is to say of it."""
        ask, trust = self.ask, self.trust.about(dims) if self.is_of_sources else self.trust
        doubts = trust.of(period)
        warnings = self._noticed(cells, doubts)
        quantities = {name: make(cells[name]) for name, make in self.makers.items()}
        for name, target in ask.definition.targets.items():
            quantities[name] = self.maker.targets.of(target, period, dims, self.maker.now)
        values = Values(quantities)
        result = Quantity(None, reason=ask.unknown[0]) if ask.is_about_nobody else self._result(values, doubts)
        n = self._size(values, cells, doubts)
        remarks = self._remarks(values, doubts)
        if result.is_settled:
            remarks.insert(0, result.reason)
        elif not result.is_defined:
            doubts.append((MeasurementState.UNDEFINED, result.reason))
        elif n < ask.min_sample:
            text = f"{n} {self.labels[self.sample]}, at least {ask.min_sample} needed"
            doubts.append((MeasurementState.INSUFFICIENT_SAMPLE, text))
        elif n < ask.kpi.min_sample and ask.min_sample == ask.kpi.least(ask.need.by):
            remarks.append(f"{n} {self.labels[self.sample]} only")
        low, high = self._margin(quantities, cells, result, doubts) if result.is_defined else (None, None)
        state, reason, told = verdict(doubts)
        is_shown = result.is_defined and state is not _ERROR and trust.is_delivered
        above, below = result.decimals() if is_shown else (None, None)
        return Measurement(
            kpi=ask.kpi.id,
            period=period,
            state=state,
            value=result.value if is_shown else None,
            n=n,
            dims=dims,
            params=self.params,
            numerator=above,
            denominator=below,
            currency=self.currency,
            as_of=min(period.end, self.maker.now),
            data_through=trust.through,
            reason=reason,
            warnings=(*told, *self.always, *remarks, *warnings),
            low=low if is_shown else None,
            high=high if is_shown else None,
        )

    def _noticed(self, cells: Mapping[str, Cell], doubts: list[Doubt]) -> list[str]:
        """What the cells have left out; amounts without a rate are an error unless they are to be left out."""
        warnings, missing = [], 0
        for name, cell in cells.items():
            if name in self.money and cell.rows > cell.n + cell.missing:
                warnings.append(f"{cell.rows - cell.n - cell.missing} {self.labels[name]} have no amount")
            if cell.unknown:
                warnings.append(f"{cell.unknown} {self.labels[name]} left out: nobody knows since when they are open")
            if cell.missing:
                missing = max(missing, cell.missing)
                if self.excludes:
                    warnings.append(f"{_counted(cell.missing, 'amount')} left out: no exchange rate")
        if missing and not self.excludes:
            doubts.append((_ERROR, f"no exchange rate to {self.maker.currency} for {_counted(missing, 'amount')}"))
        return warnings

    # ---- the plugin's functions: whatever they raise is the measurement's error, not the engine's

    def _result(self, values: Values, doubts: list[Doubt]) -> Quantity:
        try:
            result = self.ask.definition.formula(values)
            return result if isinstance(result, Quantity) else Quantity(result)
        except Exception as error:  # noqa: BLE001 - a plugin call
            doubts.append((_ERROR, f"the formula of {self.ask.kpi.id} failed: {error}"))
            return Quantity(None, reason="the formula failed")

    def _size(self, values: Values, cells: Mapping[str, Cell], doubts: list[Doubt]) -> int:
        """The sample size: rows of the sample's measure, unless the definition counts otherwise."""
        size = self.ask.definition.size
        if size is None:
            return cells[self.sample].n
        try:
            return int(size(values).exact or 0)
        except Exception as error:  # noqa: BLE001 - a plugin call
            doubts.append((_ERROR, f"the sample size of {self.ask.kpi.id} failed: {error}"))
            return 0

    def _remarks(self, values: Values, doubts: list[Doubt]) -> list[str]:
        definition = self.ask.definition
        try:
            if definition.doubts is not None and (reason := definition.doubts(values)):
                doubts.append((MeasurementState.INCOMPLETE, reason))
            return list(definition.remarks(values)) if definition.remarks is not None else []
        except Exception as error:  # noqa: BLE001 - a plugin call
            doubts.append((_ERROR, f"the remarks of {self.ask.kpi.id} failed: {error}"))
            return []

    def _margin(
        self, quantities: Mapping[str, Quantity], cells: Mapping[str, Cell], result: Quantity, doubts: list[Doubt]
    ) -> Margin:
        try:
            return margin(self.ask.definition, self.unit, quantities, cells, result)
        except Exception as error:  # noqa: BLE001 - a plugin call
            doubts.append((_ERROR, f"the interval of {self.ask.kpi.id} failed: {error}"))
            return None, None


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


def _awaited(ask: Ask, coverage: Coverage) -> tuple[str, ...]:
    """The tables that have to be delivered; those that only refine a figure, if some source delivers them."""
    optional = {*ask.definition.optional, "fx_rates"}
    names = entities_of(ask)
    return tuple(name for name in names if name not in optional or (name != "fx_rates" and coverage.delivers(name)))


def label_of(name: str, measure: Measure) -> str:
    """What the rows of a measure are called in a sentence."""
    return measure.label or f"{name} {measure.entity.description}"


def _quantity_maker(measure: Measure, label: str) -> Callable[[Cell], Quantity]:
    match measure.agg.kind:
        case "count":
            return lambda cell: Quantity(cell.rows, label=label)
        case "count_distinct" | "sum" | "top_sum":
            return lambda cell: Quantity(_exact(cell.value) or 0, label=label)
        case "mean":
            return lambda cell: Quantity(_exact(cell.value) or 0, cell.n, label=label)
        case "quantile":
            return lambda cell: Quantity(_exact(quantile_of(measure, cell.value)) if cell.n else None, label=label)
        case _:
            return lambda cell: Quantity(_exact(cell.value), label=label)


def _exact(value: Any) -> Fraction | int | None:
    """The number; one that an engine gives as a binary fraction stands for the shortest decimal that it can be."""
    if value is None or isinstance(value, int):
        return value
    return Fraction(repr(value) if isinstance(value, float) else value)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _in_order(segments: set[Ids]) -> list[Ids]:
    """Segments by their ids, those without a value last."""
    if any(None in ids for ids in segments):
        return sorted(segments, key=lambda ids: tuple((value is None, value or "") for value in ids))
    return sorted(segments)
