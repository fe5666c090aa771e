"""Functions as text: the same in every process, another for another function."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from kpid.metrics.codes import code_text
from kpid.plugin.kpi import Values


def more_than(least, *, words=("few",), known=None):
    def doubts(m):
        return words[0] if m.n.exact < least and m.kind in {"a", "b", "c", "d"} and known is None else None

    return doubts


class Rule:
    """An object whose ``repr`` names an address."""

    def __init__(self, least):
        self.least = least

    def doubts(self, m: Values):
        return m.n.exact < self.least


PROBE = """
from tests.metrics.test_codes import Rule, code_text, more_than, partial
print(code_text(more_than(3, words=("one", "two"), known={"x", "y", "z"})))
print(code_text(partial(more_than(3), least=Rule(3))), code_text(Rule(3).doubts))
"""


def test_the_text_is_the_same_in_every_process():
    found = set()
    for seed in ("1", "2"):
        made = subprocess.run(
            [sys.executable, "-c", PROBE], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        found.add(made.stdout)
    [text] = found
    assert " at 0x" not in text


@pytest.mark.parametrize(
    "other",
    [more_than(4), more_than(3, words=("some",)), more_than(3, known=frozenset("x")), lambda m: None, partial(more_than(3), m=1)],
)
def test_another_code_or_other_values_inside_make_another_text(other):
    assert code_text(more_than(3)) == code_text(more_than(3))
    assert code_text(more_than(3)) != code_text(other)


def test_a_function_that_calls_itself_has_a_text():
    def outer():
        def again(m):
            return again(m)

        return again

    assert code_text(outer()) == code_text(outer())
