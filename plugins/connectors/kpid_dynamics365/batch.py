"""Many reads in one request: bodies of ``$batch``, and what comes back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

BOUNDARY = "kpid_batch"
CONTENT_TYPE = f"multipart/mixed; boundary={BOUNDARY}"
_PART = re.compile(rb"HTTP/1\.1 (\d{3})[^\r\n]*\r?\n")


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one read of a batch; ``body`` as of :meth:`kpid.plugin.Response.json`."""

    status: int
    body: Any


def request_body(addresses: Sequence[str], headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The body that asks for all of ``addresses`` (paths with their query, as they go over the wire)."""
    told = "".join(f"{name}: {value}\r\n" for name, value in headers)
    parts = (
        f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        f"GET {address} HTTP/1.1\r\n{told}\r\n\r\n"
        for address in addresses
    )
    return f"{''.join(parts)}--{BOUNDARY}--\r\n".encode()


def parts_of(content: bytes, content_type: str, expected: int) -> list[Part]:
    """The answers, in the order of the reads.

    Raises:
        ValueError: this is no answer to a batch of so many reads, or it is cut short.
    """
    match = re.search(r'multipart/mixed;.*boundary="?([^";]+)"?', content_type)
    if match is None:
        raise ValueError("no multipart answer")
    pieces = content.split(b"--" + match[1].encode())
    if len(pieces) != expected + 2 or not pieces[-1].lstrip().startswith(b"--"):
        raise ValueError("parts are missing")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    head = _PART.search(piece)
    if head is None:
        raise ValueError("a part is no answer")
    body = re.split(rb"\r?\n\r?\n", piece[head.end() :].lstrip(b"\r\n"), maxsplit=1)
    text = body[1].strip() if len(body) > 1 else b""
    return Part(int(head[1]), json.loads(text, parse_float=Decimal) if text else None)
