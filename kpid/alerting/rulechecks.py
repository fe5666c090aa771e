"""Runs rule tests: what the rule finds of the figures, against what the test expects.

The figures go through the walk that judges live (:mod:`kpid.alerting.replay`): what passes here happens there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.matchers import labels_of
from kpid.alerting.outcomes import Outcome
from kpid.alerting.replay import Judged, Replayed, replay
from kpid.alerting.routes import ways_of
from kpid.alerting.ruletests import DATA, ExpectedNotice, RuleTest, Suite
from kpid.alerting.scenes import Scene, Stage
from kpid.alerting.series import Data, EventKind, SeriesState, Status
from kpid.config.alerting import Rule
from kpid.config.problems import each_error, near_miss, raise_errors
from kpid.errors import ConfigError
from kpid.model import Dims, Level, Notice, NoticeItem, Period, segment_label
from kpid.store.notices import ENDING, OPENING

_LINE = "; "
_WHOLE = "the rule"


class Line(NamedTuple):
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


@dataclass(frozen=True)
class RuleTester:
    """Runs suites. ``setup``: KPIs, their settings, routes, how time is cut."""

    setup: AlertingSetup

    def run(self, suite: Suite) -> list[TestedRule]:
        """Run the tests of a file.

        Raises:
            ConfigError: a rule or a series cannot be read: all mistakes of the file are told.
        """
        stage = Stage(suite, self.setup)
        results: list[TestedRule] = []
        errors: list[ConfigError] = []
        for number, test in enumerate(suite.tests):
            try:
                results.append(self._run(stage, number, test))
            except ConfigError as error:
                errors.extend(each_error(error))
        raise_errors(errors)
        return results

    def _run(self, stage: Stage, number: int, test: RuleTest) -> TestedRule:
        scene, suite = stage.scene(number, test), stage.suite
        found = replay(scene.plan, scene.facts, self.setup.calendar, scene.setup, stage.times)
        differences = [*_states(suite, number, test, found, scene), *self._notices(test, found, scene)]
        return TestedRule(test.name, test.rule, suite.place("tests", number), tuple(differences), tuple(_lines(found, scene)))

    def _notices(self, test: RuleTest, found: Replayed, scene: Scene) -> Iterator[str]:
        if test.notices is None:
            return
        told = self._told(found, scene)
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

    def _told(self, found: Replayed, scene: Scene) -> list[_Told]:
        places = {period.end: place for place, period in enumerate(scene.periods, 1)}
        told = []
        for story in found.stories:
            heard: list[str] = []
            for slot, event in ((one.slot, event) for one in story.judged for event in one.told):
                level = event.level if event.level is not Level.NONE else event.level_was
                to = self._to(scene.plan.rule, event.kind.value, level, story.dims, slot.at)
                if event.kind in OPENING:
                    heard = [] if event.kind is EventKind.FIRED else heard
                    heard += [way for way in to if way not in heard]
                told.append(
                    _Told(
                        places[slot.at],
                        event.kind.value,
                        scene.names[story.dims],
                        level.value,
                        tuple(heard if event.kind in ENDING and heard else to),
                    )
                )
        for turn in found.health:
            to = self._to(scene.plan.rule, turn.kind.value, Level.WARN, (), turn.slot.at)
            told.append(_Told(places[turn.slot.at], turn.kind.value, "", "warn", tuple(to)))
        return sorted(told, key=lambda one: (one.at, one.segment))

    def _to(self, rule: Rule, kind: str, level: Level, dims: Dims, at: datetime) -> list[str]:
        """Who hears of it: by the first route that matches, or as the rule says."""
        if not self.setup.routes:
            return list(rule.to)
        is_health = not dims and kind in {"unhealthy", "healthy"}
        named = (*rule.labels.items(), *([("kind", "health")] if is_health else []))
        about = "health" if is_health else "alert"
        notice = Notice(
            rule.name, rule.kpi, "", "", None, "none", "", (), rule.period, (), at, None, at,
            labels=tuple(sorted(named)), kind=about, uid=rule.uid,
        )  # fmt: skip
        ids = tuple((segment.dimension, segment.id) for segment in dims)
        item = NoticeItem(kind, "", segment_label(dims) if dims else "", level, 0, None, 0, "", None, None, "", "", "", dims=ids)
        names = {segment.dimension: segment.name for segment in dims}
        labels = labels_of(notice, item, self.setup.sources_of(rule.kpi), names)
        return [way.to for way in ways_of(labels, rule.to, self.setup.routes)]


def _lines(found: Replayed, scene: Scene) -> Iterator[Line]:
    places = {period.end: place for place, period in enumerate(scene.periods, 1)}
    for story in found.stories:
        for one in story.judged:
            kinds = tuple(event.kind.value for event in one.events)
            state = _state_text(one.after)
            yield Line(places[one.slot.at], one.slot.label, scene.names[story.dims], state, kinds, one.outcome.reason)


def _states(suite: Suite, number: int, test: RuleTest, found: Replayed, scene: Scene) -> Iterator[str]:
    stories = {scene.names[story.dims]: story.judged for story in found.stories}
    for place, states in test.expect.items():
        wanted = _expected(place, states, scene, suite.place("tests", number, "expect", str(place)))
        period = scene.periods[place - 1]
        for name, text in sorted(wanted.items()):
            state, outcome = _at(stories.get(name, ()), period)
            if not set(text.split()) <= _words(state, outcome):
                why = f" ({outcome.reason})" if outcome is not None and outcome.reason else ""
                yield f"{place} ({period.label}) {name}: expected {' '.join(text.split())}, found {_state_text(state)}{why}"


def _expected(place: int, states: Mapping[str, str], scene: Scene, where: str) -> dict[str, str]:
    """What is expected of each series after a period, with what is said of the data of all of them.

    Raises:
        ConfigError: there is no such period or series.
    """
    if not 1 <= place <= len(scene.periods):
        raise ConfigError(f"there is no period {place}: the series have {len(scene.periods)}", where=where)
    labels = set(scene.names.values())
    wanted = {name: text for name, text in states.items() if name in labels}
    for name in set(states) - set(wanted) - {DATA}:
        raise ConfigError(f"there is no series {name!r}", where=where, hint=near_miss(name, labels, what="There are"))
    if DATA in states and DATA not in labels:
        return {name: f"{wanted.get(name, '')} {states[DATA]}" for name in wanted or labels}
    return wanted


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
