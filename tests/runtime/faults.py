"""Things that go wrong on purpose: a plugin with every bad habit, and a receiver that remembers what it was handed."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SICK = """
import os, time
from kpid.plugin import Connector, ConnectorInfo, EntityReads, Notifier, Page, Receipt, Settings, hookimpl

class SickSettings(Settings):
    how: str
    begun: str = "begun"

def fall_ill(how):
    if how == "hang":
        time.sleep(3600)
    if how == "exit":
        raise SystemExit(3)
    if how == "raise":
        raise RuntimeError("it broke")

class SickConnector(Connector[SickSettings]):
    name = "sick"
    Settings = SickSettings
    def reads(self):
        return [EntityReads("deals")]
    def check(self):
        return []
    def pages(self, entity, cursor, until):
        (self.context.folder / self.settings.begun).touch()
        fall_ill(self.settings.how)
        for number in range(20):
            time.sleep(0.1 if self.settings.how == "slow" else 0)
            yield Page({"deals": [{"native_id": f"s{number}", "state": "open"}]}, cursor={"page": number}, through=until)

class SickNotifier(Notifier[SickSettings]):
    name = "sick"
    Settings = SickSettings
    def recipients(self):
        return [""]
    def check(self):
        return []
    def send(self, message):
        fall_ill(self.settings.how)
        return Receipt()

@hookimpl
def kpid_connectors():
    return [ConnectorInfo(SickConnector, "has every bad habit")]

@hookimpl
def kpid_notifiers():
    return [SickNotifier]
"""


def install_sick(folder: Path) -> None:
    """Put the plugin into ``plugins``."""
    (folder / "plugins").mkdir()
    (folder / "plugins" / "sick.py").write_text(SICK, encoding="utf-8")


@dataclass
class Sink:
    """A webhook that remembers every key it was handed, and takes its time."""

    pause: float = 0.0
    keys: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def receiver(self) -> str:
        return f'{{notifier: webhook, url: "http://127.0.0.1:{self.port}/", secret: example}}'


@contextmanager
def open_sink(pause: float = 0.0) -> Iterator[Sink]:
    """A sink on loopback for the length of the block."""
    sink = Sink(pause)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sink.keys.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["key"])
            time.sleep(sink.pause)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sink.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def ask(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the state store; none while it is not there yet."""
    file = folder / "var" / "kpid.db"
    if not file.exists():
        return []
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()
