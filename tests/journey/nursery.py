"""Processes of kpid without the second that Python takes to read the code: a process that has read it forks for each command.

Each command is a process of its own, with its own folder, environment, arguments and exit code, as if it had been started anew.
Tests about the start itself, and daemons, start Python.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 300


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

    def run(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """kpid with these arguments in this folder, to its end."""
        with tempfile.TemporaryDirectory() as place:
            out, err = Path(place) / "out", Path(place) / "err"
            task = {"arguments": [*arguments], "folder": str(folder), "env": dict(env), "out": str(out), "err": str(err)}
            with self._turn:
                self._lines.write(json.dumps(task) + "\n")
                self._lines.flush()
                answer = self._lines.readline()
            assert answer, "the process that starts kpid is gone"
            return subprocess.CompletedProcess([*arguments], int(answer), out.read_text("utf-8"), err.read_text("utf-8"))


@cache
def nursery() -> Nursery:
    """The one of this process; it ends with it."""
    return Nursery()


def _serve(descriptor: int) -> None:
    from kpid import app, cli, registry  # noqa: F401 - this is what is read once

    registry.load_plugins()
    with socket.socket(fileno=descriptor) as lines, lines.makefile("rw", encoding="utf-8") as channel:
        for line in channel:
            child = os.fork()
            if child == 0:
                _become(json.loads(line))
            channel.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
            channel.flush()


def _become(task: dict[str, Any]) -> NoReturn:
    from kpid import cli

    signal.alarm(MOST_SECONDS)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["env"])
    time.tzset()
    for number, name in ((0, os.devnull), (1, task["out"]), (2, task["err"])):
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
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
