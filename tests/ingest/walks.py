"""Sources without an API that are lived in while they are synced: a folder of files, an application's database."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from kpid_files import FilesConnector, FilesSettings
from kpid_sql import SqlConnector, SqlSettings

from kpid.plugin import Secret, SourceContext
from kpid.testing import FakeClock, Scene, Walk

BERLIN = ZoneInfo("Europe/Berlin")


class Table:
    """Invented deals that people change, for sources without an API."""

    def __init__(self, clock: FakeClock, *, physical: bool) -> None:
        self.clock = clock
        self.physical = physical
        self.deals: dict[str, dict[str, Any]] = {}
        self.next_id = 1

    def disturb(self, chance: random.Random) -> None:
        now = self.clock.now()
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

    def truth(self) -> dict[str, dict[str, Any]]:
        return {
            key: {"stage_id": deal["stage_id"], "amount": Decimal(deal["amount"])}
            for key, deal in self.deals.items()
            if deal["deleted_at"] is None
        }


class TableScene(Scene):
    """A source that shows a table of deals."""

    table: Table

    def truths(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return {"deals": self.table.truth()}

    def inspect(self, walk: Walk) -> None:
        walk.check_observed_history()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class FilesScene(TableScene):
    """An export is written anew, now and then, and not always well."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.table = Table(self.clock, physical=True)
        self.spoiled = False

    def prepare(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.exports = folder / "exports"
        self.exports.mkdir()
        for _ in range(161 if chance.random() < 0.1 else 1):  # more than one page
            self.table.disturb(chance)
        self._put_down()

    @property
    def file(self) -> Path:
        return self.exports / "deals.csv"

    def connector(self, **options: Any) -> FilesConnector:
        entities = {"deals": {"file": "deals.csv", "id": "id"}} if self.chance.random() < 2 else {}
        settings = FilesSettings(path=Path("exports"), entities=entities)
        return FilesConnector(settings, SourceContext("crm", BERLIN, self.folder, self.clock, "EUR"))

    def disturb(self, chance: random.Random) -> None:
        self.table.disturb(chance)
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

    def spoil(self, chance: random.Random) -> None:
        self.spoiled = True
        whole = self.file.read_text()
        match chance.choice(["missing", "empty", "header", "cut", "folder", "bytes"]):
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


class SqlScene(TableScene):
    """An application writes to its database; with a cursor it marks what it deletes, without one it deletes for good."""

    def __init__(self, cursor: str | None = None) -> None:
        self.clock = FakeClock()
        self.cursor = cursor
        self.table = Table(self.clock, physical=cursor is None)
        self.wrong: str | None = None
        self.database: sqlite3.Connection | None = None

    def prepare(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.style = chance.choice(["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ"])
        self.database = sqlite3.connect(folder / "app.db", isolation_level=None)
        self.database.execute(
            "create table deal (id text primary key, stage_id text, amount real, updated_at text, deleted_at text)"
        )
        self.table.disturb(chance)
        self._put_down()

    def __exit__(self, *exc: object) -> None:
        if self.database is not None:
            self.database.close()

    def connector(self, **options: Any) -> SqlConnector:
        columns = "id as native_id, stage_id, amount, updated_at" + (", deleted_at" if self.cursor else "")
        select = {"select": f"select {columns} from {self.wrong or 'deal'}", "cursor": self.cursor}
        url = f"sqlite:///{self.folder}/app.db?timeout=0"
        settings = SqlSettings(url=Secret(url), entities={"deals": select}, timezone="UTC")
        return SqlConnector(settings, SourceContext("crm", BERLIN, self.folder, self.clock, "EUR"))

    def disturb(self, chance: random.Random) -> None:
        self.table.disturb(chance)
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

    def spoil(self, chance: random.Random) -> None:
        match chance.choice(["table", "locked"]):
            case "table":
                self.wrong = "deals_of_yesterday"
            case "locked":
                self.database.execute("begin exclusive")

    def forgive(self) -> None:
        self.wrong = None
        if self.database.in_transaction:
            self.database.execute("rollback")
        self._put_down()
