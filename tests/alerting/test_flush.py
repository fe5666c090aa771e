from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from kpid.alerting.contracts import Contact
from kpid.model import MeasurementState
from kpid.store import episodes, handling, problems
from kpid.store.engine import Store
from kpid.store.outbox import list_outbox
from kpid.store.tables import notices
from tests.alerting.routed import Routed, bundle, inhibit, owners, routes, window
from tests.alerting.world import rule, week

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
GOOD, BAD, WORSE = (120, 400), (96, 400), (76, 400)
BOTH = {"team": ("ada@example.com",), "boss": ("bea@example.com",), "mail": ("post@example.com",)}


def world(folder: Path, *given: Any, **more: Any) -> Routed:
    return Routed(folder, list(given) or [rule(critical="< 20%")], BOTH, more=more)


def weeks(world: Routed, *figures: dict[str, Any], first: int = 2) -> None:
    for number, values in enumerate(figures, first):
        world.put(world.rules[0], week(number), values)
        world.evaluate(week(number).end + HOUR)


def silence(world: Routed, until: Any, now: Any, **matchers: list[str]) -> int:
    with world.store.write() as conn:
        return handling.add_silence(
            conn, matchers=matchers, starts_at=now, ends_at=until, author="ada", via="cli", comment="test", now=now
        )


def test_route_takes_the_alert_from_the_rules_own_recipients(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"match": {"severity": "critical"}, "to": ["boss"]}))
    weeks(there, {"ana": WORSE, "bob": BAD})
    assert there.told() == ["boss bea@example.com: Ana fired", "team ada@example.com: Bob fired"]


def test_route_that_continues_lets_others_hear_too(tmp_path: Path) -> None:
    both = routes({"to": ["boss"], "continue": True}, {"match": {"rule": "win*"}, "to": ["team:cro@example.com"]})
    there = world(tmp_path, routes=both)
    weeks(there, {"ana": BAD})
    assert there.told() == ["boss bea@example.com: Ana fired", "team cro@example.com: Ana fired"]


def test_worse_level_goes_to_new_people_and_its_end_to_all_who_heard_of_it(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"match": {"severity": "critical"}, "to": ["boss"]}))
    weeks(there, {"ana": BAD}, {"ana": WORSE}, {"ana": GOOD})
    assert there.told() == [
        "team ada@example.com: Ana fired",
        "boss bea@example.com: Ana escalated",
        "team ada@example.com: Ana resolved",
        "boss bea@example.com: Ana resolved",
    ]


def test_each_owner_hears_of_his_own_series(tmp_path: Path) -> None:
    there = world(tmp_path, rule(to=["owner"]), owners=owners())
    there.people = {f"crm:{name}": Contact(f"crm:{name}", name, f"{name}@example.com") for name in ("ana", "bob")}
    weeks(there, {"ana": BAD, "bob": BAD, "cyd": GOOD}, {"ana": BAD, "bob": GOOD, "cyd": GOOD})
    assert sorted(there.told()) == [
        "mail ana@example.com: Ana fired",
        "mail bob@example.com: Bob fired",
        "mail bob@example.com: Bob resolved",
    ]


def test_rules_with_one_group_are_one_message(tmp_path: Path) -> None:
    first, second = rule(name="one"), rule(name="two", warn="< 24.5%")
    there = world(tmp_path, first, second, routes=routes({"to": ["boss"], "group_by": [], "group_wait": "30s"}))
    weeks(there, {"ana": BAD})
    assert there.told() == []
    there.flush(week(2).end + HOUR + timedelta(seconds=29))
    assert there.told() == []
    there.flush(week(2).end + HOUR + timedelta(seconds=30))
    assert there.told() == ["boss bea@example.com: Ana fired, Ana fired"]


def test_group_by_a_dimension_is_a_message_per_segment_in_threads_of_their_own(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"], "group_by": ["owner"]}))
    weeks(there, {"ana": BAD, "bob": BAD}, {"ana": GOOD, "bob": BAD})
    assert there.told() == [f"boss bea@example.com: {title}" for title in ("Ana fired", "Bob fired", "Ana resolved")]
    threads = [letter.thread for letter in there.letters()]
    assert threads[0] == threads[2] != threads[1]


def test_ends_wait_for_the_interval_of_their_group_new_alerts_do_not(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"], "group_interval": "8d"}))
    weeks(there, {"ana": BAD, "bob": BAD, "cyd": GOOD}, {"ana": GOOD, "bob": BAD, "cyd": GOOD})
    assert there.told() == ["boss bea@example.com: Ana fired, Bob fired"]
    weeks(there, {"ana": GOOD, "bob": BAD, "cyd": BAD}, first=4)
    assert there.told()[1:] == ["boss bea@example.com: Ana resolved, Cyd fired"]


def test_group_begins_a_new_thread_when_all_of_it_had_ended(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"]}))
    weeks(there, {"ana": BAD}, {"ana": GOOD}, {"ana": BAD})
    first, end, again = (letter.thread for letter in there.letters())
    assert first == end != again


def test_two_that_flush_at_once_tell_people_once(tmp_path: Path) -> None:
    there = world(tmp_path)
    now = week(2).end + HOUR
    nested: list[int] = []

    def meanwhile(told: Any, telling: Any) -> Any:
        if not nested:
            nested.append(-1)
            nested.append(there.flush(now))
        return bundle(told, telling)

    there.more["bundle"] = meanwhile
    there.put(there.rules[0], week(2), {"ana": BAD})
    outer = there.evaluate(now)
    assert (nested[-1], outer.messages) == (1, 0)
    assert there.told() == ["team ada@example.com: Ana fired"]
    assert there.fates() == ["fired sent"]


def test_resolution_survives_a_restart_before_the_flush(tmp_path: Path) -> None:
    there = world(tmp_path)
    weeks(there, {"ana": BAD})

    def killed(told: Any, telling: Any) -> Any:
        raise SystemExit

    there.more["bundle"] = killed
    there.put(there.rules[0], week(3), {"ana": GOOD})
    with pytest.raises(SystemExit):
        there.evaluate(week(3).end + HOUR)
    there.store.close()
    there.store = Store(f"sqlite:///{tmp_path / 'kpid.db'}")
    there.more["bundle"] = bundle
    there.flush(week(3).end + 2 * HOUR)
    assert there.told() == ["team ada@example.com: Ana fired", "team ada@example.com: Ana resolved"]


def test_what_still_fires_is_told_when_the_window_opens(tmp_path: Path) -> None:
    office = routes({"to": ["boss"], "hours": "office"})
    there = world(tmp_path, routes=office, windows=window())
    weeks(there, {"ana": BAD})  # Monday, 01:00 in Berlin
    assert there.told() == []
    assert there.rows()[0].held_by == "window office"
    opens = there.rows()[0].not_before
    assert opens == week(2).end + 8 * HOUR
    assert there.flush(opens - MINUTE) == 0
    assert there.flush(opens) == 1
    assert there.letters()[0].message["facts"]["held"] == ["held back by window office until Mon 12 Jan, 08:00 CET"]


def test_what_comes_outside_of_a_window_that_drops_is_told_to_nobody(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"], "hours": "office"}), windows=window("drop"))
    weeks(there, {"ana": BAD}, {"ana": GOOD})
    there.flush(week(3).end + 24 * HOUR)
    assert there.told() == []
    assert there.fates() == ["fired dropped", "resolved dropped"]
    assert {row.why for row in there.rows()} == {"dropped: window office", "over before it was told"}


def test_end_of_what_was_told_is_put_off_by_a_window_never_dropped(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"], "hours": "office"}), windows=window("drop", times="00:00-24:00"))
    weeks(there, {"ana": BAD})
    there.more["windows"] = window("drop")
    weeks(there, {"ana": GOOD}, first=3)
    assert there.told() == ["boss bea@example.com: Ana fired"]
    there.flush(week(3).end + 9 * HOUR)
    assert there.told()[1:] == ["boss bea@example.com: Ana resolved"]


def test_silence_over_firing_then_ending_gives_one_notice(tmp_path: Path) -> None:
    there = world(tmp_path)
    weeks(there, {"ana": BAD, "bob": GOOD})
    silence(there, week(5).end + 2 * HOUR, week(2).end + 2 * HOUR, rule=["win-rate-low"])
    weeks(there, {"ana": GOOD, "bob": BAD}, {"ana": GOOD, "bob": GOOD}, {"ana": GOOD, "bob": BAD}, first=3)
    assert there.told() == ["team ada@example.com: Ana fired", "team ada@example.com: Ana resolved"]
    there.flush(week(5).end + 3 * HOUR)
    assert there.told()[2:] == ["team ada@example.com: Bob fired"]
    assert there.fates() == ["fired sent", "resolved sent", "fired dropped", "resolved dropped", "fired sent"]


def test_silence_that_ends_early_lets_go_what_still_fires(tmp_path: Path) -> None:
    there = world(tmp_path)
    now = week(2).end
    number = silence(there, now + timedelta(days=9), now, owner=["Ana"])
    weeks(there, {"ana": BAD, "bob": BAD})
    assert there.told() == ["team ada@example.com: Bob fired"]
    with there.store.write() as conn:
        assert handling.end_silence(conn, number, by="ada", now=now + 2 * HOUR)
    there.flush(now + 2 * HOUR)
    assert there.told()[1:] == ["team ada@example.com: Ana fired"]
    assert there.letters()[1].message["facts"]["held"][0].startswith("held back by silence 1 until")


def test_held_back_alert_is_told_with_the_newest_figures(tmp_path: Path) -> None:
    there = world(tmp_path, rule())
    silence(there, week(3).end + 2 * HOUR, week(2).end, rule=["win*"])
    weeks(there, {"ana": BAD}, {"ana": WORSE})
    there.flush(week(3).end + 3 * HOUR)
    assert there.letters()[0].message["facts"]["values"] == ["0.19"]


def test_alert_that_fires_holds_others_back_while_it_does(tmp_path: Path) -> None:
    cause, effect = rule(name="cause", warn="< 20%"), rule(name="effect")
    there = world(
        tmp_path, cause, effect, inhibit=inhibit(**{"if": {"rule": "cause"}, "mute": {"rule": "effect"}, "equal": ["owner"]})
    )
    weeks(there, {"ana": WORSE, "bob": BAD})
    assert there.told() == ["team ada@example.com: Ana fired", "team ada@example.com: Bob fired"]
    assert [row.held_by for row in there.rows() if row.state == "waiting"] == ["inhibited by cause"]
    weeks(there, {"ana": BAD, "bob": BAD}, first=3)
    there.flush(week(3).end + 2 * HOUR)
    assert there.told()[2:] == ["team ada@example.com: Ana fired", "team ada@example.com: Ana resolved"]


def test_acknowledged_alert_is_quiet_until_it_gets_worse_or_ends(tmp_path: Path) -> None:
    there = world(tmp_path)
    weeks(there, {"ana": BAD})
    with there.store.write() as conn:
        (one,) = episodes.list_open(conn)
        handling.take_up(conn, [one.id], by="ada", via="cli", until=week(9).end, comment="", now=week(2).end + HOUR)
    weeks(there, {"ana": WORSE}, {"ana": BAD}, {"ana": GOOD}, first=3)
    assert there.told()[1:] == ["team ada@example.com: Ana escalated", "team ada@example.com: Ana resolved"]
    assert there.fates() == ["fired sent", "escalated sent", "eased folded", "resolved sent"]


def test_one_health_alert_per_source_with_the_error(tmp_path: Path) -> None:
    first, second, third = rule(name="one"), rule(name="two"), rule(name="three")
    there = world(tmp_path, first, second, third, sources_of=lambda kpi: ("crm",))
    stale = {"ana": MeasurementState.STALE}
    weeks(there, stale, stale, stale)
    assert there.told() == ["team ada@example.com: one unhealthy, two unhealthy, three unhealthy"]
    assert there.letters()[0].message["facts"]["reasons"] == ["state stale"] * 3
    weeks(there, {"ana": GOOD}, first=5)
    assert len(there.told()) == 2
    assert there.told()[1].endswith("three healthy")
    assert {letter.thread for letter in there.letters()} == {there.letters()[0].thread}


def test_silence_on_a_source_holds_its_health_alert_back(tmp_path: Path) -> None:
    there = world(tmp_path, rule(name="one"), sources_of=lambda kpi: ("crm",))
    silence(there, week(9).end, week(2).start, kind=["health"], source=["crm"])
    stale = {"ana": MeasurementState.STALE}
    weeks(there, stale, stale, stale)
    assert there.told() == []


def test_receiver_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    there = world(tmp_path, rule(to=["mail"]))
    silence(there, week(2).end + 2 * HOUR, week(2).end, rule=["*"])
    weeks(there, {"ana": BAD})
    there.recipients = {"team": ("ada@example.com",)}
    there.flush(week(2).end + 3 * HOUR)
    assert there.fates() == ["fired dropped"]
    with there.store.read() as conn:
        assert "no receiver 'mail'" in problems.list_problems(conn)[0].text


def test_changed_routes_send_nothing_again(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"]}))
    weeks(there, {"ana": BAD})
    there.more["routes"] = routes({"match": {"severity": "warn"}, "to": ["boss", "team"]})
    there.evaluate(week(2).end + 2 * HOUR)
    there.flush(week(2).end + 3 * HOUR)
    assert there.told() == ["boss bea@example.com: Ana fired"]


def test_series_that_flaps_is_told_once_a_day(tmp_path: Path) -> None:
    there = world(tmp_path, rule(no_data={"do": "keep"}))
    weeks(there, *[{"ana": BAD}, {"ana": GOOD}] * 3)
    told = [title.rpartition(": ")[2] for title in there.told()]
    assert "Ana flapping" in told
    there.flush(week(8).end)
    assert [title.rpartition(": ")[2] for title in there.told()][-1] == "Ana digest"
    assert not [row for row in there.rows() if row.state == "waiting"]


def test_numbers_of_episodes_and_messages_lead_from_one_to_the_other(tmp_path: Path) -> None:
    there = world(tmp_path)
    weeks(there, {"ana": BAD, "bob": BAD})
    with there.store.read() as conn:
        ids = {one.id for one in episodes.list_open(conn)}
        (letter,) = list_outbox(conn)
        rows = conn.execute(select(notices)).all()
        (flush_id,) = {row.flush_id for row in rows}
        assert {one.id for one in handling.episodes_of_message(conn, flush_id)} == ids
    assert {row.item["event_id"] for row in rows} == ids
    assert {row.thread for row in rows} == {letter.thread}


def test_thousand_series_are_one_message(tmp_path: Path) -> None:
    there = world(tmp_path, routes=routes({"to": ["boss"]}))
    weeks(there, {f"o{number}": BAD for number in range(1_000)})
    assert len(there.told()) == 1
