"""Figures that change after they were judged: ``on_restate`` says whether that is written down, told, or neither."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from kpid.model import Notice
from kpid.store import alerts
from kpid.store.alerts import Story
from tests.alerting.world import World, compose, rule, week

HOUR = timedelta(hours=1)
GOOD, BAD, WORSE = (51, 100), (24, 100), (20, 100)


def world_of(tmp_path: Path, on_restate: str, *weeks: tuple[int, int]) -> World:
    """Ana's weeks from the second on, each judged an hour after its end."""
    world = World(tmp_path, [rule(on_restate=on_restate)])
    for number, value in enumerate(weeks, 2):
        world.put(world.rules[0], week(number), {"ana": value})
        world.evaluate(week(number).end + HOUR)
    return world


def changed(world: World, number: int, value: tuple[int, int], hours: int = 5) -> int:
    """A week's figure is another one; how many evaluations that brings."""
    now = week(3).end + hours * HOUR
    world.put(world.rules[0], week(number), {"ana": value}, now=now)
    return world.evaluate(now).evaluations


def story(world: World) -> Story:
    with world.store.read() as conn:
        [series] = alerts.list_series(conn)
        return alerts.episode_story(conn, series.rule_uid, series.series_key, series.episode)


def notes(world: World) -> list[str]:
    return [
        warning for row in story(world).evaluations for warning in row.outcome.get("warnings", ()) if "restated from" in warning
    ]


def last(world: World) -> tuple[str, str, str]:
    state = story(world).series.state["last"]
    return state["period"], state["kind"], state["value"]


@pytest.mark.parametrize("on_restate", ["note", "resend"])
def test_alert_whose_figure_changed_keeps_it_with_a_note_and_nobody_is_told(tmp_path, on_restate):
    world = world_of(tmp_path, on_restate, GOOD, BAD)
    assert changed(world, 3, WORSE) == 1
    assert notes(world) == ["restated from 24.0% to 20.0%"]
    assert last(world) == ("2026-W03", "breach", "0.2")
    assert [row.outcome["value"] for row in story(world).evaluations] == ["0.24", "0.2"], "what it fired on is kept"
    assert (world.events(), len(world.titles())) == (["fired"], 1)
    assert changed(world, 3, WORSE, hours=6) == 0
    changed(world, 3, (22, 100), hours=7)
    assert notes(world)[-2:] == ["restated from 24.0% to 20.0%", "restated from 20.0% to 22.0%"]


def test_verdict_that_flips_is_told_with_the_note(tmp_path):
    world = world_of(tmp_path, "resend", GOOD, BAD)
    told: list[Notice] = []
    world.compose = lambda notice: (told.append(notice), compose(notice))[1]
    changed(world, 3, GOOD)
    assert world.titles()[1:] == ["win-rate-low 2026-W03: Ana restated warn"]
    assert told[0].items[0].warnings == ("restated from 24.0% to 51.0%",)
    assert world.states() == {"Ana": "ok"}


def test_verdict_that_flips_is_only_written_down_with_note(tmp_path):
    world = world_of(tmp_path, "note", GOOD, BAD)
    assert changed(world, 3, GOOD) == 1
    assert notes(world) == ["restated from 24.0% to 51.0%"]
    assert (world.events(), world.states()) == (["fired"], {"Ana": "firing warn"})
    assert changed(world, 3, GOOD, hours=6) == 0
    world.put(world.rules[0], week(4), {"ana": GOOD})
    world.evaluate(week(4).end + HOUR)
    assert (world.events(), world.states()) == (["fired", "resolved"], {"Ana": "ok"})


def test_past_that_was_bad_after_all_fires_only_with_resend(tmp_path):
    for on_restate, events in {"note": [], "ignore": [], "resend": ["restated", "fired"]}.items():
        folder = tmp_path / on_restate
        folder.mkdir()
        world = world_of(folder, on_restate, GOOD, GOOD)
        changed(world, 3, BAD)
        assert world.events() == events, on_restate


def test_nothing_is_written_down_with_ignore(tmp_path):
    world = world_of(tmp_path, "ignore", GOOD, BAD)
    assert (changed(world, 3, WORSE), changed(world, 3, GOOD, hours=6)) == (0, 0)
    assert (notes(world), last(world)) == ([], ("2026-W03", "breach", "0.24"))
    assert world.states() == {"Ana": "firing warn"}


def test_note_on_an_earlier_period_leaves_the_last_outcome(tmp_path):
    world = world_of(tmp_path, "resend", BAD, WORSE)
    assert changed(world, 2, (23, 100)) == 1
    assert notes(world) == ["restated from 24.0% to 23.0%"]
    assert last(world) == ("2026-W03", "breach", "0.2")


def test_change_that_cannot_be_seen_in_print_is_no_note(tmp_path):
    world = world_of(tmp_path, "resend", GOOD, (24_000, 100_000))
    assert changed(world, 3, (24_001, 100_000)) == 0
