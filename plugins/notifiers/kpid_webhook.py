"""Posts messages as signed JSON to any address: for tools that kpid does not know.

Body: ``{"version": 1, "key", "kind", "status", "title", "text", "thread", "follows", "created_at", "facts", "sections", "links",
"actions"}``. ``actions`` are pages on which people act (``{"kind", "label", "url"}``); whoever has such an address may use it.
Headers: ``Idempotency-Key`` (the same for every attempt: drop what you have seen), ``X-KPID-Timestamp`` (seconds since 1970)
and, with a ``secret``, ``X-KPID-Signature: sha256=<hex>``, the HMAC-SHA256 of ``<timestamp>.<body>``; refuse old timestamps.
2xx is a yes; 408, 429 and 5xx are tried again; every other answer is final. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

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
    pacing,
)

TRY_AGAIN = {408, 425, 429}
MAX_BODY = 1_000_000


class WebhookSettings(Settings):
    """Settings of a webhook receiver."""

    url: Secret = Field(description="Where to post; https, or http to this machine. Kept secret, since such addresses often are.")
    secret: Secret | None = Field(None, description="Key of the signature; without it messages are not signed.")
    headers: Mapping[str, Secret] = Field(default_factory=dict, description="Further headers, such as Authorization.")
    timeout: float = Field(30.0, gt=0, description="Seconds to wait for the answer.")
    ca_file: Path | None = Field(
        None, description="Certificate authority of your own server; relative to the configuration's folder."
    )
    allow_private: bool = Field(False, description="Allow an address inside your own network.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: Secret) -> Secret:
        parts = urlsplit(value.get_secret_value())
        if not parts.hostname or parts.username is not None:
            raise ValueError("write https://host/path, without user and password")
        if parts.scheme != "https" and not (parts.scheme == "http" and hosts.is_loopback(parts.hostname)):
            raise ValueError("the address must begin with https:// (http:// only for this machine)")
        return value


def payload(message: Message) -> dict[str, Any]:
    """The message as JSON data."""
    return {
        "version": 1,
        "key": message.key,
        "kind": message.kind,
        "status": message.status,
        "title": message.title,
        "text": message.text,
        "thread": message.thread,
        "follows": list(message.follows),
        "created_at": message.created_at.astimezone(UTC).isoformat(),
        "facts": dict(message.facts),
        "sections": [
            {"kind": part.kind, "text": part.text, "pairs": [list(pair) for pair in part.pairs]}
            for part in message.sections
            if part.kind != "image"
        ],
        "links": [{"label": link.label, "url": link.url} for link in message.links],
        "actions": [{"kind": one.kind, "label": one.label, "url": one.url} for one in message.actions if one.url],
    }


def body_of(message: Message) -> bytes:
    """The JSON as it is posted and signed; over a megabyte it is cut to the essential, and says so by ``shortened``."""
    data = payload(message)
    body = _encoded(data)
    if len(body) <= MAX_BODY:
        return body
    data |= {"title": data["title"][:500], "text": data["text"][:50_000], "sections": [], "shortened": True}
    for most in (None, 500, 200, 50, 10, 1):
        body = _encoded({**data, "facts": data["facts"] if most is None else _fewer(data["facts"], most)})
        if len(body) <= MAX_BODY:
            return body
    return _encoded({**data, "facts": {}, "links": [], "actions": [], "follows": []})


def _fewer(facts: Any, most: int) -> Any:
    """Facts whose lists have at most ``most`` entries, the first ones; how many are missing stands beside each."""
    if isinstance(facts, list):
        return [_fewer(one, most) for one in facts[:most]]
    if not isinstance(facts, Mapping):
        return facts
    found = {str(name): _fewer(value, most) for name, value in facts.items()}
    for name, value in facts.items():
        if isinstance(value, list) and len(value) > most:
            found[f"{name}_not_shown"] = len(value) - most
    return found


def _encoded(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What ``X-KPID-Signature`` holds."""
    return f"sha256={hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


class Webhook(Notifier[WebhookSettings]):
    """An address that takes JSON."""

    name = "webhook"
    Settings = WebhookSettings
    tells_repeats = True
    shows_pages = False

    def __init__(self, settings: WebhookSettings, context: NotifierContext) -> None:
        super().__init__(settings, context)
        parts = urlsplit(settings.url.get_secret_value())
        self._path = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        hidden = [settings.url, *settings.headers.values(), *([settings.secret] if settings.secret else [])]
        self._client = HttpClient(
            f"{parts.scheme}://{parts.netloc}",
            name=context.receiver_id,
            clock=context.clock,
            timeout=(min(10.0, settings.timeout), settings.timeout),
            total=settings.timeout * 2,
            allow_private=settings.allow_private or hosts.is_loopback(parts.hostname or ""),
            ca_file=context.folder / settings.ca_file if settings.ca_file else None,
            max_bytes=1_000_000,
            secrets=[secret.get_secret_value() for secret in hidden],
            secret_path=True,
        )

    def send(self, message: Message) -> Receipt:
        """Post it, once."""
        body = body_of(message)
        timestamp = str(int(self.context.clock.now().timestamp()))
        headers = {name: value.get_secret_value() for name, value in self.settings.headers.items()}
        headers |= {"Content-Type": "application/json", "Idempotency-Key": message.key, "X-KPID-Timestamp": timestamp}
        if self.settings.secret is not None:
            headers["X-KPID-Signature"] = signature(self.settings.secret.get_secret_value(), timestamp, body)
        try:
            answer = self._client.request_raw("POST", self._path, data=body, headers=headers)
        except HttpFailure as failure:
            raise DeliveryError(
                failure.what, permanent=not failure.transient, unknown=failure.unknown, where=failure.where, hint=failure.hint
            ) from failure
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        return Receipt(detail=f"answered {answer.status}")

    def check(self) -> Sequence[Finding]:
        """There is nothing to ask without sending; an unusual method tells whether the server is there."""
        try:
            answer = self._client.request_raw("OPTIONS", self._path)
        except HttpFailure as failure:
            return [Finding(self.context.receiver_id, False, failure.what, failure.hint or "")]
        signed = "signed" if self.settings.secret else "not signed (no `secret`)"
        return [
            Finding(self.context.receiver_id, True, f"the server answers ({answer.status} to OPTIONS); messages are {signed}")
        ]

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _refusal(self, answer: Response) -> DeliveryError:
        again = answer.status in TRY_AGAIN or answer.status >= 500
        hint = None
        if answer.status in {401, 403, 404, 410}:
            hint = "Check the receiver's `url`, `headers` and `secret`"
        elif 300 <= answer.status < 400:
            hint = "The address has moved: configure the new one"
        return DeliveryError(
            f"the server answered {answer.status}",
            permanent=not again,
            retry_after=pacing.retry_after(answer.headers, self.context.clock.now()) if again else None,
            where=self.context.receiver_id,
            hint=hint,
        )


@hookimpl
def kpid_notifiers() -> Sequence[type[Webhook]]:
    """Signed JSON."""
    return (Webhook,)
