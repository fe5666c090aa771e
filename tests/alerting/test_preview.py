"""A preview tells what the next round will send, and leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from kpid.alerting.contracts import Telling
from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.loading import Loader
from kpid.alerting.preview import preview
from kpid.alerting.replay import Past, facts_of
from kpid.alerting.rules import plan_of
from kpid.alerting.windows import openings_of
from kpid.config.alerting import Route, Window
from kpid.model import MeasurementState
from kpid.store import handling, history
from tests.alerting.world import CALENDAR, WIN_RATE, World, compose, rule, week

WELL, BAD = (20, 30), (5, 30)
NOW = week(4).end + timedelta(hours=1)


def bundle(notices, telling: Telling):
    return replace(compose(notices[0]), text=f"{telling.recipient} {telling.kind} {telling.route}")


@pytest.fixture
def world(tmp_path):
    own = rule(labels={"team": "sales"})
    world = World(tmp_path, [own], recipients={"team": ("ada@example.com", "ben@example.com"), "chat": ("#sales",)})
    for number, figures in ((2, {"ana": WELL, "ben": WELL}), (3, {"ana": BAD, "ben": WELL})):
        world.put(own, week(number), figures)
        world.evaluate(week(number).end + timedelta(hours=1))
    world.put(own, week(4), {"ana": WELL, "ben": BAD})
    return world


def seen(world, *, now=NOW, **setup):
    made = replace(world.setup(), bundle=bundle, **setup)
    plan = plan_of(world.rules[0], WIN_RATE)
    with world.store.read() as conn:
        facts = Loader(CALENDAR, now).load(conn, [plan]).get(plan.uid)
    return preview(made, plan, facts, store=world.store, now=now)


def state_of(world):
    return world.titles(), world.events(), world.states()


def test_a_preview_is_what_the_next_round_sends(world):
    before = state_of(world)
    found = seen(world)
    assert state_of(world) == before, "nothing is written"
    sent = len(world.letters())
    evaluate_rules(replace(world.setup(), bundle=bundle), store=world.store, now=NOW)
    letters = [(row.receiver, row.recipient, row.message["title"]) for row in world.letters()[sent:]]
    told = [(one.receiver, recipient, one.message.title) for one in found.letters for recipient in one.recipients]
    assert sorted(told) == sorted(letters)
    assert len(letters) == 4, "one fires and one is well again, each told to two people"
    assert found.slot.label == "2026-W04"
    assert [(one.dims[0].name, one.status, one.level) for one in found.standing] == [
        ("Ana", "ok", "none"),
        ("Ben", "firing", "warn"),
    ]


def test_routes_windows_and_waits_are_said(world):
    routes = (
        Route.model_validate({"match": {"owner": "ben"}, "to": ["chat"], "hours": "office", "group_wait": "1m"}),
        Route.model_validate({"match": {"team": "sales"}, "to": ["team:cro@example.com"]}),
    )
    windows = openings_of({"office": Window.model_validate({"times": "08:00-18:00", "outside": "defer"})}, {}, "Europe/Berlin")
    found = seen(world, routes=routes, windows=windows).letters
    assert [(one.receiver, one.recipients, one.route) for one in found if "resolved" in one.message.title] == [
        ("team", ("ada@example.com", "ben@example.com"), "to: of the rule")
    ], "it ends for those that heard of it, whatever routes say now"
    (chat,) = [one for one in found if "fired" in one.message.title]
    assert (chat.recipients, chat.route, chat.held.by) == (("#sales",), "route 1: owner=ben", "window office")
    assert chat.wait == timedelta(minutes=1)
    assert chat.message.text == "#sales fired route 1: owner=ben"


def test_a_silence_is_said(world):
    with world.store.write() as conn:
        until = NOW + timedelta(hours=8)
        handling.add_silence(
            conn, matchers={"owner": ["ben"]}, starts_at=NOW, ends_at=until, author="ada", via="cli", comment="known", now=NOW
        )
    fired = next(one for one in seen(world).letters if "fired" in one.message.title)
    assert (fired.held.by, fired.held.until) == ("silence 1", until)


def test_a_receiver_that_is_gone_is_seen(world):
    world.recipients = {"other": ("eve@example.com",)}
    assert {one.recipients for one in seen(world).letters} == {()}


def test_nothing_due_brings_nothing(world):
    world.evaluate(NOW)
    plan = plan_of(world.rules[0], WIN_RATE)
    found = preview(world.setup(), plan, facts_of(Past([]), []), store=world.store, now=NOW)
    assert (found.slot, found.letters, found.standing) == (None, (), ())


def past(world, last):
    with world.store.read() as conn:
        figures = history.current(conn, world.need(world.rules[0]))
    return facts_of(Past(figures), [week(number) for number in range(2, last + 1)])


def test_the_past_is_told_as_it_was_then(world):
    plan = plan_of(world.rules[0], WIN_RATE)
    for last, titles in ((2, []), (3, ["Ana fired warn"]), (4, ["Ben fired warn", "Ana resolved warn"])):
        found = preview(world.setup(), plan, past(world, last), store=world.store, now=week(last).end, lived=True)
        assert sorted(one.message.title.split(": ")[1] for one in found.letters) == sorted(titles)


def test_a_first_round_tells_only_what_still_stands(world):
    plan = plan_of(world.rules[0], WIN_RATE)
    found = preview(world.setup(), plan, past(world, 4), store=world.store, now=NOW)
    assert [one.message.title.split(": ")[1] for one in found.letters] == ["Ben fired warn"]


def test_the_rules_own_health_is_told(world):
    own = world.rules[0]
    plan = plan_of(own, WIN_RATE)
    for number in (4, 5):
        world.put(own, week(number), {"ana": MeasurementState.ERROR, "ben": MeasurementState.ERROR})
    found = preview(world.setup(), plan, past(world, 5), store=world.store, now=week(5).end, lived=True)
    (letter,) = found.letters
    assert letter.message.kind == "health"


def test_alert_that_eases_goes_to_those_that_heard_and_to_those_that_would_hear_now(tmp_path):
    """As the next round does, whatever routes say now."""
    own = rule(warn="< 50%", critical="< 20%")
    world = World(tmp_path, [own], recipients={"team": ("ada@example.com",), "chat": ("#sales",)})
    for number, figures in ((2, {"ana": WELL}), (3, {"ana": BAD})):
        world.put(own, week(number), figures)
        world.evaluate(week(number).end + timedelta(hours=1))
    world.put(own, week(4), {"ana": (12, 30)})
    routes = (Route.model_validate({"match": {}, "to": ["chat"], "group_wait": "0s"}),)
    told = {(one.receiver, one.message.title) for one in seen(world, routes=routes).letters}
    evaluate_rules(replace(world.setup(), bundle=bundle, routes=routes), store=world.store, now=NOW)
    sent = {(row.receiver, row.message["title"]) for row in world.letters() if "eased" in row.message["title"]}
    assert {receiver for receiver, _ in told} == {"team", "chat"}
    assert told == sent
