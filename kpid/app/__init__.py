"""The composition root: configuration, plugins, stores and clock, chosen and joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from kpid.analysis.calendar import Calendar
from kpid.app.configured import Configured
from kpid.clock import Clock
from kpid.config.load import Loaded, load_config
from kpid.config.model import Config, KpiSettings, Source
from kpid.errors import ConfigError, StoreError
from kpid.plugin.connector import Connector, SourceContext
from kpid.plugin.keeping import FileKeep
from kpid.plugin.notifier import Notifier
from kpid.plugin.pacing import Pacers
from kpid.registry import Plugins, options_of
from kpid.store.engine import Store, open_store

if TYPE_CHECKING:
    from kpid.alerting.contracts import AlertingSetup
    from kpid.metrics.measure import MetricsSetup
    from kpid.reporting.publish import ReportingSetup
    from kpid.reporting.render import Renderer
    from kpid.warehouse import Warehouse

SHORTEST_MAX_AGE = timedelta(hours=1)
"""However often a source is synced, data is not called stale before this."""


@dataclass(frozen=True)
class App:
    """Everything a step needs, opened once. Nothing in it changes; a reload makes a new one over the same stores."""

    loaded: Loaded
    clock: Clock
    calendar: Calendar
    configured: Configured
    store: Store
    _warehouse: Warehouse | None
    pacers: Pacers = field(default_factory=Pacers)

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.loaded.config

    @property
    def plugins(self) -> Plugins:
        """All plugins."""
        return self.configured.plugins

    @property
    def renderer(self) -> Renderer:
        """What writes alerts and reports."""
        return self.configured.renderer

    @property
    def notifiers(self) -> Mapping[str, Notifier[Any]]:
        """The notifier of each receiver."""
        return self.configured.notifiers

    @property
    def has_warehouse(self) -> bool:
        """Whether this app was opened with the CRM's facts."""
        return self._warehouse is not None

    @property
    def warehouse(self) -> Warehouse:
        """The CRM's facts.

        Raises:
            StoreError: this app was opened without them.
        """
        if self._warehouse is None:
            raise StoreError("this command was opened without the warehouse")
        return self._warehouse

    @contextmanager
    def connector(self, name: str) -> Iterator[Connector[Any]]:
        """The connector of a configured source, closed at the end of the block."""
        connector = _connector(self, name)
        try:
            yield connector
        finally:
            connector.close()

    def metrics_setup(self) -> MetricsSetup:
        """What measuring needs."""
        from kpid.app.setups import metrics_setup  # noqa: PLC0415 - as below: a process that only syncs has no use for it

        return metrics_setup(self)

    def alerting_setup(self) -> AlertingSetup:
        """What judging needs."""
        from kpid.app.setups import alerting_setup  # noqa: PLC0415

        return alerting_setup(self)

    def reporting_setup(self) -> ReportingSetup:
        """What publishing needs."""
        from kpid.app.setups import reporting_setup  # noqa: PLC0415

        return reporting_setup(self)

    def kpi_settings(self) -> dict[str, KpiSettings]:
        """What the company has set for KPIs: each on its own, and all of them at once."""
        from kpid.metrics.settings import settings_of  # noqa: PLC0415

        return settings_of(self.config, self.plugins.kpis)

    def expected(self) -> dict[str, timedelta]:
        """The usual time between two syncs of a source, or two reports: ``source:crm``, ``report:weekly``."""
        sources = {f"source:{name}": self.sync_interval(source) for name, source in self.config.sources.items()}
        return sources | {f"report:{name}": self._interval(job.every) for name, job in self.config.reports.items()}

    def recipients(self) -> dict[str, tuple[str, ...]]:
        """The recipients behind each receiver: each gets messages of its own."""
        return {name: tuple(notifier.recipients()) for name, notifier in self.notifiers.items()}

    def max_age(self, source: str) -> timedelta:
        """How old the source's data may be before it is stale."""
        settings = self.config.sources[source]
        declared = self.plugins.connectors[settings.connector].connector.default_max_age
        return settings.max_age or declared or max(SHORTEST_MAX_AGE, 2 * self.sync_interval(settings))

    def max_ages(self) -> dict[str, timedelta]:
        """The same for every source, and for every table that is read in place."""
        from kpid.warehouse.opening import ages_of_tables  # noqa: PLC0415

        return {**{name: self.max_age(name) for name in self.config.sources}, **ages_of_tables(self.config)}

    def sync_interval(self, source: Source) -> timedelta:
        """The usual time between two syncs of a source."""
        return self._interval(source.every)

    def _interval(self, every: str) -> timedelta:
        from kpid.analysis.schedule import schedule_from_text  # noqa: PLC0415

        schedule = schedule_from_text(every, self.config.timezone)
        first = schedule.next(self.clock.now().astimezone(self.calendar.zone).replace(tzinfo=None))
        return schedule.next(first) - first

    def close(self) -> None:
        """Let go of stores and connections."""
        self.configured.close()
        if self._warehouse is not None:
            self._warehouse.close()
        self.store.close()


def open_app(
    file: Path,
    clock: Clock,
    *,
    warehouse: Literal["write", "read", "none"] = "write",
    stores_of: App | None = None,
    made: bool = True,
) -> App:
    """Read the configuration, load the plugins it names, open the stores.

    Args:
        file: the configuration.
        clock: where the time comes from.
        warehouse: open the warehouse for writing, for reading only, or not at all.
        stores_of: take the open stores of this app (a reload); its configuration must name the same ones.
        made: make all that the configuration names, and tell what is wrong with it. Without: each thing when it is asked for.

    Raises:
        ConfigError: the configuration is wrong, or names a plugin that is missing or broken.
        StoreError, BusyError: a store cannot be opened.
    """
    configured = Configured(load_config(file), clock)
    config = configured.loaded.config
    if made:
        configured.make()
    if stores_of is None:
        store = open_store(config.state)
        facts, pacers = _opened(config, warehouse), Pacers()
    else:
        _check_same_stores(stores_of.config, config)
        store, facts, pacers = stores_of.store, stores_of._warehouse, stores_of.pacers
    app = App(configured.loaded, clock, configured.calendar, configured, store, facts, pacers)
    for name in config.sources if made else ():
        _connector(app, name).close()  # made once, so that wrong settings stop us now and not at the first sync
    return app


def _opened(config: Config, mode: Literal["write", "read", "none"]) -> Warehouse | None:
    if mode == "none":
        return None
    from kpid.warehouse.opening import open_warehouse  # noqa: PLC0415 - whoever reads only the state store has no engine in memory

    return open_warehouse(config, mode)


def _check_same_stores(old: Config, new: Config) -> None:
    if (old.state, old.warehouse, old.tables) != (new.state, new.warehouse, new.tables):
        raise ConfigError("state, warehouse or tables have changed", hint="Restart kpid to move to other stores")


def _connector(app: App, name: str) -> Connector[Any]:
    source = app.config.sources[name]
    kind = app.plugins.connectors[source.connector].connector
    settings = options_of(kind.Settings, source.options, app.loaded, ("sources", name))
    context = SourceContext(
        source_id=name,
        timezone=ZoneInfo(app.config.timezone),
        folder=app.config.folder,
        clock=app.clock,
        currency=app.config.currency,
        keep=FileKeep(_beside_state(app) / "kept", name),
        pacers=app.pacers,
    )
    return kind(settings, context)


def _beside_state(app: App) -> Path:
    """The folder of the state file; with a state on a server, where the file would be."""
    return app.store.file.parent if app.store.file else app.config.folder / "var"
