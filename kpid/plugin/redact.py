"""Keeping secrets out of texts: every error and log line about an exchange with a server goes through here."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus, urlsplit

STARS = "***"
MAX_TEXT = 300
MIN_LENGTH = 4
"""Shorter secrets are not masked: stars for every "ab" would only garble the text."""

_SECRET_KEY = re.compile(r"(token|key|secret|passw|pwd|auth|sig|code|session|credential|assertion)", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_PAIR = re.compile(
    r"(?P<key>[\w-]*(?:token|secret|password|api[_-]?key|signature)[\w-]*)(?P<sep>[\"']?\s*[=:]\s*[\"']?)(?P<value>[^\s\"'&,;}]{4,})",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"://[^/\s@]+@")
_SIGNED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
"""The token of a link or a button: whoever reads it may press."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` on one line, cut to a readable length, with every known and every likely secret replaced by stars.

    Args:
        text: what a server or a library said.
        secrets: the secrets in use; their other forms (:func:`forms_of`) are masked too.
    """
    for form in sorted({form for secret in secrets for form in forms_of(secret)}, key=len, reverse=True):
        text = text.replace(form, STARS)
    text = _CONTROL.sub(" ", text)
    text = _BEARER.sub(rf"\1 {STARS}", text)
    text = _PAIR.sub(rf"\g<key>\g<sep>{STARS}", text)
    text = _SIGNED.sub(STARS, text)
    text = _USERINFO.sub("://", text).strip()
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def forms_of(secret: str) -> frozenset[str]:
    """How a secret may look in a text: as it is, quoted for URLs, JSON and Python, in base64. Empty for a very short one."""
    return frozenset(form for form in _forms(secret) if len(form) >= MIN_LENGTH)


def _forms(secret: str) -> Iterator[str]:
    if len(secret.strip()) < MIN_LENGTH:
        return
    lines = [line for line in secret.splitlines() if len(line) >= 16]  # keys in PEM form are logged line by line
    for plain in {secret, secret.strip(), *lines}:
        yield plain
        yield quote(plain, safe="")
        yield quote(plain)
        yield quote_plus(plain)
        yield json.dumps(plain)[1:-1]
        yield json.dumps(plain, ensure_ascii=False)[1:-1]
        yield repr(plain)[1:-1]
        yield from _base64_forms(plain.encode())


def _base64_forms(secret: bytes) -> Iterator[str]:
    """What of ``secret`` is visible in base64, at each of the three ways it can fall into the groups of three bytes."""
    for before, unstable in ((0, 0), (1, 2), (2, 3)):
        group = base64.b64encode(b"\0" * before + secret).rstrip(b"=").decode()
        whole = (before + len(secret)) // 3 * 4
        stable = group[unstable:whole]
        if len(stable) >= 8:
            yield stable
            yield stable.translate(str.maketrans("+/", "-_"))
    yield base64.b64encode(secret).decode()
    yield base64.urlsafe_b64encode(secret).decode()


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
