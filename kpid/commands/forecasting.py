"""``kpid forecast``: what a running period will come to, and how it stands to its target; nothing is written to history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kpid.analysis.comparison import reference
from kpid.analysis.forecast import LEAST, PERIODS, Forecast, forecast
from kpid.analysis.pace import Pace, Progress, Shape, expected_share, pace, shape_of
from kpid.analysis.pace import progress as progress_of
from kpid.analysis.periods import is_daily, is_kind, period_at, period_from_label, previous_period
from kpid.analysis.workdays import WorkCalendar
from kpid.app import App
from kpid.commands.comparing import adds_up, working_days_text
from kpid.commands.measure import check_words, need_of, told
from kpid.commands.plain import number
from kpid.config.definitions import KpiSettings
from kpid.config.times import work_calendars
from kpid.errors import KpidError
from kpid.metrics.aims import aim_of
from kpid.metrics.measure import figures, figures_at
from kpid.metrics.targets import Targets, read_targets
from kpid.model import Dims, Measurement, MeasurementState, Period, SeriesNeed
from kpid.plugin.kpi import Target

_STANDINGS = {"on": "on pace", "watch": "behind", "off": "far behind", "early": "too early to say", "none": ""}


@dataclass(frozen=True)
class _Setting:
    """What the rows of one forecast share."""

    app: App
    need: SeriesNeed
    period: Period
    now: datetime
    work: WorkCalendar
    how_far: Progress
    earlier: tuple[Period, ...]
    last_year: Period | None
    targets: Targets
    settings: KpiSettings


def forecast_kpi(
    app: App,
    *,
    kpi: str,
    period: str = "month",
    by: Sequence[str] = (),
    where: Mapping[str, Sequence[str]] | None = None,
    params: Mapping[str, str] | None = None,
    progress: Any = None,
) -> list[dict[str, Any]]:
    """Forecast a count or sum to the end of its period and judge it against its target; of others, tell the distance to it.

    Args:
        app: everything.
        kpi: its id.
        period: a kind of period (the running one), or one period by its label.
        by: dimensions.
        where: dimension -> ids or names to restrict to.
        params: parameters of the KPI.
        progress: unused; it is two plans.

    Raises:
        KpidError: there is no such KPI, period, dimension or parameter, or nothing can be forecast for such a period.
    """
    now = app.clock.now()
    meant = period_at(period, now, app.calendar) if is_kind(period) else period_from_label(None, period, app.calendar)
    check_words(app, kpi, meant.kind, [*by, *(where or {})], params or {})
    if meant.kind in {"hour", "day"} or is_daily(meant.kind):
        raise KpidError(f"nothing is forecast for a {meant.kind}", hint="Use week, month, quarter, year or their fiscal likes")
    if meant.start > now:
        raise KpidError(f"{meant.label} has not begun yet")
    setting = _setting(app, need_of(kpi, meant.kind, by, where, params), meant, now)
    found = figures_at([setting.need], app.metrics_setup(), [meant], now=now)[0]
    if not adds_up(app, setting.need):
        why = (f"{app.plugins.kpis[kpi].name} does not grow over a period: no pace",)
        return [_told(setting, one, None, None, why) for one in found]
    days = _days(setting)
    return [_row(setting, one, days.get(one.dims, [])) for one in found]


def _setting(app: App, need: SeriesNeed, period: Period, now: datetime) -> _Setting:
    work = work_calendars(app.config)[""]
    earlier, at = [], period
    for _ in range(PERIODS):
        at = previous_period(at, app.calendar)
        earlier.append(at)
    settings = app.kpi_settings().get(need.kpi) or KpiSettings.model_validate({})
    is_seasonal = settings.target_curve == "seasonal"
    setup = app.metrics_setup()
    return _Setting(
        app=app,
        need=need,
        period=period,
        now=now,
        work=work,
        how_far=progress_of(period, now, app.calendar, work),
        earlier=tuple(earlier[::-1]),
        last_year=reference(period, "last_year", app.calendar).period if is_seasonal else None,
        targets=Targets(read_targets(app.warehouse, now), setup.settings, setup.kpis, app.calendar, setup.currency),
        settings=settings,
    )


def _days(setting: _Setting) -> dict[Dims, list[tuple[date, Decimal]]]:
    """What each local day brought, by segment, over the earlier periods and the one before them."""
    before = previous_period(setting.earlier[0], setting.app.calendar)  # tells whether figures had begun by then
    start = min(period.start for period in (before, *([setting.last_year] if setting.last_year else [])))
    need = SeriesNeed(setting.need.kpi, "day", setting.need.by, setting.need.params, setting.need.where)
    found: dict[Dims, list[tuple[date, Decimal]]] = {}
    for one in figures(need, setting.app.metrics_setup(), start=start, end=setting.period.start, now=setting.now):
        if one.value is not None:
            found.setdefault(one.dims, []).append((date.fromisoformat(one.period.label), one.value))
    return found


def _row(setting: _Setting, one: Measurement, days: Sequence[tuple[date, Decimal]]) -> dict[str, Any]:
    app, at = setting.app, setting.how_far.position
    begun = [period for period in setting.earlier if days and app.calendar.day_of(period.start) > days[0][0]]
    shapes = [shape_of(period, days, app.calendar, setting.work) for period in begun]
    shares = [shape.share_at(at) for shape in shapes if shape is not None]
    notes: list[str] = []
    ahead = forecast(one.value, shares) if one.value is not None and setting.now < setting.period.end else None
    if setting.now >= setting.period.end:
        notes.append("the period is over")
    elif ahead is None:
        few = f"{len(shares)} whole earlier periods with figures, {LEAST} needed"
        notes.append(f"no forecast: {few if len(shares) < LEAST else 'too little to go by yet'}")
    elif ahead.coverage * 5 < 4:
        notes.append(f"from {ahead.periods} earlier periods: the interval covers {float(ahead.coverage):.0%}")
    if one.state in {MeasurementState.ERROR, MeasurementState.STALE}:
        notes.append(f"{one.state.value}: {one.reason}")
    return _told(setting, one, ahead, _last_year_shape(setting, days), tuple(notes))


def _last_year_shape(setting: _Setting, days: Sequence[tuple[date, Decimal]]) -> Shape | None:
    if setting.last_year is None:
        return None
    return shape_of(setting.last_year, days, setting.app.calendar, setting.work)


def _told(
    setting: _Setting, one: Measurement, ahead: Forecast | None, last_year: Shape | None, notes: tuple[str, ...]
) -> dict[str, Any]:
    kpi, how_far = setting.app.plugins.kpis[setting.need.kpi], setting.how_far
    flows = adds_up(setting.app, setting.need)
    target, note = _target(setting, one.dims, flows=flows)
    share = expected_share(setting.settings.target_curve, how_far, last_year) if flows else None
    if flows and share is None:
        note = (*note, "last year has no shape to follow: no pace")
    found = pace(one.value, target, share, how_far, kpi.better)
    row = told(one, kpi.params_from({}), setting.app.calendar)
    return {
        **row,
        "progress": f"{working_days_text(how_far.worked)} of {working_days_text(how_far.working_days)} working days",
        "position": float(how_far.position),
        "forecast": number(ahead.value) if ahead else None,
        "forecast_low": number(ahead.low) if ahead else None,
        "forecast_high": number(ahead.high) if ahead else None,
        "forecast_from": ahead.periods if ahead else 0,
        "target": number(target),
        **_paced(found, flows=flows),
        "distance": number(one.value - target) if one.value is not None and target is not None else None,
        "notes": [*row["warnings"], *notes, *note],
    }


def _paced(found: Pace, *, flows: bool) -> dict[str, Any]:
    return {
        "expected": number(found.expected),
        "pace": number(found.pace),
        "projected": number(found.projected),
        "attained": number(found.attained) if flows else None,
        "standing": _STANDINGS[found.standing],
    }


def _target(setting: _Setting, dims: Dims, *, flows: bool) -> tuple[Decimal | None, tuple[str, ...]]:
    """The target of the period: its own, or its part of a longer period's by working days."""
    found = aim_of(
        setting.targets,
        Target(setting.need.kpi, dict(setting.need.params)),
        setting.period,
        dims,
        setting.now,
        work=setting.work if flows else None,
    )
    return found.value, found.notes
