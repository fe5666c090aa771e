"""Invented KPIs, weeks and measurements for the reporting tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from kpid.analysis.periods import Calendar, last_complete
from kpid.config.model import KpiSettings
from kpid.model import Measurement, MeasurementState, Period, Segment
from kpid.plugin import At, Balance, Kpi, Report, count
from kpid.plugin.entities import deals, tickets
from kpid.plugin.kpi import Definition, Measure
from kpid.reporting.assemble import Ingredients, series_periods
from kpid.reporting.render import Renderer, shipped_templates
from kpid.warehouse import Watermark

CALENDAR = Calendar("Europe/Berlin")
NOW = datetime(2026, 11, 16, 6, 30, tzinfo=UTC)
"""Monday 07:30 in Berlin: week 46 has just ended."""
WEEK = last_complete("week", NOW, CALENDAR, 1)[-1]
WEEKS = series_periods(WEEK, 13, CALENDAR)


def kpi(id_: str, unit: Any = "ratio", better: Any = "up", *, balance: bool = False, **more: Any) -> Kpi:
    """A KPI with one measure."""
    clock = Balance(tickets.c.created_at, tickets.c.closed_at) if balance else At(deals.c.closed_at)
    measure = Measure(tickets if balance else deals, clock=clock, agg=count(), label="closed deals")
    definition = Definition({"closed": measure}, lambda m: m.closed, sample="closed" if unit == "ratio" else None)
    given = {"name": id_.replace("_", " ").capitalize(), "category": "sales", "dimensions": ("owner",), **more}
    return Kpi(id=id_, unit=unit, better=better, define=definition, **given)


KPIS: Mapping[str, Kpi] = {
    one.id: one
    for one in (
        kpi("win_rate", formula_text="won / closed", min_sample=20),
        kpi("won_deals", "count"),
        kpi("won_amount", "currency"),
        kpi("sales_cycle_days", "days", "down"),
        kpi("ticket_backlog", "count", "down", balance=True),
        kpi("nps", "score", name="NPS"),
    )
}
REPORT = Report(id="weekly_sales", name="Sales", kpis=tuple(KPIS))


def found(
    name: str,
    value: str | None,
    period: Period = WEEK,
    *,
    state: MeasurementState = MeasurementState.OK,
    parts: tuple[int, int] | None = None,
    owner: str | None = None,
    n: int = 50,
    **more: Any,
) -> Measurement:
    """A measurement; ``parts`` are numerator and denominator, ``owner`` makes it one of a segment."""
    numerator, denominator = (Decimal(parts[0]), Decimal(parts[1])) if parts else (None, None)
    exact = numerator / denominator if numerator is not None and denominator else None
    return Measurement(
        name,
        period,
        state,
        Decimal(value) if value is not None else exact,
        parts[1] if parts else n,
        (Segment("owner", f"crm:{owner}", owner),) if owner is not None else (),
        numerator=numerator,
        denominator=denominator,
        as_of=period.end,
        **more,
    )


def run_of(name: str, values: Sequence[str | None]) -> list[Measurement]:
    """Measurements of the last weeks; None is undefined."""
    return [
        found(name, value, period, state=MeasurementState.OK if value is not None else MeasurementState.UNDEFINED)
        for value, period in zip(values, WEEKS[-len(values) :], strict=True)
    ]


def given(history: Mapping[str, Sequence[Measurement]], targets: Mapping[str, str] | None = None, **more: Any) -> Ingredients:
    """What a report is made of."""
    settings: Any = {name: KpiSettings(target=Decimal(target)) for name, target in (targets or {}).items()}
    return Ingredients(
        **{
            "name": "weekly",
            "report": REPORT,
            "title": "Sales",
            "period": WEEK,
            "calendar": CALENDAR,
            "kpis": KPIS,
            "history": history,
            "now": NOW,
            "currency": "EUR",
            "settings": settings,
            "watermarks": [Watermark("crm", "deals", None, NOW - timedelta(minutes=10), NOW)],
            **more,
        }
    )


def renderer(*folders: Path, **filters: Any) -> Renderer:
    """A renderer on kpid's own templates, after the given folders."""
    return Renderer([*folders, *shipped_templates()], filters, CALENDAR, company="Example GmbH")
