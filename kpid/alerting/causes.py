"""Why a series moved: extra families that a rule keeps in history for it, and what they say once it fires.

What moved is told against what the rule compares with: the average of the weeks before, last year, a target; where it compares
with nothing, or the cuts of those times are not there (yet), against the period before. Judging and measuring meet in the store:
the cuts are measured like everything else, and read here. An alert whose cuts are not there at all simply says no causes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

from kpid.alerting.conditions import NAMED, Band
from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.facts import Facts
from kpid.alerting.mappings import Composite
from kpid.alerting.notices import (
    NOT_EXPLAINED,
    Explained,
    ThreadNotice,
    Told,
    frame_of,
    health_notice,
    notices_of,
    told_of,
)
from kpid.alerting.outcomes import Outcome
from kpid.alerting.rounds import Round
from kpid.alerting.rules import RulePlan
from kpid.alerting.series import EventKind
from kpid.analysis.causes import causes_of
from kpid.analysis.explain import Sides, explain
from kpid.analysis.periods import days_of, period_from_label, previous_period, whole_of
from kpid.analysis.usual import aimed_at, average_of
from kpid.errors import KpidError
from kpid.model import Dims, Measurement, MeasurementState, Period, SeriesNeed, segment_key
from kpid.store import history

MOST_EXPLAINED = 3
"""So many series of a notice are explained, the worst."""
_TOLD = {EventKind.FIRED, EventKind.ESCALATED}
_NEAR = Decimal("1e-9")


@dataclass(frozen=True)
class Subject:
    """One judgement to be explained: of which series and period, what was found, and where the figures of the series are."""

    dims: Dims
    period: Period
    outcome: Outcome
    figure: Callable[[Period], Measurement | None]


class _Other(NamedTuple):
    """The other side of an explanation: a name for it, the whole, and by dimension the parts of now and of then."""

    name: str
    whole: Measurement
    cuts: Mapping[str, Sides]
    periods: int = 1
    is_aim: bool = False


def told_of_round(
    conn: Connection, setup: AlertingSetup, plan: RulePlan, facts: Facts, found: Round, now: datetime
) -> tuple[Round, list[ThreadNotice]]:
    """What people are told of a round, with what moved the figures; and the round with its health in the right thread."""
    if found.newest is None:
        return found, []
    told = told_of(plan, found.tracks, found.newest)
    causes = load_causes(conn, plan, facts, told, setup) if told else {}
    notices = notices_of(plan, told, facts, found.newest, now, causes) if told else []
    if found.health_events:
        frame = frame_of(plan, facts, found.newest, now)
        sources = (("source", name) for name in setup.sources_of(plan.kpi.id))
        frame = replace(frame, labels=tuple(sorted((*frame.labels, ("kind", "health"), *sources))))
        found, about_health = health_notice(plan, found, frame, found.newest)
        notices += [] if about_health is None else [about_health]
    return found, notices


def load_causes(
    conn: Connection, plan: RulePlan, facts: Facts, told: Sequence[Told], setup: AlertingSetup
) -> Mapping[str, Explained]:
    """What moved the series that people are told of; by series key.

    Only series that got worse are explained: that a value is low though it rose has no cause in its change.
    """
    if not plan.why:
        return {}
    worst = sorted((each for each in told if each.event.kind in _TOLD), key=lambda each: -each.event.level.rank)
    found, search = {}, Search(conn, plan, setup)
    for each in worst[:MOST_EXPLAINED]:
        key = each.series_key
        period = next((one for one in (*facts.due, *facts.recheck) if one.end == each.event.slot.at), None)
        if period is not None:
            found[key] = search.explained(Subject(facts.dims[key], period, each.event.outcome, partial(facts.figure, key)))
    return found


@dataclass
class Search:
    """Looks for what moved series of one rule; what was read is kept for the next one.

    Args:
        conn: where the cuts are.
        plan: the rule.
        setup: calendar, working days, targets.
    """

    conn: Connection
    plan: RulePlan
    setup: AlertingSetup
    _read: dict[tuple[str, Period], list[Measurement]] = field(default_factory=dict)

    def explained(self, subject: Subject) -> Explained:
        """What moved a series away from what it was compared with; nothing if that cannot be said, or it did not get worse."""
        new = self._figure(subject, subject.period)
        if new is None or new.value is None:
            return NOT_EXPLAINED
        for find in (self._usual, self._aim, self._before):
            other = find(subject, new)
            if other is None or other.whole.value is None:
                continue
            if not self._is_worse(new, other.whole):
                return NOT_EXPLAINED
            best = explain(new, other.whole, other.cuts).best
            if best is None:
                continue
            causes = causes_of(best, along=True)
            samples = [0 if other.is_aim else round(cause.n_was / other.periods) for cause in causes]
            told = [replace(one, n_was=n, is_aim=other.is_aim) for one, n in zip(causes, samples, strict=True)]
            return Explained(tuple(told), other.name)
        return NOT_EXPLAINED

    # ---- what it is explained against
    def _usual(self, subject: Subject, new: Measurement) -> _Other | None:
        """The average of the periods that the judgement went by."""
        outcome, calendar = subject.outcome, self.setup.calendar
        try:
            periods = [period_from_label(self.plan.need.period, label, calendar) for label in outcome.usual]
        except KpidError:
            return None
        wholes = [found for one in periods if (found := self._figure(subject, one)) is not None and found.value is not None]
        if not periods or len(wholes) < len(periods):
            return None
        cuts, whole = {}, average_of(wholes, [[] for _ in wholes])[0]
        for dimension, need in self._needs():
            parts = [self._parts(subject, need, dimension, one) for one in periods]
            cuts[dimension] = (self._parts(subject, need, dimension, subject.period), average_of(wholes, parts)[1])
        return _Other(self._name(outcome, whole, periods), whole, cuts, len(periods))

    def _name(self, outcome: Outcome, whole: Measurement, periods: Sequence[Period]) -> str:
        """As the rule calls it; where that is no plain average of figures (a middle, a pool) what the parts add up from."""
        is_same = (
            outcome.baseline is not None
            and whole.value is not None
            and abs(outcome.baseline - whole.value) <= _NEAR * max(abs(whole.value), Decimal(1))
        )
        if not is_same:
            first, last = periods[0].label, periods[-1].label
            return first if len(periods) == 1 else f"the average of {len(periods)} periods, {first} to {last}"
        return f"{outcome.baseline_label}{' per working day' if self.plan.conditions.per_day else ''}"

    def _aim(self, subject: Subject, new: Measurement) -> _Other | None:
        """What the figure should have been: a target, a benchmark, what all together have, the nearer end of a band."""
        aim = self._aimed(subject.outcome, new)
        if aim is None:
            return None
        value, name = aim
        before = previous_period(subject.period, self.setup.calendar)
        cuts, whole, shared = {}, None, ""
        for dimension, need in self._needs():
            parts = self._parts(subject, need, dimension, subject.period)
            shares, word = self._shares(subject, need, parts, self._parts(subject, need, dimension, before))
            found = aimed_at(new, parts, value, shares)
            if found is not None:
                whole, shared = found[0], shared or (word if new.denominator is None else "")
                cuts[dimension] = (parts, found[1])
        return None if whole is None else _Other(f"{name}{shared}", whole, cuts, is_aim=True)

    def _aimed(self, outcome: Outcome, new: Measurement) -> tuple[Decimal, str] | None:
        condition = next((one for one in self.plan.conditions.all if one.text == outcome.threshold), None)
        if isinstance(condition, Band) and condition.where == "outside" and outcome.limit is not None and new.value is not None:
            return outcome.limit, f"the {'lower' if new.value < outcome.limit else 'upper'} end of its band"
        if condition is None or isinstance(condition, Composite) or outcome.baseline is None:
            return None
        named = condition.needs & NAMED
        if not named or "days" in condition.needs or (named == {"total"} and new.denominator is None):
            return None
        return outcome.baseline, "all together" if named == {"total"} else outcome.baseline_label

    def _shares(
        self, subject: Subject, need: SeriesNeed, parts: Sequence[Measurement], before: Sequence[Measurement]
    ) -> tuple[Sequence[Measurement], str]:
        """By what an aim is shared out: by the segments' own targets where they make up the whole one, else as it was before."""
        when, at = whole_of(subject.period, self.setup.calendar), subject.period.end
        whole = self.setup.targets(self.plan.need, when, subject.dims, at) if self.plan.needs_targets else None
        if whole is not None:
            known = {segment_key(one.dims): one for one in (*before, *parts)}
            own = []
            for one in known.values():
                dims = tuple(sorted((*subject.dims, *one.dims), key=lambda segment: segment.dimension))
                own.append(replace(one, value=self.setup.targets(need, when, dims, at)))
            if own and all(one.value is not None for one in own) and sum(one.value or 0 for one in own) == whole:
                return own, ""
        label = previous_period(subject.period, self.setup.calendar).label
        return before, f", shared out as in {label}"

    def _before(self, subject: Subject, new: Measurement) -> _Other | None:
        """The period before. Named where the rule compares with something else."""
        before = previous_period(subject.period, self.setup.calendar)
        old = self._figure(subject, before)
        if old is None:
            return None
        cuts = {
            dimension: (
                self._parts(subject, need, dimension, subject.period),
                self._parts(subject, need, dimension, before),
            )
            for dimension, need in self._needs()
        }
        is_all = subject.outcome.baseline is None and self._aimed(subject.outcome, new) is None
        return _Other("" if is_all else before.label, old, cuts)

    # ---- figures
    def _needs(self) -> list[tuple[str, SeriesNeed]]:
        return [(next(name for name in need.by if name not in self.plan.rule.by), need) for need in self.plan.why]

    def _figure(self, subject: Subject, period: Period) -> Measurement | None:
        found = subject.figure(period)
        if found is None and self.plan.nothing is not None and period != subject.period:
            return Measurement(self.plan.kpi.id, period, MeasurementState.OK, self.plan.nothing, 0, subject.dims)
        return None if found is None else self._per_day(found)

    def _parts(self, subject: Subject, need: SeriesNeed, dimension: str, period: Period) -> list[Measurement]:
        """The figures inside one series, each with the segment of the dimension alone."""
        key = (need.key, period)
        if key not in self._read:
            found = history.current(self.conn, need, start=period.start, end=period.end)
            span = (period.start, period.end)
            self._read[key] = [one for one in found if (one.period.start, one.period.end) == span]
        wanted = segment_key(subject.dims)
        inside = (one for one in self._read[key] if segment_key(_but(one.dims, dimension)) == wanted)
        return [
            self._per_day(replace(one, dims=tuple(part for part in one.dims if part.dimension == dimension))) for one in inside
        ]

    def _per_day(self, figure: Measurement) -> Measurement:
        """The figure per working day, if the rule compares so."""
        work = self.setup.calendars.get("")
        if not self.plan.conditions.per_day or work is None or figure.value is None or figure.denominator is not None:
            return figure
        days = work.working_days(*days_of(figure.period, self.setup.calendar))
        return replace(figure, value=figure.value * days.denominator / days.numerator) if days else figure

    def _is_worse(self, new: Measurement, old: Measurement) -> bool:
        if new.value is None or old.value is None or new.value == old.value:
            return False
        better = self.plan.kpi.better
        return better not in {"up", "down"} or (new.value < old.value) == (better == "up")


def _but(dims: Dims, dimension: str) -> Dims:
    return tuple(segment for segment in dims if segment.dimension != dimension)
