"""The settings of a Divalto weavy source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from kpid.plugin import ApiSettings, Secret, known_zone
from kpid_divalto_weavy.tables import TABLES

Entity = Literal[
    "users", "pipelines", "accounts", "contacts", "leads", "products", "deals", "deal_lines", "activities", "tickets",
    "subscriptions", "orders", "order_lines",
]  # fmt: skip
DealState = Literal["open", "won", "lost"]
STATES: Mapping[str, DealState] = {"ACTIVE": "open", "STARTED": "open", "DRAFTING": "open", "WON": "won", "LOST": "lost"}


class WeavySettings(ApiSettings):
    """Settings of a Divalto weavy source."""

    with_fields = tuple(TABLES)

    project: str = Field(min_length=1, description="Code of the project.")
    user: str = Field(min_length=1, description="User name of an API account.")
    password: Secret = Field(description="Its password: ${env:WEAVY_PASSWORD}.")
    base_url: str = Field(
        "https://api.weavy.divalto.com", description="Address of the API; elsewhere than in Europe another one."
    )
    entities: tuple[Entity, ...] = Field(
        ("users", "pipelines", "accounts", "contacts", "deals"),
        min_length=1,
        description="What to read; the others (not in every project) only if named.",
    )
    company: str | None = Field(None, description="Code of one company; without it the user's own.")
    tables: Mapping[str, str] = Field(
        default_factory=dict,
        description="Other names of tables: `leads: marketinginbound`; without `sw_data_`. Needed for orders, lines, products.",
    )
    states: Mapping[str, DealState] = Field(
        default_factory=dict,
        description="What a status of deals means, by its code or label: `OPPORTUNITY_STATUS-7: won`. Others count as open.",
    )
    stages: Mapping[str, DealState] = Field(
        default_factory=dict, description="Steps that decide a deal's state by themselves, by code or label."
    )
    pipelines: tuple[str, ...] = Field((), description="Only deals of these types (codes or labels); empty = all.")
    pipeline_type: str = Field("dealType", description="The `dataType` in generictype of the types of deals.")
    customer_types: Mapping[str, str] = Field(
        default_factory=dict, description="What a type of customers means, by code or label: `Revendeur: partner`."
    )
    ticket_states: Mapping[str, Literal["new", "open", "pending", "on_hold", "solved", "closed"]] = Field(
        default_factory=dict, description="What a status of interventions means, by code or label."
    )
    activity_types: Mapping[str, Literal["call", "meeting", "email", "task", "note", "message"]] = Field(
        default_factory=dict, description="What a type of events means, by code or label: `Visite client: meeting`."
    )
    activity_states: Mapping[str, Literal["planned", "completed", "cancelled", "no_show"]] = Field(
        default_factory=dict, description="What a status of events means, by code or label; others count as completed."
    )
    order_states: Mapping[str, Literal["placed", "paid", "cancelled"]] = Field(
        default_factory=dict, description="What a status of orders means, by code or label; others are placed."
    )
    frequencies: Mapping[str, Literal["week", "month", "quarter", "half", "year"]] = Field(
        default_factory=dict, description="What a frequency of contracts means, by code: `F3: quarter`."
    )
    server_timezone: str = Field("UTC", description="Zone of times that name none.")
    deleted_attrib: int = Field(1, description="The `srvAttrib` of deleted rows.")
    paging: Literal["key", "offset"] = Field("key", description="How to go on from page to page.")
    page_size: int = Field(1000, ge=20, le=1000, description="Rows per page.")
    requests_per_10s: int = Field(100, ge=1, le=10_000, description="Our share of the project's requests in ten seconds.")
    _known_zone = field_validator("server_timezone")(known_zone)

    @field_validator("tables")
    @classmethod
    def _known_tables(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        if unknown := value.keys() - TABLES.keys():
            raise ValueError(f"no such entity: {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
        return value

    @model_validator(mode="after")
    def _named_tables(self) -> Self:
        needed = {"order_lines": ("order_lines", "orders")}
        lacking = [name for entity in self.entities for name in needed.get(entity, (entity,)) if not self.table_of(name)]
        if lacking:
            told = ", ".join(f"{name}: <table>" for name in dict.fromkeys(lacking))
            raise ValueError(f"the vendor publishes no name of these tables: name them in `tables: {{{told}}}`")
        return self

    def table_of(self, entity: str) -> str:
        """The name of the table that fills an entity."""
        return self.tables.get(entity, TABLES[entity].name)

    def natives_of(self, entity: str) -> Mapping[str, str]:
        """The native field of each column, own fields over the usual ones."""
        usual = {column: field.native for column, field in TABLES[entity].fields.items()}
        if entity == "order_lines":
            usual["order_id"] = f"{self.table_of('orders')}_ID"
        return {**usual, **self.fields.get(entity, {})}
