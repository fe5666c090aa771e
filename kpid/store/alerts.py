"""Rules, series, evaluations and events in the state store.

Rows are typed; what the state machine remembers is kept as the JSON that it dumps. Saving is by batches: ten thousand series of a
rule go in with a handful of statements.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Table, delete, func, select

from kpid.model import Dims, Segment, segment_label
from kpid.store.many import add_rows
from kpid.store.tables import evaluations, events, exclusions, outbox, rules, series


@dataclass(frozen=True, slots=True)
class RuleRow:
    """How far a rule has been taken. ``health`` is the state of its own data, ``rule`` the rule itself as last judged.

    Rows that are read to go on from are without ``rule``: it is large, and only asked for when the rule is gone.
    """

    rule_uid: str
    meaning: str
    last_slot: datetime | None
    health: Mapping[str, Any]
    updated_at: datetime
    rule: Mapping[str, Any] = field(default_factory=dict)


class SeriesRow(NamedTuple):
    """A series: a rule for one segment. ``state`` is the whole state, ``state["last"]`` the last outcome."""

    rule_uid: str
    series_key: str
    segment: str
    names: Mapping[str, str | None]
    meaning: str
    status: str
    level: str
    data: str
    episode: int
    last_slot: datetime | None
    state: Mapping[str, Any]
    updated_at: datetime

    @property
    def dims(self) -> Dims:
        """The segment, with the names that people read."""
        ids: dict[str, str | None] = json.loads(self.segment)
        return tuple(Segment(name, ids[name], self.names.get(name)) for name in sorted(ids))

    @property
    def label(self) -> str:
        """What people read for the segment."""
        return segment_label(self.dims)


class EvaluationRow(NamedTuple):
    """One evaluation of one series: what was found, and the state before it."""

    rule_uid: str
    series_key: str
    slot: datetime
    period_label: str
    outcome: Mapping[str, Any]
    before: Mapping[str, Any]
    at: datetime


class EventRow(NamedTuple):
    """A transition. ``body`` holds from, to, level, value, n, threshold, limit, previous, reason, thread and the segment."""

    at: datetime
    slot: datetime
    rule_uid: str
    series_key: str
    episode: int
    kind: str
    body: Mapping[str, Any]
    seq: int = 0


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """A message about an episode, and what has become of it."""

    id: int
    receiver: str
    recipient: str
    title: str
    state: str
    created_at: datetime
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of one episode, oldest first: evaluations, events, messages."""

    series: SeriesRow | None
    evaluations: list[EvaluationRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    notices: list[NoticeRow] = field(default_factory=list)


def load_rule(conn: Connection, rule_uid: str) -> RuleRow | None:
    """How far a rule has been taken; None if it was never judged."""
    row = conn.execute(select(rules).where(rules.c.rule_uid == rule_uid)).one_or_none()
    return None if row is None else RuleRow(**row._mapping)


def list_rules(conn: Connection) -> list[RuleRow]:
    """All rules that have been judged, by uid."""
    return [RuleRow(**row._mapping) for row in conn.execute(select(rules).order_by(rules.c.rule_uid))]


def load_rules(conn: Connection, uids: Collection[str]) -> dict[str, RuleRow]:
    """How far several rules have been taken, by uid; without those that were never judged, and without the rules themselves."""
    found = conn.execute(select(*_PROGRESS).where(rules.c.rule_uid.in_(uids))).all()
    return {row.rule_uid: RuleRow(*row) for row in found}


_PROGRESS = tuple(rules.c[name] for name in RuleRow.__slots__ if name != "rule")


def load_rules_but(conn: Connection, uids: Collection[str]) -> list[RuleRow]:
    """How far rules other than these have been taken, by uid."""
    others = sorted(set(conn.execute(select(rules.c.rule_uid)).scalars()) - set(uids))
    return [row for uid in others if (row := load_rule(conn, uid)) is not None]


def save_rules(conn: Connection, rows: Sequence[RuleRow]) -> None:
    """Write rules' rows, in place of those before."""
    add_rows(conn, rules, RuleRow.__slots__, rows, replace=True)


def save_rule(conn: Connection, row: RuleRow) -> None:
    """Write a rule's row, in place of the one before."""
    save_rules(conn, [row])


def forget_rule(conn: Connection, rule_uid: str) -> None:
    """Drop a rule's row. Its series, evaluations and events stay."""
    conn.execute(delete(rules).where(rules.c.rule_uid == rule_uid))


def load_series(conn: Connection, rule_uid: str) -> dict[str, SeriesRow]:
    """All series of a rule, by key; also those that are forgotten."""
    rows = conn.execute(_wanted(series, SeriesRow).where(series.c.rule_uid == rule_uid).order_by(series.c.segment))
    return {row.series_key: SeriesRow(*row) for row in rows}


def load_series_of(conn: Connection, uids: Collection[str]) -> dict[str, dict[str, SeriesRow]]:
    """All series of several rules, by uid and key; also those that are forgotten."""
    found: dict[str, dict[str, SeriesRow]] = {}
    for row in conn.execute(_wanted(series, SeriesRow).where(series.c.rule_uid.in_(uids)).order_by(series.c.segment)).all():
        found.setdefault(row.rule_uid, {})[row.series_key] = SeriesRow(*row)
    return found


def count_series(conn: Connection) -> dict[str, int]:
    """How many series each rule has."""
    counted = select(series.c.rule_uid, func.count()).group_by(series.c.rule_uid)
    return {row[0]: row[1] for row in conn.execute(counted)}


def save_series(conn: Connection, rows: Sequence[SeriesRow]) -> None:
    """Write series, in place of what was there."""
    add_rows(conn, series, SeriesRow._fields, rows, replace=True)


def add_evaluations(conn: Connection, rows: Sequence[EvaluationRow]) -> None:
    """Write evaluations down; a later one of the same series and slot counts instead of the earlier."""
    add_rows(conn, evaluations, EvaluationRow._fields, rows)


def add_events(conn: Connection, rows: Sequence[EventRow]) -> None:
    """Write events down, numbered in this order."""
    add_rows(conn, events, [name for name in EventRow._fields if name != "seq"], rows)


def load_evaluations_of(
    conn: Connection, uids: Collection[str], since: datetime
) -> dict[str, dict[tuple[str, datetime], EvaluationRow]]:
    """The newest evaluation of each series and slot from ``since`` on, by uid and ``(series key, slot)``."""
    e = evaluations.c
    newest = select(func.max(e.id)).where(e.rule_uid.in_(uids), e.slot >= since).group_by(e.rule_uid, e.series_key, e.slot)
    found: dict[str, dict[tuple[str, datetime], EvaluationRow]] = {}
    for row in conn.execute(_wanted(evaluations, EvaluationRow).where(e.id.in_(newest))).all():
        found.setdefault(row.rule_uid, {})[row.series_key, row.slot] = EvaluationRow(*row)
    return found


class Excluded(NamedTuple):
    """A span that people have taken out of what is usual: of a rule, or of all on a KPI; of one segment (its key), or of all."""

    rule_uid: str
    kpi: str
    segment: str
    start: datetime
    end: datetime

    def is_about(self, rule_uid: str, kpi: str) -> bool:
        """Whether it concerns a rule."""
        return self.rule_uid == rule_uid if self.rule_uid else self.kpi == kpi


def load_excluded(conn: Connection) -> list[Excluded]:
    """All spans that people have taken out and not put back."""
    x = exclusions.c
    wanted = select(x.rule_uid, x.kpi, x.segment, x.starts_at, x.ends_at).where(x.removed_at.is_(None)).order_by(x.id)
    return [Excluded(*row) for row in conn.execute(wanted)]


def list_series(conn: Connection, status: str | None = None, *, rule_uid: str | None = None) -> list[SeriesRow]:
    """Series as they stand, worst first; of one status or one rule if given. Forgotten ones only if asked for by that word."""
    wanted = _wanted(series, SeriesRow)
    wanted = wanted.where(series.c.status != "forgotten") if status is None else wanted.where(series.c.status == status)
    if rule_uid is not None:
        wanted = wanted.where(series.c.rule_uid == rule_uid)
    order = ("firing", "recovering", "pending", "ok", "forgotten")
    levels = ("critical", "warn", "none")
    rows = [SeriesRow(*row) for row in conn.execute(wanted.order_by(series.c.rule_uid, series.c.segment))]
    return sorted(rows, key=lambda row: (order.index(row.status), levels.index(row.level)))


def list_events(conn: Connection, *, rule_uid: str | None = None, limit: int = 50) -> list[EventRow]:
    """Events, newest first; of one rule if given."""
    wanted = _wanted(events, EventRow)
    if rule_uid is not None:
        wanted = wanted.where(events.c.rule_uid == rule_uid)
    return [EventRow(*row) for row in conn.execute(wanted.order_by(events.c.seq.desc()).limit(limit))]


def episode_story(conn: Connection, rule_uid: str, series_key: str, episode: int) -> Story:
    """Everything about one episode: its events, the evaluations between its first bad period and its end, its messages."""
    mine = _wanted(series, SeriesRow).where(series.c.rule_uid == rule_uid, series.c.series_key == series_key)
    found = conn.execute(mine).one_or_none()
    ours = _wanted(events, EventRow).where(events.c.rule_uid == rule_uid, events.c.series_key == series_key)
    happened = [EventRow(*row) for row in conn.execute(ours.where(events.c.episode == episode).order_by(events.c.seq))]
    row = None if found is None else SeriesRow(*found)
    if not happened:
        return Story(row)
    ended = [event.slot for event in happened if event.body.get("to") in {"ok", "pending"}]
    judged = _wanted(evaluations, EvaluationRow).where(evaluations.c.rule_uid == rule_uid, evaluations.c.series_key == series_key)
    if ended:
        judged = judged.where(evaluations.c.slot <= max(ended))
    rows = [EvaluationRow(*row) for row in conn.execute(judged.order_by(evaluations.c.slot, evaluations.c.id))]
    threads = {event.body["thread"] for event in happened if event.body.get("thread")}
    return Story(row, _from_first_bad(rows, happened[0]), happened, _notices(conn, threads))


def count_in_thread(conn: Connection, receiver: str, recipient: str, thread: str) -> int:
    """How many messages a thread holds for a recipient: the number of the next one."""
    mine = (outbox.c.receiver == receiver, outbox.c.recipient == recipient, outbox.c.thread == thread)
    return conn.execute(select(func.count()).select_from(outbox).where(*mine)).scalar_one()


def _from_first_bad(rows: list[EvaluationRow], fired: EventRow) -> list[EvaluationRow]:
    since = fired.body.get("since")
    for place, row in enumerate(rows):
        if row.period_label == since:
            return rows[place:]
    return [row for row in rows if row.slot >= fired.slot]


def _notices(conn: Connection, threads: set[str]) -> list[NoticeRow]:
    rows = conn.execute(select(outbox).where(outbox.c.thread.in_(threads)).order_by(outbox.c.id))
    return [_notice(row) for row in rows]


def _notice(row: Row[Any]) -> NoticeRow:
    title = row.message.get("title", "")
    return NoticeRow(row.id, row.receiver, row.recipient, title, row.state, row.created_at, row.done_at)


def _wanted(table: Table, kind: type[Any]) -> Any:
    return select(*(table.c[name] for name in kind._fields))
