"""What people do about alerts, in the state store: episodes taken up, silences, periods that do not count.

How episodes are handled changes by one conditional statement, so that of two who take one up at once one is the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, or_, select, true, update

from kpid.store.episodes import EpisodeRow, read
from kpid.store.notices import wake, wake_episode
from kpid.store.tables import attempts, episodes, exclusions, notices, outbox, silences

_AT_ONCE = 500
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Silence:
    """While it lasts, alerts with these labels say nothing."""

    id: int
    matchers: Mapping[str, Sequence[str]]
    starts_at: datetime
    ends_at: datetime
    author: str
    via: str
    comment: str
    created_at: datetime
    ended_by: str
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A span of time that is left out of what is usual."""

    id: int
    rule_uid: str
    kpi: str
    segment: str
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str
    at: datetime
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ToldRow:
    """One thing that somebody was told of an episode, or would have been: sent, waiting, folded or dropped, and why."""

    id: int
    kind: str
    receiver: str
    recipient: str
    thread: str | None
    route: str
    flush_id: str | None
    item: Mapping[str, Any]
    level: str
    slot: datetime
    state: str
    held_by: str
    why: str
    not_before: datetime
    created_at: datetime
    done_at: datetime | None


def load_episode(conn: Connection, number: int) -> EpisodeRow | None:
    """An episode by its number; None if there is none."""
    return load_episodes(conn, [number]).get(number)


def load_episodes(conn: Connection, numbers: Sequence[int]) -> dict[int, EpisodeRow]:
    """Episodes by their numbers; those that there are."""
    found: dict[int, EpisodeRow] = {}
    for some in _chunks([number for number in numbers if 0 < number <= _LARGEST]):
        found.update((one.id, one) for one in read(conn, episodes.c.id.in_(some)))
    return found


def episodes_of_message(conn: Connection, flush_id: str) -> list[EpisodeRow]:
    """The episodes that a message told of, by number."""
    same = and_(
        notices.c.rule_uid == episodes.c.rule_uid,
        notices.c.series_key == episodes.c.series_key,
        notices.c.episode == episodes.c.episode,
    )
    told = select(notices.c.id).where(same, notices.c.flush_id == flush_id).exists()
    return read(conn, told)


def take_up(
    conn: Connection, numbers: Sequence[int], *, by: str, via: str, until: datetime, comment: str, now: datetime
) -> set[int]:
    """Acknowledge episodes.

    Returns:
        Those that have changed: not those that are over, or that somebody else has taken up before, if that still holds.
    """
    free = or_(episodes.c.handling != "acked", episodes.c.handled_by == by, episodes.c.handled_until <= now)
    return _handle(conn, numbers, free, "acked", by, via, until, comment, now)


def put_off(
    conn: Connection, numbers: Sequence[int], *, by: str, via: str, until: datetime, comment: str, now: datetime
) -> set[int]:
    """Snooze episodes; those that have changed: not those that are over."""
    return _handle(conn, numbers, true(), "snoozed", by, via, until, comment, now)


def let_go(conn: Connection, numbers: Sequence[int], *, by: str, via: str, comment: str, now: datetime) -> set[int]:
    """Nobody has the episodes in hand any more; those that have changed: not those that are over, or that nobody had."""
    changed = _handle(conn, numbers, episodes.c.handling != "open", "open", by, via, None, comment, now)
    for one in load_episodes(conn, sorted(changed)).values():
        wake_episode(conn, one.rule_uid, one.series_key, one.episode, now)
    return changed


def _handle(
    conn: Connection,
    numbers: Sequence[int],
    free: ColumnElement[bool],
    state: str,
    by: str,
    via: str,
    until: datetime | None,
    comment: str,
    now: datetime,
) -> set[int]:
    values = {"handling": state, "handled_by": by, "handled_via": via, "handled_at": now, "handled_until": until}
    changed: set[int] = set()
    for some in _chunks(numbers):
        ours = update(episodes).where(episodes.c.id.in_(some), episodes.c.ended_at.is_(None), free)
        done = conn.execute(ours.values(**values, comment=comment, updated_at=now).returning(episodes.c.id))
        changed.update(done.scalars())
    return changed


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """So many at once that a statement stays within what databases take."""
    for start in range(0, len(numbers), _AT_ONCE):
        yield numbers[start : start + _AT_ONCE]


def told_of_episode(conn: Connection, one: EpisodeRow) -> list[ToldRow]:
    """What people were told of an episode, or would have been, oldest first."""
    wanted = select(*(notices.c[field.name] for field in fields(ToldRow))).where(
        notices.c.rule_uid == one.rule_uid, notices.c.series_key == one.series_key, notices.c.episode == one.episode
    )
    return [ToldRow(*row) for row in conn.execute(wanted.order_by(notices.c.id))]


def messages_in(conn: Connection, threads: set[str]) -> list[dict[str, Any]]:
    """The messages of some threads, oldest first: receiver, fate, the provider's receipt, and every try."""
    if not threads:
        return []
    wanted = ("id", "receiver", "recipient", "thread", "state", "provider_id", "last_error", "created_at", "done_at")
    rows = conn.execute(
        select(*(outbox.c[name] for name in wanted), outbox.c.message).where(outbox.c.thread.in_(threads)).order_by(outbox.c.id)
    ).all()
    tries: dict[int, list[dict[str, Any]]] = {}
    columns = (attempts.c.outbox_id, attempts.c.attempt, attempts.c.at, attempts.c.result, attempts.c.detail)
    mine = select(*columns).where(attempts.c.outbox_id.in_([row.id for row in rows])).order_by(attempts.c.id)
    for row in conn.execute(mine):
        tries.setdefault(row.outbox_id, []).append({name: getattr(row, name) for name in ("attempt", "at", "result", "detail")})
    return [
        {name: getattr(row, name) for name in wanted} | {"title": row.message.get("title", ""), "attempts": tries.get(row.id, [])}
        for row in rows
    ]


def add_silence(
    conn: Connection,
    *,
    matchers: Mapping[str, Sequence[str]],
    starts_at: datetime,
    ends_at: datetime,
    author: str,
    via: str,
    comment: str,
    now: datetime,
) -> int:
    """Write a silence down; its number."""
    values = {"matchers": {name: list(texts) for name, texts in matchers.items()}, "starts_at": starts_at, "ends_at": ends_at}
    added = conn.execute(insert(silences).values(**values, author=author, via=via, comment=comment, created_at=now))
    return int((added.inserted_primary_key or (0,))[0])


def end_silence(conn: Connection, number: int, *, by: str, now: datetime) -> bool:
    """End a silence before its time. False: there is none with this number, or it is over."""
    running = and_(silences.c.id == min(number, _LARGEST), silences.c.ended_at.is_(None), silences.c.ends_at > now)
    if conn.execute(update(silences).where(running).values(ended_by=by, ended_at=now)).rowcount != 1:
        return False
    wake(conn, f"silence {number}", now)
    return True


def list_silences(conn: Connection, *, at: datetime | None = None) -> list[Silence]:
    """Silences, oldest first: those that are not over at an instant, or all."""
    wanted = select(silences).order_by(silences.c.id)
    if at is not None:
        wanted = wanted.where(silences.c.ended_at.is_(None), silences.c.ends_at > at)
    return [Silence(**row._mapping) for row in conn.execute(wanted)]


def add_exclusion(
    conn: Connection,
    *,
    rule_uid: str,
    kpi: str,
    segment: str,
    starts_at: datetime,
    ends_at: datetime,
    author: str,
    comment: str,
    now: datetime,
) -> int:
    """Write down that a span does not count; its number."""
    values = {"rule_uid": rule_uid, "kpi": kpi, "segment": segment, "starts_at": starts_at, "ends_at": ends_at}
    added = conn.execute(insert(exclusions).values(**values, author=author, comment=comment, at=now))
    return int((added.inserted_primary_key or (0,))[0])


def end_exclusion(conn: Connection, number: int, *, now: datetime) -> bool:
    """Let a span count again. False: there is none with this number that does not."""
    standing = and_(exclusions.c.id == min(number, _LARGEST), exclusions.c.removed_at.is_(None))
    return conn.execute(update(exclusions).where(standing).values(removed_at=now)).rowcount == 1


def list_exclusions(conn: Connection) -> list[Exclusion]:
    """The spans that do not count, oldest first."""
    wanted = select(exclusions).where(exclusions.c.removed_at.is_(None)).order_by(exclusions.c.id)
    return [Exclusion(**row._mapping) for row in conn.execute(wanted)]
