"""Which periods of a need have to be measured, and what the measurements depend on. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from sqlalchemy import Column, Table, select
from sqlalchemy.sql.expression import FromClause
from sqlalchemy.sql.visitors import iterate

from kpid.analysis.periods import Calendar, is_daily, last_complete, period_at, previous_period
from kpid.analysis.workdays import WorkCalendar
from kpid.errors import ConfigError
from kpid.metrics.codes import code_text
from kpid.metrics.dialects import approximate_on, text_of
from kpid.metrics.dimensions import dimension_of, labels_table
from kpid.metrics.event_dimensions import BASIS
from kpid.metrics.plan import Ask, clock_columns
from kpid.metrics.results import tables_of
from kpid.model import MeasurementState, Period, SeriesNeed, canonical_json
from kpid.plugin.hours import OPEN_HOURS
from kpid.plugin.kpi import At, Balance, During, InPeriod, Measure, Now
from kpid.store.history import SpanKey
from kpid.warehouse import Changes

RESTATE_DERIVED = timedelta(days=100)
"""Where nobody can say which periods a change alters, those are measured anew that ended no longer ago than this. A row of a
derived entity may come of any row of its tables, and those of the day change with every sync: without a limit each sync would
measure all that was ever kept. A quarter and some days, so that a quarter's late bookings still reach its figures."""

AUDIT = "Take it out; `kpid measure --kpi KPI --param include_deleted=true` shows what the deleted records change"
_UNSETTLED = frozenset({MeasurementState.INCOMPLETE.value, MeasurementState.STALE.value, MeasurementState.ERROR.value})


def refuse_audit(ask: Ask) -> Ask:
    """The ask, if it may be kept in the history.

    Raises:
        ConfigError: it counts deleted records, which is for audits only.
    """
    if ask.includes_deleted:
        raise ConfigError(f"KPI {ask.kpi.id}: include_deleted is for audits, not for rules and reports", hint=AUDIT)
    return ask


def wanted_periods(need: SeriesNeed, now: datetime, calendar: Calendar, *, is_now_only: bool = False) -> list[Period]:
    """The periods that a need wants in history: its last complete ones, what they are compared with, and the current one."""
    current = period_at(need.period, now, calendar)
    if is_now_only:
        return [current] if current.start <= now < current.end else []
    complete = last_complete(need.period, now, calendar, max(need.periods, 1))
    compared = [previous_period(period, calendar) for period in (complete if is_daily(need.period) else complete[:1])]
    return sorted({*compared, *complete, current}, key=lambda period: (period.start, period.end))


def due_periods(
    ask: Ask,
    wanted: list[Period],
    measured: Mapping[SpanKey, tuple[Period, frozenset[str]]],
    changes: Changes | None,
    now: datetime,
) -> list[Period]:
    """The periods to measure now.

    Args:
        ask: the need.
        wanted: what history should hold.
        measured: what it holds, with the states of each period's segments.
        changes: what changed in the warehouse since then; None if all has to be measured again (a new definition).
        now: periods that are not over are always measured.
    """
    known = {key: period for key, (period, _) in measured.items() if not ask.is_now_only}
    candidates = {(period.start, period.end): period for period in wanted}
    if changes is None:
        candidates |= known
        return sorted(candidates.values(), key=lambda period: (period.start, period.end))
    touched, late = Touched(ask, changes), _late(ask, changes, now)
    near = now - RESTATE_DERIVED - (ask.definition.horizon or timedelta(0))
    due = []
    for key, period in (known | candidates).items():
        states = measured[key][1] if key in measured else frozenset[str]()
        is_open = key in candidates and (not states or period.end > now or ask.is_now_only)
        is_touched = touched.covers(period, is_near=key in candidates or period.end > near)
        if is_open or states & _UNSETTLED or is_touched or period.end > late:
            due.append(period)
    return sorted(due, key=lambda period: (period.start, period.end))


def _late(ask: Ask, changes: Changes, now: datetime) -> datetime:
    """Since when periods must have ended to be measured anew, where nobody says what has changed; else now."""
    if changes.restate is None:
        return now
    is_plain = not ask.definition.targets and all(isinstance(one.entity, Table) for one in ask.definition.measures.values())
    return now - (changes.restate if is_plain else max(changes.restate, RESTATE_DERIVED))


class Touched:
    """Which periods of an ask a set of changes may have altered.

    An event alters the period of its day, before and after, and those that look back on it; a balance or an interval all periods
    from its first day on; a target the period that it is for. Changes of tables that dimensions are looked up in, or of exchange
    rates, may alter all periods, and are rare. Changes of anything that a derived entity is made from may, too, and are not: of
    these only the near periods are covered.
    """

    def __init__(self, ask: Ask, changes: Changes) -> None:
        self._changes = changes
        self._entities = {entity for entity, _ in changes.days}
        self.everything = False
        self.everything_near = False
        self.first: datetime | None = None
        self.days: dict[int, set[datetime]] = {}
        """By how many days back the measures look that count there."""
        for measure in ask.definition.measures.values():
            self._add(measure, ask)
        if ask.definition.targets:
            self.days.setdefault(0, set()).update(_instants(changes.days.get(("targets", "period_start"), ())))

    def covers(self, period: Period, *, is_near: bool = True) -> bool:
        """Whether a period may have changed; ``is_near``: it is wanted, or ended not long ago."""
        if self.everything or (self.everything_near and is_near) or (self.first is not None and self.first <= period.end):
            return True
        starts = {back: min(period.start, period.end - timedelta(days=back)) - timedelta(days=1) for back in self.days}
        return any(starts[back] < day < period.end for back, days in self.days.items() for day in days)

    def _add(self, measure: Measure, ask: Ask) -> None:
        tables = tables_of(measure.entity)
        if _looked_up(measure, ask) & self._entities:
            self.everything = True
        if "pipeline" in ask.limits and "deals" in self._entities and "deals" not in tables:
            self.everything_near = True  # a deal that was moved takes along what belongs to it
        if isinstance(measure.clock, Now) or not set(tables) & self._entities:
            return
        columns = [element for clock in clock_columns(measure.clock) for element in iterate(clock) if isinstance(element, Column)]
        keys = [(tables[0], column.name) for column in columns]
        is_derived = not isinstance(measure.entity, Table) or isinstance(measure.clock, InPeriod)
        if is_derived or any(key not in self._changes.days for key in keys):
            self.everything_near = True
            return
        if isinstance(measure.clock, Balance | During) and None in self._changes.days[keys[0]]:
            self.everything = True  # begun nobody knows when: every period warns of it
            return
        days = [instant for key in keys for instant in _instants(self._changes.days[key])]
        if isinstance(measure.clock, At):
            self.days.setdefault(measure.trailing_days or 0, set()).update(days)
        elif days:
            self.first = min([*days, self.first] if self.first else days)


def _looked_up(measure: Measure, ask: Ask) -> set[str | None]:
    """Tables whose changes move rows from one segment to another, give segments another name, or amounts another worth."""
    names = {*ask.by, *(name for name, _ in ask.where), *(ask.limits & {"team"})}
    dimensions = [dimension_of(measure.entity, name, ask.custom) for name in names]
    found = {dimension.depends_on for dimension in dimensions if dimension is not None}
    found |= {labels_table(name) for name in ask.by}
    found |= {"owner_history"} if names & BASIS else set()
    found |= {"team_memberships", "teams"} if "team" in names else set()
    return found | ({"fx_rates"} if measure.money is not None else set())


def approximations(ask: Ask, dialect: str) -> tuple[str, ...]:
    """Kinds of aggregates among an ask's measures that an engine only estimates: its figures are compared with no other's."""
    return tuple(sorted({measure.agg.kind for measure in ask.definition.measures.values()} & approximate_on(dialect)))


def definition_hash(
    ask: Ask, calendar: Calendar, currency: str, dialect: str = "duckdb", hours: Mapping[str, WorkCalendar] | None = None
) -> str:
    """Changes when the numbers may change though no data did: definition, parameters, configured targets, sample, zone ...

    The engine is part of it only where it estimates, opening hours (``hours``) only where they count.
    """
    measures = {
        name: [measure.agg.kind, str(measure.agg.q), type(measure.clock).__name__, *tables_of(measure.entity)]
        + [str(measure.trailing_days), "" if isinstance(measure.entity, Table) else _entity_text(measure.entity)]
        + [text_of(part) for part in (measure.agg.expression, measure.agg.where, measure.money, *measure.rate_at, measure.lacks)]
        + [text_of(part) for part in (*clock_columns(measure.clock), getattr(measure.clock, "open_when", None))]
        + list(measure.across)
        for name, measure in ask.definition.measures.items()
    }
    parts = {
        "kpi": ask.kpi.id,
        "params": dict(ask.params),
        "measures": measures,
        "formula": code_text(ask.definition.formula),
        "told": [code_text(getattr(ask.definition, name)) for name in ("doubts", "remarks", "interval", "size")],
        "targets": {name: [target.kpi, dict(target.params), target.prorate] for name, target in ask.definition.targets.items()},
        "goals": ask.goals,
        "optional": sorted(ask.definition.optional),
        "horizon": str(ask.definition.horizon),
        "sample": [ask.definition.sample, ask.min_sample],
        "calendar": calendar.identity,
        "currency": currency,
        "where": ask.where,
        **({"engine": dialect} if approximations(ask, dialect) else {}),
        "custom": _custom_texts(ask),
        **({"population": ask.scope.identity} if ask.scope is not None else {}),
    }
    if any(OPEN_HOURS.name in part for texts in measures.values() for part in texts):
        parts["hours"] = [[name, repr(one)] for name, one in sorted((hours or {}).items())]
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


def _custom_texts(ask: Ask) -> list[str]:
    """Where the values of custom dimensions come from."""
    names = sorted({*ask.by, *(name for name, _ in ask.where)} & set(ask.custom))
    found = [dimension_of(measure.entity, name, ask.custom) for measure in ask.definition.measures.values() for name in names]
    return [text_of(dimension.expression) for dimension in found if dimension is not None]


@lru_cache(maxsize=1_024)
def _entity_text(entity: FromClause) -> str:
    return text_of(select(entity))  # type: ignore[arg-type]


def _instants(days: Iterable[date | None]) -> list[datetime]:
    return [datetime.combine(day, time.min, UTC) for day in days if day is not None]
