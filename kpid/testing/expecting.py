"""Checks of the contract suites: they say what is wrong in a sentence, and need no test framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

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


def compare_rows(truth: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Mapping[str, Any]], entity: str) -> None:
    """Living rows of an entity are the true ones, in the columns that the truth names."""
    missing, extra = sorted(truth.keys() - rows.keys()), sorted(rows.keys() - truth.keys())
    expect(not missing, f"{entity}: {len(missing)} records are missing: {missing[:5]}")
    expect(not extra, f"{entity}: {len(extra)} records are too many: {extra[:5]}")
    for native_id, columns in truth.items():
        row = rows[native_id]
        for name, value in columns.items():
            if not _is_alike(row.get(name), value):
                expect(False, f"{entity} {native_id}.{name}: {row.get(name)!r} instead of {value!r}")


def _is_alike(held: Any, true: Any) -> bool:
    """Whether a row's value is the true one; a connector may hand an instant on as the text that it got."""
    if isinstance(true, datetime) and isinstance(held, str):
        return datetime.fromisoformat(held) == true
    return bool(held == true)
