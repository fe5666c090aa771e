"""A real SMTP server on this machine that fails as a test wants."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class SmtpServer:
    """Takes mails, and answers each command as scripted.

    Attributes:
        mails: (recipient, content) of what was accepted.
        connections: how many there were.
        script: by command (``MAIL``, ``RCPT``, ``DATA``) the next answers; ``drop`` cuts the connection, ``hang`` never answers,
            ``250 drop`` accepts and cuts, ``250 lost`` accepts the mail and cuts before saying so.
        most: mails per connection; then 452 as OpenSMTPD does.
    """

    def __init__(self, most: int = 1000, log_in_answer: str = "535 5.7.8 Authentication credentials invalid") -> None:
        self.mails: list[tuple[str, bytes]] = []
        self.connections = 0
        self.script: dict[str, list[str]] = {"MAIL": [], "RCPT": [], "DATA": []}
        self.most = most
        self.log_in_answer = log_in_answer
        self.port = 0
        self._counts: dict[int, int] = {}
        self._transports: list[Any] = []

    async def handle_EHLO(  # noqa: N802  name of aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        if id(session) not in self._counts:
            self.connections += 1
            self._counts[id(session)] = 0
            self._transports.append(server.transport)
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._counts[id(session)] >= self.most:
            return "452 4.5.3 Too many messages sent"
        envelope.mail_from = address
        return await self._answer("MAIL", server) or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._answer("RCPT", server) or "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        planned = self.script["DATA"][:1]
        content = envelope.content
        assert isinstance(content, bytes)
        if not planned or planned[0].startswith("250"):
            self.mails.append((envelope.rcpt_tos[0], content))
            self._counts[id(session)] += 1
        return await self._answer("DATA", server) or "250 2.0.0 Ok: queued as 1"

    async def hang_up(self) -> None:
        """Cut what is still connected."""
        for transport in self._transports:
            transport.abort()
        await asyncio.sleep(0.01)

    async def _answer(self, command: str, server: SMTP) -> str | None:
        if not self.script[command]:
            return None
        answer = self.script[command].pop(0)
        if answer == "hang":
            await asyncio.sleep(3600)
        if answer == "250 drop":
            await server.push("250 OK")
        if answer in {"drop", "250 drop", "250 lost"}:
            server.transport.abort() if answer != "250 drop" else server.transport.close()
            await asyncio.sleep(0)
        return answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        """Knows one user."""
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"kpid", b"pass-1234")
        return AuthResult(success=good, handled=False, message=None if good else self.log_in_answer)


@contextmanager
def running(server: SmtpServer, **options: Any) -> Iterator[SmtpServer]:
    """The server on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.port = probe.getsockname()[1]
    controller = Controller(server, hostname="127.0.0.1", port=server.port, ready_timeout=20, **options)
    controller.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.hang_up(), controller.loop).result(10)
        controller.stop()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost: (certificate, key)."""
    certificate, key = folder / "server.pem", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key
