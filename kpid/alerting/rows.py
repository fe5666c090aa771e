"""What a round has found, as rows of the store. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from kpid.alerting.facts import Track
from kpid.alerting.rounds import Round
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event
from kpid.model import Level, segment_label
from kpid.store.alerts import EvaluationRow, EventRow, SeriesRow
from kpid.store.episodes import EpisodeKey


def judged_rows(plan: RulePlan, found: Round, now: datetime) -> tuple[list[SeriesRow], list[EvaluationRow]]:
    """The series that were judged as they stand now, and their evaluations, each with the meaning that the rule had."""
    series, evaluations = [], []
    for track in found.tracks:
        outcome: dict[str, Any] = {}
        for done in track.evaluations:
            outcome = done.outcome.dump()
            evaluations.append(
                EvaluationRow(
                    rule_uid=plan.uid,
                    series_key=track.key,
                    slot=done.slot.at,
                    period_label=done.slot.label,
                    outcome={**outcome, "meaning": plan.meaning},
                    before=done.before.dump(),
                    at=now,
                )
            )
        if track.evaluations:
            last = track.evaluations[-1].slot
            newest = {**outcome, "period": last.label, "slot": last.at.isoformat()}
            was_later = track.last and datetime.fromisoformat(track.last["slot"]) > last.at
            more = {"last": track.last if was_later else newest}
            series.append(series_row(plan.uid, plan.meaning, track, now, more))
    return series, evaluations


def series_row(rule_uid: str, meaning: str, track: Track, now: datetime, more: dict[str, Any]) -> SeriesRow:
    """One series as it stands."""
    state = track.state
    return SeriesRow(
        rule_uid=rule_uid,
        series_key=track.key,
        segment=track.segment,
        names={segment.dimension: segment.name for segment in track.dims},
        meaning=meaning,
        status="forgotten" if state.forgotten else state.status.value,
        level=state.level.value,
        data=state.data.value,
        episode=state.episode,
        last_slot=state.last_slot,
        state={**state.dump(), **more},
        updated_at=now,
    )


def event_rows(rule_uid: str, track: Track, now: datetime, numbers: Mapping[EpisodeKey, int]) -> Iterator[EventRow]:
    """The events of a series. ``numbers`` are those by which people know the episodes."""
    for event in track.events:
        number = numbers.get(EpisodeKey(rule_uid, track.key, event.episode))
        yield EventRow(
            at=now,
            slot=event.slot.at,
            rule_uid=rule_uid,
            series_key=track.key,
            episode=event.episode,
            kind=event.kind.value,
            body={**event.dump(), "segment": segment_label(track.dims), "thread": _thread(track, event), **_numbered(number)},
        )


def _numbered(number: int | None) -> dict[str, int]:
    return {} if number is None else {"episode_id": number}


def health_event_rows(rule_uid: str, found: Round, now: datetime, numbers: Mapping[EpisodeKey, int]) -> Iterator[EventRow]:
    """The turns of the rule's own health; they belong to no series."""
    for turn in found.health_events:
        health = turn.health
        body = {
            "level": Level.WARN.value,
            "period": turn.slot.label,
            "fault": health.fault,
            "reason": health.reason,
            "thread": found.health.thread or found.health_before.thread,
            **_numbered(numbers.get(EpisodeKey(rule_uid, "", health.episode))),
        }
        yield EventRow(now, turn.slot.at, rule_uid, "", health.episode, turn.kind.value, body)


def _thread(track: Track, event: Event) -> str:
    """The thread in which people hear of the event's episode; empty if they never do."""
    if track.start.status.is_on and event.episode == track.start.episode:
        return track.start.thread
    return track.state.thread if track.state.status.is_on and event.episode == track.state.episode else ""
