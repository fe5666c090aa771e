"""The configuration as typed, frozen values. ``load.py`` makes it from YAML; nothing changes it afterwards.

Durations are written ``15m``, ``36h``, ``7d``; schedules ``15m``, ``mon 07:30``, ``weekdays 08:00``, ``day 1 07:00`` or five cron fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Source(Model):
    """A configured connector. Every key that is not listed here belongs to the connector's own settings."""

    connector: str = Field(description="Kind of source: files, sql, hubspot ... (`kpid plugins` lists them).")
    every: str = Field("1h", description="How often to sync: 15m, 1h, or a schedule like `daily 06:00`.")
    max_age: timedelta | None = Field(None, description="Older data is stale: it never fires and never resolves an alert.")
    options: Mapping[str, Any] = Field(default_factory=dict, description="The connector's own settings.")


class Receiver(Model):
    """A configured notifier. Every key that is not listed here belongs to the notifier's own settings."""

    notifier: str = Field(description="Kind of receiver: mailbox, email, slack, webhook ...")
    on_unknown: Literal["resend", "hold"] = Field(
        "resend", description="When an answer was lost: send again with the same key, or hold the message for a person to decide."
    )
    fallback: str | None = Field(None, description="Receiver that is told when this one refuses a message for good.")
    options: Mapping[str, Any] = Field(default_factory=dict, description="The notifier's own settings.")


class KpiSettings(Model):
    """What the company adds to a KPI."""

    target: Decimal | None = Field(None, description="The value to reach (25%, 40, 1200000).")
    min_sample: int | None = Field(None, ge=0, description="Below this sample size the number is not judged.")
    params: Mapping[str, str] = Field(default_factory=dict, description="Parameters for every use of this KPI.")


class NoData(Model):
    """What a rule does when there is nothing to judge."""

    do: Literal["keep", "ok", "fire", "ignore"] = "keep"
    after: str = "2x"
    level: Literal["warn", "critical"] = "warn"


class Rule(Model):
    """A rule: when a KPI deserves somebody's attention, and whose."""

    name: str
    id: str | None = Field(None, description="Keeps the rule's identity when its name changes.")
    kpi: str
    params: Mapping[str, str] = Field(default_factory=dict)
    period: str = Field(description="Closed periods of this kind are judged: day, week, month, quarter, rolling_90d ...")
    by: tuple[str, ...] = Field((), description="One alert per segment of these dimensions.")
    where: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    warn: str | None = Field(None, description='Condition, e.g. "< 50%" or "drop > 15% vs previous".')
    critical: str | None = None
    recover: str | None = Field(None, description='Condition that ends an alert; between it and the threshold nothing changes.')
    for_: str = Field("1x", alias="for", description="2x: two bad periods in a row; 10d: bad for ten days.")
    keep_firing_for: str = "0x"
    min_sample: int | None = Field(None, ge=0)
    no_data: NoData = NoData()
    expire_after: str = Field("3x", description="A segment that is no longer reported for so long ends its alert as expired.")
    catch_up: int = Field(10, ge=1, le=400, description="How many missed periods are judged after a pause.")
    settle: str | None = Field(None, description="Wait so long after the end of a period for late data.")
    labels: Mapping[str, str] = Field(default_factory=dict)
    to: tuple[str, ...] = Field(min_length=1)
    summary: str | None = None
    runbook: str | None = None
    paused: bool = False

    @property
    def uid(self) -> str:
        """The rule's identity in the store."""
        return self.id or self.name


class ReportJob(Model):
    """A scheduled report."""

    report: str
    every: str = Field(description="When it goes out: `mon 07:30`, `day 1 07:00`, `weekdays 08:00` or five cron fields.")
    to: tuple[str, ...] = Field(min_length=1)
    period: str | None = None
    title: str | None = None
    catch_up: Literal["latest", "all", "skip"] = "latest"
    max_age: timedelta | None = Field(None, description="A report later than this is not sent any more (default: half its interval, at least 24h).")
    when_stale: Literal["send", "hold"] = Field("send", description="`hold`: not sent while a source is stale.")


class Logging(Model):
    """What kpid writes to standard output."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(Model):
    """A whole configuration. ``folder`` and ``file`` say where it came from."""

    timezone: str = Field(description="The company's IANA zone: periods and schedules are cut in it.")
    week_start: Literal["mon", "sun", "sat"] = "mon"
    fiscal_year: int = Field(1, ge=1, le=12, description="Month in which the fiscal year starts.")
    fiscal_label: Literal["start", "end"] = Field("end", description="Name a fiscal year by the calendar year it starts or ends in.")
    currency: str = Field("EUR", pattern=r"^[A-Z]{3}$")
    company: str = ""
    state: str = "sqlite:///var/kpid.db"
    warehouse: str = "duckdb:///var/crm.duckdb"
    plugins_dir: Path | None = None
    disabled_plugins: tuple[str, ...] = ()
    templates_dir: Path | None = None
    sources: Mapping[str, Source] = Field(default_factory=dict)
    receivers: Mapping[str, Receiver] = Field(default_factory=dict)
    kpis: Mapping[str, KpiSettings] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    reports: Mapping[str, ReportJob] = Field(default_factory=dict)
    include: tuple[str, ...] = ("rules/*.yml", "reports/*.yml")
    logging: Logging = Logging()
    folder: Path = Path(".")
    file: Path = Path("config/kpid.yml")
