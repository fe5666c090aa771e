"""A bench over the neutral CRM: what every fake of a vendor has in common. Subclasses make the fake and the connector."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Self, get_args
from zoneinfo import ZoneInfo

from kpid.clock import Clock
from kpid.plugin import MemoryKeep, Pacers, SourceContext
from kpid.testing.bench import Family, SourceBench, connected
from kpid.testing.clock import FakeClock
from kpid.testing.crm import Crm, Record
from kpid.testing.crm_doer import Doer
from kpid.testing.crm_life import fill
from kpid.testing.vendor import VendorApi

ZONE = "Europe/Berlin"
SECOND = timedelta(seconds=1)


class CrmBench(SourceBench):
    """A vendor's fake, its CRM, and what survives from one connector to the next.

    A subclass sets ``secrets``, ``can`` and, where they differ, the class attributes below, and defines ``options()`` and
    ``connector()`` (with :meth:`context`).

    Args:
        api: the fake, with its CRM.
        clock: shared by all; a real clock for journeys.
    """

    compared: ClassVar[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "deals": (("deals",), ("name", "stage_id", "state", "amount", "account_id", "owner_id", "updated_at")),
    }
    """By entity the kinds that fill it, and the columns to compare (names of values, ``created_at``, ``updated_at``)."""
    prefixes: ClassVar[Mapping[str, str]] = {}
    """Of native ids of kinds that share an entity: ``{"calls": "call-"}``."""
    mergeable: ClassVar[tuple[str, ...]] = ("accounts",)
    lived_in: ClassVar[tuple[str, ...]] = ("deals", "deals", "deals", "accounts", "contacts")
    """Kinds that people edit and delete in random walks, beside those that fill what is read."""
    fixed: ClassVar[tuple[str, ...]] = ("stages",)
    """Kinds that people never add, edit or delete."""
    buries: ClassVar[bool] = True
    """Deletions are told, unless records are purged."""
    always: ClassVar[tuple[str, ...]] = ("accounts", "deals")
    """Entities that every walk reads."""
    others: ClassVar[int] = 3
    """How many of the other entities a walk reads."""
    silenced: ClassVar[tuple[str, str] | None] = None
    """An entity other than deals, and what requests for it hold that others do not."""
    dropped: ClassVar[tuple[str, str]] = ("Amount", "amount")
    """A field of deals that an administrator takes away, in the vendor's words, and the column that it fed."""

    def __init__(self, api: VendorApi, clock: FakeClock) -> None:
        self.api: VendorApi = api
        self.crm: Crm = api.crm
        self.clock = clock
        self.keep, self.pacers = MemoryKeep(), Pacers()
        self._account: str | None = None
        self.entities: tuple[str, ...] | None = None
        """What connectors read; None: what they do by themselves. Options of a subclass say so."""
        self._kinds: tuple[str, ...] = self.lived_in

    def __enter__(self) -> Self:
        self.api.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.api.__exit__()

    def able(self) -> frozenset[str]:
        """What the CRM brings about for every vendor."""
        return super().able() | {"clock"} | (frozenset() if self.silenced is None else {"silence"})

    def context(self, clock: Clock | None = None) -> SourceContext:
        """The surroundings of a connector; what is kept and paced survives it."""
        return SourceContext("crm", ZoneInfo(ZONE), Path(), clock or self.clock, "EUR", keep=self.keep, pacers=self.pacers)

    def add(self, count: int, *, same_instant: bool = False) -> list[str]:
        """Deals of one account, a second apart, or imported with one instant."""
        if same_instant:
            return self.crm.bulk("deals", count)
        self._account = self._account or self.crm.create("accounts", {"name": "Example Works"})
        added = []
        for number in range(count):
            self.clock.advance(SECOND)
            added.append(self.crm.add_deal(account_id=self._account, amount=Decimal(number * 100)))
        return added

    def change(self, native_id: str) -> None:
        """Rename a deal and win it."""
        self.crm.edit("deals", native_id, name="Renamed")
        self.crm.move(native_id, "won")

    def delete(self, native_id: str) -> None:
        """Delete a deal."""
        self.crm.delete("deals", native_id)

    def restore(self, native_id: str) -> None:
        """Take a deal back."""
        self.crm.restore("deals", native_id)

    def merge(self, winner: str, loser: str) -> None:
        """Merge records of the first kind that can be merged."""
        self.crm.merge(self.mergeable[0], winner, loser)

    def purge(self, native_id: str) -> None:
        """Remove a deal without a trace."""
        self.crm.purge("deals", native_id)

    def hide(self, native_id: str) -> None:
        """Change a deal; it shows a minute late."""
        self.crm.hide_for(timedelta(minutes=1))
        self.change(native_id)
        self.crm.hide_for(timedelta(0))

    def lose_scope(self, entity: str) -> None:
        """Take the right to read an entity away; override where the vendor's names differ."""
        self.api.forbidden.add(entity)

    def expire_token(self) -> None:
        """The access token in use is refused from now on."""
        if self.api.tokens is None:
            raise self._lacking("expire_token")
        self.api.tokens.expire()

    def revoke(self) -> None:
        """Nobody gets in any more."""
        if self.api.tokens is None:
            raise self._lacking("revoke")
        self.api.tokens.revoked = True

    def spend_day(self) -> None:
        """Use the budget of the day up."""
        if self.api.daily is None:
            raise self._lacking("spend_day")
        self.api.daily.spend()

    def new_day(self) -> None:
        """The budget of the day is whole again."""
        super().new_day()
        if self.api.daily is not None:
            self.api.daily.used = 0

    def skew(self, by: timedelta) -> None:
        """The server's clock is ahead."""
        self.api.skew = by
        self.crm.clock = self.api.clock

    def silence(self) -> str:
        """One entity's requests get no answer."""
        if self.silenced is None:
            raise self._lacking("silence")
        entity, part = self.silenced
        self.api.silent.add(part)
        return entity

    def family(self) -> Family:
        """Two accounts, and a deal of the second."""
        winner, loser = (self.crm.create("accounts", {"name": name}) for name in ("Example Works", "Example Works Ltd"))
        return Family("accounts", winner, loser, "deals", self.crm.add_deal(account_id=loser), "account_id")

    def unite(self, family: Family) -> None:
        """Merge the accounts."""
        self.crm.merge("accounts", family.winner, family.loser)

    def drop_field(self) -> str:
        """Hide a field of deals."""
        field, column = self.dropped
        self.api.hidden.add(("deals", field))
        return column

    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        """The deals."""
        return self._true("deals")

    def truths(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """All that is read and compared."""
        return {entity: self._true(entity) for entity in sorted(self.read() & self.compared.keys())}

    def _true(self, entity: str) -> dict[str, dict[str, Any]]:
        """The records of an entity; override for what is not one record each."""
        kinds, columns = self.compared[entity]
        return {
            self.prefixes.get(kind, "") + record.id: {column: self.column(record, column) for column in columns}
            for kind in kinds
            for record in self.crm.living(kind).values()
        }

    def column(self, record: Record, column: str) -> Any:
        """What a column must hold of a record; override for what the vendor tells differently."""
        times: Mapping[str, datetime] = {"created_at": record.created, "updated_at": record.modified}
        return times[column] if column in times else record.values.get(column)

    def prepare(self, folder: Path, chance: random.Random) -> None:
        """A CRM with some life in it, of which some entities are read."""
        self.crm.random.seed(chance.randint(1, 99))
        fill(self.crm, chance.choice([0, 8, 25]))
        self.tells_all = self.buries and chance.random() < 0.5
        self.crm.hide_for(timedelta(minutes=chance.choice([0, 0, 1]) if "late" in self.can else 0))
        if known := self.known():
            others = [one for one in known if one not in self.always]
            self.choose([one for one in self.always if one in known] + chance.sample(others, min(self.others, len(others))))

    def merging(self) -> tuple[str, ...]:
        """Kinds whose merges are told: those of what is read."""
        return self.mergeable if self.entities is None else tuple(kind for kind in self.mergeable if kind in self.entities)

    def known(self) -> tuple[str, ...]:
        """All entities that the connector's settings can name; empty: they name none."""
        with connected(self.connector()) as connector:
            found = type(connector.settings).model_fields.get("entities")
        inner = get_args(found.annotation)[:1] if found else ()
        return tuple(name for name in get_args(inner[0]) if isinstance(name, str)) if inner else ()

    def read_all(self) -> None:
        """All entities that the settings can name."""
        if known := self.known():
            self.choose(known)

    def choose(self, entities: Sequence[str]) -> None:
        """From now on connectors read these, and people live in what fills them."""
        self.entities = tuple(entities)
        read = self.read()
        kinds = [kind for entity in self.compared if entity in read for kind in self.compared[entity][0]]
        more = [kind for kind in dict.fromkeys(kinds) if kind not in {*self.lived_in, *self.fixed}]
        self._kinds = (*self.lived_in, *more, *more)

    def disturb(self, chance: random.Random) -> None:
        """One thing that people do."""
        can = self.can - {"purge"} if self.tells_all else self.can
        Doer(self.crm, chance, can, self.merging(), self._kinds).do_something()
