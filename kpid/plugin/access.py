"""What all sources behind an HTTP API have in common: where it is, how to talk to it, what to read, and own fields."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from kpid.plugin.client import Auth, HttpClient
from kpid.plugin.connector import SourceContext
from kpid.plugin.entities import ENTITIES
from kpid.plugin.pacing import Pacer, RateLimit
from kpid.plugin.settings import Settings

CONNECT = 10.0
"""Seconds to wait for a connection."""


class ApiSettings(Settings):
    """Settings of a source behind an HTTP API. Subclasses say the usual ``base_url`` and ``entities``."""

    with_fields: ClassVar[Collection[str]] = tuple(ENTITIES)
    """The entities that may have fields of the company's own."""

    base_url: str = Field(description="Address of the API.")
    entities: tuple[str, ...] = Field((), description="What to read.")
    fields: Mapping[str, Mapping[str, str]] = Field(
        default_factory=dict,
        description="Own fields: `deals: {region: its_name_there}` fills the column region; other names go into `extra`.",
    )
    read_timeout: float = Field(60.0, gt=0, le=600, description="Seconds to wait for the next part of an answer.")
    allow_private: bool = Field(False, description="Allow base_url on a private address.")
    ca_file: Path | None = Field(None, description="A certificate authority of your own.")

    @field_validator("fields")
    @classmethod
    def _known_entities(cls, value: Mapping[str, Mapping[str, str]]) -> Mapping[str, Mapping[str, str]]:
        if unknown := value.keys() - set(cls.with_fields):
            raise ValueError(f"no such entity: {', '.join(sorted(unknown))}; there are {', '.join(cls.with_fields)}")
        return value

    def client(
        self,
        context: SourceContext,
        *,
        vendor: str,
        account: str,
        auth: Auth | None = None,
        limits: Sequence[RateLimit] = (),
        base_url: str | None = None,
        **hooks: Any,
    ) -> HttpClient:
        """A client for the API, or for another server of the same vendor. Contacts nobody.

        Args:
            context: clock, name, and the pacers that all sources share.
            vendor: whose limits count.
            account: what names the account to the vendor (a token, an address); it is not kept as it is.
            auth: adds credentials.
            limits: of the account: requests of all its sources count together.
            base_url: another server, a login server for instance.
            hooks: further arguments of :class:`~kpid.plugin.client.HttpClient`.
        """
        return HttpClient(
            base_url or self.base_url,
            name=context.source_id,
            clock=context.clock,
            auth=auth,
            pacer=pacer_of(context, vendor, account, limits),
            **{"timeout": (CONNECT, self.read_timeout), **hooks},
            allow_private=self.allow_private,
            ca_file=context.folder / self.ca_file if self.ca_file else None,
        )


def pacer_of(context: SourceContext, vendor: str, account: str, limits: Sequence[RateLimit]) -> Pacer:
    """The pacer of an account at a vendor, shared by all its sources. ``account`` may be a secret: only its digest is kept."""
    return context.pacers.of(f"{vendor}:{sha256(account.encode()).hexdigest()}", limits, context.clock)
