"""Keeping secrets out of texts: every error and log line about an exchange with a server goes through here."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from urllib.parse import quote, urlsplit

STARS = "***"
MAX_TEXT = 300

_SECRET_KEY = re.compile(r"(token|key|secret|passw|pwd|auth|sig|code|session|credential|assertion)", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_PAIR = re.compile(
    r"(?P<key>[\w-]*(?:token|secret|password|api[_-]?key|signature)[\w-]*)(?P<sep>[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"'&,;}]{4,})",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/\s@]+@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` on one line, cut to a readable length, with every known and every likely secret replaced by stars.

    Args:
        text: what a server or a library said.
        secrets: the secrets in use; their URL-quoted and base64 forms are masked too.
    """
    for secret in secrets:
        for form in _forms(secret):
            text = text.replace(form, STARS)
    text = _CONTROL.sub(" ", text)
    text = _BEARER.sub(rf"\1 {STARS}", text)
    text = _PAIR.sub(rf"\g<key>\g<sep>{STARS}", text)
    text = _USERINFO.sub("://", text).strip()
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _forms(secret: str) -> tuple[str, ...]:
    if len(secret) < 4:  # masking "ab" everywhere would only garble the text
        return ()
    forms = {secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
    return tuple(sorted(forms, key=len, reverse=True))


def redact_url(url: str, secrets: Iterable[str] = (), *, path: bool = True) -> str:
    """``url`` for people: no user and password, no values of secret-looking parameters.

    Args:
        url: an absolute address.
        secrets: the secrets in use.
        path: False shows scheme and host only, for addresses whose path is the secret (webhooks).
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    if not path:
        return redact(f"{parts.scheme}://{host}", secrets)
    query = "&".join(_masked(pair) for pair in parts.query.split("&")) if parts.query else ""
    return redact(f"{parts.scheme}://{host}{parts.path}{'?' if query else ''}{query}", secrets)


def _masked(pair: str) -> str:
    key, equals, _ = pair.partition("=")
    return f"{key}={STARS}" if equals and _SECRET_KEY.search(key) else pair


class Redactor:
    """Makes texts of one client fit for people.

    Args:
        secrets: gives the secrets in use; asked each time, for tokens change.
        path: False if the paths of addresses are secret too.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]], *, path: bool = True) -> None:
        self._secrets = secrets
        self._path = path

    def text(self, text: str) -> str:
        """``text`` without secrets, on one line."""
        return redact(text, self._secrets())

    def url(self, url: str) -> str:
        """``url`` without secrets."""
        return redact_url(url, self._secrets(), path=self._path)
