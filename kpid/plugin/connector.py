"""The contract of connectors: plugins that read a CRM into the canonical tables.

A connector yields rows as plain dicts in canonical columns (see :mod:`kpid.plugin.entities`) with **native** ids; the ingest step
adds the source, the keys and the bookkeeping. It does no retries of its own (:class:`~kpid.plugin.HttpClient` does), keeps no
state but what it puts in cursors, and never swallows an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from kpid.clock import Clock
from kpid.model import Finding
from kpid.plugin.capabilities import Known, derived_capabilities
from kpid.plugin.keeping import Keep, MemoryKeep
from kpid.plugin.pacing import Pacers
from kpid.plugin.settings import Settings

Row: TypeAlias = Mapping[str, Any]
"""One canonical row: column name to value. ``native_id`` is required; a missing column is stored as null."""

Cursor: TypeAlias = Mapping[str, Any]
"""Where to go on reading: JSON-able, in the connector's own shape."""

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class EntityReads:
    """What a connector promises for one entity.

    Args:
        entity: name of a canonical table.
        mode: ``incremental`` reads what changed since the cursor; ``full`` reads everything each time, and what is no longer
            there is marked as vanished.
        deletes: ``pass`` if :meth:`Connector.deleted` finds deletions; ``inline`` if pages carry ``deleted_at``; ``absence`` for
            full reads; ``none`` if the source cannot tell.
        history: how well past states are known (``full`` from the CRM, ``since_sync`` observed by kpid, ``none``).
        overlap: how far before the cursor an incremental read begins again.
        carries: other entities whose rows come on the pages of this one (stage history on deals).
        deletes_kept: how long the source remembers deletions; after a longer gap everything is read again, to see what is gone.
        grain: how finely the source tells when a record changed; ``none`` if not at all.
        listing: :meth:`Connector.ids` works: the whole is compared with the source now and then.
        by_id: :meth:`Connector.fetch` works.
        counted: :meth:`Connector.count` works.
        observed: columns of instants that the source does not tell and the connector takes from the last change
            (``closed_at``): the first one that was seen is kept as long as the record stays in that state.
    """

    entity: str
    mode: Literal["incremental", "full"] = "incremental"
    deletes: Literal["pass", "inline", "absence", "none"] = "none"
    history: Literal["full", "since_sync", "none"] = "none"
    overlap: timedelta = timedelta(minutes=5)
    carries: tuple[str, ...] = ()
    deletes_kept: timedelta | None = None
    grain: Literal["exact", "day", "none"] = "exact"
    listing: bool = False
    by_id: bool = False
    counted: bool = False
    observed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record that is gone. ``merged_into`` is the native id of the record that took its place, if it was merged."""

    native_id: str
    at: datetime | None = None
    reason: Literal["deleted", "merged", "archived"] = "deleted"
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a read.

    Args:
        rows: canonical rows by entity; the page's own entity, and those it carries.
        cursor: where to go on once this page is stored; None if the read can only start again from the beginning.
        through: every change up to this instant has now been seen (only on pages that complete it, at the latest the last).
        total: how many rows the whole read will give, if the API says so: for progress.
        unchanged: of a full read: the source is as it was at the last complete read; no rows are coming, and none have vanished.
        restarted: of a full read: it could not go on at the cursor and began again; what it met before does not count.
        warnings: what a person should look at though the read goes on: a field that is gone, a right that is missing.
        gone: records of the page's own entity that the source tells to be gone among the rows; stored with the page.
        whole: carried entities of which the page has all that hangs on its records: what else is stored of them is gone.
    """

    rows: Mapping[str, Sequence[Row]]
    cursor: Cursor | None = None
    through: datetime | None = None
    total: int | None = None
    unchanged: bool = False
    restarted: bool = False
    warnings: tuple[str, ...] = ()
    gone: Sequence[Tombstone] = ()
    whole: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class DeletedPage:
    """One page of the delete pass, for one entity."""

    tombstones: Sequence[Tombstone]
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class IdPage:
    """One page of the ids of living records: native id, and when the record changed (None: not told)."""

    ids: Sequence[tuple[str, datetime | None]]
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a connector is given of its surroundings.

    Args:
        source_id: name of the configured source.
        timezone: the organisation's zone, for date-only values.
        folder: the configuration's folder: relative paths start here.
        clock: time, for waiting between requests; rows must not depend on it.
        currency: the organisation's reporting currency, for sources that state none.
        keep: where secrets that the vendor rotates outlive this sync. Not to be read by a constructor.
        pacers: the rate limits of all accounts, shared by all sources.
    """

    source_id: str
    timezone: ZoneInfo
    folder: Path
    clock: Clock
    currency: str | None = None
    keep: Keep = field(default_factory=MemoryKeep)
    pacers: Pacers = field(default_factory=Pacers)


class Connector(ABC, Generic[S]):
    """A kind of source. One instance per configured source and sync; used from one thread.

    Raises (from any method): :class:`~kpid.errors.AuthError`, :class:`~kpid.errors.SchemaError`,
    :class:`~kpid.errors.DeferredError`, :class:`~kpid.errors.ConnectorError`.
    """

    name: ClassVar[str]
    """As used in YAML: ``connector: <name>``."""
    Settings: ClassVar[type[Settings]]
    default_max_age: ClassVar[timedelta | None] = None
    """Data older than this is stale, unless the source sets ``max_age``; None = twice the sync interval."""

    def __init__(self, settings: S, context: SourceContext) -> None:
        self.settings = settings
        self.context = context

    @abstractmethod
    def reads(self) -> Sequence[EntityReads]:
        """What this source can fill, in the order in which it should be read. Contacts nobody."""

    @abstractmethod
    def pages(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[Page]:
        """Rows of ``entity`` changed since ``cursor`` (None: all rows) and up to ``until``, page by page.

        The read is inclusive: equal timestamps come again rather than getting lost. ``until`` is fixed by the run, by the
        source's clock where it has one, so that rows that change meanwhile wait for the next run.
        """

    def deleted(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[DeletedPage]:
        """Records of ``entity`` deleted or merged since ``cursor``. Called for ``deletes="pass"`` after the pages."""
        return iter(())

    def asks(self, entity: str) -> frozenset[str]:
        """Names of the source's own fields that a read of ``entity`` asks for. Contacts nobody.

        A name that was not there at the last complete read makes the old rows be fetched again. Empty: unknown, never fetched.
        """
        return frozenset()

    def ids(self, entity: str, cursor: Cursor | None, until: datetime) -> Iterator[IdPage]:
        """Every living record of ``entity`` that this source reads, by id and time of change alone, from ``cursor`` on.

        For entities with ``listing``.
        """
        return iter(())

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """These records of ``entity``, complete, with what they carry; those that are gone are left out. Cursors do not count.

        For entities with ``by_id``. Ids are native ones, at most 200.
        """
        return iter(())

    def count(self, entity: str) -> int | None:
        """The source's own number of living records of ``entity`` that this source reads (its filters applied); None: unknown.

        For entities with ``counted``.
        """
        return None

    def since(self, entity: str, at: datetime) -> Cursor | None:
        """A cursor as if all that changed before ``at`` had been read; None: there is no such cursor. Contacts nobody."""
        return None

    def capabilities(self) -> Mapping[str, Known]:
        """What this source can tell: names of tables and of :data:`~kpid.plugin.capabilities.CAPABILITIES`. Contacts nobody.

        What is not named it cannot tell. The default follows from :meth:`reads`.
        """
        return derived_capabilities(self.reads())

    def fills(self) -> Mapping[str, frozenset[str]]:
        """The canonical columns that are filled, of the entities for which that is known. Contacts nobody beyond this machine.

        Of entities that are not named any column may be filled: the default knows of none.
        """
        return {}

    def server_time(self) -> datetime | None:
        """The source's clock, if it tells; else None."""
        return None

    @abstractmethod
    def check(self) -> Sequence[Finding]:
        """Contact the source and say what works: reachability, credentials, each entity's scope or columns."""

    def close(self) -> None:
        """Let go of connections; the default has none."""


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """A declared connector, as the hook returns it: the class and one line of help.

    ``example`` are options with which it can be made to ask it what it can do; nobody is contacted.
    """

    connector: type[Connector[Any]]
    summary: str = ""
    tags: tuple[str, ...] = field(default=())
    example: Mapping[str, Any] = field(default_factory=dict)
