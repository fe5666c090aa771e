"""What the tables of an invented Divalto weavy project hold: records of the neutral CRM in weavy's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from typing import Any, TypeAlias

from kpid.testing.crm import Record

Told: TypeAlias = Callable[[Mapping[str, Any]], Any]

SYSTEM = ("srvDate", "srvDateUTC", "srvAttrib", "srvExport")
"""What every table has."""
STATUSES = {"open": "STARTED", "won": "WON", "lost": "LOST"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the kind of record that it holds, and how each of its fields comes from a record's values."""

    kind: str
    fields: Mapping[str, Told]


def _of(name: str) -> Told:
    return lambda values: values.get(name)


def _time(name: str) -> Told:
    return lambda values: _moment(values.get(name))


def _moment(value: datetime | None, mark: str = "T") -> str | None:
    return None if value is None else value.astimezone(UTC).strftime(f"%Y-%m-%d{mark}%H:%M:%S")


def _day(name: str) -> Told:
    def told(values: Mapping[str, Any]) -> str | None:
        value: date | None = values.get(name)
        return None if value is None else f"{value.isoformat()}T00:00:00"

    return told


def _number(name: str) -> Told:
    def told(values: Mapping[str, Any]) -> float | None:
        value: Decimal | None = values.get(name)
        return None if value is None else float(value)

    return told


TABLES: Mapping[str, Table] = {
    "baseuser": Table("users", {"name": _of("name"), "email": _of("email")}),
    "customer": Table("accounts", {
        "name": _of("name"), "baseuser_ID": _of("owner_id"), "email": lambda _: None, "creationDate": _time("created_at"),
        "generictype_ID_customerType": lambda values: values.get("customer_type", "CUSTOMER"),
        "generictype_ID_country": lambda _: "FR",
    }),
    "customercontact": Table("contacts", {
        "name": _of("name"), "email": _of("email"), "customer_ID": _of("account_id"), "baseuser_ID": _of("owner_id"),
    }),
    "dealstep": Table("stages", {"label": _of("name")}),
    "deal": Table("deals", {
        "label": _of("name"), "customer_ID": _of("account_id"), "baseuser_ID": _of("owner_id"),
        "generictype_ID_dealType": lambda values: values.get("deal_type", "PROJECT"),
        "generictype_ID_status": lambda values: values.get("status") or STATUSES[values.get("state", "open")],
        "dealstep_ID_current": _of("stage_id"), "amount": _number("amount"), "creationDate": _time("created_at"),
        "closingDate": _day("expected_close_date"), "realClosingDate": _time("closed_at"),
        "probability": lambda values: None if values.get("probability") is None else float(values["probability"] * 100),
        "generictype_ID_lossReason": lambda values: "PRICE" if values.get("state") == "lost" else None,
        "customercontact_ID": _of("primary_contact_id"), "marketinglead_ID_origin": _of("lead_id"),
        "deal_ID_origin": lambda _: None, "dealNumber": lambda _: None,
    }),
    "marketinglead": Table("leads", {
        "label": _of("name"), "email": _of("email"), "companyName": _of("company"), "baseuser_ID": _of("owner_id"),
        "creationDate": _time("created_at"),
    }),
    "event": Table("calls", {
        "label": _of("subject"), "eventDate": _time("occurred_at"), "customer_ID": _of("account_id"), "deal_ID": _of("deal_id"),
        "baseuser_ID": _of("owner_id"), "generictype_ID_eventType": lambda values: values.get("event_type", "APPEL"),
        "generictype_ID_status": lambda values: values.get("event_status"), "startDate": _time("scheduled_start"),
    }),
    "intervention": Table("tickets", {
        "title": _of("subject"), "customer_ID": _of("account_id"), "baseuser_ID": _of("owner_id"),
        "requestedDate": _time("created_at"), "startDate": lambda _: None, "endDate": _time("closed_at"),
        "generictype_ID_status": lambda values: "DONE" if values.get("closed_at") else "PLANNED",
        "interventionpriority_ID": _of("priority"), "estimatedDuration": lambda _: None,
    }),
    "contract": Table("orders", {
        "label": lambda values: values.get("name", "Maintenance"), "customer_ID": _of("account_id"),
        "startDate": _time("ordered_at"), "endDate": lambda _: None, "amount": _number("net_amount"),
        "frequency_ID": lambda values: values.get("frequency", "MONTH"), "generictype_ID_status": lambda _: "ACTIVE",
    }),
    "dealelement": Table("lines", {
        "deal_ID": _of("deal_id"), "product_ID": _of("product_id"), "quantity": _number("quantity"),
        "unitPrice": _number("unit_price"), "amount": _number("amount"), "discount": lambda _: None,
    }),
    "product": Table("products", {"label": _of("name"), "reference": _of("code")}),
    "saleorder": Table("orders", {
        "customer_ID": _of("account_id"), "deal_ID": _of("deal_id"), "baseuser_ID": _of("owner_id"),
        "amount": _number("net_amount"), "creationDate": _time("ordered_at"), "taxAmount": lambda _: 0,
        "generictype_ID_status": lambda values: {"cancelled": "ANN"}.get(values.get("status", ""), "ACTIVE"),
    }),
    "saleorderline": Table("orders", {
        "saleorder_ID": _of("code"), "amount": _number("net_amount"), "quantity": lambda _: 1, "unitPrice": _number("net_amount"),
    }),
}  # fmt: skip
"""Contracts are the neutral CRM's orders, taken as monthly ones. An order has one line, with its code."""

PICK_LISTS = (
    ("STARTED", "dealStatus", "En cours"), ("WON", "dealStatus", "Gagnée"), ("LOST", "dealStatus", "Perdue"),
    ("ACTIVE", "dealStatus", "Active"), ("PROJECT", "dealType", "Affaires"), ("SERVICE", "dealType", "Services"),
    ("PRICE", "lossReason", "Prix"), ("CUSTOMER", "customerType", "Client"), ("PROSPECT", "customerType", "Prospect"),
    ("FR", "country", "France"), ("DONE", "interventionStatus", "Terminée"), ("PLANNED", "interventionStatus", "Planifiée"),
    ("APPEL", "eventType", "Appel"), ("VIS", "eventType", "Visite client"), ("ANN", "eventStatus", "Annulé"),
)  # fmt: skip
"""The rows of ``generictype``: code, dataType, label."""


def fields_of(table: str) -> tuple[str, ...]:
    """The fields of a table, without those that all have."""
    if table == "generictype":
        return ("codegenerictype", "label", "originalCode", "dataType")
    return (f"code{table}", *TABLES[table].fields)


def row_of(table: str, record: Record, zone: tzinfo, deleted_attrib: int) -> dict[str, Any]:
    """A record as a row of a table. ``zone``: in which ``srvDate`` is written."""
    values = {**record.values, "created_at": record.created}
    if record.kind == "orders":
        values["code"] = record.id
    told = {name: tell(values) for name, tell in TABLES[table].fields.items()}
    return {
        f"code{table}": record.id,
        **told,
        "srvDate": record.modified.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
        "srvDateUTC": _moment(record.modified, " "),
        "srvAttrib": 0 if record.deleted_at is None else deleted_attrib,
        "srvExport": 0,
    }
