"""Measures KPIs: runs the plan for the periods that changed and appends what is new to the history; figures on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from kpid.analysis.periods import periods_between
from kpid.config.model import KpiSettings
from kpid.errors import ConfigError, KpidError
from kpid.metrics.compose import define
from kpid.metrics.daily import spread
from kpid.metrics.dialects import compile_statement
from kpid.metrics.dimensions import check_dimensions, dimension_of
from kpid.metrics.due import approximations, definition_hash, due_periods, refuse_audit, wanted_periods
from kpid.metrics.event_dimensions import HISTORIES
from kpid.metrics.labels import Labels
from kpid.metrics.late import Days, days_of_deletions, with_days
from kpid.metrics.making import Maker
from kpid.metrics.plan import Ask, Scan, make_plan
from kpid.metrics.prepared import prepare
from kpid.metrics.results import Answers, entities_of, read_answers, tables_of
from kpid.metrics.scope import Scope, limits_of, remarks_of
from kpid.metrics.scoping import scope_of
from kpid.metrics.setup import MetricsSetup
from kpid.metrics.spine import Setting
from kpid.metrics.targets import Targets, goals_of, read_targets
from kpid.metrics.trust import Coverage
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.entities import ENTITIES, watermarks
from kpid.plugin.expressions import counts
from kpid.store import history
from kpid.store.engine import Store
from kpid.warehouse import Changes

__all__ = ["MeasureResult", "MetricsSetup", "Progress", "figures", "figures_at", "refresh"]
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class MeasureResult:
    """Revisions written, those of finished periods that changed, families measured, and ``(kpi, what went wrong)``."""

    appended: int = 0
    restated: int = 0
    families: int = 0
    problems: tuple[tuple[str, str], ...] = ()


def refresh(
    needs: Iterable[SeriesNeed], setup: MetricsSetup, *, store: Store, now: datetime, progress: Progress | None = None
) -> MeasureResult:
    """Bring the history of all needs up to date.

    Only periods that are new, whose facts changed, or that were not over or not all there are measured; all if a definition
    changed.
    A KPI that cannot be measured is a problem of its own: the others go on.

    Args:
        needs: families of measurements that rules and reports want.
        setup: where the facts are and how to measure them.
        store: where the history is; everything is written in one transaction.
        now: the instant that the measurements are made at.
        progress: told what is being measured.
    """
    tell = progress or _silent
    run = _Run(setup, now)
    due = run.due(_merged(needs), store)
    tell("measure", 0, len(due))
    asks = [one.ask for one in due if one.ask.periods]
    found = run.measure(asks)
    with store.write() as conn:
        appended = restated = 0
        for done, one in enumerate(due, 1):
            measured = found.get(one.ask.need.key, None if one.ask.periods else [])
            if measured is None:
                continue
            kept = [measurement for measurement, _ in measured]
            written = history.append(conn, one.ask.need, kept, periods=one.ask.periods, definition=one.definition, now=now)
            history.save_family(conn, one.ask.need, one.definition, one.position, now)
            appended, restated = appended + written.revisions, restated + written.restated
            tell(f"measure {one.ask.kpi.id}", done, len(due))
    return MeasureResult(appended, restated, len(due), tuple(run.problems))


def figures(
    need: SeriesNeed, setup: MetricsSetup, *, start: datetime, end: datetime, now: datetime, fill: bool = False
) -> list[Measurement]:
    """Measure a need for the periods of ``[start, end)`` that have begun, without touching the history.

    Args:
        need: KPI, period kind and cut; its ``periods`` does not matter.
        setup: where the facts are and how to measure them.
        start: aware instant.
        end: aware instant, exclusive.
        now: the instant that the measurements are made at.
        fill: also give periods and segments without rows.

    Raises:
        ConfigError: the KPI, a parameter, the period or a dimension is unknown.
        KpidError: the warehouse refused.
    """
    run = _Run(setup, now)
    ask = run.ask(need)
    periods = [period for period in periods_between(need.period, start, end, setup.calendar) if period.start <= now]
    if ask.is_now_only:
        periods = [period for period in periods if now < period.end]
    maker = run.maker([replace(ask, periods=tuple(periods))])
    found = list(maker.measurements(0, replace(ask, periods=tuple(periods))))
    if not fill:
        return [measurement for measurement, has_rows in found if has_rows]
    known = {(measurement.period, measurement.dims): measurement for measurement, _ in found}
    segments = sorted({dims for _, dims in known} | ({()} if not ask.by else set()), key=repr)
    return [known.get((period, dims)) or maker.empty(ask, period, dims) for period in periods for dims in segments]


def figures_at(
    needs: Sequence[SeriesNeed], setup: MetricsSetup, periods: Sequence[Period], *, now: datetime
) -> list[list[Measurement]]:
    """Measure several needs for the same few periods in one plan, without touching the history.

    Args:
        needs: KPIs and cuts; their period kinds and ``periods`` do not matter.
        setup: where the facts are and how to measure them.
        periods: the periods to measure, of any kinds and wherever they lie.
        now: the instant that the measurements are made at.

    Returns:
        The measurements of each need, by period, then segment; segments without rows are left out.

    Raises:
        ConfigError: the KPI, a parameter, or a dimension is unknown.
        KpidError: the warehouse refused.
    """
    run = _Run(setup, now)
    asked = [(replace(need, period=period.kind), period) for need in needs for period in periods]
    asks = [replace(run.ask(need), periods=(period,)) for need, period in asked]
    maker = run.maker(asks)
    found = [[one for one, _ in maker.measurements(number, ask)] for number, ask in enumerate(asks)]
    starts = range(0, len(found), len(periods) or 1)
    return [[one for part in found[start : start + len(periods)] for one in part] for start in starts]


@dataclass(frozen=True)
class _Due:
    """An ask with the periods to measure, and what to remember when that is done."""

    ask: Ask
    definition: str
    position: int


class _Run:
    """One run of measuring: what was looked up once is used for all needs."""

    def __init__(self, setup: MetricsSetup, now: datetime) -> None:
        self.setup = setup
        self.now = now
        self.problems: list[tuple[str, str]] = []
        self._changes: dict[int, Changes] = {}
        self._foreign: dict[str, bool] = {}
        self._filled: dict[str, bool] = {}
        self._deletions: dict[tuple[str, datetime], Days] = {}
        self._labels = Labels(setup.warehouse)

    def ask(self, need: SeriesNeed) -> Ask:
        """Make a need concrete.

        Raises:
            ConfigError: the KPI, a parameter or a dimension is unknown.
        """
        kpi = self.setup.kpis.get(need.kpi)
        if kpi is None:
            raise ConfigError(f"there is no KPI {need.kpi!r}", hint="`kpid kpis` lists those that are installed")
        settings = self.setup.settings.get(kpi.id) or KpiSettings.model_validate({})
        params = kpi.params_from({**settings.params, **dict(need.params)})
        definition = define(kpi, params, self.setup.kpis, self._params_of, has_rows=self._has_rows)
        tables = [measure.entity for measure in definition.measures.values()]
        check_dimensions(kpi, tables, [*need.by, *(name for name, _ in need.where)], self.setup.custom)
        min_sample = kpi.least(need.by) if settings.min_sample is None else settings.min_sample
        unknown, is_about_nobody = self._labels.unknown(need)
        where = self._labels.where(need)
        if self.setup.sources is not None and all(table is watermarks for table in tables) and not need.where:
            where = (("source", tuple(sorted(self.setup.sources))),)  # what others have left behind grows old for ever
        ask = Ask(need, kpi, definition, params, min_sample, (), where, unknown, is_about_nobody, self.setup.custom)
        ask = spread(self._scoped(ask), self.setup.calendar, self.now)
        engine = self.setup.warehouse.dialect
        remarks = tuple(f"approximate: the {kind} of {engine}" for kind in approximations(ask, engine))
        return replace(ask, remarks=remarks, goals=goals_of(definition, self.setup.settings, self.setup.kpis))

    @cached_property
    def scope(self) -> Scope | None:
        """Which records count: looked up once."""
        return scope_of(self.setup.population, self.setup.warehouse, self._has_rows)

    def _scoped(self, ask: Ask) -> Ask:
        """The ask, if the population changes anything about it with what there is to say of that."""
        if self.scope is None:
            return ask
        entities = [measure.entity for measure in ask.definition.measures.values()]
        tables = {name for entity in entities for name in tables_of(entity)}
        has_team = any(dimension_of(entity, "team") is not None for entity in entities)
        limits = limits_of(self.scope, tables, has_team=has_team)
        if not limits:
            return ask
        remarks, is_nowhere = remarks_of(self.scope, limits)
        about_nobody = ask.is_about_nobody or is_nowhere
        return replace(ask, scope=self.scope, limits=limits, unknown=(*remarks, *ask.unknown), is_about_nobody=about_nobody)

    def _params_of(self, kpi: str) -> Mapping[str, str]:
        settings = self.setup.settings.get(kpi)
        return settings.params if settings is not None else {}

    def due(self, needs: Sequence[SeriesNeed], store: Store) -> list[_Due]:
        """What has to be measured; needs that cannot be are noted as problems."""
        found = []
        with store.read() as conn:
            for need in needs:
                setup = self.setup
                dialect, hours = setup.warehouse.dialect, setup.calendars
                try:
                    ask = refuse_audit(self.ask(need))
                    definition = definition_hash(ask, setup.calendar, setup.money, dialect, hours)
                except (KpidError, SQLAlchemyError) as error:
                    self.problems.append((need.kpi, str(error)))
                    continue
                family = history.family(conn, need)
                changes = self._changes_since(family.seen_change if family else 0)
                if family is not None:
                    changes = with_days(changes, self._days_of_deletions(ask, family.measured_at))
                known = family is not None and family.definition == definition
                measured = history.measured_periods(conn, need) if family else {}
                wanted = wanted_periods(need, self.now, self.setup.calendar, is_now_only=ask.is_now_only)
                periods = due_periods(ask, wanted, measured, changes if known else None, self.now)
                found.append(_Due(replace(ask, periods=tuple(periods)), definition, changes.position))
        return found

    def measure(self, asks: Sequence[Ask]) -> dict[str, list[tuple[Measurement, bool]]]:
        """Measurements by need; if the whole plan fails, each ask is tried by itself."""
        try:
            maker = self.maker(asks)
            return {ask.need.key: list(maker.measurements(number, ask)) for number, ask in enumerate(asks)}
        except (KpidError, SQLAlchemyError) as error:
            if len(asks) <= 1:
                self.problems += [(ask.kpi.id, str(error)) for ask in asks]
                return {}
        found: dict[str, list[tuple[Measurement, bool]]] = {}
        for ask in asks:
            found |= self.measure([ask])
        return found

    def maker(self, asks: Sequence[Ask]) -> Maker:
        """Run the plan of some asks."""
        plan = make_plan(asks)
        foreign = frozenset(str(scan.entity.description) for scan in plan.scans if self._has_foreign(scan))
        setting = self._setting(foreign)
        answers = [self._answer(scan, setting) for scan in plan.scans]
        configured = self.setup.sources
        marks = [mark for mark in self.setup.warehouse.watermarks() if configured is None or mark.source in configured]
        coverage = Coverage(marks, self.setup.max_ages)
        labels = self._labels.of(asks, answers)
        return Maker(plan, answers, coverage, labels, self.setup.currency, self.now, self._targets(asks))

    def _setting(self, foreign: frozenset[str] = frozenset()) -> Setting:
        of, time, history = self.setup, self.setup.calendar, self._history()
        zone, scope = time.timezone, self.scope
        return Setting(self.now, zone, of.currency, foreign, of.calendars, history, of.custom, of.rate_day, time, scope)

    def _history(self) -> frozenset[str]:
        """The histories of owners and teams that have rows, if events count for the owner of then."""
        is_current = self.setup.owner_basis == "current"
        return frozenset() if is_current else frozenset(name for name in HISTORIES if self._has_rows(name))

    def _has_rows(self, table: str) -> bool:
        """Whether a canonical table has any rows: looked up once."""
        if table not in self._filled:
            statement = select(ENTITIES[table].c.id).limit(1)
            found = self.setup.warehouse.query(*compile_statement(statement, self.setup.warehouse.dialect))
            self._filled[table] = found.num_rows > 0
        return self._filled[table]

    def _targets(self, asks: Sequence[Ask]) -> Targets:
        is_wanted = any(ask.definition.targets for ask in asks)
        rows = read_targets(self.setup.warehouse, self.now) if is_wanted else []
        return Targets(
            rows, self.setup.settings, self.setup.kpis, self.setup.calendar, self.setup.currency, self.setup.calendars.get("")
        )

    def _answer(self, scan: Scan, setting: Setting) -> Answers:
        if scan.is_empty:
            return Answers((), ())
        statement, sql, parameters = prepare(scan, setting, self.setup.warehouse.dialect)
        table = self.setup.warehouse.query(sql, parameters)
        rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
        return read_answers(statement, table.column_names, rows, is_now=scan.mode == "now")

    def _changes_since(self, position: int) -> Changes:
        if position not in self._changes:
            self._changes[position] = self.setup.warehouse.changes(position)
        return self._changes[position]

    def _days_of_deletions(self, ask: Ask, after: datetime) -> Days:
        is_money = any(measure.money is not None for measure in ask.definition.measures.values())
        beside = {"fx_rates": is_money, "targets": bool(ask.definition.targets)}
        found: Days = {}
        for entity in {*entities_of(ask), *(name for name, is_read in beside.items() if is_read)} & ENTITIES.keys():
            if (entity, after) not in self._deletions:
                self._deletions[entity, after] = days_of_deletions(self.setup.warehouse, entity, after, self.now)
            found |= self._deletions[entity, after]
        return found

    def _has_foreign(self, scan: Scan) -> bool:
        """Whether an entity has amounts in another currency than the reporting one."""
        name = str(scan.entity.description)
        for money in (measure.money for measure in scan.measures if measure.money is not None):
            if not self._foreign.get(name):
                alive = counts(scan.entity)
                statement = select(money).select_from(scan.entity).where(money != self.setup.currency, *alive).limit(1)
                values = {**self._setting().values, **scan.values}
                sql, parameters = compile_statement(statement, self.setup.warehouse.dialect, values)
                self._foreign[name] = self.setup.warehouse.query(sql, parameters).num_rows > 0
        return self._foreign.get(name, False)


def _merged(needs: Iterable[SeriesNeed]) -> list[SeriesNeed]:
    """Each family once, as far back as any need wants it."""
    merged: dict[str, SeriesNeed] = {}
    for need in needs:
        known = merged.get(need.key)
        if known is None or known.periods < need.periods:
            merged[need.key] = need
    return list(merged.values())


def _silent(what: str, done: int, total: int | None) -> None:
    """Nobody wants to know."""
