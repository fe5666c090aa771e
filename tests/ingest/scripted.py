"""A source that lives in memory: it is told what to give, page by page, and keeps what it was asked for."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from kpid.plugin import Connector, DeletedPage, EntityReads, Finding, IdPage, Page, Settings, SourceContext, Tombstone

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


class StillClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now: datetime = START) -> None:
        self.instant = now
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.forward(seconds)

    def forward(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)
        self.seconds += seconds


class ScriptedConnector(Connector[Settings]):
    """Gives, for each entity, the pages in ``script``; an exception there is raised."""

    name = "scripted"
    Settings = Settings

    def __init__(self, *reads: EntityReads, clock: StillClock | None = None, timezone: str = "Europe/Berlin") -> None:
        super().__init__(Settings(), SourceContext("crm", ZoneInfo(timezone), Path(), clock or StillClock()))
        self.declared: Sequence[EntityReads] = reads
        self.script: dict[str, list[Any]] = {}
        self.deletions: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, Any, datetime]] = []
        self.server: datetime | None = None
        self.listed: list[Any] = []
        self.records: dict[str, Any] = {}
        self.fields: frozenset[str] = frozenset()
        self.counted: Any = None
        self.can_begin_at_an_instant = True

    def reads(self) -> Sequence[EntityReads]:
        return self.declared

    def server_time(self) -> datetime | None:
        return self.server

    def pages(self, entity: str, cursor: Any, until: datetime) -> Iterator[Page]:
        self.asked.append((entity, cursor, until))
        for item in self.script.get(entity, []):
            if isinstance(item, BaseException):
                raise item
            yield item

    def deleted(self, entity: str, cursor: Any, until: datetime) -> Iterator[DeletedPage]:
        self.asked.append((f"-{entity}", cursor, until))
        for item in self.deletions.get(entity, []):
            if isinstance(item, BaseException):
                raise item
            yield item

    def asks(self, entity: str) -> frozenset[str]:
        return self.fields

    def ids(self, entity: str, cursor: Any, until: datetime) -> Iterator[IdPage]:
        """The pages in ``listed``, from the place that the cursor names."""
        self.asked.append((f"ids {entity}", cursor, until))
        for number, item in enumerate(self.listed):
            if cursor is None or number >= cursor["next"]:
                if isinstance(item, BaseException):
                    raise item
                yield IdPage(item, {"next": number + 1})

    def fetch(self, entity: str, ids: Sequence[str]) -> Iterator[Page]:
        """Those of ``records``; an exception among them is raised."""
        self.asked.append((f"fetch {entity}", tuple(ids), START))
        for key in ids:
            if isinstance(self.records.get(key), BaseException):
                raise self.records[key]
        yield Page({entity: [self.records[key] for key in ids if key in self.records]})

    def count(self, entity: str) -> int | None:
        if isinstance(self.counted, BaseException):
            raise self.counted
        found: int | None = self.counted
        return found

    def since(self, entity: str, at: datetime) -> Any:
        return {"since": at.isoformat()} if self.can_begin_at_an_instant else None

    def check(self) -> Sequence[Finding]:
        return ()


def deal(number: int | str, **values: Any) -> dict[str, Any]:
    """A canonical deal row as a connector gives it."""
    return {"native_id": str(number), "state": "open", "created_at": "2026-01-05T10:00:00Z", **values}


def page(*rows: dict[str, Any], entity: str = "deals", **values: Any) -> Page:
    """A page of one entity."""
    return Page({entity: rows}, **values)


def gone(number: int, **values: Any) -> Tombstone:
    """A deletion that the source reports."""
    return Tombstone(str(number), **values)
