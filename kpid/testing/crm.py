"""The truth of an invented CRM, whoever the vendor is: what people do there, and what is so afterwards.

Values have the names of canonical columns; a fake writes them in its vendor's words. References are ids of other records here.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

from kpid.clock import Clock

KINDS = (
    "users", "accounts", "contacts", "leads", "deals", "stages", "calls", "meetings", "emails", "tasks", "tickets", "products",
    "lines", "orders", "campaigns", "members", "surveys", "comments", "voice_calls",
    "contracts", "invites", "influences", "invitations",
)  # fmt: skip
PIPELINE = "sales"
STAGES: Mapping[str, tuple[str, str, Decimal]] = {
    "first": ("Erstgespräch", "open", Decimal("0.2")), "offer": ("Angebot", "open", Decimal("0.6")),
    "talks": ("Verhandlung", "open", Decimal("0.8")), "won": ("Beauftragt", "won", Decimal(1)),
    "lost": ("Abgesagt", "lost", Decimal(0)),
}  # fmt: skip
"""Stages that are there from the start: name (which says nothing in English), state, probability."""
REFERENCES = {
    "owner_id": "users", "manager_id": "users", "account_id": "accounts", "parent_id": "accounts",
    "primary_contact_id": "contacts", "contact_id": "contacts", "requester_id": "contacts", "respondent_id": "contacts",
    "person_id": "contacts", "deal_id": "deals", "lead_id": "leads", "stage_id": "stages", "product_id": "products",
    "campaign_id": "campaigns", "ticket_id": "tickets", "converted_account_id": "accounts",
    "converted_contact_id": "contacts", "converted_deal_id": "deals",
}  # fmt: skip
"""Which values are ids, and of what."""
_NEVER = timedelta(0)


@dataclass(frozen=True, slots=True)
class Record:
    """One version of a record.

    Args:
        kind: one of :data:`KINDS`.
        id: the vendor's.
        values: by canonical column; what is absent is null.
        created: when it came to be.
        modified: when it last changed, as the vendor tells.
        deleted_at: when it was deleted, or merged away.
        merged_into: id of the record that took its place.
        visible_at: when reads begin to show this version; None: at once.
        log: every value that was ever set (field, value, instant), oldest first.
    """

    kind: str
    id: str
    values: Mapping[str, Any]
    created: datetime
    modified: datetime
    deleted_at: datetime | None = None
    merged_into: str | None = None
    visible_at: datetime | None = None
    log: tuple[tuple[str, Any, datetime], ...] = field(default=(), repr=False)

    @property
    def key(self) -> tuple[datetime, str]:
        """The order in which changes are read."""
        return self.modified, self.id


class Kind:
    """All records of one kind, as reads show them: what changed a moment ago may still be hidden."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._before: dict[str, Record | None] = {}
        self._version = 0
        self._sorted: dict[tuple[bool, str], tuple[object, list[Record]]] = {}

    def put(self, record: Record) -> None:
        """Take a version over; until it shows, the one before does."""
        if record.visible_at is not None and record.visible_at > self._clock.now():
            self._before[record.id] = self.get(record.id)
        else:
            self._before.pop(record.id, None)
        self._records[record.id] = record
        self._version += 1

    def drop(self, native_id: str) -> None:
        """Remove a record without a trace."""
        del self._records[native_id]
        self._before.pop(native_id, None)
        self._version += 1

    def true(self, native_id: str) -> Record:
        """The newest version, whether it shows or not."""
        return self._records[native_id]

    @property
    def ids(self) -> Collection[str]:
        """Of all records, deleted ones too."""
        return self._records.keys()

    def every(self) -> Iterator[Record]:
        """The newest version of each record, deleted ones too."""
        return iter(self._records.values())

    def __len__(self) -> int:
        """How many living records show."""
        return len(self._order("id", gone=False))

    def get(self, native_id: str) -> Record | None:
        """A record as it shows, also if it is deleted; None if there is none."""
        record = self._records.get(native_id)
        return self._before[native_id] if native_id in self._hidden() else record

    def after(self, native_id: str | None, count: int, *, gone: bool = False) -> Sequence[Record]:
        """The next living records (with ``gone``: deleted ones too) in the order of their ids."""
        order = self._order("id", gone=gone)
        start = 0 if native_id is None else bisect_right(order, native_id, key=attrgetter("id"))
        return order[start : start + count]

    def changed(
        self, start: datetime | None, end: datetime | None, after: tuple[datetime, str] | None, count: int, *, gone: bool = False
    ) -> Sequence[Record]:
        """The next ones with ``start <= modified < end`` in the order of (modified, id), behind ``after``."""
        order = self._order("key", gone=gone)
        first = 0 if start is None else bisect_left(order, (start, ""), key=attrgetter("key"))
        first = first if after is None else max(first, bisect_right(order, after, key=attrgetter("key")))
        last = len(order) if end is None else bisect_left(order, (end, ""), key=attrgetter("key"))
        return order[first : min(first + count, last)]

    def _hidden(self) -> frozenset[str]:
        if not self._before:
            return frozenset()
        now = self._clock.now()
        return frozenset(key for key in self._before if (at := self._records[key].visible_at) is not None and at > now)

    def _order(self, by: str, *, gone: bool) -> list[Record]:
        state = (self._version, self._hidden())
        known = self._sorted.get((gone, by))
        if known is None or known[0] != state:
            shown = (self.get(key) for key in self._records) if state[1] else self._records.values()
            found = [record for record in shown if record is not None and (gone or record.deleted_at is None)]
            known = self._sorted[gone, by] = (state, sorted(found, key=attrgetter(by)))
        return known[1]


class Crm:
    """An invented CRM that a test changes.

    Args:
        clock: says when each change happens.
        seed: makes the invented records repeatable.
        ids: makes the vendor's id of the n-th record of a kind; the default counts.
        whole: the vendor keeps times in these steps.
    """

    def __init__(
        self,
        clock: Clock,
        seed: int = 1,
        ids: Callable[[str, int], str] | None = None,
        *,
        whole: timedelta = timedelta(seconds=1),
    ) -> None:
        self.clock = clock
        self.random = random.Random(seed)  # noqa: S311  invented data
        self.kinds: dict[str, Kind] = {kind: Kind(clock) for kind in KINDS}
        self.version = 0
        self._ids = ids or (lambda _kind, number: str(number))
        self._whole = whole
        self._late = _NEVER
        self._counts = dict.fromkeys(KINDS, 0)
        self._pools: dict[str, tuple[object, list[str]]] = {}
        self._burials = 0
        self.stage_ids: dict[str, str] = {}
        """Id of each stage by its name in :data:`STAGES`."""
        old = clock.now() - timedelta(days=900)
        for order, (key, (name, state, odds)) in enumerate(STAGES.items()):
            values = {"name": name, "state": state, "probability": odds, "sort_order": order, "pipeline_id": PIPELINE}
            self.stage_ids[key] = self.create("stages", values, at=old)

    # -- what people do ------------------------------------------------------------------------------------------------------

    def create(self, kind: str, values: Mapping[str, Any], *, at: datetime | None = None, native_id: str | None = None) -> str:
        """A new record; gives its id."""
        now = self._now(at)
        self._counts[kind] += 1
        native_id = native_id or self._ids(kind, self._counts[kind])
        log = tuple((name, value, now) for name, value in values.items())
        self._put(Record(kind, native_id, dict(values), now, now, log=log))
        return native_id

    def edit(self, kind: str, native_id: str, *, at: datetime | None = None, touch: bool = True, **changes: Any) -> None:
        """Change values. Without ``touch`` the modified time stays, as for formulas and roll-ups."""
        now, old = self._now(at), self.kinds[kind].true(native_id)
        log = tuple((name, value, now) for name, value in changes.items() if old.values.get(name) != value)
        modified = now if touch else old.modified
        self._put(replace(old, values={**old.values, **changes}, modified=modified, log=(*old.log, *log)))

    def move(self, deal: str, stage: str, *, at: datetime | None = None) -> None:
        """A deal goes into a stage (a name in :data:`STAGES`): its state and its closing follow."""
        now, (_, state, odds) = self._now(at), STAGES[stage]
        closed = None if state == "open" else now
        self.edit("deals", deal, at=at, stage_id=self.stage_ids[stage], state=state, probability=odds, closed_at=closed)

    def delete(self, kind: str, native_id: str, *, at: datetime | None = None, touch: bool = False) -> None:
        """Delete a record as a user does; ``touch`` says whether that changes its modified time."""
        now, old = self._now(at), self.kinds[kind].true(native_id)
        self._put(replace(old, deleted_at=now, modified=now if touch else old.modified))
        self._burials += 1

    def restore(self, kind: str, native_id: str, *, touch: bool = True) -> None:
        """Take a deleted record back."""
        now, old = self._now(None), self.kinds[kind].true(native_id)
        self._put(replace(old, deleted_at=None, modified=now if touch else old.modified))
        self._burials += 1

    def merge(self, kind: str, winner: str, loser: str, *, touch: bool = True) -> None:
        """Merge one record into another. What belonged to the loser belongs to the winner; that is no change of its own time."""
        now, old = self._now(None), self.kinds[kind].true(loser)
        self._put(replace(old, deleted_at=now, merged_into=winner, modified=now if touch else old.modified))
        self._burials += 1
        if touch:
            self.edit(kind, winner)
        names = [name for name, of in REFERENCES.items() if of == kind]
        for records in self.kinds.values():
            for record in [record for record in records.every() if any(record.values.get(name) == loser for name in names)]:
                if (record.kind, record.id) != (kind, loser):
                    moved = {name: winner for name in names if record.values.get(name) == loser}
                    records.put(replace(record, values={**record.values, **moved}))

    def purge(self, kind: str, native_id: str) -> None:
        """Remove a record so that nothing tells of it."""
        self.kinds[kind].drop(native_id)
        self._burials += 1
        self.version += 1

    def convert_lead(self, lead: str, *, deal: bool = True) -> tuple[str, str, str | None]:
        """A lead becomes an account, a contact and, if it is to, a deal; gives their ids."""
        now, old = self._now(None), self.kinds["leads"].true(lead).values
        owner = old.get("owner_id")
        account = self.create("accounts", {"name": old.get("company"), "owner_id": owner})
        contact = self.create("contacts", {"name": old.get("name"), "email": old.get("email"), "account_id": account})
        made = self.add_deal(account=account, primary_contact_id=contact, owner_id=owner, lead_id=lead) if deal else None
        ids: dict[str, Any] = {"converted_account_id": account, "converted_contact_id": contact, "converted_deal_id": made}
        self.edit("leads", lead, status="converted", converted_at=now, **ids)
        return account, contact, made

    def bulk(self, kind: str, count: int, at: datetime | None = None) -> list[str]:
        """Import so many records with one instant of change; gives their ids."""
        now = self._now(at)
        stage = {"stage_id": self.stage_ids["first"], "state": "open", "pipeline_id": PIPELINE} if kind == "deals" else {}
        return [self.create(kind, {"name": f"Import {number}", **stage}, at=now) for number in range(count)]

    def add_deal(self, *, at: datetime | None = None, **values: Any) -> str:
        """An open deal in the first stage; gives its id. ``account`` is short for ``account_id``."""
        number = self._counts["deals"] + 1
        if "account" in values:
            values["account_id"] = values.pop("account")
        usual = {"name": f"Example deal {number}", "amount": Decimal("1000.00"), "currency": "EUR", "pipeline_id": PIPELINE}
        first = {"stage_id": self.stage_ids["first"], "state": "open", "probability": STAGES["first"][2]}
        return self.create("deals", {**usual, **first, **values}, at=at)

    def hide_for(self, late: timedelta) -> None:
        """From now on changes show so much later, with the time at which they were made; zero: at once."""
        self._late = late

    # -- what is so ----------------------------------------------------------------------------------------------------------

    def living(self, kind: str) -> dict[str, Record]:
        """The true living records by id, whether they show yet or not."""
        return {record.id: record for record in self.kinds[kind].every() if record.deleted_at is None}

    def pool(self, kind: str) -> list[str]:
        """Ids of living records to choose from; quick, for filling."""
        if self._pools.get(kind, ((), []))[0] != (known := (len(self.kinds[kind].ids), self._burials)):
            self._pools[kind] = (known, sorted(self.living(kind)))
        return self._pools[kind][1]

    def gone(self, kind: str, since: datetime | None = None, *, reach: timedelta | None = None) -> list[Record]:
        """The delete log: what was deleted or merged at ``since`` or later and no longer ago than ``reach``, oldest first."""
        begin = max(filter(None, (since, None if reach is None else self.clock.now() - reach)), default=None)
        found = [
            record
            for record in self.kinds[kind].every()
            if record.deleted_at is not None and (begin is None or record.deleted_at >= begin)
        ]
        return sorted(found, key=lambda record: (record.deleted_at, record.id))

    def intervals(self, deal: str) -> list[tuple[str, datetime, datetime | None]]:
        """The stages of a deal with the instants from and up to which it was in them; of two at one instant the later counts."""
        moves = {at: value for name, value, at in self.kinds["deals"].true(deal).log if name == "stage_id"}
        starts = sorted(moves)
        return [(moves[start], start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]

    def _put(self, record: Record) -> None:
        visible = self.clock.now() + self._late if self._late else None
        self.kinds[record.kind].put(
            record if visible is None and record.visible_at is None else replace(record, visible_at=visible)
        )
        self.version += 1

    def _now(self, at: datetime | None) -> datetime:
        """An instant in the vendor's steps."""
        at = at or self.clock.now()
        return at - (at - datetime.min.replace(tzinfo=at.tzinfo)) % self._whole
