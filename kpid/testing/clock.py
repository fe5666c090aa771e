"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from kpid.clock import Clock

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


class FakeClock:
    """A :class:`~kpid.clock.Clock` for tests: ``sleep`` returns at once and moves the time on.

    Args:
        start: aware instant that ``now()`` begins at.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start.astimezone(UTC)
        self._start = self._now
        self._lock = threading.Lock()
        self.sleeps: list[float] = []
        """Seconds of every pause, in order."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Seconds since the clock's start; goes back only if :meth:`set` does."""
        return (self.now() - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass without waiting."""
        self.sleeps.append(seconds)
        self.advance(timedelta(seconds=seconds))

    def advance(self, by: timedelta) -> None:
        """Let time pass without anybody sleeping."""
        with self._lock:
            self._now += by

    def set(self, now: datetime) -> None:
        """Jump to an instant."""
        with self._lock:
            self._now = now.astimezone(UTC)


class SkewedClock:
    """Another clock, ahead by ``skew``.

    Args:
        clock: the other one.
        skew: by how much; negative = it is behind.
    """

    def __init__(self, clock: Clock, skew: timedelta) -> None:
        self._clock = clock
        self.skew = skew

    def now(self) -> datetime:
        """The other clock's instant and the skew."""
        return self._clock.now() + self.skew

    def monotonic(self) -> float:
        """The other clock's."""
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """The other clock's."""
        self._clock.sleep(seconds)
