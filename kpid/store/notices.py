"""Notices in the state store: what is to be told, to whom, and what has become of it. One row per told series and destination.

What all notices of a rule and slot have in common is kept once, as a frame (``frames.py`` of this package has the JSON).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, tuple_, update

from kpid.model import Notice
from kpid.store.episodes import EpisodeKey
from kpid.store.frames import frame_dump, frame_from_dump
from kpid.store.many import add_rows, change_rows
from kpid.store.messages import insert_new
from kpid.store.tables import frames, notices

WAITING, SENT, FOLDED, DROPPED = "waiting", "sent", "folded", "dropped"
"""States of a row: not told yet; told in a message; told by another row or of no news; never told, and ``why`` says why not."""
OPENING = frozenset({"fired", "escalated", "unhealthy", "escalation", "flapping", "config"})
ENDING = frozenset(
    {"resolved", "new_level", "expired", "restated", "rule_changed", "rule_removed", "paused", "healthy", "config_ended"}
)
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One thing to tell one destination. ``item`` is the NoticeItem as JSON, with the segments' ``names`` beside it."""

    key: str
    kind: str
    rule_uid: str
    series_key: str
    episode: int
    receiver: str
    recipient: str
    group_key: str
    thread: str | None
    route: str
    frame: str
    item: Mapping[str, Any]
    level: str
    slot: datetime
    not_before: datetime
    created_at: datetime
    state: str = WAITING
    held_by: str = ""
    why: str = ""
    done_at: datetime | None = None
    flush_id: str | None = None
    id: int = 0

    @property
    def story(self) -> Story:
        """The episode, and who hears of it."""
        return Story(self.rule_uid, self.series_key, self.episode, self.receiver, self.recipient)


class Story(NamedTuple):
    """An episode as one destination hears of it."""

    rule_uid: str
    series_key: str
    episode: int
    receiver: str
    recipient: str


class Past(NamedTuple):
    """What a destination has heard of an episode: so many rows were told (or folded into others), so many there are."""

    told: int = 0
    rows: int = 0
    route: str = ""
    group_key: str = ""
    thread: str | None = None


_NAMES = tuple(field.name for field in fields(NoticeRow))
_COLUMNS = tuple(notices.c[name] for name in _NAMES)
_WRITTEN = tuple(name for name in _NAMES if name != "id")


def save_frame(conn: Connection, notice: Notice) -> str:
    """Keep what several rows have in common, once; its key."""
    digest, body = frame_dump(notice)
    insert_new(conn, frames, {"sha256": digest, "body": body})
    return digest


def load_frames(conn: Connection, digests: Collection[str]) -> dict[str, Notice]:
    """Notices without items, by key."""
    found: dict[str, Notice] = {}
    for chunk in _chunks(sorted(digests)):
        rows = conn.execute(select(frames.c.sha256, frames.c.body).where(frames.c.sha256.in_(chunk)))
        found.update((digest, frame_from_dump(body)) for digest, body in rows)
    return found


def add(conn: Connection, rows: Sequence[NoticeRow]) -> int:
    """Write rows down, in this order; keys that are known already are left as they are. Returns how many were new."""
    known: set[str] = set()
    for chunk in _chunks(row.key for row in rows):
        known.update(conn.scalars(select(notices.c.key).where(notices.c.key.in_(chunk))))
    fresh = {row.key: row for row in rows if row.key not in known}
    if fresh:
        add_rows(conn, notices, _WRITTEN, fresh.values())
    return len(fresh)


def is_due(conn: Connection, now: datetime) -> bool:
    """Whether anything waits no longer."""
    due = select(notices.c.id).where(notices.c.state == WAITING, notices.c.not_before <= now)
    return conn.execute(due.limit(1)).first() is not None


def list_waiting(conn: Connection) -> list[NoticeRow]:
    """All that has not been told yet, oldest first."""
    return _rows(conn, select(*_COLUMNS).where(notices.c.state == WAITING))


def list_of_episode(conn: Connection, rule_uid: str, series_key: str, episode: int) -> list[NoticeRow]:
    """All about one episode, oldest first."""
    mine = (notices.c.rule_uid == rule_uid, notices.c.series_key == series_key, notices.c.episode == episode)
    return _rows(conn, select(*_COLUMNS).where(*mine))


def list_of_message(conn: Connection, flush_id: str) -> list[NoticeRow]:
    """All that went out in one message."""
    return _rows(conn, select(*_COLUMNS).where(notices.c.flush_id == flush_id))


def list_of_group(conn: Connection, receiver: str, recipient: str, group_key: str, since: datetime) -> list[NoticeRow]:
    """What a group has been told since an instant, and what waits for it; oldest first."""
    mine = (notices.c.receiver == receiver, notices.c.recipient == recipient, notices.c.group_key == group_key)
    return _rows(conn, select(*_COLUMNS).where(*mine, notices.c.created_at >= since))


def list_of_routes(conn: Connection, routes: Collection[str]) -> list[NoticeRow]:
    """What has been told by these routes and has not ended for good, oldest first."""
    return _rows(conn, select(*_COLUMNS).where(notices.c.route.in_(sorted(routes)), notices.c.state.in_((SENT, FOLDED))))


def messages_about(conn: Connection, keys: Sequence[EpisodeKey], receivers: Collection[str]) -> list[tuple[str, str, str]]:
    """Messages to these receivers that told of any of these episodes, oldest first: flush id, receiver, recipient."""
    n, found = notices.c, dict[tuple[str, str, str], int]()
    mine = (n.state.in_((SENT, FOLDED)), n.flush_id.is_not(None), n.receiver.in_(sorted(receivers)))
    for chunk in _chunks(tuple(key) for key in keys):
        wanted = select(n.flush_id, n.receiver, n.recipient, func.min(n.id)).where(
            *mine, tuple_(n.rule_uid, n.series_key, n.episode).in_(chunk)
        )
        found.update(
            {(row[0], row[1], row[2]): row[3] for row in conn.execute(wanted.group_by(n.flush_id, n.receiver, n.recipient))}
        )
    return sorted(found, key=lambda one: found[one])


def pasts(conn: Connection, rule_uid: str, series_keys: Iterable[str]) -> dict[Story, Past]:
    """What was told of the episodes of these series so far, by episode and destination."""
    found: dict[Story, Past] = {}
    n = notices.c
    wanted = (n.rule_uid, n.series_key, n.episode, n.receiver, n.recipient, n.state, n.route, n.group_key, n.thread)
    for chunk in _chunks(dict.fromkeys(series_keys)):
        rows = conn.execute(select(*wanted).where(n.rule_uid == rule_uid, n.series_key.in_(chunk)).order_by(n.id))
        for *story, state, route, group_key, thread in rows:
            before = found.get(Story(*story), Past())
            told = before.told + (state in (SENT, FOLDED))
            found[Story(*story)] = Past(told, before.rows + 1, before.route or route, before.group_key or group_key, thread)
    return found


def settle(
    conn: Connection,
    rows: Sequence[NoticeRow],
    state: str,
    now: datetime,
    *,
    why: str = "",
    flush_id: str | None = None,
    thread: str | None = None,
) -> int:
    """What has become of rows that wait; how many still did. Less than all: another process has just done some of them."""
    values: dict[str, Any] = {"state": state, "done_at": now, "why": why, "flush_id": flush_id}
    if thread is not None:
        values["thread"] = thread
    done = 0
    for chunk in _chunks(row.id for row in rows):
        done += conn.execute(update(notices).where(notices.c.id.in_(chunk), notices.c.state == WAITING).values(**values)).rowcount
    return done


def settle_each(conn: Connection, rows: Sequence[tuple[NoticeRow, str, str, str | None, str]], now: datetime) -> int:
    """The same for rows with fates of their own: ``(row, state, flush id, thread, why)``."""
    if not rows:
        return 0
    fate: dict[str, Any] = {
        "state": bindparam("fate"),
        "flush_id": bindparam("flush"),
        "why": bindparam("reason"),
        "done_at": bindparam("at"),
    }
    mine = update(notices).where(notices.c.id == bindparam("row_id"), notices.c.state == WAITING)
    given = [
        {"row_id": row.id, "fate": state, "flush": flush_id, "reason": why, "at": now, "thread_is": thread or row.thread}
        for row, state, flush_id, thread, why in rows
    ]
    return change_rows(conn, mine.values(**fate, thread=bindparam("thread_is")), given)


def hold(conn: Connection, rows: Sequence[tuple[NoticeRow, datetime, str]]) -> None:
    """Let rows wait until an instant, and say what holds them back."""
    if rows:
        conn.execute(
            update(notices)
            .where(notices.c.id == bindparam("row_id"), notices.c.state == WAITING)
            .values(not_before=bindparam("until"), held_by=bindparam("by")),
            [{"row_id": row.id, "until": until, "by": by} for row, until, by in rows],
        )


def wake(conn: Connection, held_by: str, now: datetime) -> int:
    """Look anew at what was held back by something that is over before its time; how many rows."""
    held = (notices.c.state == WAITING, notices.c.held_by == held_by)
    return conn.execute(update(notices).where(*held).values(not_before=now)).rowcount


def wake_episode(conn: Connection, rule_uid: str, series_key: str, episode: int, now: datetime) -> int:
    """Look anew at what waits about one episode (its acknowledgement or snooze has been taken back); how many rows."""
    mine = (notices.c.rule_uid == rule_uid, notices.c.series_key == series_key, notices.c.episode == episode)
    return conn.execute(update(notices).where(*mine, notices.c.state == WAITING).values(not_before=now)).rowcount


def count_by_state(conn: Connection) -> dict[str, int]:
    """How many rows are in each state."""
    rows = conn.execute(select(notices.c.state, func.count()).group_by(notices.c.state))
    return {row[0]: row[1] for row in rows}


def _rows(conn: Connection, wanted: Any) -> list[NoticeRow]:
    return [NoticeRow(*row) for row in conn.execute(wanted.order_by(notices.c.id)).all()]


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    held = list(values)
    for start in range(0, len(held), _CHUNK):
        yield held[start : start + _CHUNK]
