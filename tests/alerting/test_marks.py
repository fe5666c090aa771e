"""Who has taken an alert up is shown in the messages that told of it, where they can be changed."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kpid.alerting.marks import mark_handled
from kpid.plugin.notifier import Action, Receipt
from kpid.store import episodes, handling, sending
from kpid.store.tables import outbox
from tests.alerting.routed import Routed, bundle, routes
from tests.alerting.world import rule, week

NOW = week(2).end + timedelta(hours=1)
ACK = (Action("ack", "Acknowledge", "token"),)


def world(folder: Path, url: str = "", **more: Any) -> Routed:
    """Two owners whose alerts a chat was told of in one message, and a mailbox, too."""
    own = rule(to=["chat", "team"])
    found = Routed(folder, [own], recipients={"chat": ("",), "team": ("ada@example.com",)}, url=url)
    found.more = {"updating": frozenset({"chat"}), "actions": lambda *_: ACK, **more}
    found.put(own, week(1), {"ada": (30, 50), "bob": (30, 50)})
    found.put(own, week(2), {"ada": (5, 50), "bob": (5, 50)})
    found.evaluate(NOW)
    return found


def ids(found: Routed) -> dict[str, int]:
    with found.store.read() as conn:
        return {one.label: one.id for one in episodes.list_open(conn)}


def ack(found: Routed, *numbers: int, by: str = "ada", after: int = 5, comment: str = "") -> int:
    now = NOW + timedelta(minutes=after)
    with found.store.write() as conn:
        changed = handling.take_up(conn, numbers, by=by, via="cli", until=now + timedelta(days=7), comment=comment, now=now)
        return mark_handled(conn, found.setup(), changed, now)


def unack(found: Routed, *numbers: int, after: int = 10) -> int:
    now = NOW + timedelta(minutes=after)
    with found.store.write() as conn:
        return mark_handled(conn, found.setup(), handling.let_go(conn, numbers, by="ada", via="cli", comment="", now=now), now)


def changes(found: Routed) -> list[dict[str, Any]]:
    return [row.message for row in found.letters() if row.message.get("replaces")]


def test_message_shows_who_took_all_of_it_up_and_has_nothing_to_press_any_more(tmp_path: Path) -> None:
    found = world(tmp_path)
    (first,) = [row for row in found.letters() if row.receiver == "chat"]
    assert ack(found, *ids(found).values(), comment="on it") == 1
    (change,) = changes(found)
    assert change["replaces"] == first.key
    assert change["thread"] == first.thread
    assert change["actions"] == []
    assert change["sections"][-1]["text"].startswith("Acknowledged by ada at ")
    assert change["sections"][-1]["text"].endswith("(on it)")
    assert [row.receiver for row in found.letters()] == ["chat", "team", "chat"], "mails are not changed"


def test_part_of_a_message_leaves_the_rest_to_be_pressed(tmp_path: Path) -> None:
    found = world(tmp_path)
    ada, bob = ids(found)["Ada"], ids(found)["Bob"]
    ack(found, ada)
    ack(found, bob, by="cyd", after=6)
    first, second = changes(found)
    assert first["sections"][-1]["text"].startswith("1 of 2 alerts acknowledged by ada at ")
    assert len(first["actions"]) == 1
    assert second["actions"] == []
    assert [line.split(" at ")[0] for line in second["sections"][-1]["text"].splitlines()] == [
        "1 of 2 alerts acknowledged by ada",
        "1 of 2 alerts acknowledged by cyd",
    ]


def test_same_thing_twice_is_shown_once_and_again_after_it_was_taken_back(tmp_path: Path) -> None:
    found = world(tmp_path)
    numbers = tuple(ids(found).values())
    assert ack(found, *numbers) == 1
    with found.store.write() as conn:
        assert mark_handled(conn, found.setup(), numbers, NOW + timedelta(minutes=5)) == 0
    assert unack(found, *numbers) == 1
    assert ack(found, *numbers, after=15) == 1
    acked, free, again = changes(found)
    assert len(free["actions"]) == 1
    assert free["sections"] == [], "as it was sent"
    assert acked["key"] != again["key"]


def test_acknowledgement_that_has_run_out_gives_the_buttons_back(tmp_path: Path) -> None:
    found = world(tmp_path)
    ack(found, *ids(found).values())
    found.tend(NOW + timedelta(days=8))
    last = changes(found)[-1]
    assert len(last["actions"]) == 1
    assert not last["sections"]


def test_message_whose_words_are_forgotten_is_left_alone(tmp_path: Path) -> None:
    found = world(tmp_path)
    with found.store.write() as conn:
        conn.execute(outbox.update().values(message={"title": "old"}))
    assert ack(found, *ids(found).values()) == 0


def test_alert_that_is_over_is_left_alone(tmp_path: Path) -> None:
    found = world(tmp_path)
    numbers, own = tuple(ids(found).values()), found.rules[0]
    found.put(own, week(3), {"ada": (30, 50), "bob": (30, 50)})
    found.evaluate(week(3).end + timedelta(hours=1))
    with found.store.write() as conn:
        assert mark_handled(conn, found.setup(), numbers, NOW + timedelta(days=8)) == 0
    assert not changes(found)


def test_nothing_is_written_where_no_message_can_be_changed(tmp_path: Path) -> None:
    found = world(tmp_path, updating=frozenset())
    assert ack(found, *ids(found).values()) == 0


@pytest.mark.parametrize("sent", [True, False])
def test_change_waits_for_its_message_and_knows_where_that_is(tmp_path: Path, sent: bool) -> None:
    found = world(tmp_path)
    ack(found, *ids(found).values())
    now = NOW + timedelta(minutes=20)
    with found.store.write() as conn:
        claimed = sending.claim(conn, owner="a", now=now, lease_for=timedelta(minutes=2), limit=9, receivers=["chat"])
        (first,) = claimed
        assert not first.message.replaces, "one after the other"
        sending.start_attempt(conn, first, now)
        if sent:
            sending.mark_sent(conn, first, Receipt("C1:17.1", "C1:17.1"), now)
        else:
            sending.mark_dead(conn, first, "no", now)
        (change,) = sending.claim(conn, owner="a", now=now, lease_for=timedelta(minutes=2), limit=9, receivers=["chat"])
    assert change.message.replaces == first.message.key
    assert change.message.replaces_ref == ("C1:17.1" if sent else None)


def test_group_says_whether_all_of_it_is_over(tmp_path: Path) -> None:
    found = world(tmp_path, bundle=bundle, routes=routes({"to": ["chat"], "group_by": []}))
    own = found.rules[0]
    for number, bob in ((3, 5), (4, 30)):
        found.put(own, week(number), {"ada": (30, 50), "bob": (bob, 50)})
        found.evaluate(week(number).end + timedelta(hours=1))
    chat = [row.message for row in found.letters() if row.receiver == "chat"]
    assert [message.get("closes_thread", False) for message in chat] == [False, False, True]


def test_postgresql_finds_the_same_messages(tmp_path: Path, postgres: str) -> None:
    found = world(tmp_path, postgres, routes=routes({"to": ["chat"], "escalate": [{"after": "4h", "to": ["team"]}]}))
    with closing(found.store):
        ada, bob = ids(found)["Ada"], ids(found)["Bob"]
        assert ack(found, ada) == 1
        found.tend(NOW + timedelta(hours=5))
        assert unack(found, ada) == 1
        assert ack(found, ada, bob, after=20) == 1
        assert [len(change["actions"]) for change in changes(found)] == [1, 1, 0]
        told = [row.receiver for row in found.letters() if not row.message.get("replaces")]
    assert told == ["chat", "team"], "Bob's went on"
