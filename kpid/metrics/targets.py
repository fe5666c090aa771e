"""Targets as parts of formulas: what a KPI should reach in the same period and segment. Pure, but for reading the table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import select

from kpid.analysis.periods import Calendar, days_of, is_kind, period_from_label, whole_of
from kpid.analysis.workdays import WorkCalendar
from kpid.config.model import KpiSettings
from kpid.metrics.dialects import compile_statement
from kpid.model import Dims, Period, Segment
from kpid.plugin.entities import targets
from kpid.plugin.expressions import counts
from kpid.plugin.kpi import Definition, Kpi, Quantity, Target
from kpid.warehouse import Warehouse

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class TargetRow:
    """One version of one target. ``dims`` maps dimensions to ids or names; empty for the company as a whole.

    ``first_day`` None: for every period of the kind.
    """

    kpi: str
    dims: Mapping[str, str]
    period_kind: str
    first_day: date | None
    value: Decimal
    currency: str | None
    valid_from: datetime | None


@dataclass(frozen=True)
class Targets:
    """All targets there are: those of the table, and the ones of the configuration for the company as a whole.

    The newest version that was valid at the end of the period counts: a target that is changed later rewrites no attainment.
    """

    rows: Sequence[TargetRow]
    settings: Mapping[str, KpiSettings]
    kpis: Mapping[str, Kpi]
    calendar: Calendar
    currency: str
    work: WorkCalendar | None = None

    def of(self, target: Target, period: Period, dims: Dims, now: datetime) -> Quantity:
        """The target for a period and segment, prorated if so asked; undefined, with the reason, where there is none.

        A to-date period (``qtd``) has the target of the whole that it is a part of, as it was known at its end.
        """
        whole = whole_of(period, self.calendar)
        aim, is_over = self._whole(target, whole, dims, now, period.end), whole.end <= min(now, period.end)
        if not target.prorate or is_over or now < whole.start or not aim.is_defined:
            return aim
        work = self.work or WorkCalendar(timezone=self.calendar.timezone)
        first, after = days_of(whole, self.calendar)
        days = work.working_days(first, after)
        part = work.elapsed_days(first, min(now, period.end)) / days if days else Fraction(0)
        return Quantity((aim.exact or 0) * part, label=f"part of the {target.label} for the working days so far")

    def _whole(self, target: Target, period: Period, dims: Dims, now: datetime, end: datetime) -> Quantity:
        day = self.calendar.day_of(period.start)
        known = [
            row
            for row in (*self.rows, *_configured(self.settings.get(target.kpi), target.kpi, self.calendar))
            if row.kpi == target.kpi and row.period_kind == period.kind and _is_about(row.dims, dims)
            if row.first_day in {None, day}
            if row.valid_from is None or (row.valid_from < end and row.valid_from <= now)
        ]
        if known:
            newest = max(known, key=lambda row: (row.first_day is not None, row.valid_from is not None, row.valid_from or _NEVER))
            if newest.currency not in {None, self.currency}:
                return Quantity(None, reason=f"the target of {target.kpi} is in {newest.currency}, not in {self.currency}")
            return Quantity(newest.value, label=target.label)
        configured = self._usual(target, period) if not dims else None
        where = " for this segment" if dims else ""
        return Quantity(configured, label=target.label, reason=f"{target.kpi} has no target for this {period.kind}{where}")

    def _usual(self, target: Target, period: Period) -> Decimal | None:
        settings, kpi = self.settings.get(target.kpi), self.kpis.get(target.kpi)
        if settings is None or settings.target is None or kpi is None:
            return None
        return settings.target if period.kind == (settings.target_period or kpi.period) else None


def read_targets(warehouse: Warehouse, now: datetime) -> list[TargetRow]:
    """The targets that a source has delivered; rows without a value or a period are no targets."""
    c = targets.c
    statement = select(c.kpi, c.dims, c.period_kind, c.period_start, c.value, c.currency, c.valid_from).where(
        *counts(targets), c.value.is_not(None), c.period_start.is_not(None)
    )
    table = warehouse.query(*compile_statement(statement, warehouse.dialect, {"now": now}))
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return [
        TargetRow(kpi, _dims(dims), kind, day, Decimal(value), money, since) for kpi, dims, kind, day, value, money, since in rows
    ]


def _configured(settings: KpiSettings | None, kpi: str, calendar: Calendar) -> Iterator[TargetRow]:
    """The versions that the configuration has: for one period, or for every period of a kind."""
    for text in settings.targets if settings is not None else ():
        period = None if is_kind(text.period) else period_from_label(None, text.period, calendar)
        first_day = None if period is None else calendar.day_of(period.start)
        since = None if text.valid_from is None else calendar.midnight(text.valid_from)
        yield TargetRow(kpi, text.where, period.kind if period else text.period, first_day, text.value, None, since)


def goals_of(definition: Definition, settings: Mapping[str, KpiSettings], kpis: Mapping[str, Kpi]) -> tuple[str, ...]:
    """The targets that the configuration has for what a definition measures against, as text."""
    found = []
    for name in sorted({target.kpi for target in definition.targets.values()} & settings.keys()):
        own, kpi = settings[name], kpis.get(name)
        kind = own.target_period or (kpi.period if kpi is not None else "")
        usual = [] if own.target is None else [f"{name}: {own.target} per {kind}"]
        found += [*usual, *(f"{name}: {target.model_dump_json()}" for target in own.targets)]
    return tuple(found)


def _dims(value: Any) -> dict[str, str]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    return {str(name): str(one) for name, one in found.items()} if isinstance(found, dict) else {}


def _is_about(named: Mapping[str, str], dims: Dims) -> bool:
    return len(named) == len(dims) and all(named.get(segment.dimension) in _names(segment) for segment in dims)


def _names(segment: Segment) -> set[str | None]:
    """A segment as people and CRMs write it: its id, the CRM's own id, its name."""
    native = segment.id.partition(":")[2] if segment.id else ""
    return {segment.id, native or segment.id, segment.label} - {None}
