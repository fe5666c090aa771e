"""``kpid measure``: the figures of one KPI, computed now; nothing is written to history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

from kpid.analysis.periods import KINDS, Calendar, is_daily, is_fixed, is_kind, last_complete, period_from_label
from kpid.app import App
from kpid.commands.comparing import compare
from kpid.commands.comparing import told as told_comparison
from kpid.commands.plain import number
from kpid.commands.reported import reported
from kpid.config.problems import near_miss
from kpid.errors import ConfigError, KpidError
from kpid.metrics.campaigns import CAMPAIGN_TO_DATE, campaign_figures
from kpid.metrics.measure import figures
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin.kpi import EVERYWHERE, Kpi

PERIODS = 13
_LAST_COMPLETE = "last_complete_"


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
    vs: str | None = None,
    align: str = "calendar_days",
    per_working_day: bool = False,
    as_reported: str | None = None,
    timezone: str | None = None,
    progress: Any = None,
) -> list[dict[str, Any]]:
    """Compute a KPI per period and segment.

    Args:
        app: everything.
        kpi: its id.
        period: kind of period; ``last_complete_month`` and its like; or one period: ``2017-12``, ``2017-01-15..2017-02-10``;
            ``campaign_to_date``: each campaign from its start to the end of yesterday, or to ``end``.
        by: dimensions.
        where: dimension -> ids or names to restrict to.
        params: parameters of the KPI.
        start: first day or instant (ISO); default: thirteen periods back.
        end: day or instant at which to stop (ISO, exclusive); default: now.
        fill: give a figure for periods and segments without rows, too.
        vs: what to compare with: ``previous``, ``last_year`` ... (:data:`kpid.analysis.comparison.COMPARISONS`).
        align: to-date periods are compared with as many ``calendar_days`` or ``working_days``.
        per_working_day: compare what counts and amounts are per working day.
        as_reported: a day, an instant, or ``first``: what history said then, not what is true now.
        timezone: cut periods in this zone, not in the company's: for a team elsewhere.
        progress: unused; a single KPI is quick.

    Raises:
        KpidError: there is no such KPI, period kind, dimension, parameter or comparison.
    """
    if timezone is not None:
        app = _elsewhere(app, timezone, as_reported)
    kind, only = _period_meant(app, period)
    check_words(app, kpi, kind, [*by, *(where or {})], params or {})
    need = need_of(kpi, kind, by, where, params)
    now = app.clock.now()
    if kind == CAMPAIGN_TO_DATE:
        _refuse_beside(vs=vs, as_reported=as_reported, **{"from": start, "per-working-day": per_working_day or None})
    first, last = _range(app, kind, only, start, end)
    if as_reported is not None:
        if vs is not None:
            raise KpidError("--vs compares by the data of today", hint="Leave one of --vs and --as-reported out")
        found = reported(app, need, start=first, end=last, then=_then(as_reported, app.calendar))
    elif kind == CAMPAIGN_TO_DATE:
        found = campaign_figures(need, app.metrics_setup(), end=last, now=now)
    else:
        found = figures(need, app.metrics_setup(), start=first, end=last, now=now, fill=fill)
    defaults = app.plugins.kpis[kpi].params_from({})
    if timezone is not None:
        found = [replace(one, warnings=(*one.warnings, f"days of {timezone}: totals need not add up")) for one in found]
    counted = {"population": text} if (text := app.config.population.text) else {}
    rows = [told(one, defaults, app.calendar) | counted for one in found]
    if vs is None and not per_working_day:
        return rows
    compared = compare(app, need, found, vs=vs or "previous", align=align, per_working_day=per_working_day)
    return [{**row, **told_comparison(one)} for row, one in zip(rows, compared, strict=True)]


def need_of(
    kpi: str, kind: str, by: Sequence[str], where: Mapping[str, Sequence[str]] | None, params: Mapping[str, str] | None
) -> SeriesNeed:
    """What a command's options ask for."""
    return SeriesNeed(
        kpi=kpi,
        period=kind,
        by=tuple(by),
        params=tuple(sorted((params or {}).items())),
        where=tuple(sorted((name, tuple(values)) for name, values in (where or {}).items())),
    )


def _elsewhere(app: App, timezone: str, as_reported: str | None) -> App:
    """The same, cut in another zone; nothing else changes, and history knows the company's zone alone."""
    if as_reported is not None:
        raise KpidError("history is cut in the company's zone", hint="Leave one of --timezone and --as-reported out")
    return replace(app, calendar=replace(app.calendar, timezone=timezone))


def _period_meant(app: App, text: str) -> tuple[str, Period | None]:
    """A kind of period, and the one period that is meant, if it is one. What is none at all, :func:`check_words` refuses."""
    if text == CAMPAIGN_TO_DATE:
        return text, None
    kind = text.removeprefix(_LAST_COMPLETE)
    if kind != text and is_kind(kind):
        return kind, next(iter(last_complete(kind, app.clock.now(), app.calendar)), None)
    if is_kind(text) and not is_fixed(text):
        return text, None
    try:
        found = period_from_label(None, text, app.calendar)
    except ConfigError:
        return text, None
    return found.kind, found


def _range(app: App, kind: str, only: Period | None, start: str | None, end: str | None) -> tuple[datetime, datetime]:
    """From when to when to measure."""
    now = app.clock.now()
    if kind == CAMPAIGN_TO_DATE:  # to the end of yesterday, or of the day before the one that is given
        last = app.calendar.day_of(instant_from_text(end, app.calendar)) if end else app.calendar.day_of(now)
        return app.calendar.midnight(last), app.calendar.midnight(last)
    if only is not None:
        return (only.end - timedelta(microseconds=1) if is_daily(kind) else only.start), only.end
    first = instant_from_text(start, app.calendar) if start else last_complete(kind, now, app.calendar, PERIODS)[0].start
    last = instant_from_text(end, app.calendar) if end else now
    if last <= first:
        raise KpidError(f"--to ({last.isoformat()}) is not after --from ({first.isoformat()})")
    return first, last


def _refuse_beside(**options: object) -> None:
    """Options that make no sense where each campaign has a period of its own."""
    given = next((name for name, value in options.items() if value is not None), None)
    if given is not None:
        name = given.replace("_", "-")
        raise KpidError(
            f"--{name} does not go with {CAMPAIGN_TO_DATE}", hint=f"Leave --{name} out: each campaign starts by itself"
        )


def _then(text: str, calendar: Calendar) -> datetime | None:
    """The instant whose knowledge is wanted (of a day: its end); None for what was reported first."""
    if text == "first":
        return None
    if len(text) == len("2017-12-31"):
        return period_from_label("day", text, calendar).end
    return instant_from_text(text, calendar)


def near_param(kpi: Kpi, param: str) -> str:
    """What to do about a parameter that a KPI does not have: the one that is spelt alike, or why there is none."""
    return kpi.no_param(param) if param == "snap" else near_miss(param, kpi.params, what="It has")


def check_words(app: App, name: str, period: str, dimensions: Sequence[str], params: Mapping[str, str]) -> None:
    """Refuse what is not there, with what was likely meant.

    Raises:
        KpidError: there is no such KPI, kind of period, dimension or parameter.
    """
    kpi = app.plugins.kpis.get(name)
    if kpi is None:
        raise KpidError(f"there is no KPI {name!r}", hint=near_miss(name, app.plugins.kpis, what="`kpid kpis` lists"))
    if not is_kind(period) and period != CAMPAIGN_TO_DATE:
        known = [*(kind.replace("_Nd", "_90d") for kind in KINDS), CAMPAIGN_TO_DATE]
        raise KpidError(f"{period!r} is not a kind of period", hint=near_miss(period, known, what="Use one of"))
    for dimension in dimensions:
        if dimension not in kpi.dimensions:
            hint = near_miss(dimension, kpi.dimensions, what="It can be cut by")
            raise KpidError(f"KPI {name} cannot be cut by {dimension!r}", hint=hint)
    for param, value in params.items():
        if param not in kpi.params and param not in EVERYWHERE:
            raise KpidError(f"KPI {name} has no parameter {param!r}", hint=near_param(kpi, param))
        one = kpi.param(param)
        if one.problem(value):
            hint = near_miss(value, one.choices, what="Use one of") if one.kind == "choice" else one.problem(value)
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


def told(one: Measurement, defaults: Mapping[str, str], calendar: Calendar) -> dict[str, Any]:
    """A measurement as JSON can carry it; bounds in the company's zone."""
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
