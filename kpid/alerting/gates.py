"""What holds a notice back now: flapping, a silence, another alert, somebody who has it in hand, a closed window.

The end of an alert that people were told of is always told: of all these only a closed window, or flapping, puts it off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from functools import cached_property

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.groups import FLAPPING, Held
from kpid.alerting.matchers import Labels, labels_of
from kpid.alerting.routes import Pace, paces, route_now
from kpid.alerting.silences import inhibited_by, silenced_until
from kpid.alerting.windows import is_open, next_opening
from kpid.config.alerting import Rule
from kpid.model import Level, Notice, NoticeItem
from kpid.store import episodes, groups, handling
from kpid.store.episodes import EpisodeRow
from kpid.store.frames import item_from_dump
from kpid.store.handling import Silence
from kpid.store.notices import ENDING, NoticeRow

ASK_AGAIN = timedelta(minutes=1)
"""What another alert holds back is looked at anew so often."""
_FAR = timedelta(days=1)
_ALWAYS_TOLD = frozenset({"flapping", "steady", "config"})
_WORSE = frozenset({"escalated"})
_PUT_OFF = frozenset({"escalation", "config"})
"""What a closed window puts off, even one that drops: there is nobody else who would hear of it."""


@dataclass
class Gate:
    """Says of each notice what holds it back.

    Attributes:
        setup: windows, routes, inhibitions.
        now: the current instant.
        frames: what notices have in common, by key.
        silences: those that are not over.
        handled: open episodes that somebody has in hand.
        flapping: rules and keys of series that flap.
        open: episodes that are open; only looked at where alerts hold back others.
        newest: the last outcome of series whose notices have waited, by rule and key.
    """

    setup: AlertingSetup
    now: datetime
    frames: Mapping[str, Notice]
    silences: Sequence[Silence] = ()
    handled: Sequence[EpisodeRow] = ()
    flapping: frozenset[tuple[str, str]] = frozenset()
    open: Sequence[EpisodeRow] = ()
    newest: Mapping[tuple[str, str], Mapping[str, object]] = field(default_factory=dict)
    _sources: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def held(self, row: NoticeRow) -> Held | None:
        """What holds a notice back; None if nothing does."""
        if (flaps := self._flaps(row)) is not None:
            return flaps
        if row.kind not in ENDING and row.kind not in _ALWAYS_TOLD:
            found = self._silenced(row) or self._in_hand(row)
            if found is not None:
                return found
        return self._closed(row)

    def labels(self, row: NoticeRow) -> Labels:
        """The labels of the alert that a notice is about."""
        notice = self.frames[row.frame]
        return labels_of(notice, item_from_dump(row.item), row.item.get("sources", ()), row.item.get("names", {}))

    def sources(self, kpi: str) -> tuple[str, ...]:
        """The sources that feed a KPI."""
        if kpi not in self._sources:
            self._sources[kpi] = tuple(self.setup.sources_of(kpi)) if kpi else ()
        return self._sources[kpi]

    def handling(self, row: NoticeRow) -> EpisodeRow | None:
        """The episode that a notice is about, if somebody has it in hand."""
        return self._in_hands.get((row.rule_uid, row.series_key, row.episode))

    @cached_property
    def _in_hands(self) -> dict[tuple[str, str, int], EpisodeRow]:
        return {(one.rule_uid, one.series_key, one.episode): one for one in self.handled if one.is_handled(self.now)}

    @cached_property
    def _paces(self) -> dict[str, Pace]:
        return paces(self.setup.routes)

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        return {rule.uid: rule for rule in self.setup.rules}

    @cached_property
    def _firing(self) -> list[Labels]:
        return [self._labels_of_episode(one) for one in self.open]

    def _flaps(self, row: NoticeRow) -> Held | None:
        if row.kind in _ALWAYS_TOLD:
            return None
        if row.held_by == FLAPPING:
            return Held(FLAPPING, row.not_before) if row.not_before > self.now else None
        if (row.rule_uid, row.series_key) not in self.flapping:
            return None
        at = next_digest(row.created_at, self.setup)
        return Held(FLAPPING, at) if at > self.now else None

    def _silenced(self, row: NoticeRow) -> Held | None:
        if not self.silences and not self.setup.inhibit:
            return None
        labels = self.labels(row)
        silenced = silenced_until(labels, self.silences, self.now)
        if silenced is not None:
            return Held(*silenced)
        by = inhibited_by(labels, self._firing, self.setup.inhibit)
        return Held(f"inhibited by {by}", self.now + ASK_AGAIN) if by else None

    def _in_hand(self, row: NoticeRow) -> Held | None:
        one = self.handling(row)
        if one is None or row.kind in _WORSE:
            return None
        return Held(f"{one.handling} by {one.handled_by}", one.handled_until or self.now + _FAR)

    def _closed(self, row: NoticeRow) -> Held | None:
        name = self.pace(row).hours
        window = self.setup.windows.get(name) if name else None
        if name is None or window is None or is_open(window, self.now):
            return None
        drops = window.outside == "drop" and row.kind not in _PUT_OFF
        return Held(f"window {name}", next_opening(window, self.now) or self.now + _FAR, drops)

    def pace(self, row: NoticeRow) -> Pace:
        """At which pace a notice goes: that of its route, as it is configured now."""
        route = row.route.rpartition(" > step ")[0] or row.route
        return self._paces.get(route_now(route, self._paces), Pace())

    def _labels_of_episode(self, one: EpisodeRow) -> Labels:
        rule = self._rules.get(one.rule_uid)
        name, kpi = (rule.name, rule.kpi) if rule is not None else (one.rule_uid, "")
        notice = blank_notice(name, one.rule_uid, kpi, one, self.now)
        return labels_of(notice, _blank_item(one), self.sources(kpi), one.names)


def load_gate(conn: Connection, setup: AlertingSetup, frames: Mapping[str, Notice], now: datetime) -> Gate:
    """All that may hold notices back now."""
    return Gate(
        setup,
        now,
        frames,
        silences=handling.list_silences(conn, at=now),
        handled=groups.handled_episodes(conn),
        flapping=frozenset(groups.flapping_series(conn)),
        open=episodes.list_open(conn) if setup.inhibit else (),
    )


def next_digest(since: datetime, setup: AlertingSetup) -> datetime:
    """When people are told of all that flaps, next after an instant: a time of day on the company's wall clock."""
    calendar = setup.calendar
    at = time.fromisoformat(setup.flapping.digest)
    day = calendar.day_of(since)
    for ahead in range(3):
        found = datetime.combine(day + timedelta(days=ahead), at, calendar.zone).astimezone(since.tzinfo)
        if found > since:
            return found
    return since + _FAR


def blank_notice(name: str, uid: str, kpi: str, one: EpisodeRow, now: datetime) -> Notice:
    """A notice that has nothing but labels."""
    kind = "alert" if one.series_key else "health"
    labels = tuple(sorted(one.labels.items()))
    return Notice(name, kpi, "", "", None, "none", "", (), "", (), one.opened_slot, None, now, labels=labels, kind=kind, uid=uid)


def _blank_item(one: EpisodeRow) -> NoticeItem:
    dims = tuple(sorted(one.segment.items()))
    level = Level(one.level)
    return NoticeItem(
        "fired", one.series_key, "", level, one.episode, None, 0, "", None, None, "", "", "", event_id=one.id, dims=dims
    )
