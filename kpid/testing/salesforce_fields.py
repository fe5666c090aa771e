"""What the fake's objects are made of: ids, fields that show values of the neutral CRM, and how values are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from kpid.testing.crm import Crm, Record

Field: TypeAlias = Callable[[Record, Crm], Any]

PREFIX = {
    "users": "005", "accounts": "001", "contacts": "003", "leads": "00Q", "deals": "006", "calls": "00TC", "emails": "00TE",
    "tasks": "00TT", "meetings": "00U", "tickets": "500", "products": "01t", "lines": "00k", "orders": "801", "campaigns": "701",
    "members": "00v", "surveys": "0Qo", "comments": "00a", "voice_calls": "0LQ",
    "contracts": "800", "invites": "0Ki", "influences": "02a", "invitations": "0RE",
}  # fmt: skip


def sf_id(kind: str, number: int) -> str:
    """The 18 characters of an id; stages have names instead."""
    if kind == "stages":
        return f"Stage {number}"
    short = PREFIX[kind] + "KP"
    short += f"{number:0{15 - len(short)}d}"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    return short + "".join(
        letters[sum(1 << bit for bit, letter in enumerate(short[start : start + 5]) if letter.isupper())] for start in (0, 5, 10)
    )


@dataclass(frozen=True, slots=True)
class SObject:
    """An object: the kinds of the neutral CRM that it is made of, and its fields."""

    kinds: tuple[str, ...]
    fields: Mapping[str, Field]
    derived: Callable[[Record], list[Record]] | None = None
    """Its records are made of records of the kind."""
    parent: str = "Id"
    """The field that names the record of the kind."""


def value(name: str, default: Any = None) -> Field:
    """A value of the neutral CRM."""
    return lambda record, _: default if (found := record.values.get(name)) is None else found


def either(name: str, told: str, default: Any = None) -> Field:
    """A value of the neutral CRM, or what a test has put in by the name of the vendor."""
    return lambda record, _: record.values.get(name, record.values.get(told, default))


def percent(record: Record, _: Crm) -> Any:
    """The probability, as Salesforce writes it."""
    odds = record.values.get("probability")
    return None if odds is None else odds * 100


COMMON: Mapping[str, Field] = {
    "Id": lambda record, _: record.id,
    "CreatedDate": lambda record, _: record.created,
    "LastModifiedDate": lambda record, _: record.modified,
    "SystemModstamp": lambda record, _: record.modified,
    "IsDeleted": lambda record, _: record.deleted_at is not None,
}
"""Fields that every object has."""


def field_type(name: str) -> str:
    """What the description of an object says of a field's type."""
    if name.startswith("Is") or name in {"HasOptedOutOfEmail", "Incoming"}:
        return "boolean"
    if name in {"SortOrder", "CallDurationInSeconds"}:
        return "int"
    if name in {"Quantity", "UnitPrice", "TotalPrice", "Discount", "TotalAmount", "ActualCost", "ConversionRate"}:
        return "double"
    shares = dict.fromkeys(("Probability", "DefaultProbability", "Influence"), "percent")
    return {"Amount": "currency", "QuotaAmount": "currency", **shares}.get(name, "string")


def shown_value(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}+0000"
        case date():
            return value.isoformat()
        case Decimal():
            return float(value)
    return value
