"""The daemon as a process, and what may befall it: FAULTS.md says which fault is held by which test."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from kpid.store.engine import open_store
from kpid.store.migrate import alembic_config
from kpid.store.migrations import HEAD
from tests.journey.shell import Shell
from tests.runtime.faults import ask, install_sick, open_sink
from tests.runtime.world import CONFIG, NOW, Daemon, make_world, start_daemon, wait_until

KILLS_A_ROUND = 4
ROUNDS = int(os.environ.get("KPID_KILL_ROUNDS", "2"))
"""The round as a whole is killed a hundred times in tests/journey/test_crash.py; here it is the daemon."""
LATER = "2026-11-10T10:00:30+01:00"
"""The next sync is due."""
_OWN = {"id", "key", "state", "thread", "message"}
MANY = 300
KINDS = ("won_deals", "lost_deals", "won_amount", "pipeline_created")
RULES = "\n".join(
    f'  - {{name: {kpi}-{period}, kpi: {kpi}, period: {period}, warn: "< 1000", to: [team, hook]}}'
    for kpi in KINDS
    for period in ("week", "month")
)
BUSY = CONFIG.replace("rules:\n", f"rules:\n{RULES}\n").replace("to: [team]}\n", "to: [team, hook]}\n")


def with_hook(configuration: str, receiver: str) -> str:
    return configuration.replace("receivers:\n", f"receivers:\n  hook: {receiver}\n")


def idle(folder: Path) -> bool:
    """Everything that was due is done and everything that was written is sent."""
    done = ask(folder, "SELECT count(*), sum(state = 'done') FROM runs")
    left = ask(folder, "SELECT count(*) FROM outbox WHERE state != 'sent'")
    return bool(done and left) and done[0][0] >= 2 and done[0][0] == done[0][1] and left[0][0] == 0


def facts(folder: Path) -> list[list[tuple[object, ...]]]:
    assert ask(folder, "PRAGMA integrity_check") == [("ok",)]
    current = (
        "SELECT family, segment, period_start, state, value, n FROM measurements m WHERE period_end < '2026-11-09' AND id = "
    )
    newest = (
        "(SELECT max(id) FROM measurements o WHERE (o.family, o.segment, o.period_start) = (m.family, m.segment, m.period_start))"
    )
    return [
        sorted(ask(folder, sql))
        for sql in (
            current + newest,
            "SELECT rule_uid, segment, status, level, episode, last_slot FROM series",
            "SELECT rule_uid, series_key, episode, kind, slot FROM events",
            "SELECT key FROM outbox",
        )
    ]


def test_daemon_killed_anywhere_loses_nothing_and_repeats_at_most_once_per_kill(tmp_path):
    """F1, F2, F4."""
    rng = random.Random(20261110)
    with open_sink() as sink:

        def follow(shell: Shell, kills: int, length: float) -> float:
            began = time.monotonic()
            log = shell.folder / "daemon.log"
            for number in range(kills + 1):
                now = datetime.fromisoformat(NOW) + timedelta(seconds=20 * number)
                child = shell.start("run", now=now.isoformat(), log=log)
                if number == kills:
                    wait_until(f"all done: {shell}", lambda child=child: idle(shell.folder) or child.poll() is not None, 90)
                    wait_until("its start", lambda child=child: f"process {child.pid}," in log.read_text())
                    child.send_signal(signal.SIGTERM)
                    assert child.wait(60) == 0, log.read_text()
                    break
                time.sleep(rng.uniform(0.05, 1.0) * length)
                child.kill()
                assert child.wait(60) == -signal.SIGKILL
            return min(time.monotonic() - began, 5.0)

        calm = tmp_path / "calm"
        length = follow(make_world(calm, with_hook(BUSY, sink.receiver)), 0, 1.0)
        expected, wanted = facts(calm), set(sink.keys)
        assert len(sink.keys) == len(wanted) > 8, "nothing is sent twice without a kill"
        for name in map(str, range(ROUNDS)):
            sink.keys.clear()
            follow(make_world(tmp_path / name, with_hook(BUSY, sink.receiver)), KILLS_A_ROUND, length)
            assert facts(tmp_path / name) == expected
            handed = Counter(sink.keys)
            assert set(handed) == wanted, "every message arrived"
            assert handed.total() - len(handed) <= KILLS_A_ROUND, "at most one repeat per kill"
            assert len(list((tmp_path / name / "var" / "mail").glob("*.eml"))) == len(
                list((calm / "var" / "mail").glob("*.eml"))
            ), "a mail that is written again takes the same file"


def test_stop_during_a_sync_finishes_it(tmp_path):
    """F3: the source has pages to come when the signal does."""
    slow = CONFIG.replace("receivers:", "  slow: {connector: sick, how: slow, every: 1h}\nreceivers:") + "plugins_dir: plugins\n"
    shell = make_world(tmp_path, slow)
    install_sick(tmp_path)
    daemon = start_daemon(shell)
    wait_until("the sync to begin", (tmp_path / "begun").exists)
    assert daemon.stop() == 0
    assert ("sync:slow", "done") in ask(tmp_path, "SELECT schedule, state FROM runs")
    assert ask(tmp_path, "SELECT rows FROM sync_runs WHERE source = 'slow'") == [(20,)]
    assert "is not finished" not in daemon.text()


def test_sick_plugins_harm_only_themselves(tmp_path):
    """F23: one source hangs, one says exit, one raises; so do receivers. And a second signal ends it all at once (F4)."""
    sources = "".join(f"  s_{how}: {{connector: sick, how: {how}, every: 1h}}\n" for how in ("hang", "exit", "raise"))
    receivers = "".join(f"  r_{how}: {{notifier: sick, how: {how}}}\n" for how in ("hang", "exit", "raise"))
    shell = make_world(
        tmp_path,
        CONFIG.replace("receivers:\n", f"{sources}receivers:\n{receivers}").replace(
            'warn: "< 1000", to: [team]', 'warn: "< 1000", to: [r_hang, r_exit, r_raise, team]'
        )
        + "plugins_dir: plugins\n",
    )
    install_sick(tmp_path)
    daemon = start_daemon(shell)
    try:
        wait_until("the mail", shell.mails)
        wait_until("three runs to end", lambda: len(ask(tmp_path, "SELECT 1 FROM runs WHERE state IN ('done', 'failed')")) >= 3)
        states = dict(ask(tmp_path, "SELECT schedule, state FROM runs"))
        assert {name: states[name] for name in states if name.startswith("sync:")} == {
            "sync:crm": "done",
            "sync:s_exit": "failed",
            "sync:s_raise": "failed",
            "sync:s_hang": "running",
        }
        wait_until("two refusals", lambda: len(ask(tmp_path, "SELECT 1 FROM attempts WHERE result IN ('retry', 'unknown')")) >= 2)
        doctor = shell.run("doctor", now=NOW, ok=False).stdout
        assert "SystemExit" in doctor
        assert "it broke" in doctor
        assert shell.json("runs", now=NOW)
        daemon.send(signal.SIGTERM)
        daemon.wait_for("stopping: current work is finished first")
    finally:
        daemon.send(signal.SIGTERM)
        assert daemon.process.wait(30) == 128 + signal.SIGTERM


def test_many_messages_that_are_due_are_sent_once_each(tmp_path):
    """F28."""
    with open_sink() as sink:
        shell = make_world(tmp_path, with_hook(CONFIG.replace("to: [team]", "to: [hook]"), sink.receiver))
        shell.run("run", "--once", now=NOW)
        first = len(sink.keys)
        with sqlite3.connect(tmp_path / "var" / "kpid.db") as store:
            names = [
                row[1] for row in store.execute("PRAGMA table_info(outbox)") if row[1] not in {"id", "key", "state", "thread"}
            ]
            listed = ", ".join(names)
            store.execute(
                f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY}) INSERT INTO outbox "
                f"(key, message, state, thread, {listed}) SELECT printf('k%06d', i), "
                f"json_set(message, '$.key', printf('k%06d', i)), 'ready', NULL, {listed} FROM outbox, n "
                f"WHERE id = (SELECT min(id) FROM outbox)"
            )
        store.close()
        daemon = start_daemon(shell)
        try:
            wait_until("all messages", lambda: ask(tmp_path, "SELECT count(*) FROM outbox WHERE state != 'sent'") == [(0,)], 90)
            assert shell.run("outbox", "list").returncode == 0
        finally:
            assert daemon.stop() == 0
        assert len(sink.keys) - first == MANY
        assert len(set(sink.keys)) == len(sink.keys)


def test_second_daemon_while_the_first_is_stopped_is_still_refused(tmp_path):
    """F10, F11: SIGSTOP leaves the lock where it is; afterwards everything goes on, nothing twice."""
    with open_sink() as sink:
        shell = make_world(tmp_path, with_hook(BUSY, sink.receiver))
        daemon = start_daemon(shell)
        daemon.send(signal.SIGSTOP)
        refused = shell.run("run", ok=False)
        assert refused.returncode == 75
        assert f"process {daemon.process.pid}" in refused.stderr
        daemon.send(signal.SIGCONT)
        wait_until("all done", lambda: idle(tmp_path))
        assert daemon.stop() == 0
        assert len(set(sink.keys)) == len(sink.keys)


def test_store_locked_by_another_program_is_waited_for(tmp_path):
    """F15."""
    shell = make_world(tmp_path)
    daemon = start_daemon(shell)
    daemon.wait_for("report weekly is written")
    other = sqlite3.connect(tmp_path / "var" / "kpid.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = shell.start("report", "send", "weekly", now=NOW)
    time.sleep(2)
    assert waiting.poll() is None, "it waits"
    other.execute("COMMIT")
    other.close()
    assert waiting.wait(60) == 0
    wait_until("the mail", lambda: len(shell.mails()) == 3)
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.text()


def test_full_disk_leaves_nothing_half_done_and_is_gone_when_there_is_room(tmp_path):
    """F16, with a limit on the size of files in place of a full disk."""
    shell = make_world(tmp_path)
    shell.run("db", "upgrade")
    size = (tmp_path / "var" / "kpid.db").stat().st_size
    with (tmp_path / "daemon.log").open("ab") as log:
        command = ["sh", "-c", f'ulimit -f {size // 512 + 8}; exec "$@"', "sh", *shell.command("run", now=NOW)]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    daemon = Daemon(shell, tmp_path / "daemon.log", process)
    wait_until("a complaint", lambda: "the disk failed" in daemon.text() or process.poll() is not None)
    assert daemon.stop() in {0, 1}
    assert "Traceback" not in daemon.text(), daemon.text()
    again = start_daemon(shell, now=LATER)
    try:
        wait_until("two mails", lambda: len(shell.mails()) == 2)
    finally:
        assert again.stop() == 0
    assert ask(tmp_path, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_damaged_store_is_refused_with_what_to_do(tmp_path, damage):
    """F19."""
    shell = make_world(tmp_path)
    shell.run("run", "--once", now=NOW)
    file = tmp_path / "var" / "kpid.db"
    whole = file.read_bytes()
    file.write_bytes(b"no database at all " * 999 if damage == "garbage" else whole[: len(whole) // 3])
    done = shell.run("run", now=NOW, ok=False)
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "copy" in done.stderr
    assert "Traceback" not in done.stderr


def test_truncated_log_of_the_store_costs_only_what_was_not_committed(tmp_path):
    """F19: a daemon is killed and its write-ahead log is cut in the middle of a frame."""
    shell = make_world(tmp_path)
    daemon = start_daemon(shell)
    wait_until("two mails", lambda: len(shell.mails()) == 2)
    daemon.send(signal.SIGKILL)
    daemon.process.wait(30)
    log = tmp_path / "var" / "kpid.db-wal"
    log.write_bytes(log.read_bytes()[: -(2 * 4120 + 1000)])
    again = start_daemon(shell)
    wait_until("everything is sent", lambda: idle(tmp_path))
    assert again.stop() == 0
    assert ask(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    assert len(shell.mails()) == 2, "what was written again took the same file"


def test_newer_schema_is_refused_with_both_versions(tmp_path):
    """F27."""
    shell = make_world(tmp_path)
    shell.run("db", "upgrade")
    with sqlite3.connect(tmp_path / "var" / "kpid.db") as store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    done = shell.run("run", now=NOW, ok=False)
    assert done.returncode == 1
    assert "9999" in done.stderr
    assert HEAD in done.stderr


def upgrade_and_die(url: str) -> None:
    from alembic import command

    from kpid.store.engine import Store

    with Store(url).write() as connection:
        command.upgrade(alembic_config(connection), "head")
        os.kill(os.getpid(), signal.SIGKILL)


def test_migration_that_is_killed_leaves_the_store_as_it_was(tmp_path):
    """F26."""
    url = f"sqlite:///{tmp_path / 'kpid.db'}"
    child = get_context("spawn").Process(target=upgrade_and_die, args=(url,))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    with sqlite3.connect(tmp_path / "kpid.db") as store:
        assert store.execute("SELECT name FROM sqlite_master").fetchall() == []
    store.close()
    open_store(url).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run kpid as somebody else")
@pytest.mark.parametrize("command", [("run",), ("sync",), ("runs",)])
def test_folder_that_may_not_be_written_is_named(tmp_path, command):
    """F17."""
    shell = make_world(tmp_path)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    env = os.environ | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*as_nobody, *shell.command(*command, now=NOW)], cwd="/", env=env, capture_output=True, text=True, check=False, timeout=60
    )
    if "ModuleNotFoundError" in done.stderr or "Permission denied" in done.stderr.split("\n", maxsplit=1)[0][:40]:
        pytest.skip(f"another user cannot run {sys.executable}")
    assert done.returncode == 78, done.stderr
    assert str(tmp_path / "var") in done.stderr


def test_one_faulty_template_stops_no_other_report(tmp_path):
    """F24."""
    templates = tmp_path / "templates"
    other = '  other: {report: weekly_sales, every: "mon 07:30", to: [team], title: Bomb}\n'
    shell = make_world(tmp_path, f"{CONFIG}{other}templates_dir: templates\n")
    templates.mkdir()
    bomb = "{% if r.title == 'Bomb' %}{% for i in range(99999999) %}x{% endfor %}{% endif %}fine"
    (templates / "weekly_sales.txt.j2").write_text(bomb)
    daemon = start_daemon(shell)
    try:
        ended = "SELECT 1 FROM runs WHERE schedule LIKE 'report:%' AND state IN ('done', 'failed')"
        wait_until("both to end", lambda: len(ask(tmp_path, ended)) == 2)
        states = dict(ask(tmp_path, "SELECT schedule, state FROM runs"))
        assert (states["report:other"], states["report:weekly"]) == ("failed", "done"), daemon.text()
        assert "weekly_sales.txt.j2" in shell.run("doctor", now=NOW, ok=False).stdout
    finally:
        assert daemon.stop() == 0


def test_interrupted_sync_goes_on_next_time(tmp_path):
    """Ctrl-C in the middle of ``kpid sync``."""
    slow = CONFIG.replace("receivers:", "  slow: {connector: sick, how: slow, every: 1h}\nreceivers:") + "plugins_dir: plugins\n"
    shell = make_world(tmp_path, slow)
    install_sick(tmp_path)
    process = shell.start("sync", "slow", now=NOW)
    wait_until("the sync to begin", (tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert (tmp_path / "kpid.log").read_text() == "stopped\n"
    assert shell.json("sync", "slow", now=NOW)[0]["ok"]
    assert (tmp_path / "var" / "kpid.db.lock").read_text() == ""
