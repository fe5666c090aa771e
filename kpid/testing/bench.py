"""The bench on which connectors are tested: a fake of the vendor, a connector to it, and what people do there.

The contracts call it; a connector's author writes one. What a vendor cannot do is left out of ``can``: its tests are skipped and
say why.
"""

from __future__ import annotations

import random
import unittest
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpid.plugin import Connector
from kpid.testing import faults
from kpid.testing.api import FakeApi
from kpid.testing.clock import FakeClock
from kpid.testing.expecting import compare_rows
from kpid.testing.memory import MemorySync

if TYPE_CHECKING:
    from kpid.testing.walks import Walk

ABILITIES: Mapping[str, str] = {
    "merges": "the source tells no merges",
    "restore": "deleted records of the source cannot be restored",
    "purge": "records of the source never vanish without a word",
    "late": "changes of the source show at once",
    "history": "the source keeps no history of stages",
    "tokens": "the source's credentials do not expire",
    "daily": "the source has no daily budget",
    "scopes": "the source has no rights by entity",
    "fields": "the source has no fields of the company's own",
    "pipelines": "the source has no pipelines to name",
    "listing": "the source cannot list its ids",
    "count": "the source does not count its records",
    "touched": "a deletion of the source changes no date of its own",
    "clock": "the source does not tell its time",
    "pages": "the bench does not say which requests are for pages",
    "silence": "the bench does not say which requests are for which entity",
}
"""What a vendor may be able to do, and what to say where it is not."""


@dataclass(frozen=True)
class Family:
    """Two records that are about to be merged, and a child whose ``column`` refers to the loser. All ids are native."""

    entity: str
    winner: str
    loser: str
    child_entity: str
    child: str
    column: str


class Scene(ABC):
    """A source that is lived in while it is synced: what a random walk needs.

    Attributes:
        clock: shared by the source and the connector.
        entity: the entity that people change most.
        inspected: entities that :meth:`inspect` looks at, rather than :meth:`truths`.
        excused: entities whose rows nobody compares at the end of a walk, and why.
        is_flooded: a walk that is about to begin brings thousands of records in; ``prepare`` may choose large pages then.
        tells_all: in this walk the source tells of all that happens, so that tables are right before any ids are compared.
    """

    clock: FakeClock
    entity: str = "deals"
    inspected: frozenset[str] = frozenset()
    excused: Mapping[str, str] = {}
    is_flooded: bool = False
    tells_all: bool = False

    @abstractmethod
    def connector(self, **options: Any) -> Connector[Any]:
        """A fresh connector, as a new process would have; ``options`` on top of the usual settings."""

    @abstractmethod
    def disturb(self, chance: random.Random) -> None:
        """One thing that people do."""

    @abstractmethod
    def spoil(self, chance: random.Random) -> None:
        """Let something go wrong during the next sync."""

    @abstractmethod
    def forgive(self) -> None:
        """Nothing goes wrong any more."""

    @abstractmethod
    def truths(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """What a complete sync must hold: by entity the living records by native id, with the columns to compare."""

    def prepare(self, folder: Path, chance: random.Random) -> None:  # noqa: B027  most have nothing to do
        """Before a walk begins: what is there already. ``folder`` is the walk's own."""

    def flood(self, count: int) -> None:  # noqa: B027  a source need not be able to
        """Import so many records of ``entity`` with one instant of change."""

    def read(self) -> frozenset[str]:
        """The entities that connectors read as they are set now, with those that come with these."""
        with connected(self.connector()) as connector:
            return frozenset(entity for reads in connector.reads() for entity in (reads.entity, *reads.carries))

    def read_all(self) -> None:  # noqa: B027  most do so anyway
        """From now on connectors read every entity that they can."""

    def inspect(self, walk: Walk) -> None:  # noqa: B027
        """Look at what the truths do not say (histories, merges), at the end of a walk."""


class SourceBench(Scene):
    """A source under test: a fake of the vendor's API, and the connector that reads it.

    Attributes:
        api: the fake; faults are planned on it.
        secrets: texts that must not appear in any error.
        can: what the vendor can do, of :data:`ABILITIES`.
        cap: the largest page, or the most that the vendor gives to one question.
        quiet_calls: how many requests a sync of an unchanged source may cost.
        pages: a pattern of the requests (path, query or body) for pages of ``entity``; empty = not known (``pages``).
        small_pages: options that make these pages small.
        impatient: options with which a silent server is soon given up.
    """

    api: FakeApi
    secrets: tuple[str, ...]
    can: frozenset[str] = frozenset()
    cap: int = 450
    quiet_calls: int = 25
    pages: str = ""
    small_pages: Mapping[str, Any] = {}
    impatient: Mapping[str, Any] = {"read_timeout": 0.2}

    @abstractmethod
    def add(self, count: int, *, same_instant: bool = False) -> list[str]:
        """Add records of ``entity``; gives their native ids. ``same_instant``: all with one modified time."""

    @abstractmethod
    def change(self, native_id: str) -> None:
        """Change a record."""

    @abstractmethod
    def delete(self, native_id: str) -> None:
        """Delete a record as a user does."""

    @abstractmethod
    def truth(self) -> Mapping[str, Mapping[str, Any]]:
        """What a complete sync must hold: the live records of ``entity`` by native id, with the columns to compare."""

    @abstractmethod
    def revoke(self) -> None:
        """Make the credentials invalid."""

    @abstractmethod
    def drop_field(self) -> str:
        """Take away a field that is not essential, as an administrator does; gives the column that it fed."""

    def able(self) -> frozenset[str]:
        """What the vendor can do, and what of it this bench can bring about."""
        return self.can | ({"pages"} if self.pages else frozenset())

    def truths(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """The same for every entity; the default knows of one."""
        return {self.entity: self.truth()}

    def options(self) -> dict[str, Any]:
        """The source's options as they stand in the YAML, with secrets as plain texts."""
        raise self._lacking("options")

    def add_field(self, column: str, values: Mapping[str, str]) -> dict[str, Any]:
        """A field of the company's own with a value per native id, which changes nobody's modified time (``fields``).

        Gives the options that read it into ``column``.
        """
        raise self._lacking("add_field")

    def restore(self, native_id: str) -> None:
        """Take a deleted record back (``restore``)."""
        raise self._lacking("restore")

    def merge(self, winner: str, loser: str) -> None:
        """Merge one record into another (``merges``); of ``accounts`` where records of ``entity`` cannot be merged."""
        raise self._lacking("merge")

    def purge(self, native_id: str) -> None:
        """Remove a record so that nothing tells of it (``purge``)."""
        raise self._lacking("purge")

    def hide(self, native_id: str) -> None:
        """Change a record so that reads show it late, with the time of the change (``late``)."""
        raise self._lacking("hide")

    def rename_pipeline(self) -> Connector[Any]:
        """Rename a pipeline; gives a connector that is told to read it by its old name (``pipelines``)."""
        raise self._lacking("rename_pipeline")

    def lose_scope(self, entity: str) -> None:
        """Take the right to read an entity away (``scopes``)."""
        raise self._lacking("lose_scope")

    def expire_token(self) -> None:
        """The access token in use is refused from now on; a new one can be had (``tokens``)."""
        raise self._lacking("expire_token")

    def spend_day(self) -> None:
        """Use up the account's requests of the day (``daily``)."""
        raise self._lacking("spend_day")

    def flood(self, count: int) -> None:
        """By what adds records with one instant."""
        self.add(count, same_instant=True)

    def new_day(self) -> None:
        """The day's requests can be used anew (``daily``)."""
        self.forgive()

    def skew(self, by: timedelta) -> None:
        """The source's clock, by which it also stamps its records, is ahead by this (``clock``)."""
        raise self._lacking("skew")

    def silence(self) -> str:
        """Requests for one entity get no answer any more; gives the entity, which is not ``entity`` (``silence``)."""
        raise self._lacking("silence")

    def family(self) -> Family:
        """Two new records that can be merged, the second with a child (``merges``)."""
        raise self._lacking("family")

    def unite(self, family: Family) -> None:
        """Merge them (``merges``)."""
        raise self._lacking("unite")

    def misspell_field(self) -> Connector[Any]:
        """A connector that is told to read a field that is not there (``fields``)."""
        raise self._lacking("misspell_field")

    def prepare(self, folder: Path, chance: random.Random) -> None:
        """Some records."""
        count = chance.choice([0, 8, 25])
        if count:
            self.add(count)

    def disturb(self, chance: random.Random) -> None:
        """Add, change, delete and, where the vendor can, restore, merge and purge a record; now and then an import."""
        alive, binned = sorted(self.truth()), self._binned()
        match chance.choice(["add", "add", "change", "change", "change", "delete", "restore", "merge", "purge", "import"]):
            case "add":
                self.add(chance.randint(1, 5))
            case "import":
                self.add(30, same_instant=True)
            case "change" if alive:
                self.change(chance.choice(alive))
            case "delete" if alive:
                binned.append(chance.choice(alive))
                self.delete(binned[-1])
            case "restore" if binned and "restore" in self.can:
                self.restore(binned.pop(chance.randrange(len(binned))))
            case "merge" if len(alive) > 1 and "merges" in self.can and self.entity == "deals":
                self.merge(*chance.sample(alive, 2))
            case "purge" if alive and {"purge", "listing"} <= self.can:
                self.purge(chance.choice(alive))

    def _binned(self) -> list[str]:
        binned: list[str] = self.__dict__.setdefault("_in_the_bin", [])
        return binned

    def spoil(self, chance: random.Random) -> None:
        """Some of the faults that any server has."""
        spoilers = [
            (faults.bad_gateway(), 1), (faults.cut(), 1), (faults.half(), 1), (faults.reset(), 1), (faults.html_ok(), 1),
            (faults.limited("3"), 1), (faults.status(500), 1), (faults.status(500), 99), (faults.compressed(), 5),
        ]  # fmt: skip
        for _ in range(chance.randint(1, 3)):
            fault, times = chance.choice(spoilers)
            self.api.fail(fault, times=times)

    def forgive(self) -> None:
        """Nothing goes wrong any more."""
        self.api.forgive()

    def _lacking(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {what}()")


def expect_able(bench: SourceBench, *abilities: str) -> None:
    """Skip the test, with a reason, unless the bench's vendor can do all of this."""
    for ability in abilities:
        if ability not in bench.able():
            raise unittest.SkipTest(ABILITIES[ability])


# -- what the contracts share ------------------------------------------------------------------------------------------------


@contextmanager
def connected(connector: Connector[Any]) -> Iterator[Connector[Any]]:
    """The connector, closed at the end of the block."""
    try:
        yield connector
    finally:
        connector.close()


def first_sync(bench: SourceBench) -> MemorySync:
    """A sync of all there is, from nothing."""
    held = MemorySync()
    sync_into(bench, held)
    return held


def sync_into(
    bench: SourceBench,
    held: MemorySync,
    *,
    entity: str | None = None,
    stop_after: int | None = None,
    reconcile: bool = False,
    **options: Any,
) -> None:
    """One more sync with a fresh connector."""
    with connected(bench.connector(**options) if options else bench.connector()) as connector:
        held.run(connector, entity=entity, stop_after=stop_after, reconcile=reconcile)


def later(bench: SourceBench, minutes: float = 15) -> None:
    """Let time pass."""
    bench.clock.advance(timedelta(minutes=minutes))


def compare(bench: SourceBench, held: MemorySync) -> None:
    """What is held is the truth."""
    compare_rows(bench.truth(), held.live(bench.entity), bench.entity)
