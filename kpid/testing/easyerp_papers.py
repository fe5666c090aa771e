"""The documents of EasyERP's lists and detail views, written from the neutral CRM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kpid.testing.crm import Crm, Record

Document = dict[str, Any]
Writer = Callable[[Record, Crm], Document]

CURRENCIES: list[Document] = [
    {"_id": code, "decPlace": 2, "symbol": symbol, "name": code} for code, symbol in (("USD", "$"), ("EUR", "€"), ("CHF", "Fr."))
]
STATUS: Mapping[str, str] = {"new": "New", "working": "In Progress", "qualified": "Done", "disqualified": "Cancelled"}
"""Stages of leads by the status of the neutral CRM."""
_SYMBOLS = {one["_id"]: one["symbol"] for one in CURRENCIES}
_DEAL_STATUS = {"won": "Done", "lost": "Cancelled"}
_TASK_STATUS = {"completed": "Done", "cancelled": "Cancelled"}
_NEUTRAL = {
    "name", "stage_id", "state", "probability", "pipeline_id", "amount", "currency", "account_id", "owner_id",
    "primary_contact_id", "expected_close_date", "closed_at", "lead_id", "lead_source",
    "campaign_id",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list is like.

    Args:
        kind: of the neutral CRM.
        content_type: what it wants to be asked for.
        has_modified: the filter by time of change finds something.
        keeps_total: past the end the total stays.
        shows: which records are in it.
    """

    kind: str
    content_type: str
    has_modified: bool = True
    keeps_total: bool = False
    shows: Callable[[Record], bool] = lambda record: True


LISTS: Mapping[str, Listed] = {
    "/opportunities/": Listed("deals", "Opportunities"),
    "/leads/": Listed("leads", "Leads", shows=lambda record: record.values.get("status") != "converted"),
    "/companies/": Listed("accounts", "Companies", keeps_total=True),
    "/persons/": Listed("contacts", "Persons", keeps_total=True),
    "/employees/": Listed("users", "Employees"),
    "/dealTasks/": Listed("tasks", "DealTasks"),
    "/invoice/": Listed("orders", "invoice"),
    "/order/": Listed("orders", "Orders", has_modified=False),
    "/quotations/": Listed("orders", "Quotations", has_modified=False, shows=lambda record: False),
    "/payments/": Listed("orders", "customerPayments", has_modified=False, shows=lambda record: "refunded" in record.values),
    "/products/": Listed("products", "Products"),
}


def stage_document(stage: Record, renamed: Mapping[str, str]) -> Document:
    """A stage: its status says what it means, and its name something else."""
    values = stage.values
    name = str(values["name"])
    first = "New" if values["sort_order"] == 0 else "In Progress"
    status = _DEAL_STATUS.get(str(values["state"]), first)
    return {"_id": stage.id, "name": renamed.get(name, name), "status": status, "sequence": 5 - int(values["sort_order"])}


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _money(value: Any, factor: int = 1) -> float | int | None:
    return float(value * factor) if isinstance(value, Decimal) else None


def _edited(record: Record) -> Document:
    return {"_id": record.id, "editedBy": {"user": "reader", "date": _iso(record.modified)}}


def _created(record: Record) -> Document:
    return {"createdBy": {"date": _iso(record.created), "user": None}}


def _name(record: Record | None) -> Document:
    first, _, last = str(record.values.get("name") or "").partition(" ") if record else ("", "", "")
    return {"first": first, "last": last}


def _person(crm: Crm, native_id: str | None) -> Document | None:
    if native_id is None:
        return {"name": None}
    return {"_id": native_id, "name": _name(crm.kinds["users"].get(native_id))}


def _customer(record: Record, crm: Crm) -> Document | None:
    """The whole embedded document: a person with the id of a company, or a company."""
    contact, account = record.values.get("primary_contact_id"), record.values.get("account_id")
    if contact:
        return {"_id": contact, "type": "Person", "company": account, "name": _name(crm.kinds["contacts"].get(contact))}
    return {"_id": account, "type": "Company", "name": _name(crm.kinds["accounts"].get(account))} if account else None


def _deal(record: Record, crm: Crm) -> Document:
    values = record.values
    expected = values.get("expected_close_date")
    revenue = {"value": _money(values.get("amount")), "currency": _SYMBOLS.get(values.get("currency"), ""), "progress": 0}
    return {
        **_edited(record),
        "name": values.get("name"),
        "expectedRevenue": revenue,
        "customer": _customer(record, crm),
        "salesPerson": _person(crm, values.get("owner_id")),
        "expectedClosing": _entered(expected) if expected else None,
        "nextAction": {"date": _iso(record.created), "desc": ""},
    }


def deal_listed(record: Record, crm: Crm) -> Document:
    """A row of the list: neither source nor creator."""
    stage = crm.kinds["stages"].get(record.values["stage_id"])
    status = stage_document(stage, {})["status"] if stage else None
    workflow = {"_id": record.values["stage_id"], "status": status}
    return {**_deal(record, crm), "creationDate": _iso(record.created), "workflow": workflow}


def deal_form(record: Record, crm: Crm) -> Document:
    """The detail view: notes tell the conversion, the stage has no status, and the company's own fields are here."""
    lead = record.values.get("lead_id")
    converted = crm.kinds["leads"].get(lead) if lead else None
    at = converted.values.get("converted_at") if converted else None
    begun = _iso(at or record.created)
    notes = [
        {"date": _iso(record.created), "history": _change("Creation Date", _iso(record.created), _iso(record.created))},
        {"date": begun, "history": _change("isOpportunitie", True, begun)},
        *_past(record),
    ]
    own = {name: value for name, value in record.values.items() if name not in _NEUTRAL}
    return {
        **own,
        **_deal(record, crm),
        **_created(record),
        "source": record.values.get("lead_source") or "",
        "campaign": record.values.get("campaign_id") or "",
        "workflow": {"_id": record.values["stage_id"], "sequence": 0},
        "notes": notes,
        "isOpportunitie": True,
        "contactName": _name(converted),
        "email": converted.values.get("email") if converted else "",
        "tempCompanyField": converted.values.get("company") if converted else "",
    }


def _past(record: Record) -> list[Document]:
    """The notes of changes of amount and expected closing, each with the value before."""
    notes, last = [], dict[str, Any]()
    for name, value, at in record.log:
        if name in _TOLD and value is not None:
            field, write = _TOLD[name]
            told = write(value)
            history = {**_change(field, told, _iso(at)), "prevValue": last.get(name)}
            notes.append({"date": _iso(at), "history": history})
            last[name] = told
    return notes


def _entered(day: date) -> str:
    """A day as people enter it in Kyiv."""
    return _iso(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/Kyiv")))


_TOLD: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "amount": ("expectedRevenue", str),
    "expected_close_date": ("Close Date", _entered),
}


def _change(field: str, value: Any, at: str) -> Document:
    return {"changedField": field, "prevValue": None, "newValue": value, "date": at}


def lead_listed(record: Record, crm: Crm) -> Document:
    """A row of the list: neither creation nor amount."""
    values = record.values
    status = str(values.get("status"))
    return {
        **_edited(record),
        "name": values.get("name"),
        "workflow": {"_id": f"lead-{status}", "status": STATUS.get(status, "New")},
        "salesPerson": _person(crm, values.get("owner_id")),
        "source": values.get("lead_source"),
    }


def lead_form(record: Record, crm: Crm) -> Document:
    """The detail view."""
    values = record.values
    more = {"contactName": _name(record), "email": values.get("email"), "tempCompanyField": values.get("company")}
    workflow = {"_id": f"lead-{values.get('status')}", "sequence": 0}
    return {**lead_listed(record, crm), **_created(record), **more, "workflow": workflow, "isOpportunitie": False, "notes": []}


def customer_listed(record: Record, crm: Crm) -> Document:
    """A company or a person. Of which company a person is the list does not say."""
    values = record.values
    owner = values.get("owner_id")
    return {
        **_edited(record),
        **_created(record),
        "fullName": values.get("name"),
        "email": values.get("email"),
        "address": {"country": values.get("country") or ""},
        "salesPurchases": {"isCustomer": True, "salesPerson": _person(crm, owner) if owner else None},
    }


def employee_listed(record: Record, crm: Crm) -> Document:
    """A person who works there."""
    more = {"name": _name(record), "workEmail": record.values.get("email"), "isEmployee": record.values.get("is_active", True)}
    return {**_edited(record), **_created(record), **more, "department": record.values.get("department")}


def task_listed(record: Record, crm: Crm) -> Document:
    """A task of a deal: it does not tell when it changed."""
    values = record.values
    due = values.get("scheduled_end")
    return {
        "_id": record.id,
        "description": values.get("subject"),
        "dueDate": _iso(due) if due else None,
        "deal": {"_id": values["deal_id"]} if values.get("deal_id") else None,
        "assignedTo": {"_id": values["owner_id"]} if values.get("owner_id") else None,
        "workflow": {"status": _TASK_STATUS.get(str(values.get("status")), "New")},
    }


def paper_listed(record: Record, crm: Crm) -> Document:
    """An invoice or an order, in cents; the supplier is the customer."""
    values = record.values
    owner = values.get("owner_id")
    at = values.get("ordered_at")
    status = {"paid": ("Paid", "Done"), "cancelled": ("Cancelled", "Cancelled")}.get(
        str(values.get("status")), ("Unpaid", "Pending")
    )
    return {
        **_edited(record),
        "supplier": {"_id": values["account_id"]} if values.get("account_id") else None,
        "salesPerson": _person(crm, owner),
        "currency": {"_id": {"_id": values.get("currency")}},
        "paymentInfo": {"unTaxed": _money(values.get("net_amount"), 100), "taxes": 0},
        "invoiceDate": at and _iso(at),
        "orderDate": at and _iso(at),
        "workflow": {"name": status[0], "status": status[1]},
        "approved": True,
    }


def refund_listed(record: Record, crm: Crm) -> Document:
    """Money given back on an order: ``refunded`` of the neutral one."""
    values = record.values
    currency = {"_id": values.get("currency")}
    more = {"supplier": {"_id": values.get("account_id")}, "paidAmount": _money(values["refunded"], 100), "currency": currency}
    paid = {"invoice": {"_id": record.id}, "date": _iso(record.modified), "refund": True, "forSale": True}
    return {"_id": f"refund-{record.id}", **more, **paid}


def product_listed(record: Record, crm: Crm) -> Document:
    """A product."""
    return {
        **_created(record),
        "_id": record.id,
        "name": record.values.get("name"),
        "info": {"SKU": record.values.get("code")},
        "ProductCategories": [{"_id": "1", "name": "Clothes"}],
    }


LISTED: Mapping[str, Writer] = {
    "/opportunities/": deal_listed,
    "/leads/": lead_listed,
    "/companies/": customer_listed,
    "/persons/": customer_listed,
    "/employees/": employee_listed,
    "/dealTasks/": task_listed,
    "/invoice/": paper_listed,
    "/order/": paper_listed,
    "/quotations/": paper_listed,
    "/payments/": refund_listed,
    "/products/": product_listed,
}
FORMS: Mapping[str, Writer] = {"/opportunities/": deal_form, "/leads/": lead_form}
