"""What history said at an earlier time, and which figures of finished periods have changed since they were first told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from kpid.model import Dims, Measurement, MeasurementState, Period, SeriesNeed
from kpid.store.history import WITHDRAWN, family_of, measurement_of
from kpid.store.tables import families, measurements

_UNSETTLED = tuple(state.value for state in (MeasurementState.INCOMPLETE, MeasurementState.STALE, MeasurementState.ERROR))


SHARE, UNITS = Decimal("0.01"), Decimal(1)
"""Changes up to 1 % of a figure, or up to one unit, are left alone."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A figure as it was reported: when it was computed, and how often it has been replaced since."""

    measurement: Measurement
    at: datetime
    replaced: int


@dataclass(frozen=True, slots=True)
class Restated:
    """A figure of a finished period that has changed since it was first told as settled."""

    kpi: str
    params: tuple[tuple[str, str], ...]
    dims: Dims
    period: Period
    first: Measurement
    newest: Measurement | None
    """None: the segment has no rows in this period any more."""
    told_at: datetime
    changed_at: datetime
    revisions: int
    by_definition: bool
    """The figure is measured otherwise now: not the data changed, or not the data alone."""

    @property
    def change(self) -> Decimal | None:
        """Newest less first; None where one of them has no value."""
        old, new = self.first.value, self.newest.value if self.newest else None
        return None if old is None or new is None else new - old


def is_kept(conn: Connection, need: SeriesNeed) -> bool:
    """Whether history has ever measured this family."""
    return conn.execute(select(families.c.family).where(families.c.family == family_of(need))).first() is not None


def as_reported(conn: Connection, need: SeriesNeed, *, start: datetime, end: datetime, then: datetime | None) -> list[Reported]:
    """What history said of the periods that end in ``(start, end]``, by period, then segment.

    Args:
        conn: where to read.
        need: the family; its ``periods`` does not matter.
        start: periods that end later.
        end: periods that end no later.
        then: the instant whose knowledge is wanted; None: the first figure that was settled.
    """
    m = measurements.c
    rows = conn.execute(
        select(measurements)
        .where(m.family == family_of(need), m.period_end > start, m.period_end <= end)
        .order_by(m.period_start, m.period_end, m.segment, m.id)
    )
    found = []
    for _, revisions in groupby(rows, key=_place):
        every = list(revisions)
        known = [row for row in every if row.computed_at <= then] if then else [row for row in every if _is_settled(row)][:1]
        if known and known[-1].state != WITHDRAWN:
            told = known[-1]
            found.append(Reported(measurement_of(told), told.computed_at, sum(row.id > told.id for row in every)))
    return found


def restatements(conn: Connection, *, since: datetime | None = None, kpi: str | None = None) -> list[Restated]:
    """Figures of finished periods that differ from the first settled ones, the latest change first.

    Args:
        conn: where to read.
        since: only those that changed at or after this instant.
        kpi: only of this KPI.
    """
    m = measurements.c
    settled = [m.computed_at >= m.period_end, m.state.not_in(_UNSETTLED)]
    keys = [m.family, m.segment, m.period_start, m.period_end]
    changed = select(*keys).where(*settled, *([m.kpi == kpi] if kpi else [])).group_by(*keys).having(func.count() > 1)
    if since is not None:
        changed = changed.having(func.max(m.computed_at) >= since)
    wanted = changed.subquery()
    same = and_(*(measurements.c[key.name] == wanted.c[key.name] for key in keys))
    rows = conn.execute(select(measurements).join(wanted, same).where(*settled).order_by(*keys, m.id))
    found = [one for _, revisions in groupby(rows, key=_place) if (one := _restated(list(revisions))) is not None]
    return sorted(found, key=lambda one: (one.changed_at, one.period.start, one.kpi), reverse=True)


def is_material(first: Measurement, newest: Measurement | None, *, share: Decimal = SHARE, units: Decimal = UNITS) -> bool:
    """Whether a figure changed by more than a share of its first value and by more than so many units (of counts and amounts).

    A value that came or went matters always.
    """
    old, new = first.value, newest.value if newest is not None else None
    if old is None or new is None:
        return (old is None) != (new is None)
    return abs(new - old) > abs(old) * share and (first.denominator is not None or abs(new - old) > units)


def material(found: Iterable[Restated], *, share: Decimal = SHARE, units: Decimal = UNITS) -> list[Restated]:
    """Those that matter, as :func:`is_material` says."""
    return [one for one in found if is_material(one.first, one.newest, share=share, units=units)]


def _restated(revisions: Sequence[Row[Any]]) -> Restated | None:
    first, last = revisions[0], revisions[-1]
    if first.state == WITHDRAWN:
        return None
    told, newest = measurement_of(first), None if last.state == WITHDRAWN else measurement_of(last)
    if newest is not None and _same(told, newest):
        return None
    changes = [row.computed_at for row, before in zip(revisions[1:], revisions, strict=False) if _figure(row) != _figure(before)]
    return Restated(
        kpi=told.kpi,
        params=told.params,
        dims=(newest or told).dims,
        period=told.period,
        first=told,
        newest=newest,
        told_at=first.computed_at,
        changed_at=changes[-1],
        revisions=len(changes),
        by_definition=first.definition != last.definition,
    )


def _same(one: Measurement, other: Measurement) -> bool:
    return replace(one, **_WORDS) == replace(other, **_WORDS)


_WORDS: dict[str, Any] = {
    "dims": (), "reason": "", "warnings": (), "as_of": None, "data_through": None, "low": None, "high": None, "currency": None,
}  # fmt: skip
"""What people read beside a figure: if it alone changes, nothing is restated."""


def _figure(row: Row[Any]) -> tuple[object, ...]:
    return row.state, row.value, row.numerator, row.denominator, row.n


def _place(row: Row[Any]) -> tuple[object, ...]:
    return row.family, row.segment, row.period_start, row.period_end


def _is_settled(row: Row[Any]) -> bool:
    return bool(row.computed_at >= row.period_end) and row.state not in _UNSETTLED
