"""The sending side of the outbox: lease rows, write each attempt down, mark how it ended.

Every change after the claim is fenced by (lease_owner, attempt): who lost the lease changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, Row, and_, bindparam, select, update

from kpid.plugin.notifier import Message, Receipt
from kpid.store.outbox import is_blocked, is_due, is_left, is_ready, messages_of
from kpid.store.prepared import Prepared
from kpid.store.tables import attempts, outbox

_DIED = "the process ended during this attempt"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A leased outbox row. ``attempt`` is its fencing token; ``unknown``: an earlier attempt may have arrived."""

    id: int
    attempt: int
    owner: str
    receiver: str
    origin: str
    unknown: bool
    expires_at: datetime | None
    message: Message


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt that is written down: its number, and when the first of them began. A requeue starts afresh."""

    tries: int
    since: datetime


def claim(
    conn: Connection,
    owner: str,
    now: datetime,
    lease_for: timedelta,
    limit: int,
    receivers: Collection[str] | None = None,
) -> list[Claimed]:
    """Lease rows that are due: ready ones, and those whose holder's lease has run out.

    A row waits while an earlier one of its (receiver, recipient, thread) is undone, so that a reply never overtakes.
    Where the former holder died during an attempt, that attempt is closed as ``unknown``.

    Args:
        conn: a write transaction.
        owner: name of this process.
        now: the current instant.
        lease_for: longer than any attempt can last.
        limit: how many rows at most.
        receivers: only these receivers; None = all.
    """
    rows = _due(conn, now, limit, receivers)
    taken = sorted(_take(conn, rows, owner, now, now + lease_for), key=lambda row: (row.not_before, row.id))
    messages = messages_of(conn, taken)
    return [_claimed(conn, row, owner, now, message) for row, message in zip(taken, messages, strict=True)]


def start_attempt(conn: Connection, row: Claimed, now: datetime) -> Started | None:
    """Write down that the notifier is about to be called. None: the lease is lost, do not send."""
    if _START.execute(conn, {**_fenced(row), "started_at": now}) != 1:
        return None
    if row.attempt == 1:
        return Started(tries=1, since=now)
    tried = conn.execute(
        select(attempts.c.at, attempts.c.result).where(attempts.c.outbox_id == row.id).order_by(attempts.c.id)
    ).all()
    again = max((number for number, one in enumerate(tried) if one.result == "requeued"), default=None)
    counted = tried if again is None else tried[again + 1 :]
    return Started(tries=len(counted), since=tried[again or 0].at)


def mark_sent(conn: Connection, row: Claimed, receipt: Receipt, now: datetime) -> bool:
    """The provider said yes. False: the lease is lost and nothing was changed."""
    values = {
        "state": "sent",
        "done_at": now,
        "provider_id": receipt.provider_id or None,
        "thread_ref": receipt.thread_ref,
        "last_error": None,
    }
    return _finish(conn, row, "sent", receipt.detail, now, values)


def mark_retry(conn: Connection, row: Claimed, error: str, now: datetime, not_before: datetime) -> bool:
    """It did not work and is tried again at ``not_before``. False: the lease is lost and nothing was changed."""
    return _finish(conn, row, "retry", error, now, {"state": "ready", "not_before": not_before, "last_error": error})


def mark_dead(conn: Connection, row: Claimed, error: str, now: datetime) -> bool:
    """It is given up, visibly. False: the lease is lost and nothing was changed."""
    return _finish(conn, row, "dead", error, now, {"state": "dead", "done_at": now, "last_error": error})


def mark_unknown(conn: Connection, row: Claimed, error: str, now: datetime, not_before: datetime | None) -> bool:
    """The answer was lost: sent again at ``not_before``, or held for a person when that is None. False: the lease is lost."""
    values: dict[str, Any] = {"state": "hold", "unknown": True, "last_error": error}
    if not_before is not None:
        values |= {"state": "ready", "not_before": not_before}
    return _finish(conn, row, "unknown", error, now, values)


def release_leases(conn: Connection, owner: str, receiver: str | None = None) -> int:
    """Give back what ``owner`` has claimed (for one receiver) and not begun to send; returns how many rows."""
    begun = select(attempts.c.id).where(
        attempts.c.outbox_id == outbox.c.id, attempts.c.attempt == outbox.c.attempt, attempts.c.result.is_(None)
    )
    mine = and_(outbox.c.state == "sending", outbox.c.lease_owner == owner, ~begun.exists())
    if receiver is not None:
        mine = and_(mine, outbox.c.receiver == receiver)
    return conn.execute(update(outbox).where(mine).values(state="ready", lease_owner=None, lease_until=None)).rowcount


def renew_leases(conn: Connection, owner: str, until: datetime, receivers: Collection[str]) -> int:
    """Keep what ``owner`` holds for these receivers until a later instant; returns how many rows."""
    mine = and_(outbox.c.state == "sending", outbox.c.lease_owner == owner, outbox.c.receiver.in_(sorted(receivers)))
    return conn.execute(update(outbox).where(mine).values(lease_until=until)).rowcount


def expire_leases(conn: Connection, now: datetime) -> int:
    """Take everything back from whoever held it; returns how many rows.

    Only for a process that knows to be alone (it holds the single-instance lock): what a killed one left is sent without delay.
    """
    return conn.execute(update(outbox).where(outbox.c.state == "sending").values(lease_until=now)).rowcount


def postpone(conn: Connection, receiver: str, until: datetime) -> int:
    """Leave a receiver alone until an instant, as its provider asked; returns how many messages wait."""
    waiting = and_(outbox.c.receiver == receiver, outbox.c.state == "ready", outbox.c.not_before < until)
    return conn.execute(update(outbox).where(waiting).values(not_before=until)).rowcount


_NOW: Any = bindparam("row_now", type_=outbox.c.not_before.type)
_FREE = select(outbox).where(~is_blocked()).order_by(outbox.c.not_before, outbox.c.id).limit(bindparam("most", type_=Integer))
_OF_SOME = outbox.c.receiver.in_(bindparam("names", expanding=True))
_EITHER = tuple((_FREE.where(due), _FREE.where(due, _OF_SOME)) for due in (is_ready(_NOW), is_left(_NOW)))
"""Two questions instead of one with "or", for each is answered by the index as far as is asked for."""


def _due(conn: Connection, now: datetime, limit: int, receivers: Collection[str] | None) -> list[Row[Any]]:
    """Whole rows that can be claimed, oldest first."""
    given: dict[str, Any] = {"row_now": now, "most": limit}
    if receivers is not None:
        given["names"] = sorted(receivers)
    found = [row for of_all, of_some in _EITHER for row in conn.execute(of_all if receivers is None else of_some, given)]
    return sorted(found, key=lambda row: (row.not_before, row.id))[:limit]


def _take(conn: Connection, rows: Sequence[Row[Any]], owner: str, now: datetime, until: datetime) -> list[Row[Any]]:
    """Lease rows; those that nobody else has taken since they were read."""
    given = {"row_now": now, "new_owner": owner, "new_until": until}
    in_order = sorted(rows, key=lambda row: row.id)  # two processes at once must not wait for each other
    each = [{**given, "row_id": row.id, "row_attempt": row.attempt, "new_attempt": row.attempt + 1} for row in in_order]
    if conn.dialect.name == "sqlite":  # who writes there is alone from its first statement on
        if each:
            conn.execute(_TAKE, each)
        return in_order
    return [row for row, one in zip(in_order, each, strict=True) if conn.execute(_TAKE, one).rowcount == 1]


_TAKE = (
    update(outbox)
    .where(outbox.c.id == bindparam("row_id"), outbox.c.attempt == bindparam("row_attempt"), is_due(_NOW))
    .values(
        state="sending", lease_owner=bindparam("new_owner"), lease_until=bindparam("new_until"), attempt=bindparam("new_attempt")
    )
)


def _claimed(conn: Connection, row: Row[Any], owner: str, now: datetime, message: Message) -> Claimed:
    unknown = row.unknown
    if row.state == "sending" and _close_attempt(conn, row.id, row.attempt, "unknown", _DIED, now):
        conn.execute(update(outbox).where(outbox.c.id == row.id).values(unknown=True))
        unknown = True
    return Claimed(row.id, row.attempt + 1, owner, row.receiver, row.origin, unknown, row.expires_at, message)


_IS_OURS = and_(
    outbox.c.id == bindparam("row_id"),
    outbox.c.state == "sending",
    outbox.c.lease_owner == bindparam("row_owner"),
    outbox.c.attempt == bindparam("row_attempt"),
)
_OURS = select(outbox.c.id, outbox.c.attempt, bindparam("started_at", type_=attempts.c.at.type)).where(_IS_OURS)
_START = Prepared(
    attempts.insert()
    .from_select(["outbox_id", "attempt", "at"], _OURS.with_for_update())
    .execution_options(preserve_rowcount=True)
)


@lru_cache(maxsize=16)
def _change_to(names: tuple[str, ...]) -> Prepared:
    """The statement that sets these columns of a row whose lease is ours; made once, for each message asks for it."""
    return Prepared(update(outbox).where(_IS_OURS).values({name: bindparam(f"new_{name}") for name in names}))


def _fenced(row: Claimed) -> dict[str, Any]:
    return {"row_id": row.id, "row_owner": row.owner, "row_attempt": row.attempt}


def _finish(conn: Connection, row: Claimed, result: str, detail: str, now: datetime, values: dict[str, Any]) -> bool:
    values = {**values, "lease_owner": None, "lease_until": None}
    given = {f"new_{name}": value for name, value in values.items()}
    if _change_to(tuple(values)).execute(conn, {**_fenced(row), **given}) != 1:
        return False
    _close_attempt(conn, row.id, row.attempt, result, detail, now)
    return True


def _close_attempt(conn: Connection, outbox_id: int, attempt: int, result: str, detail: str, now: datetime) -> bool:
    values = {"row_id": outbox_id, "row_attempt": attempt, "new_result": result, "new_detail": detail, "new_finished_at": now}
    return _CLOSE.execute(conn, values) > 0


_CLOSE = Prepared(
    update(attempts)
    .where(
        attempts.c.outbox_id == bindparam("row_id"),
        attempts.c.attempt == bindparam("row_attempt"),
        attempts.c.result.is_(None),
    )
    .values({name: bindparam(f"new_{name}") for name in ("result", "detail", "finished_at")})
)
