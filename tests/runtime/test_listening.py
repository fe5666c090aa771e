"""Listening for buttons: lines are opened again, presses are done, faults are told and cleared."""

from __future__ import annotations

import json
import queue
from decimal import Decimal
from pathlib import Path

import pytest
from kpid_slack import Slack, SlackSettings

from kpid.alerting.evaluate import evaluate_rules
from kpid.alerting.rules import need_of
from kpid.analysis.periods import last_complete
from kpid.analysis.tokens import LASTS, Claim, token_of
from kpid.clock import SystemClock
from kpid.commands.handling import snooze, unack
from kpid.config.signing import signing_key_of
from kpid.cycle import deliver
from kpid.errors import KpidError
from kpid.listening import hearing, listening
from kpid.model import Measurement, MeasurementState, Segment
from kpid.plugin.notifier import NotifierContext, Press
from kpid.store import episodes, history, problems
from kpid.store import handling as store
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


def fired(app):
    """Ada's alert as it is judged, told and posted; its number."""
    rule = app.config.rules[0]
    need = need_of(rule, app.plugins.kpis[rule.kpi])
    period = last_complete("month", NOW, app.calendar, 1)[-1]
    dims = (Segment("owner", "crm:1", "Ada Example"),)
    figure = Measurement(need.kpi, period, MeasurementState.OK, Decimal(5), 5, dims, data_through=period.end)
    with app.store.write() as conn:
        history.append(conn, need, [figure], periods=[period], definition="d", now=period.end)
        history.save_family(conn, need, "d", 1, period.end)
    evaluate_rules(app.alerting_setup(), store=app.store, now=NOW)
    deliver(app)
    with app.store.read() as conn:
        return episodes.list_open(conn)[0].id


def blocks(slack, kind):
    (post,) = slack.posts.values()
    return [block for block in post["blocks"] if block["type"] == kind]


def test_message_shows_what_was_pressed_and_what_the_command_has_done(slack, tmp_path):
    with opened(tmp_path, configured(slack)) as app:
        number = fired(app)
        (actions,) = blocks(slack, "actions")
        value = next(one["value"] for one in actions["elements"] if one["action_id"].startswith("kpid:ack"))
        with hearing(app, lambda: None, SystemClock()):
            line = slack.lines.opened.get(timeout=20)
            for envelope in ("e1", "e2"):
                line.send(press(value, envelope=envelope))
                assert slack.whispers.get(timeout=20)
        deliver(app)
        assert blocks(slack, "actions") == []
        assert "Acknowledged by ada (U0000000001) at " in json.dumps(blocks(slack, "section"))
        assert slack.calls["POST /api/chat.update"] == 1, "pressed twice, shown once"
        unack(app, ids=[number], by="bob")
        deliver(app)
        assert len(blocks(slack, "actions")) == 1
        snooze(app, ids=[number], by="bob", until="3d", comment="<!channel> later")
        deliver(app)
        assert "Snoozed by bob at " in json.dumps(blocks(slack, "section"))
        assert "<!channel>" not in json.dumps(
            [one for one in blocks(slack, "section") if one.get("text", {}).get("type") == "mrkdwn"]
        )
        assert deliver(app).sent == 0
        assert slack.calls["POST /api/chat.postMessage"] == 1
