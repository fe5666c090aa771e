"""Conditions on other KPIs within `all:` and `any:` know what a rule of its own would know."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.mappings import condition_from
from kpid.alerting.rules import needs_of, plan_of
from kpid.analysis.periods import days_of, period_from_label
from kpid.model import Period, SeriesNeed
from tests.alerting.test_kinds import KPIS, WORK, bodies, judge, put
from tests.alerting.world import CALENDAR, DEALS, World, rule, week


def watched(tmp_path: Path, member: dict[str, Any], **more: Any) -> tuple[World, Any]:
    written = rule(kpi="deals", warn={"any": ["< 5", member]}, catch_up=1, **more)
    return World(tmp_path, [written]), plan_of(written, DEALS, kpis=KPIS)


def test_member_looks_as_far_back_as_it_says(tmp_path: Path) -> None:
    world, plan = watched(tmp_path, {"kpi": "win_rate", "is": "drop > 20% vs avg(8)"})
    for number in range(1, 20):
        put(world, plan.members[0], week(number), {"ada": (50, 100) if number < 19 else (30, 100)})
        put(world, plan.need, week(number), {"ada": 20})
        judge(world, week(number))
    assert world.events() == ["fired"]
    assert bodies(world, "fired")[0]["reason"] == "win_rate: 40.0% below the average of 8 weeks"


def test_member_may_say_what_is_unusual(tmp_path: Path) -> None:
    world, plan = watched(tmp_path, {"kpi": "win_rate", "is": {"anomaly": "down", "history": "8x"}})
    for number in range(1, 12):
        put(world, plan.members[0], week(number), {"ada": (50 + number % 4, 100) if number < 11 else (10, 100)})
        put(world, plan.need, week(number), {"ada": 20})
        judge(world, week(number))
    assert world.events() == ["fired"]
    assert bodies(world, "fired")[0]["reason"].startswith("win_rate: below its usual range of ")


def test_member_is_compared_with_all_together(tmp_path: Path) -> None:
    world, plan = watched(tmp_path, {"kpi": "win_rate", "is": "change < -10pp vs total", "min_sample": 10})
    own, whole = plan.members
    assert (own.by, whole.by, own.kpi, whole.kpi) == (("owner",), (), "win_rate", "win_rate")
    assert [need for need in needs_of(plan.rule, DEALS) if need.kpi == "win_rate"] == [own, whole]
    put(world, own, week(1), {"ada": (7, 20), "bob": (9, 20)})
    put(world, whole, week(1), {"": (300, 600)})
    put(world, plan.need, week(1), {"ada": 20, "bob": 20})
    judge(world, week(1))
    assert world.states() == {"Ada": "firing warn", "Bob": "ok"}
    assert bodies(world, "fired")[0]["reason"] == "win_rate: 15.0 points below all together"


def test_member_knows_its_own_target(tmp_path: Path) -> None:
    world, plan = watched(tmp_path, {"kpi": "win_rate", "is": "< 90% of target", "min_sample": 10})
    asked: list[tuple[str, str]] = []

    def target(need: SeriesNeed, period: Period, dims: Any, now: Any) -> Decimal:
        asked.append((need.kpi, period.label))
        return Decimal("0.5")

    put(world, plan.members[0], week(1), {"ada": (44, 100), "bob": (46, 100)})
    put(world, plan.need, week(1), {"ada": 20, "bob": 20})
    judge(world, week(1), targets=target)
    assert world.states() == {"Ada": "firing warn", "Bob": "ok"}
    assert set(asked) == {("win_rate", "2026-W01")}
    assert bodies(world, "fired")[0]["reason"] == "win_rate: 88.0% of the target"


def test_member_may_be_a_pace_of_the_running_period(tmp_path: Path) -> None:
    """A rate of closed weeks, or a quarter behind its target: the quarter is looked at as it stands when the week is over."""
    written = rule(
        warn={"any": ["< 10%", {"kpi": "deals", "period": "quarter", "is": "pace < 90% of target"}]}, by=[], catch_up=1
    )
    world, plan = World(tmp_path, [written]), plan_of(written, KPIS["win_rate"], kpis=KPIS)
    assert plan.members[0].period == "qtd"
    seen: list[Period] = []

    def target(need: SeriesNeed, period: Period, dims: Any, now: Any) -> Decimal:
        seen.append(period)
        return Decimal(620)

    for number, pace in ((6, 100), (7, 80)):
        put(world, plan.need, week(number), {"": (50, 100)})
        last = days_of(week(number), CALENDAR)[1]
        running = period_from_label("qtd", str(last.replace(day=last.day - 1)), CALENDAR)
        put(world, plan.members[0], running, {"": int(WORK.working_days(*days_of(running, CALENDAR))) * pace // 10})
        judge(world, week(number), targets=target)
    assert world.events() == ["fired"]
    assert {period.label for period in seen} == {"2026-Q1"}
    assert bodies(world, "fired")[0]["reason"].startswith("deals: ")
    assert bodies(world, "fired")[0]["reason"].endswith("working days")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kpi": "deals", "is": {"all": ["< 5", "< 6"]}}, "one of several conditions cannot be several itself"),
        ({"all": ["< 5", "< 6"]}, "one of several conditions cannot be several itself"),
        ({"kpi": "deals", "is": 5}, "a condition on another KPI needs both"),
    ],
)
def test_what_cannot_be_a_member_is_refused(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        condition_from({"any": ["> 5", given]})


def test_gain_since_an_event_may_be_a_member() -> None:
    found = condition_from({"all": ["> 5", {"kpi": "win_rate", "is": {"since": "2026-03-01", "months": 3, "gain": "5pp"}}]})
    assert found.text == "> 5 and win_rate gain of 5pp since 2026-03-01 (3 months on both sides)"
    own = condition_from({"all": ["> 5", {"since": "2026-03-01", "months": 3}]})
    assert own.reach("month") == 13
    assert replace(own).text.startswith("> 5 and gain of 0 since")
