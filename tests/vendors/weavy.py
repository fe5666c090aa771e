"""Divalto weavy's bench: a project, its API, and connectors to it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, ClassVar

from kpid_divalto_weavy import WeavyConnector, WeavySettings

from kpid.testing import FakeClock, Walk
from kpid.testing.crm import Record
from kpid.testing.crm_bench import CrmBench
from kpid.testing.crm_doer import Doer
from kpid.testing.weavy import PASSWORD, PROJECT, USER, FakeWeavy
from kpid.testing.weavy_tables import PICK_LISTS

TABLES = {"users": "baseuser", "accounts": "customer", "contacts": "customercontact", "deals": "deal", "pipelines": "dealstep"}


class WeavyBench(CrmBench):
    """A project, its API, and connectors to it. ``options`` are settings of every connector."""

    secrets = (PASSWORD,)
    can = frozenset({"restore", "purge", "late", "tokens", "scopes", "fields", "pipelines", "listing", "count", "touched"})
    cap = 1000
    pages = r'Select.*\n.*"entityName": ?"deal"'
    small_pages: ClassVar[Mapping[str, Any]] = {"page_size": 60}
    silenced: ClassVar[tuple[str, str] | None] = ("contacts", '"customercontact"')
    quiet_calls = 25
    compared: ClassVar = {
        **CrmBench.compared,
        "accounts": (("accounts",), ("name", "owner_id", "updated_at", "created_at")),
        "contacts": (("contacts",), ("name", "email", "account_id", "owner_id", "updated_at")),
        "users": (("users",), ("name", "email")),
        "stages": (("stages",), ("name",)),
        "leads": (("leads",), ("name", "email", "company", "updated_at")),
        "products": (("products",), ("name", "code")),
        "deal_lines": (("lines",), ("deal_id", "product_id", "quantity", "unit_price", "amount")),
        "activities": (("calls",), ("subject", "deal_id", "account_id", "owner_id")),
        "tickets": (("tickets",), ("subject", "account_id", "closed_at")),
        "orders": (("orders",), ("account_id", "deal_id", "net_amount", "ordered_at")),
        "order_lines": (("orders",), ("net_amount",)),
        "subscriptions": (("orders",), ("account_id", "started_at")),
        "pipelines": (("pipelines",), ()),
    }
    fixed: ClassVar[tuple[str, ...]] = ("stages", "pipelines")
    always: ClassVar[tuple[str, ...]] = ("accounts", "deals")
    usual: ClassVar = ("users", "pipelines", "accounts", "contacts", "deals")

    def __init__(self, clock: FakeClock | None = None, **options: Any) -> None:
        clock = clock or FakeClock()
        self.weavy = FakeWeavy(clock=clock)
        super().__init__(self.weavy, clock)
        self.chosen = options
        self.entities = self.usual

    def options(self) -> dict[str, Any]:
        place = {"base_url": self.api.url, "allow_private": True, "read_timeout": 10}
        tables = {"products": "product", "orders": "saleorder", "order_lines": "saleorderline"}
        who = {"project": PROJECT, "user": USER, "password": PASSWORD}
        return {**place, **who, "tables": tables, "entities": self.entities, **self.chosen}

    def connector(self, **options: Any) -> WeavyConnector:
        return WeavyConnector(WeavySettings(**{**self.options(), **options}), self.context())

    def delete(self, native_id: str) -> None:
        self.crm.delete("deals", native_id, touch=True)

    def drop_field(self) -> str:
        self.api.hidden.add(("deal", "amount"))
        return "amount"

    def add_field(self, column: str, values: Mapping[str, str]) -> dict[str, Any]:
        self.weavy.own["deal"] = {"ownRegion": dict(values)}
        return {"fields": {"deals": {column: "ownRegion"}}}

    def misspell_field(self) -> WeavyConnector:
        return self.connector(fields={"deals": {"region": "ammount"}})

    def rename_pipeline(self) -> WeavyConnector:
        return self.connector(pipelines=["Vieilles affaires"])

    def lose_scope(self, entity: str) -> None:
        self.api.forbidden.add(TABLES[entity])

    def _true(self, entity: str) -> dict[str, dict[str, Any]]:
        types = {code: {"name": label} for code, kind, label in PICK_LISTS if kind == "dealType"}
        return types if entity == "pipelines" else super()._true(entity)

    def column(self, record: Record, column: str) -> Any:
        return record.values.get("ordered_at") if column == "started_at" else super().column(record, column)

    def disturb(self, chance: random.Random) -> None:
        """Nothing vanishes without a word: with the ids compared now and then only, that is seen late."""
        Doer(self.crm, chance, self.can - {"purge"}, self.merging(), self._kinds).do_something()

    def inspect(self, walk: Walk) -> None:
        if "deals" in self.read():
            walk.check_observed_history()
