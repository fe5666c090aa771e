"""What people are told of a round: events folded to the newest state, grouped into threads, with keys that never repeat. Pure.

Series that fire together open one thread; what becomes of them later goes into it. Of what was over before anybody heard of it
(catching up after a pause) people are not told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from kpid.alerting.health import HealthStatus
from kpid.alerting.outcomes import OutcomeKind
from kpid.alerting.records import replace
from kpid.alerting.rounds import Facts, Round, Track, with_thread
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import Event, EventKind, SeriesState, Slot
from kpid.alerting.slots import PATIENCE
from kpid.model import Cause, Dims, Level, Measurement, Notice, NoticeItem, segment_label

_EXPLAINED = {EventKind.FIRED, EventKind.ESCALATED}
_LEVEL_EVENTS = {EventKind.ESCALATED, EventKind.EASED, EventKind.RESTATED}
_FLAP_EVENTS = {EventKind.FLAPPING, EventKind.STEADY}
TRAIL = 14
"""So many of the newest values are told, for a chart."""
_MOST_TRAILS = 200
"""In a notice of more series than this, only the worst ones have a trail, as many as can be drawn."""


class Explained(NamedTuple):
    """What moved a series, and away from what: ``the average of 8 weeks``; empty: the period before."""

    causes: tuple[Cause, ...] = ()
    moved_from: str = ""


NOT_EXPLAINED = Explained()
_NO_CAUSES: Mapping[str, Explained] = {}


@dataclass(frozen=True, slots=True)
class Told:
    """One thing to tell of one series, and the thread it belongs to."""

    series_key: str
    segment: str
    event: Event
    thread: str
    late: bool = False
    dims: Dims = ()


@dataclass(frozen=True, slots=True)
class ThreadNotice:
    """A notice, and the thread it goes into. ``subjects``: segment and slot behind each item, by series key."""

    thread: str
    notice: Notice
    subjects: Mapping[str, tuple[Dims, Slot]] = field(default_factory=dict)


def fold(start: SeriesState, end: SeriesState, events: Sequence[Event]) -> list[Event]:
    """The events of one series that people are told of.

    Args:
        start: the state before: an alert that was open then has been told.
        end: the state now.
        events: what has happened in between, oldest first.
    """
    was_on, is_on = start.status.is_on, end.status.is_on
    stands = was_on and is_on and end.episode == start.episode
    told: list[Event] = []
    if stands and end.level is not start.level:
        told = _turned(start, end, events)
    elif was_on and not stands:
        told = [event for event in events if event.ends_episode and event.episode == start.episode][:1]
    if is_on and not stands:
        fired = [event for event in events if event.kind is EventKind.FIRED and event.episode == end.episode]
        told += [replace(event, level=end.level) for event in fired[-1:]]
    if start.flap_told != end.flap_told and (was_on or is_on or start.flap_told):
        told += [event for event in events if event.kind in _FLAP_EVENTS][-1:]
    return told


def _turned(start: SeriesState, end: SeriesState, events: Sequence[Event]) -> list[Event]:
    """The event that brought an alert to the level where it stands now, called by what it means."""
    kind = EventKind.ESCALATED if end.level.rank > start.level.rank else EventKind.EASED
    turned = [event for event in events if event.kind in _LEVEL_EVENTS and event.level is end.level]
    return [replace(event, kind=kind, level_was=start.level) for event in turned[-1:]]


def _with_newest_figures(track: Track, event: Event) -> Event:
    """What fired, rose or fell some slots ago and still stands is told with the figures of the last slot that was bad."""
    breaches = [found for found in track.evaluations if found.outcome.kind is OutcomeKind.BREACH]
    if not breaches or event.outcome.kind is not OutcomeKind.BREACH:
        return event
    newest, last = breaches[-1], track.evaluations[-1]
    outcome = newest.outcome
    if last.slot.at > newest.slot.at:
        outcome = replace(outcome, warnings=(*outcome.warnings, f"{last.slot.label}: {last.outcome.reason}"))
    return replace(event, slot=newest.slot, outcome=outcome)


def told_of(plan: RulePlan, tracks: Sequence[Track], newest: Slot) -> list[Told]:
    """What people are told of the series; new alerts get their thread."""
    told: list[Told] = []
    opened = thread_name(plan.uid, newest)
    for track in tracks:
        if not track.events:
            continue
        for event in fold(track.start, track.state, track.events):
            is_new = event.kind is EventKind.FIRED
            late = event.slot.at < newest.at or (is_new and track.restated)
            figures = event if event.ends_episode else _with_newest_figures(track, event)
            thread = opened if is_new else track.start.thread or track.state.thread or opened
            told.append(Told(track.key, segment_label(track.dims), figures, thread, late, track.dims))
            if is_new:
                with_thread(track, opened)
    return told


def thread_name(rule_uid: str, slot: Slot, kind: str = "") -> str:
    """The name of a thread that opens at a slot."""
    return "@".join(part for part in (rule_uid, kind, slot.at.isoformat()) if part)


def notices_of(
    plan: RulePlan,
    told: Sequence[Told],
    facts: Facts,
    newest: Slot,
    now: datetime,
    causes: Mapping[str, Explained] = _NO_CAUSES,
) -> list[ThreadNotice]:
    """One notice per thread, the oldest thread first; worst first within each. ``causes`` by series key."""
    threads: dict[str, list[Told]] = {}
    for each in told:
        threads.setdefault(each.thread, []).append(each)
    frame = frame_of(plan, facts, newest, now)
    overdue = now > newest.at + plan.settle + PATIENCE
    found = []
    for thread, members in sorted(threads.items()):
        items = sorted((_item(each, causes) for each in members), key=lambda item: (-item.level.rank, item.kind, item.segment))
        slots = {each.series_key: each.event.slot for each in members}
        drawn = items if len(items) <= _MOST_TRAILS else items[:TRAIL]
        trails = [_trail(facts.figures.get(item.series_key, {}), slots[item.series_key]) for item in drawn]
        items[: len(drawn)] = [replace(item, trail=trail) for item, trail in zip(drawn, trails, strict=True)]
        late = any(each.late or (overdue and each.event.kind is EventKind.FIRED) for each in members)
        notice = replace(frame, items=tuple(items), found_late=late, period_label=_periods_label(members))
        found.append(ThreadNotice(thread, notice, {each.series_key: (each.dims, each.event.slot) for each in members}))
    return found


def _periods_label(members: Sequence[Told]) -> str:
    """The period that the figures are of; the first and the last if there are several."""
    slots = sorted(each.event.slot for each in members)
    first, last = slots[0].label, slots[-1].label
    return first if first == last else f"{first} to {last}"


def frame_of(plan: RulePlan, facts: Facts | None, newest: Slot, now: datetime) -> Notice:
    """A notice with all but its items."""
    rule, kpi = plan.rule, plan.kpi
    figures: list[Measurement] = []
    if facts is not None:
        figures = [figure for spans in facts.figures.values() for span, figure in spans.items() if span[1] == newest.at]
    through = [figure.data_through for figure in figures if figure.data_through is not None]
    return Notice(
        rule=rule.name,
        kpi=kpi.id,
        kpi_name=kpi.name,
        unit=plan.conditions.kpi_unit,
        currency=next((figure.currency for figure in figures if figure.currency), None),
        better=kpi.better,
        definition=kpi.formula_text,
        by=tuple(rule.by),
        period=rule.period,
        items=(),
        slot=newest.at,
        data_through=min(through, default=None),
        now=now,
        summary=rule.summary,
        runbook=rule.runbook,
        labels=tuple(sorted(rule.labels.items())),
        period_label=newest.label,
        sample=kpi.sample_noun(rule.params),
        uid=rule.uid,
    )


def _item(told: Told, causes: Mapping[str, Explained]) -> NoticeItem:
    event, outcome = told.event, told.event.outcome
    why = causes.get(told.series_key, NOT_EXPLAINED) if event.kind in _EXPLAINED else NOT_EXPLAINED
    return NoticeItem(
        kind=event.kind.value,
        series_key=told.series_key,
        segment=told.segment,
        level=event.level if event.level is not Level.NONE else event.level_was,
        episode=event.episode,
        value=outcome.value,
        n=outcome.n,
        threshold=outcome.threshold,
        limit=outcome.limit,
        previous=outcome.previous,
        previous_label=outcome.previous_label,
        since=event.since,
        reason=outcome.reason,
        warnings=outcome.warnings,
        low=outcome.low,
        high=outcome.high,
        causes=why.causes,
        dims=tuple((segment.dimension, segment.id) for segment in told.dims),
        p=outcome.p,
        baseline=outcome.baseline,
        baseline_label=outcome.baseline_label,
        effect=outcome.effect,
        compared=outcome.baseline_label,
        moved_from=why.moved_from if why.causes else "",
    )


def _trail(figures: Mapping[tuple[datetime, datetime], Measurement], slot: Slot) -> tuple[tuple[str, Decimal | None], ...]:
    """The newest values up to a slot, oldest first; none where there are too few for a chart."""
    newest = sorted(span for span in figures if span[1] <= slot.at)[-TRAIL:]
    return tuple((figures[span].period.label, figures[span].value) for span in newest) if len(newest) > 1 else ()


def health_notice(plan: RulePlan, found: Round, frame: Notice, newest: Slot) -> tuple[Round, ThreadNotice | None]:
    """What people are told of the rule's own data, and the round with its health in the right thread."""
    before, after = found.health_before, found.health
    was_bad, is_bad = before.status is HealthStatus.UNHEALTHY, after.status is HealthStatus.UNHEALTHY
    thread = before.thread if was_bad else thread_name(plan.uid, newest, "health")
    if not is_bad and not was_bad:
        return found, None
    kind = EventKind.UNHEALTHY if is_bad else EventKind.HEALTHY
    if is_bad:
        told = tuple(dict.fromkeys((*before.told, *after.told)))
        found = replace(found, health=replace(after, thread=thread, told=told))
        if was_bad and after.fault in before.told:
            return found, None
    since = after.bad.label if after.bad else (before.bad.label if before.bad else "")
    reason = after.reason if is_bad else f"can be judged again; it was: {before.reason}"
    item = NoticeItem(
        kind=kind.value,
        series_key="",
        segment="",
        level=Level.WARN,
        episode=after.episode,
        value=None,
        n=0,
        threshold="",
        limit=None,
        previous=None,
        previous_label="",
        since=since,
        reason=reason,
    )
    return found, ThreadNotice(thread, replace(frame, kind="health", items=(item,)))
