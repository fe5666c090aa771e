"""The settings of a Dynamics 365 source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from kpid.plugin import ApiSettings, Secret
from kpid_dynamics365.tables import KINDS

Entity = Literal[
    "users", "pipelines", "accounts", "contacts", "leads", "deals", "products", "deal_lines", "activities", "tickets", "orders",
    "campaigns", "campaign_costs", "fx_rates",
]  # fmt: skip


class DynamicsSettings(ApiSettings):
    """Settings of a Dynamics 365 source."""

    with_fields = tuple(KINDS)

    base_url: str = Field(description="Address of the environment: https://example.api.crm4.dynamics.com.")
    tenant: str = Field(pattern=r"^[A-Za-z0-9.-]+$", description="The directory (tenant): its id or domain.")
    client_id: str = Field(description="Application (client) id of the app registration.")
    client_secret: Secret = Field(description="Its client secret: ${env:D365_SECRET}.")
    login_url: str = Field("https://login.microsoftonline.com", description="Where tokens are given; another one in some clouds.")
    entities: tuple[Entity, ...] = Field(
        (
            "users", "pipelines", "accounts", "contacts", "leads", "deals", "products", "deal_lines", "activities", "orders",
            "campaigns", "campaign_costs", "fx_rates",
        ),
        min_length=1,
        description="What to read. `tickets` needs the table of cases and is off unless named.",
    )  # fmt: skip
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
    page_size: int = Field(5000, ge=1, le=5000, description="Rows per answer.")
    requests_per_minute: int = Field(1000, ge=1, le=6000, description="Our share of what the service allows.")

    @property
    def scope(self) -> str:
        """What a token is asked for: the whole environment, as its administrator has allowed."""
        parts = urlsplit(self.base_url)
        host = (parts.netloc or "").replace(".api.", ".", 1)
        return f"{parts.scheme}://{host}/.default"
