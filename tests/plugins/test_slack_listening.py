"""Buttons that come back over a line, against a Slack on this machine that speaks WebSocket."""

from __future__ import annotations

import json
import queue
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kpid_slack import Slack, SlackSettings
from kpid_slack.listening import presses_of
from pydantic import ValidationError

from kpid.clock import SystemClock
from kpid.plugin import Action, DeliveryError, Message, NotifierContext, websocket
from kpid.testing import FakeClock
from tests.plugins.slack_fake_socket import APP_TOKEN, SocketSlack, press, server_frame
from tests.plugins.slack_server import CHANNEL, TOKEN
from tests.plugins.test_slack import NOW


@pytest.fixture
def slack():
    with SocketSlack() as slack:
        yield slack


def notifier(slack, **changes):
    options = {"token": TOKEN, "channel": CHANNEL, "app_token": APP_TOKEN, "api_url": f"{slack.url}/api", "timeout": 2}
    return Slack(SlackSettings.model_validate(options | changes), NotifierContext("sales-chat", Path(), SystemClock()))


class Ear:
    """A notifier that listens in a thread; what was pressed, and how it ended."""

    def __init__(self, slack, handle=None, **changes):
        self.pressed = queue.Queue()
        self.ended = queue.Queue()
        self.stopping = threading.Event()
        self.bot = notifier(slack, **changes)
        self.handle = handle or (lambda one: "Acked by ada until 17 Nov")
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            self.bot.listen(self._heard, self.stopping.is_set)
        except Exception as error:
            self.ended.put(error)
        else:
            self.ended.put(None)

    def _heard(self, one):
        self.pressed.put(one)
        return self.handle(one)

    def end(self):
        return self.ended.get(timeout=30)

    def stop(self):
        self.stopping.set()
        assert self.end() is None
        self.bot.close()


@pytest.fixture
def ear(slack):
    ear = Ear(slack)
    yield ear
    if not ear.stopping.is_set() and ear.ended.empty():
        ear.stopping.set()
    ear.bot.close()


def test_press_is_acknowledged_done_and_answered(slack, ear):
    line = slack.lines.opened.get(timeout=20)
    line.send({"type": "hello", "num_connections": 1})
    line.send(press("a.token"))
    assert line.next() == (1, b'{"envelope_id": "e1"}')
    one = ear.pressed.get(timeout=20)
    assert (one.kind, one.token, one.actor) == ("ack", "a.token", "ada (U0000000001)")
    whisper = slack.whispers.get(timeout=20)
    assert (whisper["channel"], whisper["user"], whisper["text"]) == (CHANNEL, "U0000000001", "Acked by ada until 17 Nov")
    assert whisper["thread_ts"] == "1762000000.000001"
    ear.stop()
    assert line.next()[0] == 8, "a line is ended politely"


def test_acknowledgement_does_not_wait_for_the_work(slack):
    """Slack wants its answer within three seconds: it has it while the work is still going on."""
    go = threading.Event()
    ear = Ear(slack, lambda one: "done" if go.wait(30) else "late")
    line = slack.lines.opened.get(timeout=20)
    for number in range(3):
        line.send(press("a.token", envelope=f"e{number}"))
    assert [json.loads(line.next()[1])["envelope_id"] for _ in range(3)] == ["e0", "e1", "e2"]
    assert slack.whispers.empty()
    go.set()
    assert [slack.whispers.get(timeout=20)["text"] for _ in range(3)] == ["done"] * 3
    ear.stop()


def test_pings_are_answered_and_fragments_joined(slack, ear):
    line = slack.lines.opened.get(timeout=20)
    line.raw(server_frame(9, b"are you there?"))
    assert line.next() == (10, b"are you there?")
    whole = json.dumps(press("a.tökén" + "x" * 70_000, envelope="e2")).encode()
    cuts = [whole[:7], whole[7:200], whole[200:66_000], whole[66_000:]]
    line.raw(server_frame(1, cuts[0], last=False))
    line.raw(server_frame(9, b"in between"))
    assert line.next() == (10, b"in between")
    line.raw(server_frame(0, cuts[1], last=False))
    for byte in server_frame(0, cuts[2], last=False)[:9]:
        line.raw(bytes([byte]))
    line.raw(server_frame(0, cuts[2], last=False)[9:] + server_frame(0, cuts[3]))
    assert line.next() == (1, b'{"envelope_id": "e2"}')
    assert ear.pressed.get(timeout=20).token.startswith("a.t")
    ear.stop()


@pytest.mark.parametrize("ending", [{"type": "disconnect", "reason": "refresh_requested"}, None])
def test_line_that_slack_ends_is_let_go_in_good_order(slack, ear, ending):
    line = slack.lines.opened.get(timeout=20)
    if ending:
        line.send(ending)
    else:
        line.raw(server_frame(8, b"\x03\xe8"))
    assert ear.end() is None


@pytest.mark.parametrize(
    "data",
    [
        server_frame(1, b"{}", masked=True),
        server_frame(1, b"{}", bits=0x40),
        server_frame(3, b"{}"),
        server_frame(9, b"x" * 126),
        server_frame(9, b"x", last=False),
        server_frame(0, b"a part of nothing"),
        server_frame(1, b"a part", last=False) + server_frame(1, b"and another"),
        server_frame(1, b"\xff\xfe"),
        b"\x81\x7f" + (2**40).to_bytes(8, "big"),
        b"".join(server_frame(1 if not n else 0, b"x" * 60_000, last=False) for n in range(20)),
    ],
)
def test_line_that_speaks_nonsense_is_dropped(slack, ear, data):
    line = slack.lines.opened.get(timeout=20)
    with suppress(OSError):  # it hangs up before all is said
        line.raw(data)
    assert isinstance(ear.end(), websocket.LineError)


def test_line_that_breaks_is_told(slack, ear):
    slack.lines.opened.get(timeout=20).drop()
    assert isinstance(ear.end(), websocket.LineError)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer.replace(b"101", b"200"),
        lambda answer: answer.replace(b"Accept: ", b"Accept: x"),
        lambda answer: answer.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        lambda answer: b"HTTP/1.1 403 Forbidden\r\n\r\n",
        lambda answer: b"x" * 30_000,
    ],
)
def test_handshake_that_is_none_is_refused(slack, spoil):
    slack.lines.spoil = spoil
    error = Ear(slack).end()
    assert isinstance(error, websocket.LineError)
    assert "canary" not in str(error)


def test_token_that_is_refused_is_told_with_its_cure(slack):
    error = Ear(slack, app_token="xoxb-wrong-canary").end()
    assert isinstance(error, DeliveryError)
    assert error.permanent
    assert "xapp-" in error.hint
    assert "canary" not in f"{error}{error.hint}"
    findings = notifier(slack, app_token="xoxb-wrong-canary").check()
    assert [one.ok for one in findings] == [True, False]
    assert [one.ok for one in notifier(slack).check()] == [True, True]


@pytest.mark.parametrize(
    "url",
    [
        "ws://slack.example.com/",
        "https://127.0.0.1/",
        "wss://",
        "ws://user:pw@127.0.0.1/",
        "wss://127.0.0.1:99999/",
        "",
        "wss://x y/",
    ],
)
def test_address_that_no_line_should_lead_to_is_refused(slack, url):
    slack.lines.url = url
    assert isinstance(Ear(slack).end(), websocket.LineError)


def test_inner_address_is_refused_where_slack_is_not_inside():
    with pytest.raises(websocket.LineError, match="inner address"), SocketSlack() as slack:
        websocket.connect(slack.lines.url, clock=FakeClock(NOW))


@pytest.mark.parametrize(
    "envelope",
    [
        {"type": "events_api", "payload": {"type": "block_actions"}},
        {"type": "interactive", "payload": "x"},
        {"type": "interactive"},
        press("t", actions=[]),
        press("t", actions="x"),
        press("t", actions=[None, {"block_id": "other", "action_id": "kpid:ack:0", "value": "t"}]),
        press("t", actions=[{"block_id": "kpid_actions", "action_id": "ack", "value": "t"}]),
        press("t", user={}),
        press("t", user=None),
        press("t", type="view_submission"),
    ],
)
def test_what_is_no_press_of_ours_is_passed_over(envelope):
    assert list(presses_of(envelope)) == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "payload", "actions", "user", "id"]), inner)
    ),
    max_leaves=8,
)


@given(payload=_JSON)
@settings(max_examples=60, deadline=None)
def test_no_envelope_breaks_it(payload):
    list(presses_of({"type": "interactive", "payload": payload}))


@given(st.binary(max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_line(data):
    try:
        found = websocket.frame_from(data)
    except websocket.LineError:
        return
    assert found is None or found[1] <= len(data)


def test_nonsense_over_the_line_harms_nobody(slack, ear):
    line = slack.lines.opened.get(timeout=20)
    for text in (b"no json", b"[]", b"7", b'{"envelope_id": 7}', b'{"envelope_id": "e9", "type": "slash_commands"}'):
        line.raw(server_frame(1, text))
    assert line.next() == (1, b'{"envelope_id": "e9"}')
    line.raw(server_frame(2, b"\x00\x01"))
    line.send(press("a.token", envelope="e10"))
    assert line.next() == (1, b'{"envelope_id": "e10"}')
    assert ear.pressed.get(timeout=20).kind == "ack"
    ear.stop()


def test_buttons_are_shown_only_where_they_are_heard(slack):
    action = Action("ack", "Acknowledge", "a.token", "https://kpid.example.com/a/a.token")
    one = Message("k" * 64, "alert", "Low", "Low.", NOW, actions=(action,))
    for changes, shown in (({}, True), ({"app_token": None}, False)):
        bot = notifier(slack, **changes)
        bot.send(one)
        bot.close()
        posted = list(slack.posts.values())[-1]
        assert ("kpid:ack" in json.dumps(posted["blocks"])) == shown


def test_app_token_needs_a_bot(slack):
    with pytest.raises(ValidationError, match="need a bot"):
        SlackSettings.model_validate({"webhook_url": "https://hooks.slack.example/x", "app_token": APP_TOKEN})
