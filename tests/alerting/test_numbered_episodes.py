"""Every firing has its episode in the store, from its beginning to its end, with a number that people can type."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from kpid.store import alerts, episodes
from kpid.store.episodes import EpisodeRow
from kpid.store.tables import events, exclusions
from tests.alerting.world import World, rule, week

HOUR = timedelta(hours=1)
GOOD, BAD, WORSE = (120, 400), (96, 400), (76, 400)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, [rule(critical="< 20%", labels={"team": "sales"})])


def weeks(world: World, *figures: dict[str, Any], first: int = 2) -> None:
    for number, values in enumerate(figures, first):
        world.put(world.rules[0], week(number), values)
        world.evaluate(week(number).end + HOUR)


def all_of(world: World) -> list[EpisodeRow]:
    with world.store.read() as conn:
        return episodes.spans(conn, "win-rate-low")


def test_episode_is_opened_followed_and_ended(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    (row,) = all_of(world)
    assert (row.id, row.label, row.segment, row.labels) == (1, "Ana", {"owner": "crm:ana"}, {"team": "sales"})
    assert (row.level, row.opened_slot, row.since_at, row.opened_at) == ("warn", week(3).end, week(3).end, week(3).end + HOUR)
    assert row.thread == f"win-rate-low@{week(3).end.isoformat()}"
    weeks(world, {"ana": WORSE}, first=4)
    assert [(one.level, one.is_open) for one in all_of(world)] == [("critical", True)]
    weeks(world, {"ana": GOOD}, {"ana": BAD}, first=5)
    first, second = all_of(world)
    assert (first.end_kind, first.ended_slot, first.ended_at) == ("resolved", week(5).end, week(5).end + HOUR)
    assert (second.id, second.episode, second.is_open) == (2, 2, True)


def test_events_say_which_episode_they_are_of(world: World) -> None:
    weeks(world, {"ana": BAD, "bob": BAD}, {"ana": GOOD, "bob": WORSE})
    with world.store.read() as conn:
        said = [(row.kind, row.body["episode_id"]) for row in conn.execute(select(events).order_by(events.c.seq))]
        numbers = {row.series_key: row.id for row in episodes.spans(conn, "win-rate-low")}
        keys = {row.label: row.series_key for row in alerts.list_series(conn)}
    ana, bob = numbers[keys["Ana"]], numbers[keys["Bob"]]
    assert said == [("fired", ana), ("fired", bob), ("resolved", ana), ("escalated", bob)]


def test_what_began_and_ended_while_nobody_ran_is_an_episode_too(world: World) -> None:
    for number, ana in enumerate([BAD, GOOD, WORSE], 2):
        world.put(world.rules[0], week(number), {"ana": ana})
    world.evaluate(week(4).end + HOUR)
    first, second = all_of(world)
    assert (first.end_kind, first.opened_slot, first.ended_slot) == ("resolved", week(2).end, week(3).end)
    assert (second.level, second.is_open) == ("critical", True)


def test_restated_figures_end_an_episode(world: World) -> None:
    weeks(world, {"ana": GOOD}, {"ana": BAD})
    world.put(world.rules[0], week(3), {"ana": GOOD}, now=week(3).end + 5 * HOUR)
    world.evaluate(week(3).end + 5 * HOUR)
    assert [row.end_kind for row in all_of(world)] == ["restated"]


def test_rule_that_is_gone_ends_its_episodes_and_those_of_its_data(world: World) -> None:
    weeks(world, {"ana": BAD}, {}, {}, {})
    assert [(row.series_key == "", row.is_open) for row in all_of(world)] == [(False, True), (True, True)]
    world.rules = []
    world.evaluate(week(5).end + 2 * HOUR)
    assert [row.end_kind for row in all_of(world)] == ["rule_removed", "rule_removed"]


def test_data_of_a_rule_has_episodes_whose_numbers_go_on_after_a_pause(world: World) -> None:
    weeks(world, {}, {}, {"ana": GOOD})
    assert [(row.series_key, row.episode, row.end_kind) for row in all_of(world)] == [("", 1, "healthy")]
    active, world.rules = world.rules, [rule(critical="< 20%", paused=True)]
    world.evaluate(week(4).end + 2 * HOUR)
    world.rules = active
    weeks(world, {}, {}, first=5)
    assert [(row.series_key, row.episode, row.end_kind) for row in all_of(world)] == [("", 1, "healthy"), ("", 2, "")]
    world.rules = []
    world.evaluate(week(6).end + 2 * HOUR)
    world.rules = active
    weeks(world, {}, {}, first=7)
    assert [row.episode for row in all_of(world)] == [1, 2, 3]


def test_alert_fires_again_after_it_recovered(world: World) -> None:
    weeks(world, {"ana": BAD}, {"ana": GOOD}, {"ana": BAD}, {"ana": GOOD}, {"ana": BAD})
    assert [row.end_kind for row in all_of(world)] == ["resolved", "resolved", ""]


def test_flapping_is_an_event_and_known_of_the_episode(world: World) -> None:
    weeks(world, *[{"ana": BAD if number % 2 else GOOD} for number in range(1, 6)])
    assert world.events().count("flapping") == 1
    assert [row.flapping for row in all_of(world)] == [False, True, True]  # it fires, and still flaps
    weeks(world, *[{"ana": GOOD}] * 6, first=7)
    assert world.events().count("steady") == 1
    assert [row.flapping for row in all_of(world)] == [False, True, False]


def test_rule_that_is_never_measured_becomes_unhealthy(tmp_path: Path) -> None:
    """No figure, no family, no sync: silence is not health."""
    world = World(tmp_path, [rule(by=[])])
    for number in (2, 3, 4):
        for days in (0, 3):
            world.evaluate(week(number).end + timedelta(days=days) + HOUR)
    assert world.events() == ["unhealthy"]
    (row,) = all_of(world)
    assert (row.series_key, row.is_open, row.labels) == ("", True, {"kind": "health"})


@pytest.mark.parametrize(
    ("excluded", "fires"),
    [({}, True), ({"rule_uid": "win-rate-low"}, False), ({"kpi": "win_rate"}, False), ({"rule_uid": "other"}, True)],
)
def test_excluded_periods_are_no_part_of_what_is_usual(tmp_path: Path, excluded: dict[str, str], fires: bool) -> None:
    """Two weeks of a fair lift the average; without them the week after is as usual."""
    world = World(tmp_path, [rule(by=[], warn="drop > 30% vs avg(4)")])
    if excluded:
        span = {"starts_at": week(8).start, "ends_at": week(9).end, "at": week(9).end}
        with world.store.write() as conn:
            conn.execute(insert(exclusions).values(**excluded, **span, author="ada", comment="fair"))
    for number, won in enumerate([120] * 6 + [240] * 2 + [100], 2):
        world.put(world.rules[0], week(number), {"all": (won, 400)})
    world.evaluate(week(10).end + HOUR)
    assert ("fired" in world.events()) == fires


def test_episodes_are_no_part_of_what_is_usual(tmp_path: Path) -> None:
    world = World(tmp_path, [rule(by=[], warn="drop > 30% vs avg(4)")])
    for number, won in enumerate([120] * 6 + [60, 60, 120, 80], 2):
        world.put(world.rules[0], week(number), {"all": (won, 400)})
    world.evaluate(week(11).end + HOUR)
    assert world.events() == ["fired", "resolved", "fired"]  # with the bad weeks in it the average would be 22.5 %


def test_bad_rule_among_many_stops_no_other(tmp_path: Path) -> None:
    rules = [rule(name=f"r{number}", by=[], kpi="win_rate" if number % 50 else "unheard_of") for number in range(450)]
    world = World(tmp_path, rules)
    world.put(rules[1], week(2), {"all": BAD})
    result = world.evaluate(week(2).end + HOUR)
    assert len(result.failed) == 9
    assert (result.evaluations, result.events) == (441, 441)
    assert world.evaluate(week(2).end + 2 * HOUR).evaluations == 0
