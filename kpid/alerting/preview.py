"""What would be sent now, to whom, and what would hold it back. Reads; writes nothing.

A rule that has been judged before is taken through what has come due since, as its next round will. One that never was, or any
rule at an instant of the past, is taken through the figures that it is given, as if it had been there then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kpid.alerting.absence import AbsenceWalk
from kpid.alerting.causes import told_of_round
from kpid.alerting.contracts import AlertingSetup, Telling
from kpid.alerting.facts import Facts, Track
from kpid.alerting.flush import Heard, Ready, load_heard, ready_notices, rows_of
from kpid.alerting.gates import Gate, load_gate
from kpid.alerting.groups import Held
from kpid.alerting.notices import thread_name
from kpid.alerting.recipients import Missing
from kpid.alerting.rounds import Round, run_round, with_thread
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import EventKind, Slot
from kpid.alerting.slots import slot_of
from kpid.alerting.walk import Walk
from kpid.config.alerting import Rule
from kpid.model import Dims, Notice, NoticeItem
from kpid.plugin.notifier import Message
from kpid.store.engine import Store
from kpid.store.notices import NoticeRow


@dataclass(frozen=True, slots=True)
class PreviewLetter:
    """One message that would be sent.

    Attributes:
        receiver: through which receiver.
        recipients: to whom of it; empty if there is no such receiver.
        route: by which route.
        held: what would hold it back; None if nothing would.
        wait: so long it would wait for others of its group.
        message: as rendered, without anything to press.
    """

    receiver: str
    recipients: tuple[str, ...]
    route: str
    held: Held | None
    wait: timedelta
    message: Message


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a series would stand."""

    dims: Dims
    status: str
    level: str
    reason: str


@dataclass(frozen=True)
class Preview:
    """What a round would bring. ``slot`` is None if nothing has come due."""

    slot: Slot | None
    letters: tuple[PreviewLetter, ...]
    missing: tuple[Missing, ...]
    standing: tuple[Standing, ...]


def preview(setup: AlertingSetup, plan: RulePlan, facts: Facts, *, store: Store, now: datetime, lived: bool = False) -> Preview:
    """Judge what is due and render what people would be told.

    Args:
        setup: routes, windows, receivers, how messages are made.
        plan: the rule.
        facts: what is known, and what is due.
        store: what holds notices back is read from it.
        now: the instant that windows and silences are looked at.
        lived: the due periods were judged one by one, each when it had ended: only what the last one brings is told.
    """
    walk = Walk if plan.rule.absence is None else AbsenceWalk
    found = _last_of(plan, facts, setup) if lived else run_round(plan, facts, setup.calendar, setup, None, walk)
    if found.newest is None or not facts.due:
        return Preview(None, (), (), ())
    with store.read() as conn:
        _, told = told_of_round(conn, setup, plan, facts, found, now)
        gate = load_gate(conn, setup, {}, now)
        ready = ready_notices(setup, plan.rule, told)
        heard = {} if lived else load_heard(conn, plan.uid, ready)
    flapping = frozenset((plan.uid, track.key) for track in found.tracks if track.state.flap_told)
    gate = replace(gate, flapping=flapping)
    if lived:  # who has what in hand today says nothing of then
        gate = replace(gate, handled=(), open=())
    missing = dict.fromkeys(one for each in ready for one in each.missing)
    return Preview(found.newest, tuple(_letters(setup, plan.rule, gate, ready, heard)), tuple(missing), _standing(found.tracks))


def _last_of(plan: RulePlan, facts: Facts, setup: AlertingSetup) -> Round:
    """The last slot alone, with the series as the slots before have left them."""
    walk = Walk(plan, facts, setup.calendar, setup)
    tracks = {track.key: track for track in walk.tracks}
    for period in facts.due[:-1]:
        slot, _, events, _ = walk.take(period)
        for key, event in events:
            if event.kind is EventKind.FIRED:
                with_thread(tracks[key], thread_name(plan.uid, slot))
    for track in walk.tracks:
        track.start, track.known = track.state, track.state.last_slot is not None
        track.events.clear()
        track.evaluations.clear()
    before = walk.health
    walk.turns.clear()
    for period in facts.due[-1:]:
        walk.take(period)
    newest = slot_of(facts.due[-1]) if facts.due else None
    return Round(walk.tracks, before, walk.health, walk.turns, newest)


def _standing(tracks: Sequence[Track]) -> tuple[Standing, ...]:
    return tuple(
        Standing(
            track.dims,
            track.state.status.value,
            track.state.level.value,
            track.evaluations[-1].outcome.reason if track.evaluations else "",
        )
        for track in tracks
        if track.state.last_slot is not None
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A series that is told to one destination, and of which notice."""

    frame: str
    item: NoticeItem
    row: NoticeRow
    held: Held | None


def _letters(setup: AlertingSetup, rule: Rule, gate: Gate, ready: Sequence[Ready], heard: Heard) -> Iterator[PreviewLetter]:
    """Messages as they would be grouped: by destination, group and what holds them back."""
    gate.frames = {str(number): each.notice.notice for number, each in enumerate(ready)}
    letters: dict[tuple[str, str, str, Held | None], list[_Line]] = {}
    for number, each in enumerate(ready):
        for one in each.items:
            for row in rows_of(rule, each.notice, one, heard, str(number), gate.now, one.item.event_id):
                line = _Line(str(number), one.item, row, gate.held(row))
                letters.setdefault((row.receiver, row.recipient, row.group_key, line.held), []).append(line)
    for (receiver, recipient, _, held), lines in letters.items():
        recipients = (recipient,) if recipient else tuple(setup.recipients.get(receiver, ()))
        route, wait = lines[0].row.route, max(line.row.not_before for line in lines) - gate.now
        message = _composed(setup, gate.frames, lines, recipients[0] if recipients else "")
        yield PreviewLetter(receiver, recipients, route, held, wait, message)


def _composed(setup: AlertingSetup, frames: Mapping[str, Notice], lines: Sequence[_Line], recipient: str) -> Message:
    members: dict[str, list[NoticeItem]] = {}
    for line in lines:
        members.setdefault(line.frame, []).append(line.item)
    told = [replace(frames[frame], items=tuple(items)) for frame, items in members.items()]
    if setup.bundle is None:
        return setup.compose(told[0])
    return setup.bundle(told, Telling(recipient, lines[0].item.kind, (), "", lines[0].row.route))
