"""What a KPI ought to reach in a period: its target there, or its part of a longer period's target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from kpid.analysis.pace import prorated
from kpid.analysis.periods import TO_DATE, is_fixed, period_at
from kpid.analysis.workdays import WorkCalendar
from kpid.errors import KpidError
from kpid.metrics.measure import MetricsSetup
from kpid.metrics.targets import Targets, read_targets
from kpid.model import Dims, Period, Segment, SeriesNeed
from kpid.plugin.kpi import Target

WHOLES = {
    "day": ("month", "quarter", "year"),
    "week": ("month", "quarter", "year"),
    "iso_week": ("month", "quarter", "year"),
    "month": ("quarter", "half", "year"),
    "quarter": ("half", "year"),
    "half": ("year",),
    "fiscal_month": ("fiscal_quarter", "fiscal_year"),
    "fiscal_quarter": ("fiscal_year",),
}
"""Kinds of longer periods whose target is divided up, if a period has none of its own."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What ought to be reached, if anybody said so, and how it was found."""

    value: Decimal | None
    notes: tuple[str, ...] = ()


def aim_of(
    targets: Targets, target: Target, period: Period, dims: Dims, now: datetime, *, work: WorkCalendar | None = None
) -> Aim:
    """The target of a period: its own, or its part of a longer period's by working days.

    Args:
        targets: all there are.
        target: of what.
        period: for which period.
        dims: for which segment; empty for the company as a whole.
        now: targets set later are not known yet.
        work: working days, by which the target of a longer period is divided up; None for what does not grow over a period.
    """
    own = _decimal(targets.of(target, period, dims, now).value) if period.kind not in TO_DATE else None
    if own is not None or work is None or is_fixed(period.kind):
        return Aim(own)
    for kind in WHOLES.get(period.kind, ()):
        whole = period_at(kind, period.start, targets.calendar)
        value = _decimal(targets.of(target, whole, dims, now).value)
        part = prorated(value, period, whole, targets.calendar, work) if value is not None else None
        if part is not None:
            return Aim(part, (f"its part of the target for {whole.label}, by working days",))
    return Aim(None)


@dataclass
class Aims:
    """Targets for rules. The table of targets is read when the first one is asked for.

    Args:
        setup: what measuring needs.
        read_at: the current instant, as of which the table is read.
    """

    setup: MetricsSetup
    read_at: datetime

    def target_of(self, need: SeriesNeed, period: Period, dims: Dims, now: datetime) -> Decimal | None:
        """What a series ought to reach in a period, as known at an instant; None if nobody said.

        A family that is restricted to one segment has that segment's target.
        """
        setup, segments = self.setup, _segments(need, dims)
        kpi = setup.kpis.get(need.kpi)
        if kpi is None or segments is None:
            return None
        known = setup.settings.get(need.kpi)
        try:
            definition = kpi.definition({**(known.params if known else {}), **dict(need.params)})
        except KpidError:  # told when the KPI is measured
            return None
        work = setup.calendars.get("") if kpi.adds_up(definition) else None
        return aim_of(self._targets, Target(need.kpi, dict(need.params)), period, segments, now, work=work).value

    @cached_property
    def _targets(self) -> Targets:
        setup = self.setup
        rows = read_targets(setup.warehouse, self.read_at)
        return Targets(rows, setup.settings, setup.kpis, setup.calendar, setup.currency, setup.calendars.get(""))


def _segments(need: SeriesNeed, dims: Dims) -> Dims | None:
    """The segment that a series is about, that of ``where`` included; None if it is several that no target is for."""
    named = {segment.dimension for segment in dims}
    restricted = [(name, values) for name, values in need.where if name not in named]
    if any(len(values) != 1 for _, values in restricted):
        return None
    more = [Segment(name, values[0], values[0]) for name, values in restricted]
    return tuple(sorted((*dims, *more), key=lambda segment: segment.dimension))


def _decimal(value: Any) -> Decimal | None:
    if value is None:
        return None
    return value if isinstance(value, Decimal) else Decimal(value.numerator) / value.denominator
