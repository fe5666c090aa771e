"""Finds plugins, asks each what it brings, and keeps the broken ones with their reason.

A plugin is an entry point of group ``kpid``, or a file in ``plugins_dir``. Each is loaded and asked on its own, so that one that
fails takes no other with it; it is fatal only to a configuration that names what it would have brought.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pluggy

from kpid.config.load import Loaded
from kpid.config.options import options_of
from kpid.config.problems import Key, near_miss, raise_errors
from kpid.config.secrets import secrets_in
from kpid.errors import ConfigError, PluginError
from kpid.plugin import hooks
from kpid.plugin.connector import ConnectorInfo
from kpid.plugin.contract import checked
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Notifier
from kpid.plugin.report import Report

__all__ = ["PluginInfo", "Plugins", "load_plugins", "options_of", "secrets_of"]

KINDS = {
    "kpid_connectors": "connector",
    "kpid_notifiers": "notifier",
    "kpid_kpis": "kpi",
    "kpid_reports": "report",
    "kpid_template_filters": "filter",
}
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
class Plugins:
    """Everything that plugins bring, by name. ``broken`` maps a plugin to the reason why it could not be used."""

    connectors: Mapping[str, ConnectorInfo] = field(default_factory=dict)
    notifiers: Mapping[str, type[Notifier[Any]]] = field(default_factory=dict)
    kpis: Mapping[str, Kpi] = field(default_factory=dict)
    reports: Mapping[str, Report] = field(default_factory=dict)
    filters: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    disabled: tuple[str, ...] = ()
    rows: tuple[PluginInfo, ...] = ()
    written: frozenset[str] = frozenset()
    """Ids of the KPIs that the configuration defines, once they are among ``kpis``."""
    dimensions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Dimensions that the configuration makes from custom fields."""

    def listing(self) -> list[PluginInfo]:
        """Every plugin and what it brings, ordered by kind and name."""
        return sorted(self.rows, key=lambda row: (row.kind, row.name))

    def require(self, loaded: Loaded) -> None:
        """Make sure that everything the configuration names is there.

        Raises:
            ConfigError: something is missing, or its plugin is broken; all mistakes at once.
        """
        raise_errors(list(self.missing(loaded)))

    def missing(self, loaded: Loaded) -> Iterator[ConfigError]:
        """A mistake for each name in the configuration that no plugin brings."""
        for kind, name, path in _names(loaded, self):
            known = self._known(kind)
            is_written = kind == "KPI" and name in loaded.config.kpis and loaded.config.kpis[name].is_definition
            if name not in known and not is_written:
                yield ConfigError(f"there is no {kind} {name!r}", where=loaded.place(*path), hint=self._hint(kind, name, known))

    def _known(self, kind: str) -> Collection[str]:
        named: dict[str, Mapping[str, object]] = {
            "connector": self.connectors,
            "notifier": self.notifiers,
            "KPI": self.kpis,
            "report": self.reports,
        }
        return named[kind]

    def _hint(self, kind: str, name: str, known: Collection[str]) -> str:
        suspects = {plugin: reason for plugin, reason in self.broken.items() if name.casefold() in plugin.casefold()}
        if suspects:
            return _broken_text(suspects)
        if any(name.casefold() in plugin.casefold() for plugin in self.disabled):
            return "Its plugin is switched off: take it out of disabled_plugins"
        hint = near_miss(name, known, what="`kpid kpis` lists" if kind == "KPI" else "`kpid plugins` lists")
        return hint if hint.startswith("Did you mean") or not self.broken else f"{hint}. {_broken_text(self.broken)}"


def _broken_text(broken: Mapping[str, str]) -> str:
    if len(broken) > 2:
        return f"One of the plugins that could not be loaded may bring it: {', '.join(sorted(broken))} (`kpid plugins` says why)"
    return "; ".join(f"The plugin {name} could not be loaded: {reason}" for name, reason in sorted(broken.items()))


def _names(loaded: Loaded, plugins: Plugins) -> Iterator[tuple[str, str, tuple[Key, ...]]]:
    """What a configuration names: kind, name, path."""
    config = loaded.config
    for name, source in config.sources.items():
        yield "connector", source.connector, ("sources", name, "connector")
    for name, receiver in config.receivers.items():
        yield "notifier", receiver.notifier, ("receivers", name, "notifier")
    for kpi in config.kpis:
        yield "KPI", kpi, ("kpis", kpi)
    for number, rule in enumerate(config.rules):
        if rule.absence is None:
            yield "KPI", rule.kpi, ("rules", number, "kpi")
    for name, job in config.reports.items():
        yield "report", job.report, ("reports", name, "report")
        report = plugins.reports.get(job.report)
        for kpi in report.kpis if report else ():
            yield "KPI", kpi, ("reports", name, "report")


def load_plugins(*, plugins_dir: Path | None = None, disabled: Sequence[str] = ()) -> Plugins:
    """Load every installed plugin, and every file in ``plugins_dir``.

    Args:
        plugins_dir: folder of single-file plugins; names that begin with ``_`` or ``test_`` are left out.
        disabled: names of plugins or of distributions that are not loaded.

    Raises:
        PluginError: two plugins bring something of one name, or ``plugins_dir`` is no folder.
    """
    found = _Found()
    for candidate in [*_installed(), *_local(plugins_dir)]:
        if {candidate.name, candidate.distribution} & set(disabled):
            found.switch_off(candidate)
        else:
            found.add(candidate)
    items = found.items
    return Plugins(
        connectors=items["connector"],
        notifiers=items["notifier"],
        kpis=items["kpi"],
        reports=items["report"],
        filters=items["filter"],
        broken=found.broken,
        disabled=tuple(found.disabled),
        rows=tuple(found.rows),
    )


def secrets_of(loaded: Loaded, plugins: Plugins) -> frozenset[str]:
    """Every secret of a configuration: those met while loading, and the values of plugin settings of type Secret."""
    secrets = set(loaded.secrets)
    for name, source in loaded.config.sources.items():
        if source.connector in plugins.connectors:
            kind = plugins.connectors[source.connector].connector.Settings
            secrets |= secrets_in(options_of(kind, source.options, loaded, ("sources", name)))
    for name, receiver in loaded.config.receivers.items():
        if receiver.notifier in plugins.notifiers:
            settings = plugins.notifiers[receiver.notifier].Settings
            secrets |= secrets_in(options_of(settings, receiver.options, loaded, ("receivers", name)))
    return frozenset(secrets)


@dataclass(frozen=True)
class _Candidate:
    """A plugin before it is loaded."""

    name: str
    distribution: str
    version: str
    load: Callable[[], ModuleType]

    def row(self, kind: str, name: str, state: Literal["ok", "broken", "disabled"] = "ok", reason: str = "") -> PluginInfo:
        return PluginInfo(kind, name, self.version, self.distribution, state, reason)


def _installed() -> Iterator[_Candidate]:
    seen = set()
    for entry in sorted(entry_points(group=hooks.PROJECT), key=lambda entry: entry.name):
        distribution = entry.dist.name if entry.dist else ""
        if (entry.name, entry.value, distribution) not in seen:  # one distribution may be on the path twice
            seen.add((entry.name, entry.value, distribution))
            yield _Candidate(entry.name, distribution, entry.dist.version if entry.dist else "", _loader(entry))


def _loader(entry: EntryPoint) -> Callable[[], ModuleType]:
    def load() -> ModuleType:
        module = entry.load()
        if not isinstance(module, ModuleType):
            raise PluginError(f"its entry point {entry.value} is not a module")
        return module

    return load


def _local(folder: Path | None) -> Iterator[_Candidate]:
    if folder is None:
        return
    if not folder.is_dir():
        raise PluginError(
            f"plugins_dir: there is no folder {folder}", hint="Create it, or take plugins_dir out of the configuration"
        )
    for file in sorted(folder.glob("*.py")):
        if not file.name.startswith(("_", "test_")):
            yield _Candidate(file.stem, str(file), "", lambda file=file: _imported(file))  # type: ignore[misc]


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


class _Found:
    """What has been found so far."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS.values()}
        self.rows: list[PluginInfo] = []
        self.broken: dict[str, str] = {}
        self.disabled: list[str] = []
        self._owners: dict[tuple[str, str], _Candidate] = {}

    def switch_off(self, candidate: _Candidate) -> None:
        self.disabled.append(candidate.name)
        self.rows.append(candidate.row("plugin", candidate.name, "disabled"))

    def add(self, candidate: _Candidate) -> None:
        """Load a plugin and take what it brings, or note why not."""
        try:
            brought = _brought(candidate)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - round a plugin call
            reason = str(error) if type(error) is PluginError else f"{type(error).__name__}: {error}".rstrip(": ")
            self.broken[candidate.name] = reason
            self.rows.append(candidate.row("plugin", candidate.name, "broken", reason))
            return
        for kind, items in brought.items():
            for name, item in items.items():
                self._claim(kind, name, candidate)
                self.items[kind][name] = item
                self.rows.append(candidate.row(kind, name))

    def _claim(self, kind: str, name: str, candidate: _Candidate) -> None:
        owner = self._owners.setdefault((kind, name), candidate)
        if owner is not candidate:
            raise PluginError(
                f"two plugins bring a {kind} called {name!r}: {owner.name} of {owner.distribution} and {candidate.name} "
                f"of {candidate.distribution}",
                hint=f"Uninstall one, or write disabled_plugins: [{candidate.name}]",
            )


def _brought(candidate: _Candidate) -> dict[str, dict[str, Any]]:
    """Load one plugin, in a pluggy manager of its own, and ask it for everything."""
    pm = pluggy.PluginManager(hooks.PROJECT)
    pm.add_hookspecs(hooks)
    module = candidate.load()
    pm.register(module, name=candidate.name)
    implemented = [caller.name for caller in pm.get_hookcallers(module) or ()]
    unknown = sorted(set(implemented) - set(KINDS))
    if unknown:
        raise PluginError(f"there is no hook {unknown[0]}. {near_miss(unknown[0], KINDS)}")
    pm.check_pending()
    if not implemented:
        raise PluginError("it implements no hook: is @hookimpl missing?")
    return {KINDS[hook]: checked(hook, result) for hook in implemented for result in getattr(pm.hook, hook)() or [None]}
