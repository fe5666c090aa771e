"""What people do in a rule test: the same changes of the store that the commands, the links and the buttons make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from kpid.alerting.facts import series_key_of
from kpid.alerting.ruletests import RuleTest, Suite
from kpid.alerting.scenes import Scene
from kpid.alerting.steps import Step
from kpid.analysis.durations import duration_from_text
from kpid.analysis.periods import Calendar
from kpid.config.problems import near_miss
from kpid.errors import ConfigError
from kpid.model import segment_key
from kpid.store import episodes, handling
from kpid.store.episodes import EpisodeRow

ALL = "all"
HEALTH = "health"
"""In ``ack:``, ``unack:``, ``snooze:``: the alert about the rule's own data."""
VIA = "test"
ACKED_FOR = "7d"
"""So long an acknowledgement holds where nothing is said: as with ``kpid ack``."""
_OWN_LABELS = ("rule", "kpi", "severity", "kind", "source", "report")
_FIXED = frozenset({"name", "id", "kpi", "period", "by", "params", "absence"})
"""What cannot be edited in a test: other figures than those written would be meant."""


@dataclass
class Hands:
    """The hands of people, in one test.

    Attributes:
        scene: the rule.
        calendar: how time is cut.
        silences: numbers of the silences, in the order of the test.
        exclusions: the same of what is left out.
    """

    scene: Scene
    calendar: Calendar
    silences: list[int]
    exclusions: list[int]

    def do(self, conn: Connection, step: Step, now: datetime) -> str:
        """Do it; returns why that was not possible, or nothing.

        Args:
            conn: a transaction.
            step: one of a person's.
            now: the current instant.
        """
        doing: Mapping[str, Callable[[Connection, Step, datetime], str]] = {
            "ack": self._take_up,
            "snooze": self._take_up,
            "unack": self._take_up,
            "silence": self._silence,
            "end_silence": self._end_silence,
            "exclude": self._exclude,
            "end_exclude": self._end_exclude,
        }
        if step.until is not None and end_of(step, now, self.calendar) <= now:
            return "until: is over by then"
        return doing[step.verb](conn, step, now)

    def _take_up(self, conn: Connection, step: Step, now: datetime) -> str:
        names: Sequence[str] = step.ack or step.snooze or step.unack or ()
        open_ = episodes.list_open(conn, rule_uid=self.scene.plan.uid)
        missing = [name for name in names if not self._meant(open_, name)]
        if missing:
            return f"no alert of {', '.join(missing)} is open"
        numbers = [one.id for name in names for one in self._meant(open_, name)]
        about = {"by": step.by, "via": VIA, "comment": step.comment, "now": now}
        if step.verb == "unack":
            changed = handling.let_go(conn, numbers, **about)  # type: ignore[arg-type]
        else:
            act = handling.take_up if step.verb == "ack" else handling.put_off
            changed = act(conn, numbers, until=end_of(step, now, self.calendar), **about)  # type: ignore[arg-type]
        return "" if changed else "nobody has it in hand" if step.verb == "unack" else "somebody else was first"

    def _meant(self, open_: Sequence[EpisodeRow], name: str) -> list[EpisodeRow]:
        """The open episodes of a series, by the name that the test has for it."""
        if name == HEALTH:
            return [one for one in open_ if not one.series_key]
        keys = {series_key_of(dims) for dims, label in self.scene.names.items() if label == name}
        found = [one for one in open_ if one.series_key in keys]
        return found or ([one for one in open_ if one.series_key] if name == ALL else [])

    def _silence(self, conn: Connection, step: Step, now: datetime) -> str:
        ends = end_of(step, now, self.calendar)
        number = handling.add_silence(
            conn, matchers=step.silence or {}, starts_at=now, ends_at=ends, author=step.by, via=VIA, comment=step.comment, now=now
        )
        self.silences.append(number)
        return ""

    def _end_silence(self, conn: Connection, step: Step, now: datetime) -> str:
        number = (step.end_silence or 1) - 1
        known = number < len(self.silences)
        done = known and handling.end_silence(conn, self.silences[number], by=step.by, now=now)
        return "" if done else "this silence is over, or was never there"

    def _exclude(self, conn: Connection, step: Step, now: datetime) -> str:
        segment = next((segment_key(dims) for dims, label in self.scene.names.items() if label == step.segment), "")
        for place in step.exclude or ():
            period = self.scene.periods[place - 1]
            number = handling.add_exclusion(
                conn, rule_uid=self.scene.plan.uid, kpi="", segment=segment, starts_at=period.start, ends_at=period.end,
                author=step.by, comment=step.comment, now=now,
            )  # fmt: skip
            self.exclusions.append(number)
        return ""

    def _end_exclude(self, conn: Connection, step: Step, now: datetime) -> str:
        number = (step.end_exclude or 1) - 1
        known = number < len(self.exclusions)
        done = known and handling.end_exclusion(conn, self.exclusions[number], now=now)
        return "" if done else "nothing is left out under this number"


def instant_of(at: int | datetime, after: str | None, scene: Scene, calendar: Calendar) -> datetime:
    """A time of a test as an instant: a period's is when it is judged; 0 is before the first one is."""
    length = duration_from_text(after) if after else timedelta(0)
    if isinstance(at, datetime):
        return in_zone(at, calendar) + length
    return (scene.slot_at(at - 1) if at else scene.periods[0].start) + length


def in_zone(at: datetime, calendar: Calendar) -> datetime:
    """An instant; on the company's wall clock if it does not say where."""
    return (at if at.tzinfo else at.replace(tzinfo=calendar.zone)).astimezone(UTC)


def end_of(step: Step, now: datetime, calendar: Calendar) -> datetime:
    """Until when an acknowledgement, a snooze or a silence holds."""
    if isinstance(step.until, datetime):
        return in_zone(step.until, calendar)
    length: timedelta = duration_from_text(step.until or ACKED_FOR)
    return now + length


def mistakes_in_steps(suite: Suite, number: int, test: RuleTest, scene: Scene, sources: Sequence[str]) -> Iterator[ConfigError]:
    """Steps about what is not there: series, periods, sources, labels; and rules that cannot be edited so."""
    for place, step in enumerate(test.do):
        verb = step.verb

        def wrong(what: str, hint: str, key: str = verb, place: int = place) -> ConfigError:
            return ConfigError(what, where=suite.place("tests", number, "do", place, key), hint=hint)

        if isinstance(step.at, int) and step.at > len(scene.periods):
            yield wrong(f"there is no period {step.at}", f"The series have {len(scene.periods)}", "at")
        yield from _unknown_series(step, scene, wrong)
        yield from _unknown_periods(step, scene, wrong)
        for source in (*(step.silent or ()), *(step.back or ())):
            if sources and source not in sources:
                yield wrong(f"there is no source {source!r}", near_miss(source, sources, what="There are"))
        labels = {*_OWN_LABELS, *(name for rule in suite.rules.values() for name in (*rule.labels, *rule.by, *rule.where))}
        for label in step.silence or ():
            if label not in labels:
                yield wrong(f"no alert has a label {label!r}", near_miss(label, labels, what="There are"))
        for key in step.edit or ():
            if key in _FIXED:
                yield wrong(f"{key}: cannot be changed in a test", "Other figures would be meant: write a test of its own")


_Wrong = Callable[[str, str], ConfigError]


def _unknown_series(step: Step, scene: Scene, wrong: _Wrong) -> Iterator[ConfigError]:
    known = {*scene.names.values()}
    more = {ALL, HEALTH} if step.verb in {"ack", "unack", "snooze"} else set()
    named = [*(step.ack or ()), *(step.unack or ()), *(step.snooze or ()), *(step.expect or ())]
    for name in (*named, *([step.segment] if step.segment is not None else [])):
        if name not in known | more:
            yield wrong(f"there is no series {name!r}", near_miss(name, known | more, what="There are"))


def _unknown_periods(step: Step, scene: Scene, wrong: _Wrong) -> Iterator[ConfigError]:
    count = len(scene.periods)
    for place in step.exclude or ():
        if place > count:
            yield wrong(f"there is no period {place}", f"The series have {count}")
    if step.restate is not None:
        which = step.restate.get("period")
        if not isinstance(which, int) or not 1 <= which <= count:
            yield wrong("period: says which figure is another now", f"Write its number, from 1 to {count}")
    if (step.restate is not None or step.late or step.exclude) and scene.plan.rule.absence is not None:
        yield wrong(f"{step.verb}: a rule on absence looks at no figures", "Write what came in came:")
