"""EasyERP records as canonical rows. Pure: what a field means is said here and nowhere else.

Won and lost are read from the status of a stage, never from its name: in the vendor's own demo the won stage is called "In
development". Lists and detail views have different shapes; the same columns come of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import dig
from kpid_easyerp.endpoints import Record
from kpid_easyerp.history import changes_of
from kpid_easyerp.values import Place, Row, Stage, core, ident, local_date, money, own, person_name, plain, text, within

STATES = {"New": "open", "In Progress": "open", "Pending": "open", "Done": "won", "Cancelled": "lost"}
TASKS = {"Done": "completed", "Cancelled": "cancelled"}
LEADS = {"New": "new", "Done": "qualified", "Cancelled": "disqualified"}


def converted_at(record: Record) -> str | None:
    """When a lead became the deal of this detail view; None if it has been one from the start.

    Every deal is told to have become one; those that began as deals within a second of being created.
    """
    changes = [one for one in changes_of(record, "isOpportunitie") if one.get("newValue") in {True, "true"}]
    if not changes or record.get("isOpportunitie") is False or (begun := text(record, "createdBy.date")) is None:
        return None
    at = str(changes[0]["date"])
    try:
        gap = datetime.fromisoformat(at) - datetime.fromisoformat(begun)
    except ValueError:
        return None
    return at if gap.total_seconds() > 1 else None


# -- records -----------------------------------------------------------------------------------------------------------------


def user_row(record: Record, place: Place) -> Row:
    """An employee."""
    return {
        **core(record),
        "name": person_name(record.get("name")),
        "email": text(record, "workEmail"),
        "team": text(record, "department.name"),
        "manager_id": ident(record.get("manager")),
        "is_active": record.get("isEmployee") is not False,
    }


def team_row(record: Record) -> Row | None:
    """The department of an employee; None of one without."""
    native_id = ident(record.get("department"))
    return {"native_id": native_id, "name": text(record, "department.name")} if native_id else None


def account_row(record: Record, place: Place) -> Row:
    """A company."""
    return {
        **core(record),
        "name": text(record, "fullName") or person_name(record.get("name")),
        "owner_id": ident(dig(record, "salesPurchases.salesPerson")),
        "country": text(record, "address.country"),
    } | own(record, place, "accounts")


def contact_row(record: Record, place: Place) -> Row:
    """A person. The list does not say of which company."""
    return {
        **core(record),
        "name": text(record, "fullName") or person_name(record.get("name")),
        "email": text(record, "email"),
        "owner_id": ident(dig(record, "salesPurchases.salesPerson")),
    } | own(record, place, "contacts")


def deal_row(record: Record, place: Place) -> Row:
    """A deal. The last change of a closed one is all that tells of its closing: the first one that was seen is kept."""
    get = record.get
    workflow, customer, revenue = get("workflow"), get("customer"), get("expectedRevenue")
    state = _state(workflow, place)
    is_person = type(customer) is dict and ("company" in customer or customer.get("type") == "Person")
    usual = core(record)
    return {
        **usual,
        "name": plain(get("name")),
        "account_id": ident(get("company")) or ident(within(customer, "company") if is_person else customer),
        "primary_contact_id": ident(customer) if is_person else None,
        "lead_id": usual["native_id"] if converted_at(record) else None,
        "owner_id": ident(get("salesPerson")),
        "pipeline_id": "Opportunities",
        "stage_id": ident(workflow),
        "state": state,
        "amount": money(within(revenue, "value")),
        "currency": place.symbols.get(plain(within(revenue, "currency")) or "") or place.currency,
        "lead_source": plain(get("source")),
        "campaign": _campaign(record),
        "campaign_id": ident(get("campaign")),
        "expected_close_date": local_date(plain(get("expectedClosing")), place.zone),
        "closed_at": usual["updated_at"] if state != "open" else None,
        "next_step": plain(within(get("nextAction"), "desc")),
    } | own(record, place, "deals")


def _campaign(record: Record) -> str | None:
    """The name of a campaign: a reference to one of them, which is called as its id is, or the whole of it."""
    campaign = record.get("campaign")
    return plain(within(campaign, "name")) or ident(campaign)


def campaign_row(record: Record, place: Place | None = None) -> Row:
    """A campaign: a name, no more."""
    return {"native_id": str(record["_id"]), "name": text(record, "name") or str(record["_id"])}


def _state(workflow: Any, place: Place) -> str:
    """Whether a deal is open, won or lost, by the status of its stage."""
    stage = place.stages.get(ident(workflow) or "")
    return stage.state if stage else STATES.get(plain(within(workflow, "status")) or "", "open")


def lead_row(record: Record, place: Place) -> Row | None:
    """A lead, also one that has become a deal; None of a deal that never was a lead."""
    is_deal = record.get("isOpportunitie") is True
    converted = converted_at(record) if is_deal else None
    if is_deal and converted is None:
        return None
    stage = place.stages.get(ident(record.get("workflow")) or "")
    status = text(record, "workflow.status") or (stage.status if stage else None)
    usual = core(record)
    changed = usual["updated_at"]
    return {
        **usual,
        "name": person_name(record.get("contactName")) or text(record, "name"),
        "email": text(record, "email"),
        "company": text(record, "tempCompanyField"),
        "status": "converted" if converted else LEADS.get(status or "", "working"),
        "owner_id": ident(record.get("salesPerson")),
        "lead_source": text(record, "source"),
        "campaign": _campaign(record),
        "campaign_id": ident(record.get("campaign")),
        "qualified_at": converted or (changed if status == "Done" else None),
        "disqualified_at": changed if status == "Cancelled" and not converted else None,
        "converted_at": converted,
        "converted_deal_id": usual["native_id"] if converted else None,
    } | own(record, place, "leads")


def task_row(record: Record, place: Place) -> Row:
    """A task of a deal, a person or a company. The list does not say when it changed."""
    status = text(record, "workflow.status") or ""
    due = text(record, "dueDate")
    return {
        **core(record),
        "type": "task",
        "subject": text(record, "description"),
        "owner_id": ident(record.get("assignedTo")),
        "deal_id": ident(record.get("deal")),
        "account_id": ident(record.get("company")),
        "contact_id": ident(record.get("contact")),
        "scheduled_end": due,
        "occurred_at": due if status == "Done" else None,
        "status": TASKS.get(status, "planned"),
    }


def invoice_row(record: Record, place: Place) -> Row | None:
    """A sales invoice; None if it is not approved. Amounts are in cents, and ``supplier`` is the customer."""
    if record.get("approved") is False:
        return None
    status = "cancelled" if text(record, "workflow.status") == "Cancelled" else None
    is_paid = text(record, "workflow.name") == "Paid" or text(record, "workflow.status") == "Done"
    ordered = text(record, "invoiceDate")
    return _paper(record, place) | {
        "ordered_at": ordered,
        "invoiced_at": ordered,
        "paid_at": text(record, "paymentDate") if is_paid else None,
        "status": status or ("paid" if is_paid else "placed"),
    }


def order_row(record: Record, place: Place) -> Row | None:
    """An order, or a quotation that has become one; None while it is a draft or an offer."""
    status = text(record, "workflow.status")
    if status == "New":
        return None
    said = "cancelled" if status == "Cancelled" else "placed"
    return _paper(record, place) | {"ordered_at": text(record, "orderDate"), "status": said}


def quotation_row(record: Record, place: Place) -> Row | None:
    """A quotation that has become an order."""
    row = order_row(record, place)
    return row and {**row, "native_id": f"quotation-{row['native_id']}"}


def refund_row(record: Record, place: Place) -> Row | None:
    """Money given back, in cents and with taxes; None of other payments."""
    if record.get("refund") is not True or record.get("forSale") is False:
        return None
    amount = money(record.get("paidAmount"), cents=True)
    return {
        **core(record),
        "order_id": ident(record.get("invoice")) or ident(record.get("order")),
        "account_id": ident(record.get("supplier")),
        "refunded_at": text(record, "date"),
        "amount": abs(amount) if isinstance(amount, Decimal) else amount,
        "currency": ident(record.get("currency")) or place.currency,
    }


def product_row(record: Record, place: Place) -> Row:
    """A product."""
    categories = record.get("ProductCategories")
    first = categories[0] if isinstance(categories, list) and categories else {}
    category = text(first, "name") if isinstance(first, dict) else None
    return {**core(record), "name": text(record, "name"), "code": text(record, "info.SKU"), "category": category}


def _paper(record: Record, place: Place) -> Row:
    return {
        **core(record),
        "account_id": ident(record.get("supplier")),
        "owner_id": ident(record.get("salesPerson")),
        "net_amount": money(dig(record, "paymentInfo.unTaxed"), cents=True),
        "tax": money(dig(record, "paymentInfo.taxes"), cents=True),
        "currency": ident(dig(record, "currency._id")) or place.currency,
    }


# -- metadata ----------------------------------------------------------------------------------------------------------------


def stages_of(records: Sequence[Record], overrides: Mapping[str, str]) -> dict[str, Stage]:
    """The stages by id, with the configured meaning of those that have one."""
    found = {}
    for record in records:
        native_id, name, status = str(record["_id"]), text(record, "name") or "", text(record, "status") or ""
        state = overrides.get(native_id) or overrides.get(name) or STATES.get(status, "open")
        found[native_id] = Stage(name, status, state)
    return found


def stage_rows(records: Sequence[Record], stages: Mapping[str, Stage]) -> list[Row]:
    """The stages of the one pipeline of deals: the highest number stands first."""
    order = sorted(records, key=lambda record: -int(record.get("sequence") or 0))
    return [
        {
            "native_id": str(record["_id"]),
            "name": stages[str(record["_id"])].name,
            "pipeline_id": "Opportunities",
            "sort_order": number,
            "state": stages[str(record["_id"])].state,
        }
        for number, record in enumerate(order)
    ]


MAPPERS: Mapping[str, Callable[[Record, Place], Row | None]] = {
    "employees": user_row,
    "companies": account_row,
    "persons": contact_row,
    "deals": deal_row,
    "leads": lead_row,
    "tasks": task_row,
    "invoices": invoice_row,
    "orders": order_row,
    "quotations": quotation_row,
    "payments": refund_row,
    "products": product_row,
    "campaigns": campaign_row,
}
"""How a record becomes a row."""


def columns_of(name: str, fields: Mapping[str, str]) -> frozenset[str]:
    """The canonical columns that a mapper fills, as far as EasyERP has a value."""
    blank: Record = {"_id": "0", "workflow": {"status": "Done"}, "refund": True}
    return frozenset(MAPPERS[name](blank, Place(ZoneInfo("UTC"), fields=fields)) or ())
