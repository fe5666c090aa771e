from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kpid.plugin.notifier import Message
from kpid.store import alerts
from kpid.store.alerts import EvaluationRow, EventRow, RuleRow, SeriesRow
from kpid.store.engine import Store
from kpid.store.outbox import enqueue

NOW = datetime(2026, 11, 2, tzinfo=UTC)
WEEK = timedelta(weeks=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'kpid.db'}")
    opened.create()
    yield opened
    opened.close()


def a_series(key: str = "k1", *, owner: str = "crm:1", **more: object) -> SeriesRow:
    plain = SeriesRow(
        "r", key, f'{{"owner":"{owner}"}}', {"owner": "Ada Example"}, "m", "ok", "none", "fresh", 0, NOW, {"episode": 1}, NOW
    )
    return plain._replace(**more)


def an_event(kind: str, slot: datetime, **body: object) -> EventRow:
    return EventRow(NOW, slot, "r", "k1", 1, kind, {"to": "firing", "thread": "r@1", "since": "W2", **body})


def an_evaluation(slot: datetime, label: str, kind: str = "breach", key: str = "k1") -> EvaluationRow:
    return EvaluationRow("r", key, slot, label, {"kind": kind, "n": 1}, {}, NOW)


def test_rule_is_kept_replaced_and_forgotten(store: Store) -> None:
    row = RuleRow("r", "m", None, {}, NOW, {"name": "r"})
    with store.write() as conn:
        assert alerts.load_rule(conn, "r") is None
        alerts.save_rule(conn, row)
        alerts.save_rule(conn, replace(row, last_slot=NOW, health={"status": "degraded"}))
        found = alerts.load_rule(conn, "r")
        assert found is not None
        assert (found.last_slot, found.health) == (NOW, {"status": "degraded"})
        assert alerts.list_rules(conn) == [found]
        alerts.forget_rule(conn, "r")
        assert alerts.list_rules(conn) == []


def test_series_are_replaced_by_key(store: Store) -> None:
    with store.write() as conn:
        alerts.save_series(conn, [])
        alerts.save_series(conn, [a_series("k1"), a_series("k2", owner="crm:2")])
        alerts.save_series(conn, [a_series("k1", status="firing", level="warn", episode=4)])
        found = alerts.load_series(conn, "r")
    assert {key: (row.status, row.episode) for key, row in found.items()} == {"k1": ("firing", 4), "k2": ("ok", 0)}
    assert found["k1"].label == "Ada Example"
    assert found["k1"].dims[0].id == "crm:1"


def test_series_without_a_segment_are_called_all(store: Store) -> None:
    assert a_series(segment="{}", names={}).label == "all"
    assert a_series(segment='{"owner":null}', names={"owner": None}).label == "no owner"


def test_listing_puts_the_worst_first_and_leaves_out_the_forgotten(store: Store) -> None:
    with store.write() as conn:
        alerts.save_series(
            conn,
            [
                a_series("a"),
                a_series("b", status="firing", level="warn"),
                a_series("c", status="forgotten"),
                a_series("d", status="firing", level="critical"),
                a_series("e", status="pending", level="warn"),
                a_series("f", rule_uid="other"),
            ],
        )
        assert [row.series_key for row in alerts.list_series(conn, rule_uid="r")] == ["d", "b", "e", "a"]
        assert [row.series_key for row in alerts.list_series(conn, "forgotten")] == ["c"]
        assert len(alerts.list_series(conn)) == 5


def test_newest_evaluation_of_a_slot_counts(store: Store) -> None:
    with store.write() as conn:
        alerts.add_evaluations(
            conn, [an_evaluation(NOW - WEEK, "W1"), an_evaluation(NOW, "W2"), an_evaluation(NOW, "W2", key="k2")]
        )
        alerts.add_evaluations(conn, [an_evaluation(NOW, "W2", "clear")])
        found = alerts.load_evaluations_of(conn, ["r"], NOW)["r"]
    assert {key: row.outcome["kind"] for key, row in found.items()} == {("k1", NOW): "clear", ("k2", NOW): "breach"}


def test_events_are_numbered_and_listed_newest_first(store: Store) -> None:
    with store.write() as conn:
        alerts.add_events(conn, [])
        alerts.add_events(conn, [an_event("fired", NOW), an_event("resolved", NOW + WEEK)])
        alerts.add_events(conn, [an_event("fired", NOW)._replace(rule_uid="other")])
        found = alerts.list_events(conn)
        assert [(event.seq, event.kind) for event in found] == [(3, "fired"), (2, "resolved"), (1, "fired")]
        assert len(alerts.list_events(conn, rule_uid="r", limit=1)) == 1


def test_story_holds_what_belongs_to_the_episode(store: Store) -> None:
    message = Message("key", "alert", "Win rate too low", "text", NOW, thread="r@1", recipient="ada@example.com")
    with store.write() as conn:
        alerts.save_series(conn, [a_series()])
        slots = [NOW + WEEK * number for number in range(5)]
        alerts.add_evaluations(conn, [an_evaluation(slot, f"W{number}") for number, slot in enumerate(slots, 1)])
        alerts.add_events(conn, [an_event("fired", slots[2]), an_event("resolved", slots[3], to="ok")])
        enqueue(conn, message, receiver="team", origin="rule r", now=NOW)
        enqueue(conn, replace(message, key="other", thread="r@2"), receiver="team", origin="rule r", now=NOW)
        story = alerts.episode_story(conn, "r", "k1", 1)
        assert alerts.count_in_thread(conn, "team", "ada@example.com", "r@1") == 1
        assert alerts.count_in_thread(conn, "team", "bea@example.com", "r@1") == 0
        assert alerts.episode_story(conn, "r", "k1", 2).events == []
        assert alerts.episode_story(conn, "r", "unknown", 1).series is None
    assert [row.period_label for row in story.evaluations] == ["W2", "W3", "W4"]
    assert [event.kind for event in story.events] == ["fired", "resolved"]
    assert [(notice.title, notice.state) for notice in story.notices] == [("Win rate too low", "ready")]
