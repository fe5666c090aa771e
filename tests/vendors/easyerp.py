"""EasyERP's bench: a server, its database, and connectors to it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from kpid_easyerp import EasyErpConnector, EasyErpSettings

from kpid.testing import FakeClock, Walk
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
        "refunds": (("orders",), ()),
        "pipelines": (("pipelines",), ()),
        "teams": (("users",), ("name",)),
        "stages": (("stages",), ("name", "state")),
    }
    inspected = frozenset({"deal_field_history"})
    fixed: ClassVar[tuple[str, ...]] = ("stages", "pipelines")
    mergeable: ClassVar[tuple[str, ...]] = ()
    buries: ClassVar[bool] = False
    dropped: ClassVar[tuple[str, str]] = ("expectedRevenue", "amount")

    def __init__(self, clock: FakeClock | None = None, **options: Any) -> None:
        clock = clock or FakeClock()
        super().__init__(FakeEasyErp(clock=clock), clock)
        self.chosen = options

    def options(self) -> dict[str, Any]:
        usual = {"base_url": self.api.url, "login": LOGIN, "password": PASSWORD, "server_timezone": "Europe/Kyiv"}
        what = {} if self.entities is None else {"entities": self.entities}
        return {**usual, "allow_private": True, "page_size": self.cap, **what, **self.chosen}

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

    def _true(self, entity: str) -> dict[str, dict[str, Any]]:
        match entity:
            case "pipelines":
                return {"Opportunities": {}}
            case "teams":
                departments = [one.values.get("department") for one in self.crm.living("users").values()]
                return {one["_id"]: {"name": one["name"]} for one in departments if one}
            case "refunds":
                given = {one.id: one.values for one in self.crm.living("orders").values() if "refunded" in one.values}
                return {f"refund-{key}": {"amount": values["refunded"], "order_id": key} for key, values in given.items()}
        return super()._true(entity)

    def prepare(self, folder: Path, chance: random.Random) -> None:
        super().prepare(folder, chance)
        if self.is_flooded:  # a view for each of thousands of deals takes minutes; of leads only their views tell all
            self.chosen |= {"page_size": 1000, "details": False}
            self.choose([entity for entity in self.entities or () if entity != "leads"])

    def disturb(self, chance: random.Random) -> None:
        """Now and then money is given back, or somebody comes to another department.

        It takes its time: a deal that was a lead for less than a second is taken for one that was none.
        """
        self.clock.advance(timedelta(seconds=2))
        orders, users = sorted(self.crm.living("orders")), sorted(self.crm.living("users"))
        if orders and chance.random() < 0.1:
            self.crm.edit("orders", chance.choice(orders), refunded=Decimal(chance.randint(1, 50)))
        elif users and chance.random() < 0.1:
            number = chance.randint(1, 3)
            department = {"_id": f"55b92ace21e4b7c40f00001{number}", "name": f"Department {number}"}
            self.crm.edit("users", chance.choice(users), department=chance.choice([department, None]))
        else:
            super().disturb(chance)

    def inspect(self, walk: Walk) -> None:
        """What is the last amount of a history is the present one."""
        if "deals" not in self.read():
            return
        walk.check_observed_history()
        amounts = walk.rows("deal_field_history", where="field = 'amount' AND valid_to IS NULL")
        last = {row["deal_id"]: row["value"] for row in amounts}
        for key, record in self.crm.living("deals").items():
            told, amount = last.get(f"crm:{key}"), record.values.get("amount")
            assert told is None or Decimal(told) == amount, (key, told, amount)
