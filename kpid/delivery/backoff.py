"""When a message is tried again, and when it is given up. Pure."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

BUDGET = timedelta(hours=24)
FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=5)
REPORT_PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60))
LONGEST_ASKED = timedelta(hours=1)
"""A provider that asks for more patience than this is asked again after this."""


def next_attempt(
    kind: str,
    tries: int,
    since: datetime,
    now: datetime,
    *,
    rng: random.Random,
    retry_after: timedelta | None = None,
    expires_at: datetime | None = None,
) -> datetime | None:
    """When to try again after ``tries`` failures, or None to give up.

    Reports wait 1, 5, 15 and then 60 minutes. Everything else waits at random up to 2, 4, 8 ... seconds and at most 5 minutes
    (full jitter: a hundred messages that failed together do not come back together).

    Args:
        kind: the message's kind.
        tries: attempts so far, at least 1.
        since: when the first of them began; 24 hours later it is over.
        now: the current instant.
        rng: source of the jitter.
        retry_after: what the provider asked for; obeyed up to an hour, never shortened by our own schedule.
        expires_at: when the message is of no use any more.
    """
    pause = _report_pause(tries) if kind == "report" else _jittered(tries, rng)
    if retry_after is not None:
        pause = max(pause, min(retry_after, LONGEST_ASKED))
    at = now + pause
    if at > since + BUDGET or (expires_at is not None and at >= expires_at):
        return None
    return at


def _report_pause(tries: int) -> timedelta:
    return REPORT_PAUSES[min(tries, len(REPORT_PAUSES)) - 1]


def _jittered(tries: int, rng: random.Random) -> timedelta:
    ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(tries, 20)))
    return max(FIRST_PAUSE, rng.uniform(0.0, 1.0) * ceiling)
