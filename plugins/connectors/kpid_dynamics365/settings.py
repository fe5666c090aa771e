"""The settings of a Dynamics 365 source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from kpid.plugin import ApiSettings, AuthError, ClientAssertion, ClientCredentials, Grant, Secret, SourceContext, thumbprint
from kpid_dynamics365.tables import INVOICES, KINDS, Kind

Entity = Literal[
    "users", "pipelines", "accounts", "contacts", "leads", "deals", "products", "deal_lines", "activities", "tickets", "orders",
    "order_lines", "campaigns", "campaign_costs", "campaign_members", "survey_sends", "survey_responses", "fx_rates",
]  # fmt: skip
OrderState = Literal["placed", "paid", "cancelled"]
STATES: Mapping[str, Mapping[int, OrderState]] = {"orders": {2: "cancelled"}, "invoices": {2: "paid", 3: "cancelled"}}
"""What a `statecode` of orders and of invoices means; the others are placed."""


class DynamicsSettings(ApiSettings):
    """Settings of a Dynamics 365 source."""

    with_fields = tuple(KINDS)

    base_url: str = Field(description="Address of the environment: https://example.api.crm4.dynamics.com.")
    tenant: str = Field(pattern=r"^[A-Za-z0-9.-]+$", description="The directory (tenant): its id or domain.")
    client_id: str = Field(description="Application (client) id of the app registration.")
    client_secret: Secret | None = Field(None, description="Its client secret: ${env:D365_SECRET}.")
    private_key: Secret | None = Field(None, description="Instead: the key of the app's certificate, PEM: ${file:key.pem}.")
    certificate: str | None = Field(None, description="The certificate itself, PEM, as it was uploaded: ${file:app.pem}.")
    login_url: str = Field("https://login.microsoftonline.com", description="Where tokens are given; another one in some clouds.")
    entities: tuple[Entity, ...] = Field(
        (
            "users", "pipelines", "accounts", "contacts", "leads", "deals", "products", "deal_lines", "activities", "orders",
            "order_lines", "campaigns", "campaign_costs", "campaign_members", "fx_rates",
        ),
        min_length=1,
        description="What to read. `tickets` (cases), `survey_sends` and `survey_responses` are off unless named.",
    )  # fmt: skip
    orders_from: Literal["orders", "invoices"] = Field(
        "orders", description="Sales orders or invoices, and their lines: both together would count twice."
    )
    order_states: Mapping[int, OrderState] = Field(
        default_factory=dict, description="What a `statecode` of orders or invoices means: `4: paid`."
    )
    surveys_from: tuple[Literal["customer_voice", "cases"], ...] = Field(
        ("customer_voice", "cases"), min_length=1, description="Answers of Customer Voice, and the satisfaction noted on cases."
    )
    survey_score: str = Field("msfp_npsscore", description="The column with the score of a Customer Voice answer.")
    survey_kind: Literal["nps", "csat", "ces"] = Field("nps", description="What that score is.")
    survey_scale: tuple[int, int] = Field((0, 10), description="Its lowest and its highest value.")
    survey_submitted: str = Field("msfp_submitdate", description="The column that says when the answer was given.")
    fields: Mapping[str, Mapping[str, str]] = Field(
        default_factory=dict,
        description="Own columns: `deals: {region: new_region}` fills the column region; other names go into `extra`.",
    )
    stage_field: Literal["process", "salesstage"] = Field(
        "process", description="Where a deal's stage is: the business process flow (`process`), or the choice `salesstage`."
    )
    stages: Mapping[str, Literal["open", "won", "lost"]] = Field(
        default_factory=dict, description="Stages (id or name) that mean something else: `On hold for ever: lost`."
    )
    tracking_days: int = Field(
        7, ge=1, le=365, description="For how long the environment tracks changes (ExpireChangeTrackingInDays)."
    )
    page_size: int = Field(1000, ge=1, le=5000, description="Rows per answer: more take more memory, and hardly less time.")
    requests_per_minute: int = Field(1000, ge=1, le=6000, description="Our share of what the service allows.")

    @field_validator("certificate")
    @classmethod
    def _a_certificate(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                thumbprint(value)
        except AuthError as error:
            raise ValueError(f"{error.what}. {error.hint}") from None
        return value

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.client_secret is None) == (self.private_key is None):
            raise ValueError("give either client_secret, or private_key and certificate")
        if (self.private_key is None) != (self.certificate is None):
            raise ValueError("private_key and certificate belong together")
        return self

    def grant(self, context: SourceContext) -> Grant:
        """What the token endpoint is asked with: the secret, or claims signed with the key of the certificate."""
        if self.client_secret is not None:
            return ClientCredentials(self.client_id, self.client_secret, scope=self.scope)
        endpoint = f"{self.login_url.rstrip('/')}/{self.tenant}/oauth2/v2.0/token"
        key = self.private_key or Secret("")
        return ClientAssertion(self.client_id, endpoint, key, context.clock, certificate=self.certificate or "", scope=self.scope)

    def kinds(self, entity: str) -> tuple[Kind, ...]:
        """The tables that fill an entity; none of what is not read by its changes. Own columns are stored as their labels."""
        kinds = self._kinds(entity)
        return tuple(replace(kind, labels=True) for kind in kinds) if self.fields.get(entity) else kinds

    def _kinds(self, entity: str) -> tuple[Kind, ...]:
        if self.orders_from == "invoices" and entity in INVOICES:
            return INVOICES[entity]
        if entity != "survey_responses":
            return KINDS.get(entity, ())
        voice, case = KINDS[entity]
        usual = {"msfp_npsscore": self.survey_score, "msfp_submitdate": self.survey_submitted}
        voice = replace(voice, columns=tuple(dict.fromkeys(usual.get(name, name) for name in voice.columns)))
        return tuple(kind for name, kind in (("customer_voice", voice), ("cases", case)) if name in self.surveys_from)

    @property
    def states_of_orders(self) -> Mapping[int, OrderState]:
        """What a state of an order or an invoice means; the others are placed."""
        return {**STATES[self.orders_from], **self.order_states}

    @property
    def scope(self) -> str:
        """What a token is asked for: the whole environment, as its administrator has allowed."""
        parts = urlsplit(self.base_url)
        host = (parts.netloc or "").replace(".api.", ".", 1)
        return f"{parts.scheme}://{host}/.default"
