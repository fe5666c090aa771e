"""What is kept of the syncs of long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kpid.store import syncs
from kpid.store.engine import Store

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_old_syncs_go_but_the_newest_and_the_newest_good_one_stay():
    store = Store("sqlite://")
    store.create()
    with store.write() as connection:
        for days, state in ((90, "done"), (80, "done"), (70, "failed"), (60, "failed"), (1, "running")):
            at = NOW - timedelta(days=days)
            for entity in ("deals", "users"):
                key = syncs.start(connection, "crm", entity, at)
                if state != "running":
                    syncs.finish(connection, key, state, at, through=at if state == "done" else None)
        assert syncs.prune(connection, NOW - timedelta(days=30)) == 6
        kept = [(run.entity, run.state) for run in syncs.list_runs(connection)]
        assert sorted(kept) == [("deals", "done"), ("deals", "running"), ("users", "done"), ("users", "running")]
        assert syncs.newest_through(connection) == {("crm", name): NOW - timedelta(days=80) for name in ("deals", "users")}
    store.close()
