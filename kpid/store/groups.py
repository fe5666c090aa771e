"""Groups of alerts that are told together, and what decides when: which episodes people have in hand, and which series flap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update

from kpid.store.episodes import EpisodeRow, read
from kpid.store.notices import NoticeRow
from kpid.store.tables import episodes, groups, notices, series

_CHUNK = 300


class GroupId(NamedTuple):
    """A group of one destination."""

    receiver: str
    recipient: str
    group_key: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    """What is known of a group: its thread, when it was told something, how many reminders, how many of its alerts are open."""

    thread: str | None = None
    first_at: datetime | None = None
    last_at: datetime | None = None
    repeats: int = 0
    open: int = 0
    next_repeat_at: datetime | None = None


def load_groups(conn: Connection, keys: Collection[GroupId]) -> dict[GroupId, GroupRow]:
    """Groups by their key; without those that were never told anything."""
    found: dict[GroupId, GroupRow] = {}
    wanted = sorted({key.group_key for key in keys})
    for start in range(0, len(wanted), _CHUNK):
        rows = conn.execute(select(groups).where(groups.c.group_key.in_(wanted[start : start + _CHUNK])))
        found.update((GroupId(row.receiver, row.recipient, row.group_key), _group(row)) for row in rows)
    return {key: row for key, row in found.items() if key in keys}


def save_groups(conn: Connection, rows: Mapping[GroupId, GroupRow], now: datetime) -> None:
    """Write groups, in place of what was there."""
    if not rows:
        return
    g = groups.c
    mine = (g.receiver == bindparam("to"), g.recipient == bindparam("who"), g.group_key == bindparam("which"))
    keys = [{"to": key.receiver, "who": key.recipient, "which": key.group_key} for key in rows]
    conn.execute(delete(groups).where(*mine), keys)
    conn.execute(insert(groups), [_values(key, row, now) for key, row in rows.items()])


def _values(key: GroupId, row: GroupRow, now: datetime) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in GroupRow.__slots__}
    dates = {"first_at": row.first_at or now, "last_at": row.last_at or now, "updated_at": now}
    return {**key._asdict(), **values, **dates}


def list_to_repeat(conn: Connection, now: datetime) -> dict[GroupId, GroupRow]:
    """Groups whose next reminder is due."""
    rows = conn.execute(select(groups).where(groups.c.next_repeat_at <= now).order_by(groups.c.next_repeat_at))
    return {GroupId(row.receiver, row.recipient, row.group_key): _group(row) for row in rows}


def has_to_repeat(conn: Connection, now: datetime) -> bool:
    """Whether a group's next reminder is due."""
    return conn.execute(select(groups.c.group_key).where(groups.c.next_repeat_at <= now).limit(1)).first() is not None


def repeat_at(conn: Connection, key: GroupId, at: datetime | None, now: datetime) -> None:
    """When the group is reminded next; None: not any more."""
    conn.execute(update(groups).where(_is(key)).values(next_repeat_at=at, updated_at=now))


def handled_episodes(conn: Connection) -> list[EpisodeRow]:
    """Open episodes that somebody has in hand, or had until lately."""
    return read(conn, episodes.c.ended_at.is_(None), episodes.c.handling != "open")


def has_expired(conn: Connection, now: datetime) -> bool:
    """Whether the time of an acknowledgement or a snooze is over."""
    over = (episodes.c.ended_at.is_(None), episodes.c.handling != "open", episodes.c.handled_until <= now)
    return conn.execute(select(episodes.c.id).where(*over).limit(1)).first() is not None


def put_back(conn: Connection, numbers: Iterable[int], now: datetime) -> None:
    """The time of an acknowledgement or a snooze is over: nobody has these episodes in hand any more."""
    held = (episodes.c.id.in_(list(numbers)), episodes.c.handling != "open", episodes.c.handled_until <= now)
    conn.execute(update(episodes).where(*held).values(handling="open", updated_at=now))


def flapping_series(conn: Connection) -> set[tuple[str, str]]:
    """Rules and keys of the series that flap now."""
    same = and_(episodes.c.rule_uid == series.c.rule_uid, episodes.c.series_key == series.c.series_key)
    rows = conn.execute(
        select(series.c.rule_uid, series.c.series_key, series.c.state).join(episodes, same).where(episodes.c.flapping.is_(True))
    )
    return {(row.rule_uid, row.series_key) for row in rows if row.state.get("flap_told")}


def open_of_routes(conn: Connection, routes: Collection[str]) -> list[NoticeRow]:
    """What was told by these routes of episodes that are open, oldest first; also what waits, and the steps of escalations.

    A route is known by what it matches: its place among the others may have been another when something was told.
    """
    mine = and_(
        notices.c.rule_uid == episodes.c.rule_uid,
        notices.c.series_key == episodes.c.series_key,
        notices.c.episode == episodes.c.episode,
    )
    told = {route.partition(": ")[2] for route in routes}
    names = [
        name
        for route in sorted(told)
        for name in (
            notices.c.route.endswith(f": {route}", autoescape=True),
            notices.c.route.contains(f": {route} > step ", autoescape=True),
        )
    ]
    wanted = select(*(notices.c[name] for name in NoticeRow.__slots__)).join(episodes, mine)
    rows = conn.execute(wanted.where(episodes.c.ended_at.is_(None), or_(*names)).order_by(notices.c.id))
    return [NoticeRow(*row) for row in rows]


def _group(row: Any) -> GroupRow:
    return GroupRow(*(getattr(row, name) for name in GroupRow.__slots__))


def _is(key: GroupId) -> Any:
    return and_(groups.c.receiver == key.receiver, groups.c.recipient == key.recipient, groups.c.group_key == key.group_key)
