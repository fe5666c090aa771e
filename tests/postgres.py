"""A real PostgreSQL for tests: started from the machine's binaries on a loopback port, thrown away afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``postgres``; None if the machine has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")) or [Path(p) for p in [shutil.which("postgres")] if p]
    return found[-1].parent if found else None


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server; gives its SQLAlchemy URL. It does not run as root, so a root user lends it the ``postgres`` account."""
    home = binaries()
    assert home is not None
    folder = Path(tempfile.mkdtemp(prefix="kpid-pg-"))
    user: dict[str, int] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        user = {"user": account.pw_uid, "group": account.pw_gid}
        os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([home / "initdb", "-D", data, "-U", "kpid", "-A", "trust", "-N"], check=True, cwd=folder, **quiet, **user)  # type: ignore[call-overload]
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    server = subprocess.Popen([home / "postgres", "-D", data, *options], cwd=folder, **quiet, **user)  # type: ignore[call-overload]
    try:
        _wait_for(port)
        yield f"postgresql+psycopg://kpid@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str, name: str) -> str:
    """Create an empty database; gives its SQLAlchemy URL."""
    database = "".join(letter if letter.isalnum() else "_" for letter in name.lower())[-60:]
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    return f"{server.rsplit('/', 1)[0]}/{database}"


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="kpid", dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("PostgreSQL did not start")
