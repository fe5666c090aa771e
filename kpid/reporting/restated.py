"""Figures of a report that were told otherwise before: a sentence for the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from kpid.analysis.wording import value_text
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.kpi import Kpi
from kpid.store.revisions import as_reported, is_material


def marked(
    conn: Connection, need: SeriesNeed, found: Sequence[Measurement], kpi: Kpi, periods: Sequence[Period]
) -> list[Measurement]:
    """The figures; the newest one's warnings say which of ``periods`` were restated since they were first told as settled.

    Args:
        conn: where history is.
        need: the family of the figures: a total, one per period.
        found: its current figures, oldest first.
        kpi: what they are of.
        periods: those that the reader sees beside each other: the report's and the one before.
    """
    if not found:
        return []
    current = {one.period: one for one in found}
    told = as_reported(conn, need, start=min(period.start for period in periods), end=periods[-1].end, then=None)
    notes = [
        f"{one.period.label} was first reported as {value_text(one.value, kpi.unit, one.currency)}"
        for one in (report.measurement for report in told if report.replaced)
        if one.period in periods and one.period in current and is_material(one, current[one.period])
    ]
    *others, newest = found
    return [*others, replace(newest, warnings=(*newest.warnings, *notes))]
