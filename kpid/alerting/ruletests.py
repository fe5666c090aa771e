"""Files of rule tests: which rules, which figures, what is expected of them. Every mistake comes with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from kpid.alerting.outcomes import OutcomeKind
from kpid.alerting.series import Data, EventKind, Status
from kpid.config.alerting import Rule
from kpid.config.problems import Key, errors_of, near_miss, raise_errors
from kpid.config.tree import Keys, Tree, read_tree
from kpid.config.values import Model, Names
from kpid.errors import ConfigError
from kpid.model import Level

DATA = "data"
"""Beside the series of a period: what all of them had to be judged by."""
WORDS = frozenset({*Status, *Level, *Data, *OutcomeKind, "forgotten"})
"""What can be said of a series in ``expect:``: its status, level, data and outcome."""


class ExpectedNotice(Model):
    """Something people are told."""

    at: int = Field(ge=1, description="Number of the period, from 1.")
    kind: EventKind = Field(description="What happened: fired, escalated, resolved ...")
    to: Names = Field((), description="Who is told, as in to: of a rule; not looked at if left out.")
    level: Literal["warn", "critical"] | None = None
    segment: str | None = Field(None, description="Which series; not looked at if left out.")


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
    notices: tuple[ExpectedNotice, ...] | None = Field(
        None, description="Everything that people are told; not looked at if left out."
    )

    @field_validator("expect")
    @classmethod
    def _words(cls, expect: Mapping[int, Mapping[str, str]]) -> Mapping[int, Mapping[str, str]]:
        for period, states in expect.items():
            for series, text in states.items():
                strange = next((word for word in text.split() if word not in WORDS), None)
                if strange is not None or not text.split():
                    hint = near_miss(strange or "", WORDS, what="Write some of")
                    raise ValueError(f"{period}: {series}: {strange or 'nothing'!r} is no state: {hint}")
        return expect


class RuleTestFile(Model):
    """A file of rule tests."""

    rules: Names = Field((), description="Files with the rules, from this one's folder; those of the configuration if left out.")
    tests: tuple[RuleTest, ...] = Field(min_length=1, description="The tests.")


class _RuleFile(Model, extra="ignore"):
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Suite:
    """The tests of a file, with the rules that they are of."""

    file: Path
    tests: Sequence[RuleTest]
    rules: Mapping[str, Rule]
    places: Mapping[Keys, str]

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
    own = [rule for name in tests.rules for rule in _rules(file.parent / name)]
    suite = Suite(file, tests.tests, {rule.name: rule for rule in (own if tests.rules else rules)}, tree.places)
    raise_errors(list(_mistakes(suite)))
    return suite


def _rules(file: Path) -> Sequence[Rule]:
    found: _RuleFile = _validated(read_tree(file), file, _RuleFile)
    return found.rules


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
