from __future__ import annotations

from datetime import timedelta

import pytest

from kpid.alerting.routes import (
    DIRECT,
    Pace,
    Way,
    destination_of,
    escalations,
    group_key_of,
    is_health_group,
    pace_of,
    paces,
    route_name,
    ways_of,
)
from kpid.config.alerting import Route

LABELS = {"rule": frozenset({"low"}), "severity": frozenset({"warn"}), "owner": frozenset({"crm:1", "Ana"})}


def route(**given: object) -> Route:
    return Route.model_validate({"to": ["team"], **given})


def test_first_route_that_matches_decides() -> None:
    given = [
        route(match={"severity": "critical"}, to=["boss"]),
        route(match={"rule": "l*"}, to=["team", "chat"]),
        route(to=["all"]),
    ]
    ways = ways_of(LABELS, ["own"], given)
    assert [(way.to, way.route) for way in ways] == [("team", "route 2: rule=l*"), ("chat", "route 2: rule=l*")]


def test_rule_that_no_route_matches_goes_to_its_own_recipients_at_once() -> None:
    (way,) = ways_of(LABELS, ["own", "own"], [route(match={"severity": "critical"})])
    assert way == Way("own", DIRECT, None, Pace())
    assert way.pace.wait == way.pace.interval == timedelta(0)


def test_routes_that_continue_add_up_and_name_nobody_twice() -> None:
    given = [route(to=["team"], **{"continue": True}), route(to=["boss", "team"])]
    assert [(way.to, way.route) for way in ways_of(LABELS, [], given)] == [
        ("team", "route 1: everything"),
        ("boss", "route 2: everything"),
    ]


@pytest.mark.parametrize(
    ("repeat", "most", "hours"),
    [("1d", None, [24, 24, 24]), ("1d", "3d", [24, 48, 72, 72]), ("off", None, [None]), ("2d", "1d", [48, 48])],
)
def test_reminders_come_ever_later(repeat: str, most: str | None, hours: list[float | None]) -> None:
    pace = pace_of(route(repeat=repeat, repeat_max=most))
    pauses = [pace.pause(number) for number in range(len(hours))]
    assert [None if pause is None else pause / timedelta(hours=1) for pause in pauses] == hours


def test_groups_are_what_the_labels_say_not_what_the_configuration_is_called() -> None:
    way = Way("team", "route 1", ("owner",))
    key = group_key_of(way, LABELS, "thread")
    assert key == group_key_of(Way("team", "route 7", ("owner",)), LABELS, "other")
    assert key != group_key_of(way, {**LABELS, "owner": frozenset({"crm:2"})}, "thread")
    assert group_key_of(Way("team"), LABELS, "one") != group_key_of(Way("team"), LABELS, "two")


def test_trouble_of_a_source_is_one_group_whatever_the_route() -> None:
    sick = {**LABELS, "kind": frozenset({"health"}), "source": frozenset({"crm"})}
    key = group_key_of(Way("team"), sick, "one")
    assert key == group_key_of(Way("team", "route 1", ("rule",)), sick, "two")
    assert is_health_group(key, sick)
    assert not is_health_group(group_key_of(Way("team"), LABELS, "one"), sick)


def test_paces_and_steps_by_the_name_of_the_route() -> None:
    given = [route(escalate=[{"after": "4h", "to": ["boss"]}], hours="office"), route()]
    name = route_name(1, given[0])
    assert paces(given)[name].hours == "office"
    assert [step.after for step in escalations(given)[name]] == [timedelta(hours=4)]
    assert list(escalations(given)) == [name]


def test_destination_is_a_receiver_or_an_address_of_one() -> None:
    assert destination_of("team") == ("team", "")
    assert destination_of("mail:cro@example.com") == ("mail", "cro@example.com")
