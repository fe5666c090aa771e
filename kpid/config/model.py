"""The configuration as typed, frozen values. ``load.py`` makes it from YAML; nothing changes it afterwards.

Durations are written ``15m``, ``36h``, ``7d``; schedules ``15m``, ``mon 07:30``, ``weekdays 08:00``, ``day 1 07:00`` or five cron
fields.
What can be judged by looking at one value is judged here; ``meaning.py`` reads schedules and period kinds, which need the zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from kpid.analysis.durations import duration_from_text
from kpid.config.alerting import Flapping, Heartbeat, Inhibit, NoData, Owners, Repeat, Route, Rule, Web, Window
from kpid.config.definitions import FieldName, FieldText, KpiSettings, MeasureText
from kpid.config.population import Population
from kpid.config.tables import MappedTable
from kpid.config.times import OpeningHours, Pattern, Zone
from kpid.config.values import Duration, Model, Name, Names

__all__ = [
    "Config", "FieldText", "Flapping", "Heartbeat", "Inhibit", "KpiSettings", "Logging", "MeasureText", "Model", "NoData",
    "Owners", "Population", "Receiver", "ReportJob", "Route", "Rule", "Source", "Web", "Window",
]  # fmt: skip


def _state_url(value: str) -> str:
    if not value.startswith(("sqlite://", "postgresql://", "postgresql+psycopg://")):
        raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    return value


_WAREHOUSES = ("duckdb", "postgresql", "postgresql+psycopg", "spark", "sc", "clickhouse", "clickhouses", "chdb")


def _rate_day(value: object) -> object:
    if value == "dated" or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError("must be `dated`, or a day such as 2026-01-01") from None


def _warehouse_url(value: str) -> str:
    if value.partition("://")[0] not in _WAREHOUSES or "://" not in value:
        raise ValueError("must be duckdb:///FILE, postgresql://USER@HOST/DATABASE, spark://..., sc://... or clickhouse://...")
    return value


class Source(Model):
    """A configured connector. Every key that is not listed here belongs to the connector's own settings."""

    connector: str = Field(description="Kind of source: files, sql, hubspot ... (`kpid plugins` lists them).")
    every: str = Field("1h", description="How often to sync: 15m, 1h, or a schedule like `daily 06:00`.")
    max_age: Duration | None = Field(None, description="Older data is stale: it never fires and never resolves an alert.")
    reconcile: Repeat = Field("7d", description="How often the ids of all records are compared with the source's; or off.")
    options: Mapping[str, Any] = Field(default_factory=dict, repr=False, description="The connector's own settings.")

    @property
    def reconcile_after(self) -> timedelta | None:
        """The same as a length of time; None: never."""
        return None if self.reconcile == "off" else duration_from_text(self.reconcile)


class Receiver(Model):
    """A configured notifier. Every key that is not listed here belongs to the notifier's own settings."""

    notifier: str = Field(description="Kind of receiver: mailbox, email, slack, webhook ...")
    on_unknown: Literal["resend", "hold"] = Field(
        "resend", description="When an answer was lost: send again with the same key, or hold the message for a person to decide."
    )
    fallback: str | None = Field(None, description="Receiver that is told when this one refuses a message for good.")
    options: Mapping[str, Any] = Field(default_factory=dict, repr=False, description="The notifier's own settings.")


def _pins(value: object) -> object:
    """One pin for all KPIs of a report, or one for some of them, by id."""
    if value is None or isinstance(value, Mapping):
        return {str(kpi): _pin(text) for kpi, text in (value or {}).items()}
    return {ALL_KPIS: _pin(value)}


def _pin(value: object) -> object:
    if value == "first" or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError("must be `first`, or a day such as 2026-11-05; or one of them per KPI: {win_rate: first}") from None


ALL_KPIS = "all"
Pin: TypeAlias = Literal["first"] | date
"""What was reported first as settled, or what was known at the end of a day."""
_PIN_SCHEMA = {"anyOf": [{"const": "first"}, {"type": "string", "format": "date"}]}
_PINS_SCHEMA = {"anyOf": [*_PIN_SCHEMA["anyOf"], {"type": "object", "additionalProperties": _PIN_SCHEMA}]}


class ReportJob(Model):
    """A scheduled report."""

    report: str = Field(description="Kind of report (`kpid plugins` lists them).")
    every: str = Field(description="When it goes out: `mon 07:30`, `day 1 07:00`, `weekdays 08:00` or five cron fields.")
    to: Names = Field(min_length=1, description="Names of the receivers that get it.")
    period: str | None = Field(None, description="Kind of period it covers, if not the report's own.")
    title: str | None = Field(None, description="Heading, if not the report's own name.")
    catch_up: Literal["latest", "all", "skip"] = "latest"
    max_age: Duration | None = Field(
        None, description="A report later than this is not sent any more (default: half its interval, at least 24h)."
    )
    when_stale: Literal["send", "hold"] = Field("send", description="`hold`: not sent while a source is stale.")
    as_reported: Annotated[Mapping[str, Pin], BeforeValidator(_pins), WithJsonSchema(_PINS_SCHEMA)] = Field(
        default_factory=dict,
        description="Figures as `first` reported, or as known at the end of a day, not as known now; for all KPIs, or by KPI.",
    )

    def pin_of(self, kpi: str) -> Pin | None:
        """Which figures of a KPI are shown; None: those of today."""
        return self.as_reported.get(kpi, self.as_reported.get(ALL_KPIS))


class Logging(Model):
    """What kpid writes to standard output."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Customers(Model):
    """Who is a customer, for every KPI that counts customers."""

    basis: Literal["lifecycle", "orders", "subscription", "deal"] | None = Field(
        None, description="By the CRM's status history, a purchase of late, a paid subscription, or a deal that was won."
    )
    lookback_days: int | None = Field(None, ge=1, description="How long a purchase makes a customer, with basis: orders.")

    def params(self) -> dict[str, str]:
        """The same as parameters of KPIs; what is not said is left to each KPI."""
        return {name: str(value) for name, value in self.model_dump().items() if value is not None}


class Config(Model):
    """A whole configuration. ``folder`` and ``file`` say where it came from."""

    timezone: Zone = Field(description="The company's IANA zone: periods and schedules are cut in it.")
    week_start: Literal["mon", "sun", "sat"] = "mon"
    fiscal_year: int = Field(1, ge=1, le=12, description="Month in which the fiscal year starts.")
    fiscal_label: Literal["start", "end"] = Field(
        "end", description="Name a fiscal year by the calendar year it starts or ends in."
    )
    fiscal_pattern: Pattern = Field(
        "gregorian", description="Fiscal months are calendar months, so many weeks: 4-4-5 ..., or custom."
    )
    fiscal_year_starts: tuple[date, ...] = Field((), description="Of weeks: first days of fiscal years, as published.")
    fiscal_53_weeks: Literal["nearest", "last"] = Field(
        "nearest",
        description="Other years start on the day `nearest` to the first of the month, or the `last` one not after it.",
    )
    fiscal_long_month: int = Field(12, ge=1, le=12, description="Fiscal month that gets the 53rd week.")
    fiscal_month_starts: tuple[tuple[date, ...], ...] = Field(
        (), description="Of fiscal_pattern custom: the first days of the twelve months of each year; others have the same days."
    )
    calendars: Mapping[Name, OpeningHours] = Field(default_factory=dict, description="Opening hours and holidays by name.")
    calendar: Name | None = Field(
        None, description="The one of `calendars` by which the company works (default: Monday to Friday, 9 to 17 o'clock)."
    )
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$", description="Three letters, such as EUR: amounts are reported in it.")
    exchange_rates: Annotated[Literal["dated"] | date, BeforeValidator(_rate_day)] = Field(
        "dated", description="`dated`: each amount at the rate of its own day; or a day, whose rates hold for all amounts."
    )
    owner_basis: Literal["at_event", "current"] = Field(
        "at_event", description="Whose a closing is: the owner's of then, if the source knows it, or today's owner's."
    )
    customers: Customers = Field(default_factory=lambda: Customers.model_validate({}))
    population: Population = Field(
        default_factory=lambda: Population.model_validate({}),
        description="Which records count, in every KPI: pipelines, teams, the company's own domains.",
    )
    company: str = Field("", description="Name shown in reports.")
    state: Annotated[str, AfterValidator(_state_url)] = Field(
        "sqlite:///var/kpid.db", repr=False, description="Where kpid keeps its state: sqlite:///FILE or postgresql://..."
    )
    warehouse: Annotated[str, AfterValidator(_warehouse_url)] = Field(
        "duckdb:///var/crm.duckdb",
        repr=False,
        description="Where the CRM facts are: duckdb:///FILE or postgresql://...; read in place: spark, sc, clickhouse, chdb.",
    )
    tables: Mapping[str, MappedTable] = Field(
        default_factory=dict, description="Canonical tables that are the company's own, read in place: none is synced."
    )
    read_every: str = Field("1h", description="How often tables that are read in place are measured: 15m, 1h, `daily 06:00`.")
    plugins_dir: Path | None = Field(None, description="Folder of single-file plugins.")
    disabled_plugins: Names = Field((), description="Plugins (or whole distributions) that are not loaded.")
    templates_dir: Path | None = Field(None, description="Folder whose templates take precedence over the built-in ones.")
    sources: Mapping[Name, Source] = Field(default_factory=dict)
    receivers: Mapping[Name, Receiver] = Field(default_factory=dict)
    kpis: Mapping[str, KpiSettings] = Field(default_factory=dict)
    fields: Mapping[FieldName, FieldText] = Field(
        default_factory=dict, description="Custom fields of the CRM, as `table.name`: columns for own KPIs, and dimensions."
    )
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = Field((), description="Who hears of which alerts: the first that matches. None: to: of the rule.")
    inhibit: tuple[Inhibit, ...] = Field((), description="While one alert fires, others say nothing.")
    windows: Mapping[Name, Window] = Field(default_factory=dict, description="When people want to hear of alerts, by name.")
    owners: Owners | None = Field(None, description="What `owner` and `manager` mean in to: {via: mail, else: team}.")
    flapping: Flapping = Field(default_factory=lambda: Flapping.model_validate({}), description="What coming and going is.")
    web: Web | None = Field(None, description="Pages on which people acknowledge alerts: {url: https://..., secret: ${env:...}}.")
    heartbeat: Heartbeat | None = Field(None, description="An address that is called while kpid is well.")
    reports: Mapping[Name, ReportJob] = Field(default_factory=dict)
    include: Names = Field(
        ("kpis/*.yml", "rules/*.yml", "reports/*.yml"), description="More files, relative to this one's folder."
    )
    logging: Logging = Logging()
    folder: Path = Path()
    file: Path = Path("config/kpid.yml")
