"""What the configuration names: plugins, notifiers, templates. Each is made when it is first asked for.

A process that only reads the outbox never meets a plugin, and one that only syncs never meets a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kpid.analysis.calendar import Calendar
from kpid.clock import Clock
from kpid.config.load import Loaded
from kpid.config.times import calendar_of
from kpid.plugin.notifier import Notifier, NotifierContext
from kpid.registry import Plugins, load_plugins, options_of

if TYPE_CHECKING:
    from kpid.reporting.render import Renderer


@dataclass(frozen=True)
class Configured:
    """The configuration, and what it names."""

    loaded: Loaded
    clock: Clock

    @cached_property
    def plugins(self) -> Plugins:
        """The plugins, and the KPIs that the configuration writes itself.

        Raises:
            ConfigError: one of these is wrong.
            PluginError: two plugins bring something of one name.
        """
        config = self.loaded.config
        plugins = load_plugins(plugins_dir=config.plugins_dir, disabled=config.disabled_plugins)
        if config.fields or any(kpi.is_definition for kpi in config.kpis.values()):
            from kpid.metrics.written import with_own_kpis  # noqa: PLC0415

            return with_own_kpis(plugins, self.loaded)
        return plugins

    @cached_property
    def calendar(self) -> Calendar:
        """How time is cut."""
        return calendar_of(self.loaded.config)

    @cached_property
    def notifiers(self) -> Mapping[str, Notifier[Any]]:
        """The notifier of each receiver."""
        return {name: self._notifier(name) for name in self.loaded.config.receivers}

    @cached_property
    def renderer(self) -> Renderer:
        """What writes alerts and reports."""
        from kpid.reporting.render import Renderer  # noqa: PLC0415

        return Renderer.for_config(self.loaded.config, self.plugins.filters, self.calendar)

    def make(self) -> None:
        """Make all that the configuration names now, so that what is wrong with it stops us, and not the first alert.

        Raises:
            ConfigError: something is missing, broken or wrong.
        """
        config = self.loaded.config
        self.plugins.require(self.loaded)
        if config.rules or config.reports or config.templates_dir is not None:
            _ = self.renderer
        _ = self.notifiers

    def close(self) -> None:
        """Let go of the notifiers' connections."""
        for notifier in self.__dict__.get("notifiers", {}).values():
            notifier.close()

    def _notifier(self, name: str) -> Notifier[Any]:
        receiver = self.loaded.config.receivers[name]
        kind = self.plugins.notifiers[receiver.notifier]
        settings = options_of(kind.Settings, receiver.options, self.loaded, ("receivers", name))
        return kind(settings, NotifierContext(receiver_id=name, folder=self.loaded.config.folder, clock=self.clock))
