"""What a rule test with steps is judged and told by: routes, windows and people as the files or the configuration say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from kpid.alerting.contracts import AlertingSetup, Contact, Telling
from kpid.alerting.routes import destination_of
from kpid.alerting.ruletests import RuleTest, Suite
from kpid.alerting.scenes import Scene
from kpid.alerting.windows import openings_of
from kpid.config.alerting import Owners, Route
from kpid.config.problems import near_miss, raise_errors
from kpid.errors import ConfigError
from kpid.model import Dims, Notice, Period, SeriesNeed
from kpid.plugin.notifier import Message

_MANAGER = "manager of "
"""The id of somebody's manager."""
_ODD = re.compile(r"[^A-Za-z0-9.-]+")


def address_of(person: str, *, manager: bool = False) -> str:
    """The address of somebody in a test, or of his manager."""
    return f"{'manager-of-' if manager else ''}{_ODD.sub('-', person)}@example.com"


def sources_in(scenes: Sequence[Scene], test: RuleTest) -> tuple[str, ...]:
    """The sources that a test names: all its figures come from them."""
    written = (one.name for scene in scenes for one in scene.arrivals if one.dimension == "source")
    silent = (name for step in test.do for name in (*(step.silent or ()), *(step.back or ())))
    return tuple(dict.fromkeys((*written, *silent)))


def setup_for(base: AlertingSetup, suite: Suite, scenes: Sequence[Scene], sources: Sequence[str]) -> AlertingSetup:
    """All that judging and telling need.

    Args:
        base: of the configuration.
        suite: what the file, and the files with the rules, say of routes and windows.
        scenes: the rules that are tested together.
        sources: where figures come from.

    Raises:
        ConfigError: a route names a window that there is not.
    """
    setup = with_routes(base, suite)
    plans = [scene.plan for scene in scenes]
    names = _receivers(setup.routes, [to for plan in plans for to in plan.rule.to], setup.owners)
    by_need = {scene.plan.need: scene.setup.targets for scene in scenes}

    def target(need: SeriesNeed, period: Period, dims: Dims, now: datetime) -> Decimal | None:
        return by_need[need](need, period, dims, now) if need in by_need else None

    return replace(
        setup,
        rules=[plan.rule for plan in plans],
        recipients={name: (name,) for name in names},
        compose=lambda notice: _letter([notice]),
        bundle=_letter,
        sources_of=lambda kpi: tuple(sources) if kpi and sources else base.sources_of(kpi),
        targets=target,
        contacts=_contacts,
        expected={},  # what comes is what the test says
    )


def with_routes(base: AlertingSetup, suite: Suite) -> AlertingSetup:
    """The configuration's setup, with the routes, windows, inhibitions and owners of the files where they have any.

    Raises:
        ConfigError: a route names a window that there is not.
    """
    windows = {**base.windows, **openings_of(suite.windows, base.calendars, base.calendar.timezone)}
    routes = suite.routes or base.routes
    unknown = [route.hours for route in routes if route.hours is not None and route.hours not in windows]
    raise_errors([_no_window(suite, name, windows) for name in dict.fromkeys(unknown)])
    return replace(
        base, routes=routes, windows=windows, inhibit=suite.inhibit or base.inhibit, owners=suite.owners or base.owners
    )


def _no_window(suite: Suite, name: str, windows: Mapping[str, object]) -> ConfigError:
    return ConfigError(f"there is no window {name!r}", where=suite.place("routes"), hint=near_miss(name, windows, what="Windows"))


def _receivers(routes: Sequence[Route], own: Sequence[str], owners: Owners | None) -> list[str]:
    def named() -> Iterator[str]:
        yield from own
        for route in routes:
            yield from route.to
            yield from (to for step in route.escalate for to in step.to)
        if owners is not None:
            yield from (owners.via, owners.else_)

    return list(dict.fromkeys(destination_of(to)[0] for to in named()))


def _contacts(ids: Sequence[str]) -> dict[str, Contact]:
    """Everybody is there, and has an address and a manager."""
    return {key: _manager(key) if key.startswith(_MANAGER) else _person(key) for key in ids}


def _person(key: str) -> Contact:
    return Contact(key, key, address_of(key), True, f"{_MANAGER}{key}")


def _manager(key: str) -> Contact:
    return Contact(key, key, address_of(key.removeprefix(_MANAGER), manager=True), True)


def _letter(told: Sequence[Notice], telling: Telling | None = None) -> Message:
    """A message that says just what is told: tests look at facts, not at letters."""
    items = [
        {"rule": notice.uid, "series": item.series_key, "kind": item.kind, "level": item.level.value, "held": item.held}
        for notice in told
        for item in notice.items
    ]
    return Message(key="", kind="alert", title=told[0].rule, text="", created_at=told[0].now, facts={"items": items})
