"""What a configured report needs, and its context from the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from kpid.analysis.explain import can_be_split
from kpid.analysis.periods import Calendar, days_of, is_daily, period_from_label, previous_period
from kpid.analysis.wording import day_text
from kpid.config.model import KpiSettings, ReportJob
from kpid.errors import ConfigError, KpidError
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.plugin.report import Report
from kpid.reporting.assemble import Ingredients, assemble, series_periods
from kpid.reporting.context import ReportContext
from kpid.reporting.pinned import Pinned
from kpid.reporting.render import Renderer
from kpid.reporting.restated import marked
from kpid.store import alerts
from kpid.warehouse import Watermark

_MOST_ALERTS = 200
_MOST_DRIVERS = 3


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
    population: str = ""
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
    """The families of measurements that a report shows: the total of each KPI, and its cuts by the driver dimensions.

    KPIs that no plugin describes are left out: the report names them as not available.
    """
    kind = job.period or report.period
    needs = []
    for kpi_id in report.kpis:
        if kpi_id in kpis:
            needs.append(SeriesNeed(kpi_id, kind, periods=report.periods))
            cuts = driver_dimensions(report, kpis[kpi_id])
            needs.extend(SeriesNeed(kpi_id, kind, by=(dimension,), periods=report.periods) for dimension in cuts)
    return needs


def driver_dimensions(report: Report, kpi: Kpi) -> list[str]:
    """The report's driver dimensions that the KPI has; none if its change cannot be split."""
    try:
        if not can_be_split(kpi.definition({})):
            return []
    except KpidError:  # told when it is measured
        return []
    return [dimension for dimension in report.drivers if dimension in kpi.dimensions][:_MOST_DRIVERS]


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
    segments: dict[str, dict[str, list[Measurement]]] = {}
    first = series_periods(period, report.periods, setup.calendar)[0]
    before = previous_period(period, setup.calendar)
    pinned = Pinned(job, setup.calendar)
    for need in needs_of(job.model_copy(update={"period": period.kind}), report, setup.kpis):
        if need.by:
            cuts = segments.setdefault(need.kpi, {})
            cuts[need.by[0]] = pinned.figures(conn, need, before.start, period.end)
        else:
            found = pinned.figures(conn, need, first.start, period.end)
            mark = pinned.marked if job.pin_of(need.kpi) else marked
            totals[need.kpi] = mark(conn, need, found, setup.kpis[need.kpi], (before, period))
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
            population=setup.population,
            segments=segments,
            settings=setup.settings,
            watermarks=watermarks,
            max_ages=setup.max_ages,
            alerts=_open_alerts(conn, setup.calendar),
            late_note=late_note,
            pins={kpi: pinned.words_of(kpi) for kpi in report.kpis if job.pin_of(kpi)},
        )
    )


def _open_alerts(conn: Connection, calendar: Calendar) -> list[str]:
    """One line per open alert, worst first."""
    rows = alerts.list_series(conn, "firing")[:_MOST_ALERTS]
    return [_open_alert(row, calendar) for row in rows]


def _open_alert(row: alerts.SeriesRow, calendar: Calendar) -> str:
    """``▼ Bruno Example: 31.3% is < 40% since 2026-10 (win-rate-low, critical)``."""
    who = ", ".join(name or "none" for name in row.names.values())
    reason, since = (row.state.get("last") or {}).get("reason"), row.state.get("since")
    story = " ".join(part for part in (reason, f"since {_since(since, calendar)}" if since else "") if part)
    about = f"{row.rule_uid}, {row.level}" if who else row.level
    said = ": ".join(part for part in (who or row.rule_uid, story) if part)
    return f"{'▼' if row.level == 'critical' else '◆'} {said} ({about})"


def _since(label: str, calendar: Calendar) -> str:
    """A period's label; of kinds with one period per day its last day: ``QTD 2026-11-13`` is ``13 Nov 2026``."""
    try:
        period = period_from_label(None, label, calendar)
    except KpidError:
        return label
    return day_text(days_of(period, calendar)[1] - timedelta(days=1)) if is_daily(period.kind) else label
