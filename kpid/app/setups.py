"""What each step that judges, measures or publishes is given: made from the app. A process that only syncs never needs this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from kpid.alerting.contracts import AlertingSetup, Contact
from kpid.alerting.windows import openings_of
from kpid.config.alerting import RowsText
from kpid.config.signing import actions_of
from kpid.config.times import work_calendars
from kpid.metrics.aims import Aims
from kpid.metrics.listing import rows_behind
from kpid.metrics.measure import MetricsSetup
from kpid.metrics.people import People
from kpid.model import Dims, Period, Rows, SeriesNeed
from kpid.reporting.publish import ReportingSetup

if TYPE_CHECKING:
    from kpid.app import App


def metrics_setup(app: App) -> MetricsSetup:
    """What measuring needs."""
    config, ages = app.config, app.max_ages()
    return MetricsSetup(
        warehouse=app.warehouse,
        kpis=app.plugins.kpis,
        calendar=app.calendar,
        currency=config.currency,
        settings=app.kpi_settings(),
        max_ages=ages,
        sources=frozenset(ages),
        custom=app.plugins.dimensions,
        calendars=work_calendars(config),
        owner_basis=config.owner_basis,
        rate_day=None if config.exchange_rates == "dated" else config.exchange_rates,
        population=config.population,
    )


def alerting_setup(app: App) -> AlertingSetup:
    """What judging needs."""
    config, joints, calendars = app.config, _Joints(app), work_calendars(app.config)
    return AlertingSetup(
        rules=config.rules,
        kpis=app.plugins.kpis,
        calendar=app.calendar,
        recipients=app.recipients(),
        compose=app.renderer.alert,
        settings=app.kpi_settings(),
        bundle=app.renderer.bundle,
        routes=config.routes,
        inhibit=config.inhibit,
        windows=openings_of(config.windows, calendars, config.timezone),
        owners=config.owners,
        flapping=config.flapping,
        sources_of=joints.sources_of,
        targets=joints.target_of,
        contacts=joints.contacts,
        rows=joints.rows_behind,
        actions=actions_of(config, app.notifiers.values()),
        calendars=calendars,
        expected=app.expected(),
        updating=frozenset(name for name, one in app.notifiers.items() if one.updates),
        pageless=frozenset(name for name, one in app.notifiers.items() if not one.shows_pages),
    )


def reporting_setup(app: App) -> ReportingSetup:
    """What publishing needs."""
    config = app.config
    return ReportingSetup(
        jobs=config.reports,
        reports=app.plugins.reports,
        kpis=app.plugins.kpis,
        settings=app.kpi_settings(),
        calendar=app.calendar,
        recipients=app.recipients(),
        renderer=app.renderer,
        currency=config.currency,
        company=config.company,
        population=config.population.text,
        max_ages=app.max_ages(),
    )


@dataclass
class _Joints:
    """What alerting asks of other steps. The warehouse is not read before somebody asks."""

    app: App

    @cached_property
    def _metrics(self) -> MetricsSetup:
        return metrics_setup(self.app)

    @cached_property
    def _people(self) -> People:
        return People(self._metrics)

    @cached_property
    def _aims(self) -> Aims:
        return Aims(self._metrics, self.app.clock.now())

    def sources_of(self, kpi: str) -> tuple[str, ...]:
        """The sources that feed a KPI; none where the warehouse is not open."""
        return self._people.sources_of(kpi) if self.app.has_warehouse else ()

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
