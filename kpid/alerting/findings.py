"""What is found while a rule test is played: how its series stand, what differs from what is expected, and lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kpid.alerting.facts import series_key_of
from kpid.alerting.outcomes import outcome_from_dump
from kpid.alerting.ruleresults import Line, state_text, words_of
from kpid.alerting.ruletests import Suite
from kpid.alerting.scenes import Scene
from kpid.alerting.series import SeriesState, state_from_dump
from kpid.analysis.periods import Calendar
from kpid.analysis.wording import when_text
from kpid.model import Period
from kpid.store import alerts, episodes
from kpid.store.alerts import SeriesRow
from kpid.store.engine import Store

_MOST_EVENTS = 10_000


@dataclass
class Findings:
    """What one test finds.

    Attributes:
        suite: the file.
        number: of the test in it.
        scenes: the rules that are tested together; the test's own first.
        store: what it is played on.
        calendar: how time is cut.
        differences: what was not as expected.
        lines: what was found and done, in the order of time.
    """

    suite: Suite
    number: int
    scenes: Sequence[Scene]
    store: Store
    calendar: Calendar
    differences: list[str] = field(default_factory=list)
    lines: list[tuple[datetime, Line]] = field(default_factory=list)
    _seen: dict[str, tuple[object, ...]] = field(default_factory=dict)
    _events: int = 0

    @property
    def scene(self) -> Scene:
        """The test's own rule."""
        return self.scenes[0]

    def place_of(self, instant: datetime) -> int:
        """The number of the last period that is judged by an instant; 0: none."""
        return sum(self.scene.slot_at(place) <= instant for place in range(len(self.scene.periods)))

    def span_of(self, place: int) -> tuple[datetime, datetime | None]:
        """From when a period is judged until the next one is; until None: there is none."""
        first = self.scene.slot_at(place - 1)
        return first, self.scene.slot_at(place) if place < len(self.scene.periods) else None

    def when(self, now: datetime) -> str:
        """An instant on the company's wall clock."""
        return when_text(now, self.calendar.timezone)

    def compare(self, states: Mapping[str, str], when: str, period: Period | None, now: datetime) -> None:
        """Note where series of the test's rule are not as expected.

        Args:
            states: what is expected, by what the test calls the series.
            when: the beginning of what is noted.
            period: the outcome of its judgement counts, too; None: no outcome does.
            now: the current instant.
        """
        rows, in_hand = self._rows(self.scene), self._in_hand(now)
        for name, text in sorted(states.items()):
            row = rows.get(name)
            state = state_from_dump(row.state) if row is not None else SeriesState()
            last = row.state.get("last") if row is not None and period is not None and row.last_slot == period.end else None
            outcome = None if last is None else outcome_from_dump(last)
            handled = in_hand.get(row.series_key, "open") if row is not None and state.status.is_on else ""
            if not set(text.split()) <= {*words_of(state, outcome), handled}:
                why = f" ({outcome.reason})" if outcome is not None and outcome.reason else ""
                found = f"{state_text(state)} {handled if handled != 'open' else ''}".strip()
                self.differences.append(f"{when}{name}: expected {' '.join(text.split())}, found {found}{why}")

    def note(self, now: datetime, what: str, how: str) -> None:
        """Put what was done into a line."""
        self.lines.append((now, Line(self.place_of(now), self.when(now), "", "", (what,), how)))

    def write_down(self, now: datetime) -> None:
        """Put what was found into lines, where it is news."""
        with self.store.read() as conn:
            events = [event for event in alerts.list_events(conn, limit=_MOST_EVENTS) if event.seq > self._events]
        self._events = max([self._events, *(event.seq for event in events)])
        for scene in self.scenes:
            for name, row in self._rows(scene).items():
                mine = [
                    event for event in reversed(events) if (event.rule_uid, event.series_key) == (row.rule_uid, row.series_key)
                ]
                state, key = state_text(state_from_dump(row.state)), f"{row.rule_uid}/{row.series_key}"
                if mine or self._seen.get(key) != (row.last_slot, state):
                    self._seen[key] = (row.last_slot, state)
                    last = row.state.get("last", {})
                    kinds = tuple(event.kind for event in mine)
                    line = Line(self.place_of(now), last.get("period", ""), name, state, kinds, last.get("reason", ""))
                    self.lines.append((now, line))

    def _rows(self, scene: Scene) -> dict[str, SeriesRow]:
        """The rows of a rule's series, by what the test calls them."""
        with self.store.read() as conn:
            found = alerts.load_series(conn, scene.plan.uid)
        names = {series_key_of(dims): label for dims, label in scene.names.items()}
        return {names.get(key, row.label): row for key, row in found.items()}

    def _in_hand(self, now: datetime) -> dict[str, str]:
        with self.store.read() as conn:
            open_ = episodes.list_open(conn, rule_uid=self.scene.plan.uid)
        return {one.series_key: one.handling for one in open_ if one.handled_until is None or one.handled_until > now}
