"""HTTP as far as two kinds of page need it: one request per connection, everything doubtful refused. Pure.

A request is ASCII lines ended by CR LF, with one Host that is ours, no transfer coding, and at most one length. So no proxy
before us can take the end of a request to be elsewhere than we do; and as a connection ends with its answer, nothing can hide
behind it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

MAX_HEAD = 8_192
MAX_BODY = 8_192
MAX_HEADERS = 64
MAX_FIELDS = 8
HEAD_END = b"\r\n\r\n"
METHODS = ("GET", "POST")
FORM = "application/x-www-form-urlencoded"
_LINE = re.compile(r"([A-Za-z]{1,20}) ([!-~]{1,3000}) HTTP/(\d\.\d)")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([ -~\t]*?)[ \t]*")
_ONCE = {"host", "content-length", "content-type", "origin", "sec-fetch-site"}
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class RefusedError(Exception):
    """A request that gets no page. ``text`` is ours alone: nothing of the request is repeated."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before the body."""

    method: str
    path: str
    length: int


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status, body, its type, and headers besides those that every answer has."""

    status: int
    body: bytes
    kind: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def dump(self) -> bytes:
        """As bytes for the wire."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Answer')}"]
        lines += [f"Content-Type: {self.kind}", f"Content-Length: {len(self.body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (*ALWAYS, *self.headers)]
        return "\r\n".join(lines).encode("ascii") + HEAD_END + self.body


ALWAYS = (
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-Robots-Tag", "noindex, nofollow"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""The address of a page is a secret: it is not kept, not passed on, and shown in no frame."""


def head_from(data: bytes, hosts: Collection[str]) -> Head:
    """Read what comes before the body.

    Args:
        data: everything before the first empty line.
        hosts: values of Host that are ours, in small letters.

    Raises:
        RefusedError: it is not a request as we take them.
    """
    lines = _lines(data)
    found = _LINE.fullmatch(lines[0])
    if found is None:
        raise RefusedError(400, "That was no request.")
    if found[3] not in {"1.0", "1.1"}:
        raise RefusedError(505, "Please use HTTP/1.1.")
    headers = _headers(lines[1:])
    if headers.get("host", "").lower() not in hosts:
        raise RefusedError(421, "This is not the place that was asked for.")
    if found[1] not in METHODS:
        raise RefusedError(405, "Nothing here can be done that way.")
    if found[1] == "POST":
        _check_post(headers)
    return Head(found[1], found[2], _length(found[1], headers))


def _lines(data: bytes) -> list[str]:
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise RefusedError(400, "That was no request.") from None
    lines = text.split("\r\n")
    if any(char in line for line in lines for char in "\r\n\0"):
        raise RefusedError(400, "That was no request.")
    return lines


def _headers(lines: list[str]) -> Mapping[str, str]:
    if len(lines) > MAX_HEADERS:
        raise RefusedError(431, "That were too many headers.")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise RefusedError(400, "That was no request.")
        name = found[1].lower()
        if name in headers and name in _ONCE:
            raise RefusedError(400, "That was no clear request.")
        headers[name] = found[2]
    if "transfer-encoding" in headers:
        raise RefusedError(400, "Please send the form as it is, with its length.")
    return headers


def _check_post(headers: Mapping[str, str]) -> None:
    if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise RefusedError(403, "This form was sent from a foreign page.")
    if "content-length" not in headers:
        raise RefusedError(411, "The form has no length.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise RefusedError(415, "That was no form.")


def _length(method: str, headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise RefusedError(400, "That was no clear request.")
    length = int(text)
    if method != "POST" and length:
        raise RefusedError(400, "That was no clear request.")
    if length > MAX_BODY:
        raise RefusedError(413, "That was too much.")
    return length


def form_from(body: bytes) -> dict[str, str]:
    """The fields of a form.

    Raises:
        RefusedError: it is no form, names a field twice, or is no UTF-8.
    """
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise RefusedError(400, "That form cannot be read.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RefusedError(400, "That form cannot be read.")
    return fields
