"""When to send the next request: rate limits kept on our side, and waits that a server asks for."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock

from kpid.clock import Clock
from kpid.errors import DeferredError

LONGEST_WAIT = timedelta(days=7)
"""No answer of a server makes us wait longer: a mistyped reset time must not stop a source for years."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``requests`` in any span of ``per`` seconds."""

    requests: int
    per: float = 1.0


class Sent:
    """When requests went out, for all pacers of one account; see :class:`Pacers`."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.times = deque[float]()
        self.longest = 0.0
        """No limit looks further back than these seconds."""


class Pacer:
    """Spaces requests so that no limit is passed in any sliding span; waits on the given clock.

    Args:
        limits: all of them hold together.
        clock: what to wait on.
        sent: shared with other pacers, whose requests then count too; None = its own.
    """

    def __init__(self, limits: Sequence[RateLimit], clock: Clock, sent: Sent | None = None) -> None:
        self._clock = clock
        self._limits = tuple(limits)
        self._sent = sent or Sent()
        self._sent.longest = max((self._sent.longest, *(limit.per for limit in self._limits)))

    def wait(self) -> None:
        """Wait for a free place, and take it. Others of the same account wait behind."""
        if not self._limits:
            return
        with self._sent.lock:
            pause = max(self._pause(limit) for limit in self._limits)
            if pause > 0:
                self._clock.sleep(pause)
            times, now = self._sent.times, self._clock.monotonic()
            while times and times[0] < now - self._sent.longest:
                times.popleft()
            times.append(now)

    def _pause(self, limit: RateLimit) -> float:
        if len(self._sent.times) < limit.requests:
            return 0.0
        return self._sent.times[-limit.requests] + limit.per - self._clock.monotonic()


class Pacers:
    """The pacers of all accounts: sources on one account share its limits, and syncs follow one another."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sent: dict[str, Sent] = {}

    def of(self, key: str, limits: Sequence[RateLimit], clock: Clock) -> Pacer:
        """A pacer of the account named by ``key`` (vendor and account, no secret): it counts the requests of all of them."""
        with self._lock:
            return Pacer(limits, clock, self._sent.setdefault(key, Sent()))


class Budget:
    """Our share of an account's requests per day, as its answers count them.

    Args:
        share: the part of the total above which we stop, 0.8 for instance: others use the account too.
        clock: for the time at which it goes on.
        pause: how long to leave the account alone then.
        where: what to call it in errors (the source's id).
    """

    def __init__(self, share: float, clock: Clock, *, pause: timedelta = timedelta(hours=1), where: str | None = None) -> None:
        self._share = share
        self._clock = clock
        self._pause = pause
        self._where = where

    def told(self, used: float, total: float) -> None:
        """An answer has said how much of the account's budget is used, by everybody.

        Raises:
            DeferredError: more than our share; what was stored before stays, and the source goes on later.
        """
        if total > 0 and used > total * self._share:
            text = f"{used:,.0f} of the account's {total:,.0f} requests are used, more than our share of {self._share:.0%}"
            raise DeferredError(text, self._clock.now() + self._pause, where=self._where)


def backoff(tries: int, rng: random.Random, *, base: float = 1.0, cap: float = 60.0) -> timedelta:
    """A random pause after the ``tries``-th failure (1, 2, ...): exponential with full jitter, so that clients spread out."""
    return timedelta(seconds=rng.uniform(0.0, min(cap, base * 2.0**tries)))


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """The pause that ``Retry-After`` asks for: seconds, or a date measured by the server's own ``Date``; None = no pause."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        wait = timedelta(seconds=float(text))
    except OverflowError:
        wait = LONGEST_WAIT
    except ValueError:
        until = http_date(text)
        if until is None:
            return None
        wait = until - (http_date(headers.get("Date", "")) or now)
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


def http_date(text: str) -> datetime | None:
    """An HTTP date as an aware UTC instant; None if it is none."""
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
