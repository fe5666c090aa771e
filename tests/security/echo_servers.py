"""Servers on this machine that give away what they were sent: an HTTP server, and a mail server at its log-in."""

from __future__ import annotations

import base64
import json
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, ClassVar
from urllib.parse import quote


class EchoHttp(BaseHTTPRequestHandler):
    """Answers every request with a refusal that repeats its headers: plain, URL-quoted and in base64.

    A path with ``reset`` in it is cut off instead; one with ``page`` gets an HTML page, ``redirect`` a
    redirect that holds it all.
    """

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        told = f"{self.path} " + " ".join(f"{name}: {value}" for name, value in self.headers.items())
        EchoHttp.seen.append(told)
        if "reset" in self.path:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        told += f" {quote(told, safe='')} {base64.b64encode(told.encode()).decode()}"
        bare = self.headers.get("Authorization", "").removeprefix("Bearer ")
        told = f"{bare} {base64.b64encode(bare.encode()).decode()} {told}"
        body = json.dumps({"ok": False, "error": told, "message": told, "status": "error", "category": told, "errors": [told]})
        self.send_response({"page": 200, "redirect": 302}.get(next((w for w in ("page", "redirect") if w in self.path), ""), 400))
        if "redirect" in self.path:
            self.send_header("Location", f"https://elsewhere.example.com/?token={quote(bare)}&q={quote(self.path)}")
        content = (f"<html><body>{told}</body></html>" if "page" in self.path else body).encode()
        self.send_header("Content-Type", "text/html" if "page" in self.path else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Echo", quote(told, safe=" :"))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_OPTIONS = do_PUT = do_GET  # noqa: N815  names that the base class looks for

    def log_message(self, *_: Any) -> None:
        return None


class EchoSmtp(socketserver.StreamRequestHandler):
    """Refuses every log-in with the very line it got, as it came and decoded."""

    def handle(self) -> None:
        self._say("220 echo.example.com ESMTP")
        while line := self.rfile.readline(4096).decode("utf-8", "replace").strip():
            word, _, rest = line.partition(" ")
            match word.upper():
                case "EHLO":
                    self._say("250-echo.example.com\r\n250 AUTH PLAIN LOGIN")
                case "AUTH":
                    blob = rest.rpartition(" ")[2]
                    plain = base64.b64decode(blob + "==").decode("utf-8", "replace").replace("\0", " ")
                    self._say(f"535 5.7.8 no such log-in: {blob} {plain} {quote(plain)}")
                case "QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("502 no")

    def _say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def running(handler: type[Any]) -> Iterator[int]:
    """A server with this handler on a free loopback port."""
    kind = ThreadingHTTPServer if issubclass(handler, BaseHTTPRequestHandler) else _TcpServer
    server = kind(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
