"""Single values of Salesforce records. Pure.

Instants are handed on as the texts they come as; dates that stand for an instant become local midnight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from kpid.plugin import dig, entities

Record: TypeAlias = Mapping[str, Any]
"""A record as the API gives it."""
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What the mapping has to know beside the record.

    Args:
        zone: the organisation's zone, for dates.
        currency: for organisations with a single one.
        states: what stages mean, where the configuration says it.
        fields: the user's own: canonical column or custom name to field.
        by_record_type: each record type of deals is a pipeline.
    """

    zone: ZoneInfo
    currency: str | None = None
    states: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    by_record_type: bool = False


PIPELINE = "sales"
"""The pipeline of deals without a record type; of all, unless record types are pipelines."""


def pipeline_of(record_type: Any, *, by_record_type: bool) -> str:
    """The pipeline that a deal is in."""
    return str(record_type) if by_record_type and record_type else PIPELINE


def stage_in(pipeline: str, stage: Any) -> Any:
    """The id of a stage, of which every pipeline has its own."""
    return stage if stage is None or pipeline == PIPELINE else f"{pipeline}-{stage}"


def core(record: Record) -> Row:
    """What every record has."""
    created = record.get("CreatedDate")
    return {"native_id": record["Id"], "created_at": created, "updated_at": record.get("SystemModstamp") or created}


def midnight(day: Any, zone: ZoneInfo) -> Any:
    """The first instant of a day where the company is, as text; what is no day stays as it is."""
    if not isinstance(day, str):
        return day
    try:
        return datetime.combine(date.fromisoformat(day), time(), zone).isoformat()
    except ValueError:
        return day


def day_after(day: Any) -> Any:
    """The end of a span that is told by its last day, which is a whole one; what is no day stays as it is."""
    try:
        return (date.fromisoformat(day) + timedelta(days=1)).isoformat() if isinstance(day, str) else day
    except ValueError:
        return day


def instant_key(text: Any) -> tuple[bool, str]:
    """Sorts instants that come as texts, whether Bulk or a query wrote them."""
    return text is None, str(text).replace("Z", "+0000")


def share(percent: Any) -> Any:
    """Percent as a part of one; what is no number stays as it is."""
    return Decimal(percent) / 100 if isinstance(percent, int | Decimal) else percent


def custom(record: Record, place: Place, entity: str) -> Row:
    """The user's own fields: into the column of that name, or under ``extra``."""
    if not place.fields:
        return {}
    columns = entities.ENTITIES[entity].c
    found = {name: dig(record, field) for name, field in place.fields.items()}
    row: Row = {name: value for name, value in found.items() if name in columns}
    extra = {name: value for name, value in found.items() if name not in columns}
    return row | ({"extra": extra} if extra else {})
