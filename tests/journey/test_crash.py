"""kill -9 at random instants of a whole round: nothing lost, nothing changed, no message twice but once per kill."""

from __future__ import annotations

import email
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kpid.sample import write_sample
from tests.journey.shell import Shell, make_shell

KILLS = int(os.environ.get("KPID_KILLS", "24"))
"""Of a hundred `make test-exhaustive` takes the time."""
ROUNDS_AT_MOST = 60
NOW = "2026-11-16T09:00:00+01:00"
CONFIG = """
timezone: Europe/Berlin
currency: EUR
state: sqlite:///var/kpid.db
warehouse: duckdb:///var/crm.duckdb
sources:
  crm: {{connector: files, path: {data}, every: 15m, max_age: 3650d}}
receivers:
  team: {{notifier: mailbox, folder: var/mail, from: kpid@example.com, to: [a@example.com, b@example.com]}}
  hook: {{notifier: webhook, url: "http://127.0.0.1:{port}/hook", secret: "example"}}
rules:
  - {{name: win-rate-low, kpi: win_rate, period: month, by: [owner], warn: "< 60%", min_sample: 5, to: [team, hook]}}
  - {{name: calls-few, kpi: calls_made, period: week, by: [team], warn: "< 1000", to: [team, hook]}}
  - {{name: backlog, kpi: ticket_backlog, period: day, warn: "> 1", to: [hook]}}
  - {{name: wins-month, kpi: won_deals, period: month, warn: "< 5000", to: [team, hook]}}
  - {{name: wins-week, kpi: won_deals, period: week, by: [owner], warn: "< 5000", to: [team, hook]}}
  - {{name: amount, kpi: won_amount, period: month, by: [product], warn: "> 1", to: [team, hook]}}
  - {{name: losses, kpi: lost_deals, period: week, by: [region], warn: "> 0", to: [team, hook]}}
  - {{name: open, kpi: pipeline_open_amount, period: week, by: [owner], warn: "> 1", to: [team, hook]}}
  - {{name: cycle, kpi: sales_cycle_days, period: quarter, warn: "> 1", to: [team, hook]}}
reports:
  weekly: {{report: weekly_sales, every: "mon 07:30", to: [team, hook]}}
"""


@dataclass
class Sink:
    """A webhook receiver that remembers every key it was handed."""

    keys: list[str] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sink.keys.append(body["key"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield sink
    server.shutdown()
    server.server_close()
    thread.join(10)


def small_sample(folder: Path) -> Path:
    """The end of the sample company's data: a round must be short, since there are many."""
    write_sample(folder, seed=3, now=datetime.fromisoformat(NOW))
    for path in folder.glob("*.csv"):
        head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text(head + "".join(lines[-600:]), encoding="utf-8")
    return folder


def facts(shell: Shell) -> tuple[list[Any], list[Any], list[Any], set[str]]:
    """What a round leaves: current measurements of closed periods, series, events, keys in the outbox."""
    store = sqlite3.connect(shell.folder / "var" / "kpid.db")
    assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    cut = "2026-11-16"
    measured = store.execute(
        "SELECT family, segment, period_start, state, value, numerator, denominator, n FROM measurements m "
        "WHERE period_end < ? AND id = (SELECT max(id) FROM measurements o WHERE o.family = m.family "
        "AND o.segment = m.segment AND o.period_start = m.period_start) ORDER BY 1, 2, 3",
        (cut,),
    ).fetchall()
    series = store.execute("SELECT rule_uid, segment, status, level, episode, last_slot FROM series ORDER BY 1, 2").fetchall()
    events = sorted(store.execute("SELECT rule_uid, series_key, episode, kind, slot FROM events").fetchall())
    keys = {key for (key,) in store.execute("SELECT key FROM outbox")}
    unfinished = store.execute("SELECT key, state, last_error FROM outbox WHERE state != 'sent'").fetchall()
    store.close()
    assert not unfinished
    return measured, series, events, keys


def mail_ids(shell: Shell) -> list[str]:
    return sorted(str(email.message_from_bytes(path.read_bytes())["Message-ID"]) for path in shell.mails())


def test_killing_a_round_anywhere_loses_nothing_and_repeats_at_most_once_per_kill(tmp_path: Path, sink: Sink) -> None:
    data = small_sample(tmp_path / "data")
    tries = count()

    def attempt(shell: Shell, kill_after: float | None) -> bool:
        now = datetime.fromisoformat(NOW) + timedelta(seconds=20 * next(tries))  # the clock never goes back
        child = shell.start("run", "--once", now=now.isoformat())
        with suppress(subprocess.TimeoutExpired):
            child.wait(kill_after)
        child.kill()
        code = child.wait()
        assert code in {0, -signal.SIGKILL}
        return code == 0

    def fresh(name: str) -> Shell:
        folder = tmp_path / name
        folder.mkdir()
        nonlocal tries
        tries = count()
        return make_shell(folder, CONFIG.format(data=data, port=sink.port))

    calm = fresh("calm")
    attempt(calm, None)
    began = time.monotonic()
    expected = facts(calm)
    again = fresh("again")
    began = time.monotonic()
    attempt(again, None)
    length = time.monotonic() - began
    assert facts(again)[3] == expected[3], "keys are the same in every run"
    assert len(expected[3]) > 20
    calm_hook = Counter(sink.keys)

    rng = random.Random(20261116)
    kills = repeats = 0
    for number in range(ROUNDS_AT_MOST):
        if kills >= KILLS:
            break
        shell = fresh(f"round{number}")
        sink.keys.clear()
        killed = 0
        while not attempt(shell, rng.uniform(0.02, 1.1) * length if killed < 12 else None):
            killed += 1
        kills += killed
        assert facts(shell) == expected
        handed = Counter(sink.keys)
        assert set(handed) == set(calm_hook), "every message arrived"
        extra = sum(handed.values()) - len(handed)
        assert extra <= killed, "at most one repeat per kill"
        repeats += extra
        assert mail_ids(shell) == mail_ids(calm), "a mail that is written again has the same Message-ID and takes the same file"
    print(f"{kills} kills, {repeats} repeats, 0 lost")
    assert kills >= KILLS
