"""The outbox on PostgreSQL: several processes at once, where SQLite would let only one write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kpid.clock import SystemClock
from kpid.config.model import Receiver
from kpid.delivery.dispatch import deliver_due
from kpid.plugin import Image, Message, Notifier, NotifierContext, Receipt, Settings
from kpid.store import outbox, sending
from kpid.store.engine import Store
from kpid.store.tables import metadata

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


class Quiet(Notifier[Settings]):
    """Takes everything."""

    name = "quiet"
    Settings = Settings

    def __init__(self) -> None:
        super().__init__(Settings(), NotifierContext("quiet", Path(), SystemClock()))
        self.keys: list[str] = []

    def send(self, message: Message) -> Receipt:
        self.keys.append(message.key)
        return Receipt("id")

    def check(self) -> list[object]:
        return []


@pytest.fixture
def store(postgres: str) -> Iterator[Store]:
    store = Store(postgres)
    store.create()
    yield store
    metadata.drop_all(store.engine)
    store.close()


def message(key: str, thread: str | None = None) -> Message:
    picture = Image("trend", b"\x89PNG", "trend", 1, 1)
    return Message(key=key, kind="alert", title="Title \u2028", text="Body.", created_at=NOW, thread=thread, images=(picture,))


def at_once(*works: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_row_goes_through_its_life(store: Store) -> None:
    with store.write() as conn:
        assert outbox.enqueue(conn, message("fired", "t"), receiver="r", origin="o", now=NOW)
        assert not outbox.enqueue(conn, message("fired", "t"), receiver="r", origin="o", now=NOW)
        assert outbox.enqueue(conn, message("over", "t"), receiver="r", origin="o", now=NOW)
    with store.write() as conn:
        (row,) = sending.claim(conn, "a", NOW, timedelta(minutes=2), 20)
    assert row.message == message("fired", "t")
    with store.write() as conn:
        assert sending.start_attempt(conn, row, NOW) == sending.Started(1, NOW)
        assert sending.mark_sent(conn, row, Receipt("id", "ref"), NOW)
    with store.write() as conn:
        (row,) = sending.claim(conn, "a", NOW, timedelta(minutes=2), 20)
        assert (row.message.follows, row.message.thread_ref) == (("fired",), "ref")
        assert sending.start_attempt(conn, row, NOW) is not None
        assert sending.mark_dead(conn, row, "no", NOW)
        assert outbox.requeue(conn, row.id, NOW)
        assert outbox.purge(conn, NOW + timedelta(days=1)) == 1
        assert outbox.count_by_state(conn) == {"sent": 1, "ready": 1}
        assert outbox.next_due_at(conn) == NOW


def test_same_key_from_two_processes_is_one_message(store: Store) -> None:
    together = threading.Barrier(2)
    new: list[bool] = []

    def write() -> None:
        for number in range(20):
            together.wait(30)
            with store.write() as conn:
                new.append(outbox.enqueue(conn, message(f"k{number}"), receiver="r", origin="o", now=NOW))

    at_once(write, write)
    assert (new.count(True), new.count(False)) == (20, 20)


def test_three_dispatchers_send_everything_once(store: Store, postgres: str) -> None:
    with store.write() as conn:
        for number in range(150):
            outbox.enqueue(conn, message(f"k{number}", f"t{number % 40}"), receiver="r", origin="o", now=NOW)
    stores = [Store(postgres) for _ in range(3)]
    notifiers = [Quiet() for _ in stores]

    def deliver(number: int) -> None:
        options = {"notifiers": {"r": notifiers[number]}, "receivers": {"r": Receiver(notifier="quiet")}, "clock": SystemClock()}
        while deliver_due(store=stores[number], owner=f"process {number}", **options).next_at is not None:
            pass

    at_once(*(lambda number=number: deliver(number) for number in range(3)))
    keys = [key for notifier in notifiers for key in notifier.keys]
    assert len(keys) == len(set(keys)) == 150
    for one in stores:
        one.close()
