from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text
from sqlalchemy.exc import DBAPIError

from kpid.errors import StoreError
from kpid.store import migrations, syncs
from kpid.store.engine import Store, open_store
from kpid.store.migrate import alembic_config, back_up, bring_up_to_date, schema_version
from kpid.store.tables import episodes, metadata

FIGURE = """INSERT INTO measurements
    (family, segment, period_kind, period_start, period_end, period_label, kpi, params, names, state, value, n, reason, warnings,
     as_of, definition, computed_at)
    VALUES ('f', '{}', 'month', '2018-01-01', '2018-02-01', '2018-01', 'win_rate', '{}', '{}', 'ok', '0.5', 8, '', '[]',
     '2018-02-01', 'd', '2018-02-01')"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'kpid.db'}"


def migrated(url):
    """A store that has come the long way: through every migration."""
    store = Store(url)
    with store.write() as connection:
        command.upgrade(alembic_config(connection), "head")
    return store


def test_migrated_schema_is_the_declared_one(url):
    """Whoever changes ``tables.py`` adds a migration: this is the test that says so."""
    store = migrated(url)
    with store.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False, "target_metadata": metadata})
        assert compare_metadata(context, metadata) == []
    store.close()


def told(connection):
    """Everything in a database, as it says it itself: columns and keys, indexes, triggers, the version."""
    found = inspect(connection)
    tables = {
        name: (
            [(*map(str, one.values()),) for one in found.get_columns(name)],
            (found.get_pk_constraint(name), found.get_foreign_keys(name)),
            sorted(found.get_unique_constraints(name), key=str),
            sorted(found.get_indexes(name), key=str),
        )
        for name in found.get_table_names()
    }
    guards = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE type IN ('trigger', 'view') ORDER BY name",
        "postgresql": "SELECT tgname, pg_get_triggerdef(t.oid), prosrc FROM pg_trigger t JOIN pg_proc p ON p.oid = tgfoid "
        "WHERE NOT tgisinternal ORDER BY tgname",
    }
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return tables, connection.execute(text(guards[connection.dialect.name])).all(), version


def test_a_new_store_is_what_all_migrations_would_have_made(tmp_path, url):
    new, old = open_store(f"sqlite:///{tmp_path / 'new.db'}"), migrated(url)
    with new.read() as one, old.read() as other:
        assert told(one) == told(other)
        assert len(told(one)[0]) == len(metadata.tables) + 1
        for table in [*metadata.tables, "alembic_version"]:
            pragma = text(f"PRAGMA table_info({table})")
            assert one.execute(pragma).all() == other.execute(pragma).all(), table
    new.close()
    old.close()


def test_head_is_the_newest_migration():
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [migrations.HEAD]


def test_an_empty_store_is_made_and_then_left_alone(url):
    store = Store(url)
    assert schema_version(store) is None
    assert bring_up_to_date(store) is None
    assert bring_up_to_date(store) == migrations.HEAD
    store.close()


def test_store_of_the_first_version_keeps_its_figures_and_gets_room_for_intervals(url, tmp_path):
    store = Store(url)
    with store.write() as connection:
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(text(FIGURE))
    assert bring_up_to_date(store) == "0001"
    with store.read() as connection:
        assert connection.execute(text("SELECT value, low, high FROM measurements")).all() == [("0.5", None, None)]
    store.close()
    assert (tmp_path / "kpid.db.backup-0001").is_file()


SYNCED = """INSERT INTO sync_runs (source, entity, started_at, state, rows, changed, deletes, warnings)
    VALUES ('crm', 'deals', '2018-02-01', 'done', 1, 1, 0, '[]')"""


def test_passes_of_before_were_syncs_that_waited_for_nothing(url):
    store = Store(url)
    with store.write() as connection:
        command.upgrade(alembic_config(connection), "0003")
        connection.execute(text(SYNCED))
    assert bring_up_to_date(store) == "0003"
    with store.read() as connection:
        (run,) = syncs.latest(connection)
    assert (run.kind, run.deferred_until) == ("sync", None)
    store.close()


FIRING = """INSERT INTO series
    (rule_uid, series_key, segment, names, meaning, status, level, data, episode, last_slot, state, updated_at)
    VALUES ('low', 'k', '{"owner":"crm:ana"}', '{"owner": "Ana"}', 'm', 'firing', 'critical', 'fresh', 3, '2018-02-01',
     '{"thread": "low@2018-01-01"}', '2018-02-02')"""
FIRED = """INSERT INTO events (at, slot, rule_uid, series_key, episode, kind, body)
    VALUES ('2018-01-02', '2018-01-01', 'low', 'k', 3, 'fired', '{}')"""
RULE = """INSERT INTO rules (rule_uid, meaning, last_slot, health, rule, updated_at)
    VALUES ('low', 'm', '2018-02-01', '{}', '{"labels": {"team": "sales"}}', '2018-02-02')"""
AUDITED = (
    """INSERT INTO audit (at, actor, via, action, subject, body) VALUES ('2018-02-02', 'ada', 'cli', 'ack', 'episode:1', '{}')"""
)


def test_alerts_that_fire_during_the_upgrade_get_their_numbers(url):
    store = Store(url)
    with store.write() as connection:
        command.upgrade(alembic_config(connection), "0002")
        for statement in (FIRING, FIRED, RULE):
            connection.exec_driver_sql(statement)
    assert bring_up_to_date(store) == "0002"
    with store.read() as connection:
        (row,) = connection.execute(select(episodes)).all()
    assert (row.id, row.rule_uid, row.series_key, row.episode, row.thread) == (1, "low", "k", 3, "low@2018-01-01")
    assert (row.segment, row.names, row.labels) == ({"owner": "crm:ana"}, {"owner": "Ana"}, {"team": "sales"})
    assert (row.level, row.told_level, row.handling, row.ended_at) == ("critical", "critical", "open", None)
    assert (row.opened_slot.isoformat(), row.opened_at.isoformat()) == ("2018-01-01T00:00:00+00:00", "2018-01-02T00:00:00+00:00")
    store.close()


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'eve'", "DELETE FROM audit"])
def test_nobody_changes_the_audit_log(url, change):
    store = open_store(url)
    refuses_changes(store, change)
    store.close()


def refuses_changes(store, change):
    with store.write() as connection:
        connection.execute(text(AUDITED))
    with pytest.raises(DBAPIError, match="append-only"), store.engine.begin() as connection:
        connection.execute(text(change))
    with store.read() as connection:
        assert connection.execute(text("SELECT actor FROM audit")).scalars().all() == ["ada"]


def test_postgresql_has_the_same_schema_and_refuses_the_same(postgres):
    store = Store(postgres)
    with store.write() as connection:
        command.upgrade(alembic_config(connection), "0002")
        for statement in (FIRING, FIRED, RULE):
            connection.exec_driver_sql(statement)
    assert bring_up_to_date(store) == "0002"
    with store.write() as connection:
        (row,) = connection.execute(select(episodes)).all()
        assert (row.id, row.segment, row.labels, row.thread) == (1, {"owner": "crm:ana"}, {"team": "sales"}, "low@2018-01-01")
        context = MigrationContext.configure(connection, opts={"compare_type": False, "target_metadata": metadata})
        assert compare_metadata(context, metadata) == []
        connection.execute(text(AUDITED))
    for change in ("UPDATE audit SET actor = 'eve'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="append-only"), store.engine.begin() as connection:
            connection.execute(text(change))
    with store.write() as connection:
        by_migrations = told(connection)
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    store.close()
    store = open_store(postgres)
    with store.read() as connection:
        assert told(connection) == by_migrations
    refuses_changes(store, "TRUNCATE audit")
    store.close()


def test_a_newer_store_is_refused_with_both_versions(url):
    store = open_store(url)
    with store.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreError) as error:
        open_store(url)
    assert "9999" in str(error.value)
    assert migrations.HEAD in str(error.value)


def test_a_failing_migration_leaves_nothing_behind(url):
    store = Store(url)
    with store.write() as connection:
        connection.execute(text("CREATE VIEW runs AS SELECT 1 AS x"))  # in the way of the table of this name
    with pytest.raises(Exception, match="runs"):
        bring_up_to_date(store)
    with store.read() as connection:
        assert connection.execute(text("SELECT name FROM sqlite_master")).scalars().all() == ["runs"]
    store.close()


def test_back_up_copies_a_store_in_use(url, tmp_path):
    store = open_store(url)
    with store.write() as connection:
        connection.execute(text("INSERT INTO schedule_positions VALUES ('a', 'x', '2026-11-22T10:00:00')"))
    back_up(store.file, tmp_path / "copy.db")
    store.close()
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT schedule FROM schedule_positions").fetchall() == [("a",)]
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    copy.close()


def test_back_up_that_cannot_be_written_says_so(url, tmp_path):
    store = open_store(url)
    with pytest.raises(StoreError, match="no copy"):
        back_up(store.file, tmp_path / "none" / "copy.db")
    store.close()


def test_only_an_upgrade_has_the_migrations_in_memory_and_no_highlighter(url):
    script = """
import sys
from kpid.store.engine import Store, open_store
url = sys.argv[1]
open_store(url).close()
open_store(url).close()
assert not {"alembic", "mako"} & set(sys.modules)
store = Store(url)
with store.write() as connection:
    connection.exec_driver_sql("ALTER TABLE sync_runs DROP COLUMN deferred_until")
    connection.exec_driver_sql("ALTER TABLE sync_runs DROP COLUMN kind")
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
store.close()
open_store(url).close()
assert {"alembic", "mako"} <= set(sys.modules) and "pygments" not in sys.modules
import pygments.lexers
"""
    subprocess.run([sys.executable, "-c", script, url], check=True)
