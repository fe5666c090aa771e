"""Files of rule tests: which rules, which figures, what is expected of them. Every mistake comes with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from kpid.alerting.steps import ExpectedNotice, Length, Step, Untold, check_words
from kpid.config.alerting import Inhibit, Owners, Route, Rule, Window
from kpid.config.problems import Key, errors_of, near_miss, raise_errors
from kpid.config.tree import Keys, Tree, read_tree
from kpid.config.values import Model, Name, Names
from kpid.errors import ConfigError

DATA = "data"
"""Beside the series of a period: what all of them had to be judged by."""


class RuleTest(Model):
    """Figures, and what a rule finds of them."""

    name: str = Field(min_length=1, description="What is shown.")
    rule: str = Field(min_length=1, description="Name of the rule.")
    start: date = Field(description="A day of the first period: 2026-01-05.")
    series: tuple[Mapping[str, Any], ...] = Field(
        min_length=1, description="{owner: ana, value: 0.31 0.24x2 _, n: 400}: dimensions, and columns of figures."
    )
    expect: Mapping[int, Mapping[str, str]] = Field(
        default_factory=dict, description="By the number of the period: {3: {ana: firing warn, data: stale}}."
    )
    do: tuple[Step, ...] = Field((), description="What happens besides: {at: 3, after: 2h, ack: ana}. In the order of time.")
    notices: tuple[ExpectedNotice, ...] | None = Field(
        None, description="Everything that people are told; not looked at if left out."
    )
    untold: tuple[Untold, ...] | None = Field(
        None, description="Everything that people were not told by the end, and why not; not looked at if left out."
    )
    until: Length | None = Field(
        None,
        description="Let the clock run on so long after the last period: 4d, or until an instant; for reminders.",
    )

    @field_validator("expect")
    @classmethod
    def _words(cls, expect: Mapping[int, Mapping[str, str]]) -> Mapping[int, Mapping[str, str]]:
        for period, states in expect.items():
            for series, text in states.items():
                check_words(f"{period}: {series}", text)
        return expect

    @property
    def needs_clock(self) -> bool:
        """Whether it is about more than figures, and what is found of them."""
        if self.do or self.until is not None or self.untold is not None:
            return True
        return any(one.is_timed for one in self.notices or ()) or any("rule" in one for one in self.series)


class RuleTestFile(Model):
    """A file of rule tests."""

    rules: Names = Field((), description="Files with the rules, from this one's folder; those of the configuration if left out.")
    routes: tuple[Route, ...] = Field((), description="Who hears of what; those of the files with the rules if left out.")
    windows: Mapping[Name, Window] = Field(default_factory=dict, description="When people want to hear, as in a configuration.")
    inhibit: tuple[Inhibit, ...] = Field((), description="What holds back what, as in a configuration.")
    owners: Owners | None = Field(None, description="What owner and manager mean, as in a configuration.")
    tests: tuple[RuleTest, ...] = Field(min_length=1, description="The tests.")


class _RuleFile(Model, extra="ignore"):
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()
    windows: Mapping[Name, Window] = Field(default_factory=dict)
    inhibit: tuple[Inhibit, ...] = ()
    owners: Owners | None = None


@dataclass(frozen=True)
class Suite:
    """The tests of a file, with the rules that they are of, and what the files say of who hears of them.

    ``routes``, ``windows``, ``inhibit`` and ``owners`` are empty where no file has any: then the configuration's are meant.
    """

    file: Path
    tests: Sequence[RuleTest]
    rules: Mapping[str, Rule]
    places: Mapping[Keys, str]
    routes: Sequence[Route] = ()
    windows: Mapping[str, Window] = field(default_factory=dict)
    inhibit: Sequence[Inhibit] = ()
    owners: Owners | None = None

    def place(self, *path: Key) -> str:
        """``file:line`` of a key; of the nearest one that is written."""
        return _place(self.places, self.file, path)


def read_suite(file: Path, rules: Sequence[Rule] = ()) -> Suite:
    """Read a file of tests, and the files of rules that it names.

    Args:
        file: of tests.
        rules: those of the configuration: what is tested if the file names no others.

    Raises:
        ConfigError: a file cannot be read, or holds mistakes: all are told.
    """
    tree = read_tree(file)
    tests: RuleTestFile = _validated(tree, file, RuleTestFile)
    packs = [_pack(file.parent / name) for name in tests.rules]
    own = [rule for pack in packs for rule in pack.rules]
    suite = Suite(
        file,
        tests.tests,
        {rule.name: rule for rule in (own if tests.rules else rules)},
        tree.places,
        routes=tests.routes or [route for pack in packs for route in pack.routes],
        windows={**{name: window for pack in packs for name, window in pack.windows.items()}, **tests.windows},
        inhibit=(*tests.inhibit, *(one for pack in packs for one in pack.inhibit)),
        owners=tests.owners or next((pack.owners for pack in packs if pack.owners is not None), None),
    )
    raise_errors(list(_mistakes(suite)))
    return suite


def _pack(file: Path) -> _RuleFile:
    found: _RuleFile = _validated(read_tree(file), file, _RuleFile)
    return found


def _validated(tree: Tree, file: Path, model: type[Any]) -> Any:
    try:
        return model.model_validate(tree.value)
    except ValidationError as error:
        raise_errors(errors_of(error, model, lambda *path: _place(tree.places, file, path)))
        raise


def _place(places: Mapping[Keys, str], file: Path, path: Keys) -> str:
    while path and path not in places:
        path = path[:-1]
    return places.get(path, f"{file}:1")


def _mistakes(suite: Suite) -> Iterator[ConfigError]:
    names: dict[str, int] = {}
    for number, test in enumerate(suite.tests):
        if test.rule not in suite.rules:
            hint = near_miss(test.rule, suite.rules, what="There are")
            yield ConfigError(f"there is no rule {test.rule!r}", where=suite.place("tests", number, "rule"), hint=hint)
        if test.name in names:
            what = f"two tests are called {test.name!r}"
            yield ConfigError(what, where=suite.place("tests", number, "name"), hint="Give each a name of its own")
        names[test.name] = number
        yield from _strange_rules(suite, number, test)


def _strange_rules(suite: Suite, number: int, test: RuleTest) -> Iterator[ConfigError]:
    """Other rules that a test names, and that there are not."""
    named = [("series", place, one.get("rule")) for place, one in enumerate(test.series)]
    named += [("notices", place, one.rule) for place, one in enumerate(test.notices or ())]
    named += [("untold", place, one.rule) for place, one in enumerate(test.untold or ())]
    for key, place, name in named:
        if name is not None and name not in suite.rules:
            hint = near_miss(str(name), suite.rules, what="There are")
            yield ConfigError(f"there is no rule {name!r}", where=suite.place("tests", number, key, place, "rule"), hint=hint)
