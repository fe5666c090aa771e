"""What a rule would have done: episodes and messages over past periods, and the same with each of its guards off. Pure.

It is the walk that judges live, over figures as they are known now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Times
from kpid.alerting.outcomes import OutcomeKind
from kpid.alerting.replay import Judged, Past, Replayed, Story, facts_of, replay
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import EventKind
from kpid.analysis.durations import Span
from kpid.analysis.periods import Calendar, is_daily, last_complete, periods_between
from kpid.config.alerting import Rule
from kpid.model import Dims, Level, Period, SeriesNeed

WEEK = timedelta(weeks=1)
_TICK = timedelta(microseconds=1)
CONFIGURED = "as configured"
UNGUARDED = "without any of them"


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert of one series: from when to when, how bad it became, how it ended.

    Attributes:
        dims: the segment.
        level: the worst one.
        since: label of the first bad period.
        fired: label of the period in which people were told.
        fired_at: its end.
        ended: label of the period that ended it; empty while it goes on.
        ended_at: its end.
        end: what ended it; empty while it goes on.
        value: the worst period's figure, of those that were bad.
        n: its sample.
        threshold: the condition that it met.
    """

    dims: Dims
    level: Level
    since: str
    fired: str
    fired_at: datetime
    ended: str
    ended_at: datetime | None
    end: str
    value: Decimal | None
    n: int
    threshold: str


@dataclass(frozen=True, slots=True)
class Run:
    """What a rule does with some of its guards.

    Attributes:
        name: which guards.
        episodes: oldest first.
        breaches: evaluations that found a breach.
        notices: what was told of single series.
        messages: what was told of one thread at one slot, taken together.
        per_week: notices per week.
        weekly: notices by week.
        marks: what became of each series in each period, for a picture.
    """

    name: str
    episodes: tuple[Episode, ...]
    breaches: int
    notices: int
    messages: int
    per_week: Decimal
    weekly: tuple[int, ...]
    marks: Mapping[Dims, tuple[str, ...]]


@dataclass(frozen=True)
class Backtest:
    """The past of a rule: as it is, without each of its guards, and without any of them."""

    periods: Sequence[Period]
    evaluations: int
    run: Run
    without: Mapping[str, Run]
    unguarded: Run | None


def periods_of(plan: RulePlan, start: datetime, end: datetime, calendar: Calendar) -> list[Period]:
    """The periods that a rule judges and that lie within ``[start, end)``, oldest first; of daily kinds those that end in it."""
    found = periods_between(plan.need.period, start, end, calendar)
    daily = is_daily(plan.need.period)
    return [period for period in found if period.end <= end and (daily or period.start >= start)]


def first_needed(need: SeriesNeed, plan: RulePlan, periods: Sequence[Period], calendar: Calendar) -> Period:
    """The oldest period of one of a plan's families that is looked at to judge these periods.

    A need says how many periods it wants kept: what the rule catches up, and what it looks back at.
    """
    back = max(1, need.periods - plan.rule.catch_up + 1)
    return last_complete(need.period, periods[0].end, calendar, back)[0]


def backtest(
    rule: Rule,
    plan_of: Callable[[Rule], RulePlan],
    past: Past,
    periods: Sequence[Period],
    calendar: Calendar,
    setup: AlertingSetup | None = None,
) -> Backtest:
    """Judge past periods with a rule, and with the same rule without its guards.

    Args:
        rule: as configured.
        plan_of: makes a rule ready.
        past: the figures.
        periods: to judge, oldest first.
        calendar: how time is cut.
        setup: targets, working days and what flapping is.
    """
    facts, times = facts_of(past, periods), Times(calendar)

    def run(name: str, changed: Rule) -> tuple[Run, Replayed]:
        found = replay(plan_of(changed), facts, calendar, setup, times)
        return _run(name, found, periods), found

    own, found = run(CONFIGURED, rule)
    off = dict(guards_off(rule, plan_of(rule)))
    without = {name: run(f"without {name}", rule.model_copy(update=changes))[0] for name, changes in off.items()}
    everything = {key: value for changes in off.values() for key, value in changes.items()}
    unguarded = run(UNGUARDED, rule.model_copy(update=everything))[0] if len(off) > 1 else None
    return Backtest(periods, sum(len(story.judged) for story in found.stories), own, without, unguarded)


def guards_off(rule: Rule, plan: RulePlan) -> Iterator[tuple[str, dict[str, object]]]:
    """The guards that a rule has: what each is called, and the changes that take it away."""
    if rule.min_sample or (rule.min_sample is None and plan.kpi.least(rule.by)):
        least = rule.min_sample if rule.min_sample is not None else plan.kpi.least(rule.by)
        yield f"min_sample: {least}", {"min_sample": 0}
    if rule.significance is not None:
        yield f"significance: {_percent(rule.significance)}", {"significance": None}
    if rule.min_effect is not None:
        yield f"min_effect: {_percent(rule.min_effect)}", {"min_effect": None}
    if rule.correct == "bh" and rule.significance is not None and rule.by:
        yield "correct: bh", {"correct": "none"}
    if rule.disjoint:
        yield "disjoint", {"disjoint": False}
    if plan.policy.for_ != Span(periods=1):
        yield f"for: {rule.for_}", {"for_": "1x"}
    if rule.recover is not None:
        yield f"recover: {rule.recover}", {"recover": None}
    if plan.policy.keep != Span(periods=0):
        yield f"keep_firing_for: {rule.keep_firing_for}", {"keep_firing_for": "0x"}


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f}%"


def _run(name: str, found: Replayed, periods: Sequence[Period]) -> Run:
    episodes = sorted(
        (episode for story in found.stories for episode in _episodes(story)), key=lambda one: (one.fired_at, repr(one.dims))
    )
    judged = [(story, one) for story in found.stories for one in story.judged]
    threads = {(one.slot.at, thread) for story in found.stories for one, thread in _told(story)}
    begin, length = _length(periods)
    weekly = [0] * -(-length // WEEK)
    for _, one in judged:
        weekly[(one.slot.at - begin - _TICK) // WEEK] += len(one.told)
    return Run(
        name=name,
        episodes=tuple(episodes),
        breaches=sum(one.outcome.kind is OutcomeKind.BREACH for _, one in judged),
        notices=sum(weekly),
        messages=len(threads),
        per_week=Decimal(sum(weekly)) * int(WEEK.total_seconds()) / int(length.total_seconds()),
        weekly=tuple(weekly),
        marks={story.dims: _marks(story, periods) for story in found.stories},
    )


def _length(periods: Sequence[Period]) -> tuple[datetime, timedelta]:
    """From when on, and over which time, the slots of these periods are spread."""
    first = periods[0]
    step = periods[1].end - first.end if len(periods) > 1 else first.end - first.start
    begin = first.end - step
    return begin, periods[-1].end - begin


def _told(story: Story) -> Iterator[tuple[Judged, datetime]]:
    """When people heard of a series, and in which thread: that of the slot at which the alert was told first."""
    thread: datetime | None = None
    for one in story.judged:
        for event in one.told:
            if event.kind is EventKind.FIRED or thread is None:
                thread = one.slot.at
            yield one, thread


def _episodes(story: Story) -> Iterator[Episode]:
    open_: list[Judged] = []
    for one in story.judged:
        for event in one.events:
            if event.ends_episode:
                yield _episode(story.dims, open_, one, event.kind)
                open_ = []
        if one.after.status.is_on:
            open_.append(one)
    if open_:
        yield _episode(story.dims, open_, None, None)


def _episode(dims: Dims, passed: Sequence[Judged], last: Judged | None, kind: EventKind | None) -> Episode:
    first = passed[0]
    level = max((one.after.level for one in passed), key=lambda level: level.rank)
    bad = [one for one in passed if one.outcome.kind is OutcomeKind.BREACH] or [first]
    worst = max(bad, key=lambda one: (one.outcome.level.rank, _distance(one)))
    return Episode(
        dims=dims,
        level=level,
        since=first.after.since or first.slot.label,
        fired=first.slot.label,
        fired_at=first.slot.at,
        ended="" if last is None else last.slot.label,
        ended_at=None if last is None else last.slot.at,
        end="" if kind is None else kind.value,
        value=worst.outcome.value,
        n=worst.outcome.n,
        threshold=worst.outcome.threshold,
    )


def _distance(one: Judged) -> Decimal:
    """How far beyond its limit a figure lies."""
    value, limit = one.outcome.value, one.outcome.limit
    return Decimal(0) if value is None or limit is None else abs(value - limit)


_UNSURE = {
    OutcomeKind.INSUFFICIENT: "insufficient",
    OutcomeKind.NO_DATA: "no_data",
    OutcomeKind.MISSING: "no_data",
    OutcomeKind.STALE: "no_data",
    OutcomeKind.ERROR: "no_data",
}


def _marks(story: Story, periods: Sequence[Period]) -> tuple[str, ...]:
    """By period: ``ok``, ``pending``, ``warn``, ``critical``, ``recovering``, ``insufficient``, ``no_data``, or empty."""
    by_slot = {one.slot.at: one for one in story.judged}
    return tuple(_mark(by_slot.get(period.end)) for period in periods)


def _mark(one: Judged | None) -> str:
    if one is None:
        return ""
    status = one.after.status
    if status.is_on:
        return "recovering" if status.value == "recovering" else one.after.level.value
    if one.outcome.kind in _UNSURE:
        return _UNSURE[one.outcome.kind]
    return status.value
