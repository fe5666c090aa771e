"""What a Slack receiver is told."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from kpid.plugin import Secret, Settings, hosts


class SlackSettings(Settings):
    """Settings of a Slack receiver: ``token`` and ``channel``, or ``webhook_url``."""

    token: Secret | None = Field(None, description="Bot token (xoxb-...).")
    channel: str | None = Field(None, pattern=r"^[A-Z0-9]{3,40}$", description="Id of the channel (C0123456789), not its name.")
    app_token: Secret | None = Field(
        None, description="App token (xapp-..., scope connections:write): messages get buttons, and kpid hears them."
    )
    webhook_url: Secret | None = Field(
        None, description="Incoming webhook instead of a bot: no threads, and a repeat is possible."
    )
    broadcast_resolved: bool = Field(False, description="Show the end of an alert in the channel too, not only in its thread.")
    api_url: str = Field(
        "https://slack.com/api", description="Slack's address; changed for GovSlack (https://slack-gov.com/api)."
    )
    timeout: float = Field(30.0, gt=0, description="Seconds to wait for an answer.")
    ca_file: Path | None = Field(None, description="Certificate authority of a company's proxy.")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.webhook_url is None) == (self.token is None):
            raise ValueError("a Slack receiver needs either `token` and `channel`, or `webhook_url`")
        if self.token is not None and self.channel is None:
            raise ValueError(
                "the channel's id is missing: `channel: C0123456789` (in Slack: channel name > About > at the bottom)"
            )
        if self.app_token is not None and self.token is None:
            raise ValueError("buttons need a bot: `token` and `channel` besides `app_token`")
        for url in (self.api_url, self.api_url if self.webhook_url is None else self.webhook_url.get_secret_value()):
            parts = urlsplit(url)
            if not parts.hostname or parts.username is not None:
                raise ValueError("write https://host/path, without user and password")
            if parts.scheme != "https" and not hosts.is_loopback(parts.hostname or ""):
                raise ValueError("the address must begin with https://")
        return self
