"""Batches of the Dataverse Web API as its server sees them: many requests in one, in parts of a multipart body."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from kpid.testing.api import Answer, Request

MOST = 1000
"""Requests in one batch."""


def asked(request: Request) -> Iterator[Request]:
    """The requests of a batch; ValueError if it is none."""
    kind, _, boundary = request.headers.get("Content-Type", "").partition("boundary=")
    if not kind.startswith("multipart/mixed") or not boundary:
        raise ValueError("no batch")
    parts = request.body.decode().split(f"--{boundary}")
    if not parts[-1].startswith("--") or len(parts) - 2 > MOST:
        raise ValueError("the batch has no end, or is too large")
    for part in parts[1:-1]:
        head, _, inner = part.strip("\r\n").partition("\r\n\r\n")
        if "application/http" not in head or "binary" not in head:
            raise ValueError("a part without its headers")
        line, *headers = inner.split("\r\n")
        method, target, version = line.split(" ")
        if version != "HTTP/1.1" or method != "GET":
            raise ValueError("only GET")
        named = dict(header.split(": ", 1) for header in headers if ": " in header)
        address = urlsplit(target)
        yield Request(method, address.path, parse_qs(address.query, keep_blank_values=True), named)


def answered(answers: Sequence[Answer]) -> Answer:
    """The answer to a batch."""
    boundary = "batchresponse_0c1d2e3f"
    parts = "".join(
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: application/json; odata.metadata=minimal\r\n\r\n{json.dumps(answer.body)}\r\n"
        for answer in answers
    )
    return Answer(200, f"{parts}--{boundary}--\r\n", {"Content-Type": f"multipart/mixed; boundary={boundary}"})
