"""kill -9 at every instant of delivering to a webhook, whose receipts reach the disk a batch at a time: one repeat at most."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kpid.delivery.dispatch import BATCH
from kpid.plugin import Message
from kpid.store import outbox
from kpid.store.engine import Store
from kpid.testing import Answer, FakeApi

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
MESSAGES = BATCH + 3
CHILD = Path(__file__).with_name("kill_points.py")
EVERY = 1 if os.environ.get("KPID_KILLS") else 7
"""Every instant takes a minute (`make test-exhaustive`); the usual suite takes every seventh."""

Live = Callable[[str, int], int]


@contextmanager
def nursery(folder: Path, url: str) -> Iterator[Live]:
    """Gives a way to let a process deliver from a folder until it dies at an instant (0: it lives); its status comes back."""
    command = [sys.executable, str(CHILD), str(folder), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as child:

        def live(name: str, at: int) -> int:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(f"{name} {at}\n")
            return int(child.stdout.readline())

        yield live
        assert child.stdin is not None
        child.stdin.close()


def key_of(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with more than a batch; the last two are a thread."""
    file = tmp_path_factory.mktemp("full") / "state.db"
    store = Store(f"sqlite:///{file}")
    store.create()
    with store.write() as conn:
        for number in range(MESSAGES):
            thread = "t" if number >= MESSAGES - 2 else None
            one = Message(key=key_of(number), kind="alert", title="Alert", text="x", created_at=NOW, thread=thread)
            outbox.enqueue(conn, one, receiver="hook", origin="rule r", now=NOW)
    store.checkpoint()
    store.close()
    return file


def attempts_of(file: Path) -> dict[str, list[str | None]]:
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT o.key, a.result FROM outbox o JOIN attempts a ON a.outbox_id = o.id ORDER BY a.id")
    found: dict[str, list[str | None]] = {}
    for key, result in rows:
        found.setdefault(key, []).append(result)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT DISTINCT state FROM outbox").fetchall() == [("sent",)]
    connection.close()
    return found


def test_kill_at_any_instant_costs_at_most_one_repeat_and_one_attempt(tmp_path: Path, full: Path) -> None:
    posted: list[tuple[str, bytes]] = []

    def take(request: object) -> Answer:
        posted.append((request.headers["Idempotency-Key"], request.body))
        return Answer(202)

    repeats = kills = 0
    with FakeApi() as api:
        api.route("POST", "/hook", take)
        with nursery(tmp_path, f"{api.url}/hook") as live:
            at, survived = 1, False
            while not survived:
                name = f"at{at}"
                (tmp_path / name).mkdir()
                (tmp_path / name / "state.db").write_bytes(full.read_bytes())
                posted.clear()
                status = live(name, at)
                survived = os.WIFEXITED(status)
                assert survived or os.WTERMSIG(status) == signal.SIGKILL
                before = {key for key, _ in posted}
                assert live(name, 0) == 0
                copies = Counter(key for key, _ in posted)
                again = [key for key, count in copies.items() if count > 1]
                assert set(copies) == {key_of(number) for number in range(MESSAGES)}, f"lost at instant {at}"
                assert len(posted) - len(copies) <= 1, f"more than one repeat at instant {at}"
                assert len(set(posted)) == len(copies), "a repeat is the same message"
                assert list(copies) == [key_of(number) for number in range(MESSAGES)], "in order"
                tried = attempts_of(tmp_path / name / "state.db")
                cut = [key for key, results in tried.items() if results != ["sent"]]
                assert all(tried[key] == ["unknown", "sent"] for key in cut)
                assert set(again) <= set(cut), "who is sent twice was noted as begun before"
                assert len(cut) <= 1, f"what was leased and not begun counts as tried at instant {at}"
                assert not set(cut) - before - {key_of(len(before))}
                repeats, kills, at = repeats + len(again), kills + (not survived), at + EVERY
    print(f"{kills} kills, {repeats} repeats, 0 lost")
    assert kills >= MESSAGES * 5 // EVERY - 1
    assert repeats > 0, "no kill hit the instant after an answer: the test showed nothing"
