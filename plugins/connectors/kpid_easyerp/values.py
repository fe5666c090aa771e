"""Values of EasyERP's documents: texts, references, amounts, dates, and what rows are made with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import dig, entities
from kpid_easyerp.endpoints import Record, edited

Row = dict[str, Any]

CENTS = Decimal(100)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of deals or leads."""

    name: str
    status: str
    state: str


@dataclass(frozen=True, slots=True)
class Place:
    """What rows are made with.

    Args:
        zone: where people enter dates.
        currency: of amounts that name none.
        stages: by id.
        symbols: ISO codes of currencies by symbol.
        fields: the company's own columns, with where their values stand.
    """

    zone: ZoneInfo
    currency: str | None = None
    stages: Mapping[str, Stage] = field(default_factory=dict)
    symbols: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


def text(record: Record, path: str) -> str | None:
    """A text that is there and not empty."""
    return plain(dig(record, path) if "." in path else record.get(path))


def plain(value: Any) -> str | None:
    """A value as a text, if it is one that is not empty."""
    if type(value) is str:
        return value.strip() or None
    return None if value is None or isinstance(value, bool) else str(value)


def within(value: Any, name: str) -> Any:
    """What a document within a record has under a name; None if there is no such document."""
    return value.get(name) if type(value) is dict else None


def ident(value: Any) -> str | None:
    """The id of a reference, which is an id, a whole document, or nothing."""
    found = value.get("_id") if type(value) is dict else value
    return found if type(found) is str and found else None


def person_name(value: Any) -> str | None:
    """A name in two parts, or in one."""
    if isinstance(value, dict):
        value = " ".join(
            part.strip() for part in (value.get("first"), value.get("last")) if isinstance(part, str) and part.strip()
        )
    return value.strip() or None if isinstance(value, str) else None


def money(value: Any, *, cents: bool = False) -> Decimal | str | None:
    """An amount; of papers in hundredths. What is none stays as it is, to be seen."""
    if value is None or value == "":
        return None
    try:
        amount = value if type(value) is Decimal else Decimal(str(value))
    except ArithmeticError:
        return str(value)
    return amount / CENTS if cents else amount


def local_date(value: str | None, zone: ZoneInfo) -> Any:
    """The day that was meant by an instant: dates are kept as midnight of the place where they were entered."""
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value).astimezone(zone).date()
    except ValueError:
        return value


def core(record: Record) -> Row:
    """What every record has."""
    created = plain(within(record.get("createdBy"), "date")) or plain(record.get("creationDate"))
    return {"native_id": str(record["_id"]), "created_at": created, "updated_at": edited(record) or created}


def own(record: Record, place: Place, entity: str) -> Row:
    """The company's own columns: into the column of that name, or under ``extra``."""
    if not place.fields:
        return {}
    columns = entities.ENTITIES[entity].c
    found = {name: text(record, path) for name, path in place.fields.items()}
    row: Row = {name: value for name, value in found.items() if name in columns}
    extra = {name: value for name, value in found.items() if name not in columns}
    return row | ({"extra": extra} if extra else {})
