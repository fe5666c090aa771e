"""A small HTTP server on this machine that a test fills with routes and faults: the outside world of connectors and notifiers."""

from __future__ import annotations

import gzip
import json
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

from kpid.clock import Clock
from kpid.testing.clock import FakeClock


@dataclass(frozen=True)
class Request:
    """A request as the server got it. ``match`` holds the named groups of the route's pattern."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""
    match: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON; None if empty."""
        return json.loads(self.body) if self.body else None

    def form(self) -> dict[str, str]:
        """The body as form fields, one value each."""
        return {key: values[0] for key, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    def text(self) -> str:
        """All that it asks, to be searched: path, query and body."""
        query = "&".join(f"{name}={value}" for name, values in self.query.items() for value in values)
        return f"{self.path}?{query}\n{self.body.decode(errors='replace')}"

    def arg(self, name: str, default: str = "") -> str:
        """A query parameter's first value."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Answer:
    """What the server sends.

    Args:
        status: HTTP status.
        body: bytes or text as they are; anything else as JSON; None = empty.
        headers: beside ``Date``, ``Content-Type`` and ``Content-Length``.
        manner: ``truncate`` sends half the body and cuts the connection, ``half`` sends half the body as if it were whole,
            ``reset`` cuts before the first byte, ``hang`` waits until the server is closed, ``drip`` sends byte by byte.
        gzip: compress the body.
        on_byte: called before each byte of a ``drip``, to move a clock.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Literal["whole", "truncate", "half", "reset", "hang", "drip"] = "whole"
    gzip: bool = False
    on_byte: Callable[[], None] | None = None

    def content(self) -> bytes:
        """The body's bytes as they go over the wire."""
        body = self.body
        if body is None:
            raw = b""
        elif isinstance(body, bytes):
            raw = body
        else:
            raw = (body if isinstance(body, str) else json.dumps(body)).encode()
        return gzip.compress(raw) if self.gzip else raw


Handler: TypeAlias = Callable[[Request], Answer | dict[str, Any] | list[Any]]
Fault: TypeAlias = Callable[[Request, Answer], Answer]


@dataclass
class _Planned:
    fault: Fault
    times: int
    path: re.Pattern[str]


class FakeApi:
    """A router with a memory. Use it as a context manager.

    Args:
        clock: gives the ``Date`` header.
        tls: speak TLS with this context's certificate.

    Attributes:
        url: ``http(s)://127.0.0.1:<port>``; clients need ``allow_private=True``.
        requests: everything that arrived, in order.
        calls: how often each route (``"GET pattern"``) was asked.
    """

    def __init__(self, clock: Clock | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.clock = clock or FakeClock()
        self.requests: list[Request] = []
        self.calls: Counter[str] = Counter()
        self._routes: list[tuple[str, str, re.Pattern[str], Handler]] = []
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._server = _Server(self)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Answer ``method`` requests whose whole path matches ``pattern`` (a regular expression) by ``handler``."""
        self._routes.append((method, pattern, re.compile(pattern), handler))

    def fail(self, fault: Fault, *, times: int = 1, path: str = "") -> None:
        """Spoil the next ``times`` answers to requests whose path contains ``path`` (a regular expression)."""
        with self._lock:
            self._planned.append(_Planned(fault, times, re.compile(path)))

    def forgive(self) -> None:
        """Forget all planned faults."""
        with self._lock:
            self._planned.clear()

    def answer(self, request: Request) -> Answer:
        """What the routes and the planned faults make of ``request``; records it."""
        with self._lock:
            return self._spoiled(request, self._routed(request))

    def _routed(self, request: Request) -> Answer:
        for method, pattern, compiled, handler in self._routes:
            match = compiled.fullmatch(request.path)
            if method == request.method and match:
                request = replace(request, match=match.groupdict())
                self.requests.append(request)
                self.calls[f"{method} {pattern}"] += 1
                result = handler(request)
                return result if isinstance(result, Answer) else Answer(body=result)
        self.requests.append(request)
        return Answer(404, {"status": "error", "message": f"no such resource: {request.path}"})

    def _spoiled(self, request: Request, answer: Answer) -> Answer:
        for planned in self._planned:
            if planned.path.search(request.path):
                planned.times -= 1
                if planned.times <= 0:
                    self._planned.remove(planned)
                return planned.fault(request, answer)
        return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: FakeApi) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Exchange)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement of its headers
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # the client died while it wrote: that is no request
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        request = Request(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), dict(self.headers), body)
        answer = self.server.api.answer(request)
        match answer.manner:
            case "reset":
                self._reset()
            case "hang":
                self.server.api.closing.wait()
                self.close_connection = True
            case _:
                self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  names of the standard library

    def _send(self, answer: Answer) -> None:
        content = answer.content()
        sent = content[: len(content) // 2] if answer.manner in {"truncate", "half"} else content
        self.send_response_only(answer.status, HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else "Odd")
        headers = {"Date": format_datetime(self.server.api.clock.now(), usegmt=True), "Content-Type": "application/json"}
        headers["Content-Length"] = str(len(sent) if answer.manner == "half" else len(content))
        if answer.gzip:
            headers["Content-Encoding"] = "gzip"
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if answer.manner == "drip":
            self._drip(sent, answer.on_byte)
        else:
            self.wfile.write(sent)
        if answer.manner == "truncate":
            self.close_connection = True

    def _drip(self, content: bytes, on_byte: Callable[[], None] | None) -> None:
        with suppress(OSError):
            for byte in content:
                if on_byte:
                    on_byte()
                self.wfile.write(bytes((byte,)))
                self.wfile.flush()

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  name of the standard library
        """Tests read ``FakeApi.requests`` instead."""
