"""Single values of Dataverse rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from kpid.plugin import entities

Record: TypeAlias = Mapping[str, Any]
"""A row as the API gives it."""
Row: TypeAlias = dict[str, Any]
LOGICAL = "Microsoft.Dynamics.CRM.lookuplogicalname"
FORMATTED = "OData.Community.Display.V1.FormattedValue"


@dataclass(frozen=True, slots=True)
class Survey:
    """What answers to surveys are: the column of the score, what it is, its scale, the column that says when it was given."""

    score: str = "msfp_npsscore"
    kind: str = "nps"
    scale: tuple[int, int] = (0, 10)
    submitted: str = "msfp_submitdate"


@dataclass(frozen=True, slots=True)
class Place:
    """What the mapping has to know beside the row.

    Args:
        zone: the organisation's zone, for dates.
        currency: for rows that name none.
        currencies: codes by id.
        base: the code of the environment's own currency.
        stages: what stages mean, by id and by name, where the settings say.
        stage_field: where a deal's stage is.
        fields: the user's own: canonical column or custom name to column.
        closed: when closed deals and tickets were closed, by id.
        made: when the deals came to be that leads became, by id.
        rivals: to whom deals were lost, by id.
        replies: when tickets were first replied to, by the id of their service-level KPI.
        people: who responded to campaigns, by id of the response.
        order_states: what the states of orders mean that are not simply placed.
        survey: what answers to surveys are.
        reasons: what reasons for a deal's state are called, where rows do not say.
    """

    zone: ZoneInfo
    currency: str | None = None
    currencies: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None
    stages: Mapping[str, str] = field(default_factory=dict)
    stage_field: str = "process"
    fields: Mapping[str, str] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    rivals: Mapping[str, str] = field(default_factory=dict)
    replies: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    order_states: Mapping[int, str] = field(default_factory=dict)
    survey: Survey = field(default_factory=Survey)
    reasons: Mapping[int, str] = field(default_factory=dict)


def label(record: Record, column: str) -> str | None:
    """The text of a choice, in the language of our user; its number if there is none."""
    told = record.get(f"{column}@{FORMATTED}")
    value = record.get(column)
    return str(told) if told else None if value is None else str(value)


def points_to(record: Record, column: str, *tables: str) -> str | None:
    """The id in a lookup, if it refers to one of these tables."""
    value = record.get(column)
    if value is None or record.get(f"{column}@{LOGICAL}", tables[0]) not in tables:
        return None
    return str(value)


@lru_cache(maxsize=256)
def share(value: Any) -> Decimal | None:
    """A percentage as a share of one."""
    return None if value is None else Decimal(str(value)) / 100


def midnight(day: Any, zone: ZoneInfo) -> Any:
    """A date as the instant at which it begins; what is none stays as it is."""
    if not isinstance(day, str) or len(day) > len("2026-01-31"):
        return day
    try:
        return datetime.combine(date.fromisoformat(day), datetime.min.time(), zone)
    except ValueError:
        return day


def domain(address: str | None) -> str | None:
    """The domain of a web address."""
    if not address:
        return None
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    return host.removeprefix("www.") or None


def core(record: Record, key: str) -> Row:
    """What every row has; of a merged one, where it went."""
    modified = record.get("modifiedon") or record.get("createdon")
    row: Row = {
        "native_id": str(record[key]),
        "created_at": record.get("createdon"),
        "updated_at": modified,
        "owner_id": record.get("_ownerid_value"),
    }
    winner = record.get("_masterid_value")
    if record.get("merged") and winner:
        row |= {"deleted_at": modified, "deleted_reason": "merged", "merged_into_id": str(winner)}
    return row


def custom(record: Record, place: Place, entity: str) -> Row:
    """The user's own columns: into the canonical column of that name, or under ``extra``."""
    if not place.fields:
        return {}
    columns = entities.ENTITIES[entity].c
    found = {name: label(record, column) for name, column in place.fields.items()}
    row: Row = {name: value for name, value in found.items() if name in columns}
    extra = {name: value for name, value in found.items() if name not in columns}
    return row | ({"extra": extra} if extra else {})
