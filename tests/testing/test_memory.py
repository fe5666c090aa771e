"""The sync in memory does with ids, fetches, counts and inline deletions what the real one does, in short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from kpid.plugin import Connector, EntityReads, IdPage, Page, Settings, SourceContext, Tombstone
from kpid.testing import FakeClock, MemorySync

DAY = datetime(2026, 11, 20, tzinfo=UTC)


class Cards(Connector[Settings]):
    """Deals in a dict: changes are given as pages, the whole by ids."""

    name = "cards"
    Settings = Settings

    def __init__(self, *, grain="exact", unlisted=()):
        super().__init__(Settings(), SourceContext("crm", ZoneInfo("UTC"), Path(), FakeClock()))
        self.deals, self.changed, self.gone = {}, [], []
        self.grain, self.unlisted = grain, set(unlisted)

    def put(self, native_id, at=DAY, *, told=True):
        self.deals[native_id] = at
        if told:
            self.changed.append(native_id)

    def reads(self):
        return [EntityReads("deals", grain=self.grain, listing=True, by_id=True, counted=True)]

    def pages(self, entity, cursor, until):
        rows, gone = [self._row(key) for key in self.changed], [Tombstone(key, DAY) for key in self.gone]
        self.changed, self.gone = [], []
        yield Page({"deals": rows}, {"since": "x"}, gone=gone, warnings=("look",))

    def ids(self, entity, cursor, until):
        listed = [(key, at) for key, at in self.deals.items() if key not in self.unlisted]
        yield IdPage(listed[:1], {"after": 1})
        yield IdPage(listed[1:])

    def fetch(self, entity, ids):
        yield Page({"deals": [self._row(key) for key in ids if key in self.deals]})

    def count(self, entity):
        return len(self.deals)

    def _row(self, key):
        return {"native_id": key, "updated_at": self.deals[key].isoformat()}

    def check(self):
        return []


def synced(cards, held=None, **options):
    held = held or MemorySync()
    held.run(cards, **options)
    return held


def test_a_reconciliation_finds_what_pages_have_not_told():
    cards = Cards()
    for key in "abc":
        cards.put(key)
    held = synced(cards)
    del cards.deals["a"]
    cards.put("b", DAY + timedelta(hours=1), told=False)
    cards.put("d", told=False)
    assert synced(cards, held).live("deals").keys() == set("abc")
    synced(cards, held, reconcile=True)
    assert held.live("deals").keys() == set("bcd")
    assert held.rows["deals"]["b"]["updated_at"] == (DAY + timedelta(hours=1)).isoformat()
    assert held.rows["deals"]["a"]["deleted_reason"] == "vanished"
    assert held.missed == {"deals": {"b", "d"}}
    assert held.counts == {"deals": 3}
    assert held.cursors["deals"] == {"since": "x"}
    assert held.warnings == ["look"]


def test_what_a_listing_misses_is_asked_for_before_it_is_buried():
    cards = Cards(unlisted=["b"])
    cards.put("a")
    cards.put("b")
    assert synced(cards, reconcile=True).live("deals").keys() == {"a", "b"}


def test_with_a_day_grained_time_only_another_day_is_a_change():
    cards = Cards(grain="day")
    cards.put("a")
    held = synced(cards)
    cards.put("a", DAY + timedelta(hours=5), told=False)
    assert synced(cards, held, reconcile=True).missed == {"deals": set()}
    cards.put("a", DAY + timedelta(days=1), told=False)
    assert synced(cards, held, reconcile=True).missed == {"deals": {"a"}}


def test_deletions_among_the_rows_are_stored_and_undone_by_a_row():
    cards = Cards()
    cards.put("a")
    cards.put("b")
    held = synced(cards)
    cards.gone = ["a"]
    assert synced(cards, held).live("deals").keys() == {"b"}
    cards.put("a")
    assert synced(cards, held).live("deals").keys() == {"a", "b"}


def test_a_kill_ends_a_reconciliation_before_it_buries():
    cards = Cards()
    cards.put("a")
    held = synced(cards)
    cards.deals.clear()
    synced(cards, held, reconcile=True, stop_after=2)
    assert held.live("deals").keys() == {"a"}
