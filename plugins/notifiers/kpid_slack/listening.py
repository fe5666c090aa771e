"""Buttons under Slack messages come back over a line that kpid opens (Socket Mode): no address of ours is open to the world.

Slack wants each envelope acknowledged within three seconds: that is done at once, what was pressed is done after it. Slack ends a
line every few hours and says so; whoever listens connects again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from kpid.plugin import DeliveryError, Press, websocket
from kpid_slack.payload import BUTTONS, escape

LOOK_EVERY = 1.0
"""Seconds after which we look whether to stop."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody pressed: the channel, the message, and who."""

    channel: str
    user: str
    thread: str = ""


Handle: TypeAlias = Callable[[Press], str]
Say: TypeAlias = Callable[[Place, str], None]


def attend(line: websocket.WebSocket, handle: Handle, say: Say, stop: Callable[[], bool]) -> None:
    """Heed what comes over a line until Slack ends it, or we are told to stop.

    Args:
        line: open.
        handle: does what was pressed; the sentence for whoever did.
        say: tells somebody something, where he pressed.
        stop: whether to end.

    Raises:
        LineError: the line is broken.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="slack") as hands:
        while not stop():
            try:
                text = line.receive(LOOK_EVERY)
            except websocket.LineClosedError:
                return
            envelope = _envelope(text)
            if envelope.get("type") == "disconnect":
                return
            if not isinstance(envelope.get("envelope_id"), str):
                continue
            line.send(json.dumps({"envelope_id": envelope["envelope_id"]}))
            for press, place in presses_of(envelope):
                hands.submit(_do, press, place, handle, say)


def _envelope(text: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _do(press: Press, place: Place, handle: Handle, say: Say) -> None:
    sentence = handle(press)
    with suppress(DeliveryError):  # it is done all the same, and the audit log says so
        say(place, sentence)


def presses_of(envelope: Mapping[str, Any]) -> Iterator[tuple[Press, Place]]:
    """What was pressed of ours, by whom and where; nothing if an envelope is about something else, or is none."""
    payload = envelope.get("payload")
    if envelope.get("type") != "interactive" or not isinstance(payload, dict) or payload.get("type") != "block_actions":
        return
    user, channel, container = (_part(payload, name) for name in ("user", "channel", "container"))
    actions = payload.get("actions")
    for action in actions if isinstance(actions, list) else ():
        if not isinstance(action, dict) or action.get("block_id") != BUTTONS or not user.get("id"):
            continue
        words = str(action.get("action_id", "")).split(":")
        if len(words) < 2 or words[0] != "kpid":
            continue
        name = str(user.get("username") or user.get("name") or "somebody")
        press = Press(words[1], str(action.get("value", "")), f"{name} ({user['id']})")
        thread = str(container.get("thread_ts") or container.get("message_ts") or "")
        yield press, Place(str(channel.get("id", "")), str(user["id"]), thread)


def _part(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = payload.get(name)
    return found if isinstance(found, dict) else {}


def whisper(place: Place, text: str) -> dict[str, Any]:
    """What to ask Slack for so that only he reads it who pressed."""
    body = {"channel": place.channel, "user": place.user, "text": escape(text)}
    return {**body, "thread_ts": place.thread} if place.thread else body
