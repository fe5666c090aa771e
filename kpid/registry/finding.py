"""Loads plugins and asks each what it brings: at once what connects, later what is large. Names that two bring are refused."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pluggy

from kpid.config.problems import near_miss
from kpid.errors import PluginError
from kpid.plugin import hooks
from kpid.plugin.contract import checked

KINDS = {
    "kpid_connectors": "connector",
    "kpid_notifiers": "notifier",
    "kpid_kpis": "kpi",
    "kpid_reports": "report",
    "kpid_template_filters": "filter",
}
_LATER = {"kpid_kpis", "kpid_reports", "kpid_template_filters"}
"""A plugin that has nothing but these is asked when somebody wants one of them."""
LOCAL_PREFIX = "kpid_local_"
"""Goes before the module names of files in ``plugins_dir``, so that they never hide an installed module."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One line of ``kpid plugins``: something a plugin brings, or a plugin that brings nothing (``kind`` is then ``plugin``)."""

    kind: str
    name: str
    version: str
    distribution: str
    state: Literal["ok", "broken", "disabled"] = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Candidate:
    """A plugin before it is loaded."""

    name: str
    distribution: str
    version: str
    load: Callable[[], ModuleType]

    def row(self, kind: str, name: str, state: Literal["ok", "broken", "disabled"] = "ok", reason: str = "") -> PluginInfo:
        """A line about it."""
        return PluginInfo(kind, name, self.version, self.distribution, state, reason)


def installed() -> Iterator[Candidate]:
    """The plugins of installed distributions, by name."""
    seen = set()
    known: dict[Distribution | None, tuple[str, str]] = {None: ("", "")}
    for entry in sorted(entry_points(group=hooks.PROJECT), key=lambda entry: entry.name):
        if entry.dist is not None and entry.dist not in known:  # which parses all that it says of itself, each time
            metadata = entry.dist.metadata
            known[entry.dist] = (metadata["Name"], metadata["Version"])
        distribution, version = known[entry.dist]
        if (entry.name, entry.value, distribution) not in seen:  # one distribution may be on the path twice
            seen.add((entry.name, entry.value, distribution))
            yield Candidate(entry.name, distribution, version, _loader(entry))


def _loader(entry: EntryPoint) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        module = entry.load()
        if not isinstance(module, ModuleType):
            raise PluginError(f"its entry point {entry.value} is not a module")
        return module

    return load


def local(folder: Path | None) -> Iterator[Candidate]:
    """The plugins in a folder, by name.

    Raises:
        PluginError: it is no folder.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise PluginError(
            f"plugins_dir: there is no folder {folder}", hint="Create it, or take plugins_dir out of the configuration"
        )
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith(("_", "test_")):
            yield Candidate(file.stem, str(file), "", lambda file=file: _imported(file))  # type: ignore[misc]


def _imported(file: Path) -> ModuleType:
    name = f"{LOCAL_PREFIX}{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class Found:
    """What has been found so far."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS.values()}
        self.rows: list[PluginInfo] = []
        self.broken: dict[str, str] = {}
        self.disabled: list[str] = []
        self._owners: dict[tuple[str, str], Candidate] = {}
        self._waiting: list[tuple[Candidate, pluggy.PluginManager, list[str]]] = []
        self._asking = threading.Lock()

    def asked(self) -> Found:
        """The same, when those that waited have been asked, too.

        Raises:
            PluginError: two plugins bring something of one name.
        """
        if self._waiting:
            with self._asking:
                while self._waiting:
                    self._take(*self._waiting[0])
                    del self._waiting[0]  # not before: others wait for what it brings
        return self

    def switch_off(self, candidate: Candidate) -> None:
        """Note one that the configuration does not want."""
        self.disabled.append(candidate.name)
        self.rows.append(candidate.row("plugin", candidate.name, "disabled"))

    def add(self, candidate: Candidate) -> None:
        """Load a plugin and take what it brings, now or later, or note why not."""
        try:
            manager, implemented = _loaded(candidate)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - round a plugin call
            self._note(candidate, error)
        else:
            if set(implemented) <= _LATER:
                self._waiting.append((candidate, manager, implemented))
            else:
                self._take(candidate, manager, implemented)

    def _take(self, candidate: Candidate, manager: pluggy.PluginManager, implemented: list[str]) -> None:
        try:
            brought = {KINDS[hook]: checked(hook, one) for hook in implemented for one in getattr(manager.hook, hook)() or [None]}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - round a plugin call
            self._note(candidate, error)
            return
        for kind, items in brought.items():
            for name in items:
                self._claim(kind, name, candidate)
        for kind, items in brought.items():
            self.items[kind].update(items)
            self.rows += [candidate.row(kind, name) for name in items]

    def _note(self, candidate: Candidate, error: BaseException) -> None:
        reason = str(error) if type(error) is PluginError else f"{type(error).__name__}: {error}".rstrip(": ")
        self.broken[candidate.name] = reason
        self.rows.append(candidate.row("plugin", candidate.name, "broken", reason))

    def _claim(self, kind: str, name: str, candidate: Candidate) -> None:
        owner = self._owners.setdefault((kind, name), candidate)
        if owner is not candidate:
            raise PluginError(
                f"two plugins bring a {kind} called {name!r}: {owner.name} of {owner.distribution} and {candidate.name} "
                f"of {candidate.distribution}",
                hint=f"Uninstall one, or write disabled_plugins: [{candidate.name}]",
            )


def _loaded(candidate: Candidate) -> tuple[pluggy.PluginManager, list[str]]:
    """Load one plugin, into a pluggy manager of its own: and the hooks that it implements."""
    manager = pluggy.PluginManager(hooks.PROJECT)
    manager.add_hookspecs(hooks)
    module = candidate.load()
    manager.register(module, name=candidate.name)
    implemented = [caller.name for caller in manager.get_hookcallers(module) or ()]
    unknown = sorted(set(implemented) - set(KINDS))
    if unknown:
        raise PluginError(f"there is no hook {unknown[0]}. {near_miss(unknown[0], KINDS)}")
    manager.check_pending()
    if not implemented:
        raise PluginError("it implements no hook: is @hookimpl missing?")
    return manager, implemented


class Later(Mapping[str, Any]):
    """What plugins bring of a kind; they are asked when somebody looks."""

    def __init__(self, found: Found, kind: str) -> None:
        self._found, self._kind = found, kind

    def __getitem__(self, name: str) -> Any:
        return self._found.asked().items[self._kind][name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found.asked().items[self._kind])

    def __len__(self) -> int:
        return len(self._found.asked().items[self._kind])
