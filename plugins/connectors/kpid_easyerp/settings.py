"""What can be configured of an EasyERP source, and which of its lists fill which entity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from kpid.plugin import ApiSettings, Secret, known_zone

Entity = Literal[
    "users", "pipelines", "accounts", "contacts", "products", "campaigns", "deals", "leads", "activities", "orders", "refunds"
]
State = Literal["open", "won", "lost"]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list of the API.

    Args:
        path: its address.
        content_type: what it wants to be asked for; with another one some lists never answer.
        has_form: records are read one by one: only their detail view tells source, creation and conversion.
        extra: further parameters.
    """

    path: str
    content_type: str
    has_form: bool = False
    extra: Mapping[str, str] | None = None


LISTS: Mapping[str, Listing] = {
    "employees": Listing("/employees/", "Employees"),
    "companies": Listing("/companies/", "Companies"),
    "persons": Listing("/persons/", "Persons"),
    "opportunities": Listing("/opportunities/", "Opportunities", has_form=True),
    "leads": Listing("/leads/", "Leads", has_form=True),
    "tasks": Listing("/dealTasks/", "DealTasks"),
    "invoices": Listing(
        "/invoice/",
        "invoice",
        extra={"filter[forSales][key]": "forSales", "filter[forSales][value][]": "true", "filter[forSales][type]": "boolean"},
    ),
    "orders": Listing("/order/", "Orders"),
    "quotations": Listing("/quotations/", "Quotations"),
    "payments": Listing("/payments/", "customerPayments"),
    "products": Listing("/products/", "Products"),
}
"""By kind of record."""

CHANGING: Mapping[str, tuple[str, ...]] = {
    "accounts": ("companies",),
    "contacts": ("persons",),
    "deals": ("opportunities",),
    "leads": ("leads", "opportunities"),
    "activities": ("tasks",),
}
"""Entities of which the API tells what changed, with their kinds; a converted lead is an opportunity."""


class EasyErpSettings(ApiSettings):
    """Settings of an EasyERP source."""

    with_fields = ("accounts", "contacts", "deals", "leads")

    base_url: str = Field(description="Address of the server, as people open it in the browser.")
    login: str = Field(description="Name of a user who sees all records.")
    password: Secret = Field(description="His password: ${env:EASYERP_PASSWORD}.")
    database: str = Field("CRM", description="The database, as the login page names it.")
    entities: tuple[Entity, ...] = Field(
        (
            "users", "pipelines", "accounts", "contacts", "products", "campaigns", "deals", "leads", "activities", "orders",
            "refunds",
        ),
        min_length=1,
        description="What to read.",
    )  # fmt: skip
    details: bool = Field(
        True,
        description="Read each new or changed deal and lead by itself: only so are source, creation and conversion told.",
    )
    orders_from: Literal["invoices", "orders"] = Field(
        "invoices", description="Sales invoices, or orders and quotations: both together would count twice."
    )
    stages: Mapping[str, State] = Field(
        default_factory=dict, description="What a stage (id or name) means, where its status says something else."
    )
    server_timezone: str = Field("UTC", description="The zone in which people enter dates: the server keeps them as instants.")
    page_size: int = Field(500, ge=1, le=1000, description="Records per request; rows are large (3 to 10 kB).")
    _known_zone = field_validator("server_timezone")(known_zone)

    def kinds(self, entity: str) -> tuple[str, ...]:
        """The kinds of record that fill an entity; none for what is no list."""
        if entity in CHANGING:
            return CHANGING[entity] if self.details else CHANGING[entity][:1]
        if entity == "orders":
            return ("invoices",) if self.orders_from == "invoices" else ("orders", "quotations")
        return {"users": ("employees",), "products": ("products",), "refunds": ("payments",)}.get(entity, ())
