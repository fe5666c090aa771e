"""A WebSocket client (RFC 6455) as far as notifiers need one that is answered: text both ways, pings, fragments, an orderly end.

Certificates are always verified, unencrypted lines lead to this machine only, and so do lines to inner addresses: the address to
connect to often comes from a server.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

from kpid.clock import Clock
from kpid.errors import KpidError
from kpid.plugin.hosts import is_loopback, is_public

MAX_MESSAGE = 1_000_000
MAX_ANSWER = 16_384
IDLE = 30.0
"""After so long a silence we ask whether the other end is there; after three times as long it is not."""
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MORE, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_GOING_AWAY, _PROTOCOL, _NOT_UTF8, _TOO_BIG = 1001, 1002, 1007, 1009


class LineError(KpidError):
    """The line is broken, or the other end does not speak as it should: connect again."""


class LineClosedError(LineError):
    """The other end has ended the line in good order."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A piece of the line: a message, a part of one, or a sign."""

    opcode: int
    data: bytes
    last: bool = True


def frame_from(buffer: bytes) -> tuple[Frame, int] | None:
    """The first frame of a buffer, as a server sends it, and its length; None if it is not whole yet.

    Raises:
        LineError: no server may send that.
    """
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    opcode, length, start = first & 0x0F, second & 0x7F, 2
    if first & 0x70 or second & 0x80 or opcode not in {_MORE, _TEXT, _BINARY, _CLOSE, _PING, _PONG}:
        raise LineError("the other end sent a frame that is none")
    if opcode >= _CLOSE and (length > 125 or not first & 0x80):
        raise LineError("the other end sent a sign that is too long")
    if length >= 126:
        size = 2 if length == 126 else 8
        if len(buffer) < 2 + size:
            return None
        length, start = int.from_bytes(buffer[2 : 2 + size], "big"), 2 + size
    if length > MAX_MESSAGE:
        raise LineError("the other end sent more than a message may be long")
    if len(buffer) < start + length:
        return None
    return Frame(opcode, buffer[start : start + length], bool(first & 0x80)), start + length


def frame_bytes(frame: Frame, mask: bytes) -> bytes:
    """A frame as a client sends it."""
    length = len(frame.data)
    head = bytes([frame.opcode | (0x80 if frame.last else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    else:
        head += struct.pack("!BH", 0x80 | 126, length) if length < 65_536 else struct.pack("!BQ", 0x80 | 127, length)
    return head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(frame.data))


class WebSocket:
    """A line. For one thread at a time."""

    def __init__(self, line: socket.socket, clock: Clock, rest: bytes = b"") -> None:
        self._line = line
        self._clock = clock
        self._buffer = rest
        self._parts: list[bytes] = []
        self._text = True
        self._heard = clock.monotonic()
        self._asked = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def receive(self, seconds: float) -> str | None:
        """The next text; None if none comes in time.

        Raises:
            LineClosedError: the other end has ended the line.
            LineError: the line is broken.
        """
        while True:
            text = self._next_text()
            if text is not None:
                return text
            if not self._hear(seconds):
                self._look_after_line()
                return None

    def send(self, text: str) -> None:
        """Send a text.

        Raises:
            LineError: the line is broken.
        """
        self._send(Frame(_TEXT, text.encode()))

    def close(self) -> None:
        """End the line, as politely as it lets us."""
        with suppress(LineError, OSError):
            self._line.settimeout(2.0)
            self._send(Frame(_CLOSE, struct.pack("!H", _GOING_AWAY)))
        self._line.close()

    def _hear(self, seconds: float) -> bool:
        self._line.settimeout(max(seconds, 0.001))
        try:
            data = self._line.recv(65_536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError as error:
            raise LineError(f"the line is broken: {error.strerror or error}") from error
        if not data:
            raise LineError("the other end is gone")
        self._buffer += data
        self._heard, self._asked = self._clock.monotonic(), False
        return True

    def _look_after_line(self) -> None:
        quiet = self._clock.monotonic() - self._heard
        if quiet > 3 * IDLE:
            raise LineError("the other end says nothing any more")
        if quiet > IDLE and not self._asked:
            self._asked = True
            self._send(Frame(_PING, b""))

    def _next_text(self) -> str | None:
        """A whole message of what has come; signs are heeded on the way."""
        while (found := self._checked()) is not None:
            frame, length = found
            self._buffer = self._buffer[length:]
            if frame.opcode == _PING:
                self._send(Frame(_PONG, frame.data))
            elif frame.opcode == _CLOSE:
                with suppress(LineError):
                    self._send(Frame(_CLOSE, frame.data[:2]))
                raise LineClosedError("the other end has closed the line")
            elif frame.opcode != _PONG and (text := self._joined(frame)) is not None:
                return text
        return None

    def _checked(self) -> tuple[Frame, int] | None:
        try:
            return frame_from(self._buffer)
        except LineError:
            self._give_up(_PROTOCOL)
            raise

    def _joined(self, frame: Frame) -> str | None:
        """A message, once all of its parts are there. What is no text is passed over."""
        if (frame.opcode == _MORE) != bool(self._parts):
            self._give_up(_PROTOCOL)
            raise LineError("the other end mixed up its messages")
        if frame.opcode != _MORE:
            self._text = frame.opcode == _TEXT
        self._parts.append(frame.data or b"")
        if sum(map(len, self._parts)) > MAX_MESSAGE or len(self._parts) > 10_000:
            self._give_up(_TOO_BIG)
            raise LineError("the other end sent more than a message may be long")
        if not frame.last:
            return None
        data, self._parts = b"".join(self._parts), []
        try:
            return data.decode() if self._text else None
        except UnicodeDecodeError as error:
            self._give_up(_NOT_UTF8)
            raise LineError("the other end sent a text that is none") from error

    def _give_up(self, code: int) -> None:
        with suppress(LineError):
            self._send(Frame(_CLOSE, struct.pack("!H", code)))

    def _send(self, frame: Frame) -> None:
        try:
            self._line.settimeout(10.0)
            self._line.sendall(frame_bytes(frame, os.urandom(4)))
        except OSError as error:
            raise LineError(f"the line is broken: {error.strerror or error}") from error


def connect(
    url: str, *, clock: Clock, timeout: float = 10.0, ca_file: Path | None = None, allow_private: bool = False
) -> WebSocket:
    """Open a line.

    Args:
        url: ``wss://host/path``; ``ws://`` to this machine only. Its query may be a secret, so no error repeats it.
        clock: tells how long it has been quiet.
        timeout: seconds for each step.
        ca_file: a company's own certificate authority.
        allow_private: whether it may lead to an inner address.

    Raises:
        LineError: it cannot be opened.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
    except ValueError:
        raise LineError("the address of the line is none") from None
    host = parts.hostname or ""
    secure = parts.scheme == "wss"
    if not host or parts.username is not None or not (secure or (parts.scheme == "ws" and is_loopback(host))):
        raise LineError("the address of the line must begin with wss://")
    if any(char <= " " or char > "~" for char in f"{parts.path}{parts.query}"):
        raise LineError("the address of the line is none")
    try:
        line = socket.create_connection((host, port), timeout)
    except OSError as error:
        raise LineError(f"{host} cannot be reached: {error.strerror or error}") from error
    try:
        if not allow_private and not is_public(str(line.getpeername()[0])):
            raise LineError(f"{host} is at an inner address, which was refused")
        line.settimeout(timeout)
        if secure:
            line = ssl.create_default_context(cafile=str(ca_file) if ca_file else None).wrap_socket(line, server_hostname=host)
        return WebSocket(line, clock, _shake_hands(line, parts))
    except (OSError, ssl.SSLError) as error:
        line.close()
        raise LineError(f"the line to {host} broke while it was opened: {error.strerror or error}") from error
    except LineError:
        line.close()
        raise


def _shake_hands(line: socket.socket, parts: SplitResult) -> bytes:
    """Ask for a WebSocket; what has come after the answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    asked = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", "Upgrade: websocket", "Connection: Upgrade"]
    asked += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    line.sendall("\r\n".join(asked).encode("ascii"))
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = line.recv(4_096)
        if not data or len(answer) > MAX_ANSWER:
            raise LineError("the other end gave no answer that can be read")
        answer += data
    head, _, rest = answer.partition(b"\r\n\r\n")
    status, headers = _answer_from(head)
    expected = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()
    if status != 101 or headers.get("upgrade", "").lower() != "websocket" or headers.get("sec-websocket-accept") != expected:
        raise LineError(f"the other end would not open a line (status {status})")
    return rest


def _answer_from(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    status = int(words[1]) if len(words) > 1 and words[0].startswith("HTTP/1.") and words[1].isdigit() else 0
    pairs = (line.partition(":") for line in lines[1:])
    return status, {name.strip().lower(): value.strip() for name, _, value in pairs}
