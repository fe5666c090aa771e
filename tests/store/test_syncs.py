"""Records of syncs, and of what is wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kpid.store import problems, syncs
from kpid.store.engine import Store

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/kpid.db")
    opened.create()
    yield opened
    opened.close()


def test_latest_is_the_newest_run_of_each_entity(store: Store) -> None:
    with store.write() as connection:
        for number, entity in enumerate(("deals", "users", "deals")):
            key = syncs.start(connection, "crm", entity, NOW + timedelta(hours=number))
            syncs.finish(
                connection, key, "done", NOW + timedelta(hours=number, minutes=1), rows=number, warnings=["w"], through=NOW
            )
    with store.read() as connection:
        deals, users = syncs.latest(connection)
        newest, *_ = syncs.list_runs(connection, "crm", limit=1)
    assert (deals.entity, deals.rows, deals.started_at, deals.warnings) == ("deals", 2, NOW + timedelta(hours=2), ("w",))
    assert (users.rows, users.state, users.through) == (1, "done", NOW)
    assert newest == deals


def test_a_source_that_asked_to_be_left_alone_is_known_by_its_newest_sync(store: Store) -> None:
    until = NOW + timedelta(hours=8)

    def ended(entity: str, state: str, *, kind: str = "sync", until: datetime | None = None) -> datetime | None:
        with store.write() as connection:
            key = syncs.start(connection, "crm", entity, NOW, kind=kind)
            syncs.finish(connection, key, state, NOW, deferred_until=until)
            return syncs.deferred_until(connection, "crm")

    assert ended("users", "done") is None
    assert ended("deals", "deferred", until=until) == until
    assert ended("deals", "deferred", kind="reconcile", until=until + timedelta(hours=9)) == until
    with store.write() as connection:
        syncs.start(connection, "crm", "deals", NOW)
        assert syncs.deferred_until(connection, "crm") == until
        assert syncs.deferred_until(connection, "erp") is None
        assert [(run.kind, run.deferred_until) for run in syncs.list_runs(connection, limit=4)][2] == ("sync", until)
    assert ended("deals", "done") is None


def test_passes_beside_the_syncs_are_not_the_latest_sync(store: Store) -> None:
    with store.write() as connection:
        syncs.finish(connection, syncs.start(connection, "crm", "deals", NOW), "done", NOW)
        syncs.finish(connection, syncs.start(connection, "crm", "deals", NOW, kind="backfill"), "failed", NOW)
        (latest,) = syncs.latest(connection)
    assert (latest.kind, latest.state) == ("sync", "done")


def test_abandoned_runs_of_a_source_are_closed(store: Store) -> None:
    with store.write() as connection:
        syncs.start(connection, "crm", "deals", NOW)
        syncs.start(connection, "erp", "deals", NOW)
        assert syncs.close_abandoned(connection, "crm", NOW + timedelta(hours=1)) == 1
        assert syncs.close_abandoned(connection, "crm", NOW + timedelta(hours=1)) == 0
        crm, erp = syncs.latest(connection)
    assert (crm.state, crm.finished_at) == ("failed", NOW + timedelta(hours=1))
    assert crm.error is not None
    assert erp.state == "running"


def test_a_problem_is_one_row_that_counts_and_remembers_its_beginning(store: Store) -> None:
    later = NOW + timedelta(hours=3)
    with store.write() as connection:
        problems.note(connection, "source:crm/deals", "nobody answers", "wait", NOW)
        problems.note(connection, "source:crm/deals", "still nobody", "wait on", later)
        problems.note(connection, "data:deals/amount missing", "12 deals", "", NOW, count=12)
        problems.note(connection, "data:deals/amount missing", "9 deals", "", later, count=9)
        amount, source = problems.list_problems(connection)
    assert (source.text, source.hint, source.count, source.first_at, source.last_at) == ("still nobody", "wait on", 2, NOW, later)
    assert (amount.text, amount.count) == ("9 deals", 9)


def test_problems_are_cleared_by_subject_and_by_prefix(store: Store) -> None:
    with store.write() as connection:
        for subject in ("data:a_b/x", "data:a_b/y", "data:aXb/z", "source:crm"):
            problems.note(connection, subject, "text", "", NOW)
        assert problems.clear(connection, "source:crm")
        assert not problems.clear(connection, "source:crm")
        assert problems.clear_others(connection, "data:a_b/", ["data:a_b/y"]) == 1
        assert [problem.subject for problem in problems.list_problems(connection)] == ["data:aXb/z", "data:a_b/y"]


def test_an_overlong_subject_is_cut_the_same_way_each_time(store: Store) -> None:
    subject = "source:" + "x" * 400
    with store.write() as connection:
        problems.note(connection, subject, "text", "", NOW)
        problems.note(connection, subject, "text", "", NOW)
        assert len(problems.list_problems(connection)) == 1
        assert problems.clear(connection, subject)
