"""Which ways an alert goes: by the first route that matches (and further ones, where it says ``continue``), or its own ``to:``.

Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from kpid.alerting.matchers import Labels, matchers_text, matches, value_of
from kpid.analysis.durations import duration_from_text
from kpid.config.alerting import Route
from kpid.model import canonical_json

PEOPLE = ("owner", "manager")
"""Words in ``to:`` that mean somebody of the CRM, not a receiver."""
DIRECT = "to: of the rule"
"""The route of alerts that no route matches."""
_NOTHING = timedelta(0)
_DAY = timedelta(days=1)
_DIRECT_MAX = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Pace:
    """When the messages of a route go out.

    Attributes:
        wait: so long after the first alert of a group.
        interval: so long between two messages of a group.
        repeat: reminders come so long after the last message; None: none do.
        repeat_max: reminders come ever later, up to this far apart.
        hours: name of the window in which they go out; None: at all times.
    """

    wait: timedelta = _NOTHING
    interval: timedelta = _NOTHING
    repeat: timedelta | None = _DAY
    repeat_max: timedelta | None = _DIRECT_MAX
    hours: str | None = None

    def pause(self, repeats: int) -> timedelta | None:
        """How long until the next reminder, after so many."""
        if self.repeat is None or self.repeat_max is None:
            return self.repeat
        return min(self.repeat * (1 << min(repeats, 20)), max(self.repeat_max, self.repeat))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an escalation: whom, how long after people were first told."""

    after: timedelta
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """One way of an alert: to whom, in which groups, at which pace.

    ``to`` is as in the configuration: a receiver, ``RECEIVER:ADDRESS``, ``owner`` or ``manager``. ``group_by`` is None for the
    own ``to:`` of a rule: there each thread is a group.
    """

    to: str
    route: str = DIRECT
    group_by: tuple[str, ...] | None = None
    pace: Pace = Pace()
    escalate: tuple[Step, ...] = ()


_OWN = Pace()


def route_name(number: int, route: Route) -> str:
    """What people call a route: its place and what it matches."""
    return f"route {number}: {matchers_text(route.match)}"


def route_now(name: str, names: Collection[str]) -> str:
    """What a route by which something was told is called today: routes before it may have come or gone, and changed its place.

    Args:
        name: as it was called then.
        names: the routes of today.

    Returns:
        One of ``names``; ``name`` itself if there is none that matches the same.
    """
    if name in names:
        return name
    matched = name.partition(": ")[2]
    return next((one for one in names if matched and one.partition(": ")[2] == matched), name)


def ways_of(labels: Labels, to: Sequence[str], routes: Sequence[Route]) -> list[Way]:
    """All ways of an alert, each destination once.

    Args:
        labels: of the alert.
        to: the rule's own receivers.
        routes: in the order of the configuration.
    """
    found: dict[str, Way] = {}
    for number, route in enumerate(routes, 1):
        if not matches(route.match, labels):
            continue
        name = route_name(number, route)
        for one in route.to:
            found.setdefault(one, Way(one, name, tuple(route.group_by), pace_of(route), _steps(route)))
        if not route.continue_:
            break
    return list(found.values()) or [Way(one) for one in dict.fromkeys(to)]


def paces(routes: Sequence[Route]) -> dict[str, Pace]:
    """The pace of each route by its name; that of a rule's own ``to:`` is under :data:`DIRECT`."""
    return {DIRECT: _OWN, **{route_name(number, route): pace_of(route) for number, route in enumerate(routes, 1)}}


def escalations(routes: Sequence[Route]) -> dict[str, tuple[Step, ...]]:
    """The steps of each route that has any, by its name."""
    named = ((route_name(number, route), _steps(route)) for number, route in enumerate(routes, 1))
    return {name: steps for name, steps in named if steps}


def pace_of(route: Route) -> Pace:
    """A route's pace."""
    return _pace(route.group_wait, route.group_interval, route.repeat, route.repeat_max, route.hours)


@lru_cache(maxsize=256)
def _pace(wait: str, interval: str, repeat: str, repeat_max: str | None, hours: str | None) -> Pace:
    return Pace(
        wait=duration_from_text(wait),
        interval=duration_from_text(interval),
        repeat=None if repeat == "off" else duration_from_text(repeat),
        repeat_max=None if repeat_max is None else duration_from_text(repeat_max),
        hours=hours,
    )


def _steps(route: Route) -> tuple[Step, ...]:
    return tuple(Step(duration_from_text(step.after), tuple(step.to)) for step in route.escalate)


def group_key_of(way: Way, labels: Labels, thread: str) -> str:
    """Identity of the group that an alert belongs to: no word of the configuration, so that a changed route re-sends nothing.

    What is wrong with a source's data is one group, whatever the rules and routes.
    """
    sources = labels.get("source", frozenset())
    if "health" in labels.get("kind", frozenset()) and len(sources) == 1:
        return digest("health", min(sources))
    if way.group_by is None:
        return _thread_key(thread)
    return digest("group", {name: value_of(labels, name) for name in way.group_by})


@lru_cache(maxsize=64)
def _thread_key(thread: str) -> str:
    return digest("thread", thread)


def is_health_group(group_key: str, labels: Labels) -> bool:
    """Whether a group gathers what is wrong with one source."""
    return any(group_key == digest("health", source) for source in labels.get("source", frozenset()))


def destination_of(to: str) -> tuple[str, str]:
    """Receiver and address of an entry of ``to:``: ``mail:cro@example.com``; the address is empty for all of a receiver."""
    receiver, _, address = to.partition(":")
    return receiver.strip(), address.strip()


def digest(*facts: str | Mapping[str, str]) -> str:
    """64 hex digits of facts."""
    return hashlib.sha256(canonical_json(list(facts)).encode()).hexdigest()
