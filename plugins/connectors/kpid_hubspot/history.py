"""The former values of properties as half-open intervals. Pure.

An interval's id is made of record and instant: what HubSpot later leaves out of a long history stays as it was stored, and the
last interval gets its end when the value changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kpid_hubspot.values import Place, Record, Row, instant

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


def stage_rows(record: Record, place: Place) -> list[Row]:
    """The stages that a deal went through."""
    return [
        {
            **_row("deal_id", record, start, end),
            "stage_id": stage,
            "pipeline_id": place.stages[stage].pipeline if stage in place.stages else None,
        }
        for start, end, stage in intervals(record, "dealstage", place)
        if stage
    ]


def _row(column: str, record: Record, start: datetime, end: datetime | None) -> Row:
    owner = str(record["id"])
    return {
        "native_id": f"{owner}-{round(start.timestamp() * 1000)}",
        column: owner,
        "valid_from": start,
        "valid_to": end,
        "origin": "crm",
        "updated_at": end or start,
    }
