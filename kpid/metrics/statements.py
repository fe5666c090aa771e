"""A scan of the plan as one SELECT. Pure.

The inner select has one row per counted row (and period, where periods overlap): period numbers, dimension values, and for each
measure a condition and a value. The outer one aggregates, once per cut (grouping set).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Double,
    Integer,
    Select,
    and_,
    cast,
    column,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.sql.expression import CTE, FromClause
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from kpid.analysis.intervals import quantile_grid
from kpid.metrics.constructs import PeriodNumber, Quantiles, TopSum
from kpid.metrics.dialects import text_of
from kpid.metrics.dimensions import dimension_of
from kpid.metrics.event_dimensions import dimension_at
from kpid.metrics.money import Rates, needs_rates
from kpid.metrics.plan import Cut, Scan
from kpid.metrics.spine import Setting, bounds_of, now_value, open_hours_cte, periods_cte, ranges_of, spine, starts_of, within
from kpid.model import Period
from kpid.plugin.expressions import PERIODS, counts
from kpid.plugin.hours import OPEN_HOURS
from kpid.plugin.kpi import AS_OF, At, Balance, During, InPeriod, Measure

__all__ = ["Columns", "Setting", "Statement", "make_statement"]


@dataclass(frozen=True)
class Columns:
    """Names of a measure's result columns.

    ``value`` is the aggregate (for a mean: the sum), ``n`` the rows with a value, ``rows`` all rows of the measure, ``missing``
    those without an exchange rate, ``unknown`` those left out because nobody knows since when they are open. ``spread`` is what
    the interval of a mean needs: the sum of the squares. The value of a quantile is an array: those of its grid.
    """

    value: str
    n: str
    rows: str
    missing: str | None = None
    unknown: str | None = None
    spread: str | None = None


@dataclass(frozen=True)
class Statement:
    """A scan's SELECT and how to read its result: key columns first, then what ``measures`` names.

    ``values`` fill the place-holders when it is compiled.
    """

    select: Select[Any]
    dimensions: tuple[str, ...]
    kinds: tuple[str, ...]
    numbered: tuple[Period, ...]
    groups: Mapping[int, Cut]
    measures: tuple[Columns, ...]
    values: Mapping[str, Any]


def make_statement(scan: Scan, setting: Setting) -> Statement:
    """Write the SELECT of a scan."""
    return Writer(scan, setting).write()


@dataclass
class Writer:
    """Writes the SELECT of a scan."""

    scan: Scan
    setting: Setting
    inner: dict[str, ColumnElement[Any]] = field(default_factory=dict)
    outer: dict[str, ColumnElement[Any]] = field(default_factory=dict)
    joins: dict[str, tuple[FromClause, ColumnElement[bool]]] = field(default_factory=dict)
    conditions: list[ColumnElement[bool]] = field(default_factory=list)
    spine: FromClause | None = None
    rates: Rates | None = None

    def write(self) -> Statement:
        scan = self.scan
        keys, numbered = self.begin()
        dimensions = {name: self.dimension(name) for name in scan.dimensions}
        names = [f"d{number}" for number in range(len(dimensions))]
        columns = [self._measure(measure) for measure in scan.measures]
        rows = self._inner(keys, dict(zip(names, dimensions.values(), strict=True))).subquery("counted")
        statement, groups = self._outer(rows, list(keys), dict(zip(scan.dimensions, names, strict=True)))
        statement = statement.add_cte(*self.ctes(numbered))
        kinds, dims = tuple(scan.periods), tuple(scan.dimensions)
        return Statement(statement, dims, kinds, numbered, groups, tuple(columns), self.setting.values)

    def begin(self) -> tuple[dict[str, ColumnElement[Any]], tuple[Period, ...]]:
        """Period columns and numbered periods, with the conditions on which rows count."""
        self.conditions += counts(self.scan.entity)
        placed = self._place_rows()
        for name, wanted in self.scan.where:
            self.conditions.append(_is_one_of(self.dimension(name), wanted))
        scope = self.setting.scope
        if scope is not None and scope.has_teams and dimension_of(self.scan.entity, "team") is not None:
            self.conditions += scope.in_team(self.dimension("team"))
        return placed

    def ctes(self, periods: Sequence[Period]) -> list[CTE]:
        """The tables that the engine lays out for derived entities, if this one names them."""
        named = names_in(self.scan.entity)
        found = []
        if PERIODS.name in named:
            found.append(periods_cte(periods, self.setting, self.scan.trailing))
        if OPEN_HOURS.name in named:
            found.append(open_hours_cte(periods, self.setting, self.scan.trailing))
        return found

    # ---- which period a row falls in

    def _place_rows(self) -> tuple[dict[str, ColumnElement[Any]], tuple[Period, ...]]:
        """Period columns (one per kind, or one for all), and the periods by number."""
        numbered = tuple(period for periods in self.scan.periods.values() for period in periods)
        if self.scan.mode == "now":
            return {"p": literal_column("0", Integer)}, numbered
        if isinstance(self.scan.clock, InPeriod):
            return {"p": self.scan.clock.no}, numbered
        if self.scan.mode == "spine":
            self.spine = spine(numbered, self.setting, self.scan.trailing)
            self._join_spine(self.spine)
            return {"p": self.spine.c.no}, numbered
        clock = self.scan.clock
        assert isinstance(clock, At)  # noqa: S101 - the plan's rule, for the type checker
        instant = self._bound(clock.instant)
        keys: dict[str, ColumnElement[Any]] = {}
        first, ranges = 0, []
        for number, (_, periods) in enumerate(self.scan.periods.items()):
            bounds = bounds_of(periods, first)
            keys[f"p{number}"] = PeriodNumber(instant, bounds)
            ranges += ranges_of(bounds)
            first += len(periods)
        self.conditions.append(within(instant, ranges))
        self.conditions.append(instant <= now_value(self.setting))
        return keys, numbered

    def _join_spine(self, spine: FromClause) -> None:
        clock, c = self.scan.clock, spine.c
        if isinstance(clock, At):
            instant = self._bound(clock.instant)
            self.conditions += [instant >= c.starts, instant < c.ends, instant <= c.as_of]
            periods = [period for periods in self.scan.periods.values() for period in periods]
            starts = starts_of(periods, self.setting, self.scan.trailing)
            self.conditions.append(within(instant, [(min(starts), max(period.end for period in periods))]))
            return
        assert isinstance(clock, Balance | During)  # noqa: S101
        start, end = self._bound(clock.start), self._bound(clock.end)
        still = true() if clock.open_when is None else self._bound(clock.open_when)
        if isinstance(clock, Balance):
            begun = or_(start < c.as_of, and_(c.is_current, start <= c.as_of), start.is_(None))
            ended = or_(end > c.as_of, and_(end == c.as_of, not_(c.is_current)), and_(end.is_(None), still))
            self.conditions += [begun, ended]
            return
        begun = or_(start < c.as_of, and_(c.is_current, start <= c.as_of), start.is_(None))
        ended = or_(end >= c.starts, start >= c.starts, and_(end.is_(None), still))
        self.conditions += [begun, ended]

    def _is_known(self) -> ColumnElement[bool] | None:
        """Of balances: whether it is known that the row was open at the period's instant."""
        clock = self.scan.clock
        if isinstance(clock, Balance | During) and self.spine is not None:
            return or_(self._bound(clock.start).is_not(None), self.spine.c.is_current)
        return None

    # ---- dimensions and measures

    def dimension(self, name: str) -> ColumnElement[Any]:
        """What a dimension is of each row; its tables are joined."""
        clock = self.scan.clock
        then = dimension_at(self.scan.entity, name, clock.instant, self.setting.history) if isinstance(clock, At) else None
        dimension = then or dimension_of(self.scan.entity, name, self.setting.custom)
        assert dimension is not None  # noqa: S101 - check_dimensions has refused the others
        for table, condition in dimension.joins:
            self.joins[str(getattr(table, "name", name))] = (table, condition)
        return dimension.expression

    def counted(self, measure: Measure) -> tuple[ColumnElement[bool] | None, ...]:
        """Which rows a measure wants, which are known to be in the period, and both together; None for all of them."""
        where = None if measure.agg.where is None else self._bound(measure.agg.where)
        known = self._is_known()
        return where, known, where if known is None else known if where is None else and_(where, known)

    def _measure(self, measure: Measure) -> Columns:
        agg = measure.agg
        where, known, counted = self.counted(measure)
        rows = self._aggregate(func.count(), "count", counted)
        unknown = None
        if known is not None:
            left_out = not_(known) if where is None else and_(where, not_(known))
            unknown = self._aggregate(func.count(), "count", left_out)
        if agg.expression is None:
            return Columns(rows, rows, rows, unknown=unknown)
        expression, missing = self._bound(agg.expression), None
        lacking = measure.lacks
        if measure.money is not None and needs_rates(self.scan.entity, self.setting.foreign):
            expression, lacking = self._converted(measure, expression)
        if lacking is not None:
            missing = self._aggregate(func.count(), "count", lacking if counted is None else and_(counted, lacking))
        x = self._name(self.inner, "x", expression)
        n = self._aggregate(func.count(column(x)), f"count {x}", counted)
        spread = None
        if agg.kind == "mean":
            square = cast(column(x), Double) * cast(column(x), Double)
            spread = self._aggregate(func.sum(square), f"squares {x}", counted)
        value = self._aggregate(_function(agg.kind, agg.q, column(x, expression.type)), f"{agg.kind} {agg.q} {x}", counted)
        return Columns(value, n, rows, missing, unknown, spread)

    def _converted(self, measure: Measure, amount: ColumnElement[Any]) -> tuple[ColumnElement[Any], ColumnElement[bool]]:
        """The amount in the reporting currency, and whether there is one that no rate covers."""
        if self.rates is None:
            self.rates = Rates()
        clock = self.scan.clock
        dates = measure.rate_at or ((clock.instant,) if isinstance(clock, At) else (AS_OF,))
        assert measure.money is not None  # noqa: S101
        converted = self.rates.convert(amount, self._bound(measure.money), [self._bound(date) for date in dates])
        self.joins.update(self.rates.joins)
        return converted, and_(amount.is_not(None), converted.is_(None))

    def _aggregate(self, function: Any, text: str, where: ColumnElement[bool] | None) -> str:
        if where is None:
            return self._name(self.outer, "a", function, text)
        w = self._name(self.inner, "w", where)
        return self._name(self.outer, "a", function.filter(column(w, Boolean)), f"{text} if {w}")

    def _name(self, place: dict[str, ColumnElement[Any]], prefix: str, expression: ColumnElement[Any], text: str = "") -> str:
        """Name of a column, the same for equal expressions."""
        key = f"{prefix} {text or text_of(expression)}"
        place.setdefault(key, expression)
        return f"{prefix}{list(place).index(key)}"

    def _bound(self, expression: ColumnElement[Any]) -> ColumnElement[Any]:
        """The expression with the place-holders filled in."""
        as_of = self.spine.c.as_of if self.spine is not None else now_value(self.setting)

        def replace(element: Any, **_: Any) -> Any:
            return as_of if element is AS_OF else None

        bound: ColumnElement[Any] = replacement_traverse(expression, {}, replace)
        return bound

    # ---- the two selects

    def _inner(self, keys: Mapping[str, ColumnElement[Any]], dimensions: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
        labelled = [expression.label(name) for name, expression in {**keys, **dimensions}.items()]
        labelled += [expression.label(f"{key[0]}{number}") for number, (key, expression) in enumerate(self.inner.items())]
        return select(*labelled).select_from(self.source()).where(*self.conditions)

    def source(self) -> FromClause:
        """The entity with its periods and all that has been looked up beside it."""
        source: FromClause = self.scan.entity if self.spine is None else self.scan.entity.join(self.spine, true())
        for table, condition in self.joins.values():
            source = source.outerjoin(table, condition)
        return source

    def _outer(self, rows: FromClause, keys: list[str], dimensions: Mapping[str, str]) -> tuple[Select[Any], dict[int, Cut]]:
        names = [*keys, *dimensions.values()]
        sets = self._grouping_sets(keys, dimensions)
        groups = {_grouping(names, used): cut for used, cut in sets.items()}
        c = rows.c
        columns = [c[name] for name in names]
        measured = [expression.label(f"a{number}") for number, expression in enumerate(self.outer.values())]
        if len(sets) == 1:
            group = literal_column(str(next(iter(groups))), Integer).label("g")
            return select(group, *columns, *measured).select_from(rows).group_by(*columns), groups
        together = func.grouping_sets(*(tuple_(*(c[name] for name in used)) for used in sets))
        return select(func.grouping(*columns).label("g"), *columns, *measured).select_from(rows).group_by(together), groups

    def _grouping_sets(self, keys: list[str], dimensions: Mapping[str, str]) -> dict[tuple[str, ...], Cut]:
        """Columns to group by for each cut; where periods have one number for all kinds, a cut serves them all."""
        kinds = list(self.scan.periods)
        sets: dict[tuple[str, ...], Cut] = {}
        for kind, names in self.scan.cuts:
            used = [dimensions[name] for name in names]
            if self.scan.mode == "bisect":
                sets[keys[kinds.index(kind)], *used] = (kind, names)
            else:
                sets["p", *used] = ("", names)
        return sets


@lru_cache(maxsize=1_024)
def names_in(entity: FromClause) -> frozenset[str]:
    """Names of everything that an entity is made from: entities are made once, and walking them takes long."""
    return frozenset(str(getattr(element, "name", "")) for element in iterate(entity))


def _grouping(names: list[str], used: tuple[str, ...]) -> int:
    """What ``GROUPING`` says of a set: a bit per column that is not part of it, the first column the highest."""
    return sum(1 << (len(names) - 1 - place) for place, name in enumerate(names) if name not in used)


def _function(kind: str, q: float | None, x: ColumnElement[Any]) -> Any:
    match kind:
        case "count_distinct":
            return func.count(x.distinct())
        case "sum" | "mean":
            return func.sum(x)
        case "quantile":
            return Quantiles(quantile_grid(q or 0.0), x)
        case "top_sum":
            return TopSum(int(q or 1), x)
        case "min":
            return func.min(x)
        case _:
            return func.max(x)


def _is_one_of(value: ColumnElement[Any], wanted: tuple[str | None, ...]) -> ColumnElement[bool]:
    known = [name for name in wanted if name is not None]
    conditions = ([value.in_(known)] if known else []) + ([value.is_(None)] if None in wanted else [])
    return or_(*conditions) if conditions else false()
