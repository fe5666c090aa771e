"""The daemon as a process: what it does at its start, for others, and when it is told to stop."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.runtime.world import CONFIG, make_world, start_daemon, wait_until


def rows(daemon, sql):
    connection = sqlite3.connect(f"file:{daemon.shell.folder / 'var' / 'kpid.db'}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    daemon = start_daemon(make_world(tmp_path_factory.mktemp("running")), anew=True)
    wait_until("two mails", lambda: len(daemon.shell.mails()) >= 2)
    yield daemon
    assert daemon.stop() == 0, daemon.text()


def test_first_start_syncs_judges_reports_and_says_where(running):
    assert sorted(rows(running, "SELECT schedule, state FROM runs")) == [("report:weekly", "done"), ("sync:crm", "done")]
    assert str(running.shell.folder / "var" / "mail") in running.text()
    assert "next: report:weekly at 2026-11-16 07:30 Europe/Berlin (2026-11-16 06:30 UTC)" in running.text()
    assert "Traceback" not in running.text()


def test_second_daemon_is_refused_with_the_first_ones_number(running):
    done = running.shell.run("run", ok=False)
    assert done.returncode == 75
    assert f"process {running.process.pid}" in done.stderr


def test_round_beside_the_daemon_is_refused(running):
    assert running.shell.run("run", "--once", ok=False).returncode == 75


def test_socket_is_for_its_owner_only(running):
    mode = (running.shell.folder / "var" / "kpid.db.sock").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_commands_that_need_the_warehouse_are_done_by_the_daemon(running):
    found = running.shell.json(
        "measure", "--kpi", "won_deals", "--from", "2026-10-01", "--to", "2026-11-01", now="2026-11-10T10:00:00+01:00"
    )
    assert [(one["period"]["label"], one["value"]) for one in found] == [("2026-10", 21)]
    assert running.shell.json("sync")[0]["ok"]
    assert running.shell.run("sync", "nothing", ok=False).returncode == 1


def test_reports_are_written_with_the_rights_of_who_asks(running, tmp_path):
    running.shell.run("report", "render", "weekly", "--period", "2026-W44", "--out", str(tmp_path / "out"))
    assert {file.suffix for file in (tmp_path / "out").iterdir()} >= {".html", ".txt", ".eml"}


def test_report_by_hand_is_delivered_by_the_daemon(running):
    before = len(running.shell.mails())
    running.shell.run("report", "send", "weekly", "--period", "2026-W43")
    wait_until("one more mail", lambda: len(running.shell.mails()) == before + 1)


def test_lists_are_read_beside_the_daemon(running):
    assert running.shell.json("alerts", "list")[0]["status"] == "firing"
    assert {one["state"] for one in running.shell.json("outbox", "list")} <= {"sent", "ready"}
    assert running.shell.json("runs", "--state", "skipped") == []
    assert running.shell.run("doctor", ok=False).returncode in {0, 1}


def test_nonsense_on_the_socket_harms_nobody(running):
    for text in (
        b"no json\n",
        b'{"command": "rm -rf", "args": {}}\n',
        b'{"command": "sync", "args": {"full": 1, "x": 2}}\n',
        b"",
    ):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(running.shell.folder / "var" / "kpid.db.sock"))
            line.sendall(text)
            line.shutdown(socket.SHUT_WR)
            answer = line.makefile("rb").read()
        assert (b"error" in answer) == bool(text)
    assert running.process.poll() is None


def test_reload_takes_the_whole_new_configuration_or_none(tmp_path):
    daemon = start_daemon(make_world(tmp_path))
    try:
        daemon.wait_for("report weekly is written")
        daemon.shell.config.write_text(CONFIG.replace("mon 07:30", "mon 07:3"))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the new configuration is not used")
        assert f"{daemon.shell.config}:" in daemon.text()
        wait_until("a problem", lambda: any(one["subject"] == "configuration" for one in _problems(daemon)))
        daemon.shell.config.write_text(CONFIG.replace("mon 07:30", "tue 08:15"))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("the configuration was read again")
        assert "report weekly: every Tuesday at 08:15" in daemon.text()
        wait_until("no problem", lambda: not any(one["subject"] == "configuration" for one in _problems(daemon)))
        assert len([run for run in daemon.shell.json("runs") if run["schedule"] == "report:weekly"]) == 1, (
            "a change sends nothing"
        )
    finally:
        assert daemon.stop() == 0


def _problems(daemon):
    text = rows(daemon, "SELECT subject, text FROM problems")
    return [{"subject": subject, "text": what} for subject, what in text]


def test_stop_leaves_nothing_but_its_files(tmp_path):
    daemon = start_daemon(make_world(tmp_path))
    daemon.wait_for("report weekly is written")
    assert daemon.stop() == 0
    assert "stopped" in daemon.text()
    assert not (tmp_path / "var" / "kpid.db.sock").exists()
    assert (tmp_path / "var" / "kpid.db.lock").read_text() == ""
    assert daemon.shell.run("measure", "--kpi", "won_deals").returncode == 0


def test_stop_finishes_the_send_under_way(tmp_path):
    """The receiver is slow: SIGTERM comes while it has the message, which must be marked as sent all the same."""
    begun, keys = threading.Event(), []

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self):
            keys.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["key"])
            begun.set()
            time.sleep(1.5)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hook = f'{{notifier: webhook, url: "http://127.0.0.1:{server.server_address[1]}/", secret: "s3cret-example"}}'
        daemon = start_daemon(make_world(tmp_path, CONFIG.replace("{notifier: mailbox", f"{hook}\n  other: {{notifier: mailbox")))
        assert begun.wait(60)
        assert daemon.stop() == 0
        server.shutdown()
    sent = {key for (key,) in rows(daemon, "SELECT key FROM outbox WHERE state = 'sent'")}
    assert set(keys) == sent
    assert len(keys) == len(sent)
    assert rows(daemon, "SELECT count(*) FROM outbox WHERE state = 'sending'") == [(0,)]
    assert "s3cret-example" not in daemon.text()


def test_second_signal_stops_at_once(tmp_path):
    daemon = start_daemon(make_world(tmp_path))
    daemon.wait_for("report weekly is written")
    daemon.send(signal.SIGSTOP)
    daemon.send(signal.SIGTERM)
    daemon.send(signal.SIGINT)
    daemon.send(signal.SIGCONT)
    assert daemon.process.wait(30) in {0, 128 + signal.SIGINT, 128 + signal.SIGTERM}


def test_killed_daemon_is_followed_by_one_that_goes_on(tmp_path):
    daemon = start_daemon(make_world(tmp_path), anew=True)
    daemon.send(signal.SIGKILL)
    assert daemon.process.wait(30) == -signal.SIGKILL
    again = start_daemon(daemon.shell, anew=True)
    try:
        wait_until("two mails", lambda: len(again.shell.mails()) == 2)
        assert {state for (state,) in rows(again, "SELECT state FROM runs")} == {"done"}
    finally:
        assert again.stop() == 0


def test_systemd_is_told(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(60)
        shell = make_world(tmp_path / "world")
        shell.env["NOTIFY_SOCKET"] = path
        shell.env["WATCHDOG_USEC"] = "1000000"
        daemon = start_daemon(shell)
        assert listener.recv(100) == b"READY=1"
        assert listener.recv(100) == b"WATCHDOG=1"
        assert daemon.stop() == 0
        told = b""
        while told != b"STOPPING=1":
            told = listener.recv(100)


def test_daemon_without_a_usable_configuration_does_not_start(tmp_path):
    shell = make_world(tmp_path, "timezone: Europe/Berlin\nsauces: {}\n")
    done = shell.run("run", ok=False)
    assert done.returncode == 78
    assert "sources" in done.stderr
    assert not (tmp_path / "var").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_daemon_in_a_read_only_folder_says_so(tmp_path):
    shell = make_world(tmp_path)
    (tmp_path / "var").mkdir(mode=0o500)
    done = shell.run("run", ok=False)
    assert done.returncode == 1
    assert "var" in done.stderr
