"""Who holds the stores, and how the others get their answer.

One process holds the lock beside the state store: the daemon, or one command that writes. While the daemon holds it, commands
hand their work to it over a local socket that only its owner may open, and get the answer as if they had done it themselves.

Both sides speak one JSON object per line. A request is ``{"command", "args", "now"}``; the answers are any number of
``{"progress": [what, done, total]}`` and ``{"alive": true}``, then ``{"result": ...}`` or ``{"error": {...}}``.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from kpid import errors
from kpid.clock import Clock
from kpid.config.model import Config
from kpid.config.paths import path_from_url
from kpid.errors import BusyError, KpidError

Progress: TypeAlias = Callable[[str, int, int | None], None]
Answerer: TypeAlias = Callable[[str, dict[str, Any], str | None, Progress], Any]
"""Does a command: (name, arguments, now, progress) -> JSON-able result. Raises KpidError."""

MAX_PATH = 100
"""A socket's path may not be longer (108 bytes on Linux, 104 elsewhere)."""
MAX_REQUEST = 1_000_000
CONNECT_SECONDS = 2.0
SILENCE_SECONDS = 60.0
"""The daemon says something every few seconds while it works; longer silence means that it hangs."""
ALIVE_SECONDS = 5.0


# ---- the lock


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: process id, what it is (``daemon``, ``kpid sync``), and its socket if it has one."""

    pid: int
    what: str
    socket: str | None = None


@contextmanager
def hold(
    lock: Path, what: str, clock: Clock, *, shared: bool = False, wait: float = 0.0, socket_path: str | None = None
) -> Iterator[None]:
    """Hold the lock for the length of the block.

    Args:
        lock: the lock file; made if missing, never deleted.
        what: who we are, for the others.
        clock: for waiting.
        shared: several readers may hold it at once.
        wait: seconds to wait for another command; a daemon is not waited for.
        socket_path: where we answer.

    Raises:
        BusyError: somebody else holds it; names who.
        PlaceError: the file cannot be made.
    """
    file = _open_lock(lock)
    try:
        _take(file, lock, clock, shared=shared, wait=wait)
        if shared:
            yield
            return
        _write_holder(file, {"pid": os.getpid(), "what": what, "socket": socket_path})
        try:
            yield
        finally:
            _write_holder(file, None)
    finally:
        file.close()


def _open_lock(lock: Path) -> IO[str]:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("a+", encoding="utf-8")
    except OSError as error:
        hint = "Make the folder writable for this user"
        raise errors.PlaceError(f"the lock cannot be made: {error.strerror}", where=str(lock), hint=hint) from error


def _take(file: IO[str], lock: Path, clock: Clock, *, shared: bool, wait: float) -> None:
    until = clock.monotonic() + wait
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return
        holder = read_holder(lock)
        if clock.monotonic() >= until or (holder is not None and holder.what == "daemon"):
            raise BusyError(_busy_text(holder), where=str(lock), hint=_busy_hint(holder))
        clock.sleep(0.05)


def _busy_text(holder: Holder | None) -> str:
    if holder is None:
        return "another kpid command holds the files"
    return f"kpid is running already ({holder.what}, process {holder.pid})"


def _busy_hint(holder: Holder | None) -> str:
    if holder is not None and holder.what == "daemon":
        return f"Stop it with `kill {holder.pid}`, or make it read its configuration again with `kill -HUP {holder.pid}`"
    return "Try again when it is through"


def _write_holder(file: IO[str], holder: Mapping[str, Any] | None) -> None:
    file.seek(0)
    file.truncate()
    file.write("" if holder is None else json.dumps(holder))
    file.flush()


def read_holder(lock: Path) -> Holder | None:
    """Who says to hold the lock and is alive; None if nobody does."""
    try:
        told = json.loads(lock.read_text(encoding="utf-8"))
        holder = Holder(int(told["pid"]), str(told["what"]), told.get("socket"))
        os.kill(holder.pid, 0)
    except PermissionError:
        return holder
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return holder


def guarded_file(config: Config) -> Path:
    """The file that the lock and the socket lie beside: the state store's, or the warehouse's if that is on a server.

    Where both are on servers: a place below the configuration's folder.
    """
    files = [path for url in (config.state, config.warehouse) if (path := path_from_url(url)) is not None]
    return files[0] if files else config.folder / "var" / "kpid"


def lock_path_for(state: Path) -> Path:
    """The lock of a state store."""
    return state.with_name(f"{state.name}.lock")


def socket_path_for(state: Path) -> str:
    """Where the daemon of this state store answers: beside it, or in a short place if that is too long for a socket."""
    path = f"{state.absolute()}.sock"
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    name = f"kpid-{os.getuid()}-{digest}.sock"
    folders = [os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - last resort
    short = [path for folder in folders if len(os.fsencode(path := str(Path(folder) / name))) <= MAX_PATH]
    return short[0] if short else str(Path(folders[0]) / name)


# ---- the daemon's side


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128
    block_on_close = False
    answer: Answerer


class _Connection(socketserver.StreamRequestHandler):
    timeout = 10
    server: _Server

    def handle(self) -> None:
        line = self.rfile.readline(MAX_REQUEST)
        if not line.endswith(b"\n"):
            return
        lock = threading.Lock()

        def say(**message: Any) -> None:
            with lock, contextlib.suppress(OSError):  # nobody listens any more: the work goes on all the same
                self.wfile.write(json.dumps(message).encode() + b"\n")

        done = threading.Event()
        threading.Thread(target=_keep_alive, args=(say, done), daemon=True).start()
        try:
            say(**self._answer(line, lambda what, count, total: say(progress=[what, count, total])))
        finally:
            done.set()

    def _answer(self, line: bytes, progress: Progress) -> dict[str, Any]:
        try:
            told = json.loads(line)
            return {"result": self.server.answer(str(told["command"]), dict(told["args"]), told.get("now"), progress)}
        except KpidError as error:
            return {"error": _error_told(error)}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": {"type": "KpidError", "what": f"the daemon did not understand the request: {error}"}}


def _keep_alive(say: Callable[..., None], done: threading.Event) -> None:
    while not done.wait(ALIVE_SECONDS):
        say(alive=True)


def _error_told(error: KpidError) -> dict[str, Any]:
    return {"type": type(error).__name__, "what": error.what, "where": error.where, "hint": error.hint}


@contextmanager
def answering(path: str, answer: Answerer) -> Iterator[None]:
    """Answer commands on a socket for the length of the block. The caller holds the lock, so a socket that lies there is dead.

    Raises:
        PlaceError: the socket cannot be made.
    """
    try:
        Path(path).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            server = _Server(path, _Connection)
        finally:
            os.umask(before)
    except OSError as error:
        raise errors.PlaceError(f"the socket for commands cannot be made: {error.strerror}", where=path) from error
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        Path(path).unlink(missing_ok=True)


# ---- the command's side


class NoAnswer(Exception):  # noqa: N818 - not an error: the caller does the work itself
    """Nobody answers on the socket."""


def ask(path: str, command: str, args: Mapping[str, Any], *, now: str | None = None, progress: Progress | None = None) -> Any:
    """Have the daemon do a command.

    Args:
        path: its socket.
        command: a name of ``kpid.commands.COMMANDS``.
        args: JSON-able arguments.
        now: instant to take for now (``kpid --now``).
        progress: told of the daemon's progress.

    Returns:
        What the command returned.

    Raises:
        NoAnswer: there is no daemon.
        KpidError: the command failed; the daemon's error as it was raised there.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as line:
        line.settimeout(CONNECT_SECONDS)
        try:
            if os.getuid() not in {0, Path(path).stat().st_uid}:
                raise NoAnswer(f"{path} belongs to somebody else")
            line.connect(path)
        except OSError as error:
            raise NoAnswer(str(error)) from error
        line.settimeout(SILENCE_SECONDS)
        try:
            line.sendall(json.dumps({"command": command, "args": dict(args), "now": now}).encode() + b"\n")
            return _result(line, progress)
        except OSError as error:
            hint = "Look at its log; `kill` ends it"
            raise BusyError(f"the running daemon does not answer: {error}", where=path, hint=hint) from error


def _result(line: socket.socket, progress: Progress | None) -> Any:
    with line.makefile("rb") as lines:
        for text in lines:
            told = json.loads(text)
            if "progress" in told and progress is not None:
                progress(*told["progress"])
            if "result" in told:
                return told["result"]
            if "error" in told:
                raise _error_from(told["error"])
    raise BusyError("the running daemon stopped while it was working on this", hint="Try again")


def _error_from(told: Mapping[str, Any]) -> KpidError:
    plain = (
        errors.ConfigError,
        errors.StoreError,
        errors.PlaceError,
        errors.BusyError,
        errors.PluginError,
        errors.ConnectorError,
        errors.AuthError,
    )
    kind = {one.__name__: one for one in plain}.get(told["type"], KpidError)
    return kind(told["what"], where=told.get("where"), hint=told.get("hint"))
