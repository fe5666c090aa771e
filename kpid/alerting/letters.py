"""A group of notices as messages: composed outside of any transaction, put into the outbox together with what it settles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup, Telling
from kpid.alerting.gates import Gate
from kpid.alerting.groups import Flush, Line
from kpid.alerting.outcomes import OutcomeKind, outcome_from_dump
from kpid.alerting.routes import digest
from kpid.analysis.wording import when_text
from kpid.model import Level, Notice, NoticeItem
from kpid.plugin.notifier import Action, Message
from kpid.store import alerts, episodes, groups, notices, problems
from kpid.store.engine import Store
from kpid.store.episodes import EpisodeKey
from kpid.store.frames import item_from_dump
from kpid.store.groups import GroupRow
from kpid.store.notices import ENDING, NoticeRow
from kpid.store.outbox import enqueue_all

_FIRST_OF = ("escalation", "fired", "escalated", "unhealthy", "config", "reminder", "digest", "flapping", "steady", "eased")
_FIGURES = ("value", "n", "previous", "previous_label", "reason", "low", "high", "p", "baseline", "baseline_label", "effect")
_TO_BE_RENEWED = frozenset({"reminder", "escalation", "digest"})


@dataclass(frozen=True)
class Letter:
    """One message for all its recipients, and the rows that it settles."""

    flush: Flush
    flush_id: str
    messages: Sequence[Message]
    thread: str
    origin: str
    group: GroupRow


class _TakenError(Exception):
    """Another process has just told it."""


def letter_of(setup: AlertingSetup, flush: Flush, gate: Gate, now: datetime) -> Letter:
    """Compose what a group is told, once for each recipient.

    Raises:
        KpidError: it cannot be written.
    """
    flush_id = digest("flush", flush.id.receiver, flush.id.recipient, *(line.row.key for line in flush.lines))
    told = _notices(setup, flush.lines, gate, now)
    thread = flush.group.thread or _thread(flush)
    found = []
    for recipient in _recipients(setup, flush):
        actions = setup.actions(f"flush:{flush_id}", recipient, now) if _goes_on(flush.lines) else ()
        written = _composed(setup, told, flush, recipient, actions)
        for number, message in enumerate(written):
            key = message_key(flush_id, flush.id.receiver, recipient, number)
            told_all = not flush.group.open
            found.append(replace(message, key=key, recipient=recipient, thread=thread, closes_thread=told_all))
    uids = list(dict.fromkeys(notice.uid for notice in told))
    labels = list(dict.fromkeys(notice.period_label for notice in told))
    origin = f"rule {uids[0]} {labels[0]}".strip() if len(uids) == 1 else f"{len(uids)} rules"
    pause = gate.pace(flush.lines[0].row).pause(flush.group.repeats)
    repeats = flush.group.open > 0 and pause is not None and any(line.row.series_key for line in flush.lines)
    at = now + pause if repeats and pause is not None else None
    return Letter(flush, flush_id, found, thread, origin, replace(flush.group, thread=thread, next_repeat_at=at))


def message_key(flush_id: str, receiver: str, recipient: str, number: int = 0) -> str:
    """The key of what a group was told."""
    return digest(flush_id, receiver, recipient, str(number))


def send_letters(store: Store, letters: Sequence[Letter], now: datetime) -> int:
    """Put messages into the outbox and settle their rows, all in one transaction; returns how many messages were new.

    What another process has told in the meantime is left out.
    """
    if not letters:
        return 0
    with store.write() as conn:
        try:
            with conn.begin_nested():
                return _send(conn, letters, now)
        except _TakenError:
            return sum(_send_alone(conn, letter, now) for letter in letters)


def _send_alone(conn: Connection, letter: Letter, now: datetime) -> int:
    try:
        with conn.begin_nested():
            return _send(conn, [letter], now)
    except _TakenError:
        return 0


def _send(conn: Connection, letters: Sequence[Letter], now: datetime) -> int:
    fates = [fate for letter in letters for fate in _fates(letter)]
    if notices.settle_each(conn, fates, now) != len(fates):
        raise _TakenError
    groups.save_groups(conn, {letter.flush.id: letter.group for letter in letters}, now)
    told = [(message, letter.flush.id.receiver, letter.origin) for letter in letters for message in letter.messages]
    rows = [line.row for letter in letters for line in letter.flush.lines]
    levels = {EpisodeKey(row.rule_uid, row.series_key, row.episode): Level(row.level) for row in rows if row.kind not in ENDING}
    episodes.told(conn, levels, now)
    problems.clear_all(conn, {f"notices:{row.rule_uid}" for row in rows})
    return enqueue_all(conn, told, now=now)


def _fates(letter: Letter) -> Iterator[tuple[NoticeRow, str, str, str | None, str]]:
    for line in letter.flush.lines:
        yield line.row, notices.SENT, letter.flush_id, letter.thread, ""
    for row in letter.flush.folded:
        yield row, notices.FOLDED, letter.flush_id, None, "told by a later notice"


def _recipients(setup: AlertingSetup, flush: Flush) -> Sequence[str]:
    receiver, recipient, _ = flush.id
    return (recipient,) if recipient else tuple(setup.recipients[receiver])


def _thread(flush: Flush) -> str:
    """The thread that a group begins: that of its first alert, told apart from other groups of the same alert."""
    first = flush.lines[0].row
    own = first.thread or first.rule_uid
    return own if first.group_key == digest("thread", own) else f"{own}/{first.group_key[:12]}"[:200]


def _goes_on(lines: Sequence[Line]) -> bool:
    return any(line.row.kind not in ENDING for line in lines)


def _composed(
    setup: AlertingSetup, told: Sequence[Notice], flush: Flush, recipient: str, actions: tuple[Action, ...]
) -> Sequence[Message]:
    """The message; without a way to put several notices into one, a message for each."""
    if setup.bundle is None:
        return [replace(setup.compose(notice), actions=actions) for notice in told]
    page = flush.id.receiver not in setup.pageless
    telling = Telling(recipient, _kind(flush.lines), actions, "", flush.lines[0].row.route, page)
    return [setup.bundle(told, telling)]


def _kind(lines: Sequence[Line]) -> str:
    kinds = [line.kind for line in lines]
    return next((kind for kind in _FIRST_OF if kind in kinds), kinds[0])


def _notices(setup: AlertingSetup, lines: Sequence[Line], gate: Gate, now: datetime) -> list[Notice]:
    """The lines as notices again, those that have a frame in common together."""
    members: dict[str, list[NoticeItem]] = {}
    for line in lines:
        members.setdefault(line.row.frame, []).append(_item(setup, line, gate, now))
    return [replace(gate.frames[frame], items=tuple(items), now=now) for frame, items in members.items()]


def _item(setup: AlertingSetup, line: Line, gate: Gate, now: datetime) -> NoticeItem:
    """What is told of a series: as it was written down; if that was some time ago with the newest figures, and why so late."""
    kind = "config" if line.kind == "config_ended" else line.kind  # its level says that it is over
    item = replace(item_from_dump(line.row.item), kind=kind)
    if line.row.held_by:
        until = when_text(now, setup.calendar.timezone, now)
        item = replace(item, held=f"held back by {line.row.held_by} until {until}")
    one = gate.handling(line.row)
    if one is not None:
        until = f" until {when_text(one.handled_until, setup.calendar.timezone, now)}" if one.handled_until else ""
        item = replace(item, handling=f"{one.handling} by {one.handled_by}{until}")
    last = gate.newest.get((line.row.rule_uid, line.row.series_key))
    return item if last is None or line.kind in ENDING else renewed(item, last)


def renewed(item: NoticeItem, last: Mapping[str, object]) -> NoticeItem:
    """The item with the figures of the last evaluation, if that could tell the value."""
    outcome = outcome_from_dump(last)
    if outcome.kind not in {OutcomeKind.BREACH, OutcomeKind.HOLD, OutcomeKind.CLEAR}:
        return item
    found: dict[str, Any] = {name: getattr(outcome, name) for name in _FIGURES}
    limits: dict[str, Any] = (
        {"threshold": outcome.threshold, "limit": outcome.limit} if outcome.kind is OutcomeKind.BREACH else {}
    )
    if outcome.value != item.value:  # what moved the value of then is no reason for that of now
        limits |= {"causes": (), "moved_from": ""}
    return replace(item, **found, **limits)


def needs_newest(row: NoticeRow) -> bool:
    """Whether a notice is told with figures that are newer than it is."""
    return bool(row.held_by) or row.kind in _TO_BE_RENEWED


def load_newest(conn: Connection, rows: Sequence[NoticeRow]) -> dict[tuple[str, str], Mapping[str, object]]:
    """The last outcome of the series that such notices are about, by rule and key."""
    wanted = {(row.rule_uid, row.series_key) for row in rows if row.series_key and needs_newest(row)}
    found: dict[tuple[str, str], Mapping[str, object]] = {}
    for uid in {uid for uid, _ in wanted}:
        for key, one in alerts.load_series(conn, uid).items():
            if (uid, key) in wanted and "last" in one.state:
                found[uid, key] = one.state["last"]
    return found
