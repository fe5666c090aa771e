"""The bench of the `singer` connector: an invented CRM, a tap that tells of it, and connectors that run the tap."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import yaml
from kpid_singer import SingerConnector, SingerSettings

from kpid.plugin import MemoryKeep, SourceContext
from kpid.testing import Crm, FakeClock, SourceBench, Walk
from kpid.testing.crm import Record
from kpid.testing.crm_doer import Doer
from kpid.testing.crm_life import fill
from kpid.testing.singer import MODIFIED, PRIVATE_KEY, TOKEN, SingerTap

COMPANY = "company-"
"""What ids of accounts begin with; what points to them has to."""
BERLIN = ZoneInfo("Europe/Berlin")
MAPPING = yaml.safe_load("""
people: {entity: users, full: true, columns: {name: full_name, email: mail, is_active: active, updated_at: modified}}
phases: {entity: stages, full: true, columns: {name: label, state: result, sort_order: position}}
companies:
  entity: accounts
  prefix: company-
  deleted: _sdc_deleted_at
  columns: {name: title, domain: web.host, owner_id: seller, created_at: created, updated_at: modified}
contacts:
  entity: contacts
  deleted: _sdc_deleted_at
  columns: {name: full_name, email: mail, account_id: company, updated_at: modified}
opportunities:
  entity: deals
  deleted: _sdc_deleted_at
  columns:
    name: title
    account_id: company.id
    owner_id: seller
    stage_id: phase
    state: {column: result, values: {won: won, lost: lost, "*": open}}
    amount: value
    currency: money
    closed_at: ended
    expected_close_date: expected
    created_at: created
    updated_at: modified
phone_calls:
  entity: activities
  prefix: call-
  deleted: _sdc_deleted_at
  columns: {type: {const: call}, subject: about, deal_id: opportunity, occurred_at: at, direction: way, updated_at: modified}
appointments:
  entity: activities
  prefix: meeting-
  deleted: _sdc_deleted_at
  columns: {type: {const: meeting}, subject: about, deal_id: opportunity, occurred_at: at, updated_at: modified}
""")
COMPARED: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "users": ({"users": ""}, ("name", "email")),
    "stages": ({"stages": ""}, ("name", "state", "sort_order")),
    "accounts": ({"accounts": COMPANY}, ("name", "domain", "owner_id", "created_at", "updated_at")),
    "contacts": ({"contacts": ""}, ("name", "email", "account_id")),
    "deals": (
        {"deals": ""},
        ("name", "account_id", "owner_id", "stage_id", "state", "amount", "currency", "closed_at", "created_at", "updated_at"),
    ),
    "activities": ({"calls": "call-", "meetings": "meeting-"}, ("subject", "deal_id", "occurred_at", "updated_at")),
}
"""By entity the CRM's kinds with the prefixes of their ids, and the columns that must be right."""


class Starts:
    """What stands for the requests to an API: each start of the tap is one. ``requests`` are read like those of a fake."""

    def __init__(self, tap: SingerTap) -> None:
        self._tap = tap

    @property
    def requests(self) -> list[dict[str, Any]]:
        """All starts, in order."""
        return self._tap.starts()


class SingerBench(SourceBench):
    """An invented CRM, its tap, and connectors that run it; deleting a record is a change that the tap tells.

    Args:
        entities: which of the mapping are read.
        tables: streams whose changes the tap knows no times of.
    """

    secrets = (TOKEN, PRIVATE_KEY, PRIVATE_KEY.splitlines()[1])
    can = frozenset({"restore", "touched"})
    quiet_calls = 2

    def __init__(self, *entities: str, tables: tuple[str, ...] = ("people", "phases")) -> None:
        self.clock = FakeClock()
        self.crm = Crm(self.clock)
        self.keep = MemoryKeep()
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.tap = SingerTap(self.crm, self.folder / "tap", tables=tables)
        self.api = Starts(self.tap)
        self.mapping = {
            name: {**stream, "full": name in tables}
            for name, stream in MAPPING.items()
            if not entities or stream["entity"] in entities
        }
        self.account: str | None = None
        self.catalog: Path | None = None
        self.kinds: tuple[str, ...] = ("deals", "deals", "deals", "accounts", "contacts", "calls", "meetings", "users")
        """What people live in, in random walks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.folder)

    def options(self) -> dict[str, Any]:
        """The tap tells what the CRM holds at this moment."""
        self.tap.put_down()
        config = {"api_token": TOKEN, "private_key": PRIVATE_KEY, "start_date": "2024-01-01"}
        options: dict[str, Any] = {"command": [str(self.tap.file)], "config": config, "streams": self.mapping, "page_rows": 50}
        return options if self.catalog is None else {**options, "catalog": self.catalog}

    def write_catalog(self) -> Path:
        """From now on connectors need not ask for the catalog: a process less for each sync."""
        self.catalog = self.folder / "catalog.json"
        self.catalog.write_text(json.dumps(self.tap.catalog()))
        return self.catalog

    def connector(self, **options: Any) -> SingerConnector:
        context = SourceContext("crm", BERLIN, self.folder, self.clock, "EUR", keep=self.keep)
        return SingerConnector(SingerSettings(**{**self.options(), **options}), context)

    # -- what people do ------------------------------------------------------------------------------------------------------

    def add(self, count: int, *, same_instant: bool = False) -> list[str]:
        if same_instant:
            return self.crm.bulk("deals", count)
        self.account = self.account or self.crm.create("accounts", {"name": "Example Works"})
        added = []
        for number in range(count):
            self.clock.advance(timedelta(seconds=1))
            added.append(self.crm.add_deal(account_id=self.account, amount=Decimal(number * 100)))
        return added

    def change(self, native_id: str) -> None:
        self.crm.edit("deals", native_id, name="Renamed")
        self.crm.move(native_id, "won")

    def delete(self, native_id: str) -> None:
        self.crm.delete("deals", native_id, touch=True)

    def restore(self, native_id: str) -> None:
        self.crm.restore("deals", native_id)

    def revoke(self) -> None:
        self.tap.habits.token = "another-token"

    def drop_field(self) -> str:
        self.tap.hidden.add(("opportunities", "value"))
        return "amount"

    # -- what is true --------------------------------------------------------------------------------------------------------

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        return self.truths_of("deals")

    def truths(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        return {
            entity: self.truths_of(entity) for entity in {stream["entity"] for stream in self.mapping.values()} & COMPARED.keys()
        }

    def truths_of(self, entity: str) -> dict[str, dict[str, Any]]:
        """Of one entity, whether the mapping reads it or not."""
        kinds, columns = COMPARED[entity]
        return {
            prefix + record.id: {column: self._column(record, column) for column in columns}
            for kind, prefix in kinds.items()
            for record in self.crm.living(kind).values()
        }

    def _column(self, record: Record, column: str) -> Any:
        times = {"created_at": record.created, "updated_at": record.modified}
        value = times[column] if column in times else record.values.get(column)
        is_company = column == "account_id" and "companies" in self.mapping and value is not None
        return f"{COMPANY}{value}" if is_company else value

    # -- random walks --------------------------------------------------------------------------------------------------------

    def prepare(self, folder: Path, chance: random.Random) -> None:
        self.crm.random.seed(chance.randint(1, 99))
        fill(self.crm, chance.choice([0, 8, 25]))
        self.tells_all = True
        others = sorted({stream["entity"] for stream in self.mapping.values()} & COMPARED.keys() - {"deals"})
        entities = {"deals", *([chance.choice(others)] if others else [])}  # each costs a process
        self.mapping = {name: stream for name, stream in self.mapping.items() if stream["entity"] in entities}
        fills = [kind for entity in entities for kind in COMPARED[entity][0] if kind not in {"deals", "stages"}]
        self.kinds = ("deals", "deals", "deals", *fills, *fills)
        self.tap.habits.state_every = chance.choice([1, 3, 20, 10_000])
        self.tap.habits.noise = chance.choice([0, 0, 300])
        self.write_catalog()

    def disturb(self, chance: random.Random) -> None:
        Doer(self.crm, chance, self.can, ("accounts",), self.kinds).do_something()
        self.tap.put_down()

    def spoil(self, chance: random.Random) -> None:
        habits = self.tap.habits
        match chance.choice(["dies", "dies", "fails", "garbage", "token"]):
            case "dies":
                habits.dies_after = chance.randint(1, 60)
            case "fails":
                habits.fails_after = chance.randint(1, 60)
            case "garbage":
                habits.lines = {str(chance.randint(1, 60)): '{"type": "RECORD", "stre'}
            case "token":
                habits.token = "another-token"

    def forgive(self) -> None:
        habits = self.tap.habits
        habits.dies_after = habits.fails_after = None
        habits.lines, habits.token = {}, TOKEN

    def inspect(self, walk: Walk) -> None:
        walk.check_observed_history()


__all__ = ["MAPPING", "MODIFIED", "SingerBench"]
