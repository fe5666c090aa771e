"""A rule that lacks history is quiet and well: it says from which day on it can judge."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.assessing import judge_slot
from kpid.alerting.outcomes import OutcomeKind, outcome_from_dump
from kpid.analysis.periods import last_complete
from kpid.model import MeasurementState
from tests.alerting.sights import CALENDAR, asks, of, plain, rate
from tests.alerting.world import World, rule, week


def judged(warn: Any, values: list[Any], kind: str, make: Any = plain, unit: str = "count", now: datetime | None = None) -> Any:
    given = {} if now is None else {"now": now}
    return judge_slot(asks(unit, warn=warn), [of(make, values, kind, **given)])[0]


@pytest.mark.parametrize(
    ("warn", "values", "kind", "day"),
    [
        # periods end with 2026-11-23 (weeks), 2026-11-01 (months), 2026-10-01 (quarters)
        ("drop > 5% vs previous", [5], "week", "2026-11-30"),
        ("drop > 5% vs avg(8)", [5, 5, 5], "week", "2026-12-07"),
        ("drop > 5% vs avg(8)", [5, 5, 5], "month", "2027-01-01"),
        ("drop > 5% vs avg(4 same_weekdays)", [5] * 9, "day", "2026-11-30"),
        ("drop > 5% vs last_year", [None] * 9 + [5, 5, 5], "month", "2027-09-01"),
        ("drop > 5% vs last_year", [None] * 4 + [5], "quarter", "2027-10-01"),
        ("drop > 5% vs last_year", [None] * 50 + [5, 5, 5], "week", "2027-11-08"),
        ("drop > 5% vs last_year", [None] * 380 + [5, 5, 5], "day", "2027-11-21"),
        ("falls 4x", [5, 4, 3], "week", "2026-12-07"),
        ({"anomaly": "down"}, [5, 4, 3], "week", "2027-01-04"),
    ],
)
def test_too_little_history_is_insufficient_and_says_until_when(warn: Any, values: list[Any], kind: str, day: str) -> None:
    found = judged(warn, values, kind)
    assert (found.kind, found.known_from) == (OutcomeKind.INSUFFICIENT, day)
    assert f"enough is known from {day} on" in found.reason
    assert outcome_from_dump(found.dump()) == found


@pytest.mark.parametrize(
    ("warn", "count", "kind"),
    [
        ("drop > 5% vs avg(8)", 3, "week"),
        ("drop > 5% vs avg(8)", 2, "month"),
        ("drop > 5% vs last_year", 3, "month"),
        ("drop > 5% vs last_year", 1, "quarter"),
        ("falls 4x", 2, "week"),
        ({"anomaly": "down"}, 5, "week"),
    ],
)
def test_on_that_day_it_is_judged_and_not_before(warn: Any, count: int, kind: str) -> None:
    """Figures begin at a fixed period and keep coming: the first day on which there is a verdict is the one foretold."""
    first = last_complete(kind, datetime(2026, 11, 23, 12, tzinfo=UTC), CALENDAR, count)[0]
    day = judged(warn, [None] * 60 + [100 + step for step in range(count)], kind).known_from
    now = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC)
    for moment, known in ((now, True), (datetime.fromtimestamp(now.timestamp() - 86_400, UTC), False)):
        spans = last_complete(kind, moment, CALENDAR, 70)
        values = [None if span.start < first.start else 100 + step % 5 for step, span in enumerate(spans)]
        assert (judged(warn, values, kind, now=moment).kind is not OutcomeKind.INSUFFICIENT) == known


def test_last_year_without_cases_is_too_little_known_too() -> None:
    found = judged("drop > 5% vs last_year", [(0, 0)] * 6 + [(5, 10)] * 7, "month", rate, "ratio")
    assert (found.kind, found.known_from) == (OutcomeKind.INSUFFICIENT, "2027-05-01")


def test_figure_to_compare_with_that_is_in_doubt_is_a_fault() -> None:
    seen = of(plain, [5, 5])
    stale = plain(seen.before[-1], 5, state=MeasurementState.STALE)
    seen = replace(seen, at=lambda period: stale)
    assert judge_slot(asks(warn="drop > 5% vs previous"), [seen])[0].kind is OutcomeKind.NO_DATA


def test_gap_in_the_past_is_over_when_it_is_no_longer_compared_with() -> None:
    found = judged("drop > 5% vs last_year", [5, None, *[5] * 12], "month")
    assert (found.kind, found.known_from) == (OutcomeKind.INSUFFICIENT, "2026-12-01")


def test_rule_without_enough_history_is_well_and_quiet(tmp_path: Path) -> None:
    watched = rule(kpi="deals", warn="drop > 20% vs last_year", catch_up=1)
    world = World(tmp_path, [watched])
    for number in range(1, 8):
        world.put(watched, week(number), {"ana": 100})
        world.evaluate(week(number).end)
    assert (world.events(), world.titles(), world.states()) == ([], [], {"Ana": "ok"})
