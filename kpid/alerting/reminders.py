"""What time itself brings: reminders of what still fires, steps of escalations, word of what was put off. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from kpid.alerting.recipients import Destination
from kpid.alerting.routes import Step, digest
from kpid.store.episodes import EpisodeRow
from kpid.store.notices import ENDING, FOLDED, SENT, WAITING, NoticeRow, Story

Key = tuple[str, str, int]
"""Rule, series key, number of an episode."""


class Due(NamedTuple):
    """A step of an escalation that is due: what was told, and whom to tell now."""

    row: NoticeRow
    route: str
    step: Step


def key_of(row: NoticeRow | EpisodeRow) -> Key:
    """The episode that a notice is about."""
    return (row.rule_uid, row.series_key, row.episode)


def reminders_due(rows: Iterable[NoticeRow], standing: set[Key], now: datetime) -> list[NoticeRow]:
    """A reminder for each destination of each alert that still fires, and of which nothing else waits to be told.

    Args:
        rows: all notices about these alerts, oldest first.
        standing: episodes that are open and that nobody has in hand.
        now: the current instant.
    """
    stories: dict[Story, list[NoticeRow]] = {}
    for row in rows:
        stories.setdefault(row.story, []).append(row)
    found = []
    for members in stories.values():
        told = [row for row in members if row.state in (SENT, FOLDED)]
        over = any(row.kind in ENDING for row in members)
        if told and not over and key_of(told[-1]) in standing and not any(row.state == WAITING for row in members):
            found.append(_again(told[-1], "reminder", now, members[-1].key))
    return found


def escalations_due(
    rows: Sequence[NoticeRow], steps: Mapping[str, Sequence[Step]], handled: Mapping[Key, EpisodeRow], now: datetime
) -> Iterator[Due]:
    """Steps of escalations whose time has come. An acknowledgement ends the chain, a snooze puts it off.

    Args:
        rows: notices about open episodes that went by routes with escalations, oldest first; and those of the steps.
        steps: by route.
        handled: episodes that somebody has in hand.
        now: the current instant.
    """
    told: dict[tuple[Key, str], NoticeRow] = {}
    taken: set[tuple[Key, str]] = set()
    for row in rows:
        if row.kind == "escalation":
            taken.add((key_of(row), row.route))
        elif row.state == SENT and row.kind not in ENDING:
            told.setdefault((key_of(row), row.route), row)
    for (key, route), row in told.items():
        if key in handled or row.done_at is None:
            continue
        for number, step in enumerate(steps.get(route, ()), 1):
            name = step_name(route, number)
            if row.done_at + step.after <= now and (key, name) not in taken:
                yield Due(row, name, step)


def step_name(route: str, number: int) -> str:
    """The route of a step's notices."""
    return f"{route} > step {number}"


def escalated_to(due: Due, places: Iterable[Destination], now: datetime) -> list[NoticeRow]:
    """The notices of a step, one for each destination."""
    told = _again(due.row, "escalation", now, due.row.key)
    return [
        replace(
            told,
            key=digest("escalation", due.route, *map(str, key_of(due.row)), place.receiver, place.recipient),
            receiver=place.receiver,
            recipient=place.recipient,
            route=due.route,
            group_key=digest("escalation", due.row.group_key),
        )
        for place in places
    ]


def _again(row: NoticeRow, kind: str, now: datetime, after: str) -> NoticeRow:
    """The same thing, told once more. Its key says after what, so that of two processes that see to it at once one does."""
    return replace(
        row,
        key=digest(kind, *map(str, row.story), after),
        kind=kind,
        item={**row.item, "kind": kind},
        state=WAITING,
        held_by="",
        why="",
        not_before=now,
        created_at=now,
        done_at=None,
        flush_id=None,
        id=0,
    )


def standing_of(open_: Iterable[EpisodeRow], handled: Mapping[Key, EpisodeRow]) -> set[Key]:
    """Episodes that go on, and that nobody has in hand."""
    return {key for one in open_ if (key := key_of(one)) not in handled and one.series_key}
