"""A Slack on this machine that also has people, and lines over which buttons come back (RFC 6455, the server's side)."""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from kpid.testing import Answer, Request
from tests.plugins.slack_server import CHANNEL, FakeSlack, wrong_with

APP_TOKEN = "xapp-1-canary"
PEOPLE = {"ada@example.com": "U0000000001", "bob@example.com": "U0000000002"}
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def server_frame(opcode: int, data: bytes, *, last: bool = True, bits: int = 0, masked: bool = False) -> bytes:
    """A frame as a server sends it; or as none should."""
    head = bytes([opcode | (0x80 if last else 0) | bits])
    mark = 0x80 if masked else 0
    if len(data) < 126:
        head += bytes([mark | len(data)])
    elif len(data) < 65_536:
        head += struct.pack("!BH", mark | 126, len(data))
    else:
        head += struct.pack("!BQ", mark | 127, len(data))
    return head + (b"\0\0\0\0" if masked else b"") + data


class Line:
    """The server's end of one line. What the client sent is read from ``frames``: (opcode, data)."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.frames: queue.Queue[tuple[int, bytes]] = queue.Queue()
        self.file = sock.makefile("rb")
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with self.file, suppress(OSError, ValueError, struct.error, IndexError):
            while True:
                first, second = self.file.read(2)
                length = second & 0x7F
                if length == 126:
                    (length,) = struct.unpack("!H", self.file.read(2))
                elif length == 127:
                    (length,) = struct.unpack("!Q", self.file.read(8))
                assert second & 0x80, "a client masks"
                mask = self.file.read(4)
                data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(self.file.read(length)))
                self.frames.put((first & 0x0F, data))

    def send(self, value: object) -> None:
        self.raw(server_frame(1, json.dumps(value).encode()))

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def next(self, seconds: float = 20.0) -> tuple[int, bytes]:
        return self.frames.get(timeout=seconds)

    def drop(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(10)
        self.sock.close()


class Lines:
    """Listens for WebSocket clients. ``opened`` gets each :class:`Line`; ``spoil`` changes the answer to the handshake."""

    def __init__(self) -> None:
        self.opened: queue.Queue[Line] = queue.Queue()
        self.asked: list[str] = []
        self.lines: list[Line] = []
        self.spoil = lambda answer: answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self._listener.getsockname()[1]}/link/?ticket=canary-ticket"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._shake(sock)

    def _shake(self, sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(4_096)
            if not more:
                sock.close()
                return
            data += more
        self.asked.append(data.decode())
        key = next(line.split(": ")[1] for line in data.decode().split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        answer = (
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}"
        )
        sock.sendall(self.spoil(f"{answer}\r\n\r\n".encode()))
        self.lines.append(Line(sock))
        self.opened.put(self.lines[-1])

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for line in self.lines:
            line.drop()


class SocketSlack(FakeSlack):
    """A channel, two people, and lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = Lines()
        self.whispers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.refuse_app = ""
        self.route("POST", "/api/apps.connections.open", self._open)
        for method in ("conversations.open", "chat.postEphemeral"):
            self.route("POST", f"/api/{method}", self._method(method))
        self.route("GET", "/api/users.lookupByEmail", self._method("users.lookupByEmail"))

    def close(self) -> None:
        self.lines.close()
        super().close()

    def _open(self, request: Request) -> Answer:
        if self.refuse_app or request.headers.get("Authorization") != f"Bearer {APP_TOKEN}":
            return Answer(200, {"ok": False, "error": self.refuse_app or "not_allowed_token_type"})
        return Answer(200, {"ok": True, "url": self.lines.url})

    def _users_lookupByEmail(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802  Slack's name
        person = PEOPLE.get(request.arg("email"))
        return {"ok": True, "user": {"id": person}} if person else {"ok": False, "error": "users_not_found"}

    def _conversations_open(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "channel": {"id": body["users"].replace("U", "D", 1)}}

    def _chat_postEphemeral(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802  Slack's name
        self.whispers.put(body)
        return {"ok": True}

    def _chat_postMessage(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802  Slack's name
        wrong = wrong_with({**body, "channel": CHANNEL}) if body["channel"].startswith("D") else wrong_with(body)
        if wrong:
            return {"ok": False, "error": wrong}
        ts = f"1762000000.{len(self.posts) + 1:06}"
        self.posts[ts] = {**body, "ts": ts}
        return {"ok": True, "channel": body["channel"], "ts": ts}


def press(token: str, kind: str = "ack", envelope: str = "e1", **changes: Any) -> dict[str, Any]:
    """An envelope as Slack sends it when somebody presses a button of ours."""
    payload = {
        "type": "block_actions",
        "user": {"id": "U0000000001", "username": "ada"},
        "channel": {"id": CHANNEL},
        "container": {"type": "message", "message_ts": "1762000000.000001"},
        "actions": [{"type": "button", "block_id": "kpid_actions", "action_id": f"kpid:{kind}:0", "value": token}],
    }
    return {"envelope_id": envelope, "type": "interactive", "accepts_response_payload": False, "payload": payload | changes}
