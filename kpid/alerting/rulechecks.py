"""Runs rule tests: what the rule finds of the figures, against what the test expects.

The figures go through the walk that judges live (:mod:`kpid.alerting.replay`): what passes here happens there. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.matchers import labels_of
from kpid.alerting.outcomes import Outcome
from kpid.alerting.replay import Judged, Replayed, replay
from kpid.alerting.routes import ways_of
from kpid.alerting.ruleresults import Line, TestedRule, expected_of, state_text, words_of
from kpid.alerting.ruletests import RuleTest, Suite
from kpid.alerting.scenes import Scene, Stage
from kpid.alerting.series import EventKind, SeriesState
from kpid.alerting.stage_setup import with_routes
from kpid.alerting.steps import ExpectedNotice
from kpid.config.alerting import Rule
from kpid.config.problems import each_error, raise_errors
from kpid.errors import ConfigError
from kpid.model import Dims, Level, Notice, NoticeItem, Period, segment_label
from kpid.store.notices import ENDING, OPENING

if TYPE_CHECKING:
    from kpid.alerting.tellings import Theatre

_LINE = "; "
_WHOLE = "the rule"


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
        stage = Stage(suite, with_routes(self.setup, suite))
        results: list[TestedRule] = []
        errors: list[ConfigError] = []
        with ExitStack() as stack:
            theatre: Theatre | None = None
            for number, test in enumerate(suite.tests):
                is_timed = test.needs_clock or suite.rules[test.rule].absence is not None
                if is_timed and theatre is None:
                    theatre = stack.enter_context(_theatre())
                try:
                    run = theatre.play if theatre is not None and is_timed else self._run
                    results.append(run(stage, number, test))
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
                to = self._to(scene.setup, scene.plan.rule, event.kind.value, level, story.dims, slot.at)
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
            to = self._to(scene.setup, scene.plan.rule, turn.kind.value, Level.WARN, (), turn.slot.at)
            told.append(_Told(places[turn.slot.at], turn.kind.value, "", "warn", tuple(to)))
        return sorted(told, key=lambda one: (one.at, one.segment))

    def _to(self, setup: AlertingSetup, rule: Rule, kind: str, level: Level, dims: Dims, at: datetime) -> list[str]:
        """Who hears of it: by the first route that matches, or as the rule says."""
        if not setup.routes:
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
        labels = labels_of(notice, item, setup.sources_of(rule.kpi), names)
        return [way.to for way in ways_of(labels, rule.to, setup.routes)]


def _theatre() -> Theatre:
    """Where tests are played in which more happens than figures. What that takes is loaded only if there are any."""
    from kpid.alerting.tellings import Theatre  # noqa: PLC0415 - most files need not wait for it

    return Theatre()


def _lines(found: Replayed, scene: Scene) -> Iterator[Line]:
    places = {period.end: place for place, period in enumerate(scene.periods, 1)}
    for story in found.stories:
        for one in story.judged:
            kinds = tuple(event.kind.value for event in one.events)
            state = state_text(one.after)
            yield Line(places[one.slot.at], one.slot.label, scene.names[story.dims], state, kinds, one.outcome.reason)


def _states(suite: Suite, number: int, test: RuleTest, found: Replayed, scene: Scene) -> Iterator[str]:
    stories = {scene.names[story.dims]: story.judged for story in found.stories}
    for place, states in test.expect.items():
        wanted = expected_of(place, states, scene, suite.place("tests", number, "expect", str(place)))
        period = scene.periods[place - 1]
        for name, text in sorted(wanted.items()):
            state, outcome = _at(stories.get(name, ()), period)
            if not set(text.split()) <= words_of(state, outcome):
                why = f" ({outcome.reason})" if outcome is not None and outcome.reason else ""
                yield f"{place} ({period.label}) {name}: expected {' '.join(text.split())}, found {state_text(state)}{why}"


def _at(judged: Sequence[Judged], period: Period) -> tuple[SeriesState, Outcome | None]:
    """Where a series stands after a period: as it stood before, if nothing was judged then."""
    passed = [one for one in judged if one.slot.at <= period.end]
    if not passed:
        return SeriesState(), None
    return passed[-1].after, passed[-1].outcome if passed[-1].slot.at == period.end else None


def _is(told: _Told, wanted: ExpectedNotice) -> bool:
    return (
        (told.at, told.kind) == (wanted.at, wanted.kind)
        and wanted.level in {None, told.level}
        and wanted.segment in {None, (told.segment,)}
    )


def _wanted(wanted: ExpectedNotice) -> str:
    level, segment = (f" {wanted.level}" if wanted.level else "", f" of {' and '.join(wanted.segment)}" if wanted.segment else "")
    return f"{wanted.kind.value}{level}{segment} at {wanted.at}"
