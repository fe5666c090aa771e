"""From rows of weavy's tables to canonical rows. Contacts nobody, but for codes that have not been read yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from kpid.plugin import entities
from kpid_divalto_weavy.codes import Codes
from kpid_divalto_weavy.endpoints import Record
from kpid_divalto_weavy.tables import TABLES, Form, code_of

Row: TypeAlias = dict[str, Any]

NO_DATE = "0001-"
"""Some servers write an absent time as the first one that they know."""
_HUNDRED = Decimal(100)
_TYPES: Mapping[str, Form] = {"DATETIME": "instant", "DATE": "date", "TEXT": "text"}


@dataclass(frozen=True, slots=True)
class Place:
    """What the mapping has to know beside the record.

    Args:
        table: the vendor's name.
        natives: the native field of each column.
        plan: what to make of each record; see :func:`planned`.
        codes: what codes mean.
        zone: the organisation's zone, for days without a time.
        server_zone: of times that name none.
        currency: of all amounts: weavy states none.
        warnings: what a person should know, collected here.
    """

    table: str
    natives: Mapping[str, str]
    plan: Sequence[tuple[str, str, Form, bool]]
    codes: Codes
    zone: ZoneInfo
    server_zone: ZoneInfo
    currency: str | None = None
    warnings: dict[str, None] = field(default_factory=dict)


def row_of(entity: str, record: Record, place: Place) -> Row:
    """A record as a row of ``entity``."""
    row, extra, get = Row(), Row(), record.get
    for name, native, form, is_column in place.plan:
        value = get(native)
        if value is not None:
            value = None if value == "" else _value(value, form, place)
        if is_column:
            row[name] = value
        elif value is not None:
            extra[name] = str(value) if isinstance(value, Decimal) else value
    row["native_id"] = str(record[code_of(place.table)])
    row["updated_at"] = changed_at(record, place.server_zone) or row.get("created_at")
    if extra:
        row["extra"] = extra
    if is_deleted(record):
        row |= {"deleted_at": row["updated_at"], "deleted_reason": "deleted"}
    return _FINISH.get(entity, _finished)(row, place)


def planned(entity: str, natives: Mapping[str, str]) -> list[tuple[str, str, Form, bool]]:
    """Each column, its native field, how its value is written, and whether it is a canonical one; found out once a read."""
    columns = entities.ENTITIES[entity].c
    return [(name, native, form_of(entity, name), name in columns) for name, native in natives.items()]


def form_of(entity: str, column: str) -> Form:
    """How a column's value is written: of our own columns as the table says, of others by their type."""
    known = TABLES[entity].fields.get(column)
    if known is not None:
        return known.form
    columns = entities.ENTITIES[entity].c
    return _TYPES.get(str(columns[column].type), "raw") if column in columns else "raw"


def changed_at(record: Record, server_zone: ZoneInfo) -> str | datetime | None:
    """When a record last changed: exact if the server tells it in UTC."""
    told = record.get("srvDateUTC")
    return instant(told, ZoneInfo("UTC"), ZoneInfo("UTC")) if told else instant(record.get("srvDate"), server_zone, server_zone)


def is_deleted(record: Record) -> bool:
    """Whether a row says itself that it is deleted."""
    return record.get("srvAttrib") not in {None, 0, "0", ""}


def instant(value: Any, server_zone: ZoneInfo, zone: ZoneInfo) -> str | datetime | None:
    """An instant from a time without a zone, or a day (its midnight in ``zone``); a text that is none stays as it is."""
    if value is None or value == "" or str(value).startswith(NO_DATE):
        return None
    text = str(value)
    if len(text) == 19 and server_zone.key == "UTC":
        return f"{text[:10]}T{text[11:]}Z"
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        return text
    here = zone if len(text) == 10 else server_zone
    return (told if told.tzinfo else told.replace(tzinfo=here)).astimezone(UTC)


def _value(value: Any, form: Form, place: Place) -> Any:
    match form:
        case "text":
            value = str(value)
        case "label":
            value = place.codes.label(str(value))
        case "instant":
            value = instant(value, place.server_zone, place.zone)
        case "date":
            value = None if str(value).startswith(NO_DATE) else str(value)[:10]
        case "percent" if isinstance(value, int | Decimal):
            value = Decimal(value) / _HUNDRED
    return value


def _finished(row: Row, place: Place) -> Row:
    return row


def _account(row: Row, place: Place) -> Row:
    row["lifecycle"] = place.codes.meaning("customer_types", row.get("lifecycle"))
    return row


def _deal(row: Row, place: Place) -> Row:
    status = row.get("state")
    state = place.codes.deal_state(status, row.get("stage_id"))
    if state is None and status is not None:
        label = place.codes.label(status)
        named = status if label == status else f"{status} ({label})"
        place.warnings[f"deals have the status {named}, which `states` does not name: they count as open"] = None
    row["state"] = state or "open"
    if row["state"] == "open":
        row["closed_at"] = None
    if row["state"] != "lost":
        row["loss_reason"] = None
    row["currency"] = row.get("currency") or place.currency
    return row


def _ticket(row: Row, place: Place) -> Row:
    state = place.codes.meaning("ticket_states", row.get("status"))
    row["status"] = state or ("closed" if row.get("closed_at") else "open")
    if row["status"] not in {"solved", "closed"}:
        row["closed_at"] = None
    return row


def _activity(row: Row, place: Place) -> Row:
    """Without a status of its own an event has taken place when its time has come: a time ahead does not count yet."""
    code = row.get("type")
    row["type"] = place.codes.meaning("activity_types", code)
    if code is not None and row["type"] is None:
        place.warnings[f"events have the type {code}, which `activity_types` does not name: they stay without a type"] = None
    row["status"] = place.codes.meaning("activity_states", row.get("status")) or "completed"
    row["occurred_at"] = row.get("occurred_at") or row.get("scheduled_start")
    return row


def _subscription(row: Row, place: Place) -> Row:
    code = row.get("interval")
    row["interval"] = place.codes.meaning("frequencies", code)
    if code is not None and row["interval"] is None:
        place.warnings[f"contracts have the frequency {code}, which `frequencies` does not name: they do not count"] = None
    row["currency"] = row.get("currency") or place.currency
    return row


def _order(row: Row, place: Place) -> Row:
    row["status"] = place.codes.meaning("order_states", row.get("status")) or "placed"
    return _priced(row, place)


def _priced(row: Row, place: Place) -> Row:
    row["currency"] = row.get("currency") or place.currency
    return row


_FINISH: Mapping[str, Callable[[Row, Place], Row]] = {
    "accounts": _account,
    "activities": _activity,
    "deals": _deal,
    "tickets": _ticket,
    "subscriptions": _subscription,
    "orders": _order,
    "order_lines": _priced,
    "deal_lines": _priced,
}
_WITH_MONEY = {"deals", "subscriptions", "orders", "order_lines", "deal_lines"}


def columns_of(entity: str, natives: Mapping[str, str]) -> frozenset[str]:
    """The canonical columns that are filled, as far as the project has a value."""
    columns = entities.ENTITIES[entity].c
    with_money = {"currency"} if entity in _WITH_MONEY else set()
    return frozenset({name for name in natives if name in columns} | {"native_id", "updated_at"} | with_money)
