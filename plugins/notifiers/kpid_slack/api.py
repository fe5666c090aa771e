"""Asks Slack, and understands its answers: ``200 {"ok": false, "error": ...}``. Used from one thread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from kpid.plugin import DeliveryError, HttpClient, HttpFailure, NotifierContext, Response, Secret, hosts, pacing
from kpid_slack.settings import SlackSettings

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
    "not_allowed_token_type": "`token` is the bot's (xoxb-...), `app_token` the app's (xapp-..., scope connections:write)",
    "users_not_found": "Nobody in this Slack has that address: write the person's Slack id (U0123456789) instead",
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


class Api:
    """Slack's methods, or its incoming webhook."""

    def __init__(self, settings: SlackSettings, context: NotifierContext) -> None:
        self._settings = settings
        self._context = context
        given = (settings.token, settings.webhook_url, settings.app_token)
        hidden = [secret.get_secret_value() for secret in given if secret]
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
            secrets=hidden,
            secret_path=settings.webhook_url is not None,
        )

    def ask(
        self, http_method: str, method: str, body: Mapping[str, Any] | None = None, token: Secret | None = None
    ) -> dict[str, Any]:
        """Call a method, with the bot's token unless another is given.

        Raises:
            DeliveryError: Slack refused, or could not be asked.
        """
        token = token or self._settings.token
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

    def post_hook(self, body: Mapping[str, Any], short: Mapping[str, Any]) -> None:
        """Post to the incoming webhook; the short body where the long one is not taken.

        Raises:
            DeliveryError: not accepted.
        """
        answer = self._exchange("POST", self._path, body, {})
        if answer.status == 400 and _word(answer.text) in SHORTEN:
            answer = self._exchange("POST", self._path, short, {})
        if not 200 <= answer.status < 300:
            raise self._http_error(answer, answer.text)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

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
            where=self._context.receiver_id,
            hint=CURES.get(code),
        )

    def _http_error(self, answer: Response, text: str) -> DeliveryError:
        word = _word(text)
        if answer.status in {429, 503} or word in TRANSIENT:
            what = f"Slack answered {answer.status}"
            return DeliveryError(what, retry_after=self._wait(answer), where=self._context.receiver_id)
        if 400 <= answer.status < 500:
            return self._error(word or str(answer.status), answer)
        unknown = answer.status >= 500
        return DeliveryError(f"Slack gave no usable answer ({answer.status})", unknown=unknown, where=self._context.receiver_id)

    def _wait(self, answer: Response) -> timedelta | None:
        return pacing.retry_after(answer.headers, self._context.clock.now())


def code_of(error: DeliveryError) -> str:
    """Slack's word for the fault."""
    return error.what.rpartition(" ")[2]


def _word(text: str) -> str:
    """The one word with which a webhook explains itself; empty if it says more or something else."""
    word = text.strip()
    return word if len(word) <= 60 and word.replace("_", "").isalpha() else ""
