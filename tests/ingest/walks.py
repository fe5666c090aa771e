"""Sources that are lived in while they are synced: what people do, what goes wrong meanwhile, and what is true at the end."""

import os
import random
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from kpid_files import FilesConnector, FilesSettings
from kpid_hubspot import HubSpotConnector, HubSpotSettings
from kpid_sql import SqlConnector, SqlSettings

from kpid.ingest.sync import SyncResult, sync_source
from kpid.plugin import Connector, DeletedPage, EntityReads, Finding, Page, Secret, SourceContext
from kpid.store.engine import Store
from kpid.testing import FakeClock, faults
from kpid.testing.hubspot import TOKEN, FakeHubSpot, policy
from kpid.testing.hubspot_portal import HubSpotPortal, add_deal, fill, stamp
from kpid.warehouse.duckdb import open_duckdb

BERLIN = ZoneInfo("Europe/Berlin")
STAGES = ("appointmentscheduled", "contractsent", "closedwon", "closedlost")
STATES = {"closedwon": "won", "closedlost": "lost"}


class KilledError(BaseException):
    """Stands for the end of the process: nothing of ours gets to clean up."""


class Disturbed(Connector[Any]):
    """Another connector, with something happening before each of its pages."""

    name = "disturbed"

    def __init__(self, inner: Connector[Any], happen: Callable[[], None]) -> None:
        super().__init__(inner.settings, inner.context)
        self._inner = inner
        self._happen = happen

    def reads(self) -> list[EntityReads]:
        return list(self._inner.reads())

    def pages(self, entity: str, cursor: Any, until: datetime) -> Iterator[Page]:
        for page in self._inner.pages(entity, cursor, until):
            self._happen()
            yield page
            self._happen()

    def deleted(self, entity: str, cursor: Any, until: datetime) -> Iterator[DeletedPage]:
        for page in self._inner.deleted(entity, cursor, until):
            self._happen()
            yield page

    def server_time(self) -> datetime | None:
        return self._inner.server_time()

    def check(self) -> list[Finding]:
        return list(self._inner.check())


class Walk(ABC):
    """A source, the stores that follow it, and a clock."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.clock = FakeClock()
        self.deaths = 0
        self.store = Store(f"sqlite:///{folder}/kpid.db")
        self.store.create()
        self.warehouse = open_duckdb(folder / "0.duckdb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.warehouse.close()
        self.store.close()

    @abstractmethod
    def connector(self) -> Connector[Any]: ...

    @abstractmethod
    def disturb(self) -> None:
        """One thing that people do."""

    @abstractmethod
    def spoil(self) -> None:
        """Let something go wrong during the next sync."""

    @abstractmethod
    def forgive(self) -> None:
        """Nothing goes wrong any more."""

    @abstractmethod
    def compare(self) -> None:
        """The tables hold what the source holds."""

    def live_through(self, rounds: int) -> None:
        for _ in range(rounds):
            for _ in range(self.chance.randint(0, 6)):
                self.disturb()
                self.clock.advance(timedelta(minutes=self.chance.choice([0, 0.01, 1, 7])))
            if self.chance.random() < 0.5:
                self.spoil()
            self._sync_in_trouble()
            self.forgive()
            self.clock.advance(timedelta(minutes=self.chance.choice([0, 2, 30, 600])))

    def settle(self) -> None:
        """Two quiet syncs: the first may only finish what a killed one began."""
        for _ in range(2):
            self.sync_calmly()

    def sync_calmly(self) -> SyncResult:
        self.clock.advance(timedelta(minutes=15))
        result = self._sync(lambda: None)
        assert result.ok, result
        return result

    def _sync(self, happen: Callable[[], None]) -> SyncResult:
        connector = self.connector()
        try:
            return sync_source("crm", Disturbed(connector, happen), warehouse=self.warehouse, store=self.store, clock=self.clock)
        finally:
            connector.close()

    def _sync_in_trouble(self) -> None:
        chance = self.chance
        end = chance.choice([None, None, OSError("the line went dead"), KilledError()])
        left = chance.randint(0, 12)
        slow, busy = chance.random() < 0.7, chance.random() < 0.4

        def happen() -> None:
            nonlocal left
            if slow:
                self.clock.advance(timedelta(seconds=6))  # long enough for every page to be stored by itself
            if busy and chance.random() < 0.3:
                self.disturb()
            left -= 1
            if left < 0 and end is not None:
                raise end

        try:
            self._sync(happen)
        except KilledError:
            self._reopen_as_after_a_crash()

    def _reopen_as_after_a_crash(self) -> None:
        """What was on the disk at the moment of death is all there is."""
        self.deaths += 1
        old, new = self.warehouse.path, self.folder / f"{self.deaths}.duckdb"
        for suffix in ("", ".wal"):
            if Path(f"{old}{suffix}").exists():
                shutil.copyfile(f"{old}{suffix}", f"{new}{suffix}")
        self.warehouse.close()
        self.warehouse = open_duckdb(new)

    def rows(self, entity: str, columns: str = "*", where: str = "true") -> list[dict[str, Any]]:
        return self.warehouse.query(f"SELECT {columns} FROM {entity} WHERE {where} ORDER BY id").to_pylist()

    def living(self, entity: str, columns: str) -> dict[str, tuple[Any, ...]]:
        found = self.rows(entity, f"native_id, {columns}", "deleted_at IS NULL")
        return {row.pop("native_id"): tuple(row.values()) for row in found}

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        entities = (
            "users",
            "pipelines",
            "stages",
            "accounts",
            "contacts",
            "deals",
            "deal_stage_history",
            "activities",
            "tickets",
        )
        return {entity: self.rows(entity) for entity in entities}

    def check_observed_history(self) -> None:
        """Observed stage intervals touch each other, and the running one is the deal's stage."""
        stages = {row["id"]: row["stage_id"] for row in self.rows("deals", "id, stage_id")}
        by_deal: dict[str, list[dict[str, Any]]] = {}
        for row in sorted(self.rows("deal_stage_history"), key=lambda row: row["valid_from"]):
            by_deal.setdefault(row["deal_id"], []).append(row)
        for deal, intervals in by_deal.items():
            ends = [row["valid_to"] for row in intervals]
            assert ends[:-1] == [row["valid_from"] for row in intervals[1:]], (deal, intervals)
            assert ends[-1] is None, (deal, intervals)
            assert intervals[-1]["stage_id"] == stages[deal], (deal, intervals)
            assert all(row["valid_to"] is None or row["valid_from"] <= row["valid_to"] for row in intervals), (deal, intervals)


_COMPARED = {
    "deals": "name, split_part(stage_id, ':', 2), state, amount, owner_id, account_id, updated_at",
    "contacts": "account_id", "accounts": "name", "tickets": "subject", "activities": "updated_at",
}  # fmt: skip


class HubSpotWalk(Walk):
    """People work in HubSpot."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.portal = HubSpotPortal(self.clock, seed=chance.randint(1, 99))
        fill(self.portal, chance.choice([0, 8, 25]))
        self.api = FakeHubSpot(self.portal, clock=self.clock)
        self.page = chance.choice([7, 200])
        self.entities = (
            "users",
            "pipelines",
            "accounts",
            *chance.sample(["contacts", "deals", "deals", "activities", "tickets"], 2),
        )
        self.merged: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.api.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.api.__exit__()
        super().__exit__()

    def connector(self) -> HubSpotConnector:
        settings = HubSpotSettings(
            token=Secret(TOKEN), base_url=self.api.url, allow_private=True, search_page_size=self.page, entities=self.entities
        )
        return HubSpotConnector(settings, SourceContext("crm", BERLIN, self.folder, self.clock, "EUR"))

    def disturb(self) -> None:
        portal, chance = self.portal, self.chance
        kind = chance.choice(["deals", "deals", "companies", "contacts", "calls", "meetings", "tickets"])
        live, archived = sorted(portal.live(kind)), sorted(n for n in portal.archived(kind) if (kind, n) not in portal.merged)
        match chance.choice(["edit", "move", "move", "add", "archive", "restore", "merge", "import", "bulk"]):
            case "edit" if live:
                portal.edit(
                    kind,
                    chance.choice(live),
                    dealname=f"Edited {chance.random()}",
                    hubspot_owner_id=chance.choice(["70114500", None]),
                )
            case "move" if portal.live("deals"):
                portal.edit("deals", chance.choice(sorted(portal.live("deals"))), dealstage=chance.choice(STAGES))
            case "add" if portal.live("companies"):
                company = chance.choice(sorted(portal.live("companies")))
                add_deal(portal, chance.randint(1000, 9999), company=company, at=self.clock.now())
            case "archive" if live:
                portal.archive(kind, chance.choice(live))
            case "restore" if archived:
                portal.restore(kind, chance.choice(archived))
            case "merge" if kind in {"companies", "deals", "contacts", "tickets"} and len(live) > 1:
                winner, loser = chance.sample(live, 2)
                portal.merge(kind, winner, loser)
                self.merged[f"{kind}/{loser}"] = str(winner)
            case "import":
                at = self.clock.now() - timedelta(minutes=chance.choice([0, 2]))
                for number in range(chance.randint(1, 30)):
                    portal.create(
                        "deals", {"dealname": f"Import {number}", "dealstage": "closedwon", "closedate": stamp(at)}, at=at
                    )
            case "bulk":
                at = self.clock.now()
                for number in portal.live("deals"):
                    portal.edit("deals", number, at=at, amount=str(chance.randint(1, 9)))

    def spoil(self) -> None:
        chance = self.chance
        spoilers = [
            (faults.bad_gateway(), 1), (faults.cut(), 1), (faults.half(), 1), (faults.reset(), 1), (faults.html_ok(), 1),
            (policy("SECONDLY"), 1), (policy("TEN_SECONDLY_ROLLING"), 2), (policy("DAILY"), 1), (faults.limited("3"), 1),
            (faults.status(500), 1), (faults.status(500), 99), (faults.status(401), 1), (faults.compressed(), 5),
        ]  # fmt: skip
        for _ in range(chance.randint(1, 3)):
            fault, times = chance.choice(spoilers)
            self.api.fail(
                fault, times=times, path=chance.choice(["", "search", "batch", "deals", "companies", "owners", "calls"])
            )

    def forgive(self) -> None:
        self.api.forgive()

    def compare(self) -> None:
        truth = self._truth()
        for entity, columns in _COMPARED.items():
            assert self.living(entity, columns) == (truth[entity] if entity in self.entities else {}), entity
        if "deals" in self.entities:
            self._compare_history()
        self._compare_merges()

    def _truth(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        live = self.portal.live
        deals = {
            str(number): (
                record.properties.get("dealname"), record.properties["dealstage"],
                STATES.get(record.properties["dealstage"] or "", "open"),
                Decimal(record.properties["amount"] or "") if record.properties.get("amount") else None,
                _id(record.properties.get("hubspot_owner_id")), _id(*record.links.get("companies", ())), record.updated,
            )
            for number, record in live("deals").items()
        }  # fmt: skip
        return {
            "deals": deals,
            "contacts": {str(n): (_id(r.properties["associatedcompanyid"]),) for n, r in live("contacts").items()},
            "accounts": {str(n): (r.properties["name"],) for n, r in live("companies").items()},
            "tickets": {str(n): (r.properties["subject"],) for n, r in live("tickets").items()},
            "activities": {f"{kind[:-1]}-{n}": (r.updated,) for kind in ("calls", "meetings") for n, r in live(kind).items()},
        }

    def _compare_history(self) -> None:
        found: dict[str, list[Any]] = {str(number): [] for number in self.portal.live("deals")}
        for row in sorted(self.rows("deal_stage_history"), key=lambda row: row["valid_from"]):
            found.setdefault(row["deal_id"].partition(":")[2], []).append((row["stage_id"], row["valid_from"], row["valid_to"]))
        for number, record in self.portal.live("deals").items():
            stages = {at: stage for stage, at in record.history["dealstage"]}  # of two at one instant the later one counts
            starts = sorted(stages)
            expected = [(f"crm:{stages[a]}", a, b) for a, b in zip(starts, [*starts[1:], None], strict=True)]
            assert found[str(number)] == expected, number

    def _compare_merges(self) -> None:
        for kind, entity in {"companies": "accounts", "contacts": "contacts", "deals": "deals", "tickets": "tickets"}.items():
            stored = {row["native_id"]: row["merged_into_id"] for row in self.rows(entity, "native_id, merged_into_id")}
            for key, winner in self.merged.items():
                where, _, loser = key.partition("/")
                is_told = where == kind and int(winner) in self.portal.live(kind)  # of a winner that is gone nothing is told
                assert not is_told or stored.get(loser, f"crm:{winner}") == f"crm:{winner}", key


def _id(*native: Any) -> str | None:
    return f"crm:{native[0]}" if native and native[0] else None


class Table:
    """Invented deals that people change, for sources without an API."""

    def __init__(self, walk: Walk, *, physical: bool) -> None:
        self.walk = walk
        self.physical = physical
        self.deals: dict[str, dict[str, Any]] = {}
        self.next_id = 1

    def disturb(self) -> None:
        chance, now = self.walk.chance, self.walk.clock.now()
        alive = sorted(key for key, deal in self.deals.items() if deal["deleted_at"] is None)
        gone = sorted(self.deals.keys() - set(alive))
        match chance.choice(["add", "add", "edit", "move", "move", "delete", "restore", "bulk"]):
            case "add":
                for _ in range(chance.choice([1, 1, 5, 40])):
                    self._put(str(self.next_id), now, stage_id="a", amount=chance.randint(0, 999), deleted_at=None)
                    self.next_id += 1
            case "edit" if alive:
                self._put(chance.choice(alive), now, amount=chance.randint(0, 999))
            case "move" if alive:
                self._put(chance.choice(alive), now, stage_id=chance.choice("abc"))
            case "delete" if len(alive) > 1:
                self._put(chance.choice(alive), now, deleted_at=now)
            case "restore" if gone:
                self._put(chance.choice(gone), now, deleted_at=None)
            case "bulk":
                for key in alive:
                    self._put(key, now, amount=chance.randint(0, 9), stage_id=chance.choice("abc"))

    def _put(self, key: str, now: datetime, **changes: Any) -> None:
        self.deals[key] = {**self.deals.get(key, {}), **changes, "id": key, "updated_at": now}

    def shown(self) -> list[dict[str, Any]]:
        """The rows as the source has them."""
        return [deal for deal in self.deals.values() if not self.physical or deal["deleted_at"] is None]

    def compare(self) -> None:
        truth = {
            key: (f"crm:{deal['stage_id']}", Decimal(deal["amount"]))
            for key, deal in self.deals.items()
            if deal["deleted_at"] is None
        }
        assert self.walk.living("deals", "stage_id, amount") == truth
        self.walk.check_observed_history()


class FilesWalk(Walk):
    """An export is written anew, now and then, and not always well."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder, chance)
        self.exports = folder / "exports"
        self.exports.mkdir()
        self.table = Table(self, physical=True)
        self.table.disturb()
        if chance.random() < 0.1:  # more than one page
            for _ in range(160):
                self.table.disturb()
        self.spoiled = False
        self._put_down()

    @property
    def file(self) -> Path:
        return self.exports / "deals.csv"

    def connector(self) -> FilesConnector:
        entities = {"deals": {"file": "deals.csv", "id": "id"}} if self.chance.random() < 2 else {}
        settings = FilesSettings(path=Path("exports"), entities=entities)
        return FilesConnector(settings, SourceContext("crm", BERLIN, self.folder, self.clock, "EUR"))

    def disturb(self) -> None:
        self.table.disturb()
        if not self.spoiled and self.chance.random() < 0.8:
            self._put_down()

    def _put_down(self) -> None:
        lines = [f"{d['id']},{d['stage_id']},{d['amount']},{d['updated_at'].isoformat()}" for d in self.table.shown()]
        self._write("\n".join(["id,stage_id,amount,updated_at", *lines, ""]))

    def _write(self, text: str) -> None:
        if self.chance.random() < 0.5:
            self.file.write_text(text)
        else:
            beside = self.file.with_suffix(".new")
            beside.write_text(text)
            beside.replace(self.file)
        when = self.clock.now().timestamp() // self.chance.choice([1, 3600])  # some copies keep the time of another file
        os.utime(self.file, (when, when))

    def spoil(self) -> None:
        self.spoiled = True
        whole = self.file.read_text()
        match self.chance.choice(["missing", "empty", "header", "cut", "folder", "bytes"]):
            case "missing":
                self.file.unlink()
            case "empty":
                self.file.write_text("")
            case "header":
                self.file.write_text(whole.split("\n")[0] + "\n")
            case "cut":
                self.file.write_text(whole.rpartition(",")[0])
            case "folder":
                shutil.rmtree(self.exports)
            case "bytes":
                self.file.write_bytes(whole.encode() + b"x,\xff\xfe,1,\n")

    def forgive(self) -> None:
        self.exports.mkdir(exist_ok=True)
        self.spoiled = False
        self._put_down()

    def compare(self) -> None:
        self.table.compare()


class SqlWalk(Walk):
    """An application writes to its database; with a cursor it marks what it deletes, without one it deletes for good."""

    def __init__(self, folder: Path, chance: random.Random, cursor: str | None = None) -> None:
        super().__init__(folder, chance)
        self.cursor = cursor
        self.style = chance.choice(["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ"])
        self.table = Table(self, physical=cursor is None)
        self.database = sqlite3.connect(folder / "app.db", isolation_level=None)
        self.database.execute(
            "create table deal (id text primary key, stage_id text, amount real, updated_at text, deleted_at text)"
        )
        self.wrong: str | None = None
        self.table.disturb()
        self._put_down()

    def __exit__(self, *exc: object) -> None:
        self.database.close()
        super().__exit__()

    def connector(self) -> SqlConnector:
        columns = "id as native_id, stage_id, amount, updated_at" + (", deleted_at" if self.cursor else "")
        select = {"select": f"select {columns} from {self.wrong or 'deal'}", "cursor": self.cursor}
        url = f"sqlite:///{self.folder}/app.db?timeout=0"
        settings = SqlSettings(url=Secret(url), entities={"deals": select}, timezone="UTC")
        return SqlConnector(settings, SourceContext("crm", BERLIN, self.folder, self.clock, "EUR"))

    def disturb(self) -> None:
        self.table.disturb()
        self._put_down()

    def _put_down(self) -> None:
        rows = [
            (d["id"], d["stage_id"], d["amount"], self._time(d["updated_at"]), self._time(d["deleted_at"]))
            for d in self.table.shown()
        ]
        try:
            self.database.execute("begin immediate")
        except sqlite3.OperationalError:  # a read is going on: the change comes later
            return
        self.database.execute("delete from deal")
        self.database.executemany("insert into deal values (?, ?, ?, ?, ?)", rows)
        try:
            self.database.execute("commit")
        except sqlite3.OperationalError:
            self.database.execute("rollback")

    def _time(self, at: datetime | None) -> str | None:
        return None if at is None else at.astimezone(UTC).strftime(self.style)

    def spoil(self) -> None:
        match self.chance.choice(["table", "locked"]):
            case "table":
                self.wrong = "deals_of_yesterday"
            case "locked":
                self.database.execute("begin exclusive")

    def forgive(self) -> None:
        self.wrong = None
        if self.database.in_transaction:
            self.database.execute("rollback")
        self._put_down()

    def compare(self) -> None:
        self.table.compare()
