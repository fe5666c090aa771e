"""Posts messages to a Slack channel: with a bot token (threads, updates, no repeats), or with an incoming webhook (posting only).

Bot: https://api.slack.com/methods/chat.postMessage; scopes ``chat:write``, and ``channels:history`` (private channels:
``groups:history``) so that kpid can look whether a message whose answer was lost has arrived. Invite the bot to the channel.
To write to people (``to: [sales-chat:ada@example.com]``): ``users:read.email``, ``im:write`` and ``im:history``.
Buttons: switch on Socket Mode and give the app's token (``connections:write``) as ``app_token``.
Limits: one message per second and channel, 50 blocks, 3,000 characters per block, some 13,000 per message. Answers are
``200 {"ok": false, "error": ...}``. CRM text cannot mention or link anything. Pictures are left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from kpid.plugin import (
    DeliveryError,
    Finding,
    Message,
    Notifier,
    NotifierContext,
    Press,
    Receipt,
    hookimpl,
    hosts,
    mail,
    websocket,
)
from kpid_slack.api import PARENT_GONE, SHORTEN, Api, code_of
from kpid_slack.listening import Place, attend, whisper
from kpid_slack.payload import payload, short_payload
from kpid_slack.people import People, is_person
from kpid_slack.settings import SlackSettings

EVENT_TYPE = "kpid_message"
PAGES_TO_SEARCH = 5


class Slack(Notifier[SlackSettings]):
    """A channel, and the people who may be written to beside it."""

    name = "slack"
    Settings = SlackSettings

    def __init__(self, settings: SlackSettings, context: NotifierContext) -> None:
        super().__init__(settings, context)
        self._api = Api(settings, context)
        self._people = People(self._api.ask)

    def resolves(self, recipient: str) -> bool:
        """The channel, and with a bot anybody by address or Slack id."""
        return not recipient or (self.settings.token is not None and is_person(recipient))

    @property
    def updates(self) -> bool:
        """A bot can change what it has posted."""
        return self.settings.token is not None

    @property
    def listens(self) -> bool:
        """Whether it hears buttons."""
        return self.settings.app_token is not None

    def listen(self, handle: Callable[[Press], str], stop: Callable[[], bool]) -> None:
        """Hear buttons until Slack ends the line, which it does every few hours, or we are told to stop.

        Raises:
            DeliveryError: Slack gives us no line.
            LineError: the line broke.
        """
        api = Api(self.settings, self.context)  # of this thread
        try:
            url = str(api.ask("POST", "apps.connections.open", {}, self.settings.app_token).get("url", ""))
            inner = hosts.is_loopback(urlsplit(self.settings.api_url).hostname or "")
            ca_file = self.context.folder / self.settings.ca_file if self.settings.ca_file else None
            clock, timeout = self.context.clock, min(10.0, self.settings.timeout)
            with websocket.connect(url, clock=clock, timeout=timeout, ca_file=ca_file, allow_private=inner) as line:
                attend(line, handle, lambda place, text: _say(api, place, text), stop)
        finally:
            api.close()

    def send(self, message: Message) -> Receipt:
        """Post it; as a reply where its thread has begun, and then the first message shows the end of all of it, too."""
        if message.replaces:
            return self._replace(message)
        if self.settings.webhook_url is not None:
            self._api.post_hook(payload(message), short_payload(message))
            return Receipt(detail="accepted by the incoming webhook")
        channel = self._channel(message)
        thread = _thread(message, channel)
        if thread and message.status == "resolved" and message.closes_thread:
            self._update(channel, thread, message)
        try:
            return self._post(message, channel, thread)
        except DeliveryError as error:
            if thread and code_of(error) in PARENT_GONE:
                return self._post(message, channel, None)
            raise

    def find(self, message: Message) -> Receipt | None:
        """Look for the key in what the channel or the thread has got since the message was written."""
        if self.settings.webhook_url is not None or message.replaces:
            return None  # to change a message once more does no harm
        channel = self._channel(message)
        thread = _thread(message, channel)
        method = "conversations.replies" if thread else "conversations.history"
        oldest = (message.created_at - timedelta(minutes=1)).timestamp()
        query = {"channel": channel, "limit": 200, "oldest": f"{oldest:.6f}", "include_all_metadata": "true"}
        query |= {"ts": thread} if thread else {}
        for _ in range(PAGES_TO_SEARCH):
            answer = self._api.ask("GET", f"{method}?{urlencode(query)}")
            for one in answer.get("messages", ()):
                if one.get("metadata", {}).get("event_payload", {}).get("kpid_key") == message.key:
                    return _receipt(channel, str(one["ts"]), "found in the channel", thread)
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            query["cursor"] = cursor
        return None

    def check(self) -> Sequence[Finding]:
        """Whether the tokens are good; posting can only be tried by posting."""
        subject = self.context.receiver_id
        if self.settings.webhook_url is not None:
            return [Finding(subject, True, "an incoming webhook can only be tried by posting to it; nothing was sent")]
        try:
            answer = self._api.ask("POST", "auth.test", {})
        except DeliveryError as error:
            return [Finding(subject, False, error.what, error.hint or "")]
        text = f"logged in to {answer.get('team')} as {answer.get('user')}; invite it to {self.settings.channel}"
        return [Finding(subject, True, mail.one_line(text)), *self._check_buttons(subject)]

    def close(self) -> None:
        """Let go of the connection."""
        self._api.close()

    def _check_buttons(self, subject: str) -> Sequence[Finding]:
        if not self.listens:
            return []
        try:
            self._api.ask("POST", "apps.connections.open", {}, self.settings.app_token)
        except DeliveryError as error:
            return [Finding(f"{subject} buttons", False, error.what, error.hint or "")]
        return [Finding(f"{subject} buttons", True, "the app token is good: buttons are heard")]

    def _channel(self, message: Message) -> str:
        return self._people.channel_of(message.recipient) if message.recipient else self.settings.channel or ""

    def _payload(self, message: Message) -> Mapping[str, Any]:
        return payload(message, buttons=self.listens)

    def _post(self, message: Message, channel: str, thread: str | None) -> Receipt:
        frame: dict[str, Any] = {
            "channel": channel,
            "client_msg_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"kpid:{message.key}")),
            "metadata": _metadata(message.key),
        }
        if thread:
            frame["thread_ts"] = thread
            frame["reply_broadcast"] = self.settings.broadcast_resolved and message.status == "resolved"
        try:
            answer = self._api.ask("POST", "chat.postMessage", {**self._payload(message), **frame})
        except DeliveryError as error:
            if code_of(error) not in SHORTEN:
                raise
            answer = self._api.ask("POST", "chat.postMessage", {**short_payload(message), **frame})
        return _receipt(channel, str(answer["ts"]), "posted", thread)

    def _replace(self, message: Message) -> Receipt:
        """Change an earlier message into this one. Where that cannot be, it stays as it was: what it told is told."""
        channel, _, ts = (message.replaces_ref or "").partition(":")
        if not ts or self.settings.token is None:
            return Receipt(detail="there is no message to change")
        body = {**self._payload(message), "channel": channel, "ts": ts, "metadata": _metadata(message.replaces)}
        try:
            self._api.ask("POST", "chat.update", body)
        except DeliveryError as error:
            if not error.permanent:
                error.unknown = False  # whether it has arrived does not matter
                raise
            return Receipt(detail=f"left as it was: {error.what}")
        return Receipt(message.replaces_ref or "", message.thread_ref, "changed")

    def _update(self, channel: str, thread: str, message: Message) -> None:
        """Show the resolution in the first message, too. Left as it is where that fails: the reply says the same."""
        try:
            self._api.ask("POST", "chat.update", {**self._payload(message), "channel": channel, "ts": thread})
        except DeliveryError:
            return


def _metadata(key: str) -> dict[str, Any]:
    return {"event_type": EVENT_TYPE, "event_payload": {"kpid_key": key}}


def _thread(message: Message, channel: str) -> str | None:
    opener, _, ts = (message.thread_ref or "").partition(":")
    return ts if opener == channel and ts else None


def _receipt(channel: str, ts: str, detail: str, thread: str | None) -> Receipt:
    own = f"{channel}:{ts}"
    return Receipt(own, f"{channel}:{thread}" if thread else own, detail)


def _say(api: Api, place: Place, text: str) -> None:
    api.ask("POST", "chat.postEphemeral", whisper(place, text))


@hookimpl
def kpid_notifiers() -> Sequence[type[Slack]]:
    """Slack."""
    return (Slack,)
