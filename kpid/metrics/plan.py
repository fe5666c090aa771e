"""The plan: which scans answer which needs. Pure.

Measures that share an entity, a clock and a row filter are computed in one scan, whatever KPI they belong to and however it is
cut: the cuts are grouping sets of that scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from sqlalchemy import ColumnElement
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.visitors import iterate

from kpid.analysis.periods import is_daily
from kpid.metrics.dialects import text_of
from kpid.metrics.dimensions import Custom
from kpid.metrics.scope import Scope
from kpid.model import Period, SeriesNeed
from kpid.plugin.kpi import AS_OF, At, Balance, Clock, Definition, During, InPeriod, Kpi, Measure, Now

_NEVER = datetime(1900, 1, 1, tzinfo=UTC)
"""Before anything was deleted."""

Mode: TypeAlias = Literal["bisect", "spine", "derived", "now"]
Where: TypeAlias = tuple[tuple[str, tuple[str | None, ...]], ...]
Cut: TypeAlias = tuple[str, tuple[str, ...]]
"""Period kind and dimensions, sorted."""


@dataclass(frozen=True)
class Ask:
    """A need made concrete: its definition, the ids its ``where`` means, and the periods to measure.

    ``unknown`` has a sentence for each name in ``where`` that nobody has; ``is_about_nobody`` says that no other is left.
    """

    need: SeriesNeed
    kpi: Kpi
    definition: Definition
    params: Mapping[str, str]
    min_sample: int
    periods: tuple[Period, ...] = ()
    where: Where = ()
    unknown: tuple[str, ...] = ()
    is_about_nobody: bool = False
    custom: Custom = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    """What there is to say of every figure: ``approximate: ...``."""
    goals: tuple[str, ...] = ()
    """The targets that the configuration has for it, as text: with others its figures are others."""
    days: Callable[[Period], tuple[Period, ...]] | None = None
    """Of a mean of days: the days of a period; None: periods are measured as they are."""

    scope: Scope | None = None
    """Which records count, if that changes anything about it."""
    limits: frozenset[str] = frozenset()
    """What of it does: ``internal``, ``pipeline``, ``team``."""

    @property
    def by(self) -> tuple[str, ...]:
        """Dimensions, sorted."""
        return tuple(sorted(self.need.by))

    def by_of(self, measure: Measure) -> tuple[str, ...]:
        """The dimensions that cut a measure, sorted."""
        return tuple(name for name in self.by if name not in measure.across)

    def where_of(self, measure: Measure) -> Where:
        """What a measure is restricted to."""
        return tuple((name, ids) for name, ids in self.where if name not in measure.across)

    @property
    def includes_deleted(self) -> bool:
        """Whether records count that were deleted: for audits only."""
        return self.params.get("include_deleted") == "true"

    def parts_of(self, period: Period) -> tuple[Period, ...]:
        """The periods that a period's figure is made of: itself, or its days."""
        return (period,) if self.days is None else self.days(period)

    @property
    def is_now_only(self) -> bool:
        """Whether the KPI speaks of this very moment: it has no past and no completeness."""
        return all(isinstance(measure.clock, Now) for measure in self.definition.measures.values())


@dataclass
class Scan:
    """One query: measures over an entity by one clock, for periods of one or several kinds, in several cuts.

    ``key`` and ``texts`` say the same of entity, clock and measures as text: equal ones make equal statements.
    """

    entity: FromClause
    clock: Clock
    mode: Mode
    where: Where
    trailing: int | None = None
    key: tuple[Any, ...] = ()
    texts: list[str] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    periods: dict[str, list[Period]] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)
    includes_deleted: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """What its place-holders stand for, beyond what the company and the day say."""
        return {"gone": _NEVER} if self.includes_deleted else {}

    @property
    def dimensions(self) -> list[str]:
        """Every dimension that a cut uses."""
        return sorted({name for _, names in self.cuts for name in names})

    @property
    def is_empty(self) -> bool:
        """Whether there is no period to measure."""
        return not any(self.periods.values())


@dataclass(frozen=True)
class Plan:
    """The scans, and where each measure of each ask is: ``places[ask number, measure name] = (scan number, measure number)``."""

    scans: Sequence[Scan]
    places: Mapping[tuple[int, str], tuple[int, int]]


def make_plan(asks: Sequence[Ask]) -> Plan:
    """Fuse what can be fused."""
    scans: dict[tuple[Any, ...], Scan] = {}
    numbers: dict[tuple[Any, ...], int] = {}
    measures: dict[tuple[int, str], int] = {}
    places = {}
    for index, ask in enumerate(asks):
        for name, measure in ask.definition.measures.items():
            mode = _mode(measure, _kind(ask))
            where = ask.where_of(measure)
            deleted = ask.includes_deleted
            key = (id(measure.entity), _clock_text(measure.clock), mode, where, measure.trailing_days, deleted)
            fresh = Scan(measure.entity, measure.clock, mode, where, measure.trailing_days, key, includes_deleted=deleted)
            scan = scans.setdefault(key, fresh)
            number = numbers.setdefault(key, len(numbers))
            text = _measure_text(measure)
            if (number, text) not in measures:
                measures[number, text] = len(scan.measures)
                scan.measures.append(measure)
                scan.texts.append(text)
            _widen(scan, ask, ask.by_of(measure))
            places[index, name] = (number, measures[number, text])
    return Plan(tuple(scans.values()), places)


def clock_columns(clock: Clock) -> tuple[ColumnElement[Any], ...]:
    """The expressions that decide which period a row falls in."""
    match clock:
        case At():
            return (clock.instant,)
        case Balance() | During():
            return (clock.start, clock.end)
        case InPeriod():
            return (clock.no,)
        case Now():
            return ()


def _mode(measure: Measure, kind: str) -> Mode:
    """How rows get to periods: found by their instant, or joined to the periods that they count in.

    What speaks of the end of its period (``AS_OF``) needs that period beside it, or its figure would change with the clock.
    """
    if isinstance(measure.clock, Now):
        return "now"
    if isinstance(measure.clock, InPeriod):
        return "derived"
    is_event = isinstance(measure.clock, At) and not is_daily(kind)
    is_plain = is_event and measure.trailing_days is None and not _speaks_of_end(measure)
    return "bisect" if is_plain else "spine"


def _speaks_of_end(measure: Measure) -> bool:
    parts = (measure.agg.expression, measure.agg.where, measure.money, *measure.rate_at)
    return any(element is AS_OF for part in parts if part is not None for element in iterate(part))


def _widen(scan: Scan, ask: Ask, by: tuple[str, ...]) -> None:
    kind = _kind(ask)
    known = scan.periods.setdefault(kind, [])
    known[:] = sorted({*known, *(part for period in ask.periods for part in ask.parts_of(period))}, key=_position)
    if (kind, by) not in scan.cuts:
        scan.cuts.append((kind, by))


def _kind(ask: Ask) -> str:
    return ask.need.period if ask.days is None else "day"


def _position(period: Period) -> tuple[Any, ...]:
    return period.start, period.end, period.label


def _clock_text(clock: Clock) -> str:
    open_when = getattr(clock, "open_when", None)
    return "|".join([type(clock).__name__, *_texts([*clock_columns(clock), open_when])])


def _measure_text(measure: Measure) -> str:
    agg = measure.agg
    return "|".join([agg.kind, repr(agg.q), *_texts([agg.expression, agg.where, measure.money, *measure.rate_at, measure.lacks])])


def _texts(expressions: Iterable[ColumnElement[Any] | None]) -> list[str]:
    return [text_of(expression) for expression in expressions]
