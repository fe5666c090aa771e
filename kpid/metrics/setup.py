"""What measuring needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

from kpid.analysis.periods import Calendar
from kpid.analysis.workdays import WorkCalendar
from kpid.config.model import KpiSettings
from kpid.config.population import Population
from kpid.metrics.dimensions import Custom
from kpid.plugin.kpi import Kpi
from kpid.warehouse import Warehouse


@dataclass(frozen=True)
class MetricsSetup:
    """What measuring needs: where the facts are, the KPIs, how time is cut, and what the company has set.

    ``max_ages`` says from which age on a source's data is stale; sources that are not in it never are. ``sources`` names the
    configured ones: what a source that is configured no more has left behind makes nothing stale. None: all there are.
    ``calendars`` are opening hours by name, ``""`` the company's. ``owner_basis`` says whose an event is: the owner's of then, or
    today's.
    """

    warehouse: Warehouse
    kpis: Mapping[str, Kpi]
    calendar: Calendar
    currency: str
    settings: Mapping[str, KpiSettings] = field(default_factory=dict)
    max_ages: Mapping[str, timedelta] = field(default_factory=dict)
    sources: Collection[str] | None = None
    calendars: Mapping[str, WorkCalendar] = field(default_factory=dict)
    owner_basis: Literal["at_event", "current"] = "at_event"
    custom: Custom = field(default_factory=dict)
    """Dimensions made from custom fields."""
    rate_day: date | None = None
    """The day whose exchange rates hold for all amounts; None: each amount's own day."""
    population: Population = field(default_factory=lambda: Population.model_validate({}))
    """Which records count."""

    @property
    def money(self) -> str:
        """What amounts are reported in: ``EUR``, or ``EUR at the rates of 2026-01-01``."""
        return self.currency if self.rate_day is None else f"{self.currency} at the rates of {self.rate_day}"
