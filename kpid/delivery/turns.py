"""One send at a time: a killed process then leaves at most one message in doubt, whatever the number of receivers.

A receiver whose send takes longer than a moment loses its turn and goes its own way until it is quick again, so that a slow
server holds nobody else up for longer than that moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kpid.clock import Clock

PATIENCE = 2.0
"""Seconds that others wait for a send that is under way."""


@dataclass(eq=False)
class _Turn:
    receiver: str
    since: float


@dataclass
class Turns:
    """Hands the turn from one receiver's thread to the next."""

    clock: Clock
    patience: float = PATIENCE
    _holder: _Turn | None = None
    _slow: set[str] = field(default_factory=set)
    _waiting: int = 0
    _free: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def turn(self, receiver: str) -> Iterator[Callable[[], bool]]:
        """Wait for the turn and hold it for one send; a receiver that was slow last time neither waits nor is waited for.

        Gives a question: may it be kept for one more send? Yes as long as it is ours, and nobody waits for it.
        """
        mine = _Turn(receiver, 0.0)
        with self._free:
            if receiver not in self._slow:
                self._waiting += 1
                while self._holder is not None and self._is_worth_waiting(self._holder):
                    pass
                self._waiting -= 1
                self._holder = mine
            mine.since = self.clock.monotonic()
        try:
            yield lambda: self._may_keep(mine)
        finally:
            with self._free:
                quick = self.clock.monotonic() - mine.since <= self.patience
                (self._slow.discard if quick else self._slow.add)(receiver)
                if self._holder is mine:
                    self._holder = None
                    self._free.notify()

    def _may_keep(self, mine: _Turn) -> bool:
        """Go on with the turn, as if it had been given back and taken again."""
        with self._free:
            now = self.clock.monotonic()
            if self._holder is not mine or self._waiting or now - mine.since > self.patience:
                return False
            mine.since = now
            return True

    def _is_worth_waiting(self, holder: _Turn) -> bool:
        """Wait for the holder; False if it has used up its time, and lost its turn."""
        left = self.patience - (self.clock.monotonic() - holder.since)
        if left > 0 and self._free.wait(left):
            return True
        if self._holder is not holder:
            return True
        self._slow.add(holder.receiver)
        return False
