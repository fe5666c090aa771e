"""The outbox: messages that must reach somebody, from being written to being accepted.

States of a row: ``ready`` -> ``sending`` (leased, see ``sending.py``) -> ``sent`` | ``ready`` again | ``dead`` | ``hold``.
``dead`` and ``hold`` wait for a person and hold nobody up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, or_, select, update

from kpid.plugin.notifier import Message
from kpid.store import problems
from kpid.store.messages import delete_pictures, insert_new, load_message, picture_ids, store_message
from kpid.store.tables import attempts, outbox

_UNDONE = ("ready", "sending")
_MANY = 500


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A row of the outbox, for people."""

    id: int
    key: str
    kind: str
    receiver: str
    recipient: str
    thread: str | None
    origin: str
    title: str
    state: str
    attempt: int
    not_before: datetime
    expires_at: datetime | None
    unknown: bool
    provider_id: str | None
    last_error: str | None
    created_at: datetime
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One try of one message. ``result`` is None while it runs, or ``sent``, ``retry``, ``dead``, ``unknown``, ``requeued``."""

    attempt: int
    at: datetime
    finished_at: datetime | None
    result: str | None
    detail: str | None


def enqueue(
    conn: Connection,
    message: Message,
    *,
    receiver: str,
    origin: str,
    now: datetime,
    not_before: datetime | None = None,
    expires_at: datetime | None = None,
) -> bool:
    """Write a message down for delivery, in the caller's transaction.

    Args:
        conn: the transaction that also holds what the message is about.
        message: complete but for ``follows`` and ``thread_ref``, which are looked up when it is sent.
        receiver: name of the configured receiver.
        origin: what it is about, for people (``rule win-rate-low 2026-10``).
        now: the current instant.
        not_before: not sent earlier than this; default: now.
        expires_at: of no use to anybody after this: then it is given up.

    Returns:
        False when a message with this key has been enqueued before: then nothing is changed.

    Raises:
        ValueError: the key is empty or longer than 64 characters.
    """
    _check_key(message)
    if conn.scalar(select(outbox.c.id).where(outbox.c.key == message.key)) is not None:
        return False
    row = _new_row(conn, message, receiver, origin, now)
    row["not_before"], row["expires_at"] = now if not_before is None else not_before, expires_at
    return insert_new(conn, outbox, row)


def enqueue_all(conn: Connection, told: Sequence[tuple[Message, str, str]], *, now: datetime) -> int:
    """Write many messages down, each with its receiver and its origin; how many were new. See :func:`enqueue`."""
    for message, _, _ in told:
        _check_key(message)
    known: set[str] = set()
    keys = [message.key for message, _, _ in told]
    for start in range(0, len(keys), _MANY):
        known.update(conn.scalars(select(outbox.c.key).where(outbox.c.key.in_(keys[start : start + _MANY]))))
    fresh = {message.key: (message, receiver, origin) for message, receiver, origin in told if message.key not in known}
    rows = [_new_row(conn, message, receiver, origin, now) for message, receiver, origin in fresh.values()]
    if rows:
        conn.execute(outbox.insert(), rows)
    return len(rows)


def _check_key(message: Message) -> None:
    if not 0 < len(message.key) <= 64:
        raise ValueError(f"a message's key has 1 to 64 characters, not {len(message.key)}")


def _new_row(conn: Connection, message: Message, receiver: str, origin: str, now: datetime) -> dict[str, Any]:
    return {
        "key": message.key,
        "kind": message.kind,
        "receiver": receiver,
        "recipient": message.recipient,
        "thread": message.thread,
        "origin": origin[:300],
        "message": store_message(conn, message, now),
        "state": "ready",
        "attempt": 0,
        "unknown": False,
        "not_before": now,
        "expires_at": None,
        "created_at": now,
    }


def requeue(conn: Connection, outbox_id: int, now: datetime) -> bool:
    """Try a dead or held message again, with a fresh budget. False: there is no such row in these states."""
    values = {"state": "ready", "not_before": now, "expires_at": None, "done_at": None, "unknown": False}
    stopped = and_(outbox.c.id == outbox_id, outbox.c.state.in_(("dead", "hold")))
    if conn.execute(update(outbox).where(stopped).values(**values)).rowcount != 1:
        return False
    number = conn.scalar(select(outbox.c.attempt).where(outbox.c.id == outbox_id))
    conn.execute(
        attempts.insert().values(
            outbox_id=outbox_id, attempt=number, at=now, finished_at=now, result="requeued", detail="by hand"
        )
    )
    problems.clear(conn, problem_of(outbox_id))
    return True


def hold(conn: Connection, outbox_id: int) -> bool:
    """Keep a ready message back until it is released. False: it is not ready (sent, being sent, dead, unknown id)."""
    ready = and_(outbox.c.id == outbox_id, outbox.c.state == "ready")
    return conn.execute(update(outbox).where(ready).values(state="hold")).rowcount == 1


def release(conn: Connection, outbox_id: int, now: datetime) -> bool:
    """Let a held message go. False: it is not held."""
    held = and_(outbox.c.id == outbox_id, outbox.c.state == "hold")
    problems.clear(conn, problem_of(outbox_id))
    return conn.execute(update(outbox).where(held).values(state="ready", not_before=now, unknown=False)).rowcount == 1


def dismiss(conn: Connection, outbox_id: int, now: datetime) -> bool:
    """Let a dead or held message rest: it is dead and no problem any more. False: there is no such row in these states."""
    stopped = and_(outbox.c.id == outbox_id, outbox.c.state.in_(("dead", "hold")))
    problems.clear(conn, problem_of(outbox_id))
    return conn.execute(update(outbox).where(stopped).values(state="dead", done_at=now)).rowcount == 1


def problem_of(outbox_id: int) -> str:
    """Subject of the problem that says that this message is dead or held."""
    return f"outbox:{outbox_id}"


def list_outbox(conn: Connection, state: str | None = None, limit: int = 50) -> list[OutboxRow]:
    """Rows, newest first; of one state if given."""
    wanted = select(outbox) if state is None else select(outbox).where(outbox.c.state == state)
    rows = conn.execute(wanted.order_by(outbox.c.id.desc()).limit(limit))
    return [_row(row) for row in rows]


def _row(row: Row[Any]) -> OutboxRow:
    plain = [name for name in OutboxRow.__slots__ if name != "title"]
    return OutboxRow(title=row.message.get("title", ""), **{name: getattr(row, name) for name in plain})


def messages_by_key(conn: Connection, keys: Sequence[str]) -> list[tuple[Message, str]]:
    """Messages with their origins, in the order of their keys; without those whose contents are not kept any more."""
    rows = conn.execute(select(outbox.c.key, outbox.c.message, outbox.c.origin).where(outbox.c.key.in_(keys)))
    found = {row.key: row for row in rows if "text" in row.message}
    return [(load_message(conn, found[key].message), found[key].origin) for key in keys if key in found]


def find(conn: Connection, outbox_id: int) -> OutboxRow | None:
    """One row; None if there is none with this id."""
    row = conn.execute(select(outbox).where(outbox.c.id == outbox_id)).first()
    return None if row is None else _row(row)


def list_attempts(conn: Connection, outbox_id: int) -> list[AttemptRow]:
    """All tries of one message, oldest first."""
    rows = conn.execute(select(attempts).where(attempts.c.outbox_id == outbox_id).order_by(attempts.c.id))
    return [AttemptRow(row.attempt, row.at, row.finished_at, row.result, row.detail) for row in rows]


def count_by_state(conn: Connection) -> dict[str, int]:
    """How many rows are in each state; states without rows are missing."""
    rows = conn.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state))
    return {str(state): int(number) for state, number in rows}


def receivers_due(conn: Connection, now: datetime) -> list[str]:
    """Names of the receivers that have something to be sent now."""
    return list(conn.scalars(select(outbox.c.receiver).where(is_due(now), ~is_blocked()).distinct().order_by(outbox.c.receiver)))


def next_due_at(conn: Connection) -> datetime | None:
    """When there will be something to claim; None when nothing waits."""
    ready = select(func.min(outbox.c.not_before)).where(outbox.c.state == "ready", ~is_blocked())
    leased = select(func.min(outbox.c.lease_until)).where(outbox.c.state == "sending")
    return min((at for at in (conn.scalar(ready), conn.scalar(leased)) if at is not None), default=None)


def purge(conn: Connection, before: datetime) -> int:
    """Forget the contents of what was sent before then; keys, receipts and titles stay. Returns how many."""
    old = conn.execute(select(outbox.c.id, outbox.c.message).where(outbox.c.state == "sent", outbox.c.done_at < before)).all()
    full = [row for row in old if "text" in row.message]
    for row in full:
        conn.execute(update(outbox).where(outbox.c.id == row.id).values(message={"title": row.message["title"]}))
    dropped = {digest for row in full for digest in picture_ids(row.message)}
    if dropped:
        kept = {digest for body in conn.scalars(select(outbox.c.message)) for digest in picture_ids(body)}
        delete_pictures(conn, dropped - kept)
    return len(full)


def messages_of(conn: Connection, rows: Sequence[Row[Any]]) -> list[Message]:
    """The messages of whole outbox rows, with what their threads hold by now: earlier messages and the provider's reference."""
    before = _threads_before(conn, [row for row in rows if row.thread is not None])
    found = []
    for row in rows:
        message = load_message(conn, row.message)
        if row.thread is not None:
            earlier = [one for one in before.get((row.receiver, row.recipient, row.thread), ()) if one.id < row.id]
            thread_ref = next((one.thread_ref for one in earlier if one.thread_ref), None)
            if earlier or message.follows or message.thread_ref:
                message = replace(message, follows=tuple(one.key for one in earlier), thread_ref=thread_ref)
            if message.replaces:
                changed = next((one.provider_id for one in earlier if one.key == message.replaces), None)
                message = replace(message, replaces_ref=changed)
        found.append(message)
    return found


def _threads_before(conn: Connection, rows: Sequence[Row[Any]]) -> dict[tuple[str, str, str], list[Any]]:
    """What has been sent in the threads of these rows, by receiver, recipient and thread, oldest first."""
    if not rows:
        return {}
    names = ("receiver", "recipient", "thread")
    found: dict[tuple[str, str, str], list[Any]] = {}
    rows_in = conn.execute(_ALL_IN, {name: sorted({getattr(row, name) for row in rows}) for name in names})
    for one in sorted((one for one in rows_in if one.state == "sent"), key=lambda one: one.id):
        found.setdefault((one.receiver, one.recipient, one.thread), []).append(one)
    return found


_ALL_IN = select(
    outbox.c.id,
    outbox.c.receiver,
    outbox.c.recipient,
    outbox.c.thread,
    outbox.c.key,
    outbox.c.thread_ref,
    outbox.c.provider_id,
    outbox.c.state,
).where(
    outbox.c.receiver.in_(bindparam("receiver", expanding=True)),
    outbox.c.recipient.in_(bindparam("recipient", expanding=True)),
    outbox.c.thread.in_(bindparam("thread", expanding=True)),
)
"""Neither by state nor in order: that would mislead SQLite to look through all that was ever sent."""


def is_due(now: datetime) -> ColumnElement[bool]:
    """Rows that can be claimed: ready and due, or with a lease that has run out."""
    return or_(is_ready(now), is_left(now))


def is_ready(now: datetime) -> ColumnElement[bool]:
    """Rows whose time has come."""
    return and_(outbox.c.state == "ready", outbox.c.not_before <= now)


def is_left(now: datetime) -> ColumnElement[bool]:
    """Rows that somebody has leased, and for longer than the lease lasts: who had them is not there any more."""
    return and_(outbox.c.state == "sending", outbox.c.lease_until <= now)


def is_blocked() -> ColumnElement[bool]:
    """Rows that must wait for an earlier one of their thread."""
    earlier = outbox.alias("earlier")
    return (
        select(earlier.c.id)
        .where(
            earlier.c.receiver == outbox.c.receiver,
            earlier.c.recipient == outbox.c.recipient,
            earlier.c.thread == outbox.c.thread,
            earlier.c.id < outbox.c.id,
            earlier.c.state.in_(_UNDONE),
        )
        .exists()
    )
