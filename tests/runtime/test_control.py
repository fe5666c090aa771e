from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from kpid import control
from kpid.clock import SystemClock
from kpid.errors import BusyError, ConfigError, KpidError, StoreError
from kpid.testing import FakeClock

CLOCK = SystemClock()


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "var" / "kpid.db.lock"


# ---- the lock


def test_lock_is_held_by_one(lock):
    with control.hold(lock, "kpid sync", CLOCK), pytest.raises(BusyError, match=str(os.getpid())), control.hold(lock, "b", CLOCK):
        pass
    with control.hold(lock, "kpid sync", CLOCK):
        pass


def test_readers_share_the_lock_and_keep_writers_out(lock):
    reader, other = control.hold(lock, "a", CLOCK, shared=True), control.hold(lock, "b", CLOCK, shared=True)
    with reader, other, pytest.raises(BusyError), control.hold(lock, "c", CLOCK):
        pass


def test_a_daemon_is_not_waited_for(lock):
    with control.hold(lock, "daemon", CLOCK), pytest.raises(BusyError) as error, control.hold(lock, "daemon", CLOCK, wait=3600):
        pass
    assert "kill -HUP" in error.value.hint


def test_a_command_is_waited_for(lock):
    clock = FakeClock()
    with control.hold(lock, "kpid sync", CLOCK), pytest.raises(BusyError), control.hold(lock, "kpid sync", clock, wait=3):
        pass
    assert sum(clock.sleeps) == pytest.approx(3, abs=0.1)


def test_holder_is_told_while_it_lives(lock):
    assert control.read_holder(lock) is None
    with control.hold(lock, "daemon", CLOCK, socket_path="/x.sock"):
        assert control.read_holder(lock) == control.Holder(os.getpid(), "daemon", "/x.sock")
    assert control.read_holder(lock) is None
    lock.write_text(json.dumps({"pid": 2**22 + 1, "what": "daemon"}))
    assert control.read_holder(lock) is None, "a dead process holds nothing"


def test_lock_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"), control.hold(tmp_path / "file" / "x.lock", "a", CLOCK):
        pass


# ---- the socket


def answer(command, args, now, progress):
    match command:
        case "add":
            progress("adding", 1, 2)
            return {"sum": args["a"] + args["b"], "now": now}
        case "config":
            raise ConfigError("it is wrong", where="kpid.yml:3", hint="mend it")
        case "bug":
            raise TypeError("a bug")
    raise KpidError("unknown")


@pytest.fixture
def path(tmp_path):
    path = control.socket_path_for(tmp_path / "kpid.db")
    with control.answering(path, answer):
        yield path


def test_ask_gets_the_answer_and_the_progress(path):
    told = []
    done = control.ask(path, "add", {"a": 1, "b": 2}, now="2026-11-22T10:00:00+00:00", progress=lambda *what: told.append(what))
    assert done == {"sum": 3, "now": "2026-11-22T10:00:00+00:00"}
    assert told == [("adding", 1, 2)]


def test_errors_arrive_as_they_were_raised(path):
    with pytest.raises(ConfigError) as error:
        control.ask(path, "config", {})
    assert (error.value.what, error.value.where, error.value.hint) == ("it is wrong", "kpid.yml:3", "mend it")
    with pytest.raises(KpidError, match="bug"):
        control.ask(path, "bug", {})


def test_many_ask_at_once(path):
    sums = []

    def work(number):
        sums.append(control.ask(path, "add", {"a": number, "b": 0})["sum"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sums) == list(range(12))


def test_nobody_there_is_no_answer(tmp_path):
    with pytest.raises(control.NoAnswer):
        control.ask(str(tmp_path / "none.sock"), "add", {})


def test_a_dead_socket_is_no_answer_and_is_replaced(tmp_path):
    path = str(tmp_path / "kpid.sock")
    Path(path).touch()
    with pytest.raises(control.NoAnswer):
        control.ask(path, "add", {})
    with control.answering(path, answer):
        assert control.ask(path, "add", {"a": 1, "b": 1})["sum"] == 2
    assert not Path(path).exists()


def test_long_paths_get_a_short_socket(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    state = tmp_path / ("d" * 120) / "kpid.db"
    path = control.socket_path_for(state)
    assert len(path) <= control.MAX_PATH
    assert path != control.socket_path_for(state.with_name("other.db"))
