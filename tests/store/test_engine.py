from __future__ import annotations

import os
import sqlite3
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from kpid.errors import StoreError
from kpid.store.engine import Store, open_store
from kpid.store.tables import problems, schedule_positions

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'var' / 'kpid.db'}")
    yield store
    store.close()


def row(name="a", last="2026-11-22T10:00:00"):
    return {"schedule": name, "spec": "x", "last_nominal": last}


def names(connection):
    return sorted(connection.execute(select(schedule_positions.c.schedule)).scalars())


def test_store_is_durable_and_keeps_foreign_keys(store):
    with store.write() as connection:
        values = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert values == ["wal", 2, 1]


def test_write_that_need_not_be_synced_is_committed_all_the_same_and_the_next_one_is_synced_again(store):
    def level(connection):
        return connection.execute(text("PRAGMA synchronous")).scalar()

    with store.write(synced=False) as connection:
        assert level(connection) == 1
        connection.execute(insert(schedule_positions).values(row()))
    other = sqlite3.connect(store.file)  # as another process sees it, and the same after a kill
    assert other.execute("SELECT schedule FROM schedule_positions").fetchall() == [("a",)]
    other.close()
    with store.write() as connection:
        assert level(connection) == 2
    with pytest.raises(ValueError, match="boom"), store.write(synced=False) as connection:
        raise ValueError("boom")
    with store.write() as connection:
        assert level(connection) == 2


def test_write_commits_at_the_end(store):
    with store.write() as connection:
        connection.execute(insert(schedule_positions).values(row()))
    with store.read() as connection:
        assert names(connection) == ["a"]


def test_write_rolls_back_on_error(store):
    def fail():
        with store.write() as connection:
            connection.execute(insert(schedule_positions).values(row()))
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    with store.read() as connection:
        assert names(connection) == []


def test_write_leaves_integrity_errors_to_the_caller(store):
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.execute(insert(schedule_positions), [row(), row()])


def test_write_inside_a_write_is_refused_at_once(store):
    with pytest.raises(RuntimeError, match="inside"), store.write(), store.write():
        pass
    with store.write() as connection:  # and the store is still usable
        connection.execute(insert(schedule_positions).values(row()))


def test_read_is_one_snapshot_and_does_not_wait(store):
    with store.read() as reading:
        assert names(reading) == []
        with store.write() as writing:
            writing.execute(insert(schedule_positions).values(row()))
            assert names(reading) == []
        assert names(reading) == []


def test_read_cannot_write(store):
    with pytest.raises(StoreError, match="cannot be written"), store.read() as connection:
        connection.execute(insert(schedule_positions).values(row()))


def test_writers_of_one_process_take_turns(store):
    def work(number):
        for turn in range(10):
            with store.write() as connection:
                connection.execute(insert(schedule_positions).values(row(f"{number}-{turn}")))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        assert len(names(connection)) == 60


def test_memory_store_works():
    store = Store("sqlite://")
    store.create()
    with store.write() as connection:
        connection.execute(insert(schedule_positions).values(row()))
    with store.read() as connection:
        assert names(connection) == ["a"]
    store.close()


def test_instants_come_back_aware_and_naive_ones_are_refused(store):
    values = {"subject": "s", "text": "t", "hint": "", "count": 1, "first_at": NOW, "last_at": NOW}
    with store.write() as connection:
        connection.execute(insert(problems).values(values))
        assert connection.execute(select(problems.c.first_at)).scalar() == NOW
        with pytest.raises(Exception, match="naive"):
            connection.execute(insert(problems).values({**values, "subject": "u", "last_at": NOW.replace(tzinfo=None)}))


def test_checkpoint_leaves_one_file(store):
    with store.write() as connection:
        connection.execute(insert(schedule_positions).values(row()))
    store.checkpoint()
    assert store.file.with_name("kpid.db-wal").stat().st_size == 0


# ---- errors as a person sees them


def test_a_file_that_is_none_of_ours_is_named(tmp_path):
    file = tmp_path / "kpid.db"
    file.write_text("this is no database, only a text that is long enough to be looked at as one" * 20)
    with pytest.raises(StoreError) as error:
        open_store(f"sqlite:///{file}")
    assert str(file) in str(error.value)
    assert "backup" in str(error.value)


def test_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "kpid.db"
    open_store(f"sqlite:///{file}").close()
    body = bytearray(file.read_bytes())
    body[100 : len(body)] = os.urandom(len(body) - 100)
    file.write_bytes(bytes(body))
    with pytest.raises(StoreError) as error:
        open_store(f"sqlite:///{file}")
    assert str(file) in str(error.value)
    assert "backup" in error.value.hint


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(f"sqlite:///{tmp_path / 'file' / 'kpid.db'}")


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path}")


def test_a_url_that_is_none_is_refused():
    with pytest.raises(StoreError, match="not the URL"):
        Store("var/kpid.db")


def test_a_url_without_driver_is_refused():
    with pytest.raises(StoreError, match="driver"):
        Store("nosuchdb://user:secret@example.com/x")


def test_another_programs_tables_are_refused(tmp_path):
    file = tmp_path / "other.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="not kpid"):
        open_store(f"sqlite:///{file}")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///{}/kpid.db"])
def test_memory_can_be_given_back_while_somebody_reads(tmp_path, url):
    store = Store(url.format(tmp_path))
    store.create()
    with store.write() as connection:
        connection.execute(insert(schedule_positions).values(row("a")))
    if store.file is not None:
        with store.read() as reader:
            before = names(reader)
            store.give_back_memory()
            with store.write() as connection:
                connection.execute(insert(schedule_positions).values(row("b")))
            assert before == names(reader) == ["a"]  # one snapshot all along
    store.give_back_memory()
    with store.read() as reader:
        assert names(reader) == (["a"] if store.file is None else ["a", "b"])
    store.close()
