"""A rule test made ready: the rule's plan, and all its figures as the walk takes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from kpid.alerting.absence import plan_of as plan_of_absence
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Facts, Times
from kpid.alerting.replay import Past, facts_of
from kpid.alerting.rules import RulePlan, plan_of
from kpid.alerting.ruletests import RuleTest, Suite
from kpid.alerting.written_arrivals import WrittenArrivals, arrivals_from
from kpid.alerting.written_series import Family, WrittenSeries, measured, series_from
from kpid.analysis.periods import last_complete, periods_between
from kpid.config.alerting import Rule
from kpid.config.problems import near_miss, raise_errors
from kpid.errors import ConfigError
from kpid.model import Dims, Measurement, Period, SeriesNeed

_DAY = "day"
_ABOUT = ("rule", "kpi", "period", "start")
"""What a series may say besides its segment and its figures: which rule's and KPI's they are, of which periods, from when on."""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that one test is run with.

    Attributes:
        plan: the rule.
        past: all figures.
        setup: with the targets that the test says.
        periods: those that the test is about, oldest first.
        names: what the test calls the series, by segment.
        arrivals: of a rule on absence: what came and what did not.
    """

    plan: RulePlan
    past: Past
    setup: AlertingSetup
    periods: Sequence[Period]
    names: Mapping[Dims, str]
    arrivals: Sequence[WrittenArrivals] = ()

    @property
    def facts(self) -> Facts:
        """The figures as the walk takes them."""
        return facts_of(self.past, self.periods)

    def slot_at(self, place: int) -> datetime:
        """When a period is judged, by its place from 0."""
        return self.periods[place].end + self.plan.settle


@dataclass
class _Columns:
    """The series of a test, sorted by what they are."""

    own: list[WrittenSeries] = field(default_factory=list)
    total: list[WrittenSeries] = field(default_factory=list)
    members: list[tuple[int, WrittenSeries]] = field(default_factory=list)
    days: list[tuple[date, WrittenSeries]] = field(default_factory=list)

    def is_twice(self, kind: str, key: object, dims: Dims) -> bool:
        """Whether there is such a series already."""
        known: Any = {"own": self.own, "total": self.total}.get(kind)
        if known is not None:
            return any(one.dims == dims for one in known)
        return any(place == key and one.dims == dims for place, one in self.members if kind == "member")


@dataclass
class Stage:
    """Makes scenes of the tests of one file. A rule that several tests are of is made ready once.

    Attributes:
        suite: the tests.
        setup: KPIs, their settings, how time is cut.
        times: what is known of periods already.
    """

    suite: Suite
    setup: AlertingSetup
    times: Times = field(init=False)
    _plans: dict[str, RulePlan] = field(default_factory=dict)
    _families: dict[SeriesNeed, Family] = field(default_factory=dict)
    _periods: dict[tuple[str, date], list[Period]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times = Times(self.setup.calendar)

    def scene(self, number: int, test: RuleTest, name: str = "") -> Scene:
        """Make a test ready.

        Args:
            number: of the test.
            test: itself.
            name: of one of the other rules that are tested with the test's own.

        Raises:
            ConfigError: its rule or a series of it cannot be read: all mistakes are told.
        """
        plan = self._plan(number, name or test.rule)
        if plan.rule.absence is not None:
            return self._absence(number, test, plan)
        columns = self._read(number, test, plan)
        if not columns.own:
            where = self.suite.place("tests", number, "series")
            raise ConfigError(
                f"there is no series of rule {plan.rule.name}", where=where, hint=f"It is one by {', '.join(plan.need.by)}"
            )
        periods = self.first_periods(plan.need.period, test.start, max(one.length for one in columns.own))
        try:
            past = self._past(plan, columns, periods)
        except ValueError as error:
            raise ConfigError(str(error), where=self.suite.place("tests", number, "series")) from None
        has_targets = any("target" in one.columns for one in columns.own)
        setup = replace(self.setup, targets=_targets(columns.own, periods)) if has_targets else self.setup
        return Scene(plan, past, setup, periods, {one.dims: one.label for one in columns.own})

    def _absence(self, number: int, test: RuleTest, plan: RulePlan) -> Scene:
        """What came and what did not, hour by hour."""
        found: list[WrittenArrivals] = []
        errors = []
        for place, given in self._series_of(test, plan.rule.name):
            try:
                one = arrivals_from(
                    {name: value for name, value in given.items() if name != "rule"}, plan.rule, self.setup.expected
                )
                if any(other.dims == one.dims for other in found):
                    raise ValueError(f"there are two series of {one.name}: write them as one")
                found.append(one)
            except ValueError as error:
                errors.append(ConfigError(str(error), where=self.suite.place("tests", number, "series", place)))
        raise_errors(errors)
        hours = self.first_periods(plan.need.period, test.start, max(len(one.cells) for one in found))
        return Scene(plan, Past(()), self.setup, hours, {one.dims: one.name for one in found}, found)

    def _plan(self, number: int, name: str) -> RulePlan:
        if name not in self._plans:
            self._plans[name] = self._made_ready(self.suite.rules[name], self.suite.place("tests", number, "rule"))
        return self._plans[name]

    def remade(self, rule: Rule, where: str) -> RulePlan:
        """A rule that is edited in the middle of a test, made ready.

        Raises:
            ConfigError: it cannot be judged.
        """
        return self._made_ready(rule, where)

    def _series_of(self, test: RuleTest, name: str) -> list[tuple[int, Mapping[str, Any]]]:
        """The series of one of the rules of a test, with their places; there is at least one."""
        return [(place, given) for place, given in enumerate(test.series) if given.get("rule", test.rule) == name]

    def _made_ready(self, rule: Rule, where: str) -> RulePlan:
        if rule.absence is not None:
            return plan_of_absence(rule)
        kpis, settings = self.setup.kpis, self.setup.settings
        if rule.kpi not in kpis:
            hint = near_miss(rule.kpi, kpis, what="`kpid kpis` lists")
            raise ConfigError(f"rule {rule.name}: there is no KPI {rule.kpi!r}", where=where, hint=hint)
        try:
            return plan_of(rule, kpis[rule.kpi], settings.get(rule.kpi), kpis=kpis, all_settings=settings)
        except ConfigError as error:
            raise ConfigError(f"rule {rule.name}: {error.what}", where=where, hint=error.hint) from error

    def _read(self, number: int, test: RuleTest, plan: RulePlan) -> _Columns:
        columns, errors = _Columns(), []
        for place, given in self._series_of(test, plan.rule.name):
            where = self.suite.place("tests", number, "series", place)
            try:
                self._sort(given, test, plan, columns)
            except ValueError as error:
                errors.append(ConfigError(str(error), where=where))
        raise_errors(errors)
        return columns

    def _sort(self, given: Mapping[str, Any], test: RuleTest, plan: RulePlan, columns: _Columns) -> None:
        """Read a series, and put it where it belongs."""
        kind, key, need = _meant(given, plan, test.start)
        series = series_from({name: value for name, value in given.items() if name not in _ABOUT}, self.family(need, plan))
        if columns.is_twice(kind, key, series.dims):
            raise ValueError(f"there are two series of {series.label}: write them as one")
        match kind:
            case "own":
                columns.own.append(series)
            case "total":
                columns.total.append(series)
            case "member":
                columns.members.append((key, series))
            case _:
                columns.days.append((key, series))

    def family(self, need: SeriesNeed, plan: RulePlan) -> Family:
        """What figures of a need are figures of."""
        if need not in self._families:
            kpi, settings, rule = self.setup.kpis[need.kpi], self.setup.settings.get(need.kpi), plan.rule
            definition = kpi.definition({**(settings.params if settings else {}), **dict(need.params)})
            least = kpi.least(need.by) if settings is None or settings.min_sample is None else settings.min_sample
            enough = max(least, rule.min_sample or 0, 1)
            self._families[need] = Family(kpi, definition, definition.unit or kpi.unit, need.by, least, enough)
        return self._families[need]

    def _past(self, plan: RulePlan, columns: _Columns, periods: Sequence[Period]) -> Past:
        def made(need: SeriesNeed | None, series: WrittenSeries, spans: Sequence[Period]) -> list[Measurement]:
            return [] if need is None else measured(series, self.family(need, plan), spans, self.setup.calendar)

        members: list[list[Measurement]] = [[] for _ in plan.members]
        for place, series in columns.members:
            need = plan.members[place]
            spans = [last_complete(need.period, period.end, self.setup.calendar)[0] for period in periods]
            members[place].extend(made(need, series, spans))
        days = [
            one
            for start, series in columns.days
            for one in made(plan.days, series, self.first_periods(_DAY, start, series.length))
        ]
        return Past(
            figures=[figure for series in columns.own for figure in made(plan.need, series, periods)],
            total=[figure for series in columns.total for figure in made(plan.total, series, periods)],
            members=members,
            days=sorted(days, key=lambda figure: figure.period.start),
        )

    def first_periods(self, kind: str, start: date, count: int) -> list[Period]:
        """The first periods of a kind from a day on."""
        known = self._periods.get((kind, start), [])
        length = timedelta(days=count)
        while len(known) < count:
            first, last = (self.setup.calendar.midnight(day) for day in (start, start + length))
            known = self._periods[kind, start] = periods_between(kind, first, last, self.setup.calendar)
            length *= 2
        return known[:count]


def _meant(given: Mapping[str, Any], plan: RulePlan, start: date) -> tuple[str, Any, SeriesNeed]:
    """Which family a series is of: its kind, what tells it from others of that kind, and the need."""
    if "kpi" in given and given["kpi"] != plan.need.kpi:
        for place, need in enumerate(plan.members):
            if given["kpi"] == need.kpi and given.get("period", need.period) == need.period:
                return "member", place, need
        raise ValueError(f"kpi: the rule does not look at {given['kpi']}")
    if given.get("period", plan.need.period) not in {plan.need.period, plan.rule.period}:
        if given["period"] == _DAY and plan.days is not None:
            return "days", _day(given.get("start"), start), plan.days
        raise ValueError(f"period: the rule does not look at figures of a {given['period']}")
    if plan.total is not None and plan.need.by and not any(name in given for name in plan.need.by):
        return "total", None, plan.total
    if plan.need.by and not any(name in given for name in plan.need.by):
        raise ValueError(f"{plan.need.by[0]}: is missing: the rule has one series by {', '.join(plan.need.by)}")
    return "own", None, plan.need


def _day(text: object, default: date) -> date:
    try:
        return default if text is None else date.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"start: {text!r} is not a day: write 2026-01-05") from None


def _targets(series: Sequence[WrittenSeries], periods: Sequence[Period]) -> Any:
    """What each series ought to reach, as the test says it."""
    places = {period.end: place for place, period in enumerate(periods)}
    by_dims = {one.dims: one for one in series}

    def target(need: SeriesNeed, period: Period, dims: Dims, now: datetime) -> Decimal | None:
        one = by_dims.get(dims)
        return None if one is None or now not in places else one.target(places[now])

    return target
