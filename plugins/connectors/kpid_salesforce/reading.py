"""Records of one object, page by page: by key, never by offset, so that a page can be asked for again at any time.

Each page is a query of its own that begins behind the last record of the one before: locators die after two days, and a record
that changes meanwhile moves behind the window's end, where the next window meets it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kpid.plugin import Leg, SchemaError
from kpid_salesforce.bulk import Bulk, NoBulkError
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.faults import AskAgainError
from kpid_salesforce.objects import OBJECTS, Kind
from kpid_salesforce.soql import CHUNK, among, literal, quoted, soql, stem
from kpid_salesforce.values import Record

NAMED = {"Parent": "Case"}
"""Relations of objects that we read whose name is not that of the object."""
LAST = datetime(9999, 1, 1, tzinfo=UTC)
SMALLEST = 10
"""Fewer records than these are not asked for, however slow the queries are."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of one object.

    Args:
        records: as the API gives them.
        place: where to go on: the key of the last one.
        is_last: there are no more.
    """

    records: Sequence[Record]
    place: Any
    is_last: bool


class Reading:
    """Reads objects.

    Args:
        api: the organisation.
        own: the company's own fields to ask for, by object.
        page_size: records per query.
        bulk: reads many records at once.
        bulk_above: when a first read is left to it.
    """

    def __init__(self, api: Endpoints, own: Mapping[str, Sequence[str]], page_size: int, bulk: Bulk, bulk_above: int) -> None:
        self._api = api
        self._own = own
        self._page = page_size
        self._bulk = bulk
        self._bulk_above = bulk_above
        self._absent = set[str]()

    def asked(self, kind: Kind) -> list[str]:
        """The fields that we want of an object."""
        return kind.asked(self._own.get(kind.title, ()))

    def known(self, kind: Kind) -> list[str]:
        """Those of them that are there.

        Raises:
            SchemaError: one is absent without which the records mean nothing.
        """
        fields = self._api.fields(kind.name)
        if lacking := kind.essential - fields.keys():
            raise SchemaError(
                f"{kind.name} has no field {', '.join(sorted(lacking))} that the user may see",
                where=self._api.http.name,
                hint="Give the user's permission set read access to it: without it these records mean nothing",
            )
        return [name for name in self.asked(kind) if stem(name) in fields and self._leads_somewhere(name)]

    def _leads_somewhere(self, name: str) -> bool:
        """Of a path through an object that we read, whether that has the field; a query with one that is absent is refused."""
        relation, is_path, rest = name.partition(".")
        relation = NAMED.get(relation, relation)
        if not is_path or relation not in OBJECTS or "." in rest:
            return True
        return self._is_seen(relation) and rest in self._api.fields(relation)

    def is_there(self, kind: Kind) -> bool:
        """Whether we may read an object that not every organisation has."""
        needed = kind.essential | ({kind.of} if kind.of else set())
        return self._is_seen(kind.name) and needed <= self._api.fields(kind.name).keys()

    def _is_seen(self, name: str) -> bool:
        """Whether there is an object that we may see; asked once."""
        if name not in self._absent:
            try:
                self._api.fields(name)
            except SchemaError:
                self._absent.add(name)
        return name not in self._absent

    def absent(self, kind: Kind) -> list[str]:
        """Those that are not there and are missed."""
        known = set(self.known(kind)) | kind.optional
        return [name for name in self.asked(kind) if name not in known]

    def leg(self, kind: Kind, leg: Leg) -> Iterator[Batch]:
        """All records of a leg: many by Bulk, else by queries."""
        is_begun = leg.place is not None and "job" in leg.place
        if is_begun or (leg.start is None and leg.place is None and self.is_large(kind)):
            try:
                yield from self.in_bulk(kind, leg.place)
            except NoBulkError:
                leg = replace(leg, place=None)
            else:
                return
        yield from self._by_queries(kind, leg)

    def is_large(self, kind: Kind) -> bool:
        """Whether a first read of it is left to Bulk."""
        try:
            return self.count(kind) > self._bulk_above
        except AskAgainError:  # so many that counting them takes too long
            return True

    def in_bulk(self, kind: Kind, place: Any, order: Sequence[str] = ()) -> Iterator[Batch]:
        """All records by Bulk: a new job, or the one at ``place``."""
        text = soql(self.known(kind), kind.name, self.conditions(kind), order)
        for chunk in self._bulk.read(text, self._api.fields(kind.name), place, everything=kind.archived):
            yield Batch(chunk.records, chunk.place, chunk.is_last)

    def _by_queries(self, kind: Kind, leg: Leg) -> Iterator[Batch]:
        """In the order of ids, or of (change, id) within a window."""
        place, size = leg.place, self._page
        while True:
            try:
                batch = self._batch(kind, leg, place, size)
            except AskAgainError:
                if size <= SMALLEST:
                    raise
                size = max(SMALLEST, size // 4)
                continue
            place = batch.place
            yield batch
            if batch.is_last:
                return

    def _batch(self, kind: Kind, leg: Leg, place: Any, size: int) -> Batch:
        found = self._api.query(
            soql(
                self.known(kind),
                kind.name,
                [*self._span(leg, place), *self.conditions(kind)],
                ("Id",) if leg.start is None else ("SystemModstamp", "Id"),
                size,
            ),
            everything=kind.archived,
        )
        return Batch(found.records, _behind(leg, found.records, place), found.total < size)

    def conditions(self, kind: Kind) -> list[str]:
        """What every query of an object says."""
        return kind.conditions(self._api.fields(kind.name)) if kind.where or kind.archived else []

    def _span(self, leg: Leg, place: Any) -> list[str]:
        if leg.start is None:
            return [f"Id > {quoted(place['id'])}"] if place else []
        start, end = leg.start if place is None else datetime.fromisoformat(place["at"]), leg.end
        found = [f"SystemModstamp >= {literal(start)}", f"SystemModstamp < {literal(end)}"]
        if place is not None:
            found.append(f"(SystemModstamp > {literal(start)} OR Id > {quoted(place['id'])})")
        return found

    def by_id(self, kind: Kind, ids: Sequence[str]) -> Iterator[list[Record]]:
        """Living records by id."""
        for start in range(0, len(ids), CHUNK):
            conditions = [among("Id", ids[start : start + CHUNK]), *self.conditions(kind)]
            yield self._api.query(soql(self.known(kind), kind.name, conditions), everything=kind.archived).records

    def living(self, kind: Kind, ids: Sequence[str]) -> set[str]:
        """Which of these records live."""
        found = set[str]()
        for start in range(0, len(ids), CHUNK):
            conditions = [among("Id", ids[start : start + CHUNK]), *(("IsDeleted = false",) if kind.archived else ())]
            answered = self._api.query(soql(("Id",), kind.name, conditions), everything=kind.archived)
            found |= {str(record["Id"]) for record in answered.records}
        return found

    def listed(self, kind: Kind, after: str | None) -> Iterator[Batch]:
        """All living records by id and time of change alone."""
        leg = Leg(kind.name, None, LAST)
        place = None if after is None else {"id": after}
        while True:
            conditions = [*self._span(leg, place), *self.conditions(kind)]
            text = soql(("Id", "SystemModstamp"), kind.name, conditions, ("Id",), self._page)
            found = self._api.query(text, everything=kind.archived)
            place = _behind(leg, found.records, place)
            yield Batch(found.records, place, found.total < self._page)
            if found.total < self._page:
                return

    def count(self, kind: Kind) -> int:
        """How many records live."""
        return self._api.count(soql((), kind.name, self.conditions(kind)), everything=kind.archived)

    def merged(self, kind: Kind, since: datetime | None) -> list[Record]:
        """Records that were merged into others, which the delete log does not say."""
        conditions = ["IsDeleted = true", "MasterRecordId != null"]
        if since is not None:
            conditions.append(f"SystemModstamp >= {literal(since)}")
        fields = ("Id", "MasterRecordId", "SystemModstamp")
        return self._api.query(soql(fields, kind.name, conditions), everything=True).records

    def all(self, text: str) -> list[Record]:
        """All that a query finds."""
        return self._api.query(text).records


def _behind(leg: Leg, records: Sequence[Record], place: Any) -> Any:
    """The key of the last record. One that changed while the query ran shows another time: it is no place in this window."""
    if leg.start is None:
        return {"id": str(records[-1]["Id"])} if records else place
    for record in reversed(records):
        at = datetime.fromisoformat(record["SystemModstamp"])
        if at < leg.end:
            return {"at": at.isoformat(), "id": str(record["Id"])}
    return place


def whole_minute(at: datetime) -> datetime:
    """The delete log ignores seconds."""
    return at - timedelta(seconds=at.second, microseconds=at.microsecond)
