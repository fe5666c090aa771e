"""Plays a rule test in which more happens than figures: on a store in memory, by the code that judges, tells and tends live.

The clock goes from one thing to the next: figures that come, hours that end, what people do, and what time itself brings (windows
that open, reminders, steps of escalations). At one instant figures come first, then the rules are judged, then people act.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from pydantic import ValidationError

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.deeds import Hands, in_zone, instant_of, mistakes_in_steps
from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.findings import Findings
from kpid.alerting.notation import MOST_PERIODS
from kpid.alerting.routes import pace_of
from kpid.alerting.ruleresults import expected_of
from kpid.alerting.ruletests import RuleTest, Suite
from kpid.alerting.scenes import Scene, Stage
from kpid.alerting.slots import PATIENCE
from kpid.alerting.stage_setup import setup_for, sources_in
from kpid.alerting.stage_store import next_due
from kpid.alerting.steps import Step
from kpid.alerting.supply import Supply, arrive, expected_at
from kpid.alerting.tending import tend
from kpid.alerting.written_series import measured, series_from
from kpid.analysis.durations import duration_from_text
from kpid.config.alerting import Rule
from kpid.config.problems import errors_of, raise_errors
from kpid.errors import ConfigError
from kpid.model import Period
from kpid.store.engine import Store

_LOOK, _COMES, _JUDGE, _STEP = range(4)
_ALWAYS = timedelta(microseconds=1)
_LONGEST = timedelta(days=400)


class _Cue(NamedTuple):
    """Something that happens at an instant; what has the same instant goes by ``turn``, then by its place in the test."""

    at: datetime
    turn: int
    number: int
    do: Callable[[datetime], None]


@dataclass
class Enactment:
    """One test while it is played.

    Attributes:
        stage: makes rules and figures ready.
        number: of the test in its file.
        test: itself.
        store: an empty one.
        scenes: the rules that are tested together, with their figures; the test's own first.
        found: what was found, and what is not as expected.
    """

    stage: Stage
    number: int
    test: RuleTest
    store: Store
    scenes: list[Scene] = field(init=False)
    found: Findings = field(init=False)
    setup: AlertingSetup = field(init=False)
    rules: dict[str, Rule] = field(init=False)
    _supplies: list[Supply] = field(init=False)
    _hands: Hands = field(init=False)
    _silent: set[str] = field(default_factory=set)
    now: datetime = field(init=False)

    def __post_init__(self) -> None:
        others = [str(given["rule"]) for given in self.test.series if "rule" in given and given["rule"] != self.test.rule]
        names = [self.test.rule, *dict.fromkeys(others)]
        self.scenes = [self.stage.scene(self.number, self.test, name) for name in names]
        sources = sources_in(self.scenes, self.test)
        declared = [one.name for scene in self.scenes for one in scene.arrivals if one.dimension == "source"]
        raise_errors(list(mistakes_in_steps(self.suite, self.number, self.test, self.scene, declared)))
        self.rules = {name: scene.plan.rule for name, scene in zip(names, self.scenes, strict=True)}
        self.setup = setup_for(self.stage.setup, self.suite, self.scenes, sources)
        self._supplies = [Supply(scene) for scene in self.scenes if not scene.arrivals]
        self._hands = Hands(self.scene, self.setup.calendar, [], [])
        self.found = Findings(self.suite, self.number, self.scenes, self.store, self.setup.calendar)
        self.now = self.scene.periods[0].start - _ALWAYS

    @property
    def suite(self) -> Suite:
        """The file's tests."""
        return self.stage.suite

    @property
    def scene(self) -> Scene:
        """The test's own rule."""
        return self.scenes[0]

    def play(self) -> None:
        """From the first period to the end.

        Raises:
            ConfigError: something is expected of what is not there, or a step cannot be read.
        """
        end = self._end()
        cues = sorted((cue for cue in self._cues(end) if cue.at <= end), key=lambda cue: cue[:3])
        for at, same in groupby(cues, key=lambda cue: cue.at):
            self._pass(at)
            for cue in same:
                cue.do(at)
        self._pass(end + _ALWAYS)
        self._look(len(self.scene.periods), end)

    def _end(self) -> datetime:
        last = self.scene.slot_at(len(self.scene.periods) - 1)
        until = self.test.until
        named = [in_zone(until, self.setup.calendar)] if isinstance(until, datetime) else []
        named += [last + duration_from_text(until)] if isinstance(until, str) else []
        wait = max((pace_of(route).wait for route in self.setup.routes), default=timedelta(0))
        steps = [(step.at, step.after) for step in self.test.do]
        told = [(one.at, one.after) for one in self.test.notices or () if self._is_there(one.at)]
        named += [instant_of(*one, self.scene, self.setup.calendar) for one in told]
        named += [instant_of(*one, self.scene, self.setup.calendar) + wait for one in steps]
        end = max([last + wait, *named])  # what happens last is told, too
        is_hourly = any(scene.arrivals for scene in self.scenes)
        hours = (end - self.scene.periods[0].start) // timedelta(hours=1) if is_hourly else 0
        if end - last > _LONGEST or hours > MOST_PERIODS:
            hint = f"It may run {_LONGEST.days} days beyond its last period; with rules on absence {MOST_PERIODS:,} hours"
            raise ConfigError(f"it would run until {end:%Y-%m-%d}", where=self.suite.place("tests", self.number), hint=hint)
        return end

    def _is_there(self, at: int | datetime) -> bool:
        return isinstance(at, datetime) or at <= len(self.scene.periods)

    def _cues(self, end: datetime) -> Iterator[_Cue]:
        lateness = {step.at: step for step in self.test.do if step.late}
        for supply in self._supplies:
            own = supply.scene is self.scene
            for place in range(len(supply.scene.periods)):
                at = supply.scene.slot_at(place)
                late = lateness.get(place + 1) if own else None
                yield _Cue(at, _COMES, place, partial(self._come, supply, place, late))
                yield from self._late(supply, place, late, at)
        for scene in self.scenes:
            for place, hour in enumerate(self._hours(scene, end) if scene.arrivals else ()):
                yield _Cue(hour.end, _COMES, place, partial(self._arrive, scene, place))
                yield _Cue(hour.end, _JUDGE, 0, self._judge)
        for place in range(1, len(self.scene.periods)):
            yield _Cue(self.scene.slot_at(place), _LOOK, place, partial(self._look, place))
        for number, step in enumerate(self.test.do):
            if not step.late:
                yield _Cue(self._instant(step), _STEP, number, partial(self._do, number, step))

    def _late(self, supply: Supply, place: int, late: Step | None, at: datetime) -> Iterator[_Cue]:
        yield _Cue(at, _JUDGE, 0, self._judge)
        if late is None or late.late is None:
            return
        length = duration_from_text(late.late)
        if length > PATIENCE:
            yield _Cue(at + PATIENCE, _JUDGE, 0, self._judge)
        yield _Cue(at + length, _COMES, place, partial(self._come_late, supply, place))
        yield _Cue(at + length, _JUDGE, 0, self._judge)

    def _hours(self, scene: Scene, end: datetime) -> Sequence[Period]:
        """The hours of a rule on absence: those of the test, and on until its end."""
        count = max(len(scene.periods), int((end - scene.periods[0].start) / timedelta(hours=1)) + 1)
        return self.stage.first_periods(scene.plan.need.period, self.test.start, count)

    def _instant(self, step: Step) -> datetime:
        return max(instant_of(step.at, step.after, self.scene, self.setup.calendar), self.now)

    # ---- what happens

    def _pass(self, until: datetime) -> None:
        """Let the clock run to an instant, but for what happens just then."""
        while True:
            with self.store.read() as conn:
                due = next_due(conn, self.setup, self.now)
            if due is None or due >= until:
                break
            self.now = due
            self._tend(due)
        self.now = max(self.now, until - _ALWAYS)

    def _judge(self, now: datetime) -> None:
        self.now = now
        result = evaluate_rules(replace(self.setup, rules=list(self.rules.values())), store=self.store, now=now)
        for uid, why in result.failed:
            self.found.differences.append(f"{self.found.when(now)}: rule {uid} cannot be judged: {why}")
        self._tend(now)
        self.found.write_down(now)

    def _tend(self, now: datetime) -> None:
        tend(replace(self.setup, rules=list(self.rules.values())), store=self.store, now=now)

    def _come(self, supply: Supply, place: int, late: Step | None, now: datetime) -> None:
        names = supply.scene.names
        on_the_way = [dims for dims, label in names.items() if late is not None and late.segment in {None, label}]
        with self.store.write() as conn:
            supply.come(conn, place, now, silent=", ".join(sorted(self._silent)), late=on_the_way)

    def _come_late(self, supply: Supply, place: int, now: datetime) -> None:
        with self.store.write() as conn:
            supply.come_late(conn, place, now)

    def _arrive(self, scene: Scene, place: int, now: datetime) -> None:
        with self.store.write() as conn:
            for one in scene.arrivals:
                arrive(conn, one, place, now, self._silent)
        written = {f"{one.dimension}:{one.name}" for one in scene.arrivals}
        others = {name: gap for name, gap in self.setup.expected.items() if name not in written}
        self.setup = replace(self.setup, expected=others | expected_at(scene.arrivals, place))

    def _do(self, number: int, step: Step, now: datetime) -> None:
        where = self.suite.place("tests", self.number, "do", number, step.verb)
        if step.expect is not None:
            self.found.compare(step.expect, f"{self.found.when(now)} ", None, now)
            return
        failed = self._act(step, now, where)
        what = f"{step.verb}: {failed}" if failed else step.comment
        self.found.note(now, step.verb, f"by {step.by} {what}".strip())
        if failed:
            self.found.differences.append(f"do: {self.found.when(now)}: {step.verb}: {failed}")
        self._judge(now)

    def _act(self, step: Step, now: datetime, where: str) -> str:
        match step.verb:
            case "edit":
                self._edit(step.edit or {}, where)
            case "remove":
                return "" if self.rules.pop(self.test.rule, None) else "it is gone already"
            case "restate":
                self._restate(step.restate or {}, now, where)
            case "silent":
                self._silent |= set(step.silent or ())
            case "back":
                self._silent -= set(step.back or ())
                self._come_back(now)
            case _:
                with self.store.write() as conn:
                    return self._hands.do(conn, step, now)
        return ""

    def _come_back(self, now: datetime) -> None:
        if not self._silent:
            with self.store.write() as conn:
                for supply in self._supplies:
                    supply.come_back(conn, now)

    def _edit(self, changes: Mapping[str, Any], where: str) -> None:
        rule = self.rules.get(self.test.rule, self.scene.plan.rule)
        try:
            edited = Rule.model_validate({**rule.model_dump(by_alias=True, exclude_unset=True), **changes})
        except ValidationError as error:
            raise_errors(errors_of(error, Rule, lambda *path: where))
            raise
        self.stage.remade(edited, where)
        self.rules[self.test.rule] = edited

    def _restate(self, given: Mapping[str, Any], now: datetime, where: str) -> None:
        scene = self.scene
        family = self.stage.family(scene.plan.need, scene.plan)
        try:
            series = series_from({name: value for name, value in given.items() if name != "period"}, family)
            figures = measured(series, family, [scene.periods[int(given["period"]) - 1]], self.setup.calendar)
        except ValueError as error:
            raise ConfigError(f"restate: {error}", where=where) from None
        with self.store.write() as conn:
            self._supplies[0].change(conn, figures, now)

    def _look(self, place: int, now: datetime) -> None:
        """Compare what is expected of a period; just before the next one is judged."""
        states = self.test.expect.get(place)
        if states:
            period = self.scene.periods[place - 1]
            where = self.suite.place("tests", self.number, "expect", str(place))
            wanted = expected_of(place, states, self.scene, where)
            self.found.compare(wanted, f"{place} ({period.label}) ", period, self.now)
