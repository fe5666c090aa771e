"""HubSpot's bench: a portal, its API, and connectors to it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any, Self, get_args
from zoneinfo import ZoneInfo

from kpid_hubspot import HubSpotConnector, HubSpotSettings

from kpid.plugin import MemoryKeep, Pacers, SourceContext
from kpid.testing import FakeClock, MemorySync, SourceBench, Walk, faults
from kpid.testing.bench import Family
from kpid.testing.clock import SkewedClock
from kpid.testing.hubspot import CLIENT_ID, CLIENT_SECRET, FakeHubSpot, policy
from kpid.testing.hubspot_life import add_company, add_deal, fill
from kpid.testing.hubspot_portal import HubSpotPortal, Record, stamp

BERLIN = ZoneInfo("Europe/Berlin")
STAGES = ("appointmentscheduled", "contractsent", "closedwon", "closedlost")
STATES = {"closedwon": "won", "closedlost": "lost"}
KINDS = {"accounts": "companies", "contacts": "contacts", "deals": "deals", "tickets": "tickets"}
"""Of entities whose records can be merged."""
PATHS = {"activities": "calls", "users": "owners", "fx_rates": "exchange-rates"} | {
    "products": "products", "deal_lines": "line_items", "orders": "orders", "survey_responses": "feedback_submissions",
    "leads": "leads",
}  # fmt: skip
OTHERS = ("products", "deal_lines", "orders", "survey_responses", "leads")
"""Entities that are read if they are named."""
WHOLE = ("users", "pipelines", "fx_rates")
"""What is read as a whole each time."""
MARKETING = ("campaigns", "email_sends")
"""Further ones, which are no records."""
ACTIVITIES = ("calls", "meetings", "emails", "tasks")


class HubSpotBench(SourceBench):
    """A portal, its API, and connectors to it. ``options`` are settings of every connector."""

    entity = "deals"
    secrets = (CLIENT_SECRET, "refresh-fake-0")
    can = frozenset(
        {
            "merges", "restore", "purge", "late", "history", "tokens", "daily", "scopes", "fields", "pipelines", "listing",
            "count", "clock", "silence",
        }
    )  # fmt: skip
    cap = 10_000
    pages = r"/objects/[^/]+/deals(/search)?\?"
    quiet_calls = 35
    inspected = frozenset({"deal_stage_history", "deal_field_history", "owner_history", "ticket_status_history"})

    def __init__(self, clock: FakeClock | None = None, **options: Any) -> None:
        self.clock = clock or FakeClock()
        self.portal = HubSpotPortal(self.clock)
        self.api = FakeHubSpot(self.portal, clock=self.clock)
        self.chosen = options
        self.company = 0
        self.merged: dict[tuple[str, str], str] = {}
        """Losers of merges by type and id, with their winners."""
        self.keep, self.pacers = MemoryKeep(), Pacers()

    def __enter__(self) -> Self:
        self.api.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.api.__exit__()

    def options(self) -> dict[str, Any]:
        login = {
            "auth": "oauth", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "refresh_token": "refresh-fake-0",
        }  # fmt: skip
        return {**login, "base_url": self.api.url, "allow_private": True, **self.chosen}

    def connector(self, **options: Any) -> HubSpotConnector:
        context = SourceContext("crm", BERLIN, Path(), self.clock, "EUR", keep=self.keep, pacers=self.pacers)
        return HubSpotConnector(HubSpotSettings(**{**self.options(), **options}), context)

    @contextmanager
    def connected(self, **options: Any) -> Iterator[HubSpotConnector]:
        connector = self.connector(**options)
        try:
            yield connector
        finally:
            connector.close()

    def sync(self, synced: MemorySync, *, stop_after: int | None = None, **options: Any) -> MemorySync:
        with self.connected(**options) as connector:
            synced.run(connector, stop_after=stop_after)
        return synced

    def later(self, minutes: float = 15) -> None:
        self.clock.advance(timedelta(minutes=minutes))

    # -- what people do ------------------------------------------------------------------------------------------------------

    def add(self, count: int, *, same_instant: bool = False) -> list[str]:
        self.company = self.company or add_company(self.portal, 1, at=self.portal.clock.now())
        at = self.portal.clock.now() - timedelta(minutes=3) if same_instant else None
        if same_instant:
            return [
                str(self.portal.create("deals", {"dealname": f"Import {n}", "dealstage": "closedwon"}, at=at))
                for n in range(count)
            ]
        if self.portal.live("deals"):  # what comes later is changed now, not some time ago
            at = self.portal.clock.now()
        return [str(add_deal(self.portal, number, company=self.company, at=at)) for number in range(count)]

    def change(self, native_id: str) -> None:
        self.portal.edit("deals", int(native_id), dealname="Renamed", dealstage="closedwon", closedate=stamp(self.clock.now()))

    hide = change
    """Every change is hidden for a while: the search index is late."""

    def delete(self, native_id: str) -> None:
        self.portal.archive("deals", int(native_id))

    def restore(self, native_id: str) -> None:
        self.portal.restore("deals", int(native_id))

    def merge(self, winner: str, loser: str) -> None:
        self.merge_of("deals", int(winner), int(loser))

    def merge_of(self, kind: str, winner: int, loser: int) -> None:
        self.portal.merge(kind, winner, loser)
        self.merged[kind, str(loser)] = str(winner)

    def purge(self, native_id: str) -> None:
        self.portal.purge("deals", int(native_id))

    # -- what administrators do ----------------------------------------------------------------------------------------------

    def revoke(self) -> None:
        self.api.token = "another-token"
        self.api.tokens.revoked = True

    def expire_token(self) -> None:
        self.api.tokens.expire()

    def drop_field(self) -> str:
        self.portal.hidden.add(("deals", "amount"))
        return "amount"

    def add_field(self, column: str, values: Mapping[str, str]) -> dict[str, Any]:
        records = self.portal.records["deals"]
        for native_id, value in values.items():
            self.portal.edit("deals", int(native_id), at=records[int(native_id)].updated, own_field=value)
        return {"fields": {"deals": {column: "own_field"}}}

    def misspell_field(self) -> HubSpotConnector:
        return self.connector(fields={"deals": {"region": "sales_regoin"}})

    def rename_pipeline(self) -> HubSpotConnector:
        (pipeline,) = self.portal.pipelines["deals"]
        name, pipeline["label"] = pipeline["label"], "Renamed"
        return self.connector(pipelines=[name])

    def lose_scope(self, entity: str) -> None:
        self.api.missing_scopes.add(PATHS.get(entity, KINDS.get(entity, entity)))

    def silence(self) -> str:
        self.api.fail(faults.silence(), times=1_000_000, path=r"/objects/[^/]+/contacts($|/search)")
        return "contacts"

    def skew(self, by: timedelta) -> None:
        self.api.clock = self.portal.clock = SkewedClock(self.clock, by)

    def family(self) -> Family:
        winner, loser = (add_company(self.portal, number, at=self.clock.now()) for number in (7, 8))
        child = add_deal(self.portal, 1, company=loser, at=self.clock.now())
        return Family("accounts", str(winner), str(loser), "deals", str(child), "account_id")

    def unite(self, family: Family) -> None:
        self.merge_of("companies", int(family.winner), int(family.loser))

    def spend_day(self) -> None:
        self.api.fail(policy("DAILY"), times=1_000_000)

    # -- what is true --------------------------------------------------------------------------------------------------------

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            str(number): {
                "name": record.properties.get("dealname"),
                "stage_id": record.properties["dealstage"],
                "state": STATES.get(record.properties["dealstage"] or "", "open"),
                "amount": Decimal(record.properties["amount"]) if record.properties.get("amount") else None,
                "owner_id": record.properties.get("hubspot_owner_id"),
                "updated_at": record.updated.replace(microsecond=record.updated.microsecond // 1000 * 1000),
            }
            for number, record in self.portal.live("deals").items()
        }

    def truths(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        live = self.portal.live
        deals = {
            native_id: {**columns, "account_id": _first(live("deals")[int(native_id)], "companies")}
            for native_id, columns in self.truth().items()
        }
        truths = {
            "deals": deals,
            "contacts": {str(n): {"account_id": r.properties["associatedcompanyid"]} for n, r in live("contacts").items()},
            "accounts": {str(n): {"name": r.properties["name"]} for n, r in live("companies").items()},
            "tickets": {str(n): {"subject": r.properties["subject"]} for n, r in live("tickets").items()},
            "activities": {f"{kind[:-1]}-{n}": {"updated_at": r.updated} for kind in ACTIVITIES for n, r in live(kind).items()},
        }
        truths |= {
            entity: {str(n): {"updated_at": r.updated} for n, r in live(PATHS[entity]).items() if _counts(r)} for entity in OTHERS
        }
        truths["leads"] = {
            str(n): {"name": r.properties["hs_lead_name"], "updated_at": r.updated} for n, r in live("leads").items()
        }
        truths |= self._marketing() | self._whole()
        read = self.read()
        return {entity: truth for entity, truth in truths.items() if entity in read}

    def _whole(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What is read as a whole: people, pipelines with their stages, exchange rates."""
        portal, columns = self.portal, ("fromCurrencyCode", "toCurrencyCode")
        pipelines = {one["id"]: {"name": one["label"]} for kind in ("deals",) for one in portal.pipelines[kind]}
        stages = {stage["id"]: {"name": stage["label"]} for one in portal.pipelines["deals"] for stage in one["stages"]}
        days = {  # of one day the last rate counts
            (*map(one.get, columns), datetime.fromisoformat(one["effectiveAt"]).astimezone(BERLIN).date()): one
            for one in sorted(portal.rates, key=itemgetter("effectiveAt"))
        }
        rates = {
            one["id"]: dict(zip(("from_currency", "to_currency"), map(one.get, columns), strict=True)) for one in days.values()
        }
        owners = {
            one["id"]: {"name": f"{one['firstName']} {one['lastName']}", "is_active": not one["archived"]}
            for one in portal.owners
        }
        return {"users": owners, "pipelines": pipelines, "stages": stages, "fx_rates": rates}

    def intervals(self) -> dict[str, list[tuple[str, datetime, datetime | None]]]:
        """The stage history as the portal has it."""
        found = {}
        for number, record in self.portal.live("deals").items():
            stages = {at: stage for stage, at in record.history["dealstage"]}  # of two at one instant the later one counts
            starts = sorted(stages)
            ends: list[datetime | None] = [*starts[1:], None]
            found[str(number)] = [(stages[start], start, end) for start, end in zip(starts, ends, strict=True)]
        return found

    # -- random walks --------------------------------------------------------------------------------------------------------

    def prepare(self, folder: Path, chance: random.Random) -> None:
        self.portal.random.seed(chance.randint(1, 99))
        self.tells_all = chance.random() < 0.5
        fill(self.portal, chance.choice([0, 8, 25]))
        usual = ["contacts", "deals", "deals", "activities", "tickets"]
        entities = ["accounts", *chance.sample(usual, 2), chance.choice(OTHERS + MARKETING), chance.choice(WHOLE)]
        entities += ["deals"] if self.is_flooded else []
        self.chosen = {
            "search_page_size": 200 if self.is_flooded else chance.choice([7, 200]), "entities": tuple(dict.fromkeys(entities)),
        }  # fmt: skip
        for _ in range(chance.choice([0, 3])):
            self._disturb_whole(chance)

    def read_all(self) -> None:
        self.chosen["entities"] = get_args(get_args(HubSpotSettings.model_fields["entities"].annotation)[0])

    def flood(self, count: int) -> None:
        self._import(self.clock.now(), count)

    def disturb(self, chance: random.Random) -> None:
        entities = self.chosen.get("entities", ())
        self.api.marketing.live(chance, campaigns="campaigns" in entities, mailings="email_sends" in entities)
        portal = self.portal
        if chance.random() < 0.1:
            self._disturb_whole(chance)
        others = [PATHS[entity] for entity in OTHERS if entity in self.chosen.get("entities", ())]
        kind = chance.choice(["deals", "deals", "companies", "contacts", "tickets", *ACTIVITIES, *others, *others])
        live, archived = sorted(portal.live(kind)), sorted(n for n in portal.archived(kind) if (kind, n) not in portal.merged)
        match chance.choice(["edit", "move", "move", "add", "archive", "restore", "merge", "import", "bulk", "purge"]):
            case "edit" if live:
                owner = chance.choice(["70114500", None])
                name = {"companies": "name", "tickets": "subject", "leads": "hs_lead_name"}.get(kind, "dealname")
                portal.edit(kind, chance.choice(live), **{name: f"Edited {chance.random()}", "hubspot_owner_id": owner})
            case "move":
                self._move(chance)
            case "add":
                self._add(chance, kind)
            case "archive" if live:
                portal.archive(kind, chance.choice(live))
            case "restore" if archived:
                portal.restore(kind, chance.choice(archived), touched=self.tells_all or chance.random() < 0.5)
            case "purge" if (single := [n for n in live if not self._has_merged(kind, n)]) and not self.tells_all:
                portal.purge(kind, chance.choice(single))
            case "merge" if kind in KINDS.values() and len(live) > 1:
                self.merge_of(kind, *chance.sample(live, 2))
            case "import":
                self._import(self.clock.now() - timedelta(minutes=chance.choice([0, 2])), chance.randint(1, 30))
            case "bulk":
                at = self.clock.now()
                for number in portal.live("deals"):
                    portal.edit("deals", number, at=at, amount=str(chance.randint(1, 9)))

    def _has_merged(self, kind: str, number: int) -> bool:
        """Whether a record has taken another's place: with it goes all that tells where that one went."""
        return bool(self.portal.records[kind][number].properties.get("hs_merged_object_ids"))

    def _move(self, chance: random.Random) -> None:
        for kind, name, values in (("deals", "dealstage", STAGES), ("tickets", "hs_pipeline_stage", "14")):
            if found := sorted(self.portal.live(kind)):
                self.portal.edit(kind, chance.choice(found), **{name: chance.choice(values)})

    def _add(self, chance: random.Random, kind: str) -> None:
        if kind == "leads":
            self.portal.create("leads", {"hs_lead_name": "New"}, at=self.clock.now())
        elif self.portal.live("companies"):
            company = chance.choice(sorted(self.portal.live("companies")))
            add_deal(self.portal, chance.randint(1000, 9999), company=company, at=self.clock.now())

    def _disturb_whole(self, chance: random.Random) -> None:
        """Somebody comes or leaves, renames a stage or sets a rate, or takes one away."""
        portal = self.portal
        match chance.randint(0, 4):
            case 0:
                portal.add_owner("Grace", f"Example {chance.randint(1, 99)}")
            case 1:
                owner = chance.choice(portal.owners)
                owner["archived"] = not owner["archived"]
            case 2:
                stage = chance.choice(portal.pipelines["deals"][0]["stages"])
                stage["label"] = f"Stage {chance.randint(1, 99)}"
            case 3:
                portal.add_rate("USD", "EUR", chance.choice([0.8, 0.9]), at=self.clock.now())
            case 4 if portal.rates:
                portal.rates.pop()
        portal.version += 1

    def _marketing(self) -> dict[str, dict[str, dict[str, Any]]]:
        events = self.api.marketing.events
        opens = Counter(event["sentBy"]["id"] for event in events if event["type"] == "OPEN")
        return {
            "campaigns": {one["id"]: {"name": "Campaign"} for one in self.api.marketing.campaigns},
            "campaign_costs": {
                f"{guid}-{item['id']}": {"amount": Decimal(str(item["amount"]))}
                for guid, total in self.api.marketing.budgets.items()
                if guid in {one["id"] for one in self.api.marketing.campaigns}
                for item in total["spendItems"]
            },
            "email_sends": {one["id"]: {"open_count": opens[one["id"]]} for one in events if one["type"] == "SENT"},
        }

    def _import(self, at: datetime, count: int) -> None:
        for number in range(count):
            won = {"dealname": f"Import {number}", "dealstage": "closedwon", "closedate": stamp(at)}
            self.portal.create("deals", won, at=at)

    def spoil(self, chance: random.Random) -> None:
        spoilers = [
            (faults.bad_gateway(), 1), (faults.cut(), 1), (faults.half(), 1), (faults.reset(), 1), (faults.html_ok(), 1),
            (policy("SECONDLY"), 1), (policy("TEN_SECONDLY_ROLLING"), 2), (policy("DAILY"), 1), (faults.limited("3"), 1),
            (faults.status(500), 1), (faults.status(500), 99), (faults.status(401), 1), (faults.compressed(), 5),
        ]  # fmt: skip
        for _ in range(chance.randint(1, 3)):
            fault, times = chance.choice(spoilers)
            path = chance.choice(["", "search", "batch", "deals", "companies", "owners", "calls"])
            self.api.fail(fault, times=times, path=path)

    def inspect(self, walk: Walk) -> None:
        entities = self.chosen.get("entities", ())
        if "deals" in entities:
            self._inspect_history(walk)
            self._inspect_fields(walk)
        if "tickets" in entities:
            self._inspect_tickets(walk)
        for entity, kind in KINDS.items():
            stored = {row["native_id"]: row["merged_into_id"] for row in walk.rows(entity, "native_id, merged_into_id")}
            for (where, loser), winner in self.merged.items():
                is_told = where == kind and int(winner) in self.portal.live(kind)  # of a winner that is gone nothing is told
                assert not is_told or stored.get(loser, f"crm:{winner}") == f"crm:{winner}", (entity, loser)

    def _inspect_history(self, walk: Walk) -> None:
        found: dict[str, list[Any]] = {str(number): [] for number in self.portal.live("deals")}
        for row in sorted(walk.rows("deal_stage_history"), key=lambda row: row["valid_from"]):
            interval = (row["stage_id"].partition(":")[2], row["valid_from"], row["valid_to"])
            found.setdefault(row["deal_id"].partition(":")[2], []).append(interval)
        for number, expected in self.intervals().items():
            assert found[number] == expected, number

    def _inspect_fields(self, walk: Walk) -> None:
        """The last amount and owner that the histories tell are the present ones."""
        now = {
            row["deal_id"]: row["value"] for row in walk.rows("deal_field_history", where="field = 'amount' AND valid_to IS NULL")
        }
        owners = {row["object_id"]: row["owner_id"] for row in walk.rows("owner_history", where="valid_to IS NULL")}
        for number, record in self.portal.live("deals").items():
            amount, owner = record.properties.get("amount"), record.properties.get("hubspot_owner_id")
            assert Decimal(now.get(f"crm:{number}") or 0) == Decimal(amount or 0), number
            assert owners.get(f"crm:{number}") == (f"crm:{owner}" if owner else None), number

    def _inspect_tickets(self, walk: Walk) -> None:
        states = {"1": "open", "4": "closed"}
        found: dict[str, list[Any]] = {}
        for row in sorted(walk.rows("ticket_status_history"), key=lambda row: row["valid_from"]):
            found.setdefault(row["ticket_id"], []).append((row["status"], row["valid_from"]))
        for number, record in self.portal.live("tickets").items():
            moves = {at: states[stage] for stage, at in record.history["hs_pipeline_stage"]}
            assert found[f"crm:{number}"] == [(moves[at], at) for at in sorted(moves)], number


def _counts(record: Record) -> bool:
    """Answers to surveys of other kinds are left out."""
    return record.properties.get("hs_survey_type") != "CUSTOM"


def _first(record: Record, kind: str) -> str | None:
    linked = record.links.get(kind, ())
    return str(linked[0]) if linked else None
