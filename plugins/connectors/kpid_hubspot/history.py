"""The former values of properties as half-open intervals. Pure.

An interval's id is made of record and instant: what HubSpot later leaves out of a long history stays as it was stored, and the
last interval gets its end when the value changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from kpid_hubspot.values import Place, Record, Row, instant, local_date, number

FIELDS: Mapping[str, str] = {
    "amount": "amount",
    "currency": "deal_currency_code",
    "expected_close_date": "closedate",
}
"""Fields of deals whose former values are told, with HubSpot's names. Owners have a table of their own."""
Interval = tuple[datetime, datetime | None, str]
"""From when, until when (None: still), and the value."""


def versions(record: Record, name: str) -> Sequence[Mapping[str, Any]]:
    """The values of a property, newest first."""
    return (record.get("propertiesWithHistory") or {}).get(name) or ()


def intervals(record: Record, name: str, place: Place) -> Iterator[Interval]:
    """When a property had which value; of two values at one instant the newer one counts."""
    held: dict[datetime, str] = {}
    for version in reversed(versions(record, name)):
        at = instant(version.get("timestamp"), place.zone)
        if isinstance(at, datetime):
            held[at] = str(version.get("value") or "")
    starts = sorted(held)
    for start, end in zip(starts, [*starts[1:], None], strict=False):
        yield start, end, held[start]


def row_of(column: str, record: Record, start: datetime, end: datetime | None, suffix: str = "") -> Row:
    """What every row of a history has; ``column`` refers to the record."""
    owner = str(record["id"])
    return {
        "native_id": f"{owner}-{round(start.timestamp() * 1000)}{suffix}",
        column: owner,
        "valid_from": start,
        "valid_to": end,
        "origin": "crm",
        "updated_at": end or start,
    }


def deal_history(record: Record, place: Place) -> dict[str, list[Row]]:
    """The stages that a deal went through, what its fields were when, and whose it was."""
    return {
        "deal_stage_history": [*_stages(record, place)],
        "deal_field_history": [*_fields(record, place)],
        "owner_history": [*_owners(record, place)],
    }


def _stages(record: Record, place: Place) -> Iterator[Row]:
    for start, end, stage in intervals(record, "dealstage", place):
        if stage:
            pipeline = place.stages[stage].pipeline if stage in place.stages else None
            yield {**row_of("deal_id", record, start, end), "stage_id": stage, "pipeline_id": pipeline}


def _fields(record: Record, place: Place) -> Iterator[Row]:
    for field, name in FIELDS.items():
        for start, end, value in intervals(record, name, place):
            yield {
                **row_of("deal_id", record, start, end, f"-{field}"),
                "field": field,
                "value": _text(field, value, place),
            }


def _owners(record: Record, place: Place) -> Iterator[Row]:
    for start, end, owner in intervals(record, "hubspot_owner_id", place):
        row = row_of("object_id", record, start, end, "-deal")
        yield {**row, "object_type": "deals", "object_id": f"{place.source}:{record['id']}", "owner_id": owner or None}


def _text(field: str, value: str, place: Place) -> str | None:
    """A value as histories write it: a decimal with a point, a local date."""
    if not value:
        return None
    if field == "expected_close_date":
        at = local_date(instant(value, place.zone), place.zone)
        return at.isoformat() if isinstance(at, date) else value
    amount = number(value) if field == "amount" else None
    return f"{amount.normalize():f}" if isinstance(amount, Decimal) and amount.is_finite() else value
