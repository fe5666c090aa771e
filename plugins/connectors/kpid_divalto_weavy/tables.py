"""Which table fills which entity, and which of its fields which column. Names that the vendor does not publish are not sure.

The vendor's names are without the ``sw_data_`` of its database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["text", "label", "instant", "date", "number", "percent", "raw"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table.

    Args:
        native: its name there.
        form: how its value is written; ``label`` is the code of a pick list's row, of which the label is kept.
        is_sure: if it is not there a person is told: the vendor documents it, or the rows are of no use without it.
    """

    native: str
    form: Form = "text"
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """A table and what its fields fill."""

    name: str
    fields: Mapping[str, Field]


def _unsure(native: str, form: Form = "text") -> Field:
    return Field(native, form, is_sure=False)


TABLES: Mapping[str, Table] = {
    "users": Table("baseuser", {"name": Field("name"), "email": _unsure("email")}),
    "pipelines": Table("generictype", {"name": Field("label")}),
    "stages": Table("dealstep", {"name": Field("label"), "pipeline_id": _unsure("generictype_ID_dealType")}),
    "accounts": Table("customer", {
        "name": Field("name"), "owner_id": Field("baseuser_ID"), "lifecycle": Field("generictype_ID_customerType"),
        "country": Field("generictype_ID_country", "label"), "created_at": _unsure("creationDate", "instant"),
    }),
    "contacts": Table("customercontact", {
        "name": _unsure("name"), "email": _unsure("email"), "account_id": _unsure("customer_ID"),
        "owner_id": _unsure("baseuser_ID"), "created_at": _unsure("creationDate", "instant"),
    }),
    "leads": Table("marketinglead", {
        "name": _unsure("label"), "email": _unsure("email"), "company": _unsure("companyName"),
        "owner_id": _unsure("baseuser_ID"), "created_at": _unsure("creationDate", "instant"),
    }),
    "deals": Table("deal", {
        "name": Field("label"), "account_id": Field("customer_ID"), "primary_contact_id": Field("customercontact_ID"),
        "lead_id": Field("marketinglead_ID_origin"), "owner_id": Field("baseuser_ID"),
        "pipeline_id": Field("generictype_ID_dealType"), "stage_id": Field("dealstep_ID_current"),
        "state": Field("generictype_ID_status"), "amount": Field("amount", "number"),
        "probability": Field("probability", "percent"), "expected_close_date": Field("closingDate", "date"),
        "closed_at": Field("realClosingDate", "instant"), "created_at": Field("creationDate", "instant"),
        "loss_reason": Field("generictype_ID_lossReason", "label"), "deal_ID_origin": _unsure("deal_ID_origin"),
    }),
    "activities": Table("event", {
        "subject": _unsure("label"), "type": _unsure("generictype_ID_eventType"), "status": _unsure("generictype_ID_status"),
        "occurred_at": _unsure("eventDate", "instant"), "scheduled_start": _unsure("startDate", "instant"),
        "scheduled_end": _unsure("endDate", "instant"), "account_id": _unsure("customer_ID"), "deal_id": _unsure("deal_ID"),
        "contact_id": _unsure("customercontact_ID"), "owner_id": _unsure("baseuser_ID"),
    }),
    "tickets": Table("intervention", {
        "subject": Field("title"), "created_at": Field("requestedDate", "instant"), "closed_at": Field("endDate", "instant"),
        "status": Field("generictype_ID_status"), "priority": Field("interventionpriority_ID"),
        "account_id": _unsure("customer_ID"), "owner_id": _unsure("baseuser_ID"),
    }),
    "subscriptions": Table("contract", {
        "plan": Field("label"), "started_at": Field("startDate", "instant"), "ended_at": Field("endDate", "instant"),
        "amount": Field("amount", "number"), "interval": Field("frequency_ID"), "account_id": _unsure("customer_ID"),
    }),
    "deal_lines": Table("dealelement", {
        "deal_id": Field("deal_ID"), "amount": Field("amount", "number"), "product_id": _unsure("product_ID"),
        "quantity": _unsure("quantity", "number"), "unit_price": _unsure("unitPrice", "number"),
        "discount": _unsure("discount", "number"), "created_at": _unsure("creationDate", "instant"),
    }),
    "products": Table("", {
        "name": Field("label"), "code": _unsure("reference"), "category": _unsure("generictype_ID_productType", "label"),
    }),
    "orders": Table("", {
        "account_id": Field("customer_ID"), "net_amount": Field("amount", "number"),
        "ordered_at": Field("creationDate", "instant"),
        "tax": _unsure("taxAmount", "number"), "status": _unsure("generictype_ID_status"), "deal_id": _unsure("deal_ID"),
        "owner_id": _unsure("baseuser_ID"), "created_at": _unsure("creationDate", "instant"),
    }),
    "order_lines": Table("", {
        "order_id": Field(""), "net_amount": Field("amount", "number"), "product_id": _unsure("product_ID"),
        "quantity": _unsure("quantity", "number"), "unit_price": _unsure("unitPrice", "number"),
    }),
}  # fmt: skip
"""By entity. The table of ``pipelines`` holds all pick lists; what has no canonical name goes into ``extra``.

Tables without a name have none that the vendor publishes: the settings name them. A line of an order refers to it by its table.
"""

CHANGED = ("srvDate", "srvDateUTC", "srvAttrib")
"""What every row carries: when it changed (in a zone that is not documented, and in UTC), and whether it is deleted."""


def code_of(table: str) -> str:
    """The name of a table's key."""
    return f"code{table}"
