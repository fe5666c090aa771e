"""Sees to what time brings, between evaluations: reminders, escalations, the end of snoozes; then whatever is due is told.

Cheap when there is nothing to do: a few indexed look-ups.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.flush import contacts_of, flush_notices
from kpid.alerting.marks import mark_handled
from kpid.alerting.recipients import Destination, destinations, people_asked
from kpid.alerting.reminders import Due, Key, escalated_to, escalations_due, key_of, reminders_due, standing_of
from kpid.alerting.routes import Way, escalations, paces, route_now
from kpid.config.alerting import Route
from kpid.errors import KpidError
from kpid.store import episodes, groups, handling, notices
from kpid.store.engine import Store
from kpid.store.episodes import EpisodeRow
from kpid.store.frames import item_from_dump
from kpid.store.groups import GroupId, GroupRow
from kpid.store.notices import NoticeRow


@dataclass(frozen=True, slots=True)
class Tended:
    """What was done: messages put into the outbox, reminders and escalations written down."""

    messages: int = 0
    reminders: int = 0
    escalations: int = 0


@dataclass
class _Found:
    """What is due, and what is to be written down of it."""

    reminders: list[NoticeRow]
    over: list[int]
    repeated: dict[GroupId, datetime | None]
    steps: list[Due]


def has_work(conn: Connection, routes: Sequence[Route], now: datetime) -> bool:
    """Whether there may be anything to see to."""
    return (
        notices.is_due(conn, now)
        or groups.has_to_repeat(conn, now)
        or groups.has_expired(conn, now)
        or any(route.escalate for route in routes)
    )


def tend(setup: AlertingSetup, *, store: Store, now: datetime) -> Tended:
    """Write down reminders and escalations that are due, then put what is to be told into the outbox.

    Args:
        setup: routes and receivers.
        store: holds notices, groups and outbox.
        now: the current instant.
    """
    with store.read() as conn:
        if not has_work(conn, setup.routes, now):
            return Tended()
        found = _found(conn, setup, now)
    steps = [row for due in found.steps for row in escalated_to(due, _places(setup, due), now)]
    if found.reminders or found.over or found.repeated or steps:
        with store.write() as conn:
            groups.put_back(conn, found.over, now)
            for one in handling.load_episodes(conn, found.over).values():
                notices.wake_episode(conn, *one.key, now)  # what waits for a later end than this
            mark_handled(conn, setup, found.over, now)
            for key, at in found.repeated.items():
                groups.repeat_at(conn, key, at, now)
            new = notices.add(conn, [*found.reminders, *steps])
    else:
        new = 0
    sent = flush_notices(setup, store=store, now=now)
    return Tended(sent, min(new, len(found.reminders)), len(steps))


def _found(conn: Connection, setup: AlertingSetup, now: datetime) -> _Found:
    in_hand = groups.handled_episodes(conn)
    over = [one for one in in_hand if one.handled_until is not None and one.handled_until <= now]
    handled: dict[Key, EpisodeRow] = {key_of(one): one for one in in_hand if one not in over}
    due = groups.list_to_repeat(conn, now)
    found = _Found([], [one.id for one in over], {}, [])
    if due or over:
        standing = standing_of(episodes.list_open(conn), handled)
        about = [row for one in over for row in notices.list_of_episode(conn, *key_of(one))]
        for key, group in due.items():
            rows = notices.list_of_group(conn, *key, since=group.first_at or now)
            about += rows
            found.repeated[key] = _next_repeat(setup, group, rows, now)
        found.reminders = reminders_due({row.id: row for row in about}.values(), standing, now)
    steps = escalations(setup.routes)
    if steps:
        rows = [_as_now(row, steps) for row in groups.open_of_routes(conn, list(steps))]
        found.steps = list(escalations_due(rows, steps, handled, now))
    return found


def _as_now(row: NoticeRow, routes: Collection[str]) -> NoticeRow:
    """The row with the name that its route has today."""
    route, sign, step = row.route.partition(" > step ")
    now = route_now(route, routes)
    return row if now == route else replace(row, route=f"{now}{sign}{step}")


def _next_repeat(setup: AlertingSetup, group: GroupRow, rows: Sequence[NoticeRow], now: datetime) -> datetime | None:
    """When to look again, should this reminder be held back; the message that goes out says anew."""
    known = paces(setup.routes)
    pace = next((found for row in rows if (found := known.get(route_now(row.route, known))) is not None), None)
    pause = None if pace is None else pace.pause(group.repeats)
    return None if pause is None or not group.open else now + pause


def _places(setup: AlertingSetup, due: Due) -> Sequence[Destination]:
    """Where a step goes; if people cannot be looked up just now, to those who are told instead of them."""
    ways = [Way(to, due.route) for to in due.step.to]
    item = item_from_dump(due.row.item)
    try:
        contacts = contacts_of(setup, [item]) if people_asked(ways) else {}
    except KpidError:
        contacts = {}
    return destinations(ways, item, contacts, setup.owners)[0]
