"""Rows of whatever kind come out with their names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest

from kpid.commands.plain import plain


@dataclass(frozen=True)
class Row:
    at: datetime
    value: Decimal


class Tuple(NamedTuple):
    at: datetime
    value: Decimal


@pytest.mark.parametrize("kind", [Row, Tuple])
def test_row_has_its_names(kind: type) -> None:
    row = kind(datetime(2026, 11, 2, tzinfo=UTC), Decimal("1.5"))
    assert plain([row]) == [{"at": "2026-11-02T00:00:00+00:00", "value": 1.5}]


def test_pair_without_names_is_a_list() -> None:
    assert plain((1, "a")) == [1, "a"]
