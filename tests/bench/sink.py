"""A webhook that says yes to everything, as a process of its own: ``with running_sink() as sink``. Counts requests and keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    requests = 0
    keys: set[str] = set()  # noqa: RUF012  of the one server there is

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _Handler.requests += 1
        _Handler.keys.add(self.headers["Idempotency-Key"])
        self.send_response_only(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@dataclass
class Sink:
    """Where it listens; and, when it has ended, how many requests with how many keys it got."""

    url: str
    requests: int = 0
    keys: int = 0


@contextmanager
def running_sink() -> Iterator[Sink]:
    """A sink for the length of the block."""
    command = [sys.executable, "-m", "tests.bench.sink"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        sink = Sink(f"http://127.0.0.1:{int(child.stdout.readline())}/")
        try:
            yield sink
        finally:
            child.stdin.close()
            sink.requests, sink.keys = map(int, child.stdout.readline().split())


def main() -> None:
    """Serve until nobody writes any more."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    print(_Handler.requests, len(_Handler.keys), flush=True)


if __name__ == "__main__":
    main()
