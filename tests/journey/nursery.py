"""Processes of kpid without the second that Python takes to read the code: a process that has read it forks for each of them.

Each is a process of its own, with its own folder, environment, arguments and exit code, as if it had been started anew. Tests of
starting start Python; with ``KPID_NURSERY=off`` (``make test-exhaustive``) every test does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 300
OFF = os.environ.get("KPID_NURSERY") == "off"


class Child:
    """A process of kpid, used like :class:`subprocess.Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        """Its exit code (the negative number of the signal that killed it), None while it lives."""
        return self._look(wait=False)

    def _look(self, *, wait: bool) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"pid": self.pid, "wait": wait})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has one.

        Raises:
            subprocess.TimeoutExpired: it still lives.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(wait=end is None)) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(["kpid"], timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Only to a process that has not been waited for: its number cannot be somebody else's."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that has read the code, seen from the tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.journey.nursery", str(theirs.fileno())], cwd=ROOT, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._lines = ours.makefile("rw", encoding="utf-8")
        self._turn = threading.Lock()

    def ask(self, task: Mapping[str, Any]) -> Any:
        """What the process answers."""
        with self._turn:
            self._lines.write(json.dumps(task) + "\n")
            self._lines.flush()
            answer = self._lines.readline()
        assert answer, "the process that starts kpid is gone"
        return json.loads(answer)

    def start(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str], out: Path, err: Path | None = None) -> Child:
        """kpid with these arguments in this folder; what it writes is appended to ``out`` (and ``err``)."""
        out.touch()
        task = {"arguments": [*arguments], "folder": str(folder), "env": dict(env), "out": str(out), "err": str(err or out)}
        return Child(self, self.ask(task))

    def run(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """kpid with these arguments in this folder, to its end."""
        if OFF:
            return subprocess.run([*KPID, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
        with tempfile.TemporaryDirectory() as place:
            out, err = Path(place) / "out", Path(place) / "err"
            code = self.start(arguments, folder, env, out, err).wait()
            return subprocess.CompletedProcess([*arguments], code, out.read_text("utf-8"), err.read_text("utf-8"))


KPID = (sys.executable, "-m", "kpid")


@cache
def nursery() -> Nursery:
    """The one of this process; it ends with it."""
    return Nursery()


def _read_the_code() -> None:
    """All that any command reads, some of it late."""
    import kpid

    for module in pkgutil.walk_packages(kpid.__path__, "kpid."):
        if not module.name.startswith(("kpid.__main__", "kpid.testing", "kpid.store.migrations.")):
            importlib.import_module(module.name)
    for name in ("alembic.command", "rich.table", "typer.rich_utils", "pandas"):  # Arrow reads pandas where it finds it
        with suppress(ImportError):
            importlib.import_module(name)
    for point in entry_points(group="kpid"):
        point.load()
    gc.collect()
    gc.freeze()  # what is never looked at again is never copied


def _serve(descriptor: int) -> NoReturn:
    _read_the_code()
    living: set[int] = set()
    with socket.socket(fileno=descriptor) as lines, lines.makefile("rw", encoding="utf-8") as channel:
        for line in channel:
            task = json.loads(line)
            if "pid" in task:
                answer = _ended(task["pid"], wait=task["wait"])
                if answer is not None:
                    living.remove(task["pid"])
            else:
                answer = os.fork()
                if answer == 0:
                    _become(task)
                living.add(answer)
            channel.write(json.dumps(answer) + "\n")
            channel.flush()
    for pid in living:
        os.kill(pid, signal.SIGKILL)
    os._exit(0)  # nothing is left to tidy


def _ended(pid: int, *, wait: bool) -> int | None:
    found, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _become(task: dict[str, Any]) -> NoReturn:
    from kpid import cli

    signal.alarm(MOST_SECONDS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell switches it off for what runs in its background
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["env"])
    time.tzset()
    for number, name in ((0, os.devnull), (1, task["out"]), (2, task["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    code = 1
    try:
        cli.main(task["arguments"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # as Python does at its end
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
