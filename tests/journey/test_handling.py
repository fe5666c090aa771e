"""An alert from its message to the hand of whoever takes it up: the link of a real mail, and what follows."""

from __future__ import annotations

import email
import re
from datetime import datetime, timedelta
from email import policy

import pytest
from sqlalchemy import func, select

from kpid import cycle
from kpid.app import open_app
from kpid.commands.alerts import show_alert
from kpid.commands.handling import ack, snooze, unack
from kpid.commands.pressing import offer, pressed
from kpid.commands.silencing import end_silence
from kpid.plugin.notifier import Press
from kpid.store.tables import outbox
from kpid.testing import FakeClock
from tests.runtime.world import CONFIG, NOW, make_world

WEB = 'web: {listen: "127.0.0.1:0", url: "https://kpid.example.com", secret: an-invented-secret-of-32-letters}\n'


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A folder in which people have been told."""
    shell = make_world(tmp_path_factory.mktemp("told"), CONFIG + WEB)
    shell.run("run", "--once", now=NOW)
    return shell


@pytest.fixture
def app(told):
    app = open_app(told.config, FakeClock(datetime.fromisoformat(NOW)), warehouse="none")
    yield app
    unack(app, ids=[1], by="nobody")
    app.close()


def links(told):
    """The tokens of the alert's mail, by what they do."""
    (file,) = [mail for mail in told.mails() if "few-wins" in mail.name]
    mail = email.message_from_bytes(file.read_bytes(), policy=policy.default)
    text = mail.get_body(("plain",)).get_content()
    found = dict(re.findall(r"^(\w+): https://kpid\.example\.com/a/(\S+)\s*$", text, flags=re.MULTILINE))
    assert all(token in mail.get_body(("html",)).get_content() for token in found.values())
    return found


def messages(app):
    with app.store.read() as conn:
        return conn.scalar(select(func.count()).select_from(outbox))


def test_link_of_a_mail_takes_its_alert_up(told, app):
    token = links(told)["Acknowledge"]
    assert offer(app, token).who == "a@example.com"
    assert "few-wins" in offer(app, token).lines[0]
    said = pressed(app, Press("ack", token, ""), "web")
    assert said.startswith("Acked by a@example.com until")
    story = show_alert(app, number=1)
    assert story["handling"].startswith("acked by a@example.com")
    assert [(one["actor"], one["via"]) for one in story["audit"]][-1] == ("a@example.com", "web")
    assert story["notices"][0]["attempts"][0]["result"] == "sent"
    assert story["notices"][0]["provider_id"]


def test_snoozed_alert_is_told_again_when_its_time_is_over(told, app):
    before, now = messages(app), app.clock.now()
    pressed(app, Press("snooze", links(told)["Snooze"], "", until="2d"), "web")
    cycle.tend(app, now + timedelta(days=1, hours=12))
    assert messages(app) == before, "not while it is snoozed, though a reminder was due"
    cycle.tend(app, now + timedelta(days=2, hours=1))
    assert messages(app) == before + 1
    cycle.tend(app, now + timedelta(days=2, hours=2))
    assert messages(app) == before + 1


def test_acknowledged_alert_is_not_repeated(told, app):
    before, now = messages(app), app.clock.now()
    ack(app, ids=[1], by="ada", until="5d")
    for days in (3, 4):
        cycle.tend(app, now + timedelta(days=days, hours=12))
    assert messages(app) == before


def test_snooze_from_the_command_line_takes_next(told, app):
    assert snooze(app, ids=[1], by="ada", until="next")["done"][0]["until"] == "2026-11-30T23:00:00+00:00"


def test_silenced_alert_says_so_in_its_story_and_is_told_when_the_silence_ends(tmp_path):
    shell = make_world(tmp_path, CONFIG + WEB)
    earlier = (datetime.fromisoformat(NOW) - timedelta(hours=1)).isoformat()
    shell.run("silence", "add", "rule=few-*", "--until", "30d", "-m", "moving house", "--as", "ada", now=earlier)
    shell.run("run", "--once", now=NOW)
    assert not [mail for mail in shell.mails() if "few-wins" in mail.name]
    assert "silence 1" in shell.run("alerts", "show", "1", now=NOW).stdout
    app = open_app(shell.config, FakeClock(datetime.fromisoformat(NOW)), warehouse="none")
    try:
        (told,) = show_alert(app, number=1)["told"]
        assert (told["state"], told["held_by"]) == ("waiting", "silence 1")
        before = messages(app)
        end_silence(app, number=1, by="bob")
        cycle.tend(app, app.clock.now() + timedelta(minutes=1))
        assert messages(app) == before + 1
        (told,) = show_alert(app, number=1)["told"]
        assert told["state"] == "sent"
    finally:
        app.close()
