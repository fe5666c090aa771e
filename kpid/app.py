"""The composition root: configuration, plugins, stores and clock, chosen and joined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from kpid.alerting.contracts import AlertingSetup, Contact
from kpid.alerting.windows import openings_of
from kpid.analysis.periods import Calendar
from kpid.analysis.schedule import schedule_from_text
from kpid.clock import Clock
from kpid.config.alerting import RowsText
from kpid.config.load import Loaded, load_config
from kpid.config.model import Config, KpiSettings, Source
from kpid.config.signing import actions_of
from kpid.config.times import calendar_of, work_calendars
from kpid.errors import ConfigError, StoreError
from kpid.metrics.aims import Aims
from kpid.metrics.listing import rows_behind
from kpid.metrics.measure import MetricsSetup
from kpid.metrics.people import People
from kpid.metrics.settings import settings_of
from kpid.metrics.written import with_own_kpis
from kpid.model import Dims, Period, Rows, SeriesNeed
from kpid.plugin.connector import Connector, SourceContext
from kpid.plugin.keeping import FileKeep
from kpid.plugin.notifier import Notifier, NotifierContext
from kpid.plugin.pacing import Pacers
from kpid.registry import Plugins, load_plugins, options_of
from kpid.reporting.publish import ReportingSetup
from kpid.reporting.render import Renderer
from kpid.store.engine import Store, open_store
from kpid.warehouse import Warehouse
from kpid.warehouse.opening import ages_of_tables, open_warehouse

SHORTEST_MAX_AGE = timedelta(hours=1)
"""However often a source is synced, data is not called stale before this."""


@dataclass(frozen=True)
class App:
    """Everything a step needs, opened once. Nothing in it changes; a reload makes a new one over the same stores."""

    loaded: Loaded
    clock: Clock
    plugins: Plugins
    calendar: Calendar
    renderer: Renderer
    notifiers: Mapping[str, Notifier[Any]]
    store: Store
    _warehouse: Warehouse | None
    pacers: Pacers = field(default_factory=Pacers)

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.loaded.config

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
        config = self.config
        return MetricsSetup(
            warehouse=self.warehouse,
            kpis=self.plugins.kpis,
            calendar=self.calendar,
            currency=config.currency,
            settings=self.kpi_settings(),
            max_ages=self.max_ages(),
            sources=frozenset(self.max_ages()),
            custom=self.plugins.dimensions,
            calendars=work_calendars(config),
            owner_basis=config.owner_basis,
            rate_day=None if config.exchange_rates == "dated" else config.exchange_rates,
            population=config.population,
        )

    def kpi_settings(self) -> dict[str, KpiSettings]:
        """What the company has set for KPIs: each on its own, and all of them at once."""
        return settings_of(self.config, self.plugins.kpis)

    def alerting_setup(self) -> AlertingSetup:
        """What judging needs."""
        joints = _Joints(self)
        return AlertingSetup(
            rules=self.config.rules,
            kpis=self.plugins.kpis,
            calendar=self.calendar,
            recipients=self.recipients(),
            compose=self.renderer.alert,
            settings=self.kpi_settings(),
            bundle=self.renderer.bundle,
            routes=self.config.routes,
            inhibit=self.config.inhibit,
            windows=openings_of(self.config.windows, work_calendars(self.config), self.config.timezone),
            owners=self.config.owners,
            flapping=self.config.flapping,
            sources_of=joints.sources_of,
            targets=joints.target_of,
            contacts=joints.contacts,
            rows=joints.rows_behind,
            actions=actions_of(self.config, self.notifiers.values()),
            calendars=work_calendars(self.config),
            expected=self.expected(),
            updating=frozenset(name for name, one in self.notifiers.items() if one.updates),
            pageless=frozenset(name for name, one in self.notifiers.items() if not one.shows_pages),
        )

    def expected(self) -> dict[str, timedelta]:
        """The usual time between two syncs of a source, or two reports: ``source:crm``, ``report:weekly``."""
        sources = {f"source:{name}": self.sync_interval(source) for name, source in self.config.sources.items()}
        return sources | {f"report:{name}": self._interval(job.every) for name, job in self.config.reports.items()}

    def reporting_setup(self) -> ReportingSetup:
        """What publishing needs."""
        config = self.config
        return ReportingSetup(
            jobs=config.reports,
            reports=self.plugins.reports,
            kpis=self.plugins.kpis,
            settings=self.kpi_settings(),
            calendar=self.calendar,
            recipients=self.recipients(),
            renderer=self.renderer,
            currency=config.currency,
            company=config.company,
            population=config.population.text,
            max_ages=self.max_ages(),
        )

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
        return {**{name: self.max_age(name) for name in self.config.sources}, **ages_of_tables(self.config)}

    def sync_interval(self, source: Source) -> timedelta:
        """The usual time between two syncs of a source."""
        return self._interval(source.every)

    def _interval(self, every: str) -> timedelta:
        schedule = schedule_from_text(every, self.config.timezone)
        first = schedule.next(self.clock.now().astimezone(self.calendar.zone).replace(tzinfo=None))
        return schedule.next(first) - first

    def close(self) -> None:
        """Let go of stores and connections."""
        for notifier in self.notifiers.values():
            notifier.close()
        if self._warehouse is not None:
            self._warehouse.close()
        self.store.close()


@dataclass
class _Joints:
    """What alerting asks of other steps. The warehouse is not read before somebody asks."""

    app: App

    @cached_property
    def _metrics(self) -> MetricsSetup:
        return self.app.metrics_setup()

    @cached_property
    def _people(self) -> People:
        return People(self._metrics)

    @cached_property
    def _aims(self) -> Aims:
        return Aims(self._metrics, self.app.clock.now())

    def sources_of(self, kpi: str) -> tuple[str, ...]:
        """The sources that feed a KPI; none where the warehouse is not open."""
        return () if self.app._warehouse is None else self._people.sources_of(kpi)

    def target_of(self, need: SeriesNeed, period: Period, dims: Dims, now: datetime) -> Decimal | None:
        """What a series ought to reach."""
        return self._aims.target_of(need, period, dims, now)

    def contacts(self, ids: Sequence[str]) -> dict[str, Contact]:
        """People by id."""
        found = self._people.of(ids)
        return {key: Contact(one.id, one.name, one.address, one.is_active, one.manager_id) for key, one in found.items()}

    def rows_behind(self, need: SeriesNeed, period: Period, dims: Dims, wanted: RowsText) -> Rows | None:
        """The records behind a figure."""
        return rows_behind(need, period, dims, wanted, setup=self._metrics, now=self.app.clock.now())


def open_app(
    file: Path,
    clock: Clock,
    *,
    warehouse: Literal["write", "read", "none"] = "write",
    stores_of: App | None = None,
) -> App:
    """Read the configuration, load the plugins it names, open the stores.

    Args:
        file: the configuration.
        clock: where the time comes from.
        warehouse: open the warehouse for writing, for reading only, or not at all.
        stores_of: take the open stores of this app (a reload); its configuration must name the same ones.

    Raises:
        ConfigError: the configuration is wrong, or names a plugin that is missing or broken.
        StoreError, BusyError: a store cannot be opened.
    """
    loaded = load_config(file)
    config = loaded.config
    plugins = with_own_kpis(load_plugins(plugins_dir=config.plugins_dir, disabled=config.disabled_plugins), loaded)
    plugins.require(loaded)
    calendar = calendar_of(config)
    renderer = Renderer.for_config(config, plugins.filters, calendar)
    notifiers = {name: _notifier(loaded, plugins, name, clock) for name in config.receivers}
    if stores_of is None:
        store = open_store(config.state)
        facts, pacers = open_warehouse(config, warehouse), Pacers()
    else:
        _check_same_stores(stores_of.config, config)
        store, facts, pacers = stores_of.store, stores_of._warehouse, stores_of.pacers
    app = App(loaded, clock, plugins, calendar, renderer, notifiers, store, facts, pacers)
    for name in config.sources:
        _connector(app, name).close()  # made once, so that wrong settings stop us now and not at the first sync
    return app


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


def _notifier(loaded: Loaded, plugins: Plugins, name: str, clock: Clock) -> Notifier[Any]:
    receiver = loaded.config.receivers[name]
    kind = plugins.notifiers[receiver.notifier]
    settings = options_of(kind.Settings, receiver.options, loaded, ("receivers", name))
    return kind(settings, NotifierContext(receiver_id=name, folder=loaded.config.folder, clock=clock))
