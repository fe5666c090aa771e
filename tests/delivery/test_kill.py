"""kill -9 in the middle of delivering, again and again: nothing is lost, and a repeat is the same message."""

from __future__ import annotations

import email
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from kpid.plugin import Message
from kpid.store import outbox
from kpid.store.engine import Store
from kpid.testing import Answer, FakeApi
from tests.plugins.smtp_server import SmtpServer, running

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
MESSAGES = 100
KILLS = 32
CHILD = Path(__file__).with_name("kill_child.py")


def fill(store: Store) -> dict[str, set[str]]:
    """Messages for each receiver, some of them in threads; gives their keys."""
    keys: dict[str, set[str]] = {name: set() for name in ("mailbox", "webhook", "email")}
    with store.write() as conn:
        for number in range(MESSAGES):
            for place, (receiver, known) in enumerate(keys.items()):
                key = f"{number:032x}{place:032x}"
                known.add(key)
                thread = f"t{number // 3}" if number % 2 else None
                to = "ada@example.com" if receiver == "email" else ""
                one = Message(
                    key=key, kind="alert", title=f"Alert {number}", text="x", created_at=NOW, thread=thread, recipient=to
                )
                assert outbox.enqueue(conn, one, receiver=receiver, origin="rule r", now=NOW)
    return keys


def run_and_kill(folder: Path, url: str, port: int, rng: random.Random, arrived: Callable[[], int]) -> int:
    """Let one process after the other deliver a little and kill it; the last one may finish. Gives how many were killed."""
    kills = 0
    command = [sys.executable, str(CHILD), str(folder), url, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        while True:
            nursery.stdin.write("live\n")
            pid = int(nursery.stdout.readline())
            if kills < KILLS:
                enough = arrived() + rng.randint(1, 5)
                for _ in range(10_000):
                    if arrived() >= enough:
                        break
                    time.sleep(0.001)
                time.sleep(rng.uniform(0.0, 0.006))
                os.kill(pid, signal.SIGKILL)  # not reaped before the next line is read, so the pid is still this child's
            status = int(nursery.stdout.readline())
            if os.WIFSIGNALED(status):
                kills += 1
                continue
            assert status == 0, "a delivering process failed"
            break
        nursery.stdin.close()
    return kills


def test_killed_delivery_loses_nothing_and_repeats_little(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    store = Store(f"sqlite:///{tmp_path}/state.db")
    store.create()
    keys = fill(store)
    store.close()
    posted: list[tuple[str, bytes]] = []
    with FakeApi() as api, running(SmtpServer()) as smtp:

        def take(request: object) -> Answer:
            posted.append((request.headers["Idempotency-Key"], request.body))
            return Answer(202)

        api.route("POST", "/hook", take)
        kills = run_and_kill(tmp_path, f"{api.url}/hook", smtp.port, random.Random(seed), lambda: len(posted) + len(smtp.mails))
        mailed = [(email.message_from_bytes(content)["Message-ID"], content) for _, content in smtp.mails]

    assert kills >= 30
    copies = Counter(key for key, _ in posted)
    assert set(copies) == keys["webhook"], "lost or invented"
    assert len(posted) - len(copies) <= kills
    assert len(set(posted)) == len(copies), "a repeat is the same message"

    mails = Counter(message_id for message_id, _ in mailed)
    assert set(mails) == {f"<kpid.{key}@example.com>" for key in keys["email"]}
    assert len(mailed) - len(mails) <= kills
    assert len(set(mailed)) == len(mails), "a repeat is the same mail, byte by byte"

    files = [path for path in (tmp_path / "var/mail").iterdir() if path.suffix == ".eml"]
    ids = {email.message_from_bytes(path.read_bytes())["X-KPID-Key"] for path in files}
    assert (len(files), ids) == (MESSAGES, keys["mailbox"])

    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert dict(connection.execute("SELECT state, count(*) FROM outbox GROUP BY state")) == {"sent": 3 * MESSAGES}
        cut = connection.execute("SELECT count(*) FROM attempts WHERE result = 'unknown'").fetchone()[0]
    connection.close()
    assert cut > 0, "no kill hit a send: the test showed nothing"
    print(f"{kills} kills cut {cut} attempts; repeats: webhook {len(posted) - len(copies)}, email {len(mailed) - len(mails)}")
