"""What a report says, as frozen data: the one snapshot that every output of a run is rendered from.

Values only, no formatting but the sentences; JSON both ways, so that a run can be rendered again at any time.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from types import UnionType
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from kpid.errors import KpidError
from kpid.model import Period

Status: TypeAlias = Literal["off", "watch", "on", "none", "unjudged"]
"""Against its target: missed, just missed, met; no target; not to be judged."""

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Point:
    """One period of a series. ``value`` is None where there is nothing that can be trusted."""

    label: str
    value: Decimal | None


@dataclass(frozen=True, slots=True)
class KpiLine:
    """One KPI in the reported period.

    ``value`` is kept even when it is not judged; ``state`` and ``reason`` say why. ``run`` counts the periods in a row, this one
    included, that missed the target. ``low_sample`` is the sample size that would have been needed, or 0; ``sample`` is what the
    ``n`` rows are called. ``low`` and ``high`` are the 95 % interval of ``value``, where there is one.
    """

    id: str
    name: str
    unit: str
    currency: str | None
    better: str
    definition: str
    status: Status
    state: str
    reason: str
    value: Decimal | None
    previous: Decimal | None
    target: Decimal | None
    n: int
    numerator: Decimal | None
    denominator: Decimal | None
    low_sample: int
    run: int
    series: tuple[Point, ...]
    warnings: tuple[str, ...] = ()
    sample: str = "records"
    low: Decimal | None = None
    high: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """What one segment contributed, rounded so that the printed parts add up to the printed change.

    ``new`` and ``old`` are its own figures: numerator and denominator, or one value.
    """

    segment: str
    effect: Decimal
    new: tuple[Decimal, ...]
    old: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Drivers:
    """Which segments moved a KPI since the period before."""

    kpi: str
    dimension: str
    change: Decimal
    rows: tuple[Driver, ...]


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far a source's data reaches. ``through`` None: never synced."""

    source: str
    through: datetime | None
    stale: bool


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Everything a report says. ``template`` is the stem of its templates; KPIs come with the exceptions first."""

    name: str
    template: str
    title: str
    company: str
    currency: str
    timezone: str
    week_start: str
    period: Period
    sent: datetime
    headline: str
    lead: tuple[str, ...]
    kpis: tuple[KpiLine, ...]
    drivers: Drivers | None
    missing: tuple[str, ...]
    freshness: tuple[Freshness, ...]
    alerts_open: int
    alerts: tuple[str, ...]
    late_note: str
    schema: int = SCHEMA
    pinned: str = ""
    population: str = ""


def context_to_json(context: ReportContext) -> str:
    """A context as JSON text; decimals and instants as text, so that they come back exactly."""
    return json.dumps(_plain(context), ensure_ascii=False, indent=1)


def context_from_json(text: str) -> ReportContext:
    """The context that ``context_to_json`` wrote.

    Raises:
        KpidError: written by a later version of kpid, or not a context.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise KpidError("this is not a report context of this version of kpid", hint="Publish the report again")
    try:
        context = _typed(ReportContext, data)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise KpidError(f"the report context is damaged: {error}", hint="Publish the report again") from None
    if not isinstance(context, ReportContext):  # pragma: no cover - what _typed returns for a dataclass
        raise KpidError("the report context is damaged")
    return context


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _typed(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        return tuple(_typed(get_args(kind)[0], item) for item in value)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        known = [field.name for field in fields(kind) if field.name in value or field.default is MISSING]
        return kind(**{name: _typed(hints[name], value[name]) for name in known})  # what is newer than the text has its default
    if kind is datetime:
        return datetime.fromisoformat(value)
    return Decimal(value) if kind is Decimal else value
