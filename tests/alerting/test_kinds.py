"""Rules of every kind through the store: figures in history, judged slot after slot, as live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.rules import plan_of
from kpid.analysis.periods import days_of, last_complete, period_from_label
from kpid.analysis.workdays import WorkCalendar
from kpid.config.alerting import Rule
from kpid.model import Measurement, MeasurementState, Period, Segment, SeriesNeed
from kpid.store import alerts, history
from tests.alerting.world import CALENDAR, DEALS, WIN_RATE, World, rule, week

WORK = WorkCalendar("Europe/Berlin")
KPIS = {"win_rate": WIN_RATE, "deals": DEALS}


def put(world: World, need: SeriesNeed, period: Period, values: Mapping[str, Any]) -> None:
    """Figures of one family and period: ``{owner: (won, closed) or count}``; the owner ``""`` is all together."""
    found = []
    for owner, value in values.items():
        dims = (Segment("owner", f"crm:{owner}", owner.title()),) if owner else ()
        plain = Measurement(need.kpi, period, MeasurementState.OK, None, 0, dims, as_of=period.end, data_through=period.end)
        if isinstance(value, tuple):
            won, closed = map(Decimal, value)
            found.append(replace(plain, value=won / closed, n=int(closed), numerator=won, denominator=closed))
        else:
            found.append(replace(plain, value=Decimal(value), n=int(value)))
    with world.store.write() as conn:
        history.append(conn, need, found, periods=[period], definition="d", now=period.end)
        history.save_family(conn, need, "d", 1, period.end)


def judge(world: World, period: Period, **more: Any) -> None:
    setup = replace(world.setup(), calendars={"": WORK}, **more)
    result = evaluate_rules(setup, store=world.store, now=period.end)
    assert not result.failed, result.failed


def through(world: World, written: Rule, weeks: Mapping[int, Mapping[str, Any]], **more: Any) -> None:
    """Week after week: figures in, rules judged."""
    need = plan_of(written, KPIS[written.kpi], kpis=KPIS).need
    for number, values in weeks.items():
        put(world, need, week(number), values)
        judge(world, week(number), **more)


def bodies(world: World, kind: str) -> list[Mapping[str, Any]]:
    with world.store.read() as conn:
        return [event.body for event in reversed(alerts.list_events(conn, limit=1000)) if event.kind == kind]


def test_drop_against_the_weeks_before_fires_and_its_own_weeks_do_not_become_usual(tmp_path: Path) -> None:
    written = rule(kpi="deals", warn="drop > 20% vs avg(8)")
    world = World(tmp_path, [written])
    through(world, written, {number: {"ada": 100} for number in range(1, 10)})
    assert world.events() == []
    through(world, written, {number: {"ada": 50} for number in range(10, 18)})
    assert world.states() == {"Ada": "firing warn"}
    assert bodies(world, "fired")[0]["baseline_label"] == "the average of 8 weeks"
    through(world, written, {18: {"ada": 90}})
    assert world.events() == ["fired", "resolved"]
    assert bodies(world, "resolved")[0]["baseline"] == "100"


def test_many_owners_at_once_need_more_than_one_alone(tmp_path: Path) -> None:
    written = rule(warn="< 24%", significance="5%")
    owners = [f"owner{number:02}" for number in range(20)]
    usual: dict[str, Any] = dict.fromkeys(owners, (100, 400))
    world = World(tmp_path, [written])
    through(world, written, dict.fromkeys(range(1, 10), usual))
    through(world, written, {10: {**usual, "owner03": (82, 400), "owner07": (40, 400)}})
    assert {name: state for name, state in world.states().items() if state != "ok"} == {"Owner07": "firing warn"}
    body = bodies(world, "fired")[0]
    assert (body["p"], body["baseline"]) == (0.0, "0.25")


@pytest.mark.parametrize(("whole", "to_date", "label"), [("quarter", "qtd", "2026-Q4"), ("fiscal_quarter", "fqtd", "FY2026-Q4")])
def test_running_quarter_is_judged_every_day(tmp_path: Path, whole: str, to_date: str, label: str) -> None:
    written = rule(kpi="deals", period=whole, by=[], warn="pace < 90% of target", critical="pace < 75% of target")
    world, need = World(tmp_path, [written]), plan_of(written, DEALS).need
    goals: list[Period] = []

    def target(wanted: SeriesNeed, period: Period, dims: Any, now: Any) -> Decimal:
        goals.append(period)
        return Decimal(650)

    first = period_from_label(to_date, "2026-10-08", CALENDAR)
    for day in range(41):
        period = last_complete(to_date, first.end + timedelta(days=day), CALENDAR, 1)[0]
        pace = {36: 85, 37: 85, 38: 70, 39: 70}.get(day, 100)
        put(world, need, period, {"": WORK.working_days(*days_of(period, CALENDAR)) * pace // 10})
        judge(world, period, targets=target)
    assert world.events() == ["fired", "escalated", "resolved"]
    assert {goal.label for goal in goals} == {label}
    assert bodies(world, "fired")[0]["reason"].endswith("working days")


def test_owner_is_compared_with_the_whole_team(tmp_path: Path) -> None:
    written = rule(warn="change < -10pp vs total", min_sample=15)
    world, plan = World(tmp_path, [written]), plan_of(written, WIN_RATE)
    assert plan.total is not None
    put(world, plan.total, week(1), {"": (300, 600)})
    through(world, written, {1: {"ada": (7, 20), "bob": (9, 20), "cy": (1, 14)}})
    assert world.states()["Ada"] == "firing warn"
    assert {world.states()["Bob"], world.states()["Cy"]} == {"ok"}
    assert bodies(world, "fired")[0]["reason"] == "15.0 points below all together"


def test_condition_on_another_kpi_looks_into_its_history(tmp_path: Path) -> None:
    written = rule(kpi="deals", warn={"any": ["< 5", {"kpi": "win_rate", "is": "< 25%", "min_sample": 10}]})
    world, plan = World(tmp_path, [written]), plan_of(written, DEALS, kpis=KPIS)
    put(world, plan.members[0], week(1), {"ada": (2, 20), "bob": (10, 20), "cy": (0, 3)})
    through(world, written, {1: {"ada": 20, "bob": 20, "cy": 3}})
    assert world.states() == {"Ada": "firing warn", "Bob": "ok", "Cy": "firing warn"}
    reasons = [body["reason"] for body in bodies(world, "fired")]
    assert reasons == ["win_rate: 10.0% is < 25%", "3 is < 5"]


def test_what_is_unusual_fires(tmp_path: Path) -> None:
    written = rule(kpi="deals", warn={"anomaly": "down", "history": "12x"})
    world = World(tmp_path, [written])
    through(world, written, {number: {"ada": 100 + number % 5} for number in range(1, 13)})
    through(world, written, {13: {"ada": 60}, 14: {"ada": 102}})
    assert world.events() == ["fired", "resolved"]


def test_figures_that_come_late_for_the_baseline_are_seen(tmp_path: Path) -> None:
    """The alert was right by what was known; with the late figures of earlier weeks it no longer is."""
    written = rule(kpi="deals", warn="drop > 20% vs avg(4)")
    world, need = World(tmp_path, [written]), plan_of(written, DEALS).need
    through(world, written, {number: {"ada": 100} for number in range(1, 5)})
    through(world, written, {5: {"ada": 70}})
    assert world.states() == {"Ada": "firing warn"}
    later = week(5).end + timedelta(hours=5)
    found = [
        Measurement("deals", week(number), MeasurementState.OK, Decimal(72), 72, (Segment("owner", "crm:ada", "Ada"),))
        for number in (1, 2, 3, 4)
    ]
    with world.store.write() as conn:
        history.append(conn, need, found, periods=[week(number) for number in (1, 2, 3, 4)], definition="d", now=later)
        history.save_family(conn, need, "d", 2, later)
    evaluate_rules(world.setup(), store=world.store, now=later + timedelta(minutes=1))
    assert world.states() == {"Ada": "ok"}
