"""What rounds have found goes into the store: series, evaluations, events, episodes, notices of many rules in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Track
from kpid.alerting.flush import Ready, write_notices
from kpid.alerting.health import RuleHealth
from kpid.alerting.rounds import Round
from kpid.alerting.rows import event_rows, health_event_rows, judged_rows
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, EventKind, Slot
from kpid.config.model import Rule
from kpid.model import Dims, Level
from kpid.store import alerts, episodes, problems
from kpid.store.episodes import EpisodeKey, EpisodeRow, Turn

_LEVELS = {EventKind.ESCALATED, EventKind.EASED, EventKind.RESTATED}
_FLAPS = {EventKind.FLAPPING: True, EventKind.STEADY: False}


@dataclass(frozen=True)
class Judged:
    """A rule that has been judged: from which row, up to which slot, with what result, and what people are told of it."""

    plan: RulePlan
    row: alerts.RuleRow | None
    last_slot: datetime | None
    found: Round
    ready: Sequence[Ready]


@dataclass(frozen=True, slots=True)
class Stored:
    """How much was written: evaluations, events, notices."""

    evaluations: int = 0
    events: int = 0
    notices: int = 0


def store_rounds(
    conn: Connection, setup: AlertingSetup, judged: Sequence[Judged], now: datetime, noted: Callable[[str], bool]
) -> Stored:
    """Write down what was found; nothing of rules that somebody else has judged meanwhile.

    Args:
        conn: a transaction.
        setup: rules and receivers.
        judged: the rules.
        now: the current instant.
        noted: whether there is a problem of this subject.

    Raises:
        KpidError: a notice cannot be written.
    """
    rows = alerts.load_rules(conn, [one.plan.uid for one in judged])
    mine = [one for one in judged if rows.get(one.plan.uid) == one.row]
    book = EpisodeBook(now)
    for one in mine:
        book.take_round(one.plan, one.found)
    numbers = episodes.open_rows(conn, list(book.rows.values()))
    episodes.turn_rows(conn, book.turns, now)
    told = {EpisodeKey(one.plan.uid, *key) for one in mine for key in _keys(one.ready)}
    numbers.update(episodes.numbers_of(conn, {*(turn.key for turn in book.turns), *told} - set(numbers)))
    rounds = [judged_rows(one.plan, one.found, now) for one in mine]
    evaluated = [row for _, rows in rounds for row in rows]
    happened = [row for one in mine for row in _events(one, now, numbers)]
    alerts.save_series(conn, [row for rows, _ in rounds for row in rows])
    alerts.add_evaluations(conn, evaluated)
    alerts.add_events(conn, happened)
    alerts.save_rules(conn, [_rule_row(one, now) for one in mine])
    for one in mine:
        _note_health(conn, one.plan.rule, one.found.health, now, noted)
    sent = sum(_write(conn, setup, one.plan.rule, one.ready, numbers, now) for one in mine)
    return Stored(len(evaluated), len(happened), sent)


def store_end(
    conn: Connection,
    setup: AlertingSetup,
    rule: Rule | None,
    uid: str,
    tracks: Sequence[Track],
    ready: Sequence[Ready],
    now: datetime,
) -> Stored:
    """Write down the end of a rule that is gone or paused: events, episodes, notices.

    Args:
        conn: a transaction.
        setup: rules and receivers.
        rule: the rule, if it is still known.
        uid: its identity.
        tracks: what was closed of it.
        ready: the notices about it.
        now: the current instant.
    """
    book = EpisodeBook(now)
    for track in tracks:
        book.take(uid, track, {})
    kind = next((event.kind for track in tracks for event in track.events), EventKind.PAUSED)
    unwell = [row.key for row in episodes.list_open(conn, rule_uid=uid) if not row.series_key]
    turns = [*book.turns, *(Turn(key, end_kind=kind.value, end_slot=now) for key in unwell)]
    episodes.turn_rows(conn, turns, now)
    numbers = episodes.numbers_of(conn, {turn.key for turn in turns})
    happened = [row for track in tracks for row in event_rows(uid, track, now, numbers)]
    alerts.add_events(conn, happened)
    problems.clear(conn, f"rule:{uid}/data")
    return Stored(0, len(happened), 0 if rule is None else _write(conn, setup, rule, ready, numbers, now))


class EpisodeBook:
    """Episodes that have begun in a round, and what has become of others: the newest state of each.

    Args:
        now: the current instant.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.rows: dict[EpisodeKey, EpisodeRow] = {}
        self.turns: list[Turn] = []

    def take_round(self, plan: RulePlan, found: Round) -> None:
        """All that has happened to a rule's series, and to its own data."""
        for track in found.tracks:
            if track.events:
                self.take(plan.uid, track, plan.rule.labels)
        for turn in found.health_events:
            key = EpisodeKey(plan.uid, "", turn.health.episode)
            if turn.kind is EventKind.HEALTHY:
                self._turn(Turn(key, end_kind=turn.kind.value, end_slot=turn.slot.at))
            elif key not in self.rows and turn.health.episode > found.health_before.episode:
                since = turn.health.bad.since if turn.health.bad else turn.slot.at
                labels = {**plan.rule.labels, "kind": "health"}
                self.rows[key] = self._row(key, turn.slot, Level.WARN, since, labels, found.health.thread)

    def take(self, uid: str, track: Track, labels: Mapping[str, str]) -> None:
        """All that has happened to one series. What fires while it flaps, flaps."""
        flaps = track.start.flap_told
        for event in track.events:
            flaps = _FLAPS.get(event.kind, flaps)
            key = EpisodeKey(uid, track.key, event.episode)
            if event.kind is EventKind.FIRED:
                stands = track.state.status.is_on and track.state.episode == event.episode
                since, thread = (track.state.since_at, track.state.thread) if stands else (None, "")
                self.rows[key] = self._row(key, event.slot, event.level, since, labels, thread, dims=track.dims, flaps=flaps)
            else:
                self._turn(_turn_of(key, event))

    def _row(
        self,
        key: EpisodeKey,
        slot: Slot,
        level: Level,
        since: datetime | None,
        labels: Mapping[str, str],
        thread: str,
        *,
        dims: Dims = (),
        flaps: bool = False,
    ) -> EpisodeRow:
        return EpisodeRow(
            *key,
            segment={one.dimension: one.id for one in dims},
            names={one.dimension: one.name for one in dims},
            labels=dict(labels),
            thread=thread,
            level=level.value,
            opened_slot=slot.at,
            opened_at=self.now,
            updated_at=self.now,
            since_at=since,
            flapping=flaps,
        )

    def _turn(self, turn: Turn) -> None:
        row = self.rows.get(turn.key)
        if row is None:
            self.turns.append(turn)
            return
        if turn.level is not None:
            row = replace(row, level=turn.level.value)
        if turn.flapping is not None:
            row = replace(row, flapping=turn.flapping)
        if turn.end_kind:
            row = replace(row, end_kind=turn.end_kind, ended_slot=turn.end_slot, ended_at=self.now)
        self.rows[turn.key] = row


def _turn_of(key: EpisodeKey, event: Event) -> Turn:
    if event.kind in _FLAPS:
        return Turn(key, flapping=_FLAPS[event.kind])
    if event.ends_episode:
        return Turn(key, end_kind=event.kind.value, end_slot=event.slot.at)
    return Turn(key, level=event.level if event.kind in _LEVELS else None)


def _events(one: Judged, now: datetime, numbers: Mapping[EpisodeKey, int]) -> Iterator[alerts.EventRow]:
    for track in one.found.tracks:
        if track.events:
            yield from event_rows(one.plan.uid, track, now, numbers)
    yield from health_event_rows(one.plan.uid, one.found, now, numbers)


def _keys(ready: Iterable[Ready]) -> set[tuple[str, int]]:
    return {(item.series_key, item.episode) for each in ready for item in each.notice.notice.items}


def _write(
    conn: Connection, setup: AlertingSetup, rule: Rule, ready: Sequence[Ready], numbers: Mapping[EpisodeKey, int], now: datetime
) -> int:
    if not ready:
        return 0
    ids = {key: number for key in _keys(ready) if (number := numbers.get(EpisodeKey(rule.uid, *key))) is not None}
    return write_notices(conn, setup, rule, ready, ids, now)


def _rule_row(one: Judged, now: datetime) -> alerts.RuleRow:
    plan = one.plan
    rule: dict[str, Any] = plan.rule.model_dump(mode="json", by_alias=True)
    return alerts.RuleRow(plan.uid, plan.meaning, one.last_slot, one.found.health.dump(), now, rule)


def _note_health(conn: Connection, rule: Rule, health: RuleHealth, now: datetime, noted: Callable[[str], bool]) -> None:
    """A rule that cannot be judged is a problem at once; people are only told when it lasts."""
    subject = f"rule:{rule.uid}/data"
    if health.bad is not None:
        text = f"rule {rule.name} cannot be judged since {health.bad.label}: {health.reason}"
        problems.note(conn, subject, text, "Look at the sources: `kpid doctor` and `kpid sync` say what is wrong with them", now)
    elif noted(subject):
        problems.clear(conn, subject)
