"""The state store on PostgreSQL: migrated, and several planners at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from kpid.analysis.schedule import due_runs, schedule_from_text
from kpid.errors import StoreError
from kpid.store.engine import Store, open_store
from kpid.store.migrate import bring_up_to_date
from kpid.store.runs import finish_run, list_runs, plan_runs, position_of, take_run
from kpid.store.tables import metadata

EVERY = schedule_from_text("1m", "Europe/Berlin")
START = datetime(2026, 11, 2, 8, 0, 30, tzinfo=UTC)
LATER = datetime(2026, 11, 2, 8, 10, 30, tzinfo=UTC)


@pytest.fixture
def store(postgres: str) -> Iterator[Store]:
    store = open_store(postgres.replace("+psycopg", ""))
    yield store
    with store.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DROP TABLE alembic_version"))
    store.close()


def test_migrated_schema_is_the_declared_one(store):
    with store.write() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": metadata, "compare_type": False})
        assert compare_metadata(context, metadata) == []
    assert bring_up_to_date(store) is not None


def plan(store, now):
    with store.write() as connection:
        due = due_runs(EVERY, position_of(connection, "sync:crm"), now, "all", None)
        return plan_runs(connection, "sync:crm", EVERY, due, now=now)


def test_planners_at_once_plan_each_run_once(store):
    plan(store, START)
    planned, errors = [], []

    def work():
        try:
            planned.append(plan(store, LATER))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sum(planned) == 10


def test_takers_at_once_take_each_run_once(store):
    plan(store, START)
    plan(store, LATER)
    done = []

    def work():
        for _ in range(60):
            with store.write() as connection:
                run = take_run(connection, ["sync:crm"], now=LATER)
            if run is not None:
                with store.write() as connection:
                    assert finish_run(connection, run, now=LATER)
                done.append(run.due)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == len(set(done)) == 10
    with store.read() as connection:
        assert {run.state for run in list_runs(connection)} == {"done"}


def test_a_server_that_is_not_there_is_named_without_password():
    with pytest.raises(StoreError) as error:
        open_store("postgresql://kpid:hunter2@127.0.0.1:9/kpid")
    assert "127.0.0.1" in str(error.value)
    assert "hunter2" not in str(error.value)
