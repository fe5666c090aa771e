"""Records that hang on others: those of some records, or all of them, with those that hang on one always together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from kpid.plugin import Leg
from kpid_salesforce.bulk import NoBulkError
from kpid_salesforce.endpoints import Endpoints
from kpid_salesforce.objects import Kind
from kpid_salesforce.reading import Batch, Reading
from kpid_salesforce.soql import CHUNK, among, quoted, soql
from kpid_salesforce.values import Record, instant_key


class Families:
    """Reads them.

    Args:
        api: the organisation.
        reading: its objects.
        page_size: records per query.
    """

    def __init__(self, api: Endpoints, reading: Reading, page_size: int) -> None:
        self._api = api
        self._reading = reading
        self._page = page_size

    def of(self, kind: Kind, ids: Sequence[str]) -> list[Record]:
        """What hangs on some records, in the order of these and of time; nothing if we may not read it."""
        if not ids or not self._reading.is_there(kind):
            return []
        fields, conditions, found = self._reading.known(kind), self._reading.conditions(kind), list[Record]()
        for start in range(0, len(ids), CHUNK):
            wanted = among(kind.of, ids[start : start + CHUNK])
            found += self._api.query(soql(fields, kind.name, [wanted, *conditions]), everything=kind.archived).records
        return sorted(found, key=lambda one: (str(one[kind.of]), instant_key(one.get("CreatedDate")), str(one["Id"])))

    def all(self, kind: Kind, leg: Leg) -> Iterator[Batch]:
        """All records of an object that hangs on others: many by Bulk, else by queries. Those of one are never apart."""
        is_begun = leg.place is not None and "job" in leg.place
        if is_begun or (leg.place is None and self._reading.is_large(kind)):
            try:
                last = None
                for batch in self._reading.in_bulk(kind, leg.place, (kind.of, "CreatedDate", "Id")):
                    yield replace(batch, records=self._made_whole(kind, batch.records, last))
                    last = str(batch.records[-1][kind.of]) if batch.records else last
            except NoBulkError:
                leg = replace(leg, place=None)
            else:
                return
        yield from self._families_by_queries(kind, leg.place)

    def _made_whole(self, kind: Kind, records: Sequence[Record], before: str | None) -> list[Record]:
        """The first and the last family of a chunk may begin before it, or go on behind it. That of the last chunk is whole."""
        records = [one for one in records if str(one[kind.of]) != before]
        if not records:
            return []
        edges = dict.fromkeys(str(one[kind.of]) for one in (records[0], records[-1])[before is not None :])
        return [*(one for one in records if str(one[kind.of]) not in edges), *self.of(kind, list(edges))]

    def _families_by_queries(self, kind: Kind, place: Any) -> Iterator[Batch]:
        order = (kind.of, "CreatedDate", "Id")
        while True:
            after = [f"{kind.of} > {quoted(place['id'])}"] if place else []
            found = self._api.query(
                soql(self._reading.known(kind), kind.name, [*after, *self._reading.conditions(kind)], order, self._page)
            )
            records, is_last = found.records, found.total < self._page
            if records and not is_last:
                last = str(records[-1][kind.of])
                records = [one for one in records if str(one[kind.of]) != last] or self.of(kind, [last])
                place = {"id": str(records[-1][kind.of])} if records else {"id": last}
            yield Batch(records, place, is_last or not found.records)
            if is_last or not found.records:
                return
