"""What holds for every test: no sockets beyond this machine."""

from __future__ import annotations

import gc
import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import settings

from tests import postgres as postgresql

# The same examples in every run of CI, so that a change is judged by what it changes; elsewhere new ones each time.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

gc.set_threshold(100_000, 20, 20)  # as the program does
# Spark lives for a minute: to compile its code well takes longer than to run it. One process has it, see the end.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
_ENGINES = ("commands/test_check_sql.py", "metrics/test_engines.py", "metrics/test_yaml_engines.py", "warehouse/test_engines.py")
_FIRST = ("journey", "metrics", "kpis", "runtime", "delivery", "cli", "ingest", "plugins")
"""What takes long; many short files come last, so that no process waits for another at the end."""

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


_TABLES = {"test_additivity.py", "test_bad_input.py", "test_connectors_bad_input.py", "test_dst.py",
           "test_naive.py", "test_random_walk.py", "test_story.py", "test_yaml_engines.py"}  # fmt: skip
_LARGE_TABLES = {"test_engines.py", "test_include_deleted.py"}


def _share(item: pytest.Item) -> int:
    """Every how many-th case of a large table is run; 1: it is none."""
    file, callspec = item.path, getattr(item, "callspec", None)
    if callspec is None:
        return 1
    of_kpis = file.parent.parent.name == "kpis" and file.name.startswith(("test_naive_", "test_contract"))
    if of_kpis or (file.parent.name == "kpis" and file.name in _TABLES) or "keeps_the_contract" in item.name:
        return 12
    if "seed" in callspec.params or item.name.startswith("test_a_kill_at_any_page"):
        return 3  # walks, and deaths on the way
    return 12 if file.name in _LARGE_TABLES else 3 if file.name in _TABLES else 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of large tables every third or twelfth case, always the same ones, unless ``KPID_KPIS=all``: the suite ends within minutes.

    A table is one function: each KPI and choice of its parameters beside plain Python or an engine, each fault, each seed.
    """
    if os.environ.get("KPID_KPIS") == "all" or len({item.path for item in items}) < 20:
        return  # all of them, or whoever asks for single files wants them whole
    left_out = [item for item in items if crc32(item.nodeid.encode()) % _share(item)]
    config.hook.pytest_deselected(items=left_out)
    kept = set(items) - set(left_out)
    items[:] = sorted((item for item in items if item in kept), key=_place)


def _place(item: pytest.Item) -> int:
    return next((number for number, folder in enumerate(_FIRST) if folder in item.path.parts), len(_FIRST))


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file goes to one process, which makes what its tests share once; so do the files that start other engines.

    (pytest-xdist 3.8 does not see its own marks of groups with pytest 9.2.)
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "engines" if file.endswith(_ENGINES) else file

    config.option.loadscopereorder = False
    return ByFile(config, log)
