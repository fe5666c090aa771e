"""Checks of the contract suites: they say what is wrong in a sentence, and need no test framework."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kpid.errors import KpidError


def expect(is_so: bool, otherwise: str) -> None:
    """Fail the test with ``otherwise`` unless ``is_so``."""
    if not is_so:
        raise AssertionError(otherwise)


@contextmanager
def expect_error(*kinds: type[KpidError]) -> Iterator[list[KpidError]]:
    """Fail the test unless the block raises one of ``kinds``; the error is put into the list."""
    caught: list[KpidError] = []
    try:
        yield caught
    except kinds as error:
        caught.append(error)
    expect(bool(caught), f"expected {' or '.join(kind.__name__ for kind in kinds)}, but nothing was raised")
