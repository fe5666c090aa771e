"""Reading the configuration again: nothing is sent twice, nothing is lost, and a broken file is told, once."""

from __future__ import annotations

import hashlib
import signal
import sqlite3
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from kpid.analysis.tokens import LASTS, Claim, token_of
from kpid.app import open_app
from kpid.clock import SystemClock
from kpid.daemon import Daemon
from kpid.reloading import read_again, tell_broken, tell_well
from tests.commands.handled import CONFIG as SMALL
from tests.commands.handled import opened
from tests.runtime.world import CONFIG, NOW, make_world, start_daemon, wait_until

SECRET = "an-invented-secret-of-32-letters"


def rows(daemon, sql):
    with closing(sqlite3.connect(f"file:{daemon.shell.folder / 'var' / 'kpid.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def digest(daemon):
    """All that has been said or is to be said, byte by byte."""
    tables = ("outbox", "notices", "groups", "episodes", "events", "frames")
    found = [sorted(map(repr, rows(daemon, f"SELECT * FROM {table}"))) for table in tables]
    return hashlib.sha256(repr(found).encode()).hexdigest()


def settled(daemon):
    """Everything is sent and stays as it is."""
    wait_until("all is sent", lambda: rows(daemon, "SELECT count(*) FROM outbox WHERE state <> 'sent'") == [(0,)])


def reload(daemon, configuration=None):
    if configuration is not None:
        daemon.shell.config.write_text(configuration, encoding="utf-8")
    again(daemon, "the configuration was read again")


def again(daemon, told):
    """One more reading, and what is said of it once more: tests may run in any order."""
    times = daemon.text().count(told) + 1
    daemon.send(signal.SIGHUP)
    daemon.wait_for(told, times)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    daemon = start_daemon(make_world(tmp_path_factory.mktemp("reload")))
    daemon.wait_for("report weekly is written")
    wait_until("two mails", lambda: len(daemon.shell.mails()) >= 2)
    settled(daemon)
    yield daemon
    assert daemon.stop() == 0, daemon.text()


def test_reload_twice_changes_nothing(running):
    before, mails = digest(running), len(running.shell.mails())
    reload(running)
    reload(running)
    assert digest(running) == before
    assert len(running.shell.mails()) == mails


def test_reload_sends_nothing_and_loses_nothing(running):
    """Another receiver's name, another text, another route: none of it says anything again."""
    before = digest(running)
    changed = CONFIG.replace(
        "to: [team]}\nreports", 'summary: "Few wins", runbook: "https://wiki.example.com/wins", to: [team]}\nreports'
    )
    assert changed != CONFIG
    reload(running, changed)
    assert digest(running) == before
    (alert,) = running.shell.json("alerts", "list")
    assert alert["status"] == "firing"
    reload(running, CONFIG)
    assert digest(running) == before


def test_broken_file_keeps_the_old_configuration_and_alerts_once(running):
    mails = len(running.shell.mails())
    broken = CONFIG.replace("mon 07:30", "mon 07:3")
    running.shell.config.write_text(broken, encoding="utf-8")
    running.send(signal.SIGHUP)
    wait_until("a mail about it", lambda: len(running.shell.mails()) == mails + 1)
    for _ in range(2):
        again(running, "the new configuration is not used")
    settled(running)
    assert len(running.shell.mails()) == mails + 1, "the same fault is told once"
    (text,) = [text for mail in running.shell.mails() if "Configuration refused" in (text := mail.read_text(encoding="utf-8"))]
    assert "kpid.yml:" in text
    assert rows(running, "SELECT status FROM series") == [("firing",)], "the old one goes on"
    reload(running, CONFIG)
    wait_until("a mail that it is well", lambda: len(running.shell.mails()) == mails + 2)
    settled(running)
    titles = [title for (title,) in rows(running, "SELECT json_extract(message, '$.title') FROM outbox ORDER BY id")]
    assert titles[-2:] == ["Configuration refused: kpid", "Configuration in order: kpid"]
    reload(running)
    assert len(running.shell.mails()) == mails + 2


def test_broken_template_keeps_the_old_configuration_and_alerts(running):
    folder = running.shell.folder / "templates"
    folder.mkdir(exist_ok=True)
    (folder / "alert.txt.j2").write_text("{{ nothing_of_this_name.at_all }}", encoding="utf-8")
    mails = len(running.shell.mails())
    running.shell.config.write_text(f"templates_dir: templates\n{CONFIG}", encoding="utf-8")
    running.send(signal.SIGHUP)
    wait_until("a mail about it", lambda: len(running.shell.mails()) == mails + 1)
    assert any("alert.txt.j2" in mail.read_text(encoding="utf-8") for mail in running.shell.mails())
    assert rows(running, "SELECT status FROM series") == [("firing",)]
    reload(running, CONFIG)


# ---- without a process


def test_fault_is_told_once_until_it_is_put_right(tmp_path):
    with opened(tmp_path) as app:
        now = app.clock.now()
        assert tell_broken(app, "kpid.yml:3: unknown key", now) == 1
        assert tell_broken(app, "kpid.yml:3: unknown key", now) == 0
        assert tell_broken(app, "kpid.yml:9: another fault", now) == 1
        assert tell_well(app, now) == 1
        assert tell_well(app, now) == 0
        app.clock.sleep(60)
        assert tell_broken(app, "kpid.yml:3: unknown key", app.clock.now()) == 1, "the same fault, on another day"


def test_broken_file_is_no_app_and_its_secrets_are_told_to_nobody(tmp_path):
    with opened(tmp_path) as app:
        app.config.file.write_text(SMALL.replace("few-wins, kpi: won_deals", "few-wins, kpi: wan_deals"), encoding="utf-8")
        assert read_again(app.config.file, app) is None
        with app.store.read() as conn:
            said = "".join(conn.exec_driver_sql("SELECT message FROM outbox").scalars())
        assert "wan_deals" in said
        assert SECRET not in said


# ---- pages and heartbeat of a daemon


class Pulse:
    """An address that counts how often it is called, and answers as told."""

    def __init__(self):
        pulse = self
        self.calls, self.status = [], 200

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                pulse.calls.append(self.path)
                self.send_response(pulse.status)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping/canary-uuid"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def test_heartbeat_is_pinged_after_a_good_cycle_only(tmp_path):
    pulse = Pulse()
    file = tmp_path / "kpid.yml"
    file.write_text(f'timezone: Europe/Berlin\nheartbeat: {{url: "{pulse.url}"}}\n', encoding="utf-8")
    app = open_app(file, SystemClock())
    try:
        daemon = Daemon(app, file, None)
        daemon.tick()
        daemon.beat()
        assert len(pulse.calls) == 1
        with app.store.write() as conn:
            conn.exec_driver_sql("ALTER TABLE runs RENAME TO away")
        daemon.tick()
        daemon.beat()
        assert len(pulse.calls) == 1, "what cannot plan its work does not say that it is well"
        with app.store.write() as conn:
            conn.exec_driver_sql("ALTER TABLE away RENAME TO runs")
        daemon.tick()
        daemon.beat()
        assert len(pulse.calls) == 2
    finally:
        app.close()
        pulse.close()


def test_daemon_serves_pages_and_beats(tmp_path):
    pulse = Pulse()
    extra = f"""
web: {{listen: "127.0.0.1:0", url: "https://kpid.example.com", secret: {SECRET}}}
heartbeat: {{url: "{pulse.url}", every: 1s}}
"""
    daemon = start_daemon(make_world(tmp_path, CONFIG + extra), now=NOW)
    try:
        wait_until("it beats", lambda: len(pulse.calls) >= 2)
        daemon.wait_for("report weekly is written")
        wait_until("an alert", lambda: rows(daemon, "SELECT count(*) FROM episodes") == [(1,)])
        ((number,),) = rows(daemon, "SELECT id FROM episodes")
        port = int(daemon.text().split("https://kpid.example.com, on port ")[1].split()[0])
        token = token_of(Claim("ack", f"episode:{number}", "ada@example.com", SystemClock().now() + 60 * LASTS), SECRET)
        page, host = f"http://127.0.0.1:{port}/a/{token}", {"Host": "kpid.example.com"}
        assert "few-wins" in requests.get(page, headers=host, timeout=30).text
        done = requests.post(page, headers=host, data={"do": "ack", "until": "1d"}, timeout=30)
        assert "Acked by ada@example.com" in done.text
        assert requests.get(f"http://127.0.0.1:{port}/health", headers=host, timeout=30).text == "ok\n"
        (alert,) = daemon.shell.json("alerts", "list", now=NOW)
        assert alert["id"] == number
        assert alert["handling"].startswith("acked by ada@example.com")
        story = daemon.shell.run("alerts", "show", str(number)).stdout
        assert "ada@example.com" in story
        assert "few-wins" in daemon.shell.run("why", str(number)).stdout
        assert daemon.shell.run("ack", str(number), "--as", "bob", now=NOW, ok=False).returncode == 1
        assert [one["actor"] for one in daemon.shell.json("audit", "--subject", f"episode:{number}")] == [
            "bob",
            "ada@example.com",
        ]
        assert token not in daemon.text()
        assert "canary-uuid" not in daemon.text()
    finally:
        assert daemon.stop() == 0, daemon.text()
        pulse.close()
