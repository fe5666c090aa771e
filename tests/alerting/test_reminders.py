from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from kpid.alerting.contracts import Contact, Telling
from kpid.alerting.letters import renewed
from kpid.alerting.outcomes import Outcome, OutcomeKind
from kpid.alerting.reminders import reminders_due, standing_of
from kpid.model import Cause, Level, Notice, NoticeItem
from kpid.plugin.notifier import Message
from kpid.store import episodes, groups, handling, notices, problems
from tests.alerting.routed import Routed, bundle, owners, routes, window
from tests.alerting.world import rule, week

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GOOD, BAD, WORSE = (120, 400), (96, 400), (76, 400)
FIRED = week(2).end + HOUR
ALL = {"team": ("ada@example.com",), "boss": ("bea@example.com",), "chief": ("cyd@example.com",), "mail": ()}


def fired(folder: Path, *given: dict[str, Any], **more: Any) -> Routed:
    """A world in which Ana's alert has just been told."""
    world = Routed(folder, [rule(critical="< 20%")], ALL, more={"routes": routes(*given), **more})
    world.put(world.rules[0], week(2), {"ana": BAD})
    world.evaluate(FIRED)
    return world


def hand(world: Routed, kind: str, until: datetime, now: datetime = FIRED) -> None:
    with world.store.write() as conn:
        (one,) = episodes.list_open(conn)
        act = handling.take_up if kind == "ack" else handling.put_off
        assert act(conn, [one.id], by="ada", via="cli", until=until, comment="", now=now)


def reminded(world: Routed, until: timedelta) -> list[float]:
    """After how many hours people were told again, looking every hour."""
    found = []
    at = FIRED
    while at < FIRED + until:
        at += HOUR
        before = len(world.letters())
        world.tend(at)
        found += [(at - FIRED) / HOUR] * (len(world.letters()) - before)
    return found


def test_repeat_doubles_up_to_its_maximum(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "6h", "repeat_max": "24h"})
    assert reminded(world, 4 * DAY) == [6, 18, 42, 66, 90]
    assert world.told()[1:] == ["team ada@example.com: Ana reminder"] * 5
    assert len({letter.thread for letter in world.letters()}) == 1


def test_repeat_may_be_off(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off"})
    assert reminded(world, 3 * DAY) == []


def test_rule_with_recipients_of_its_own_reminds_ever_more_seldom(tmp_path: Path) -> None:
    world = fired(tmp_path)
    assert reminded(world, 8 * DAY) == [24, 72, 168]


def test_no_reminder_of_what_has_ended_or_somebody_has_in_hand(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "6h"})
    hand(world, "ack", FIRED + 30 * DAY)
    assert reminded(world, 2 * DAY) == []
    world.put(world.rules[0], week(3), {"ana": GOOD})
    world.evaluate(week(3).end + HOUR)
    assert world.told()[1:] == ["team ada@example.com: Ana resolved"]
    world.tend(week(3).end + 40 * DAY)
    assert len(world.told()) == 2


def test_reminder_has_the_newest_figures(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "8d"})
    world.put(world.rules[0], week(3), {"ana": (88, 400)})
    world.evaluate(week(3).end + HOUR)
    world.tend(FIRED + 8 * DAY)
    assert world.letters()[-1].message["facts"]["values"] == ["0.22"]


def test_end_of_a_snooze_tells_what_still_fires_once(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off"})
    hand(world, "snooze", FIRED + DAY)
    assert reminded(world, 3 * DAY) == [24]
    with world.store.read() as conn:
        assert groups.handled_episodes(conn) == []


def test_end_of_a_snooze_says_nothing_of_what_is_over(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"]})
    hand(world, "snooze", FIRED + 8 * DAY)
    world.put(world.rules[0], week(3), {"ana": GOOD})
    world.evaluate(week(3).end + HOUR)
    told = world.told()
    world.tend(FIRED + 9 * DAY)
    assert world.told() == told


STEPS = [{"after": "4h", "to": ["boss"]}, {"after": "8h", "to": ["chief"]}]


def test_escalation_climbs_step_by_step(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off", "escalate": STEPS})
    assert reminded(world, DAY) == [4, 8]
    assert world.told()[1:] == ["boss bea@example.com: Ana escalation", "chief cyd@example.com: Ana escalation"]


def test_escalation_stops_when_somebody_takes_it_up(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off", "escalate": STEPS})
    assert reminded(world, 5 * HOUR) == [4]
    hand(world, "ack", FIRED + 7 * DAY, FIRED + 5 * HOUR)
    world.tend(FIRED + 20 * HOUR)
    assert len(world.told()) == 2


def test_snooze_puts_an_escalation_off(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off", "escalate": STEPS[:1]})
    hand(world, "snooze", FIRED + 10 * HOUR)
    assert reminded(world, DAY) == [10, 10]
    assert sorted(world.told()[1:]) == ["boss bea@example.com: Ana escalation", "team ada@example.com: Ana reminder"]


def test_those_whom_it_climbed_to_hear_of_the_end(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off", "escalate": STEPS[:1]})
    reminded(world, 5 * HOUR)
    world.put(world.rules[0], week(3), {"ana": GOOD})
    world.evaluate(week(3).end + HOUR)
    assert world.told()[2:] == ["team ada@example.com: Ana resolved", "boss bea@example.com: Ana resolved"]
    world.tend(week(3).end + DAY)
    assert len(world.told()) == 4


def test_escalation_outside_of_a_window_is_put_off_even_where_others_are_dropped(tmp_path: Path) -> None:
    given = {"to": ["team"], "repeat": "off", "escalate": STEPS[:1], "hours": "office"}
    world = fired(tmp_path, given, windows=window("drop", times="00:00-02:00"))
    assert world.told() == ["team ada@example.com: Ana fired"]
    assert reminded(world, 2 * DAY) == [23]


def test_escalation_may_go_to_the_manager(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off", "escalate": [{"after": "1h", "to": ["manager"]}]}, owners=owners())
    world.people = {
        "crm:ana": Contact("crm:ana", "Ana Example", "ana@example.com", manager_id="crm:eve"),
        "crm:eve": Contact("crm:eve", "Eve Example", "eve@example.com"),
    }
    world.tend(FIRED + HOUR)
    assert world.told()[1:] == ["mail eve@example.com: Ana escalation"]


def test_nothing_to_do_writes_nothing(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"]})
    before = world.rows()
    assert world.tend(FIRED + HOUR).messages == 0
    assert world.rows() == before
    with world.store.read() as conn:
        assert notices.count_by_state(conn) == {"sent": 1}


# ---- after a change of the configuration, and beside another process
OTHER: dict[str, Any] = {"match": {"team": "ops"}, "to": ["boss"]}
CLIMBS: dict[str, Any] = {
    "match": {"rule": "win-*"}, "to": ["team"], "repeat": "off", "hours": "office",
    "escalate": [{"after": "4h", "to": ["boss"]}, {"after": "8h", "to": ["chief"]}],
}  # fmt: skip
NOON = timedelta(hours=11)
"""From when it fired, in the night, to the middle of the next day's office hours."""


def climbing(folder: Path) -> Routed:
    world = Routed(folder, [rule(critical="< 20%")], ALL, more={"routes": routes(CLIMBS), "windows": window()})
    world.put(world.rules[0], week(2), {"ana": BAD})
    world.evaluate(FIRED + NOON)
    assert world.told() == ["team ada@example.com: Ana fired"]
    return world


def test_escalation_goes_on_after_a_route_was_put_before_its_own(tmp_path: Path) -> None:
    """The place of a route is no part of what it is: a reload that adds one must not end the chains of the others."""
    world = climbing(tmp_path)
    world.tend(FIRED + NOON + timedelta(hours=4))
    world.more["routes"] = routes(OTHER, CLIMBS)
    world.tend(FIRED + NOON + timedelta(hours=5))
    world.tend(FIRED + NOON + timedelta(hours=8))
    world.tend(FIRED + NOON + DAY)
    assert [line.split(":")[0] for line in world.told()[1:]] == ["boss bea@example.com", "chief cyd@example.com"]


def test_window_of_a_route_holds_after_its_place_has_changed(tmp_path: Path) -> None:
    world = climbing(tmp_path)
    world.more["routes"] = routes(OTHER, CLIMBS)
    world.put(world.rules[0], week(3), {"ana": GOOD})
    night = week(3).end + HOUR
    world.evaluate(night)
    assert len(world.told()) == 1, "it is night"
    world.tend(night + NOON)
    assert world.told()[-1] == "team ada@example.com: Ana resolved"


def test_reminder_that_two_processes_see_to_is_one(tmp_path: Path) -> None:
    """Both have seen that it is due before either has written it down."""
    world = fired(tmp_path, {"to": ["team"], "repeat": "6h"})
    with world.store.read() as conn:
        rows = notices.list_waiting(conn) + [
            row for one in episodes.list_open(conn) for row in notices.list_of_episode(conn, *one.key)
        ]
        standing = standing_of(episodes.list_open(conn), {})
    due = FIRED + 6 * HOUR
    keys = {row.key for now in (due, due + timedelta(seconds=1)) for row in reminders_due(rows, standing, now)}
    assert len(keys) == 1


def test_notice_that_cannot_be_written_stops_no_other(tmp_path: Path) -> None:
    world = Routed(tmp_path, [rule(), rule(name="other", warn="< 26%")], ALL, more={"routes": routes({"to": ["team"]})})

    def faulty(told: Sequence[Notice], telling: Telling) -> Message:
        if told[0].rule == "other":
            raise ValueError("a canary")
        return bundle(told, telling)

    world.more["bundle"] = faulty
    for one in world.rules:
        world.put(one, week(2), {"ana": BAD})
    world.evaluate(FIRED)
    assert world.told() == ["team ada@example.com: Ana fired"]
    with world.store.read() as conn:
        assert [one.subject for one in problems.list_problems(conn)] == ["notices:other"]
    world.more["bundle"] = bundle
    world.tend(FIRED + HOUR)
    assert len(world.told()) == 2


def test_what_waits_for_the_end_of_a_long_acknowledgement_is_told_when_a_shorter_one_ends(tmp_path: Path) -> None:
    world = fired(tmp_path, {"to": ["team"], "repeat": "off"})
    hand(world, "ack", FIRED + 30 * DAY)
    world.rules = [rule(critical="< 20%", name="win-rate-low")]
    with world.store.write() as conn:
        (row,) = [one for open_ in episodes.list_open(conn) for one in notices.list_of_episode(conn, *open_.key)]
        notices.add(conn, [replace(row, key="e" * 64, kind="eased", state="waiting", done_at=None, flush_id=None, id=0)])
    world.tend(FIRED + HOUR)
    assert len(world.told()) == 1, "somebody has it in hand"
    hand(world, "snooze", FIRED + 3 * HOUR, FIRED + 2 * HOUR)
    world.tend(FIRED + 4 * HOUR)
    assert world.told()[1:] == ["team ada@example.com: Ana eased"]


def test_reminder_with_newer_figures_does_not_say_what_moved_the_old_ones(tmp_path: Path) -> None:
    cause = Cause("owner", "Bob", Decimal("-0.1"), Decimal("-0.1"), Decimal(0), Decimal("0.1"), Decimal("0.2"), 9, 9, 3.0)
    item = NoticeItem(
        "fired", "k", "Ana", Level.WARN, 1, Decimal("0.24"), 400, "< 25%", None, None, "", "", "", causes=(cause,), moved_from="x"
    )
    same = Outcome(OutcomeKind.BREACH, Level.WARN, "low", Decimal("0.24"), 400).dump()
    other = Outcome(OutcomeKind.BREACH, Level.WARN, "low", Decimal("0.23"), 400).dump()
    assert renewed(item, same).causes == (cause,)
    assert (renewed(item, other).causes, renewed(item, other).moved_from) == ((), "")
