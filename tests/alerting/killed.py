"""A process that judges two weeks and is killed right after its n-th commit."""

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from kpid.clock import ShiftedClock
from kpid.config.model import Receiver
from kpid.delivery.dispatch import deliver_due
from kpid.plugin import Finding, Message, Notifier, Receipt, Settings
from kpid.plugin.notifier import NotifierContext
from kpid.store.tables import outbox
from tests.alerting.world import World, rule, week

HOUR = timedelta(hours=1)
GOOD, BAD, WORSE = (120, 400), (96, 400), (76, 400)
WEEKS = {2: {"ana": BAD, "bob": GOOD, "cyd": BAD}, 3: {"ana": WORSE, "bob": WORSE, "cyd": GOOD}}


class Note(Notifier[Settings]):
    """Writes each message's key and title into a file, at once."""

    name = "note"
    Settings = Settings

    def send(self, message: Message) -> Receipt:
        with (self.context.folder / "sent.txt").open("a", encoding="utf-8") as file:
            file.write(f"{message.key} {message.title}\n")
        return Receipt("there")

    def check(self) -> list[Finding]:
        return []


def world_in(folder: Path) -> World:
    """A world whose figures of both weeks are measured."""
    is_new = not (folder / "kpid.db").exists()
    world = World(folder, [rule(critical="< 20%"), rule(name="other", warn="< 22%")])
    if is_new:
        for number, values in WEEKS.items():
            world.put(world.rules[0], week(number), values)
    return world


def live(world: World, folder: Path) -> None:
    """Judge both weeks, each an hour after its end, and deliver."""
    for number in WEEKS:
        now = week(number).end + HOUR
        world.evaluate(now)
        deliver(world, folder, now)


def deliver(world: World, folder: Path, now: datetime) -> None:
    """Send what is due."""
    clock: Any = ShiftedClock(now)
    note = Note(Settings(), NotifierContext(receiver_id="team", folder=folder, clock=clock))
    receivers = {"team": Receiver(notifier="note")}
    deliver_due(store=world.store, notifiers={"team": note}, receivers=receivers, clock=clock, owner=str(os.getpid()))


def told(world: World) -> list[tuple[str, str, str | None]]:
    """Key, title and thread of all messages."""
    with world.store.read() as conn:
        rows = conn.execute(select(outbox.c.key, outbox.c.message, outbox.c.thread).order_by(outbox.c.key)).all()
    return [(row.key, row.message["title"], row.thread) for row in rows]


def main(folder: Path, kill_after: int) -> None:
    """Live until killed."""
    world = world_in(folder)
    commits = 0

    def on_commit(_connection: object) -> None:
        nonlocal commits
        commits += 1

    def on_begin(_connection: object) -> None:
        if commits >= kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(world.store.engine, "commit", on_commit)
    event.listen(world.store.engine, "begin", on_begin)
    live(world, folder)
