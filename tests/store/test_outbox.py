"""The outbox: nothing lost, nothing twice, replies in order, whoever crashes in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import Executable, select

from kpid.plugin import Action, Image, Link, Message, Receipt, Section
from kpid.store import outbox, sending
from kpid.store.engine import Store
from kpid.store.tables import contents

NOW = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
LEASE = timedelta(minutes=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/state.db")
    store.create()
    yield store
    store.close()


def message(key: str, **changes: object) -> Message:
    return replace(Message(key=key, kind="alert", title="Win rate is 41 %", text="Down from 52 %.", created_at=NOW), **changes)


def put(store: Store, *messages: Message, receiver: str = "team", **options: object) -> list[bool]:
    with store.write() as conn:
        return [outbox.enqueue(conn, one, receiver=receiver, origin="rule win-rate-low", now=NOW, **options) for one in messages]


def take(store: Store, owner: str = "a", now: datetime = NOW, limit: int = 20, **options: object) -> list[sending.Claimed]:
    with store.write() as conn:
        return sending.claim(conn, owner, now, LEASE, limit, **options)


def start(store: Store, row: sending.Claimed, now: datetime = NOW) -> sending.Started | None:
    with store.write() as conn:
        return sending.start_attempt(conn, row, now)


def sent(store: Store, row: sending.Claimed, ref: str | None = None, now: datetime = NOW) -> bool:
    with store.write() as conn:
        return sending.mark_sent(conn, row, Receipt("id", ref, "250 ok"), now)


def states(store: Store) -> dict[str, str]:
    with store.read() as conn:
        return {row.key: row.state for row in outbox.list_outbox(conn, limit=1000)}


def test_message_comes_back_as_it_was(store: Store) -> None:
    whole = message(
        "k1",
        html="<p>41 %</p>",
        sections=(Section("rows", pairs=(("Ada Example", "41 %"),)), Section("image", image="trend")),
        facts={"value": "0.41", "n": 21, "text": 'quote " and \u2028 line'},
        images=(Image("trend", b"\x89PNG\x00", "a falling line", 600, 200),),
        links=(Link("CRM", "https://crm.example.com/1"),),
        recipient="ada@example.com",
        status="firing",
        actions=(Action("ack", "Acknowledge", "token", "https://kpid.example.com/a/x"), Action("snooze", "Snooze", "other")),
        list_id="win-rate-low",
    )
    put(store, whole)
    (claimed,) = take(store)
    assert claimed.message == whole
    assert claimed.message.images[0].png == b"\x89PNG\x00"


def test_facts_are_stored_as_plain_data(store: Store) -> None:
    put(store, message("k1", facts={"value": Decimal("0.410"), "at": NOW}))
    (claimed,) = take(store)
    assert claimed.message.facts["value"] == "0.410"
    assert json.dumps(dict(claimed.message.facts))


def test_key_that_is_known_changes_nothing(store: Store) -> None:
    assert put(store, message("k1"), message("k1", title="another"), message("k2")) == [True, False, True]
    with store.read() as conn:
        assert [row.title for row in outbox.list_outbox(conn)] == ["Win rate is 41 %", "Win rate is 41 %"]


@pytest.mark.parametrize("key", ["", "x" * 65])
def test_key_without_use_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="1 to 64"):
        put(store, message(key))


def test_enqueue_that_is_rolled_back_leaves_nothing(store: Store) -> None:
    def enqueue_and_fail() -> None:
        with store.write() as conn:
            outbox.enqueue(conn, message("k1"), receiver="team", origin="o", now=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        enqueue_and_fail()
    assert states(store) == {}


def test_claim_takes_what_is_due_oldest_first(store: Store) -> None:
    put(store, message("later"), not_before=NOW + timedelta(minutes=1))
    put(store, message("b"), message("c"))
    assert [row.message.key for row in take(store)] == ["b", "c"]
    assert take(store) == []
    assert [row.message.key for row in take(store, now=NOW + timedelta(minutes=1))] == ["later"]


def test_claim_keeps_to_receivers_and_limit(store: Store) -> None:
    put(store, message("a1"), message("a2"), message("a3"), receiver="a")
    put(store, message("b1"), receiver="b")
    assert [row.message.key for row in take(store, receivers=["a"], limit=2)] == ["a1", "a2"]
    assert [row.message.key for row in take(store, receivers=["b"])] == ["b1"]


def test_reply_waits_for_the_message_before_it(store: Store) -> None:
    put(store, message("fired", thread="t"), message("resolved", thread="t"))
    put(store, message("elsewhere", thread="t", recipient="b@example.com"))
    first, other = take(store)
    assert {first.message.key, other.message.key} == {"fired", "elsewhere"}
    start(store, first)
    sent(store, first, "C1:17.1")
    (reply,) = take(store)
    assert (reply.message.key, reply.message.follows, reply.message.thread_ref) == ("resolved", ("fired",), "C1:17.1")


def test_reply_goes_out_after_its_opener_has_died(store: Store) -> None:
    put(store, message("fired", thread="t"), message("resolved", thread="t"))
    (first,) = take(store)
    with store.write() as conn:
        sending.mark_dead(conn, first, "refused", NOW)
    (reply,) = take(store)
    assert (reply.message.follows, reply.message.thread_ref) == ((), None)


def test_lease_that_ran_out_is_taken_over_and_the_first_owner_fenced(store: Store) -> None:
    put(store, message("k1"))
    (lost,) = take(store, "a")
    start(store, lost)
    (mine,) = take(store, "b", now=NOW + LEASE)
    assert mine.unknown, "the first owner may have sent it"
    assert not sent(store, lost)
    with store.write() as conn:
        assert not sending.mark_retry(conn, lost, "x", NOW, NOW)
        assert not sending.mark_dead(conn, lost, "x", NOW)
        assert not sending.mark_unknown(conn, lost, "x", NOW, None)
    assert start(store, lost) is None
    assert start(store, mine) is not None
    assert sent(store, mine)
    with store.read() as conn:
        assert [row.result for row in outbox.list_attempts(conn, mine.id)] == ["unknown", "sent"]


def test_lease_that_ran_out_before_the_attempt_leaves_no_doubt(store: Store) -> None:
    put(store, message("k1"))
    take(store, "a")
    (mine,) = take(store, "b", now=NOW + LEASE)
    assert not mine.unknown


def test_drain_gives_back_what_was_not_begun(store: Store) -> None:
    put(store, message("begun"), message("rest"))
    begun, _ = take(store)
    start(store, begun)
    with store.write() as conn:
        assert sending.release_leases(conn, "a") == 1
    assert states(store) == {"begun": "sending", "rest": "ready"}


def test_leases_are_renewed_expired_and_postponed(store: Store) -> None:
    put(store, message("k1"), message("k2"))
    take(store, limit=1)
    with store.write() as conn:
        sending.renew_leases(conn, "a", NOW + timedelta(minutes=9), ["team"])
    assert [row.message.key for row in take(store, "b", now=NOW + timedelta(minutes=3))] == ["k2"]
    with store.write() as conn:
        assert sending.expire_leases(conn, NOW) == 2
    again = take(store, "c")
    assert len(again) == 2
    with store.write() as conn:
        sending.release_leases(conn, "c")
        assert sending.postpone(conn, "team", NOW + timedelta(hours=1)) == 2
        assert outbox.next_due_at(conn) == NOW + timedelta(hours=1)


def test_retry_comes_due_again_and_counts(store: Store) -> None:
    put(store, message("k1"))
    (row,) = take(store)
    assert start(store, row).tries == 1
    with store.write() as conn:
        sending.mark_retry(conn, row, "421 busy", NOW, NOW + timedelta(seconds=5))
    assert take(store) == []
    later = NOW + timedelta(seconds=5)
    (row,) = take(store, now=later)
    assert start(store, row, later) == sending.Started(tries=2, since=NOW)


def test_requeue_gives_a_fresh_budget(store: Store) -> None:
    put(store, message("k1"))
    (row,) = take(store)
    start(store, row)
    with store.write() as conn:
        sending.mark_dead(conn, row, "550 no such user", NOW)
    much_later = NOW + timedelta(days=3)
    with store.write() as conn:
        assert outbox.requeue(conn, row.id, much_later)
        assert not outbox.requeue(conn, row.id, much_later)
        assert not outbox.requeue(conn, 99, much_later)
    (row,) = take(store, now=much_later)
    assert start(store, row, much_later) == sending.Started(tries=1, since=much_later)


def test_hold_and_release(store: Store) -> None:
    put(store, message("k1"))
    with store.write() as conn:
        assert outbox.hold(conn, 1)
        assert not outbox.hold(conn, 1)
    assert take(store) == []
    with store.write() as conn:
        assert outbox.release(conn, 1, NOW)
        assert not outbox.release(conn, 1, NOW)
    assert len(take(store)) == 1


def test_unknown_row_that_a_person_releases_is_simply_sent(store: Store) -> None:
    put(store, message("k1"))
    (row,) = take(store)
    start(store, row)
    with store.write() as conn:
        sending.mark_unknown(conn, row, "answer lost", NOW, None)
        assert outbox.count_by_state(conn) == {"hold": 1}
        outbox.release(conn, row.id, NOW)
    assert not take(store)[0].unknown


def test_list_shows_states_and_titles(store: Store) -> None:
    put(store, message("k1"), message("k2", title="NPS"))
    (row,) = take(store, limit=1)
    start(store, row)
    sent(store, row)
    with store.read() as conn:
        assert [(row.title, row.state) for row in outbox.list_outbox(conn)] == [("NPS", "ready"), ("Win rate is 41 %", "sent")]
        assert [row.key for row in outbox.list_outbox(conn, "sent")] == ["k1"]
        assert [row.key for row in outbox.list_outbox(conn, limit=1)] == ["k2"]
        assert outbox.receivers_due(conn, NOW) == ["team"]


def test_purge_empties_old_sent_messages_and_keeps_their_keys(store: Store) -> None:
    picture = Image("trend", b"shared", "alt", 1, 1)
    put(store, message("old", images=(picture, Image("own", b"own", "alt", 1, 1)), thread="t"))
    (row,) = take(store)
    start(store, row)
    sent(store, row, "C1:1")
    put(store, message("new", images=(picture,), thread="t"))
    with store.write() as conn:
        assert outbox.purge(conn, NOW + timedelta(days=1)) == 1
        assert outbox.purge(conn, NOW + timedelta(days=1)) == 0
        assert [bytes(body) for body in conn.scalars(select(contents.c.body))] == [b"shared"]
    assert put(store, message("old")) == [False]
    (reply,) = take(store)
    assert (reply.message.follows, reply.message.thread_ref) == (("old",), "C1:1")
    assert reply.message.images == (picture,)


def plan_of(store: Store, statement: Executable, **given: object) -> str:
    """How SQLite goes about a statement."""
    with store.read() as conn:
        bound = statement.params(given).compile(dialect=conn.dialect, compile_kwargs={"literal_binds": True})
        return "; ".join(row.detail for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {bound}"))


def test_what_is_asked_for_each_batch_does_not_grow_with_what_was_sent_or_waits(store: Store) -> None:
    """By index, and without putting all there is in order first."""
    put(store, message("k1"))
    threads = plan_of(store, outbox._ALL_IN, receiver=["a"], recipient=["b", "c"], thread=["t", "u"])
    assert "USING INDEX ix_outbox_thread (receiver=? AND recipient=? AND thread=?)" in threads
    for of_all, of_some in sending._EITHER:
        for statement, given in ((of_all, {}), (of_some, {"names": ["a"]})):
            plan = plan_of(store, statement, row_now=NOW, most=20, **given)
            assert plan.startswith("SEARCH outbox USING INDEX ix_outbox_due (state=?")
            assert "SCAN" not in plan
            assert "ORDER BY" not in plan


def test_two_owners_never_hold_one_row(store: Store) -> None:
    put(store, *(message(f"k{number}") for number in range(30)))
    taken = [row.id for owner in "ababab" for row in take(store, owner, limit=7)]
    assert len(taken) == len(set(taken)) == 30


class OutboxMachine(RuleBasedStateMachine):
    """Three processes that claim, send, mark, crash and restart in any order, against one outbox."""

    @initialize()
    def open(self) -> None:
        self.store = Store("sqlite:///:memory:")
        self.store.create()
        self.now = NOW
        self.held: dict[str, list[sending.Claimed]] = {"a": [], "b": [], "c": []}
        self.begun: dict[str, sending.Claimed] = {}
        self.arrived: Counter[str] = Counter()
        self.order: list[str] = []
        self.crashes: Counter[str] = Counter()
        self.enqueued: list[str] = []
        self.done: set[str] = set()

    @rule(thread=st.sampled_from([None, "t1", "t2"]))
    def enqueue(self, thread: str | None) -> None:
        key = f"{thread}/{len(self.enqueued):04}"
        assert put(self.store, message(key, thread=thread)) == [True]
        self.enqueued.append(key)

    @rule(owner=st.sampled_from("abc"), limit=st.integers(1, 5))
    def claim(self, owner: str, limit: int) -> None:
        self.held[owner].extend(take(self.store, owner, self.now, limit))

    @precondition(lambda self: any(self.held.values()))
    @rule(owner=st.sampled_from("abc"))
    def begin(self, owner: str) -> None:
        if owner in self.begun or not self.held[owner]:
            return
        row = self.held[owner].pop(0)
        if start(self.store, row, self.now) is not None:
            self.begun[owner] = row
            self.arrived[row.message.key] += 1  # the provider has it from here on
            self.order.append(row.message.key)

    @rule(owner=st.sampled_from("abc"), how=st.sampled_from(["sent", "sent", "retry", "crash"]))
    def end(self, owner: str, how: str) -> None:
        row = self.begun.pop(owner, None)
        if row is None:
            return
        if how == "sent":
            if not sent(self.store, row, now=self.now):
                self.crashes[row.message.key] += 1  # frozen past its lease: as good as dead
            else:
                self.done.add(row.message.key)
        elif how == "retry":
            self.arrived[row.message.key] -= 1  # refused: it did not arrive after all
            with self.store.write() as conn:
                sending.mark_retry(conn, row, "busy", self.now, self.now + timedelta(seconds=1))
        else:
            self.crashes[row.message.key] += 1
            self.held[owner] = []

    @rule(owner=st.sampled_from("abc"))
    def drain(self, owner: str) -> None:
        self.held[owner] = []
        with self.store.write() as conn:
            sending.release_leases(conn, owner)

    @rule(seconds=st.sampled_from([1, 30, 200]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @invariant()
    def nothing_is_doubled_without_a_crash(self) -> None:
        if not hasattr(self, "store"):
            return
        slack = Counter(row.message.key for row in self.begun.values())
        for key, copies in self.arrived.items():
            frozen = slack[key] - (key not in self.done)  # whoever still has it in hand when it is done has lost its lease
            assert copies <= 1 + self.crashes[key] + max(0, frozen), key

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.begun.clear()
        for _ in range(len(self.enqueued) + 2):
            self.now += timedelta(minutes=5)
            for row in take(self.store, "z", self.now):
                assert start(self.store, row, self.now) is not None
                self.arrived[row.message.key] += 1
                assert sent(self.store, row, now=self.now)
        assert all(self.arrived[key] >= 1 for key in self.enqueued), "lost"
        assert set(states(self.store).values()) <= {"sent"}
        self.store.close()


OutboxMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOutboxMachine = OutboxMachine.TestCase
