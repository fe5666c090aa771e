"""The settings of a HubSpot source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from kpid.plugin import ApiSettings, Secret, known_zone
from kpid_hubspot.objects import KINDS

Entity = Literal[
    "users", "pipelines", "accounts", "contacts", "deals", "activities", "tickets", "leads", "products", "deal_lines", "orders",
    "survey_responses", "campaigns", "email_sends", "fx_rates",
]  # fmt: skip
ActivityType = Literal["calls", "meetings", "emails", "tasks"]
State = Literal["open", "won", "lost"]
OrderState = Literal["placed", "paid", "cancelled"]
Survey = Literal["nps", "csat", "ces"]
TicketState = Literal["new", "open", "pending", "on_hold", "solved", "closed"]


class HubSpotSettings(ApiSettings):
    """Settings of a HubSpot source."""

    with_fields = tuple(KINDS)

    auth: Literal["token", "oauth"] = Field("token", description="A token that stays, or OAuth with a refresh token.")
    token: Secret | None = Field(None, description="Token of a private app or a service key: ${env:HUBSPOT_TOKEN}.")
    client_id: str | None = Field(None, description="For `auth: oauth`: the app's client id.")
    client_secret: Secret | None = Field(None, description="For `auth: oauth`: the app's secret: ${env:HUBSPOT_SECRET}.")
    refresh_token: Secret | None = Field(None, description="For `auth: oauth`: what installing the app gave.")
    oauth_version: str = Field("2026-03", pattern=r"^(\d{4}-\d{2}|v\d)$", description="Version of the token endpoint.")
    base_url: str = Field("https://api.hubapi.com", description="Address of the API; another one only for tests and proxies.")
    api_version: str = Field("2026-09", pattern=r"^\d{4}-\d{2}$", description="Dated version of the API.")
    entities: tuple[Entity, ...] = Field(
        ("users", "pipelines", "accounts", "contacts", "deals", "activities", "tickets"),
        min_length=1,
        description="What to read. The others are off unless named: they need further scopes, some of them further products.",
    )
    activity_types: tuple[ActivityType, ...] = Field(
        ("calls", "meetings", "emails", "tasks"), min_length=1, description="Which types of records are activities."
    )
    orders_from: Literal["orders", "invoices"] = Field("orders", description="Which records are orders.")
    order_states: Mapping[str, OrderState] = Field(
        default_factory=dict, description="What an order's or invoice's status means: `Shipped: paid`."
    )
    survey_scales: Mapping[Survey, tuple[int, int]] = Field(
        default_factory=dict,
        description="Lowest and highest answer, where a survey's differ from 0-10, 1-5, 1-7: `csat: [1, 3]`.",
    )
    email_events_days: int = Field(
        30, ge=1, le=365, description="For so many days after its sending it is followed what became of a marketing e-mail."
    )
    pipelines: tuple[str, ...] = Field((), description="Only deals of these pipelines (ids or names); empty = all.")
    stages: Mapping[str, State] = Field(
        default_factory=dict, description="What stages of deals mean (by id or name), where HubSpot's flags do not say it."
    )
    ticket_states: Mapping[str, TicketState] = Field(
        default_factory=dict, description="What stages of tickets mean (by id or name): `Waiting on contact: pending`."
    )
    fields: Mapping[str, Mapping[str, str]] = Field(
        default_factory=dict,
        description="Own properties: `deals: {region: sales_region}` fills the column region; other names go into `extra`.",
    )
    open_deals_daily: int = Field(
        20_000, ge=0, description="Up to so many open deals are read once a day: links change no modified time. 0 = never."
    )
    search_page_size: int = Field(200, ge=1, le=200, description="Records per search.")
    requests_per_10s: int = Field(
        90, ge=1, le=250, description="Our share of the account's requests in ten seconds (100 to 250)."
    )
    account_timezone: str | None = Field(None, description="The portal's zone: its daily budget starts anew at midnight there.")
    _known_zone = field_validator("account_timezone")(known_zone)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = ("token",) if self.auth == "token" else ("client_id", "client_secret", "refresh_token")
        if lacking := [name for name in needed if not getattr(self, name)]:
            raise ValueError(f"`auth: {self.auth}` needs {' and '.join(lacking)}")
        return self
