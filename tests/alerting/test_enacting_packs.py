"""The tests of the packs, run both ways: by the walk alone, and on a store by all that runs live. Both must find the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpid.alerting.rulechecks import RuleTester
from kpid.alerting.ruletests import read_suite
from kpid.alerting.scenes import Stage
from kpid.alerting.stage_setup import with_routes
from kpid.alerting.tellings import Theatre
from kpid.commands.ruletest import setup_for_tests
from kpid.config.load import load_config

CONFIG = Path("config/kpid.yml")
FILES = sorted(Path("config/rules/tests").glob("*.yml"))
EVERY = 4


@pytest.fixture(scope="module")
def setup():
    return setup_for_tests(load_config(CONFIG))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_found_by_the_walk_is_found_live(setup, file):
    suite = read_suite(file)
    results = RuleTester(setup).run(suite)
    stage = Stage(suite, with_routes(setup, suite))
    plain = [number for number, test in enumerate(suite.tests) if not test.needs_clock]
    with Theatre() as theatre:
        for number in plain[len(file.stem) % EVERY :: EVERY]:
            found = theatre.play(stage, number, suite.tests[number].model_copy(update={"notices": None}))
            assert found.differences == ()
            assert _events(found) == _events(results[number]), suite.tests[number].name


def _events(found):
    return {(line.at, line.segment, kind) for line in found.lines for kind in line.events if not kind.startswith("told")}


def test_the_packs_show_what_steps_are_for():
    """At least: an acknowledgement that stops an escalation, a silence, a window that defers, a period that does not count."""
    steps = {step.verb for file in FILES for test in read_suite(file).tests for step in test.do}
    assert steps >= {"ack", "silence", "exclude", "silent", "back"}
