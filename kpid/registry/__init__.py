"""Finds plugins, asks each what it brings, and keeps the broken ones with their reason.

A plugin is an entry point of group ``kpid``, or a file in ``plugins_dir``. Each is loaded and asked on its own, so that one that
fails takes no other with it; it is fatal only to a configuration that names what it would have brought. A plugin that has only
KPIs, reports or filters is asked when somebody wants one of these: definitions of KPIs are large, and a sync needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpid.config.load import Loaded
from kpid.config.options import options_of
from kpid.config.problems import Key, near_miss, raise_errors
from kpid.config.secrets import secrets_in
from kpid.errors import ConfigError
from kpid.plugin.connector import ConnectorInfo
from kpid.plugin.kpi import Kpi
from kpid.plugin.notifier import Notifier
from kpid.plugin.report import Report
from kpid.registry.finding import Found, Later, PluginInfo, installed, local

__all__ = ["PluginInfo", "Plugins", "load_plugins", "options_of", "secrets_of"]


@dataclass(frozen=True)
class Plugins:
    """Everything that plugins bring, by name."""

    connectors: Mapping[str, ConnectorInfo] = field(default_factory=dict)
    notifiers: Mapping[str, type[Notifier[Any]]] = field(default_factory=dict)
    kpis: Mapping[str, Kpi] = field(default_factory=dict)
    reports: Mapping[str, Report] = field(default_factory=dict)
    filters: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    disabled: tuple[str, ...] = ()
    found: Found = field(default_factory=Found, repr=False)
    own: tuple[PluginInfo, ...] = ()
    """What the configuration brings itself."""
    written: frozenset[str] = frozenset()
    """Ids of the KPIs that the configuration defines, once they are among ``kpis``."""
    dimensions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Dimensions that the configuration makes from custom fields."""

    @property
    def broken(self) -> Mapping[str, str]:
        """Plugins that could not be used, each with the reason."""
        return self.found.asked().broken

    @property
    def rows(self) -> tuple[PluginInfo, ...]:
        """Every plugin and what it brings."""
        return (*self.found.asked().rows, *self.own)

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
        PluginError: two plugins bring something of one name (of KPIs, reports and filters this is told when one is asked for),
            or ``plugins_dir`` is no folder.
    """
    found = Found()
    for candidate in [*installed(), *local(plugins_dir)]:
        if {candidate.name, candidate.distribution} & set(disabled):
            found.switch_off(candidate)
        else:
            found.add(candidate)
    return Plugins(
        connectors=found.items["connector"],
        notifiers=found.items["notifier"],
        kpis=Later(found, "kpi"),
        reports=Later(found, "report"),
        filters=Later(found, "filter"),
        disabled=tuple(found.disabled),
        found=found,
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
