"""What holds for every test: no sockets beyond this machine."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests import postgres as postgresql

# The same examples in every run of CI, so that a change is judged by what it changes; elsewhere new ones each time.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_connect = socket.socket.connect


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a unix socket
    host = str(address[0])
    try:
        return ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _guarded(self: socket.socket, address: Any) -> None:
    if not _is_local(address):
        pytest.fail(f"a test tried to reach {address!r}: tests talk to this machine only")
    _connect(self, address)


socket.socket.connect = _guarded  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server; skipped, with the reason, where none is installed."""
    if postgresql.binaries() is None:
        pytest.skip("no PostgreSQL on this machine (Debian: apt-get install postgresql)")
    with postgresql.running_postgres() as url:
        yield url


@pytest.fixture(scope="module")
def postgres(postgres_server: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on that server, one for each test file."""
    return postgresql.new_database(postgres_server, request.module.__name__)
