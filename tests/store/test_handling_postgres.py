"""Two processes take up the same alert on PostgreSQL: one is the first; and the log cannot be changed there, either."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

from kpid.store import audit, handling
from kpid.store.engine import open_store
from kpid.store.tables import episodes

NOW = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)


def test_of_two_processes_one_is_first_and_the_log_stands(postgres):
    one, other = open_store(postgres), open_store(postgres)
    row = {"rule_uid": "r", "series_key": "k", "episode": 1, "dedup_key": "d", "segment": {}, "names": {}, "labels": {}}
    row |= {"level": "warn", "opened_slot": NOW, "opened_at": NOW, "updated_at": NOW}
    with one.write() as conn:
        (number,) = conn.execute(insert(episodes).values(**row)).inserted_primary_key

    def take(store, name):
        with store.write() as conn:
            done = handling.take_up(conn, [number], by=name, via="cli", until=NOW + timedelta(days=1), comment="", now=NOW)
            audit.record(conn, actor=name, via="cli", action="ack", subject="episode:1", body={"changed": bool(done)}, now=NOW)
            return bool(done)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(take, (one, other), ("ada", "bob")))
    assert sorted(found) == [False, True]
    with one.read() as conn:
        held = handling.load_episode(conn, number)
        written = {(row.actor, row.body["changed"]) for row in audit.list_audit(conn)}
    assert held.handled_by == ("ada" if found[0] else "bob")
    assert written == {("ada", found[0]), ("bob", found[1])}
    for change in ("UPDATE audit SET actor = 'eve'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="append"), one.write() as conn:
            conn.execute(text(change))
    one.close()
    other.close()
