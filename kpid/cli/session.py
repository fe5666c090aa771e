"""One run of the command line: which configuration, which clock, and how a command gets at the stores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kpid.clock import Clock, ShiftedClock, SystemClock
from kpid.errors import BusyError, ConfigError

if TYPE_CHECKING:
    from kpid.app import App
    from kpid.commands import Command
    from kpid.control import Progress

DEFAULT_CONFIG = Path("config/kpid.yml")
_STATE_ONLY = {"outbox", "ack", "unack", "snooze", "silence", "exclude"}
"""Commands that change the state store and need no facts."""
PATIENCE = 30.0
"""Seconds to wait for another command, or for a daemon that is only starting."""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The configuration (default: $KPID_CONFIG, else config/kpid.yml)."),
]
FormatOption = Annotated[Literal["table", "json"], typer.Option("--format", help="How to print.")]


@dataclass
class Session:
    """What the options before the command said."""

    file: Path | None = None
    now: datetime | None = None
    debug: bool = False

    @property
    def explicit(self) -> bool:
        """Somebody said which configuration to use."""
        return self.file is not None or bool(os.environ.get("KPID_CONFIG"))

    @property
    def config_file(self) -> Path:
        """The configuration to use."""
        return self.file or Path(os.environ.get("KPID_CONFIG") or DEFAULT_CONFIG)

    def clock(self) -> Clock:
        """The machine's clock, or one that starts at ``--now``."""
        return SystemClock() if self.now is None else ShiftedClock(self.now)


def session_of(context: typer.Context, config: Path | None) -> Session:
    """The session, with the ``--config`` that stood behind the command."""
    session = context.find_root().obj
    if not isinstance(session, Session):
        session = context.find_root().obj = Session()
    session.file = config or session.file
    return session


@contextmanager
def opened(session: Session, warehouse: Literal["write", "read", "none"] = "none", *, made: bool = True) -> Iterator[App]:
    """Everything, for the length of the block. Whoever opens the warehouse holds the lock.

    Args:
        session: configuration and clock.
        warehouse: open it, or not.
        made: see to it that all is well with what the configuration names; without, plugins are not even loaded.
    """
    from kpid import logs  # noqa: PLC0415
    from kpid.app import open_app  # noqa: PLC0415 - heavy, and not every command needs it
    from kpid.registry import secrets_of  # noqa: PLC0415

    app = open_app(session.config_file, session.clock(), warehouse=warehouse, made=made)
    secrets = secrets_of(app.loaded, app.plugins) if made else app.loaded.secrets
    handler = logs.set_up("text", "warning", secrets, stream=sys.stderr)
    try:
        yield app
    finally:
        logs.take_down(handler)
        app.close()


def perform(session: Session, name: str, /, *, progress: Progress | None = None, **args: Any) -> Any:
    """Do a command of ``kpid.commands.COMMANDS``: here, or by the daemon if one holds the files.

    Args:
        session: configuration and clock.
        name: the command.
        progress: told of the progress, by the daemon, too.
        args: the command's arguments, JSON-able.

    Raises:
        BusyError: another command holds the files for longer than :data:`PATIENCE`.
        KpidError: what the command raises, wherever it is done.
    """
    from kpid.commands import COMMANDS  # noqa: PLC0415

    command = COMMANDS[name]
    told: dict[str, Any] = {"progress": progress} if command.progress else {}
    if command.need in ("state", "store"):
        with opened(session, made=command.need == "store") as app:
            return command.function()(app, **args, **told)
    with ExitStack() as stack:
        answer = _asked_or_held(session, name, command, stack, progress, args)
        if answer is not None:
            return answer[0]
        app = stack.enter_context(opened(session, _warehouse(name, command)))
        return command.function()(app, **args, **told)


def _warehouse(name: str, command: Command) -> Literal["write", "read", "none"]:
    if name.split(" ", maxsplit=1)[0] in _STATE_ONLY:
        return "none"
    return "read" if command.need == "facts" else "write"


def _asked_or_held(
    session: Session, name: str, command: Command, stack: ExitStack, progress: Progress | None, args: dict[str, Any]
) -> tuple[Any] | None:
    """The daemon's answer; or None, and the lock is ours until ``stack`` ends."""
    from kpid import control  # noqa: PLC0415
    from kpid.config.load import load_config  # noqa: PLC0415

    guarded = control.guarded_file(load_config(session.config_file).config)
    lock = control.lock_path_for(guarded)
    clock = SystemClock()
    until = clock.monotonic() + PATIENCE
    now = session.now.isoformat() if session.now else None
    while True:
        holder = control.read_holder(lock)
        try:
            if holder is not None and holder.socket:
                return (control.ask(holder.socket, name, args, now=now, progress=progress),)
        except control.NoAnswer:
            pass
        try:
            stack.enter_context(control.hold(lock, f"kpid {name}", clock, shared=command.need == "facts"))
        except BusyError:
            if clock.monotonic() > until:
                raise
            clock.sleep(0.1)
        else:
            return None


def instant_option(text: str | None) -> datetime | None:
    """``--now``: an instant with its offset.

    Raises:
        ConfigError: it is none.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no instant: write 2018-01-02T08:00:00+01:00") from error
    if found.tzinfo is None:
        raise typer.BadParameter(f"{text!r} lacks its offset from UTC: write {text}+01:00, or {text}Z for UTC")
    return found


def need_config(session: Session) -> Path:
    """The configuration's path.

    Raises:
        ConfigError: there is no such file.
    """
    if not session.config_file.is_file():
        hint = "Write one (`kpid run` in an empty folder makes a sample), or say where it is with --config"
        raise ConfigError("there is no configuration", where=str(session.config_file), hint=hint)
    return session.config_file
