"""Who is told of a round's notices: written down with the round, sent when it is time. The second half of evaluating.

``ready_notices`` before the transaction, ``write_notices`` inside of it, ``flush_notices`` after it, and when time has passed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, TypeAlias

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup, Contact
from kpid.alerting.gates import ASK_AGAIN, Gate, load_gate
from kpid.alerting.groups import FlushFacts, FlushPlan, plan_flush
from kpid.alerting.letters import Letter, letter_of, load_newest, send_letters
from kpid.alerting.matchers import Labels, labels_of
from kpid.alerting.notices import ThreadNotice
from kpid.alerting.recipients import Destination, Missing, destinations, owner_of, people_asked
from kpid.alerting.routes import Way, digest, group_key_of, is_health_group, ways_of
from kpid.alerting.rules import need_of
from kpid.config.model import Rule
from kpid.errors import KpidError
from kpid.model import NoticeItem, Period
from kpid.store import groups, notices, problems
from kpid.store.engine import Store
from kpid.store.frames import item_dump
from kpid.store.groups import GroupId
from kpid.store.notices import ENDING, OPENING, NoticeRow, Past, Story

log = logging.getLogger(__name__)

_MOST_LISTED = 10
"""Of so many series of a notice the records behind their counts are listed."""
_BATCH = 100
"""So many messages go into the outbox in one transaction."""


@dataclass(frozen=True, slots=True)
class ReadyItem:
    """One series of a notice, and where it goes."""

    item: NoticeItem
    labels: Labels
    names: Mapping[str, str | None]
    sources: tuple[str, ...]
    goes_to: tuple[Destination, ...]


Heard: TypeAlias = Mapping[tuple[str, int], Mapping[tuple[str, str], Past]]
"""Who has heard of an episode before (receiver and address), by series key and number."""


class Ready(NamedTuple):
    """A notice with all that takes long done already, so that no transaction waits for it."""

    notice: ThreadNotice
    items: tuple[ReadyItem, ...]
    missing: tuple[Missing, ...]


def ready_notices(setup: AlertingSetup, rule: Rule, notices: Sequence[ThreadNotice]) -> list[Ready]:
    """Do what takes long: look up people and the records behind counts, and find out who is to hear of what."""
    return [_ready(setup, rule, each) for each in notices]


def _ready(setup: AlertingSetup, rule: Rule, each: ThreadNotice) -> Ready:
    notice = each.notice
    sources = setup.sources_of(notice.kpi) if notice.kpi else ()
    found: list[tuple[NoticeItem, Labels, dict[str, str | None], list[Way]]] = []
    for item in _with_rows(setup, rule, each):
        dims = each.subjects[item.series_key][0] if item.series_key in each.subjects else ()
        names = {segment.dimension: segment.name for segment in dims}
        labels = labels_of(notice, item, sources, names)
        found.append((item, labels, names, ways_of(labels, rule.to, setup.routes)))
    asking = [item for item, _, _, ways in found if people_asked(ways)]
    contacts = contacts_of(setup, asking)
    items: list[ReadyItem] = []
    missing: dict[Missing, None] = {}
    for item, labels, names, ways in found:
        goes_to, unknown = destinations(ways, item, contacts, setup.owners)
        items.append(ReadyItem(item, labels, names, tuple(sources), tuple(goes_to)))
        missing.update(dict.fromkeys(unknown))
    return Ready(each, tuple(items), tuple(missing))


def contacts_of(setup: AlertingSetup, items: Sequence[NoticeItem]) -> Mapping[str, Contact]:
    """The owners of series, and their managers."""
    owners = sorted({owner for item in items if (owner := owner_of(item)) is not None})
    if not owners:
        return {}
    people = dict(setup.contacts(owners))
    managers = sorted({one.manager_id for one in people.values() if one.manager_id is not None} - set(people))
    return {**people, **(setup.contacts(managers) if managers else {})}


def _with_rows(setup: AlertingSetup, rule: Rule, each: ThreadNotice) -> Iterator[NoticeItem]:
    """The items, with the records behind the first ones if the rule asks for them."""
    kpi = setup.kpis.get(rule.kpi)
    for number, item in enumerate(each.notice.items):
        subject = each.subjects.get(item.series_key)
        wanted = rule.rows if number < _MOST_LISTED and item.kind in {"fired", "escalated"} else None
        if wanted is None or kpi is None or subject is None or subject[1].start is None:
            yield item
            continue
        dims, slot = subject
        period = Period(rule.period, slot.begun, slot.at, slot.label)
        yield replace(item, rows=setup.rows(need_of(rule, kpi), period, dims, wanted))


def write_notices(
    conn: Connection,
    setup: AlertingSetup,
    rule: Rule,
    ready: Sequence[Ready],
    ids: Mapping[tuple[str, int], int],
    now: datetime,
) -> int:
    """Put a rule's notices down, in the transaction of what they tell of. No message is made yet: 0 of them are new.

    Args:
        conn: of the transaction.
        setup: rules and receivers.
        rule: the one that they are about.
        ready: what :func:`ready_notices` gave.
        ids: the episodes' numbers for people, by ``(series key, episode)``.
        now: the current instant.
    """
    heard = load_heard(conn, rule.uid, ready)
    rows: list[NoticeRow] = []
    for each in ready:
        frame = notices.save_frame(conn, replace(each.notice.notice, items=(), uid=rule.uid))
        for one in each.items:
            key = (one.item.series_key, one.item.episode)
            rows.extend(rows_of(rule, each.notice, one, heard, frame, now, ids.get(key, one.item.event_id)))
        for gone in each.missing:
            text = f"the owner {gone.who} cannot be told of rule {rule.name}: {gone.why}"
            hint = "The receiver under `owners: else:` was told instead. Mend the person in the CRM, or the rule's owner"
            problems.note(conn, f"owner:{gone.who}", text, hint, now)
    notices.add(conn, rows)
    return 0


def load_heard(conn: Connection, uid: str, ready: Iterable[Ready]) -> Heard:
    """Who has heard before of the episodes that these notices are about; nobody has of what only fires now."""
    keys = [one.item.series_key for each in ready for one in each.items if one.item.kind != "fired"]
    found: dict[tuple[str, int], dict[tuple[str, str], Past]] = {}
    for story, past in (notices.pasts(conn, uid, keys) if keys else {}).items():
        found.setdefault((story.series_key, story.episode), {})[story.receiver, story.recipient] = past
    return found


def rows_of(
    rule: Rule, each: ThreadNotice, one: ReadyItem, known: Heard, frame: str, now: datetime, number: int
) -> Iterator[NoticeRow]:
    """One row for each destination: of what ends or eases also those that heard of it before, whatever routes say now.

    Args:
        rule: the one that it is about.
        each: the notice.
        one: a series of it, and where that goes.
        known: who has heard of it.
        frame: key of what the notice's rows have in common.
        now: the current instant.
        number: the episode's, for people; 0 if it has none yet.
    """
    item = one.item
    heard = known.get((item.series_key, item.episode), {})
    places = {(place.receiver, place.recipient): place for place in one.goes_to}
    if item.kind in ENDING and heard:
        wanted = list(heard)
    elif item.kind in {"eased", "flapping", "steady"}:
        wanted = list(dict.fromkeys((*heard, *places)))
    else:
        wanted = list(places)
    dump = {
        **item_dump(item),
        "names": {name: called for name, called in one.names.items() if called},
        "sources": list(one.sources),
        **({"event_id": number} if number else {}),
    }
    for receiver, recipient in wanted:
        past, place = heard.get((receiver, recipient)), places.get((receiver, recipient))
        if past is not None and (place is None or item.kind in ENDING):
            route, group_key = past.route, past.group_key
        elif place is not None:
            route, group_key = place.way.route, group_key_of(place.way, one.labels, each.thread)
        wait = place.way.pace.wait if place is not None and item.kind in OPENING else now - now
        slot = each.notice.slot
        facts = (rule.uid, item.series_key, str(item.episode), item.kind, item.level.value, slot.isoformat())
        yield NoticeRow(
            key=digest(*facts, receiver, recipient, str(past.rows if past else 0)),
            kind=item.kind,
            rule_uid=rule.uid,
            series_key=item.series_key,
            episode=item.episode,
            receiver=receiver,
            recipient=recipient,
            group_key=group_key,
            thread=each.thread,
            route=route,
            frame=frame,
            item=dump,
            level=item.level.value,
            slot=slot,
            not_before=now + wait,
            created_at=now,
        )


def flush_notices(setup: AlertingSetup, *, store: Store, now: datetime) -> int:
    """Send on what has been put down and is due; returns how many messages are new in the outbox."""
    with store.read() as conn:
        if not notices.is_due(conn, now):
            return 0
        rows = notices.list_waiting(conn)
        gate = load_gate(conn, setup, notices.load_frames(conn, {row.frame for row in rows}), now)
        gate.newest = load_newest(conn, rows)
        facts = _facts(conn, rows, gate)
    plan = plan_flush(rows, facts)
    _settle(store, setup, plan, now)
    sent = 0
    for start in range(0, len(plan.flushes), _BATCH):
        letters: list[Letter] = []
        for flush in plan.flushes[start : start + _BATCH]:
            try:
                letters.append(letter_of(setup, flush, gate, now))
            except KpidError as error:
                _put_off(store, [line.row for line in flush.lines], error, now)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:  # one that harms no other
                log.exception("a notice could not be written")
                rows = [line.row for line in flush.lines]
                _put_off(store, rows, KpidError(f"{type(error).__name__}: {error}"), now)
        sent += send_letters(store, letters, now)
    return sent


def _facts(conn: Connection, rows: Sequence[NoticeRow], gate: Gate) -> FlushFacts:
    keys: dict[str, set[str]] = {}
    for row in rows:
        keys.setdefault(row.rule_uid, set()).add(row.series_key)
    fresh = all(row.kind == "fired" and not row.held_by for row in rows)
    pasts: dict[Story, Past] = {}
    for uid, wanted in keys.items() if not fresh else ():
        pasts.update(notices.pasts(conn, uid, sorted(wanted)))
    known = groups.load_groups(conn, {GroupId(row.receiver, row.recipient, row.group_key) for row in rows})

    def is_health(row: NoticeRow) -> bool:
        return not row.series_key and is_health_group(row.group_key, gate.labels(row))

    return FlushFacts(gate.now, pasts, known, gate.held, gate.pace, is_health)


def _settle(store: Store, setup: AlertingSetup, plan: FlushPlan, now: datetime) -> None:
    """Write down what is told to nobody, and what waits on; messages to receivers that are gone are given up, visibly."""
    strange = [flush for flush in plan.flushes if flush.id.receiver not in setup.recipients]
    plan.flushes = [flush for flush in plan.flushes if flush not in strange]
    if not (plan.dropped or plan.held or plan.folded or plan.grown or strange):
        return
    with store.write() as conn:
        for reason in dict.fromkeys(why for _, why in plan.dropped):
            notices.settle(conn, [row for row, why in plan.dropped if why == reason], notices.DROPPED, now, why=reason)
        for reason in dict.fromkeys(why for _, why in plan.folded):
            notices.settle(conn, [row for row, why in plan.folded if why == reason], notices.FOLDED, now, why=reason)
        notices.hold(conn, [(row, held.until, held.by or row.held_by) for row, held in plan.held])
        groups.save_groups(conn, plan.grown, now)
        for flush in strange:
            gone = [*(line.row for line in flush.lines), *flush.folded]
            why = f"there is no receiver {flush.id.receiver!r} in the configuration any more"
            notices.settle(conn, gone, notices.DROPPED, now, why=why)
            uids = ", ".join(dict.fromkeys(row.rule_uid for row in gone))
            problems.note(conn, f"receiver:{flush.id.receiver}", f"{why}: nobody was told of {uids}", "Mend `to:`", now)


def _put_off(store: Store, rows: Sequence[NoticeRow], error: KpidError, now: datetime) -> None:
    """A message that cannot be written is a problem; it is tried again in a while, and the others go on."""
    with store.write() as conn:
        notices.hold(conn, [(row, now + ASK_AGAIN, row.held_by) for row in rows])
        for uid in dict.fromkeys(row.rule_uid for row in rows):
            problems.note(
                conn, f"notices:{uid}", f"a notice of rule {uid} cannot be written: {error.what}", error.hint or "", now
            )
