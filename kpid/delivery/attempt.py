"""One attempt to deliver one message: written down before the call, marked after it, whatever the notifier does."""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from kpid.clock import Clock
from kpid.config.model import Receiver
from kpid.config.secrets import mask_of
from kpid.delivery.backoff import next_attempt
from kpid.delivery.undelivered import ORIGIN, Compose, addressed
from kpid.errors import DeliveryError
from kpid.plugin.notifier import Notifier, Receipt
from kpid.store import outbox, problems, sending
from kpid.store.engine import Store
from kpid.store.sending import Claimed, Started

log = logging.getLogger(__name__)

TELL_AFTER = 3
"""So many failed tries make a problem that ``kpid doctor`` shows."""


class Result(StrEnum):
    """What became of an attempt. LOST: another process holds the row by now."""

    SENT = "sent"
    RETRIED = "retried"
    DEAD = "dead"
    UNKNOWN = "unknown"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that is written down and whose call is the next thing to do."""

    row: Claimed
    started: Started


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt.

    ``fault``: the plugin broke its contract; ``pause``: the provider wants to be left alone; ``begun``: the attempt that was
    written down in the same transaction as the end of this one.
    """

    result: Result
    fault: bool = False
    pause: timedelta | None = None
    begun: Begun | None = None


class Course:
    """What else goes on while a message is sent; this one: nothing."""

    def following(self) -> Claimed | None:
        """The message whose turn it is next; None: that is not known, or nobody's."""
        return None

    def synced(self) -> bool:
        """Whether what is committed now has to be on the disk; False: a later commit will see to it."""
        return True


@dataclass(frozen=True)
class Desk:
    """What an attempt needs."""

    store: Store
    notifiers: Mapping[str, Notifier[Any]]
    receivers: Mapping[str, Receiver]
    clock: Clock
    compose: Compose
    rng: random.Random
    masks: dict[str, Callable[[str], str]] = field(default_factory=dict)
    troubled: set[str] = field(default_factory=set)
    """Subjects of problems that end as soon as a message is accepted."""

    def mask(self, receiver: str) -> Callable[[str], str]:
        """Takes a receiver's secrets out of what its plugin says: that is written down and logged, and may quote one."""
        if receiver not in self.masks:
            self.masks[receiver] = mask_of(self.notifiers[receiver].settings)
        return self.masks[receiver]


class _PluginFaultError(DeliveryError):
    """The notifier raised something that is no DeliveryError."""


def deliver_one(desk: Desk, row: Claimed, begun: Begun | None = None, course: Course | None = None) -> Outcome:
    """Send one claimed message and mark what came of it. Raises only when the store fails.

    Args:
        desk: what an attempt needs.
        row: the message.
        begun: its attempt, if that is written down already.
        course: knows the message whose turn it is next, and is asked for it when this one was accepted: its attempt is then
            written down together with the end of this one, so that each message takes one transaction.
    """
    now, course = desk.clock.now(), course or Course()
    if begun is None and row.expires_at is not None and row.expires_at <= now:
        return bury(desk, row, f"too late to be of use: it expired at {row.expires_at.isoformat()}")
    if begun is None:
        with desk.store.write(synced=course.synced()) as conn:
            started = sending.start_attempt(conn, row, now)
    else:
        started = begun.started
    if started is None:
        return Outcome(Result.LOST)
    notifier = desk.notifiers[row.receiver]
    mask = desk.mask(row.receiver)
    try:
        receipt = _earlier_receipt(desk, notifier, row) if row.unknown else None
        if receipt is None and row.unknown and desk.receivers[row.receiver].on_unknown == "hold":
            return _hold(desk, row, "an earlier attempt may have arrived")
        receipt = receipt or _send(notifier, row)
    except DeliveryError as error:
        error.mask(mask)
        return _failed(desk, row, started, error)
    return _sent(desk, row, replace(receipt, detail=mask(receipt.detail)), course)


def look_for_trouble(desk: Desk, conn: Connection, rows: Sequence[Claimed]) -> None:
    """Learn which of the problems are over when one of these messages is accepted: asked once, for hardly ever is there one."""
    subjects = {subject for row in rows for subject in (_subject(row), outbox.problem_of(row.id))}
    desk.troubled.update(problems.which_of(conn, subjects))


def bury(desk: Desk, row: Claimed, reason: str, *, fault: bool = False) -> Outcome:
    """Give a message up, visibly: dead row, problem and word to the fallback receiver, in one transaction."""
    now = desk.clock.now()
    with desk.store.write() as conn:
        if not sending.mark_dead(conn, row, reason, now):
            return Outcome(Result.LOST, fault)
        hint = f"After curing the cause: `kpid outbox retry {row.id}`"
        text = f"{row.message.title!r} was not delivered to {row.receiver}: {reason}"
        problems.note(conn, outbox.problem_of(row.id), text, hint, now)
        _tell_fallback(desk, conn, row, reason)
    log.warning("message %d to %s is dead: %s", row.id, row.receiver, reason)
    return Outcome(Result.DEAD, fault)


def _earlier_receipt(desk: Desk, notifier: Notifier[Any], row: Claimed) -> Receipt | None:
    """The receipt of the earlier attempt if it arrived after all; a provider that cannot be asked for good counts as "no"."""
    try:
        return notifier.find(row.message)
    except DeliveryError as error:
        if error.permanent:
            return None
        raise DeliveryError(
            f"it could not be found out whether it has arrived: {error}", retry_after=error.retry_after
        ) from error
    except (Exception, SystemExit) as error:  # round a plugin call
        raise _PluginFaultError(f"the notifier broke while looking whether it has arrived: {_reason(error)}") from error


def _send(notifier: Notifier[Any], row: Claimed) -> Receipt:
    try:
        receipt = notifier.send(row.message)
    except DeliveryError:
        raise
    except (Exception, SystemExit) as error:  # round a plugin call
        raise _PluginFaultError(f"the notifier broke: {_reason(error)}") from error
    return receipt if isinstance(receipt, Receipt) else Receipt(detail="accepted without a receipt")


def _reason(error: BaseException) -> str:
    """Type and place of an unexpected exception. Its text is left out: it may hold a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _sent(desk: Desk, row: Claimed, receipt: Receipt, course: Course) -> Outcome:
    now, following = desk.clock.now(), course.following()
    with desk.store.write(synced=course.synced()) as conn:
        if not sending.mark_sent(conn, row, receipt, now):
            log.warning("message %d to %s was sent, but its lease had run out: it may be sent again", row.id, row.receiver)
            return Outcome(Result.LOST)
        well = desk.troubled & {_subject(row), outbox.problem_of(row.id)}
        problems.clear_all(conn, well)
        in_time = following is not None and (following.expires_at is None or following.expires_at > now)
        started = sending.start_attempt(conn, following, now) if following is not None and in_time else None
    desk.troubled.difference_update(well)
    log.info("message %d to %s sent: %s", row.id, row.receiver, receipt.detail or receipt.provider_id)
    return Outcome(Result.SENT, begun=Begun(following, started) if following is not None and started is not None else None)


def _failed(desk: Desk, row: Claimed, started: Started, error: DeliveryError) -> Outcome:
    now = desk.clock.now()
    fault = isinstance(error, _PluginFaultError)
    if error.permanent:
        return bury(desk, row, str(error))
    if error.unknown and desk.receivers[row.receiver].on_unknown == "hold":
        return _hold(desk, row, str(error))
    wait = error.retry_after
    at = next_attempt(
        row.message.kind, started.tries, started.since, now, rng=desk.rng, retry_after=wait, expires_at=row.expires_at
    )
    if at is None:
        return bury(desk, row, f"given up after {started.tries} tries since {started.since.isoformat()}: {error}", fault=fault)
    mark = sending.mark_unknown if error.unknown else sending.mark_retry
    with desk.store.write() as conn:
        if not mark(conn, row, str(error), now, at):
            return Outcome(Result.LOST, fault)
        if started.tries >= TELL_AFTER or fault:
            text = f"{row.message.title!r} is not delivered after {started.tries} tries: {error}"
            problems.note(conn, _subject(row), text, f"kpid tries again at {at.isoformat(timespec='seconds')}", now)
            desk.troubled.add(_subject(row))
    log.warning("message %d to %s: try %d failed, next at %s: %s", row.id, row.receiver, started.tries, at.isoformat(), error)
    return Outcome(Result.UNKNOWN if error.unknown else Result.RETRIED, fault, wait)


def _hold(desk: Desk, row: Claimed, reason: str) -> Outcome:
    now = desk.clock.now()
    with desk.store.write() as conn:
        if not sending.mark_unknown(conn, row, reason, now, None):
            return Outcome(Result.LOST)
        hint = f"Look whether it is there. To send it again: `kpid outbox release {row.id}`"
        text = f"{row.message.title!r} may or may not have arrived at {row.receiver} and is held: {reason}"
        problems.note(conn, outbox.problem_of(row.id), text, hint, now)
    log.warning("message %d to %s is held: %s", row.id, row.receiver, reason)
    return Outcome(Result.UNKNOWN)


def _tell_fallback(desk: Desk, conn: Connection, row: Claimed, reason: str) -> None:
    settings = desk.receivers.get(row.receiver)
    fallback = settings.fallback if settings else None
    if fallback is None or fallback not in desk.notifiers or row.origin.startswith(ORIGIN) or row.message.replaces:
        return  # what was to be changed has been told
    now = desk.clock.now()
    notice = desk.compose(row.message, row.receiver, reason, now)
    for recipient in desk.notifiers[fallback].recipients():
        message = addressed(notice, row.message.key, row.attempt, fallback, recipient)
        outbox.enqueue(conn, message, receiver=fallback, origin=f"{ORIGIN} {row.origin}", now=now)


def _subject(row: Claimed) -> str:
    return f"receiver:{row.receiver}/{row.message.recipient}" if row.message.recipient else f"receiver:{row.receiver}"
