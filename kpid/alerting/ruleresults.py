"""What rule tests find, and how it is said. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from kpid.alerting.outcomes import Outcome
from kpid.alerting.ruletests import DATA
from kpid.alerting.scenes import Scene
from kpid.alerting.series import Data, SeriesState, Status
from kpid.config.problems import near_miss
from kpid.errors import ConfigError
from kpid.model import Level


class Line(NamedTuple):
    """One period of one series, as it was found; in tests with steps also what was done, and what was told."""

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


def expected_of(place: int, states: Mapping[str, str], scene: Scene, where: str) -> dict[str, str]:
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


def words_of(state: SeriesState, outcome: Outcome | None) -> set[str]:
    """All that is true of a series."""
    said = {state.status.value, state.level.value, state.data.value}
    if outcome is not None:
        said.add(outcome.kind.value)
    return said | ({"forgotten"} if state.forgotten else set())


def state_text(state: SeriesState) -> str:
    """``firing warn stale``."""
    level = "" if state.level is Level.NONE else f" {state.level.value}"
    data = "" if state.data is Data.FRESH else f" {state.data.value}"
    return ("forgotten" if state.forgotten and state.status is Status.OK else f"{state.status.value}{level}") + data
