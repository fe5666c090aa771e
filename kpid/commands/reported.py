"""What was reported at an earlier time, and what has changed since: ``kpid measure --as-reported`` and ``kpid restated``."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kpid.app import App
from kpid.commands.plain import number, plain
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.model import Measurement, SeriesNeed, segment_label
from kpid.store import revisions
from kpid.store.revisions import SHARE, UNITS, Restated

DAYS = 35


def reported(app: App, need: SeriesNeed, *, start: datetime, end: datetime, then: datetime | None) -> list[Measurement]:
    """The figures as history had them at an instant (None: as first settled); each says when it was computed.

    Raises:
        KpidError: history does not keep this KPI, period and cut.
    """
    with app.store.read() as conn:
        if not revisions.is_kept(conn, need):
            hint = "History keeps what rules and reports use: exactly this KPI, period, --by, --where and --param"
            raise KpidError(f"{need.kpi} per {need.period} is not kept in history", hint=hint)
        found = revisions.as_reported(conn, need, start=start, end=end, then=then)
    return [_marked(app, one) for one in found]


def _marked(app: App, one: revisions.Reported) -> Measurement:
    at = one.at.astimezone(app.calendar.zone)
    marks = [f"as reported {at:%Y-%m-%d %H:%M}", *(["restated since"] if one.replaced else [])]
    return replace(one.measurement, warnings=(*one.measurement.warnings, *marks))


def list_restated(
    app: App, *, kpi: str | None = None, days: int = DAYS, tolerance: str = str(SHARE), units: str = str(UNITS)
) -> list[dict[str, Any]]:
    """Figures of finished periods that have changed since they were first told, the latest change first.

    Args:
        app: everything.
        kpi: only of this KPI.
        days: changed within so many days before now.
        tolerance: changes up to this share of the first value are left out.
        units: so are changes of counts and amounts up to so many units.

    Raises:
        KpidError: there is no such KPI.
    """
    if kpi is not None and kpi not in app.plugins.kpis:
        raise KpidError(f"there is no KPI {kpi!r}", hint=near_miss(kpi, app.plugins.kpis, what="`kpid kpis` lists"))
    since = app.clock.now() - timedelta(days=days)
    with app.store.read() as conn:
        found = revisions.restatements(conn, since=since, kpi=kpi)
    return [_told(one) for one in revisions.material(found, share=Decimal(tolerance), units=Decimal(units))]


def _told(one: Restated) -> dict[str, Any]:
    change = one.change
    relative = change / abs(one.first.value) if change is not None and one.first.value else None
    return {
        "kpi": one.kpi,
        "params": dict(one.params),
        "segment": segment_label(one.dims),
        "dims": {part.dimension: {"id": part.id, "name": part.name or part.id} for part in one.dims},
        "period": one.period.label,
        "from": number(one.first.value),
        "to": number(one.newest.value) if one.newest else None,
        "state": one.newest.state.value if one.newest else "no rows any more",
        "change": number(change),
        "relative_change": number(relative),
        "told_at": plain(one.told_at),
        "changed_at": plain(one.changed_at),
        "revisions": one.revisions,
        "because": "definition" if one.by_definition else "data",
    }
