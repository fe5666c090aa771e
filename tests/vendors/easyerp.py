"""EasyERP's bench: a server, its database, and connectors to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kpid_easyerp import EasyErpConnector, EasyErpSettings

from kpid.testing import FakeClock
from kpid.testing.crm import Record
from kpid.testing.crm_bench import CrmBench
from kpid.testing.easyerp import LOGIN, PASSWORD, FakeEasyErp


class EasyErpBench(CrmBench):
    """A server, its database, and connectors to it. ``options`` are settings of every connector."""

    secrets = (PASSWORD,)
    can = frozenset({"purge", "listing", "count", "tokens", "fields", "pipelines"})
    cap = 60
    pages = r"^/opportunities/\?"
    silenced: ClassVar[tuple[str, str] | None] = ("contacts", "/persons/")
    compared: ClassVar[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        **CrmBench.compared,
        "users": (("users",), ("name", "email", "is_active")),
        "accounts": (("accounts",), ("name", "owner_id", "created_at", "updated_at")),
        "contacts": (("contacts",), ("name", "email", "updated_at")),
        "leads": (("leads",), ("name", "email", "company", "status", "converted_at", "converted_deal_id", "created_at")),
        "activities": (("tasks",), ("subject", "deal_id", "owner_id", "status", "scheduled_end")),
        "products": (("products",), ("name", "code")),
        "campaigns": (("campaigns",), ("name",)),
        "orders": (("orders",), ("net_amount", "account_id", "owner_id", "ordered_at", "status")),
    }
    mergeable: ClassVar[tuple[str, ...]] = ()
    dropped: ClassVar[tuple[str, str]] = ("expectedRevenue", "amount")

    def __init__(self, clock: FakeClock | None = None, **options: Any) -> None:
        clock = clock or FakeClock()
        super().__init__(FakeEasyErp(clock=clock), clock)
        self.chosen = options

    def options(self) -> dict[str, Any]:
        usual = {"base_url": self.api.url, "login": LOGIN, "password": PASSWORD, "server_timezone": "Europe/Kyiv"}
        return {**usual, "allow_private": True, "page_size": self.cap, **self.chosen}

    def connector(self, **options: Any) -> EasyErpConnector:
        return EasyErpConnector(EasyErpSettings(**{**self.options(), **options}), self.context())

    def add_field(self, column: str, values: Mapping[str, str]) -> dict[str, Any]:
        for native_id, value in values.items():
            self.crm.edit("deals", native_id, touch=False, own_field=value)
        return {"fields": {"deals": {column: "own_field"}}}

    def misspell_field(self) -> EasyErpConnector:
        return self.connector(fields={"deals": {"region": "own_feild"}})

    def rename_pipeline(self) -> EasyErpConnector:
        """There is one pipeline; its stages are renamed."""
        self.api.renamed["Angebot"] = "Renamed"
        return self.connector(stages={"Angebot": "open"})

    def column(self, record: Record, column: str) -> Any:
        value = super().column(record, column)
        return value or None if isinstance(value, str) else value
