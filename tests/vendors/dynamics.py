"""A bench over a fake Dataverse environment."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from kpid_dynamics365 import DynamicsConnector, DynamicsSettings
from kpid_dynamics365.mapping import PIPELINE

from kpid.testing import FakeClock, Walk
from kpid.testing.crm import Record
from kpid.testing.crm_bench import CrmBench
from kpid.testing.crm_doer import Doer
from kpid.testing.dataverse import CLIENT_SECRET, TENANT, FakeDataverse

SETS = {
    "users": ("systemusers",), "pipelines": ("processstages",), "deals": ("opportunities",), "tickets": ("incidents",),
    "activities": ("phonecalls", "appointments", "emails", "tasks"),
}  # fmt: skip


class DynamicsBench(CrmBench):
    """An environment and connectors to it."""

    api: FakeDataverse
    secrets = (CLIENT_SECRET,)
    can = frozenset({"merges", "purge", "tokens", "scopes", "fields", "pipelines", "listing", "count"})
    cap = 60
    pages = r"/opportunities\?"
    silenced: ClassVar[tuple[str, str] | None] = ("contacts", "/contacts?")
    compared: ClassVar[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "deals": (
            ("deals",),
            ("name", "stage_id", "state", "amount", "account_id", "owner_id", "closed_at", "created_at", "updated_at"),
        ),
        "accounts": (("accounts",), ("name", "owner_id", "updated_at")),
        "contacts": (("contacts",), ("name", "email", "account_id", "updated_at")),
        "leads": (("leads",), ("name", "converted_at", "converted_deal_id", "updated_at")),
        "activities": (("calls", "meetings", "emails", "tasks"), ("subject", "deal_id", "updated_at")),
        "products": (("products",), ("name", "code", "is_active")),
        "deal_lines": (("lines",), ("deal_id", "product_id", "quantity", "unit_price", "amount", "currency")),
        "orders": (("orders",), ("account_id", "deal_id", "net_amount", "status", "ordered_at", "currency")),
        "order_lines": (("orders",), ("net_amount", "currency")),
        "campaigns": (("campaigns",), ("name", "updated_at")),
        "campaign_members": (("members",), ("campaign_id", "person_id")),
        "survey_sends": (("surveys",), ("kind", "respondent_id")),
        "campaign_costs": (("campaigns",), ("amount", "currency")),
        "tickets": (("tickets",), ("subject", "account_id", "closed_at", "updated_at")),
        "survey_responses": (("surveys", "tickets"), ()),
        "users": (("users",), ("name", "email")),
        "teams": (("teams",), ()),
        "pipelines": (("processes",), ()),
        "stages": (("stages",), ()),
    }
    inspected = frozenset({"fx_rates"})
    fixed: ClassVar[tuple[str, ...]] = ("stages", "teams", "processes")
    prefixes: ClassVar[Mapping[str, str]] = {
        "calls": "phonecall-", "meetings": "appointment-", "emails": "email-", "tasks": "task-",
    }  # fmt: skip
    mergeable: ClassVar[tuple[str, ...]] = ("accounts", "contacts")
    lived_in: ClassVar[tuple[str, ...]] = ("deals", "deals", "deals", "accounts", "contacts", "leads", "calls", "tickets")
    dropped: ClassVar[tuple[str, str]] = ("closeprobability", "probability")

    def __init__(self) -> None:
        clock = FakeClock()
        super().__init__(FakeDataverse(clock=clock), clock)
        self.more: dict[str, Any] = {}
        """Further options of every connector."""
        self.entities = self.known()

    def options(self) -> dict[str, Any]:
        return {
            "base_url": self.api.url,
            "login_url": self.api.url,
            "tenant": TENANT,
            "client_id": "a1b2c3d4-0000-4000-8000-00000000c11e",
            "client_secret": CLIENT_SECRET,
            **({} if self.entities is None else {"entities": self.entities}),
            "page_size": self.cap,
            "allow_private": True,
            "read_timeout": 10,
        }

    def connector(self, **options: Any) -> DynamicsConnector:
        return DynamicsConnector(DynamicsSettings(**{**self.options(), **self.more, **options}), self.context())

    def column(self, record: Record, column: str) -> Any:
        is_open = record.kind == "deals" and record.values.get("state") == "open"  # some open deals hold an old closing
        if (record.kind, column) == ("campaigns", "amount"):
            return record.values.get("cost")
        if column in {"person_id", "respondent_id"}:
            return record.values.get(column) or "somebody@example.com"
        return None if column == "closed_at" and is_open else super().column(record, column)

    def lose_scope(self, entity: str) -> None:
        self.api.forbidden |= set(SETS.get(entity, (entity,)))

    def add_field(self, column: str, values: Mapping[str, str]) -> dict[str, Any]:
        self.api.own["deals"] = {f"new_{column}": dict(values)}
        return {"fields": {"deals": {column: f"new_{column}"}}}

    def rename_pipeline(self) -> DynamicsConnector:
        """There is one pipeline; the settings name its stages."""
        self.crm.edit("stages", self.crm.stage_ids["offer"], name="Neues Angebot")
        return self.connector(stages={"Angebot": "open"})

    def misspell_field(self) -> DynamicsConnector:
        return self.connector(fields={"deals": {"region": "new_regoin"}})

    def _true(self, entity: str) -> dict[str, dict[str, Any]]:
        match entity:
            case "survey_responses":
                return self._answers()
            case "users":  # teams own records, too
                return super()._true(entity) | self._true("teams")
            case "teams":
                return {key: {"name": name} for key, name in self.api.teams.items()}
            case "pipelines":
                return {PIPELINE: {}}
            case "stages":  # where deals end is no stage of a process
                ends = {"won": {"name": "Won"}, "lost": {"name": "Lost"}}
                return {**{key: {"name": one.values["name"]} for key, one in self.crm.living("stages").items()}, **ends}
        return super()._true(entity)

    def inspect(self, walk: Walk) -> None:
        """Of rates the last ones are known; of a rate that no sync has met nobody tells."""
        if "deals" in self.read():
            walk.check_observed_history()
        if "fx_rates" in self.read():
            stored = {row["native_id"]: row["rate"] for row in walk.rows("fx_rates", where="deleted_at IS NULL")}
            for iso, (rate, at) in self.api.currencies.rates.items():
                assert iso == "EUR" or abs(stored[f"{iso}-{at.date()}"] * rate - 1) < Decimal("1e-6"), (iso, rate)

    def _answers(self) -> dict[str, dict[str, Any]]:
        """Answers in Customer Voice, and the satisfaction noted on cases."""
        voice = {
            record.id: {"kind": "nps", "score": record.values["score"], "respondent_id": self.column(record, "respondent_id")}
            for record in self.crm.living("surveys").values()
        }
        cases = {
            f"case-{record.id}": {"kind": "csat", "score": record.values["satisfaction"], "ticket_id": record.id}
            for record in self.crm.living("tickets").values()
            if record.values.get("satisfaction") is not None
        }
        return {**voice, **cases}

    def prepare(self, folder: Path, chance: random.Random) -> None:
        """Some of the entities, on tables some of which are not tracked."""
        super().prepare(folder, chance)
        self.api.token_at_end = not self.tells_all and chance.random() < 0.7  # deletions during a first read are not told then
        self.api.deleted_as_url = chance.random() < 0.5
        if self.is_flooded:
            self.more = {"page_size": 5000}

    def disturb(self, chance: random.Random) -> None:
        """One thing that people do; nothing vanishes without a word, for that is only found by comparing ids."""
        Doer(self.crm, chance, self.can - {"purge"}, self.merging(), self._kinds).do_something()
        match chance.randint(0, 15):
            case 0:
                rate = (Decimal(chance.choice([2, 4, 5])), self.clock.now().replace(microsecond=0))
                self.api.currencies.rates[chance.choice(["USD", "CHF"])] = rate
            case 1:
                self.api.teams[f"7ea30000-0000-4000-8000-00000000000{chance.randint(2, 4)}"] = f"Team {chance.randint(1, 99)}"
            case 2 if len(self.api.teams) > 1:
                self.api.teams.pop(max(self.api.teams))
        tickets = sorted(self.crm.living("tickets"))
        if tickets and chance.random() < 0.1:
            self.crm.edit("tickets", chance.choice(tickets), satisfaction=chance.choice([None, 1, 5]))
