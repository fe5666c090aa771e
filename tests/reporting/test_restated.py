"""A report says which of the figures beside each other were told otherwise before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from kpid.model import SeriesNeed
from kpid.reporting.restated import marked
from kpid.store import history
from kpid.store.engine import Store
from tests.reporting.weeks import KPIS, NOW, WEEKS, run_of

LATER = NOW + timedelta(days=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    yield store
    store.close()


def warnings_after(store: Store, kpi: str, told: list[str], now: list[str]) -> tuple[str, ...]:
    need = SeriesNeed(kpi, "week")
    with store.write() as conn:
        for values, at in ((told, NOW), (now, LATER)):
            found = [replace(one, denominator=Decimal(1000) if kpi == "win_rate" else None) for one in run_of(kpi, values)]
            history.append(conn, need, found, periods=[one.period for one in found], definition="d", now=at)
        current = history.current(conn, need)
        return marked(conn, need, current, KPIS[kpi], WEEKS[-2:])[-1].warnings


def test_figure_that_was_told_otherwise_is_marked(store):
    label = WEEKS[-2].label
    assert warnings_after(store, "won_deals", ["30", "31", "33"], ["30", "35", "33"]) == (f"{label} was first reported as 31",)


@pytest.mark.parametrize(
    ("told", "now"),
    [
        (["30", "31", "33"], ["30", "31", "33"]),
        (["30", "31", "33"], ["30", "32", "33"]),  # one unit
        (["30", "3100", "33"], ["30", "3120", "33"]),  # less than 1 %
        (["20", "31", "33"], ["30", "31", "33"]),  # a week that nobody looks at beside the newest
    ],
)
def test_figure_that_hardly_changed_or_is_not_shown_is_not_marked(store, told, now):
    assert warnings_after(store, "won_deals", told, now) == ()


def test_rate_is_marked_from_one_percent_on(store):
    [note] = warnings_after(store, "win_rate", ["0.25", "0.24", "0.23"], ["0.25", "0.24", "0.26"])
    assert note == f"{WEEKS[-1].label} was first reported as 23.0%"


def test_nothing_has_no_marks(store):
    with store.read() as conn:
        assert marked(conn, SeriesNeed("won_deals", "week"), [], KPIS["won_deals"], WEEKS[-2:]) == []
