"""The alert about kpid's own configuration: one that cannot be used is told like any other alert, and its end, too.

It has an episode of its own, so that it can be taken up, and goes by the routes of the configuration that is still at work (a
route for ``kind: health``, or any that matches it); where none does, to those who hear of kpid's own health. A silence does not
hide it, and a closed window only puts it off. What is told of it is written down first and sent like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.flush import flush_notices, ready_notices, write_notices
from kpid.alerting.notices import ThreadNotice, thread_name
from kpid.alerting.series import Slot
from kpid.config.model import Rule
from kpid.model import Level, Notice, NoticeItem
from kpid.store import episodes, notices
from kpid.store.engine import Store
from kpid.store.episodes import CONFIGURATION, EpisodeKey, EpisodeRow, Turn

REFUSED, IN_ORDER = "config", "config_ended"


def tell_refused(setup: AlertingSetup, *, store: Store, text: str, notes: Sequence[str], to: Sequence[str], now: datetime) -> int:
    """Tell that the new configuration is not used, once for each fault until it is put right.

    Args:
        setup: of the configuration that is at work.
        store: holds notices and outbox.
        text: what is wrong with the new one.
        notes: what a reader should know besides.
        to: who hears of it where no route says so.
        now: the current instant.

    Returns:
        How many notices were written down; 0 if this has been told already.
    """
    with store.read() as conn:
        known = _open(conn)
        number = known.episode if known else episodes.last_health(conn, [CONFIGURATION]).get(CONFIGURATION, 0) + 1
        if any(row.item.get("reason") == text for row in _told(conn, number)):
            return 0
    item = _item(REFUSED, Level.WARN, number, text, notes)
    written = _write(setup, store, item, known, to, now)
    flush_notices(setup, store=store, now=now)
    return written


def tell_in_order(setup: AlertingSetup, *, store: Store, now: datetime) -> int:
    """Tell those that heard of it that the configuration is in use again; how many notices were written down."""
    with store.read() as conn:
        known = _open(conn)
    if known is None:
        return 0
    written = _write(setup, store, _item(IN_ORDER, Level.NONE, known.episode, "", ()), known, (), now)
    flush_notices(setup, store=store, now=now)
    return written


def _write(
    setup: AlertingSetup, store: Store, item: NoticeItem, known: EpisodeRow | None, to: Sequence[str], now: datetime
) -> int:
    rule = Rule.model_construct(name="configuration", id=CONFIGURATION, to=list(to), kpi="", rows=None)
    thread = known.thread if known else thread_name(CONFIGURATION, Slot(now, ""))
    found = ready_notices(setup, rule, [ThreadNotice(thread, _notice(item, now))])
    ready = [one._replace(missing=()) for one in found]  # nobody's configuration: that it has no owner is no fault
    with store.write() as conn:
        before = len(_told(conn, item.episode))
        key = EpisodeKey(CONFIGURATION, "", item.episode)
        if item.kind == IN_ORDER:
            episodes.turn_rows(conn, [Turn(key, end_kind=IN_ORDER, end_slot=now)], now)
        elif known is None:
            episodes.open_rows(conn, [_episode(key, thread, now)])
        number = episodes.numbers_of(conn, [key]).get(key, 0)
        write_notices(conn, setup, rule, ready, {(key.series_key, key.episode): number}, now)
        return len(_told(conn, item.episode)) - before


def _open(conn: Connection) -> EpisodeRow | None:
    return next(iter(episodes.list_open(conn, rule_uid=CONFIGURATION)), None)


def _told(conn: Connection, number: int) -> list[notices.NoticeRow]:
    return notices.list_of_episode(conn, CONFIGURATION, "", number)


def _episode(key: EpisodeKey, thread: str, now: datetime) -> EpisodeRow:
    blank = EpisodeRow(*key, {}, {}, {"kind": "health"}, thread, Level.WARN.value, opened_slot=now, opened_at=now, updated_at=now)
    return replace(blank, since_at=now)


def _notice(item: NoticeItem, now: datetime) -> Notice:
    blank = Notice("", "", "Configuration", "", None, "none", "", (), "", (item,), now, None, now)
    return replace(blank, kind="health", uid=CONFIGURATION)


def _item(kind: str, level: Level, number: int, text: str, notes: Sequence[str]) -> NoticeItem:
    return NoticeItem(kind, "", "", level, number, None, 0, "", None, None, "", "", reason=text, warnings=tuple(notes))
