"""The settings of a Salesforce source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, model_validator

from kpid.plugin import ApiSettings, Secret
from kpid_salesforce.surveys import Survey

Entity = Literal[
    "users", "pipelines", "accounts", "contacts", "leads", "deals", "activities", "tickets", "products", "deal_lines", "orders",
    "order_lines", "refunds", "subscriptions", "campaigns", "campaign_members", "survey_sends", "survey_responses", "fx_rates",
    "targets", "attributions",
]  # fmt: skip
State = Literal["open", "won", "lost"]
TicketState = Literal["new", "open", "pending", "on_hold", "solved"]
OrderState = Literal["placed", "paid", "cancelled"]

NEEDS: Mapping[str, tuple[str, ...]] = {
    "client_credentials": ("client_secret",),
    "refresh": ("client_secret", "refresh_token"),
    "jwt": ("private_key", "username"),
}
"""The further settings that each way of logging in needs."""


class SalesforceSettings(ApiSettings):
    """Settings of a Salesforce source."""

    with_fields = (
        "accounts", "contacts", "leads", "deals", "activities", "tickets", "products", "deal_lines", "orders", "order_lines",
        "refunds", "subscriptions", "campaigns", "campaign_members",
    )  # fmt: skip

    base_url: str = Field(description="The organisation's own address: https://acme.my.salesforce.com.")
    auth: Literal["client_credentials", "refresh", "jwt"] = Field(
        "client_credentials", description="How to log in: as the app's own user, by a refresh token, or by signed claims."
    )
    client_id: str = Field(min_length=1, description="Consumer key of the External Client App.")
    client_secret: Secret | None = Field(None, description="Its consumer secret: ${env:SALESFORCE_SECRET}.")
    refresh_token: Secret | None = Field(None, description="For `auth: refresh`: what a user's consent gave.")
    private_key: Secret | None = Field(None, description="For `auth: jwt`: the key of the app's certificate: ${file:key.pem}.")
    username: str | None = Field(None, description="For `auth: jwt`: the user to act as.")
    login_url: str | None = Field(None, description="Where to log in; the default is base_url.")
    audience: str = Field("https://login.salesforce.com", description="For `auth: jwt`; sandboxes: https://test.salesforce.com.")
    api_version: str = Field("66.0", pattern=r"^\d{2,3}\.0$", description="Version of the API.")
    entities: tuple[Entity, ...] = Field(
        ("users", "pipelines", "accounts", "contacts", "leads", "deals", "activities", "tickets"),
        min_length=1,
        description="What to read. The others are off unless named: not every organisation uses them.",
    )
    activity_objects: tuple[Literal["EmailMessage", "VoiceCall"], ...] | None = Field(
        None,
        description="For `activities`: what counts beside tasks and events if no task stands for it; these have to be there. "
        "The default are those that the organisation has.",
    )
    stages: Mapping[str, State] = Field(
        default_factory=dict, description="What stages mean, where Salesforce's own flags do not say it: `Signed: won`."
    )
    pipelines: Literal["one", "record_types"] = Field(
        "one", description="`record_types`: each record type of deals is a pipeline, with the stages of its sales process."
    )
    ticket_states: Mapping[str, TicketState] = Field(
        default_factory=dict, description="What a case's status means while it is open: `Waiting: pending`."
    )
    order_states: Mapping[str, OrderState] = Field(
        default_factory=dict, description="What an order's status means: `Paid: paid`; the others are placed or cancelled."
    )
    surveys: Mapping[str, Survey] = Field(
        default_factory=dict, description="Questions of surveys, by a name of yours, for `survey_responses` and `survey_sends`."
    )
    influence_models: Mapping[str, Literal["first", "last", "linear"]] = Field(
        default_factory=dict,
        description="For `attributions`: ids of models of campaign influence, and which of ours each is.",
    )
    quota_kpi: str = Field("won_amount", description="For `targets`: the KPI that quotas are targets of.")
    forecast: str | None = Field(None, description="For `targets`: id of the type of forecast that counts, if there are several.")
    page_size: int = Field(2000, ge=1, le=2000, description="Records per query, and per answer of Bulk.")
    bulk_above: int = Field(2000, ge=0, description="First reads of more records than these are made by Bulk API 2.0.")
    bulk_timeout: float = Field(3600, gt=0, description="Seconds that a job of Bulk may take; then queries are used.")
    max_daily_share: float = Field(0.8, gt=0, le=1, description="Stop when this share of the organisation's API calls is used.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if lacking := [name for name in NEEDS[self.auth] if not getattr(self, name)]:
            raise ValueError(f"`auth: {self.auth}` needs {' and '.join(lacking)}")
        if {"survey_responses", "survey_sends"} & set(self.entities) and not self.surveys:
            raise ValueError("`surveys` says which question is what: without it there are no survey_responses and survey_sends")
        if "attributions" in self.entities and not self.influence_models:
            raise ValueError("`influence_models` says which models count: without it there are no attributions")
        if lacking := [name for name, survey in self.surveys.items() if "score" not in survey.columns]:
            raise ValueError(f"surveys {', '.join(lacking)}: `fields` must say where the `score` is")
        return self
