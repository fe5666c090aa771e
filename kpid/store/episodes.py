"""Episodes: each firing of a series, from its beginning to its end, with the number by which people know it and what they did.

The state machine opens and ends them, in the transaction of the series; people handle them meanwhile, in their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, tuple_, update

from kpid.model import Level, canonical_json
from kpid.store.many import add_rows, change_rows
from kpid.store.tables import episodes

Handling: TypeAlias = Literal["open", "acked", "snoozed"]
CONFIGURATION = "kpid:configuration"
"""What stands for a rule where the alert is about kpid's own configuration."""
_CHUNK = 300


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One episode. ``series_key`` is empty where it is about the rule's own data; ``id`` is 0 until it is stored."""

    rule_uid: str
    series_key: str
    episode: int
    segment: Mapping[str, str | None]
    names: Mapping[str, str | None]
    labels: Mapping[str, str]
    thread: str
    level: str
    opened_slot: datetime
    opened_at: datetime
    updated_at: datetime
    since_at: datetime | None = None
    ended_slot: datetime | None = None
    ended_at: datetime | None = None
    end_kind: str = ""
    handling: Handling = "open"
    handled_by: str = ""
    handled_via: str = ""
    handled_at: datetime | None = None
    handled_until: datetime | None = None
    comment: str = ""
    told_level: str = "none"
    flapping: bool = False
    id: int = 0

    @property
    def dedup_key(self) -> str:
        """64 hex digits that stand for it."""
        return self.key.digest

    @property
    def key(self) -> EpisodeKey:
        """What it is an episode of."""
        return EpisodeKey(self.rule_uid, self.series_key, self.episode)

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    @property
    def label(self) -> str:
        """What people read for the segment."""
        if not self.series_key:
            return "kpid's configuration" if self.rule_uid == CONFIGURATION else "the rule's own data"
        return ", ".join(self.names.get(name) or key or f"no {name}" for name, key in sorted(self.segment.items())) or "all"

    def is_handled(self, now: datetime) -> bool:
        """Whether somebody has it in hand now: what has run out does not count."""
        return self.handling != "open" and (self.handled_until is None or self.handled_until > now)


class EpisodeKey(NamedTuple):
    """What an episode belongs to, and which one of it it is."""

    rule_uid: str
    series_key: str
    episode: int

    @property
    def digest(self) -> str:
        """64 hex digits that stand for it, the same everywhere."""
        return hashlib.sha256(canonical_json(list(self)).encode()).hexdigest()


class Turn(NamedTuple):
    """What has become of an episode: its level, whether it flaps, and how it ended if it did; None leaves as it is."""

    key: EpisodeKey
    level: Level | None = None
    flapping: bool | None = None
    end_kind: str = ""
    end_slot: datetime | None = None


def open_rows(conn: Connection, rows: Sequence[EpisodeRow]) -> dict[EpisodeKey, int]:
    """Write episodes that have begun; returns the numbers that people know them by."""
    if not rows:
        return {}
    e, ours = episodes.c, {row.key for row in rows}
    last = conn.execute(select(func.max(e.id))).scalar_one() or 0
    names = [name for name in EpisodeRow.__slots__ if name != "id"]
    add_rows(conn, episodes, [*names, "dedup_key"], rows)
    found = conn.execute(select(e.id, e.rule_uid, e.series_key, e.episode).where(e.id > last).order_by(e.id)).all()
    return {key: number for number, *rest in found if (key := EpisodeKey(*rest)) in ours}


def turn_rows(conn: Connection, turns: Sequence[Turn], now: datetime) -> None:
    """Write down what has become of episodes."""
    for name in ("level", "flapping"):
        changed = [turn for turn in turns if getattr(turn, name) is not None]
        given = [{"value": value.value if isinstance(value := getattr(turn, name), Level) else value} for turn in changed]
        _change(conn, changed, {name: bindparam("value")}, given, now)
    ended = [turn for turn in turns if turn.end_kind]
    values: dict[str, Any] = {"ended_slot": bindparam("slot"), "ended_at": bindparam("at"), "end_kind": bindparam("how")}
    _change(conn, ended, values, [{"slot": turn.end_slot, "at": now, "how": turn.end_kind} for turn in ended], now)


def _change(
    conn: Connection, turns: Sequence[Turn], values: Mapping[str, Any], given: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    if not turns:
        return
    e = episodes.c
    mine = (e.rule_uid == bindparam("uid"), e.series_key == bindparam("key"), e.episode == bindparam("number"))
    statement = update(episodes).where(*mine).values(**values, updated_at=bindparam("now"))
    keys = ({"uid": turn.key.rule_uid, "key": turn.key.series_key, "number": turn.key.episode, "now": now} for turn in turns)
    change_rows(conn, statement, [{**key, **more} for key, more in zip(keys, given, strict=True)])


def numbers_of(conn: Connection, keys: Collection[EpisodeKey]) -> dict[EpisodeKey, int]:
    """The numbers that people know episodes by; without those that there are not."""
    e, found, wanted = episodes.c, dict[EpisodeKey, int](), list(keys)
    for first in range(0, len(wanted), _CHUNK):
        some = [tuple(key) for key in wanted[first : first + _CHUNK]]
        rows = conn.execute(
            select(e.id, e.rule_uid, e.series_key, e.episode).where(tuple_(e.rule_uid, e.series_key, e.episode).in_(some))
        )
        found.update({EpisodeKey(*key): number for number, *key in rows})
    return found


def list_open(conn: Connection, *, rule_uid: str | None = None) -> list[EpisodeRow]:
    """Episodes that go on, oldest first; of one rule if given."""
    return read(conn, episodes.c.ended_at.is_(None), *(() if rule_uid is None else (episodes.c.rule_uid == rule_uid,)))


def spans(conn: Connection, rule_uid: str) -> list[EpisodeRow]:
    """All episodes of a rule, oldest first."""
    return read(conn, episodes.c.rule_uid == rule_uid)


def read(conn: Connection, *where: ColumnElement[bool]) -> list[EpisodeRow]:
    """The episodes of which all of this is true, oldest first."""
    return [EpisodeRow(**row._mapping) for row in conn.execute(_WANTED.where(*where).order_by(episodes.c.id))]


def last_health(conn: Connection, uids: Collection[str]) -> dict[str, int]:
    """Number of the last time that the data of rules was unhealthy, by uid."""
    e = episodes.c
    rows = conn.execute(
        select(e.rule_uid, func.max(e.episode)).where(e.rule_uid.in_(uids), e.series_key == "").group_by(e.rule_uid)
    )
    return {row[0]: row[1] for row in rows}


def told(conn: Connection, keys: Mapping[EpisodeKey, Level], now: datetime) -> None:
    """Remember the highest level that people have been told of each episode."""
    _change(
        conn,
        [Turn(key) for key in keys],
        {"told_level": bindparam("value")},
        [{"value": level.value} for level in keys.values()],
        now,
    )


_WANTED = select(*(episodes.c[name] for name in EpisodeRow.__slots__))
