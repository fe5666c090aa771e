"""Listening for buttons: lines are opened again, presses are done, faults are told and cleared."""

from __future__ import annotations

import json
import queue
from pathlib import Path

import pytest
from kpid_slack import Slack, SlackSettings

from kpid.analysis.tokens import LASTS, Claim, token_of
from kpid.clock import SystemClock
from kpid.config.signing import signing_key_of
from kpid.errors import KpidError
from kpid.listening import hearing, listening
from kpid.plugin.notifier import NotifierContext, Press
from kpid.store import handling as store
from kpid.store import problems
from tests.commands.handled import NOW, fire, opened
from tests.plugins.slack_fake_socket import APP_TOKEN, SocketSlack, press
from tests.plugins.slack_server import CHANNEL, TOKEN


@pytest.fixture
def slack():
    with SocketSlack() as slack:
        yield slack


def configured(slack):
    """Buttons, and no pages: what signs them is made of the receiver's own secrets."""
    return f"""
timezone: Europe/Berlin
receivers:
  chat: {{notifier: slack, token: {TOKEN}, app_token: {APP_TOKEN}, channel: {CHANNEL}, api_url: "{slack.url}/api", timeout: 2}}
rules:
  - {{name: few-wins, kpi: won_deals, period: month, by: [owner], warn: "< 1000", to: [chat]}}
"""


def test_button_takes_an_alert_up_without_any_page(slack, tmp_path):
    with opened(tmp_path, configured(slack)) as app:
        number = fire(app)
        key = signing_key_of(app.config, app.notifiers.values())
        assert app.config.web is None
        assert key
        token = token_of(Claim("ack", f"episode:{number}", "", NOW + LASTS), key)
        woken = queue.Queue()
        with hearing(app, lambda: woken.put(1), SystemClock()) as count:
            assert count == 1
            line = slack.lines.opened.get(timeout=20)
            line.send(press(token))
            assert json.loads(line.next()[1]) == {"envelope_id": "e1"}
            said = slack.whispers.get(timeout=20)
            assert said["text"].startswith("Acked by ada (U0000000001) until")
            assert woken.get(timeout=20)
            line.send(press(token, kind="snooze", envelope="e2"))
            assert "something else" in slack.whispers.get(timeout=20)["text"]
            line.send(press(token[:-2] + "zz", envelope="e3"))
            assert slack.whispers.get(timeout=20)["text"].startswith("Not done: this link is damaged")
        with app.store.read() as conn:
            one = store.load_episode(conn, number)
        assert (one.handling, one.handled_by, one.handled_via) == ("acked", "ada (U0000000001)", "slack")


def test_line_that_ends_or_breaks_is_opened_again(slack, tmp_path):
    with opened(tmp_path, configured(slack)) as app, hearing(app, lambda: None, SystemClock()):
        slack.lines.opened.get(timeout=20).send({"type": "disconnect", "reason": "warning"})
        slack.lines.opened.get(timeout=20).drop()
        assert slack.lines.opened.get(timeout=20)
        with app.store.read() as conn:
            assert [one.subject for one in problems.list_problems(conn)] == ["receiver:chat/buttons"]


class Faulty(Slack):
    """Fails as a plugin should not."""

    def listen(self, handle, stop):
        raise RuntimeError("a canary")


def test_faulty_receiver_harms_no_other(slack):
    settings = SlackSettings.model_validate(
        {"token": TOKEN, "app_token": APP_TOKEN, "channel": CHANNEL, "api_url": f"{slack.url}/api", "timeout": 2}
    )
    context = NotifierContext("chat", Path(), SystemClock())
    notifiers = {"faulty": Faulty(settings, context), "chat": Slack(settings, context)}
    noted = queue.Queue()

    def handle(receiver: str, one: Press) -> str:
        raise (KpidError("no", hint="never") if one.token == "a" else RuntimeError("a canary"))

    with listening(notifiers, handle, lambda *told: noted.put(told), SystemClock()):
        assert noted.get(timeout=20) == ("faulty", "RuntimeError")
        line = slack.lines.opened.get(timeout=20)
        line.send(press("a"))
        line.send(press("b", envelope="e2"))
        assert [slack.whispers.get(timeout=20)["text"] for _ in range(2)] == [
            "Not done: no (never)",
            "Not done: something is wrong with kpid; its log says more",
        ]
    for one in notifiers.values():
        one.close()
