"""A delivering process that kills itself at the instant it is told to: each number on stdin is a life, and gives its end.

The instants are numbered in the order in which they come: before and after each transaction, before and after each post.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kpid_webhook import Webhook, WebhookSettings
from sqlalchemy import Connection

from kpid.clock import SystemClock
from kpid.config.model import Receiver
from kpid.delivery.dispatch import deliver_due
from kpid.plugin import Message, NotifierContext, Receipt
from kpid.store import sending
from kpid.store.engine import Store


class Fate:
    """Counts instants, and strikes at one of them."""

    def __init__(self, at: int) -> None:
        self.left = at

    def instant(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalStore(Store):
    """Can die before each transaction, within it, and after it."""

    fate = Fate(0)

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        self.fate.instant()
        with super().write(synced=synced) as conn:
            yield conn
            self.fate.instant()
        self.fate.instant()


class MortalWebhook(Webhook):
    """Can die before each post, and after it."""

    fate = Fate(0)

    def send(self, message: Message) -> Receipt:
        self.fate.instant()
        receipt = super().send(message)
        self.fate.instant()
        return receipt


def live(folder: Path, url: str, at: int) -> None:
    clock, store = SystemClock(), MortalStore(f"sqlite:///{folder}/state.db")
    with store.write() as conn:
        sending.expire_leases(conn, clock.now())
    hook = MortalWebhook(WebhookSettings.model_validate({"url": url, "secret": "key-of-the-signature"}), _context(folder))
    store.fate = hook.fate = Fate(at)
    deliver_due(
        store=store,
        notifiers={"hook": hook},
        receivers={"hook": Receiver(notifier="webhook")},
        clock=clock,
        owner=f"life {os.getpid()}",
    )
    hook.close()
    store.close()


def _context(folder: Path) -> NotifierContext:
    return NotifierContext("hook", folder, SystemClock())


def main() -> None:
    folder, url = Path(sys.argv[1]), sys.argv[2]
    for line in sys.stdin:
        name, at = line.split()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                live(folder / name, url, int(at))
                code = 0
            finally:
                os._exit(code)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()
