"""The bench of Salesforce."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from kpid_salesforce import SalesforceConnector, SalesforceSettings

from kpid.testing import FakeClock
from kpid.testing.crm import Record
from kpid.testing.crm_bench import CrmBench
from kpid.testing.expecting import compare_rows
from kpid.testing.salesforce import CLIENT_ID, CLIENT_SECRET, FakeSalesforce
from kpid.testing.salesforce_children import items_of, mail_id
from kpid.testing.salesforce_objects import MODEL, SURVEY, last_move
from kpid.testing.walks import Walk
from tests.vendors.salesforce_life import call, give_back, invite, invited

OBJECTS = {
    "accounts": "Account", "contacts": "Contact", "leads": "Lead", "deals": "Opportunity", "activities": "Task",
    "users": "User", "tickets": "Case",
}  # fmt: skip
CARRIED = frozenset({"activity_links", "ticket_comments", "campaign_costs"})
"""What comes with records."""
SURVEYS = {"relation": {"kind": "nps", "survey": SURVEY}}


class SalesforceBench(CrmBench):
    """An organisation, its API, and connectors to it. ``chosen`` are settings of every connector."""

    secrets = (CLIENT_SECRET,)
    can = frozenset(
        {
            "merges", "restore", "purge", "late", "history", "tokens", "daily", "scopes", "fields", "listing", "count",
            "touched",
        }
    )  # fmt: skip
    cap = 2000
    pages = r"/query.* FROM Opportunity "
    small_pages: ClassVar[Mapping[str, Any]] = {"page_size": 60}
    silenced: ClassVar[tuple[str, str] | None] = ("contacts", " FROM Contact ")
    quiet_calls = 50
    mergeable: ClassVar[tuple[str, ...]] = ("accounts", "contacts", "leads")
    lived_in: ClassVar[tuple[str, ...]] = (
        "deals",
        "deals",
        "deals",
        "accounts",
        "contacts",
        "leads",
        "calls",
        "meetings",
        "tickets",
    )
    compared: ClassVar[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "deals": (
            ("deals",),
            (
                "name", "stage_id", "state", "amount", "currency", "account_id", "owner_id", "primary_contact_id", "probability",
                "closed_at", "created_at", "updated_at",
            ),
        ),
        "accounts": (("accounts",), ("name", "domain", "owner_id", "updated_at")),
        "contacts": (("contacts",), ("name", "email", "account_id", "owner_id", "updated_at")),
        "leads": (
            ("leads",),
            ("name", "email", "company", "status", "converted_account_id", "converted_contact_id", "converted_deal_id"),
        ),
        "activities": (
            ("calls", "emails", "tasks", "meetings"),
            ("subject", "owner_id", "deal_id", "account_id", "duration_s", "updated_at"),
        ),
        "tickets": (
            ("tickets",),
            (
                "subject", "status", "account_id", "owner_id", "closed_at", "updated_at", "first_reply_at", "reply_count_public",
            ),
        ),
        "products": (("products",), ("name", "code", "is_active")),
        "deal_lines": (("lines",), ("deal_id", "product_id", "quantity", "unit_price", "amount", "currency")),
        "orders": (("orders",), ("account_id", "deal_id", "owner_id", "status", "net_amount", "currency")),
        "campaigns": (("campaigns",), ("name",)),
        "campaign_members": (("members",), ("campaign_id",)),
        "users": (("users",), ("name", "email", "is_active")),
        "pipelines": (("pipelines",), ()),
        "stages": (("stages",), ("name",)),
        "teams": (("UserRole",), ()),
        "fx_rates": (("CurrencyType",), ()),
        "targets": (("ForecastingQuota",), ()),
        "order_lines": (("orders",), ()),
        "refunds": (("orders",), ("amount", "order_id", "account_id")),
        "subscriptions": (("contracts",), ("account_id", "owner_id", "plan", "status")),
        "attributions": (("influences",), ("deal_id", "campaign_id", "weight", "model")),
        "survey_sends": (("invites",), ("kind", "sent_at")),
        "survey_responses": (("surveys",), ("kind", "score")),
    }  # fmt: skip
    fixed: ClassVar[tuple[str, ...]] = ("stages", "pipelines", "UserRole", "CurrencyType", "ForecastingQuota")
    inspected = frozenset({"deal_stage_history", "deal_field_history", "owner_history", "ticket_status_history", *CARRIED})

    def __init__(self, clock: FakeClock | None = None, **options: Any) -> None:
        clock = clock or FakeClock()
        self.api: FakeSalesforce
        super().__init__(FakeSalesforce(clock=clock), clock)
        self.chosen = options

    def options(self) -> dict[str, Any]:
        login = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        what = {} if self.entities is None else {"entities": self.entities}
        usual = {"base_url": self.api.url, "allow_private": True, "read_timeout": 2.0, **login}
        return {
            **usual,
            "surveys": SURVEYS,
            "influence_models": {MODEL: "linear"},
            "order_states": {"cancelled": "cancelled"},
            **what,
            **self.chosen,
        }

    def connector(self, **options: Any) -> SalesforceConnector:
        return SalesforceConnector(SalesforceSettings(**{**self.options(), **options}), self.context())

    def delete(self, native_id: str) -> None:
        self.crm.delete("deals", native_id, touch=True)

    def lose_scope(self, entity: str) -> None:
        self.api.forbidden.add(OBJECTS[entity])

    def add_field(self, column: str, values: Mapping[str, str]) -> dict[str, Any]:
        self.api.own_fields["Opportunity"] = {"Own_Field__c"}
        for native_id, value in values.items():
            self.crm.edit("deals", native_id, touch=False, Own_Field__c=value)
        return {"fields": {"deals": {column: "Own_Field__c"}}}

    def misspell_field(self) -> SalesforceConnector:
        self.api.own_fields["Opportunity"] = {"Region__c"}
        return self.connector(fields={"deals": {"region": "Regoin__c"}})

    def column(self, record: Record, column: str) -> Any:
        if column == "closed_at" and record.kind == "deals":
            return None if record.values.get("state") == "open" else last_move(record)
        if column in {"first_reply_at", "reply_count_public"}:
            replies = self._replies(record.id)
            return len(replies) if column == "reply_count_public" else min(replies, default=None)
        if column == "currency":
            return record.values.get("currency") or "EUR"
        own: Mapping[tuple[str, str], Any] = {
            ("contracts", "plan"): record.values.get("name"),
            ("contracts", "status"): "ended" if record.values.get("status_code") == "Terminated" else "active",
            ("campaigns", "amount"): record.values.get("cost"),
            ("influences", "weight"): record.values.get("share", Decimal(0)) / 100,
            ("influences", "model"): "linear",
            ("invites", "sent_at"): record.created,
            ("orders", "amount"): abs(record.values.get("net_amount") or 0),
        }
        if (record.kind, column) in own:
            return own[record.kind, column]
        return super().column(record, column)

    def _replies(self, ticket: str) -> list[datetime]:
        written = (record for record in self.crm.living("comments").values() if record.values["ticket_id"] == ticket)
        return [record.values["at"] for record in written if record.values["author_role"] == "agent"]

    def _true(self, entity: str) -> dict[str, dict[str, Any]]:
        """Of activities e-mails and calls, too, for which no task stands; a task for which there is a call is as long as that."""
        orders = self.crm.living("orders").values()
        match entity:
            case "pipelines":
                return {"sales": {"name": "Sales"}}
            case "users":  # queues own records, too
                queues = self.api.metadata.get("Group", {})
                return super()._true(entity) | {key: {"name": one["name"]} for key, one in queues.items()}
            case "teams" | "fx_rates" | "targets":
                return self._whole(entity)
            case "orders" | "refunds":  # reductions of orders are refunds, where these are read
                wanted = {entity == "refunds"} | ({True} if "refunds" not in self.read() else set())
                known = {record.id for record in orders if bool(record.values.get("is_reduction")) in wanted}
                return {key: row for key, row in super()._true(entity).items() if key in known}
            case "order_lines":
                lines = {item.id: item for key in self._true("orders") for item in items_of(self.crm.kinds["orders"].true(key))}
                return {
                    key: {"order_id": item.values["order"], "net_amount": item.values["net_amount"]}
                    for key, item in lines.items()
                }
        found = super()._true(entity)
        if entity == "activities":
            for comment in self.crm.living("comments").values():
                if comment.values.get("via") == "mail" and comment.values.get("mail_status") != "5":
                    direction = "inbound" if comment.values["author_role"] == "end_user" else "outbound"
                    found[mail_id(comment.id)] = {"type": "email", "direction": direction, "updated_at": comment.modified}
            for call in self.crm.living("voice_calls").values() if "VoiceCall" not in self.api.lacks else ():
                told = {name: self.column(call, name) for name in ("duration_s", "occurred_at", "ended_at")}
                if (task := call.values.get("task")) in found:
                    found[task] |= {**told, "type": "call"}
                else:
                    own = {name: self.column(call, name) for name in ("owner_id", "deal_id", "updated_at")}
                    found[call.id] = {**told, **own, "type": "call", "direction": "outbound"}
        return found

    def _whole(self, entity: str) -> dict[str, dict[str, Any]]:
        """What is no record of the neutral CRM, and is read as a whole."""
        held = self.api.metadata
        match entity:
            case "teams":
                return {key: {"name": one["name"]} for key, one in held.get("UserRole", {}).items()}
            case "fx_rates":
                rates = held.get("CurrencyType", {})
                return {
                    key: {"from_currency": one["IsoCode"], "to_currency": "EUR", "rate": 1 / one["ConversionRate"]}
                    for key, one in rates.items()
                    if one["IsoCode"] != "EUR"
                }
            case _:
                quotas = held.get("ForecastingQuota", {})
                return {key: {"value": one["QuotaAmount"], "period_kind": "quarter"} for key, one in quotas.items()}

    def carried(self, entity: str) -> dict[str, dict[str, Any]]:
        """What comes with living records: guests of meetings, what was written on cases, what campaigns cost."""
        match entity:
            case "activity_links":
                return {
                    one.id: {"activity_id": one.values["activity"], "object_id": f"crm:{one.values['lead_id']}"}
                    for one in invited(self.crm)
                }
            case "ticket_comments":  # e-mails have ids of their own
                written = [
                    one for one in self.crm.living("comments").values() if one.values["ticket_id"] in self.crm.living("tickets")
                ]
                return {
                    mail_id(one.id) if one.values.get("via") == "mail" else one.id: {"ticket_id": one.values["ticket_id"]}
                    for one in written
                }
            case _:
                return {key: {"amount": one.values.get("cost")} for key, one in self.crm.living("campaigns").items()}

    # -- random walks --------------------------------------------------------------------------------------------------------

    def flood(self, count: int) -> None:
        self.crm.bulk("deals", count)

    def prepare(self, folder: Path, chance: random.Random) -> None:
        super().prepare(folder, chance)
        self._disturb_whole(chance)
        self.api.page = chance.choice([3, 200, 2000])
        self.api.lacks = chance.choice([{"VoiceCall"}, set()])
        self.chosen |= {"page_size": chance.choice([7, 40, 2000]), "bulk_above": chance.choice([0, 2000])}
        if self.is_flooded:  # in answers of three records that takes minutes
            self.api.page, self.chosen["page_size"] = 2000, 2000

    def disturb(self, chance: random.Random) -> None:
        """Now and then somebody writes on a case, which does not change it, closes or opens one; calls, and logs it later."""
        ticket = chance.choice([*sorted(self.crm.living("tickets")), None])
        match chance.randint(0, 10):
            case 0 if ticket:
                values = {"author_role": chance.choice(["agent", "end_user"]), "via": chance.choice(["mail", "comment"])}
                self.crm.create("comments", {"ticket_id": ticket, "at": self.clock.now().replace(microsecond=0), **values})
            case 1 if ticket:
                is_open = self.crm.living("tickets")[ticket].values.get("closed_at") is None
                closed = {"status": "closed", "closed_at": self.clock.now().replace(microsecond=0)}
                self.crm.edit("tickets", ticket, **(closed if is_open else {"status": "open", "closed_at": None}))
            case 2:
                call(self.crm, chance)
            case 3:
                self._disturb_whole(chance)
            case 4 if orders := sorted(self.crm.living("orders")):
                give_back(self.crm, chance.choice(orders), chance)
            case 5 | 6:
                invite(self.crm, chance)
            case _:
                super().disturb(chance)

    def _disturb_whole(self, chance: random.Random) -> None:
        """Somebody sets a rate, a quota or a role, or takes one away."""
        held, key = self.api.metadata, str(chance.randint(1, 4))
        held["Period"] = {"0261": {"Type": "Quarter", "StartDate": "2026-10-01", "EndDate": "2026-12-31"}}
        held.setdefault("CurrencyType", {})["0"] = {"IsoCode": "EUR", "ConversionRate": Decimal(1), "IsCorporate": True}
        quota = {"QuotaAmount": Decimal(chance.randint(1, 9000)), "QuotaOwnerId": "005", "PeriodId": "0261"}
        made: dict[str, dict[str, Any]] = {
            "UserRole": {"name": f"Team {chance.randint(1, 99)}"},
            "ForecastingQuota": {**quota, "ForecastingTypeId": "0Db1"},
            "CurrencyType": {
                "IsoCode": ("USD", "CHF", "GBP", "SEK")[int(key) - 1],
                "ConversionRate": Decimal(chance.choice([2, 4, 5])),
            },
        }
        for name, values in made.items():
            if chance.random() < 0.3:
                held.setdefault(name, {}).pop(key, None)
            else:
                held.setdefault(name, {})[key] = values

    def inspect(self, walk: Walk) -> None:
        found: dict[str, list[Any]] = {}
        for row in sorted(walk.rows("deal_stage_history", where="origin = 'crm'"), key=lambda row: row["valid_from"]):
            interval = (row["stage_id"].partition(":")[2], row["valid_from"], row["valid_to"])
            found.setdefault(row["deal_id"].partition(":")[2], []).append(interval)
        for deal in self.crm.living("deals"):
            assert found[deal] == self.crm.intervals(deal), deal
        self._inspect_histories(walk)
        for entity in CARRIED & self.read():
            compare_rows(self.carried(entity), walk.living(entity), entity)

    def _inspect_histories(self, walk: Walk) -> None:
        for table, kind, key, value, name in (
            ("owner_history", "deals", "object_id", "owner_id", "owner_id"),
            ("ticket_status_history", "tickets", "ticket_id", "status", "status"),
        ):
            last: dict[str, Any] = {}
            for row in sorted(walk.rows(table), key=lambda row: row["valid_from"]):
                assert last.get(row[key], (0, row["valid_from"]))[1] == row["valid_from"], row  # one ends where the next begins
                last[row[key]] = (row[value], row["valid_to"])
            for native_id, record in self.crm.living(kind).items():
                if any(set_to is None for field, set_to, _ in record.log if field == name):
                    continue  # Salesforce's own records always have an owner
                if (told := last.get(f"crm:{native_id}")) is not None:
                    assert (str(told[0]).removeprefix("crm:"), told[1]) == (str(record.values.get(name)), None), native_id
