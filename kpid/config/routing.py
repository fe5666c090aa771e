"""Who hears of alerts, and when: mistakes in ``to:``, routes, escalations, windows, inhibitions, owners; each with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from kpid.analysis.durations import duration_from_text
from kpid.config.alerting import Inhibit, Route, Rule, Window
from kpid.config.model import Config
from kpid.config.problems import Key, Place, near_miss
from kpid.config.times import window_hours, work_calendars
from kpid.errors import ConfigError, KpidError

PEOPLE = ("owner", "manager")
"""Words in ``to:`` that mean somebody of the CRM."""
_WATCHED = datetime(2026, 1, 1, tzinfo=UTC)
"""A window that does not open within a year of this never does."""
_YEAR = 400


def routing_errors(config: Config, place: Place) -> Iterator[ConfigError]:
    """Every mistake that can be seen without knowing the plugins."""
    yield from _owners(config, place)
    for number, rule in enumerate(config.rules):
        yield from _rule(config, rule, place, ("rules", number, "to"))
    for number, route in enumerate(config.routes):
        yield from _route(config, route, place, ("routes", number))
    yield from _unreachable(config, place)
    for name, window in config.windows.items():
        yield from _window(config, name, window, place)
    for number, inhibit in enumerate(config.inhibit):
        yield from _inhibit(config, inhibit, place, ("inhibit", number))


def _owners(config: Config, place: Place) -> Iterator[ConfigError]:
    if config.owners is None:
        return
    for key, name in {"via": config.owners.via, "else": config.owners.else_}.items():
        if name not in config.receivers:
            yield _no_receiver(config, name, place("owners", key))


def _rule(config: Config, rule: Rule, place: Place, path: tuple[Key, ...]) -> Iterator[ConfigError]:
    if not rule.to and not any(_may_match(route, rule) for route in config.routes):
        hint = "Name receivers in to:, or write a route that matches it"
        yield ConfigError(f"rule {rule.name}: nobody is told", where=place(*path), hint=hint)
    for number, name in enumerate(rule.to):
        if name in PEOPLE and "owner" not in (*rule.by, *rule.where):
            hint = "Add by: [owner], so that each owner hears of his own"
            yield ConfigError(f"rule {rule.name}: its alerts have no {name}", where=place(*path, number), hint=hint)
        yield from _to(config, name, place(*path, number))


def _to(config: Config, name: str, where: str) -> Iterator[ConfigError]:
    """One entry of ``to:``: a receiver, an address of one, or a person."""
    if name in PEOPLE:
        if config.owners is None:
            hint = "Say how people are told: owners: {via: mail, else: team}"
            yield ConfigError(f"{name!r} means nobody yet", where=where, hint=hint)
        return
    receiver, colon, address = name.partition(":")
    if receiver.strip() not in config.receivers:
        yield _no_receiver(config, receiver.strip(), where, *PEOPLE)
    elif colon and not address.strip():
        hint = "Write mail:cro@example.com, or the receiver alone for all of it"
        yield ConfigError(f"{name!r} has no address after the colon", where=where, hint=hint)


def _no_receiver(config: Config, name: str, where: str, *others: str) -> ConfigError:
    return ConfigError(
        f"there is no receiver {name!r}", where=where, hint=near_miss(name, (*config.receivers, *others), what="Receivers")
    )


def _route(config: Config, route: Route, place: Place, path: tuple[Key, ...]) -> Iterator[ConfigError]:
    for number, name in enumerate(route.to):
        yield from _to(config, name, place(*path, "to", number))
    if route.hours is not None and route.hours not in config.windows:
        hint = near_miss(route.hours, config.windows, what="Windows")
        yield ConfigError(f"there is no window {route.hours!r}", where=place(*path, "hours"), hint=hint)
    yield from _matchers(config, route.match, place, (*path, "match"))
    yield from _escalations(config, route, place, path)


def _escalations(config: Config, route: Route, place: Place, path: tuple[Key, ...]) -> Iterator[ConfigError]:
    """Each step is later than the one before, and tells somebody who has not been told: a chain that turns back is a circle."""
    told = dict.fromkeys(route.to, "the route itself")
    before = None
    for number, step in enumerate(route.escalate):
        where = (*path, "escalate", number)
        for at, name in enumerate(step.to):
            yield from _to(config, name, place(*where, "to", at))
            if name in told:
                hint = "Name somebody else; `repeat:` reminds the same people"
                yield ConfigError(
                    f"the escalation comes back to {name!r}, who is told by {told[name]}",
                    where=place(*where, "to", at),
                    hint=hint,
                )
        told |= {name: f"step {number + 1}" for name in step.to if name not in told}
        after = duration_from_text(step.after)
        if before is not None and after <= before:
            hint = "`after:` counts from the first message: let it grow from step to step"
            yield ConfigError(
                f"step {number + 1} of the escalation is not later than the one before", where=place(*where, "after"), hint=hint
            )
        before = after


def _unreachable(config: Config, place: Place) -> Iterator[ConfigError]:
    """After a route that takes everything, or just what this one wants, a route is never looked at."""
    for number, route in enumerate(config.routes):
        for earlier, other in enumerate(config.routes[:number]):
            if not other.continue_ and all(route.match.get(name) == wanted for name, wanted in other.match.items()):
                first = place("routes", earlier)
                hint = f"The route at {first} takes all of it: put this one before it, or add `continue: true` there"
                yield ConfigError("no alert ever gets to this route", where=place("routes", number), hint=hint)
                break


def _window(config: Config, name: str, window: Window, place: Place) -> Iterator[ConfigError]:
    if window.calendar is not None and window.calendar not in config.calendars:
        hint = near_miss(window.calendar, config.calendars, what="Calendars")
        where = place("windows", name, "calendar")
        yield ConfigError(f"there is no calendar {window.calendar!r}", where=where, hint=hint)
        return
    try:
        opens = window_hours(window, work_calendars(config), config.timezone).next_opening(_WATCHED, within=_YEAR)
    except KpidError:  # told where the calendars are
        return
    if opens is None:
        hint = "Give it days and times at which people are told"
        yield ConfigError(f"the window {name!r} never opens", where=place("windows", name), hint=hint)


def _inhibit(config: Config, inhibit: Inhibit, place: Place, path: tuple[Key, ...]) -> Iterator[ConfigError]:
    for key, matchers in {"if": inhibit.if_, "mute": inhibit.mute}.items():
        yield from _matchers(config, matchers, place, (*path, key))
    if inhibit.if_ == inhibit.mute:
        hint = "Let `if` be the cause, and `mute` what follows from it"
        yield ConfigError("alerts cannot hold back themselves", where=place(*path), hint=hint)


def _matchers(
    config: Config, matchers: Mapping[str, Sequence[str]], place: Place, path: tuple[Key, ...]
) -> Iterator[ConfigError]:
    """A matcher on a rule that does not exist never fits: it is a slip of the pen, or the rule has another name by now."""
    names = {name for rule in config.rules for name in (rule.name, rule.uid)}
    for text in matchers.get("rule", ()):
        wanted = text.removeprefix("!")
        if not set("*?") & set(wanted) and wanted.casefold() not in {name.casefold() for name in names}:
            hint = near_miss(wanted, names, what="Rules")
            yield ConfigError(f"there is no rule {wanted!r}", where=place(*path, "rule"), hint=hint)
    for text in matchers.get("severity", ()):
        if text.removeprefix("!") not in {"warn", "critical"} and not set("*?") & set(text):
            yield ConfigError(f"there is no severity {text!r}", where=place(*path, "severity"), hint="It is warn or critical")


def _may_match(route: Route, rule: Rule) -> bool:
    """Whether a route can match an alert of a rule: what only an alert can tell may always fit."""
    known = {"rule": {rule.name, rule.uid}, "kpi": {rule.kpi}, **{name: {value} for name, value in rule.labels.items()}}
    for name, wanted in route.match.items():
        if name not in known:
            continue
        plain = [text for text in wanted if not text.startswith("!")]
        if any(_fits(text[1:], known[name]) for text in wanted if text.startswith("!")):
            return False
        if plain and not any(_fits(text, known[name]) for text in plain):
            return False
    return True


def _fits(pattern: str, values: set[str]) -> bool:
    wanted = pattern.casefold().replace("[", "[[]")
    return any(fnmatchcase(value.casefold(), wanted) for value in values)
