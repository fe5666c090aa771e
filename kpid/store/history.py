"""KPI history: append-only revisions of measurements. The newest revision of a family, segment and period is the current one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Select, Text, delete, func, insert, select, type_coerce

from kpid.model import Dims, Measurement, MeasurementState, Period, Segment, SeriesNeed, segment_key
from kpid.store.tables import families, measurements

WITHDRAWN = "withdrawn"
"""State of a revision that says: this segment has no rows in this period any more."""

_JUDGED = ("state", "value", "numerator", "denominator", "n")
"""What a figure is: if it changes in a finished period, the period is restated."""
_TOLD = ("low", "high", "names", "currency", "reason", "warnings")
"""What people read beside it: a newer margin or newer words make a revision, but restate nothing."""
SpanKey = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of a family: by which definition it is measured, and up to which change of the warehouse."""

    definition: str
    seen_change: int
    measured_at: datetime


@dataclass(frozen=True, slots=True)
class Appended:
    """Revisions written: all, and those of them that replaced another revision of a finished period."""

    revisions: int = 0
    restated: int = 0


@lru_cache(maxsize=65_536)
def family_of(need: SeriesNeed) -> str:
    """The family's id: sha256 of the need's key."""
    return hashlib.sha256(need.key.encode()).hexdigest()


def family(conn: Connection, need: SeriesNeed) -> Family | None:
    """What is known of a need's family; None if it was never measured."""
    row = conn.execute(select(families).where(families.c.family == family_of(need))).one_or_none()
    return None if row is None else Family(row.definition, row.seen_change, row.measured_at)


def families_of(conn: Connection, keys: Collection[str]) -> dict[str, Family]:
    """What is known of several families, by their ids."""
    f = families.c
    found = conn.execute(select(f.family, f.definition, f.seen_change, f.measured_at).where(f.family.in_(keys)))
    return {row.family: Family(row.definition, row.seen_change, row.measured_at) for row in found}


def save_family(conn: Connection, need: SeriesNeed, definition: str, seen_change: int, now: datetime) -> None:
    """Remember by which definition and up to which change a family is measured."""
    key = family_of(need)
    conn.execute(delete(families).where(families.c.family == key))
    values = {"need": need.key, "definition": definition, "seen_change": seen_change, "measured_at": now}
    conn.execute(insert(families).values(family=key, **values))


def append(
    conn: Connection, need: SeriesNeed, found: Sequence[Measurement], *, periods: Iterable[Period], definition: str, now: datetime
) -> Appended:
    """Write what differs from the current revisions.

    Args:
        conn: an open transaction.
        need: the family.
        found: the measurements of ``periods``, each segment and period once.
        periods: all periods that were measured: segments that are current in one of them but not in ``found`` are withdrawn.
        definition: hash of the definition they were made by.
        now: when they were made.
    """
    spans = {(period.start, period.end): period for period in periods}
    if not spans:
        return Appended()
    key, first, last = family_of(need), min(spans)[0], max(start for start, _ in spans)
    was = {(row.segment, row.period_start, row.period_end): row for row in conn.execute(_newest(key, first, last, *_COMPARED))}
    rows, restated = [], 0
    for measurement in found:
        place = (segment_key(measurement.dims), measurement.period.start, measurement.period.end)
        old, row = was.pop(place, None), _row(key, place[0], measurement, definition, now)
        if old is not None and all(getattr(old, name) == row[name] for name in (*_JUDGED, *_TOLD)):
            continue
        restated += old is not None and measurement.period.end <= now and _judgement(old) != _facts(measurement)
        rows.append(row)
    for (segment, start, end), old in was.items():
        if (start, end) in spans and old.state != WITHDRAWN:
            restated += end <= now
            rows.append(_withdrawal(key, segment, old.names, spans[start, end], need, definition, now))
    if rows:
        conn.execute(insert(measurements), rows)
    return Appended(len(rows), restated)


def current(
    conn: Connection, need: SeriesNeed, *, start: datetime | None = None, end: datetime | None = None
) -> list[Measurement]:
    """The newest revision of each segment and period, ordered by period, then segment.

    Args:
        conn: where to read.
        need: the family; its ``periods`` does not matter.
        start: leaves out periods that begin earlier.
        end: leaves out periods that end later.
    """
    statement = _newest(family_of(need), start, None, *measurements.c).where(measurements.c.state != WITHDRAWN)
    if end is not None:
        statement = statement.where(measurements.c.period_end <= end)
    order = (measurements.c.period_start, measurements.c.period_end, measurements.c.segment)
    return [measurement_of(row) for row in conn.execute(statement.order_by(*order))]


def current_of(
    conn: Connection,
    keys: Collection[str],
    *,
    start: datetime,
    end: datetime,
    starts: Collection[datetime] = (),
) -> dict[str, list[Measurement]]:
    """The newest revisions of several families, by their ids; in each ordered by period, then segment.

    Args:
        conn: where to read.
        keys: ids of the families.
        start: leaves out periods that begin earlier.
        end: leaves out periods that end later.
        starts: if given, only periods that begin at one of these instants.
    """
    m = measurements.c
    inside = [m.family.in_(keys), m.period_start >= start, m.period_start < end]
    if starts:
        inside.append(m.period_start.in_(starts))
    newest = select(func.max(m.id)).where(*inside).group_by(m.family, m.period_start, m.segment, m.period_end)
    statement = select(*_plain_columns(conn)).where(m.id.in_(newest), m.state != WITHDRAWN, m.period_end <= end)
    found: dict[str, list[Measurement]] = {}
    reader = _Reader()
    for family, *row in conn.execute(statement.order_by(m.family, m.period_start, m.period_end, m.segment)).all():
        found.setdefault(family, []).append(reader.measurement(*row))
    return found


_READ = (
    "family", "kpi", "period_kind", "period_start", "period_end", "period_label", "state", "value", "n", "segment", "names",
    "params", "numerator", "denominator", "currency", "as_of", "data_through", "reason", "warnings", "low", "high",
)  # fmt: skip
_PARSED = {"names", "params", "warnings"}


def _plain_columns(conn: Connection) -> list[Any]:
    """The columns of a measurement; on SQLite JSON as text, since most of it is the same in many rows."""
    as_text = conn.dialect.name == "sqlite"
    return [type_coerce(measurements.c[name], Text) if as_text and name in _PARSED else measurements.c[name] for name in _READ]


class _Reader:
    """Makes measurements of rows; what rows have in common is made once."""

    def __init__(self) -> None:
        self.periods: dict[tuple[str, datetime, datetime], Period] = {}
        self.dims: dict[tuple[str, str], Dims] = {}
        self.params: dict[str, tuple[tuple[str, str], ...]] = {}
        self.warnings: dict[str, tuple[str, ...]] = {}

    def measurement(
        self,
        kpi: str,
        kind: str,
        start: datetime,
        end: datetime,
        label: str,
        state: str,
        value: Decimal | None,
        n: int,
        segment: str,
        names: Any,
        params: Any,
        numerator: Decimal | None,
        denominator: Decimal | None,
        currency: str | None,
        as_of: datetime,
        data_through: datetime | None,
        reason: str,
        warnings: Any,
        low: Decimal | None,
        high: Decimal | None,
    ) -> Measurement:
        """A row of ``measurements`` as the value that it was written from."""
        period = self.periods.get((kind, start, end))
        if period is None:
            period = self.periods[kind, start, end] = Period(kind, start, end, label)
        dims = self.dims.get((segment, names)) if isinstance(names, str) else None
        if dims is None:
            dims = _dims(segment, _parsed(names))
            if isinstance(names, str):
                dims = self.dims.setdefault((segment, names), dims)
        return Measurement(
            kpi,
            period,
            _STATES[state],
            value,
            n,
            dims,
            self._shared(self.params, params, lambda found: tuple(sorted(found.items()))),
            numerator,
            denominator,
            currency,
            as_of,
            data_through,
            reason,
            self._shared(self.warnings, warnings, tuple),
            low,
            high,
        )

    @staticmethod
    def _shared(known: dict[str, Any], text: Any, make: Callable[[Any], Any]) -> Any:
        if not isinstance(text, str):
            return make(text)
        if text not in known:
            known[text] = make(json.loads(text))
        return known[text]


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


_STATES = {state.value: state for state in MeasurementState}


def newest_figures(conn: Connection, keys: Collection[str], *, start: datetime, end: datetime) -> dict[str, datetime]:
    """When any figure of periods within ``[start, end)`` was last written, by family."""
    m = measurements.c
    within = (m.family.in_(keys), m.period_start >= start, m.period_start < end, m.period_end <= end)
    rows = conn.execute(select(m.family, func.max(m.computed_at)).where(*within).group_by(m.family))
    return {row[0]: row[1] for row in rows}


def measured_periods(conn: Connection, need: SeriesNeed) -> dict[SpanKey, tuple[Period, frozenset[str]]]:
    """The periods in history, each with the states of its current revisions."""
    m = measurements.c
    found: dict[SpanKey, tuple[Period, frozenset[str]]] = {}
    columns = (m.period_kind, m.period_start, m.period_end, m.period_label, m.state)
    for kind, start, end, label, state in conn.execute(_newest(family_of(need), None, None, *columns).distinct()):
        _, states = found.get((start, end), (None, frozenset[str]()))
        found[start, end] = (Period(kind, start, end, label), states | {state})
    return found


def _newest(key: str, first: datetime | None, last: datetime | None, *columns: Any) -> Select[Any]:
    m = measurements.c
    inside = [m.family == key]
    if first is not None:
        inside.append(m.period_start >= first)
    if last is not None:
        inside.append(m.period_start <= last)
    newest = select(func.max(m.id)).where(*inside).group_by(m.period_start, m.segment, m.period_end)
    return select(*columns).where(m.id.in_(newest))


_COMPARED = tuple(measurements.c[name] for name in ("segment", "period_start", "period_end", *_JUDGED, *_TOLD))


def _facts(measurement: Measurement) -> tuple[Any, ...]:
    return measurement.state.value, measurement.value, measurement.numerator, measurement.denominator, measurement.n


def _judgement(row: Row[Any]) -> tuple[Any, ...]:
    return row.state, row.value, row.numerator, row.denominator, row.n


def _row(key: str, segment: str, measurement: Measurement, definition: str, now: datetime) -> dict[str, Any]:
    period = measurement.period
    return {
        "family": key,
        "segment": segment,
        "period_kind": period.kind,
        "period_start": period.start,
        "period_end": period.end,
        "period_label": period.label,
        "kpi": measurement.kpi,
        "params": dict(measurement.params),
        "names": {part.dimension: part.name for part in measurement.dims},
        **dict(zip(_JUDGED, _facts(measurement), strict=True)),
        "low": measurement.low,
        "high": measurement.high,
        "currency": measurement.currency,
        "reason": measurement.reason,
        "warnings": list(measurement.warnings),
        "as_of": measurement.as_of or now,
        "data_through": measurement.data_through,
        "definition": definition,
        "computed_at": now,
    }


def _withdrawal(
    key: str, segment: str, names: Mapping[str, str], period: Period, need: SeriesNeed, definition: str, now: datetime
) -> dict[str, Any]:
    empty = Measurement(need.kpi, period, MeasurementState.UNDEFINED, None, 0, params=need.params, as_of=min(period.end, now))
    return {**_row(key, segment, empty, definition, now), "state": WITHDRAWN, "names": names, "reason": "no rows any more"}


def measurement_of(row: Row[Any]) -> Measurement:
    """A row of ``measurements`` as the value that it was written from."""
    return Measurement(
        kpi=row.kpi,
        period=Period(row.period_kind, row.period_start, row.period_end, row.period_label),
        state=MeasurementState(row.state),
        value=row.value,
        n=row.n,
        dims=_dims(row.segment, row.names),
        params=tuple(sorted(row.params.items())),
        numerator=row.numerator,
        denominator=row.denominator,
        currency=row.currency,
        as_of=row.as_of,
        data_through=row.data_through,
        reason=row.reason,
        warnings=tuple(row.warnings),
        low=row.low,
        high=row.high,
    )


def _dims(segment: str, names: Mapping[str, str | None]) -> Dims:
    return tuple(Segment(name, value, names.get(name)) for name, value in sorted(json.loads(segment).items()))
