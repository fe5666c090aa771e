"""What holds for every test: no sockets beyond this machine."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

_connect = socket.socket.connect


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    host = str(address[0])
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _guarded(self: socket.socket, address: Any) -> None:
    if not _is_local(address):
        pytest.fail(f"a test tried to reach {address!r}: tests talk to this machine only")
    _connect(self, address)


socket.socket.connect = _guarded  # type: ignore[method-assign]
