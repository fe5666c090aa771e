"""``kpid measure``: the figures of one KPI, computed now; nothing is written to history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

from kpid.analysis.periods import KINDS, Calendar, is_kind, last_complete
from kpid.app import App
from kpid.commands.plain import number
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.metrics.measure import figures
from kpid.model import Measurement, SeriesNeed

PERIODS = 13


def measure(
    app: App,
    *,
    kpi: str,
    period: str = "month",
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
    params: Mapping[str, str] | None = None,
    start: str | None = None,
    end: str | None = None,
    fill: bool = False,
    progress: Any = None,
) -> list[dict[str, Any]]:
    """Compute a KPI per period and segment.

    Args:
        app: everything.
        kpi: its id.
        period: kind of period.
        by: dimensions.
        where: dimension -> ids or names to restrict to.
        params: parameters of the KPI.
        start: first day or instant (ISO); default: thirteen periods back.
        end: day or instant at which to stop (ISO, exclusive); default: now.
        fill: give a figure for periods and segments without rows, too.
        progress: unused; a single KPI is quick.

    Raises:
        KpidError: there is no such KPI, period kind, dimension or parameter.
    """
    check_words(app, kpi, period, [*by, *(where or {})], params or {})
    need = SeriesNeed(
        kpi=kpi,
        period=period,
        by=tuple(by),
        params=tuple(sorted((params or {}).items())),
        where=tuple(sorted((name, tuple(values)) for name, values in (where or {}).items())),
    )
    now = app.clock.now()
    first = instant_from_text(start, app.calendar) if start else last_complete(period, now, app.calendar, PERIODS)[0].start
    last = instant_from_text(end, app.calendar) if end else now
    if last <= first:
        raise KpidError(f"--to ({last.isoformat()}) is not after --from ({first.isoformat()})")
    defaults = app.plugins.kpis[kpi].params_from({})
    found = figures(need, app.metrics_setup(), start=first, end=last, now=now, fill=fill)
    return [_told(one, defaults, app.calendar) for one in found]


def check_words(app: App, name: str, period: str, dimensions: Sequence[str], params: Mapping[str, str]) -> None:
    """Refuse what is not there, with what was likely meant.

    Raises:
        KpidError: there is no such KPI, kind of period, dimension or parameter.
    """
    kpi = app.plugins.kpis.get(name)
    if kpi is None:
        raise KpidError(f"there is no KPI {name!r}", hint=near_miss(name, app.plugins.kpis, what="`kpid plugins` lists"))
    if not is_kind(period):
        known = [kind.replace("_Nd", "_90d") for kind in KINDS]
        raise KpidError(f"{period!r} is not a kind of period", hint=near_miss(period, known, what="Use one of"))
    for dimension in dimensions:
        if dimension not in kpi.dimensions:
            hint = near_miss(dimension, kpi.dimensions, what="It can be cut by")
            raise KpidError(f"KPI {name} cannot be cut by {dimension!r}", hint=hint)
    for param, value in params.items():
        if param not in kpi.params:
            raise KpidError(f"KPI {name} has no parameter {param!r}", hint=near_miss(param, kpi.params, what="It has"))
        if kpi.params[param].problem(value):
            hint = near_miss(value, kpi.params[param].choices, what="Use one of")
            if kpi.params[param].kind != "choice":
                hint = kpi.params[param].problem(value)
            raise KpidError(f"{param}={value} is not possible for KPI {name}", hint=hint)


def instant_from_text(text: str, calendar: Calendar) -> datetime:
    """A day (local midnight) or an instant as people write it.

    Raises:
        KpidError: it is neither.
    """
    try:
        if len(text) == 10:
            return datetime.combine(date.fromisoformat(text), time(), tzinfo=calendar.zone)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise KpidError(
            f"{text!r} is neither a day nor an instant", hint="Write 2017-12-31 or 2017-12-31T08:00:00+01:00"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=calendar.zone)


def _told(one: Measurement, defaults: Mapping[str, str], calendar: Calendar) -> dict[str, Any]:
    start, end = (bound.astimezone(calendar.zone).isoformat() for bound in (one.period.start, one.period.end))
    return {
        "kpi": one.kpi,
        "params": {**defaults, **dict(one.params)},
        "dims": {segment.dimension: {"id": segment.id, "name": segment.name or segment.id} for segment in one.dims},
        "period": {"start": start, "end": end, "label": one.period.label},
        "state": one.state.value,
        "value": number(one.value),
        "numerator": number(one.numerator),
        "denominator": number(one.denominator),
        "n": one.n,
        "low": number(one.low),
        "high": number(one.high),
        "currency": one.currency,
        "reason": one.reason,
        "warnings": list(one.warnings),
    }
