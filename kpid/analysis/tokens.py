"""Signed tokens: what a link or a button may do, to what, in whose hands, until when. Pure.

A token is a capability: whoever has it may do the one thing that it names, and nothing else. So it is short-lived, never logged,
and opens nothing but the page that it belongs to. ``base64url(claim).base64url(HMAC-SHA256)``; the signature is looked at before
anything that the token says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from kpid.plugin.notifier import Action

LASTS = timedelta(days=7)
MAX_TOKEN = 2_000
VERBS = ("ack", "snooze", "silence")
_PURPOSE = b"kpid action 1\n"
_FORM = re.compile(r"[A-Za-z0-9_-]{1,1900}\.[A-Za-z0-9_-]{43}")
_LABELS: tuple[tuple[Literal["ack", "snooze", "silence"], str], ...] = (
    ("ack", "Acknowledge"),
    ("snooze", "Snooze"),
    ("silence", "Silence"),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a token says.

    Attributes:
        verb: what may be done: one of :data:`VERBS`.
        subject: to what: ``flush:<id of a message>`` or ``episode:<number>``.
        who: the recipient that it was made for; empty for a channel that many read.
        expires: until when.
    """

    verb: str
    subject: str
    who: str
    expires: datetime


def token_of(claim: Claim, secret: str) -> str:
    """The claim as a signed text that fits into an address.

    Raises:
        ValueError: there is no secret, or the claim is too long.
    """
    if not secret:
        raise ValueError("a token needs a secret to be signed with")
    body = json.dumps(
        [claim.verb, claim.subject, claim.who, int(claim.expires.timestamp())], separators=(",", ":"), ensure_ascii=False
    )
    told = _text(body.encode())
    token = f"{told}.{_text(_signature(told, secret))}"
    if len(token) > MAX_TOKEN:
        raise ValueError("a token's subject and recipient are too long")
    return token


def claim_from(token: str, secret: str, now: datetime) -> Claim:
    """What a token says, if it is ours and not expired.

    Raises:
        ValueError: it is neither; the message is for people and repeats nothing of the token.
    """
    if not secret or len(token) > MAX_TOKEN or _FORM.fullmatch(token) is None:
        raise ValueError("this link is damaged")
    told, _, signature = token.partition(".")
    if not hmac.compare_digest(_text(_signature(told, secret)).encode(), signature.encode()):
        raise ValueError("this link is damaged, or was signed with another key")
    try:
        verb, subject, who, expires = json.loads(base64.urlsafe_b64decode(told + "=" * (-len(told) % 4)))
        claim = Claim(str(verb), str(subject), str(who), datetime.fromtimestamp(int(expires), UTC))
    except (ValueError, TypeError, OverflowError, OSError, binascii.Error) as error:
        raise ValueError("this link is damaged") from error
    if claim.verb not in VERBS:
        raise ValueError("this link is of another version of kpid")
    if now >= claim.expires:
        raise ValueError("this link has expired")
    return claim


def fingerprint(token: str) -> str:
    """What may be written down of a token: enough to see that two are the same, and nothing to use."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def signing_key(configured: str | None, others: Iterable[str] = ()) -> str:
    """The key that tokens are signed with: the one configured; else one made of other secrets, in any order; empty if none.

    Args:
        configured: the secret of ``web:``.
        others: secrets of the receivers whose buttons come back to us.
    """
    if configured:
        return configured
    parts = sorted({text for text in others if text})
    if not parts:
        return ""
    return hmac.new("\n".join(parts).encode(), b"kpid key for buttons", hashlib.sha256).hexdigest()


def offered(subject: str, recipient: str, now: datetime, *, key: str, url: str | None) -> tuple[Action, ...]:
    """What a recipient may do about a subject; nothing where nothing can be signed.

    Args:
        subject: ``flush:<id>`` or ``episode:<number>``.
        recipient: who gets it.
        now: the current instant.
        key: of :func:`signing_key`.
        url: where the pages are; None if there are none.
    """
    if not key:
        return ()
    found = []
    for verb, label in _LABELS:
        token = token_of(Claim(verb, subject, recipient, now + LASTS), key)
        found.append(Action(verb, label, token, f"{url}/a/{token}" if url else None))
    return tuple(found)


def _signature(told: str, secret: str) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE + told.encode(), hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
