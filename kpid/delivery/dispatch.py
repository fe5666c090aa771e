"""Send what is due in the outbox: one thread per receiver, so that a slow one holds nobody else up; one send at a time otherwise.

While threads send, the caller's thread renews their leases and looks for messages that have come due for the other receivers.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from kpid.clock import Clock
from kpid.config.model import Receiver
from kpid.delivery.attempt import Begun, Course, Desk, Outcome, Result, bury, deliver_one, look_for_trouble
from kpid.delivery.turns import Turns
from kpid.delivery.undelivered import Compose, undelivered_message
from kpid.plugin.notifier import Notifier
from kpid.store import outbox, problems, sending
from kpid.store.engine import Store

log = logging.getLogger(__name__)

BATCH = 20
"""Messages that are leased at a time. The lease is on the disk before the first of them is sent, and with it all before."""
SYNC_EVERY = 0.1
"""Seconds after which a commit waits for the disk whatever it is about: see :attr:`Notifier.tells_repeats`."""
THREADS = 8
LEASE = timedelta(minutes=2)
LOOK_EVERY = 1.0
"""Seconds between two looks of the caller's thread while others send."""
RENEW_EVERY = 20.0
HUNG_AFTER = 900.0
"""A send that takes longer (seconds) is not coming back: its lease is no longer renewed. Longer than any notifier's time-out."""
DRAIN = 30.0
"""Seconds that running sends get to end after ``stop()``."""
FAILURES = 3
"""So many failures in a row and the receiver is left alone until the next call: its server is down."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a call did. ``faults`` counts notifiers that broke their contract; ``next_at``: when there is something to do."""

    sent: int = 0
    retried: int = 0
    dead: int = 0
    unknown: int = 0
    faults: int = 0
    next_at: datetime | None = None


def deliver_due(
    *,
    store: Store,
    notifiers: Mapping[str, Notifier[Any]],
    receivers: Mapping[str, Receiver],
    clock: Clock,
    owner: str,
    stop: Callable[[], bool] = lambda: False,
    fallback_message: Compose | None = None,
    lease_for: timedelta = LEASE,
) -> Delivered:
    """Send every message that is due, until none is or ``stop()`` says so.

    Args:
        store: holds the outbox.
        notifiers: by receiver; each is called by one thread at a time.
        receivers: their settings.
        clock: for due times and leases.
        owner: name of this process, different in every process that shares the store.
        stop: True ends after the current sends; what is leased and not begun is given back.
        fallback_message: composes what a fallback receiver gets; default: a plain text with the reason and the original.
        lease_for: how long a row stays ours without renewal; renewed while this call runs.

    Raises:
        Exception: the store failed; what was sent until then is marked, the rest comes due again by itself.
    """
    desk = Desk(store, notifiers, receivers, clock, fallback_message or undelivered_message, random.Random())  # noqa: S311
    return _Round(desk, owner, stop, lease_for, Turns(clock)).run()


@dataclass
class _Line:
    """One receiver being served."""

    thread: threading.Thread
    busy_since: float
    hung: bool = False
    synced_at: float = 0.0


@dataclass
class _Round:
    """One call of deliver_due."""

    desk: Desk
    owner: str
    stop: Callable[[], bool]
    lease_for: timedelta
    turns: Turns
    lines: dict[str, _Line] = field(default_factory=dict)
    left_alone: set[str] = field(default_factory=set)
    total: Delivered = field(default_factory=Delivered)
    failure: BaseException | None = None
    wake: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Delivered:
        """Serve until nothing is due."""
        monotonic = self.desk.clock.monotonic
        renewed, stopped = monotonic(), None
        while True:
            if self.stop() or self.failure:
                stopped = monotonic() if stopped is None else stopped
            else:
                self._start_lines()
            if not self.lines or (stopped is not None and monotonic() - stopped > DRAIN):
                break
            self.wake.wait(LOOK_EVERY)
            self.wake.clear()
            if monotonic() - renewed > RENEW_EVERY:
                renewed = monotonic()
                self._renew()
        if self.failure:
            raise self.failure
        with self.desk.store.read() as conn:
            return replace(self.total, next_at=outbox.next_due_at(conn))

    def _start_lines(self) -> None:
        with self.desk.store.read() as conn:
            due = outbox.receivers_due(conn, self.desk.clock.now())
        for name in due:
            if name not in self.desk.notifiers:
                self._bury_all(name)
            elif name not in self.lines and name not in self.left_alone and len(self.lines) < THREADS:
                thread = threading.Thread(target=self._serve, args=(name,), name=f"deliver {name}", daemon=True)
                with self.lock:
                    self.lines[name] = _Line(thread, self.desk.clock.monotonic())
                thread.start()

    def _serve(self, name: str) -> None:
        """Thread of one receiver: claim, send, mark, until nothing is due or its server needs a rest."""
        try:
            pause = self._send_batches(name)
            with self.desk.store.write() as conn:
                sending.release_leases(conn, self.owner, receiver=name)
                if pause is not None:
                    sending.postpone(conn, name, self.desk.clock.now() + pause)
        except BaseException as error:  # noqa: BLE001  carried to the caller's thread, which raises it
            self.failure = error
        finally:
            with self.lock:
                del self.lines[name]
            self.wake.set()

    def _send_batches(self, name: str) -> timedelta | None:
        failures = 0
        while rows := self._claim(name):
            waiting = deque(rows)
            while waiting:
                if self.stop() or self.failure:
                    return None
                with self.turns.turn(name) as may_keep:
                    outcome, accepted = self._send_in_turn(name, waiting, may_keep)
                before = 0 if accepted else failures
                failures = before + 1 if outcome.result in {Result.RETRIED, Result.UNKNOWN} else 0
                if outcome.pause is not None or failures >= FAILURES:
                    self.left_alone.add(name)
                    return outcome.pause
        return None

    def _send_in_turn(self, name: str, waiting: deque[sending.Claimed], may_keep: Callable[[], bool]) -> tuple[Outcome, bool]:
        """Send one message, and the next ones while nobody else waits for the turn: whoever is killed leaves one in doubt.

        Returns:
            What became of the last one; and whether others were accepted before.
        """
        course = _Course(self, name, waiting, may_keep)
        begun: Begun | None = None
        accepted = False
        while True:
            row = waiting.popleft()
            with self.lock:
                self.lines[name].busy_since = self.desk.clock.monotonic()
            outcome = deliver_one(self.desk, row, begun, course)
            self._count(outcome)
            begun = outcome.begun
            if begun is None:
                return outcome, accepted
            accepted = True

    def _claim(self, name: str) -> list[sending.Claimed]:
        if self.stop() or self.failure:
            return []
        with self.desk.store.write() as conn:
            rows = sending.claim(conn, self.owner, self.desk.clock.now(), self.lease_for, BATCH, [name])
            look_for_trouble(self.desk, conn, rows)
        if name in self.lines:
            self.lines[name].synced_at = self.desk.clock.monotonic()
        return rows

    def _count(self, outcome: Outcome) -> None:
        with self.lock:
            total = self.total
            self.total = replace(
                total,
                sent=total.sent + (outcome.result is Result.SENT),
                retried=total.retried + (outcome.result is Result.RETRIED),
                dead=total.dead + (outcome.result is Result.DEAD),
                unknown=total.unknown + (outcome.result is Result.UNKNOWN),
                faults=total.faults + outcome.fault,
            )

    def _bury_all(self, name: str) -> None:
        while rows := self._claim(name):
            for row in rows:
                self._count(bury(self.desk, row, f"there is no receiver {name!r} in the configuration any more"))

    def _renew(self) -> None:
        now, tick = self.desk.clock.now(), self.desk.clock.monotonic()
        with self.lock:
            lines = dict(self.lines)
        with self.desk.store.write() as conn:
            alive = [name for name, line in lines.items() if tick - line.busy_since <= HUNG_AFTER]
            sending.renew_leases(conn, self.owner, now + self.lease_for, alive)
            for name, line in lines.items():
                if name not in alive and not line.hung:
                    line.hung = True
                    text = "its notifier has not come back from a send for 15 minutes"
                    problems.note(conn, f"receiver:{name}", text, "Restart kpid; the message is sent again then", now)
                    self.desk.troubled.add(f"receiver:{name}")


@dataclass
class _Course(Course):
    """The messages of one receiver while it has the turn."""

    round: _Round
    name: str
    waiting: deque[sending.Claimed]
    may_keep: Callable[[], bool]

    def following(self) -> sending.Claimed | None:
        """The next one, unless somebody else waits for the turn or all is to end."""
        over = not self.waiting or self.round.stop() or self.round.failure is not None
        return None if over or not self.may_keep() else self.waiting[0]

    def synced(self) -> bool:
        """Yes, but where a repeat does no harm: there at least every batch, and after so many milliseconds."""
        desk, line, now = self.round.desk, self.round.lines[self.name], self.round.desk.clock.monotonic()
        told = desk.notifiers[self.name].tells_repeats and desk.receivers[self.name].on_unknown == "resend"
        if told and now - line.synced_at < SYNC_EVERY:
            return False
        line.synced_at = now
        return True
