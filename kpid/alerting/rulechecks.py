"""Runs rule tests: what the rule finds of the figures, against what the test expects.

The figures go through the walk that judges live (:mod:`kpid.alerting.replay`): what passes here happens there. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.outcomes import Outcome
from kpid.alerting.replay import Judged, Replayed, replay
from kpid.alerting.rules import RulePlan, plan_of
from kpid.alerting.ruletests import DATA, ExpectedNotice, RuleTest, Suite
from kpid.alerting.series import Data, SeriesState, Status
from kpid.alerting.written_series import Family, WrittenSeries, measured, series_from
from kpid.analysis.periods import periods_between
from kpid.config.alerting import Rule
from kpid.config.problems import each_error, near_miss, raise_errors
from kpid.errors import ConfigError
from kpid.model import Dims, Level, Period

_LINE = "; "
_WHOLE = "the rule"
Ways = Callable[[Rule, Level, Dims], Sequence[str]]
"""Who is told of a rule's series at a level, as in ``to:`` of a rule."""


@dataclass(frozen=True, slots=True)
class Line:
    """One period of one series, as it was found."""

    at: int
    period: str
    segment: str
    state: str
    events: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class TestedRule:
    """The result of one test: what differs, and what was found of each period."""

    name: str
    rule: str
    where: str
    differences: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class _Told:
    at: int
    kind: str
    segment: str
    level: str
    to: tuple[str, ...]

    def text(self) -> str:
        """``fired warn of ana at 3``."""
        level = "" if self.level == "none" else f" {self.level}"
        return f"{self.kind}{level} of {self.segment or _WHOLE} at {self.at}"


@dataclass
class RuleTester:
    """Runs suites. A rule that several tests are of is made ready once.

    Attributes:
        setup: KPIs, their settings, how time is cut.
        ways: who is told; what the rule says itself if None.
    """

    setup: AlertingSetup
    ways: Ways | None = None
    _plans: dict[str, tuple[RulePlan, Family]] = field(default_factory=dict)
    _periods: dict[tuple[str, date], list[Period]] = field(default_factory=dict)

    def run(self, suite: Suite) -> list[TestedRule]:
        """Run the tests of a file.

        Raises:
            ConfigError: a rule or a series cannot be read: all mistakes of the file are told.
        """
        self._plans.clear()
        results: list[TestedRule] = []
        errors: list[ConfigError] = []
        for number, test in enumerate(suite.tests):
            try:
                results.append(self._run(suite, number, test))
            except ConfigError as error:
                errors.extend(each_error(error))
        raise_errors(errors)
        return results

    def _run(self, suite: Suite, number: int, test: RuleTest) -> TestedRule:
        plan, family = self._ready(suite, number, test)
        series = _series(suite, number, test, family)
        periods = self._first(plan.need.period, test.start, max(one.length for one in series))
        try:
            figures = [figure for one in series for figure in measured(one, family, periods, self.setup.calendar)]
        except ValueError as error:
            raise ConfigError(str(error), where=suite.place("tests", number, "series")) from None
        found = replay(plan, figures, periods, self.setup.calendar)
        names = {one.dims: one.label for one in series}
        lines = tuple(_lines(found, names, periods))
        differences = [*_states(suite, number, test, found, names, periods), *self._notices(test, plan, found, names, periods)]
        return TestedRule(test.name, test.rule, suite.place("tests", number), tuple(differences), lines)

    def _ready(self, suite: Suite, number: int, test: RuleTest) -> tuple[RulePlan, Family]:
        if test.rule not in self._plans:
            rule, where = suite.rules[test.rule], suite.place("tests", number, "rule")
            if rule.absence is not None:
                hint = "What does not come is seen by the clock, not in figures: there is nothing to write down"
                raise ConfigError(f"rule {rule.name} looks at no KPI", where=where, hint=hint)
            kpi = self.setup.kpis.get(rule.kpi)
            if kpi is None:
                hint = near_miss(rule.kpi, self.setup.kpis, what="`kpid kpis` lists")
                raise ConfigError(f"rule {rule.name}: there is no KPI {rule.kpi!r}", where=where, hint=hint)
            self._plans[test.rule] = _ready(rule, plan_of(rule, kpi, self.setup.settings.get(rule.kpi)), self.setup)
        return self._plans[test.rule]

    def _first(self, kind: str, start: date, count: int) -> list[Period]:
        """The first periods of a kind from a day on."""
        known = self._periods.get((kind, start), [])
        length = timedelta(days=count)
        while len(known) < count:
            first, last = (self.setup.calendar.midnight(day) for day in (start, start + length))
            known = self._periods[kind, start] = periods_between(kind, first, last, self.setup.calendar)
            length *= 2
        return known[:count]

    def _notices(
        self, test: RuleTest, plan: RulePlan, found: Replayed, names: Mapping[Dims, str], periods: Sequence[Period]
    ) -> Iterator[str]:
        if test.notices is None:
            return
        told = self._told(plan, found, names, periods)
        for wanted in test.notices:
            match = next((one for one in told if _is(one, wanted)), None)
            if match is None:
                said = _LINE.join(one.text() for one in told if one.at == wanted.at) or "nobody was told anything"
                yield f"notices: expected {_wanted(wanted)}; at {wanted.at}: {said}"
                continue
            told.remove(match)
            strange = [way for way in wanted.to if way not in match.to]
            if strange:
                yield f"notices: {match.text()}: expected to {', '.join(strange)}, it goes to {', '.join(match.to) or 'nobody'}"
        yield from (f"notices: not expected: {one.text()}, to {', '.join(one.to) or 'nobody'}" for one in told)

    def _told(self, plan: RulePlan, found: Replayed, names: Mapping[Dims, str], periods: Sequence[Period]) -> list[_Told]:
        places = {period.end: place for place, period in enumerate(periods, 1)}
        told = [
            _Told(places[one.slot.at], turn.kind, names[story.dims], level, tuple(self._to(plan.rule, Level(level), story.dims)))
            for story in found.stories
            for one in story.judged
            for turn in one.told
            for level in ((turn.level if turn.level is not Level.NONE else turn.level_was).value,)
        ]
        told += [
            _Told(places[turn.slot.at], turn.kind, "", "warn", tuple(self._to(plan.rule, Level.WARN, ())))
            for turn in found.health
        ]
        return sorted(told, key=lambda one: (one.at, one.segment))

    def _to(self, rule: Rule, level: Level, dims: Dims) -> Sequence[str]:
        return rule.to if self.ways is None else self.ways(rule, level, dims)


def _ready(rule: Rule, plan: RulePlan, setup: AlertingSetup) -> tuple[RulePlan, Family]:
    settings, kpi = setup.settings.get(rule.kpi), plan.kpi
    definition = kpi.definition({**(settings.params if settings else {}), **rule.params})
    least = kpi.least(rule.by) if settings is None or settings.min_sample is None else settings.min_sample
    enough = max(least, rule.min_sample or 0, 1)
    return plan, Family(kpi, definition, plan.conditions.kpi_unit, tuple(rule.by), least, enough)


def _series(suite: Suite, number: int, test: RuleTest, family: Family) -> list[WrittenSeries]:
    errors: list[ConfigError] = []
    found: list[WrittenSeries] = []
    for place, given in enumerate(test.series):
        where = suite.place("tests", number, "series", place)
        try:
            one = series_from(given, family)
        except ValueError as error:
            errors.append(ConfigError(str(error), where=where))
            continue
        if any(one.dims == other.dims for other in found):
            errors.append(ConfigError(f"there are two series of {one.label}", where=where, hint="Write them as one"))
        found.append(one)
    raise_errors(errors)
    return found


def _lines(found: Replayed, names: Mapping[Dims, str], periods: Sequence[Period]) -> Iterator[Line]:
    places = {period.end: place for place, period in enumerate(periods, 1)}
    for story in found.stories:
        for one in story.judged:
            kinds = tuple(event.kind.value for event in one.events)
            state = _state_text(one.after)
            yield Line(places[one.slot.at], one.slot.label, names[story.dims], state, kinds, one.outcome.reason)


def _states(
    suite: Suite, number: int, test: RuleTest, found: Replayed, names: Mapping[Dims, str], periods: Sequence[Period]
) -> Iterator[str]:
    stories = {names[story.dims]: story.judged for story in found.stories}
    labels = set(names.values())
    for place, states in test.expect.items():
        where = suite.place("tests", number, "expect", str(place))
        if not 1 <= place <= len(periods):
            raise ConfigError(f"there is no period {place}: the series have {len(periods)}", where=where)
        wanted = {name: text for name, text in states.items() if name in labels}
        for name in set(states) - set(wanted) - {DATA}:
            raise ConfigError(f"there is no series {name!r}", where=where, hint=near_miss(name, labels, what="There are"))
        if DATA in states and DATA not in labels:
            wanted = {name: f"{wanted.get(name, '')} {states[DATA]}" for name in wanted or labels}
        period = periods[place - 1]
        for name, text in sorted(wanted.items()):
            state, outcome = _at(stories.get(name, ()), period)
            if not set(text.split()) <= _words(state, outcome):
                why = f" ({outcome.reason})" if outcome is not None and outcome.reason else ""
                yield f"{place} ({period.label}) {name}: expected {' '.join(text.split())}, found {_state_text(state)}{why}"


def _at(judged: Sequence[Judged], period: Period) -> tuple[SeriesState, Outcome | None]:
    """Where a series stands after a period: as it stood before, if nothing was judged then."""
    passed = [one for one in judged if one.slot.at <= period.end]
    if not passed:
        return SeriesState(), None
    return passed[-1].after, passed[-1].outcome if passed[-1].slot.at == period.end else None


def _words(state: SeriesState, outcome: Outcome | None) -> set[str]:
    """All that is true of a series."""
    said = {state.status.value, state.level.value, state.data.value}
    if outcome is not None:
        said.add(outcome.kind.value)
    return said | ({"forgotten"} if state.forgotten else set())


def _state_text(state: SeriesState) -> str:
    level = "" if state.level is Level.NONE else f" {state.level.value}"
    data = "" if state.data is Data.FRESH else f" {state.data.value}"
    return ("forgotten" if state.forgotten and state.status is Status.OK else f"{state.status.value}{level}") + data


def _is(told: _Told, wanted: ExpectedNotice) -> bool:
    return (
        (told.at, told.kind) == (wanted.at, wanted.kind)
        and wanted.level in {None, told.level}
        and wanted.segment in {None, told.segment}
    )


def _wanted(wanted: ExpectedNotice) -> str:
    level, segment = (f" {wanted.level}" if wanted.level else "", f" of {wanted.segment}" if wanted.segment else "")
    return f"{wanted.kind.value}{level}{segment} at {wanted.at}"
