"""Starting a tap: its program, the files that it is given, and what it leaves in them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from kpid.plugin import ConnectorError, SchemaError, Secret, SourceContext, bound, redact
from kpid_singer.catalog import selection
from kpid_singer.messages import read_json
from kpid_singer.place import private_folder, write_private
from kpid_singer.process import Running, environment
from kpid_singer.settings import SingerSettings, Stream, secrets_of_json

_LARGEST = 64 * 1024 * 1024
"""A catalog is not larger."""


class Tap:
    """A tap as it is configured.

    Args:
        settings: of the source.
        context: of the source.
    """

    def __init__(self, settings: SingerSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._running: set[Running] = set()
        self._catalog: Any = None
        self._refused: ConnectorError | None = None

    def catalog(self) -> Any:
        """What the tap can read: from the file that is set, or asked once for the length of a sync; None if it knows none.

        Raises:
            ConnectorError: it failed, or said no such thing.
        """
        if self._catalog is None and isinstance(self._settings.catalog, Path):
            self._catalog = _read_catalog(self._context.folder / self._settings.catalog.expanduser())
        elif self._catalog is None and self._settings.catalog == "discover":
            self._catalog = self._asked_once()
        return self._catalog

    def _asked_once(self) -> Any:
        """A tap that has failed is not started again for each entity: wrong credentials lock accounts."""
        if self._refused is not None:
            raise type(self._refused)(self._refused.what, where=self._refused.where, hint=self._refused.hint)
        try:
            return self.discover()
        except ConnectorError as error:
            self._refused = error
            raise

    def discover(self, limit: timedelta | None = None) -> Any:
        """Ask the tap for its catalog.

        Raises:
            ConnectorError: it failed, or what it said is no catalog.
        """
        with private_folder() as folder, self._start(folder, ["--discover"], limit) as running:
            said: list[bytes] = []
            size = 0
            for line in running.lines():
                said.append(line)
                size += len(line)
                if size > _LARGEST:
                    raise SchemaError("the catalog is too large", where=self.name, hint="Give a smaller one by `catalog: FILE`")
        catalog = read_json(b"\n".join(said))
        if catalog is None:
            hint = "If the tap knows no --discover, set `catalog: none`, or a file"
            raise ConnectorError("what --discover printed is no catalog", where=self.name, hint=hint)
        return catalog

    @contextmanager
    def run(self, wanted: Mapping[str, Stream], state: Any) -> Iterator[Iterator[bytes]]:
        """Read some of its streams from a state on; gives the lines that it says.

        Raises:
            ConnectorError: it cannot be started, or lacks a stream.
        """
        catalog = self.catalog()
        with private_folder() as folder:
            arguments: list[str] = []
            if state is not None:
                arguments += ["--state", str(write_private(folder / "state.json", state))]
            if catalog is not None:
                option = "--properties" if self._settings.properties else "--catalog"
                arguments += [option, str(write_private(folder / "catalog.json", selection(catalog, wanted)))]
            with self._start(folder, arguments, None) as running:
                yield running.lines()

    @property
    def name(self) -> str:
        """The program, for people."""
        return Path(self._settings.command[0]).name

    def close(self) -> None:
        """End what is still at work."""
        for running in list(self._running):
            running.stop()

    @contextmanager
    def _start(self, folder: Path, arguments: list[str], limit: timedelta | None) -> Iterator[Running]:
        config = self._config()
        file = write_private(folder / "config.json", config)
        secrets = {*self._settings.secrets(), *secrets_of_json(config), *self._given()}
        command = [self.find(), *self._settings.command[1:], "--config", str(file), *arguments]
        running = Running(
            command, self._settings, self._context, limit or self._settings.timeout, lambda text: redact(text, secrets)
        )
        self._running.add(running)
        try:
            yield running
        except ConnectorError as error:
            error.mask(lambda text: _masked(text, secrets))
            raise
        finally:
            running.stop()
            self._running.discard(running)
            self._keep(file, config)

    def _given(self) -> list[str]:
        """Values of variables that the tap is given by name: tokens, mostly."""
        return [os.environ[name] for name in self._settings.env if name in os.environ]

    def find(self) -> str:
        """Where the program lies.

        Raises:
            SchemaError: there is none.
        """
        name, path = self._settings.command[0], environment(self._settings, os.environ).get("PATH", os.defpath)
        file = str((self._context.folder / Path(name).expanduser()).absolute()) if os.sep in name else name
        found = shutil.which(file, path=path)
        if found is None:
            hint = "Install the tap in an environment of its own and name it by `venv`, or write the program's whole path"
            raise SchemaError(f"there is no program {name!r}", where=self._context.source_id, hint=hint)
        return found

    def by_hand(self) -> str:
        """How a person starts it, without its secrets."""
        secrets = {*self._settings.secrets(), *self._given()}
        return redact(f"{shlex.join(self._settings.command)} --config config.json --discover", secrets)

    # -- what the tap itself changes in its configuration -------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        """As configured, or as the tap has left it: taps with OAuth write renewed tokens there."""
        configured = self._settings.plain_config()
        kept = self._context.keep.get(_kept_as(configured)) if configured else None
        return dict(json.loads(kept.get_secret_value())) if kept is not None else configured

    def _keep(self, file: Path, config: Mapping[str, Any]) -> None:
        try:
            left = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(left, dict) and left != config:
            self._context.keep.put(_kept_as(self._settings.plain_config()), Secret(json.dumps(left)))


def _kept_as(configured: Mapping[str, Any]) -> str:
    return bound("config", Secret(json.dumps(configured, sort_keys=True)))


def _masked(text: str, secrets: set[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***") if len(secret) >= 4 else text
    return text


def _read_catalog(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SchemaError(f"the catalog cannot be read: {error.strerror}", where=str(file), hint="Check `catalog:`") from None
    except ValueError as error:
        raise SchemaError(f"the catalog is no JSON: {error}", where=str(file), hint="Write it by the tap's --discover") from None
