"""Single values of HubSpot records. Pure.

HubSpot gives every value as a text, and "no value" as null or an empty text. A text that is no number or no time where one
belongs is passed on as it is: the ingest step stores null, counts it and names an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from kpid.plugin import entities

Record: TypeAlias = Mapping[str, Any]
"""A record as the API gives it."""
Row: TypeAlias = dict[str, Any]
Links: TypeAlias = Mapping[str, str]
"""The most important associated record by its type: ``{"companies": "20551"}``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a pipeline. ``state``: open, won, lost (tickets: open, closed)."""

    id: str
    pipeline: str
    state: str
    probability: Decimal | None


@dataclass(frozen=True, slots=True)
class Place:
    """What the mapping has to know beside the record.

    Args:
        zone: the organisation's zone, for dates.
        currency: for deals that name none.
        stages: of all pipelines of the type, by id.
        fields: the user's own: canonical column or custom name to property.
        source: name of the configured source, which ids that are no references begin with.
        states: what the texts of a state mean by configuration.
        scales: lowest and highest answers by kind of survey.
    """

    zone: ZoneInfo
    currency: str | None = None
    stages: Mapping[str, Stage] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    states: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def text(record: Record, name: str) -> str | None:
    """A property's text; None if it is absent or empty."""
    value = record["properties"].get(name)
    return value if value not in {None, ""} else None


def number(value: str | None) -> Decimal | str | None:
    """A number; a text that is none stays as it is."""
    if value is None:
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return value


@lru_cache(maxsize=10_000)  # one save is told in the history of each property that it changed
def instant(value: str | None, zone: ZoneInfo) -> datetime | str | None:
    """An instant from ISO text, a date (local midnight) or epoch milliseconds; a text that is none stays as it is."""
    if value is None:
        return None
    try:
        if value.lstrip("-").isdigit():
            return datetime.fromtimestamp(int(value) / 1000, UTC)
        parsed = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        return value
    if len(value) == 10:
        parsed = parsed.replace(tzinfo=zone)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)


def local_date(value: datetime | str | None, zone: ZoneInfo) -> date | str | None:
    """The calendar date of an instant where the company is."""
    return value.astimezone(zone).date() if isinstance(value, datetime) else value


def seconds(milliseconds: str | None) -> int | str | None:
    """Whole seconds from milliseconds; a text that is no number stays as it is."""
    value = number(milliseconds)
    return round(value / 1000) if isinstance(value, Decimal) and value.is_finite() else milliseconds


def full_name(*parts: str | None) -> str | None:
    """What is there of a name."""
    return " ".join(part for part in parts if part) or None


def kept(record: Record, place: Place, *, modified: str = "hs_lastmodifieddate") -> Row:
    """What every record has."""
    created = text(record, "createdate") or record.get("createdAt")
    updated = text(record, modified) or record.get("updatedAt")
    return {
        "native_id": str(record["id"]),
        "created_at": instant(created, place.zone),
        "updated_at": instant(updated, place.zone),
    }


def core(record: Record, place: Place, *, modified: str = "hs_lastmodifieddate") -> Row:
    """What every record has that belongs to somebody."""
    return {**kept(record, place, modified=modified), "owner_id": text(record, "hubspot_owner_id")}


def custom(record: Record, place: Place, entity: str) -> Row:
    """The user's own fields: into the column of that name, or under ``extra``."""
    if not place.fields:
        return {}
    columns = entities.ENTITIES[entity].c
    found = {name: text(record, property_) for name, property_ in place.fields.items()}
    row: Row = {name: value for name, value in found.items() if name in columns}
    extra = {name: value for name, value in found.items() if name not in columns}
    return row | ({"extra": extra} if extra else {})
