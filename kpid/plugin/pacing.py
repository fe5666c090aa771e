"""When to send the next request: rate limits kept on our side, and waits that a server asks for."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from kpid.clock import Clock

LONGEST_WAIT = timedelta(days=7)
"""No answer of a server makes us wait longer: a mistyped reset time must not stop a source for years."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``requests`` in any span of ``per`` seconds."""

    requests: int
    per: float = 1.0


class Pacer:
    """Spaces requests so that no limit is passed in any sliding span; waits on the given clock.

    Args:
        limits: all of them hold together.
        clock: what to wait on.
    """

    def __init__(self, limits: Sequence[RateLimit], clock: Clock) -> None:
        self._clock = clock
        self._sent = [(limit, deque[float](maxlen=limit.requests)) for limit in limits]

    def wait(self) -> None:
        """Wait for a free place, and take it."""
        pause = max((self._pause(limit, sent) for limit, sent in self._sent), default=0.0)
        if pause > 0:
            self._clock.sleep(pause)
        now = self._clock.monotonic()
        for _, sent in self._sent:
            sent.append(now)

    def _pause(self, limit: RateLimit, sent: deque[float]) -> float:
        if len(sent) < limit.requests:
            return 0.0
        return sent[0] + limit.per - self._clock.monotonic()


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
