"""What a deal's detail view tells of its past: amounts and expected closings as intervals. Pure.

The server writes down every change of a field, with the value before, but shows only those of fields that are no references:
neither stages nor owners (of these the names). A field that was never changed has no history here.
"""

from __future__ import annotations

from typing import Any

from kpid.plugin import dig
from kpid_easyerp.endpoints import Record
from kpid_easyerp.values import Place, Row, local_date, money, text

FIELDS = {"amount": "expectedRevenue", "expected_close_date": "Close Date"}


def changes_of(record: Record, name: str) -> list[Record]:
    """What a detail view tells of a field's changes, oldest first."""
    notes = record.get("notes")
    found = [dig(note, "history") for note in notes if isinstance(note, dict)] if isinstance(notes, list) else []
    changes = [one for one in found if isinstance(one, dict) and one.get("changedField") == name and one.get("date")]
    return sorted(changes, key=lambda one: str(one["date"]))


def field_rows(record: Record, place: Place) -> list[Row]:
    """The intervals of a deal's fields; before the first change the value is what that change replaced, if it was any."""
    rows: list[Row] = []
    for name, told in FIELDS.items():
        changes = [one for one in changes_of(record, told) if "newValue" in one]
        steps = [(str(one["date"]), _text(name, one["newValue"], place)) for one in changes]
        created = text(record, "createdBy.date")
        if changes and created is not None and (first := _text(name, changes[0].get("prevValue"), place)) is not None:
            steps.insert(0, (created, first))
        for number, (start, value) in enumerate(steps):
            end = steps[number + 1][0] if number + 1 < len(steps) else None
            rows.append(
                {
                    "native_id": f"{record['_id']}-{name}-{start}",
                    "deal_id": str(record["_id"]),
                    "field": name,
                    "value": value,
                    "valid_from": start,
                    "valid_to": end,
                    "origin": "crm",
                    "updated_at": end or start,
                }
            )
    return rows


def _text(name: str, value: Any, place: Place) -> str | None:
    if value is None or value == "":
        return None
    return str(local_date(str(value), place.zone) if name == "expected_close_date" else money(value))
