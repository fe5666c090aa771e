"""From the outbox to the receivers, with notifiers that fail in every way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from kpid.clock import SystemClock
from kpid.config.model import Receiver
from kpid.delivery.dispatch import BATCH, FAILURES, SYNC_EVERY, Delivered, deliver_due
from kpid.plugin import DeliveryError, Message, Notifier, NotifierContext, Receipt, Settings
from kpid.store import outbox, problems, sending, tables
from kpid.store.engine import Store
from kpid.testing import FakeClock

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)


class Fake(Notifier[Settings]):
    """A notifier whose fate a test scripts: per message key a list of errors, then acceptance."""

    name = "fake"
    Settings = Settings

    def __init__(self, *recipients: str, clock: FakeClock | None = None) -> None:
        super().__init__(Settings(), NotifierContext("fake", Path(), clock or FakeClock(NOW)))
        self.people = recipients or ("",)
        self.script: dict[str, list[BaseException | Callable[[], None]]] = {}
        self.got: list[Message] = []
        self.present: set[str] = set()
        self.asked: list[str] = []
        self.inside = 0

    def recipients(self) -> tuple[str, ...]:
        return self.people

    def send(self, message: Message) -> Receipt:
        self.inside += 1
        assert self.inside == 1, "called by two threads at once"
        try:
            for step in [self.script.get(message.key, [])[:1]]:
                for one in step:
                    self.script[message.key].pop(0)
                    if isinstance(one, BaseException):
                        raise one
                    one()
            self.got.append(message)
            return Receipt(f"id-{message.key}", f"thread-{message.key}", "ok")
        finally:
            self.inside -= 1

    def find(self, message: Message) -> Receipt | None:
        self.asked.append(message.key)
        return Receipt(f"found-{message.key}") if message.key in self.present else None

    def check(self) -> list[object]:
        return []

    @property
    def keys(self) -> list[str]:
        return [message.key for message in self.got]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/state.db")
    store.create()
    yield store
    store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


def message(key: str, **changes: object) -> Message:
    return replace(Message(key=key, kind="alert", title=f"Title {key}", text="Body.", created_at=NOW), **changes)


def put(store: Store, *keys: str | Message, receiver: str = "team", **options: object) -> None:
    with store.write() as conn:
        for key in keys:
            one = message(key) if isinstance(key, str) else key
            assert outbox.enqueue(conn, one, receiver=receiver, origin="rule r", now=NOW, **options)


def deliver(store: Store, clock: FakeClock, stop: Callable[[], bool] = lambda: False, **notifiers: Fake) -> Delivered:
    receivers = {name: Receiver(notifier="fake") for name in notifiers}
    return deliver_due(store=store, notifiers=notifiers, receivers=receivers, clock=clock, owner="one", stop=stop)


def row_of(store: Store, key: str) -> outbox.OutboxRow:
    with store.read() as conn:
        return next(row for row in outbox.list_outbox(conn, limit=1000) if row.key == key)


def attempts_of(store: Store, key: str) -> list[str | None]:
    with store.read() as conn:
        return [one.result for one in outbox.list_attempts(conn, row_of(store, key).id)]


def problem_of(store: Store) -> dict[str, str]:
    with store.read() as conn:
        return {one.subject: one.text for one in problems.list_problems(conn)}


def test_all_that_is_due_is_sent_once(store: Store, clock: FakeClock) -> None:
    team, chat = Fake(), Fake()
    put(store, *(f"m{number:02}" for number in range(45)))
    put(store, "c1", receiver="chat")
    assert deliver(store, clock, team=team, chat=chat) == Delivered(sent=46)
    assert team.keys == [f"m{number:02}" for number in range(45)]
    assert chat.keys == ["c1"]
    row = row_of(store, "m00")
    assert (row.state, row.provider_id, row.done_at) == ("sent", "id-m00", NOW)
    assert deliver(store, clock, team=team, chat=chat) == Delivered()


def test_nothing_due_says_when_something_will_be(store: Store, clock: FakeClock) -> None:
    put(store, "m1", not_before=NOW + timedelta(hours=1))
    assert deliver(store, clock, team=Fake()) == Delivered(next_at=NOW + timedelta(hours=1))


def test_thread_goes_out_in_order_with_its_references(store: Store, clock: FakeClock) -> None:
    team = Fake()
    put(store, message("fired", thread="t"), message("worse", thread="t"), message("over", thread="t"))
    deliver(store, clock, team=team)
    assert [(one.key, one.follows, one.thread_ref) for one in team.got] == [
        ("fired", (), None),
        ("worse", ("fired",), "thread-fired"),
        ("over", ("fired", "worse"), "thread-fired"),
    ]


def test_refused_message_is_tried_again_later(store: Store, clock: FakeClock) -> None:
    team = Fake()
    team.script["m1"] = [DeliveryError("451 busy"), DeliveryError("451 busy"), DeliveryError("451 busy")]
    put(store, "m1")
    for number in (1, 2, 3):
        result = deliver(store, clock, team=team)
        assert (result.sent, result.retried) == (0, 1)
        assert result.next_at is not None
        assert clock.now() < result.next_at <= clock.now() + timedelta(seconds=2**number)
        clock.set(result.next_at)
    assert "not delivered after 3 tries" in problem_of(store)["receiver:team"]
    assert deliver(store, clock, team=team).sent == 1
    assert attempts_of(store, "m1") == ["retry", "retry", "retry", "sent"]
    assert problem_of(store) == {}
    assert clock.sleeps == []


def test_permanent_refusal_is_dead_at_once_and_seen(store: Store, clock: FakeClock) -> None:
    team = Fake()
    team.script["m1"] = [DeliveryError("550 no such user", permanent=True)]
    put(store, message("m1", recipient="gone@example.com"), "m2")
    assert deliver(store, clock, team=team) == Delivered(sent=1, dead=1)
    assert (row_of(store, "m1").state, row_of(store, "m1").last_error) == ("dead", "550 no such user")
    assert "550 no such user" in problem_of(store)["outbox:1"]
    with store.write() as conn:
        assert outbox.dismiss(conn, 1, NOW)
        assert not outbox.dismiss(conn, 2, NOW)
    assert problem_of(store) == {}


def test_message_that_fails_for_a_day_is_given_up(store: Store, clock: FakeClock) -> None:
    team = Fake()
    team.script["m1"] = [DeliveryError("451 busy") for _ in range(999)]
    put(store, message("m1", kind="report"))
    tries = 0
    while row_of(store, "m1").state == "ready":
        result = deliver(store, clock, team=team)
        tries += 1
        clock.set(result.next_at or clock.now())
    assert row_of(store, "m1").state == "dead"
    assert timedelta(hours=23) < clock.now() - NOW <= timedelta(hours=24)
    assert tries == 27
    with store.write() as conn:
        outbox.requeue(conn, 1, clock.now())
    team.script["m1"] = [DeliveryError("451 busy")]
    assert deliver(store, clock, team=team).retried == 1, "a person's requeue starts a new day"


def test_expired_message_is_dead_without_being_sent(store: Store, clock: FakeClock) -> None:
    team = Fake()
    put(store, "m1", expires_at=NOW)
    put(store, "m2", expires_at=NOW + timedelta(seconds=1))
    assert deliver(store, clock, team=team) == Delivered(sent=1, dead=1)
    assert team.keys == ["m2"]
    assert "too late" in (row_of(store, "m1").last_error or "")


def test_retry_after_leaves_the_receiver_alone(store: Store, clock: FakeClock) -> None:
    team, chat = Fake(), Fake()
    team.script["m1"] = [DeliveryError("429", retry_after=timedelta(seconds=30))]
    put(store, "m1", "m2", "m3")
    put(store, "c1", receiver="chat")
    result = deliver(store, clock, team=team, chat=chat)
    assert (result.sent, result.retried, result.next_at) == (1, 1, NOW + timedelta(seconds=30))
    assert team.keys == []
    clock.advance(timedelta(seconds=30))
    assert deliver(store, clock, team=team, chat=chat).sent == 3


def test_server_that_is_down_is_not_asked_for_every_message(store: Store, clock: FakeClock) -> None:
    team = Fake()
    for number in range(30):
        team.script[f"m{number}"] = [DeliveryError("no connection")]
    put(store, *(f"m{number}" for number in range(30)))
    assert deliver(store, clock, team=team).retried == FAILURES
    with store.read() as conn:
        assert outbox.count_by_state(conn) == {"ready": 30}


def test_lost_answer_is_looked_up_before_it_is_sent_again(store: Store, clock: FakeClock) -> None:
    team = Fake()
    team.script |= {"m1": [DeliveryError("answer lost", unknown=True)], "m2": [DeliveryError("answer lost", unknown=True)]}
    put(store, "m1", "m2")
    assert deliver(store, clock, team=team).unknown == 2
    assert row_of(store, "m1").unknown
    team.present.add("m1")
    clock.advance(timedelta(minutes=1))
    assert deliver(store, clock, team=team).sent == 2
    assert sorted(team.asked) == ["m1", "m2"]
    assert team.keys == ["m2"]
    assert row_of(store, "m1").provider_id == "found-m1"


def test_lost_answer_is_held_where_so_configured(store: Store, clock: FakeClock) -> None:
    team = Fake()
    team.script["m1"] = [DeliveryError("answer lost", unknown=True)]
    put(store, "m1", "m2")
    receivers = {"team": Receiver(notifier="fake", on_unknown="hold")}
    done = deliver_due(store=store, notifiers={"team": team}, receivers=receivers, clock=clock, owner="one")
    assert (done.sent, done.unknown, row_of(store, "m1").state) == (1, 1, "hold")
    assert "may or may not" in problem_of(store)["outbox:1"]
    with store.write() as conn:
        outbox.release(conn, row_of(store, "m1").id, NOW)
    done = deliver_due(store=store, notifiers={"team": team}, receivers=receivers, clock=clock, owner="one")
    assert done.sent == 1
    assert problem_of(store) == {}


@pytest.mark.parametrize(("policy", "state", "keys"), [("resend", "sent", ["m1"]), ("hold", "hold", [])])
def test_attempt_of_a_process_that_died_counts_as_unknown(
    store: Store, clock: FakeClock, policy: str, state: str, keys: list[str]
) -> None:
    put(store, "m1")
    with store.write() as conn:
        (row,) = sending.claim(conn, "dead process", NOW, timedelta(minutes=2), 20)
        sending.start_attempt(conn, row, NOW)
    team, receivers = Fake(), {"team": Receiver(notifier="fake", on_unknown=policy)}
    options = {"store": store, "notifiers": {"team": team}, "receivers": receivers, "clock": clock, "owner": "two"}
    assert deliver_due(**options).next_at == NOW + timedelta(minutes=2)
    clock.advance(timedelta(minutes=2))
    deliver_due(**options)
    assert (row_of(store, "m1").state, team.keys, team.asked) == (state, keys, ["m1"])


@pytest.mark.parametrize("error", [ValueError("token xoxb-secret"), SystemExit(3), KeyError("x"), RecursionError()])
def test_plugin_that_breaks_is_counted_and_its_message_kept(store: Store, clock: FakeClock, error: BaseException) -> None:
    team, chat = Fake(), Fake()
    team.script["m1"] = [error]
    put(store, "m1")
    put(store, "c1", receiver="chat")
    result = deliver(store, clock, team=team, chat=chat)
    assert (result.sent, result.retried, result.faults) == (1, 1, 1)
    said = row_of(store, "m1").last_error or ""
    assert type(error).__name__ in said
    assert "xoxb" not in said
    assert "team" in "".join(problem_of(store))
    clock.advance(timedelta(minutes=1))
    assert deliver(store, clock, team=team, chat=chat).sent == 1


def test_receiver_that_is_gone_makes_its_messages_dead(store: Store, clock: FakeClock) -> None:
    put(store, "m1", receiver="former")
    assert deliver(store, clock, team=Fake()) == Delivered(dead=1)
    assert "no receiver 'former'" in (row_of(store, "m1").last_error or "")


def test_dead_message_is_told_to_the_fallback_receiver(store: Store, clock: FakeClock) -> None:
    team, admins = Fake(), Fake("ada@example.com", "bob@example.com")
    team.script["m1"] = [DeliveryError("channel is archived", permanent=True)]
    put(store, message("m1", text="Win rate is 41 %."))
    receivers = {"team": Receiver(notifier="fake", fallback="admins"), "admins": Receiver(notifier="fake", fallback="team")}
    notifiers = {"team": team, "admins": admins}
    done = deliver_due(store=store, notifiers=notifiers, receivers=receivers, clock=clock, owner="one")
    assert (done.sent, done.dead) == (2, 1)
    assert [one.recipient for one in admins.got] == ["ada@example.com", "bob@example.com"]
    assert admins.got[0].key != admins.got[1].key
    assert admins.got[0].kind == "health"
    assert "channel is archived" in admins.got[0].text
    assert "Win rate is 41 %." in admins.got[0].text


def test_fallback_that_fails_too_is_no_endless_circle(store: Store, clock: FakeClock) -> None:
    class Refusing(Fake):
        def send(self, message: Message) -> Receipt:
            raise DeliveryError("no", permanent=True)

    receivers = {"a": Receiver(notifier="fake", fallback="b"), "b": Receiver(notifier="fake", fallback="a")}
    put(store, "m1", receiver="a")
    done = deliver_due(store=store, notifiers={"a": Refusing(), "b": Refusing()}, receivers=receivers, clock=clock, owner="one")
    assert done.dead == 2


def test_stop_ends_after_the_current_send_and_gives_the_rest_back(store: Store, clock: FakeClock) -> None:
    team = Fake()
    put(store, *(f"m{number}" for number in range(10)))
    result = deliver(store, clock, stop=lambda: len(team.got) >= 3, team=team)
    assert result.sent == 3
    with store.read() as conn:
        assert outbox.count_by_state(conn) == {"sent": 3, "ready": 7}
    assert deliver(store, clock, team=team).sent == 7


def test_slow_receiver_holds_nobody_up(store: Store, clock: FakeClock) -> None:
    """While one receiver does not answer, another gets even what is enqueued only now."""
    slow, quick = Fake(), Fake()
    waiting, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        waiting.set()
        assert go_on.wait(20)

    slow.script["s1"] = [hang]
    quick.script["q2"] = [go_on.set]
    put(store, "s1", receiver="slow")
    put(store, "q1", receiver="quick")
    results: list[Delivered] = []
    thread = threading.Thread(target=lambda: results.append(deliver(store, clock, slow=slow, quick=quick)))
    thread.start()
    assert waiting.wait(20)
    put(store, "q2", receiver="quick")
    thread.join(20)
    assert not thread.is_alive()
    assert results[0].sent == 3
    assert quick.keys == ["q1", "q2"]


def test_process_that_lost_its_lease_cannot_mark(store: Store, clock: FakeClock) -> None:
    """Frozen for longer than its lease, it finds the row taken; the other process's mark stands."""
    frozen, other = Fake(), Fake()

    def freeze() -> None:
        clock.advance(timedelta(minutes=3))
        assert (
            deliver_due(
                store=store, notifiers={"team": other}, receivers={"team": Receiver(notifier="fake")}, clock=clock, owner="two"
            ).sent
            == 1
        )

    frozen.script["m1"] = [freeze]
    put(store, "m1")
    assert deliver(store, clock, team=frozen).sent == 0
    assert (row_of(store, "m1").state, attempts_of(store, "m1")) == ("sent", ["unknown", "sent"])


def test_two_dispatchers_on_one_store_send_everything_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    stores = [Store(url), Store(url)]
    stores[0].create()
    put(stores[0], *(f"m{number}" for number in range(120)))
    put(stores[0], *(f"c{number}" for number in range(60)), receiver="chat")
    fakes = [{"team": Fake(), "chat": Fake()} for _ in stores]
    receivers = {name: Receiver(notifier="fake") for name in fakes[0]}
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            deliver_due(
                store=stores[number], notifiers=fakes[number], receivers=receivers, clock=SystemClock(), owner=f"process {number}"
            )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    got = [key for pair in fakes for fake in pair.values() for key in fake.keys]
    assert len(got) == len(set(got)) == 180
    for store in stores:
        store.close()


def test_500_then_ok_with_two_dispatchers_is_one_delivery(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    stores = [Store(url), Store(url)]
    stores[0].create()
    put(stores[0], "k1", "k2", "k3")
    clock = FakeClock(NOW)
    fakes = [{"team": Fake(clock=clock)} for _ in stores]
    for pair in fakes:
        pair["team"].script["k2"] = [DeliveryError("HTTP 500")]
    receivers = {"team": Receiver(notifier="fake")}
    for _ in range(4):
        for number, store in enumerate(stores):
            deliver_due(store=store, notifiers=fakes[number], receivers=receivers, clock=clock, owner=f"process {number}")
        clock.advance(timedelta(minutes=5))
    got = [key for pair in fakes for key in pair["team"].keys]
    assert sorted(got) == ["k1", "k2", "k3"]
    for store in stores:
        store.close()


def test_next_attempt_is_written_down_before_its_call_though_not_in_a_transaction_of_its_own(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/state.db")
    store.create()
    put(store, "k1", "k2", "k3")
    fake = Fake()
    open_: list[list[int]] = []

    def look() -> None:
        with store.read() as conn:
            rows = conn.execute(
                select(tables.attempts.c.outbox_id, tables.attempts.c.result).order_by(tables.attempts.c.id)
            ).all()
        open_.append([row.outbox_id for row in rows if row.result is None])

    fake.script = {key: [look] for key in ("k1", "k2", "k3")}
    clock = FakeClock(NOW)
    receivers = {"team": Receiver(notifier="fake")}
    done = deliver_due(store=store, notifiers={"team": fake}, receivers=receivers, clock=clock, owner="one")
    assert done.sent == 3
    assert open_ == [[1], [2], [3]]  # at each call one attempt is begun and not ended: its own
    store.close()


class Watched(Store):
    """Notes which commits wait for the disk."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.create()
        self.synced: list[bool] = []

    def write(self, *, synced: bool = True) -> AbstractContextManager[Connection]:
        if hasattr(self, "synced"):
            self.synced.append(synced)
        return super().write(synced=synced)


class Telling(Fake):
    """Its receiving side drops what comes twice."""

    tells_repeats = True


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    store = Watched(f"sqlite:///{tmp_path}/watched.db")
    yield store
    store.close()


def test_where_a_repeat_does_no_harm_the_disk_is_waited_for_once_a_batch(watched: Watched, clock: FakeClock) -> None:
    put(watched, *(f"m{number}" for number in range(45)))
    watched.synced.clear()
    assert deliver(watched, clock, team=Telling()).sent == 45
    # claim, begin the first, then the end of each with the beginning of the next; at the end a claim of nothing and the release
    assert watched.synced == [True, *[False] * 21, True, *[False] * 21, True, *[False] * 6, True, True]
    assert BATCH == 20


def test_slow_answers_are_on_the_disk_one_by_one_even_there(watched: Watched, clock: FakeClock) -> None:
    team = Telling()
    team.script = {f"m{number}": [lambda: clock.advance(timedelta(seconds=2 * SYNC_EVERY))] for number in range(5)}
    put(watched, *team.script)
    watched.synced.clear()
    assert deliver(watched, clock, team=team).sent == 5
    assert watched.synced == [True, False, *[True] * 7]


@pytest.mark.parametrize(("team", "policy"), [(Fake(), "resend"), (Fake(), "hold"), (Telling(), "hold")])
def test_everywhere_else_each_receipt_is_on_the_disk_before_the_next_send(
    watched: Watched, clock: FakeClock, team: Fake, policy: str
) -> None:
    put(watched, *(f"m{number}" for number in range(5)))
    watched.synced.clear()
    receivers = {"team": Receiver(notifier="fake", on_unknown=policy)}
    assert deliver_due(store=watched, notifiers={"team": team}, receivers=receivers, clock=clock, owner="one").sent == 5
    assert set(watched.synced) == {True}


@pytest.mark.parametrize("error", [DeliveryError("451"), DeliveryError("550", permanent=True), DeliveryError("?", unknown=True)])
def test_what_failed_is_on_the_disk_at_once(watched: Watched, clock: FakeClock, error: DeliveryError) -> None:
    team = Telling()
    team.script["m1"] = [error]
    put(watched, "m0", "m1")
    watched.synced.clear()
    deliver(watched, clock, team=team)
    assert watched.synced == [True, False, False, True, True, True]


def test_trouble_that_another_process_noted_is_over_with_the_next_yes(store: Store, clock: FakeClock) -> None:
    put(store, "m1", "m2")
    with store.write() as conn:
        problems.note(conn, "receiver:team", "not delivered", "wait", NOW)
        problems.note(conn, "receiver:other", "not delivered", "wait", NOW)
    assert deliver(store, clock, team=Fake()).sent == 2
    assert set(problem_of(store)) == {"receiver:other"}


def test_failing_store_is_raised_to_the_caller(store: Store, clock: FakeClock) -> None:
    team = Fake()

    def drop() -> None:
        with store.write() as conn:
            conn.exec_driver_sql("DROP TABLE attempts")

    team.script["m1"] = [drop]
    put(store, "m1")
    with pytest.raises(Exception, match="attempts"):
        deliver(store, clock, team=team)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen")


def test_lease_of_a_long_send_is_renewed(store: Store, clock: FakeClock) -> None:
    team = Fake()

    def lease() -> datetime:
        with store.read() as conn:
            return conn.scalar(select(tables.outbox.c.lease_until))

    def take_long() -> None:
        for _ in range(3):
            clock.advance(timedelta(seconds=90))
            wait_for(lambda: lease() == clock.now() + timedelta(minutes=2))
        with store.write() as conn:
            assert sending.claim(conn, "two", clock.now(), timedelta(minutes=2), 20) == []

    team.script["m1"] = [take_long]
    put(store, "m1")
    assert deliver(store, clock, team=team) == Delivered(sent=1)


def test_send_that_never_ends_becomes_a_problem_and_loses_its_lease(store: Store, clock: FakeClock) -> None:
    team = Fake()

    def hang() -> None:
        clock.advance(timedelta(minutes=16))
        wait_for(lambda: "15 minutes" in problem_of(store).get("receiver:team", ""))
        with store.write() as conn:
            assert [row.unknown for row in sending.claim(conn, "two", clock.now(), timedelta(minutes=2), 20)] == [True]

    team.script["m1"] = [hang]
    put(store, "m1")
    assert deliver(store, clock, team=team).sent == 0


def test_stop_does_not_wait_for_ever_for_a_send(store: Store, clock: FakeClock) -> None:
    team, stopping, go_on = Fake(), threading.Event(), threading.Event()

    def hang() -> None:
        stopping.set()
        clock.advance(timedelta(seconds=1))
        assert go_on.wait(20)

    team.script["m1"] = [hang]
    put(store, "m1", "m2")

    def stop() -> bool:
        if stopping.is_set():
            clock.advance(timedelta(seconds=20))
        return stopping.is_set()

    assert deliver(store, clock, stop=stop, team=team).sent == 0
    go_on.set()
    wait_for(lambda: row_of(store, "m1").state == "sent")
    wait_for(lambda: row_of(store, "m2").state == "ready")
