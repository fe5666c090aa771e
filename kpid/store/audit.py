"""The audit log: who did what, when, by which way. Rows are only added; the database itself refuses changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from kpid.store.tables import audit

MAX_ACTOR, MAX_SUBJECT = 320, 300


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One deed. ``subject`` is what it was done to (``episode:17``, ``silence:3``); ``body`` the rest, as JSON."""

    id: int
    at: datetime
    actor: str
    via: str
    action: str
    subject: str
    body: Mapping[str, Any]


def record(conn: Connection, *, actor: str, via: str, action: str, subject: str, body: Mapping[str, Any], now: datetime) -> None:
    """Write a deed down, in the transaction that does it.

    Args:
        conn: the transaction.
        actor: who, in the words of the way that it came by.
        via: ``cli``, ``web``, ``slack``, ``config``.
        action: ``ack``, ``unack``, ``snooze``, ``silence`` ...
        subject: what it was done to.
        body: until when, comment, and what came of it.
        now: the current instant.
    """
    record_all(conn, actor=actor, via=via, action=action, done={subject: body}, now=now)


def record_all(
    conn: Connection, *, actor: str, via: str, action: str, done: Mapping[str, Mapping[str, Any]], now: datetime
) -> None:
    """Write the same deed down for many subjects, each with its own rest; see :func:`record`."""
    row = {"at": now, "actor": actor[:MAX_ACTOR], "via": via, "action": action}
    rows = [{**row, "subject": subject[:MAX_SUBJECT], "body": dict(body)} for subject, body in done.items()]
    if rows:
        conn.execute(insert(audit), rows)


def list_audit(
    conn: Connection, *, since: datetime | None = None, subject: str | None = None, limit: int = 200
) -> list[AuditRow]:
    """Deeds, newest first.

    Args:
        conn: a connection.
        since: none that is older.
        subject: only what was done to this.
        limit: at most so many.
    """
    wanted = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if since is not None:
        wanted = wanted.where(audit.c.at >= since)
    if subject is not None:
        wanted = wanted.where(audit.c.subject == subject)
    return [AuditRow(**row._mapping) for row in conn.execute(wanted)]
