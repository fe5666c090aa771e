"""Figures of a report that are pinned to what was reported at an earlier time: for boards, whose past numbers must not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

from kpid.analysis.calendar import DAY, Calendar
from kpid.analysis.wording import day_text, value_text, when_text
from kpid.config.model import ReportJob
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.store import history
from kpid.store.revisions import as_reported, is_material


@dataclass(slots=True)
class Pinned:
    """Reads the figures of one report, each as its job wants it: as known now, or as reported then."""

    job: ReportJob
    calendar: Calendar
    _told: dict[tuple[str, Period], datetime] = field(default_factory=dict)

    def figures(self, conn: Connection, need: SeriesNeed, start: datetime, end: datetime) -> list[Measurement]:
        """The figures of the periods within ``[start, end]``, by period, then segment."""
        pin = self.job.pin_of(need.kpi)
        if pin is None:
            return history.current(conn, need, start=start, end=end)
        then = None if pin == "first" else self.calendar.midnight(pin + DAY)
        found = [one for one in as_reported(conn, need, start=start, end=end, then=then) if one.measurement.period.start >= start]
        if not need.by:
            self._told.update({(need.kpi, one.measurement.period): one.at for one in found})
        return [one.measurement for one in found]

    def marked(
        self, conn: Connection, need: SeriesNeed, found: Sequence[Measurement], kpi: Kpi, periods: Sequence[Period]
    ) -> list[Measurement]:
        """The figures; the newest one's warnings say when it was reported, and which of ``periods`` are otherwise by now."""
        if not found:
            return []
        *others, newest = found
        shown = {one.period: one for one in found}
        current = history.current(conn, need, start=min(period.start for period in periods), end=periods[-1].end)
        notes = [
            f"{one.period.label} is {value_text(one.value, kpi.unit, one.currency)} by the data of today"
            for one in current
            if one.period in periods and one.period in shown and is_material(shown[one.period], one)
        ]
        told = f"as reported on {when_text(self._told[need.kpi, newest.period], self.calendar.timezone, newest.period.end)}"
        return [*others, replace(newest, warnings=("; ".join([told, *notes]), *newest.warnings))]

    def words_of(self, kpi: str) -> str:
        """``first reported``, ``reported by 5 Nov 2026``: how a pinned KPI's figures are called."""
        pin = self.job.pin_of(kpi)
        return "first reported" if pin is None or pin == "first" else f"reported by {day_text(pin)}"
