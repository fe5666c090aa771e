"""Connections that look whom they have reached, and the ways to servers."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from urllib3 import BaseHTTPResponse, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from kpid.plugin.hosts import inner_number, is_public


class RefusedError(OSError):
    """We do not want to talk to this address, or to read this body."""


def _check_peer(sock: socket.socket, *, allow_private: bool, secure: bool) -> socket.socket:
    """Look at the address that we are really connected to, before the first byte: a host name may resolve to anything."""
    address = str(sock.getpeername()[0])
    if is_public(address) is False and not allow_private:
        sock.close()
        raise RefusedError(f"is at the private address {address}")
    if is_public(address) and not secure:
        sock.close()
        raise RefusedError("is a public host without TLS: https:// is needed for this address")
    return sock


def pools(*, allow_private: bool) -> dict[str, type[HTTPConnectionPool]]:
    """Connection pools by scheme that look whom they are connected to before the first byte goes out."""

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            if not allow_private and (inner := inner_number(self.host)):
                raise RefusedError(f"is at the private address {inner}")
            return _check_peer(super()._new_conn(), allow_private=allow_private, secure=False)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            if not allow_private and (inner := inner_number(self.host)):
                raise RefusedError(f"is at the private address {inner}")
            return _check_peer(super()._new_conn(), allow_private=allow_private, secure=True)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": PlainPool, "https": SecurePool}


@dataclass(frozen=True)
class Lane:
    """The way to one server, prepared once: that is most of what a request costs.

    Args:
        pool: its connections.
        retries: how often urllib3 tries.
        proxies: by scheme, if the way leads through one.
    """

    pool: HTTPConnectionPool
    retries: Retry
    proxies: Mapping[str, str]

    def send(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], timeout: tuple[float, float]
    ) -> BaseHTTPResponse:
        """Send one request and give the answer, its body not read yet."""
        return self.pool.urlopen(
            method,
            target,
            body=body,
            headers=headers,
            retries=self.retries,
            redirect=False,
            assert_same_host=False,
            timeout=Timeout(connect=timeout[0], read=timeout[1]),
            preload_content=False,
            decode_content=False,
        )
