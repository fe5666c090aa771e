"""What a configured report needs, and its context from the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from kpid.analysis.periods import Calendar, previous_period
from kpid.config.model import KpiSettings, ReportJob
from kpid.errors import ConfigError
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.plugin.report import Report
from kpid.reporting.assemble import Ingredients, assemble, series_periods
from kpid.reporting.context import ReportContext
from kpid.reporting.render import Renderer
from kpid.store import alerts, history
from kpid.warehouse import Watermark

_MOST_ALERTS = 200


@dataclass(frozen=True)
class ReportingSetup:
    """What publishing needs: the configured jobs, the descriptions they name, and who gets them.

    ``recipients`` are the recipients behind each receiver; ``max_ages`` how old each source's data may be.
    """

    jobs: Mapping[str, ReportJob]
    reports: Mapping[str, Report]
    kpis: Mapping[str, Kpi]
    settings: Mapping[str, KpiSettings]
    calendar: Calendar
    recipients: Mapping[str, Sequence[str]]
    renderer: Renderer
    currency: str
    company: str = ""
    max_ages: Mapping[str, timedelta] = field(default_factory=dict)

    def job(self, name: str) -> tuple[ReportJob, Report]:
        """A configured report and its description.

        Raises:
            ConfigError: there is no such report, or its kind is unknown.
        """
        if name not in self.jobs:
            raise ConfigError(f"no report is called {name!r}", hint=f"Configured: {', '.join(self.jobs) or 'none'}")
        job = self.jobs[name]
        if job.report not in self.reports:
            raise ConfigError(f"report {name}: unknown kind {job.report!r}", hint=f"Known: {', '.join(self.reports) or 'none'}")
        return job, self.reports[job.report]


def needs_of(job: ReportJob, report: Report, kpis: Mapping[str, Kpi]) -> list[SeriesNeed]:
    """The families of measurements that a report shows: the total of each KPI, and its cut by the driver dimension.

    KPIs that no plugin describes are left out: the report names them as not available.
    """
    kind = job.period or report.period
    needs = []
    for kpi_id in report.kpis:
        if kpi_id in kpis:
            needs.append(SeriesNeed(kpi_id, kind, periods=report.periods))
            dimension = driver_dimension(report, kpis[kpi_id])
            if dimension:
                needs.append(SeriesNeed(kpi_id, kind, by=(dimension,), periods=report.periods))
    return needs


def driver_dimension(report: Report, kpi: Kpi) -> str:
    """The first of the report's driver dimensions that the KPI has; empty if none."""
    return next((dimension for dimension in report.drivers if dimension in kpi.dimensions), "")


def gather_context(
    name: str,
    setup: ReportingSetup,
    conn: Connection,
    *,
    period: Period,
    watermarks: Sequence[Watermark],
    now: datetime,
    late_note: str = "",
) -> ReportContext:
    """The context of a report for a period, from the history as it stands."""
    job, report = setup.job(name)
    totals: dict[str, list[Measurement]] = {}
    segments: dict[str, list[Measurement]] = {}
    dimensions: dict[str, str] = {}
    first = series_periods(period, report.periods, setup.calendar)[0]
    before = previous_period(period, setup.calendar)
    for need in needs_of(job.model_copy(update={"period": period.kind}), report, setup.kpis):
        if need.by:
            segments[need.kpi] = history.current(conn, need, start=before.start, end=period.end)
            dimensions[need.kpi] = need.by[0]
        else:
            totals[need.kpi] = history.current(conn, need, start=first.start, end=period.end)
    return assemble(
        Ingredients(
            name=name,
            report=report,
            title=job.title or report.name,
            period=period,
            calendar=setup.calendar,
            kpis=setup.kpis,
            history=totals,
            now=now,
            currency=setup.currency,
            company=setup.company,
            segments=segments,
            dimensions=dimensions,
            settings=setup.settings,
            watermarks=watermarks,
            max_ages=setup.max_ages,
            alerts=_open_alerts(conn),
            late_note=late_note,
        )
    )


def _open_alerts(conn: Connection) -> list[str]:
    """One line per open alert, worst first."""
    rows = alerts.list_series(conn, "firing")[:_MOST_ALERTS]
    return [_open_alert(row) for row in rows]


def _open_alert(row: alerts.SeriesRow) -> str:
    """``▼ Bruno Example: 31.3% is < 40% since 2026-10 (win-rate-low, critical)``."""
    who = ", ".join(name or "none" for name in row.names.values())
    reason, since = (row.state.get("last") or {}).get("reason"), row.state.get("since")
    story = " ".join(part for part in (reason, f"since {since}" if since else "") if part)
    about = f"{row.rule_uid}, {row.level}" if who else row.level
    said = ": ".join(part for part in (who or row.rule_uid, story) if part)
    return f"{'▼' if row.level == 'critical' else '◆'} {said} ({about})"
