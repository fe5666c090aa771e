"""Posts messages to a Slack channel: with a bot token (threads, updates, no repeats), or with an incoming webhook (posting only).

Bot: https://api.slack.com/methods/chat.postMessage; scopes ``chat:write``, and ``channels:history`` (private channels:
``groups:history``) so that kpid can look whether a message whose answer was lost has arrived. Invite the bot to the channel.
Limits: one message per second and channel, 50 blocks, 3,000 characters per block, some 13,000 per message. Answers are
``200 {"ok": false, "error": ...}``. CRM text cannot mention or link anything. Pictures are left out.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from pydantic import Field, model_validator

from kpid.plugin import (
    DeliveryError,
    Finding,
    HttpClient,
    HttpFailure,
    Message,
    Notifier,
    NotifierContext,
    Receipt,
    Response,
    Secret,
    Settings,
    hookimpl,
    hosts,
    mail,
    pacing,
)
from kpid_slack.payload import payload, short_payload

EVENT_TYPE = "kpid_message"
PAGES_TO_SEARCH = 5

RENEW = "Create a new bot token and put it into the receiver's `token`"
CURES = {
    "channel_not_found": "Write the channel's id (C0123456789), and invite the bot to it",
    "not_in_channel": "Invite the bot to the channel: /invite @kpid",
    "is_archived": "The channel is archived: choose another",
    "channel_is_archived": "The channel is archived: choose another",
    "token_revoked": RENEW,
    "token_expired": RENEW,
    "invalid_auth": RENEW,
    "not_authed": RENEW,
    "account_inactive": RENEW,
    "missing_scope": "Give the app the scope chat:write (and channels:history) and install it again",
    "restricted_action": "The workspace does not let the bot post there",
    "no_service": "The incoming webhook was removed: create a new one",
    "no_active_hooks": "The incoming webhook was removed: create a new one",
    "invalid_token": "Create a new incoming webhook",
    "action_prohibited": "An administrator has restricted the incoming webhook",
}
SHORTEN = {
    "msg_too_long",
    "msg_blocks_too_long",
    "invalid_blocks",
    "invalid_blocks_format",
    "invalid_attachments",
    "invalid_payload",
}
TRANSIENT = {"ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org", "rollup_error"}
MAYBE_POSTED = {"internal_error", "fatal_error"}
PARENT_GONE = {"message_not_found", "thread_not_found", "cannot_reply_to_message"}


class SlackSettings(Settings):
    """Settings of a Slack receiver: ``token`` and ``channel``, or ``webhook_url``."""

    token: Secret | None = Field(None, description="Bot token (xoxb-...).")
    channel: str | None = Field(None, pattern=r"^[A-Z0-9]{3,40}$", description="Id of the channel (C0123456789), not its name.")
    webhook_url: Secret | None = Field(
        None, description="Incoming webhook instead of a bot: no threads, and a repeat is possible."
    )
    broadcast_resolved: bool = Field(False, description="Show the end of an alert in the channel too, not only in its thread.")
    api_url: str = Field(
        "https://slack.com/api", description="Slack's address; changed for GovSlack (https://slack-gov.com/api)."
    )
    timeout: float = Field(30.0, gt=0, description="Seconds to wait for an answer.")
    ca_file: Path | None = Field(None, description="Certificate authority of a company's proxy.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.webhook_url is None) == (self.token is None):
            raise ValueError("a Slack receiver needs either `token` and `channel`, or `webhook_url`")
        if self.token is not None and self.channel is None:
            raise ValueError(
                "the channel's id is missing: `channel: C0123456789` (in Slack: channel name > About > at the bottom)"
            )
        for url in (self.api_url, self.api_url if self.webhook_url is None else self.webhook_url.get_secret_value()):
            parts = urlsplit(url)
            if not parts.hostname or parts.username is not None:
                raise ValueError("write https://host/path, without user and password")
            if parts.scheme != "https" and not hosts.is_loopback(parts.hostname or ""):
                raise ValueError("the address must begin with https://")
        return self


class Slack(Notifier[SlackSettings]):
    """A channel."""

    name = "slack"
    Settings = SlackSettings

    def __init__(self, settings: SlackSettings, context: NotifierContext) -> None:
        super().__init__(settings, context)
        secret = settings.token or settings.webhook_url
        hidden = secret.get_secret_value() if secret else ""
        address = urlsplit(settings.webhook_url.get_secret_value() if settings.webhook_url else settings.api_url)
        self._path = address.path.rstrip("/")
        self._client = HttpClient(
            f"{address.scheme}://{address.netloc}",
            name=context.receiver_id,
            clock=context.clock,
            timeout=(min(10.0, settings.timeout), settings.timeout),
            total=settings.timeout * 2,
            allow_private=hosts.is_loopback(address.hostname or ""),
            ca_file=context.folder / settings.ca_file if settings.ca_file else None,
            max_bytes=8_000_000,
            secrets=[hidden],
            secret_path=settings.webhook_url is not None,
        )

    def send(self, message: Message) -> Receipt:
        """Post it; as a reply where its thread has begun, and then the first message shows a resolution, too."""
        if self.settings.webhook_url is not None:
            return self._send_webhook(message)
        thread = self._thread(message)
        if thread and message.status == "resolved":
            self._update(thread, message)
        try:
            return self._post(message, thread)
        except DeliveryError as error:
            if thread and _code(error) in PARENT_GONE:
                return self._post(message, None)
            raise

    def find(self, message: Message) -> Receipt | None:
        """Look for the key in what the channel or the thread has got since the message was written."""
        if self.settings.webhook_url is not None:
            return None
        thread = self._thread(message)
        method = "conversations.replies" if thread else "conversations.history"
        oldest = (message.created_at - timedelta(minutes=1)).timestamp()
        query = {"channel": self.settings.channel, "limit": 200, "oldest": f"{oldest:.6f}", "include_all_metadata": "true"}
        query |= {"ts": thread} if thread else {}
        for _ in range(PAGES_TO_SEARCH):
            answer = self._ask("GET", f"{method}?{urlencode(query)}")
            for one in answer.get("messages", ()):
                if one.get("metadata", {}).get("event_payload", {}).get("kpid_key") == message.key:
                    return self._receipt(str(one["ts"]), "found in the channel", thread)
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
            query["cursor"] = cursor
        return None

    def check(self) -> Sequence[Finding]:
        """Whether the token is good; posting can only be tried by posting."""
        subject = self.context.receiver_id
        if self.settings.webhook_url is not None:
            return [Finding(subject, True, "an incoming webhook can only be tried by posting to it; nothing was sent")]
        try:
            answer = self._ask("POST", "auth.test", {})
        except DeliveryError as error:
            return [Finding(subject, False, error.what, error.hint or "")]
        text = f"logged in to {answer.get('team')} as {answer.get('user')}; invite it to {self.settings.channel}"
        return [Finding(subject, True, mail.one_line(text))]

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    # -- bot -------------------------------------------------------------------------------------------------------------------

    def _thread(self, message: Message) -> str | None:
        channel, _, ts = (message.thread_ref or "").partition(":")
        return ts if channel == self.settings.channel and ts else None

    def _post(self, message: Message, thread: str | None) -> Receipt:
        frame: dict[str, Any] = {
            "channel": self.settings.channel,
            "client_msg_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"kpid:{message.key}")),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"kpid_key": message.key}},
        }
        if thread:
            frame["thread_ts"] = thread
            frame["reply_broadcast"] = self.settings.broadcast_resolved and message.status == "resolved"
        try:
            answer = self._ask("POST", "chat.postMessage", {**payload(message), **frame})
        except DeliveryError as error:
            if _code(error) not in SHORTEN:
                raise
            answer = self._ask("POST", "chat.postMessage", {**short_payload(message), **frame})
        return self._receipt(str(answer["ts"]), "posted", thread)

    def _receipt(self, ts: str, detail: str, thread: str | None) -> Receipt:
        own = f"{self.settings.channel}:{ts}"
        opener = f"{self.settings.channel}:{thread}" if thread else own
        return Receipt(own, opener, detail)

    def _update(self, thread: str, message: Message) -> None:
        """Show the resolution in the first message, too. Left as it is where that fails: the reply says the same."""
        try:
            self._ask("POST", "chat.update", {**payload(message), "channel": self.settings.channel, "ts": thread})
        except DeliveryError:
            return

    def _ask(self, http_method: str, method: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        token = self.settings.token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        answer = self._exchange(http_method, f"{self._path}/{method}", body, headers)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not 200 <= answer.status < 300 or not isinstance(said, dict):
            raise self._http_error(answer, answer.text if answer.status < 500 else "")
        if not said.get("ok"):
            raise self._error(str(said.get("error", "unknown_error")), answer)
        return said

    # -- webhook ---------------------------------------------------------------------------------------------------------------

    def _send_webhook(self, message: Message) -> Receipt:
        answer = self._exchange("POST", self._path, payload(message), {})
        if answer.status == 400 and _word(answer.text) in SHORTEN:
            answer = self._exchange("POST", self._path, short_payload(message), {})
        if not 200 <= answer.status < 300:
            raise self._http_error(answer, answer.text)
        return Receipt(detail="accepted by the incoming webhook")

    # -- errors ----------------------------------------------------------------------------------------------------------------

    def _exchange(self, http_method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]) -> Response:
        try:
            return self._client.request_raw(http_method, path, json=body, headers=headers)
        except HttpFailure as failure:
            unknown = failure.unknown and http_method == "POST"
            raise DeliveryError(
                failure.what, permanent=not failure.transient, unknown=unknown, where=failure.where, hint=failure.hint
            ) from failure

    def _error(self, code: str, answer: Response) -> DeliveryError:
        """What Slack's word for a fault means. A word that we do not know is final: Slack refused this very message."""
        code = code if re.fullmatch(r"[a-z_]{1,60}|\d{3}", code) else "something unreadable"
        passing = code in TRANSIENT or code in MAYBE_POSTED
        return DeliveryError(
            f"Slack answered {code}",
            permanent=not passing,
            unknown=code in MAYBE_POSTED,
            retry_after=self._wait(answer) if passing else None,
            where=self.context.receiver_id,
            hint=CURES.get(code),
        )

    def _http_error(self, answer: Response, text: str) -> DeliveryError:
        word = _word(text)
        if answer.status in {429, 503} or word in TRANSIENT:
            what = f"Slack answered {answer.status}"
            return DeliveryError(what, retry_after=self._wait(answer), where=self.context.receiver_id)
        if 400 <= answer.status < 500:
            return self._error(word or str(answer.status), answer)
        unknown = answer.status >= 500
        return DeliveryError(f"Slack gave no usable answer ({answer.status})", unknown=unknown, where=self.context.receiver_id)

    def _wait(self, answer: Response) -> timedelta | None:
        return pacing.retry_after(answer.headers, self.context.clock.now())


def _code(error: DeliveryError) -> str:
    return error.what.rpartition(" ")[2]


def _word(text: str) -> str:
    """The one word with which a webhook explains itself; empty if it says more or something else."""
    word = text.strip()
    return word if len(word) <= 60 and word.replace("_", "").isalpha() else ""


@hookimpl
def kpid_notifiers() -> Sequence[type[Slack]]:
    """Slack."""
    return (Slack,)
