"""Which of the notices that wait are told now, together, and which wait on, or are told to nobody. Pure.

Each destination hears of an episode by its newest notice; what came before is folded into it. What is over before anybody was
told is told to nobody. The state of an alert never depends on any of this: it is decided here, when a message would go out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from kpid.alerting.routes import Pace
from kpid.store.groups import GroupId
from kpid.store.groups import GroupRow as Group
from kpid.store.notices import ENDING, OPENING, NoticeRow, Past, Story

FLAPPING = "flapping"
"""What holds back a series that keeps changing, until the digest."""
_ABOUT_FLAPPING = frozenset({"flapping", "steady", "digest"})
_URGENT = frozenset({"fired", "escalated", "escalation", "flapping", "config"})
_FIRST = {"escalated": "fired", "eased": "fired", "reminder": "fired"}


class Held(NamedTuple):
    """What holds a notice back, and until when; ``drops``: for ever."""

    by: str
    until: datetime
    drops: bool = False


class Line(NamedTuple):
    """A notice that is told, and as what."""

    row: NoticeRow
    kind: str


@dataclass(frozen=True, slots=True)
class Flush:
    """One message: what it tells, what is told by it without being mentioned, and the group as it is afterwards."""

    id: GroupId
    lines: tuple[Line, ...]
    folded: tuple[NoticeRow, ...]
    group: Group


@dataclass
class FlushPlan:
    """What becomes of all that waits; what is not mentioned goes on waiting."""

    flushes: list[Flush] = field(default_factory=list)
    folded: list[tuple[NoticeRow, str]] = field(default_factory=list)
    dropped: list[tuple[NoticeRow, str]] = field(default_factory=list)
    held: list[tuple[NoticeRow, Held]] = field(default_factory=list)
    grown: dict[GroupId, Group] = field(default_factory=dict)


@dataclass(frozen=True)
class FlushFacts:
    """What the plan goes by.

    Attributes:
        now: the current instant.
        pasts: what was told of the episodes before.
        groups: the groups that there are.
        gate: what holds a notice back now, if anything does; ends of alerts are only ever held back by closed windows.
        pace: that of a notice's route.
        health: whether a group gathers what is wrong with one source.
    """

    now: datetime
    pasts: Mapping[Story, Past]
    groups: Mapping[GroupId, Group]
    gate: Callable[[NoticeRow], Held | None] = lambda row: None
    pace: Callable[[NoticeRow], Pace] = lambda row: Pace()
    health: Callable[[NoticeRow], bool] = lambda row: False


@dataclass
class _Chain:
    """What waits for one destination about one episode: the row that stands for it, and those that it makes needless."""

    line: Line
    folded: list[NoticeRow]
    opens: int = 0
    """1 if the destination had not heard of the episode, which goes on; -1 if it had, and it has ended."""


def plan_flush(rows: Sequence[NoticeRow], facts: FlushFacts) -> FlushPlan:
    """What becomes of the notices that wait.

    Args:
        rows: all that wait, oldest first.
        facts: what is known besides.
    """
    plan = FlushPlan()
    groups: dict[GroupId, list[_Chain]] = {}
    for chain in _digested(_chains(rows, facts, plan), plan):
        row = chain.line.row
        held = facts.gate(row)
        if held is None:
            groups.setdefault(GroupId(row.receiver, row.recipient, row.group_key), []).append(chain)
        elif held.drops and not any(one.kind in ENDING for one in (*chain.folded, row)):
            plan.dropped.extend((one, f"dropped: {held.by}") for one in (*chain.folded, row))
        else:
            plan.held.extend((one, held) for one in (*chain.folded, row) if _is_news_of(one, held, facts.now))
    for key, chains in groups.items():
        _plan_group(key, chains, facts, plan)
    plan.flushes.sort(key=lambda flush: min(line.row.id for line in flush.lines))
    return plan


def _is_news_of(row: NoticeRow, held: Held, now: datetime) -> bool:
    return row.held_by != held.by or row.not_before <= now


def _chains(rows: Sequence[NoticeRow], facts: FlushFacts, plan: FlushPlan) -> list[_Chain]:
    stories: dict[tuple[Story, bool], list[NoticeRow]] = {}
    for row in rows:
        stories.setdefault((row.story, row.kind in _ABOUT_FLAPPING), []).append(row)
    chains = []
    for (story, _), members in stories.items():
        chain = _chain(members, facts.pasts.get(story, Past()))
        if chain is not None:
            chains.append(chain)
            continue
        held = next((f" (it was held back by {row.held_by})" for row in members if row.held_by), "")
        plan.dropped.extend((row, f"over before it was told{held}") for row in members)
    return chains


def _chain(rows: Sequence[NoticeRow], past: Past) -> _Chain | None:
    """The newest row of an episode; None if there is nothing to tell any more."""
    first, last = rows[0], rows[-1]
    heard = past.told > 0 or (past.rows <= len(rows) and first.kind not in OPENING)
    if last.kind in _ABOUT_FLAPPING or _flapped(rows):
        opens = 0 if last.kind in _ABOUT_FLAPPING else (not heard) - (last.kind in ENDING)
        return _Chain(Line(last, last.kind), list(rows[:-1]), opens)
    ended = next((row for row in reversed(rows) if row.kind in ENDING), None)
    if ended is None:
        kind = last.kind if heard or first is last else _FIRST.get(last.kind, last.kind)
        return _Chain(Line(last, kind), list(rows[:-1]), int(not heard))
    if not heard:
        return None
    return _Chain(Line(ended, ended.kind), [row for row in rows if row is not ended], -1)


def _flapped(rows: Sequence[NoticeRow]) -> bool:
    return any(row.held_by == FLAPPING for row in rows)


def _digested(chains: Sequence[_Chain], plan: FlushPlan) -> list[_Chain]:
    """Of a series that flapped, one line tells of all its episodes; the other chains as they are."""
    found: list[_Chain] = []
    digests: dict[tuple[str, ...], list[_Chain]] = {}
    for chain in chains:
        row = chain.line.row
        if row.held_by != FLAPPING or row.kind in _ABOUT_FLAPPING:
            found.append(chain)
            continue
        digests.setdefault((row.rule_uid, row.series_key, row.receiver, row.recipient), []).append(chain)
    for members in digests.values():
        members.sort(key=lambda chain: chain.line.row.id)
        newest = members[-1]
        folded = [row for chain in members for row in (*chain.folded, chain.line.row) if row is not newest.line.row]
        found.append(_Chain(Line(newest.line.row, "digest"), folded, sum(chain.opens for chain in members)))
    return sorted(found, key=lambda chain: chain.line.row.id)


def _plan_group(key: GroupId, chains: list[_Chain], facts: FlushFacts, plan: FlushPlan) -> None:
    """One group: whether it is due, what it tells, and how it stands afterwards."""
    if not any(chain.line.row.not_before <= facts.now for chain in chains):
        return
    group = plan.grown.get(key) or facts.groups.get(key, Group())
    pace = facts.pace(chains[0].line.row)
    again = _too_early(group, chains, pace, facts.now)
    if again is not None:
        rows = (row for chain in chains for row in (*chain.folded, chain.line.row))
        plan.held.extend((row, Held("", again)) for row in rows if row.not_before <= facts.now)
        return
    known = [_is_known_fault(chain, group, chains, facts) for chain in chains]
    told = [chain for chain, is_known in zip(chains, known, strict=True) if not is_known]
    after = _after(group, chains, facts.now)
    if told:
        lines = tuple(chain.line for chain in sorted(told, key=lambda chain: chain.line.row.id))
        folded = [row for chain in chains for row in chain.folded]
        folded += [chain.line.row for chain, is_known in zip(chains, known, strict=True) if is_known]
        plan.flushes.append(Flush(key, lines, tuple(folded), after))
    else:
        plan.folded.extend((row, "the source's trouble is known") for chain in chains for row in (*chain.folded, chain.line.row))
        plan.grown[key] = replace(after, last_at=group.last_at, repeats=group.repeats)


def _too_early(group: Group, chains: Sequence[_Chain], pace: Pace, now: datetime) -> datetime | None:
    """When the group may be told the next thing, if that is not now. New alerts and worse ones never wait for that."""
    if not group.open or group.last_at is None or pace.interval == timedelta(0):
        return None
    if any(chain.line.kind in _URGENT for chain in chains):
        return None
    again = group.last_at + pace.interval
    return again if again > now else None


def _is_known_fault(chain: _Chain, group: Group, chains: Sequence[_Chain], facts: FlushFacts) -> bool:
    """What is wrong with a source is told once, whatever the number of rules; and its end when the last of them is well."""
    if not facts.health(chain.line.row):
        return False
    if chain.line.kind == "unhealthy":
        return group.open > 0
    left = group.open + sum(one.opens for one in chains)
    return left > 0 or chain is not [one for one in chains if one.line.kind == "healthy"][-1]


def _after(group: Group, chains: Sequence[_Chain], now: datetime) -> Group:
    """The group when this has been told. A group all of whose alerts had ended begins anew, in a new thread."""
    opened = any(chain.opens > 0 for chain in chains)
    reminds = all(chain.line.kind == "reminder" for chain in chains)
    goes_on = group.open > 0 or (group.thread is not None and not opened)
    written = min(row.created_at for chain in chains for row in (*chain.folded, chain.line.row))
    return Group(
        thread=group.thread if goes_on else None,
        first_at=min(written, (group.first_at or now) if goes_on else now),  # reminders look for rows from then on
        last_at=now,
        repeats=group.repeats + reminds if goes_on and not opened else 0,
        open=max(group.open + sum(chain.opens for chain in chains), 0),
    )
