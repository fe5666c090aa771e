"""The records of an invented HubSpot portal: what a test edits, archives, restores and merges, and what is true afterwards."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kpid.clock import Clock
from kpid.testing.hubspot_properties import STANDARD

LABELS = {
    "appointmentscheduled": ("Erstgespräch", "false", "0.2"),
    "contractsent": ("Angebot verschickt", "false", "0.6"),
    "closedwon": ("Gewonnen", "true", "1.0"),
    "closedlost": ("Verloren", "true", "0.0"),
}
"""Stages of the default pipeline: label (a company renames them), isClosed, probability. The ids keep their English names."""


def stamp(instant: datetime) -> str:
    """An instant as HubSpot writes it."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _whole_ms(instant: datetime) -> datetime:
    """HubSpot keeps milliseconds."""
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000)


@dataclass(frozen=True)
class Record:
    """One version of a CRM record.

    Args:
        id: as a number; lists are ordered by it.
        properties: texts or None, without the ones that HubSpot keeps itself.
        created: when it came to be.
        updated: when it last changed.
        archived_at: when it was put into the bin.
        history: per property, the values with the instants from which they held, oldest first.
        links: ids of associated records by their type, the primary one first.
    """

    id: int
    properties: Mapping[str, str | None]
    created: datetime
    updated: datetime
    archived_at: datetime | None = None
    history: Mapping[str, Sequence[tuple[str, datetime]]] = field(default_factory=dict)
    links: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def all_properties(self, kind: str) -> dict[str, str | None]:
        """With the properties that HubSpot keeps itself."""
        modified = "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"
        own = {"hs_object_id": str(self.id), modified: stamp(self.updated), "createdate": stamp(self.created)}
        return {**self.properties, **own}


class HubSpotPortal:
    """A portal that a test changes.

    Args:
        clock: says when each change happens.
        seed: makes the invented records repeatable.
    """

    def __init__(self, clock: Clock, *, seed: int = 1) -> None:
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311  invented data
        self.records: dict[str, dict[int, Record]] = {kind: {} for kind in STANDARD}
        self.before: dict[tuple[str, int], Record | None] = {}
        """The version before the last change: what a search index that lags behind still shows."""
        self.owners: list[dict[str, Any]] = []
        self.rates: list[dict[str, Any]] = []
        """Exchange rates."""
        self.pipelines: dict[str, list[dict[str, Any]]] = {"deals": [], "tickets": []}
        self.hidden: set[tuple[str, str]] = set()
        """Properties (type, name) that are gone: they no longer appear anywhere."""
        self.merged: set[tuple[str, int]] = set()
        """Records (type, id) that were merged into others: they cannot be restored."""
        self.version = 0
        self._known: dict[str, tuple[object, frozenset[str]]] = {}
        self._next_id = 31_804_550_001
        self._set_up()

    def _set_up(self) -> None:
        for number in range(1, 5):
            self.add_owner(f"Seller {number}", "Example", archived=number == 4)
        self.add_pipeline("deals", "default", {key: (label, closed, odds) for key, (label, closed, odds) in LABELS.items()})
        self.add_pipeline("tickets", "0", {"1": ("Neu", "OPEN", ""), "4": ("Gelöst", "CLOSED", "")})

    def add_owner(self, first: str, last: str, *, archived: bool = False) -> str:
        """A person; gives the owner's id."""
        number = 70_114_500 + len(self.owners)
        at = stamp(self.clock.now() - timedelta(days=400))
        self.owners.append(
            {
                "id": str(number), "email": f"{first}.{last}@example.com".replace(" ", "").lower(),
                "firstName": first, "lastName": last, "userId": number + 5, "type": "PERSON", "archived": archived,
                "createdAt": at, "updatedAt": at, "teams": [{"id": "1", "name": "North", "primary": True}],
            }
        )  # fmt: skip
        return str(number)

    def add_pipeline(self, kind: str, pipeline: str, stages: Mapping[str, tuple[str, str, str]]) -> None:
        """A pipeline; stages give label, isClosed (tickets: ticketState) and probability."""
        at = stamp(self.clock.now() - timedelta(days=400))
        self.pipelines[kind].append(
            {
                "id": pipeline, "label": f"Pipeline {pipeline}", "displayOrder": len(self.pipelines[kind]), "archived": False,
                "createdAt": at, "updatedAt": at,
                "stages": [
                    {"id": key, "label": label, "displayOrder": order, "archived": False, "createdAt": at, "updatedAt": at,
                     "metadata": {"ticketState": flag} if kind == "tickets" else {"isClosed": flag, "probability": odds}}
                    for order, (key, (label, flag, odds)) in enumerate(stages.items())
                ],
            }
        )  # fmt: skip
        self.version += 1

    def add_rate(self, one: str, other: str, rate: float, *, at: datetime) -> None:
        """What ``one`` is worth in ``other`` from an instant on."""
        known = {"id": str(len(self.rates) + 1), "fromCurrencyCode": one, "toCurrencyCode": other, "conversionRate": rate}
        self.rates.append(
            {**known, "effectiveAt": stamp(at), "createdAt": stamp(at), "updatedAt": stamp(at), "visibleInUI": True}
        )

    def create(
        self,
        kind: str,
        properties: Mapping[str, str | None],
        *,
        at: datetime | None = None,
        links: Mapping[str, Sequence[int]] | None = None,
    ) -> int:
        """A new record; gives its id."""
        now = _whole_ms(at or self.clock.now())
        number, self._next_id = self._next_id, self._next_id + self.random.randint(1, 9)
        history = {name: [(value, now)] for name, value in properties.items() if value}
        self._put(kind, Record(number, dict(properties), now, now, None, history, dict(links or {})))
        return number

    def edit(self, kind: str, number: int, *, at: datetime | None = None, **changes: str | None) -> None:
        """Change properties of a record."""
        now, old = _whole_ms(at or self.clock.now()), self.records[kind][number]
        history = {name: list(versions) for name, versions in old.history.items()}
        for name, value in changes.items():
            if old.properties.get(name) != value:
                history.setdefault(name, []).append((value or "", now))
        self._put(kind, replace(old, properties={**old.properties, **changes}, updated=now, history=history))

    def archive(self, kind: str, number: int) -> None:
        """Delete a record, as HubSpot does: it goes to the bin, and its modified time does not change."""
        self._put(kind, replace(self.records[kind][number], archived_at=_whole_ms(self.clock.now())))

    def restore(self, kind: str, number: int, *, touched: bool = True) -> None:
        """Take a record out of the bin; ``touched`` says whether HubSpot gives it a new modified time."""
        old = self.records[kind][number]
        self._put(kind, replace(old, archived_at=None, updated=_whole_ms(self.clock.now()) if touched else old.updated))

    def link(self, kind: str, number: int, **links: Sequence[int]) -> None:
        """Associate a record with others; that is no change of its modified time."""
        old = self.records[kind][number]
        self.records[kind][number] = replace(old, links={**old.links, **links})
        self.version += 1

    def merge(self, kind: str, winner: int, loser: int) -> None:
        """Merge one record into another: the loser goes for good, the winner remembers its id.

        Records that were associated with the loser now are with the winner; that is no change of their own modified time.
        """
        self.merged.add((kind, loser))
        names = [name for name in (self.records[kind][winner].properties.get("hs_merged_object_ids") or "").split(";") if name]
        self.archive(kind, loser)
        self.edit(kind, winner, hs_merged_object_ids=";".join([*names, str(loser)]))
        for other, records in self.records.items():
            for number, record in records.items():
                records[number] = _moved_over(record, kind, winner, loser) if (other, number) != (kind, loser) else record

    def purge(self, kind: str, number: int) -> None:
        """Remove a record without a trace (a request under data protection law)."""
        del self.records[kind][number]
        self.before.pop((kind, number), None)
        self.version += 1

    def live(self, kind: str) -> dict[int, Record]:
        """The records that are not in the bin."""
        return {number: record for number, record in self.records[kind].items() if record.archived_at is None}

    def archived(self, kind: str) -> dict[int, Record]:
        """The records in the bin, which is emptied after 90 days."""
        limit = self.clock.now() - timedelta(days=90)
        return {
            n: record for n, record in self.records[kind].items() if record.archived_at is not None and record.archived_at > limit
        }

    def known(self, kind: str) -> frozenset[str]:
        """The names of the properties that a type has: the usual ones, and the company's own that some record has."""
        state = (self.version, frozenset(self.hidden))
        if kind not in self._known or self._known[kind][0] != state:
            own = {name for record in self.records[kind].values() for name in record.properties}
            hidden = {name for where, name in self.hidden if where == kind}
            self._known[kind] = (state, frozenset((STANDARD[kind] | own) - hidden))
        return self._known[kind][1]

    def _put(self, kind: str, record: Record) -> None:
        self.before[kind, record.id] = self.records[kind].get(record.id)
        self.records[kind][record.id] = record
        self.version += 1


def _moved_over(record: Record, kind: str, winner: int, loser: int) -> Record:
    """A record that now belongs to the winner of a merge, if it belonged to the loser."""
    if loser in record.links.get(kind, ()):
        linked = dict.fromkeys(winner if number == loser else number for number in record.links[kind])
        record = replace(record, links={**record.links, kind: list(linked)})
    if kind == "companies" and record.properties.get("associatedcompanyid") == str(loser):
        record = replace(record, properties={**record.properties, "associatedcompanyid": str(winner)})
    return record
