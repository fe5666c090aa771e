from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kpid.model import Level
from kpid.store import episodes
from kpid.store.engine import Store
from kpid.store.episodes import EpisodeKey, EpisodeRow, Turn

NOW = datetime(2026, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'kpid.db'}")
    store.create()
    yield store
    store.close()


def an_episode(key: str = "k", episode: int = 1, rule_uid: str = "low") -> EpisodeRow:
    return EpisodeRow(
        rule_uid,
        key,
        episode,
        segment={"owner": "crm:ana", "team": None},
        names={"owner": "Ana Example"},
        labels={"team": "sales"},
        thread="low@x",
        level="warn",
        opened_slot=NOW,
        opened_at=NOW,
        updated_at=NOW,
        since_at=NOW - timedelta(days=7),
    )


def opened(store: Store, *rows: EpisodeRow) -> dict[EpisodeKey, int]:
    with store.write() as conn:
        return episodes.open_rows(conn, rows or [an_episode()])


def test_episodes_are_numbered_as_they_begin(store: Store) -> None:
    found = opened(store, an_episode(), an_episode("other"), an_episode(episode=2))
    assert sorted(found.values()) == [1, 2, 3]
    with store.read() as conn:
        row = next(one for one in episodes.spans(conn, "low") if one.key == ("low", "k", 1))
        assert row == replace(an_episode(), id=found[EpisodeKey("low", "k", 1)])
        assert (row.label, row.is_open) == ("Ana Example, no team", True)
        assert episodes.numbers_of(conn, [*found, EpisodeKey("no", "such", 1)]) == found


def test_nothing_to_write_is_nothing_written(store: Store) -> None:
    with store.write() as conn:
        assert episodes.open_rows(conn, []) == {}
        episodes.turn_rows(conn, [], NOW)
        assert episodes.list_open(conn) == []


def test_what_becomes_of_episodes_is_written_down(store: Store) -> None:
    one, other = an_episode().key, an_episode("other").key
    opened(store, an_episode(), an_episode("other"))
    turns = [
        Turn(one, level=Level.CRITICAL),
        Turn(one, flapping=True),
        Turn(other, end_kind="resolved", end_slot=LATER),
        Turn(EpisodeKey("no", "such", 1), level=Level.WARN),
    ]
    with store.write() as conn:
        episodes.turn_rows(conn, turns, LATER)
        first, second = episodes.spans(conn, "low")
        assert [row.id for row in episodes.list_open(conn)] == [first.id]
        assert episodes.list_open(conn, rule_uid="another") == []
    assert (first.level, first.flapping, first.updated_at, first.ended_at) == ("critical", True, LATER, None)
    assert (second.level, second.end_kind, second.ended_slot, second.ended_at) == ("warn", "resolved", LATER, LATER)


def test_what_people_have_been_told_is_remembered(store: Store) -> None:
    opened(store)
    with store.write() as conn:
        episodes.told(conn, {an_episode().key: Level.CRITICAL}, LATER)
        (row,) = episodes.spans(conn, "low")
    assert row.told_level == "critical"


def test_the_rules_own_data_has_episodes_without_a_series(store: Store) -> None:
    opened(store, an_episode(""), an_episode("", 2), an_episode("k", 7), an_episode("", 5, "other"))
    with store.read() as conn:
        assert episodes.last_health(conn, ["low", "none"]) == {"low": 2}


def test_digest_of_an_episode_is_the_same_everywhere() -> None:
    assert len(an_episode().key.digest) == 64
    assert an_episode().key.digest == an_episode(rule_uid="low").key.digest
    assert an_episode().key.digest != an_episode(episode=2).key.digest
