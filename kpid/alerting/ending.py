"""The end of a rule that is paused or gone: what fires is closed, and people are told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kpid.alerting.facts import Facts, Track
from kpid.alerting.notices import ThreadNotice, Told, notices_of
from kpid.alerting.rows import series_row
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import EventKind, Slot, Status, state_from_dump
from kpid.alerting.state import close
from kpid.model import segment_label
from kpid.store.alerts import SeriesRow

_REASONS = {EventKind.RULE_REMOVED: "the rule is no longer configured", EventKind.PAUSED: "the rule is paused"}


@dataclass
class ClosedTrack(Track):
    """A series that is closed, and the row it had."""

    row: SeriesRow | None = None

    def closed_row(self, now: datetime) -> SeriesRow:
        """The series as it stands now."""
        assert self.row is not None  # noqa: S101 - made with its row
        last = {"last": self.row.state["last"]} if "last" in self.row.state else {}
        return series_row(self.row.rule_uid, self.row.meaning, self, now, last)


def close_series(series: Mapping[str, SeriesRow], kind: EventKind, slot: Slot) -> list[ClosedTrack]:
    """Close whatever is pending or open."""
    closed = []
    for key, row in series.items():
        start = state_from_dump(row.state)
        if start.status is not Status.OK:
            after = close(start, kind, slot, _REASONS[kind])
            closed.append(ClosedTrack(key, row.dims, True, start, after.state, list(after.events), row=row))
    return closed


def closing_notices(plan: RulePlan, closed: Sequence[Track], now: datetime) -> list[ThreadNotice]:
    """One notice for each thread that was open."""
    told = [Told(track.key, segment_label(track.dims), event, track.start.thread) for track in closed for event in track.events]
    if not told:
        return []
    newest = told[0].event.slot
    facts = Facts(None, {}, (), (), {}, {}, {})
    return notices_of(plan, told, facts, newest, now)
