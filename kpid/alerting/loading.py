"""Reads what rules are judged by: their rows, their series, the measurements of the periods in question; many rules at once.

Ten thousand rules are read with a few hundred statements: rules that look at the same periods share theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from kpid.alerting.asking import reach_of
from kpid.alerting.facts import REMEMBERED, Exclusion, Facts, Figures, SpanKey, Times, series_key_of
from kpid.alerting.rules import RulePlan
from kpid.alerting.slots import due_periods, is_waiting, judged_periods
from kpid.analysis.comparison import COMPARISONS, reference
from kpid.analysis.periods import Calendar, is_daily, last_complete
from kpid.errors import KpidError
from kpid.model import Dims, Measurement, Period, SeriesNeed
from kpid.store import alerts, episodes, history
from kpid.store.alerts import EvaluationRow, RuleRow, SeriesRow

_TICK = timedelta(microseconds=1)
_FURTHEST = timedelta(days=3 * 366)
"""Daily periods are looked at no further back."""


@dataclass
class _Wanted:
    """What is read for one rule: the periods to judge, and the spans of figures that they take."""

    plan: RulePlan
    row: RuleRow | None
    due: list[Period]
    recheck: list[Period]
    measured_at: datetime | None = None
    family: str = ""

    @property
    def periods(self) -> list[Period]:
        return [*self.recheck, *self.due]


class _Read(NamedTuple):
    """Figures to read: of a family, within a span; only of periods that begin at one of ``starts``, if there are any."""

    family: str
    span: SpanKey
    starts: tuple[datetime, ...] = ()


@dataclass
class Loader:
    """Reads rules' facts on one connection; what several rules have in common is worked out once.

    Args:
        calendar: how time is cut.
        now: the current instant.
    """

    calendar: Calendar
    now: datetime
    times: Times = field(init=False)
    _closed: dict[tuple[object, ...], list[Period]] = field(default_factory=dict)
    _begins: dict[tuple[object, ...], tuple[datetime, ...]] = field(default_factory=dict)
    _keys: dict[Dims, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times = Times(self.calendar)

    def load(self, conn: Connection, plans: Sequence[RulePlan]) -> dict[str, Facts]:
        """All that a round of each rule needs, by uid; without rules that have nothing to do.

        Periods whose figures are still on their way are left for later.
        """
        wanted = self._wanted(conn, plans)
        busy = [one for one in wanted if one.due or one.recheck]
        if not busy:
            return {}
        uids = [one.plan.uid for one in busy]
        figures = self._figures(conn, busy)
        known = alerts.load_series_of(conn, uids)
        evaluated = self._evaluated(conn, busy)
        health = episodes.last_health(conn, [one.plan.uid for one in busy if one.row is None or not one.row.health])
        excluded = alerts.load_excluded(conn)
        found = {}
        for one in busy:
            uid, kpi = one.plan.uid, one.plan.kpi.id
            mine = [Exclusion(out.segment, out.start, out.end) for out in excluded if out.is_about(uid, kpi)]
            found[uid] = self._facts(one, figures, known.get(uid, {}), evaluated.get(uid, {}), mine, health.get(uid, 0))
        return found

    def _wanted(self, conn: Connection, plans: Sequence[RulePlan]) -> list[_Wanted]:
        rows = alerts.load_rules(conn, [plan.uid for plan in plans])
        keys = [history.family_of(plan.need) for plan in plans]
        known = history.families_of(conn, set(keys))
        wanted = []
        for plan, key in zip(plans, keys, strict=True):
            row, family = rows.get(plan.uid), known.get(key)
            last_slot = row.last_slot if row else None
            due, judged = self._due(plan, last_slot), self._judged(plan, last_slot)
            wanted.append(_Wanted(plan, row, due, judged, family.measured_at if family else None, key))
        self._leave_unchanged(conn, wanted)
        return wanted

    def _due(self, plan: RulePlan, last_slot: datetime | None) -> list[Period]:
        key = ("due", plan.need.period, plan.settle, last_slot, plan.rule.catch_up)
        if key not in self._closed:
            self._closed[key] = due_periods(
                plan.need.period,
                now=self.now,
                settle=plan.settle,
                last_slot=last_slot,
                catch_up=plan.rule.catch_up,
                calendar=self.calendar,
            )
        return list(self._closed[key])

    def _judged(self, plan: RulePlan, last_slot: datetime | None) -> list[Period]:
        count = plan.recheck
        key = ("judged", plan.need.period, last_slot, count)
        if key not in self._closed:
            self._closed[key] = judged_periods(
                plan.need.period, now=self.now, last_slot=last_slot, count=count, calendar=self.calendar
            )
        return list(self._closed[key])

    def _leave_unchanged(self, conn: Connection, wanted: Sequence[_Wanted]) -> None:
        """Judged periods are looked at again only if a figure that they rest on is newer than the judgement.

        While the clock has not passed the judgement (it was set back), what was measured at this very instant is newer, too.
        """
        spans: dict[SpanKey, list[tuple[_Wanted, str]]] = {}
        for one in wanted:
            for read in self._reads(one, one.recheck) if one.row is not None else ():
                spans.setdefault(read.span, []).append((one, read.family))
        changed: set[str] = set()
        for (start, end), some in spans.items():
            newest = history.newest_figures(conn, {family for _, family in some}, start=start, end=end)
            for one, family in some:
                since = min(one.row.updated_at if one.row else self.now, self.now - _TICK)
                if family in newest and newest[family] > since:
                    changed.add(one.plan.uid)
        for one in wanted:
            if one.plan.uid not in changed:
                one.recheck = []

    def _reads(self, one: _Wanted, periods: Sequence[Period]) -> list[_Read]:
        """What has to be read to judge these periods: the rule's own family first."""
        if not periods:
            return []
        plan = one.plan
        end, back = max(period.end for period in periods), max(reach_of(plan), 1 if plan.nothing is None else REMEMBERED)
        found = [self._read(one.family, plan.need.period, periods, end, back)]
        if plan.total is not None:
            found.append(self._read(history.family_of(plan.total), plan.total.period, periods, end, 1))
        if plan.days is not None:
            found.append(_Read(history.family_of(plan.days), (end - timedelta(days=plan.days.periods), end)))
        for need, reach, _ in plan.beside:
            theirs = [last_complete(need.period, period.end, self.calendar)[0] for period in periods]
            found.append(self._read(history.family_of(need), need.period, theirs, end, max(back, reach)))
        return found

    def _read(self, family: str, kind: str, periods: Sequence[Period], end: datetime, back: int) -> _Read:
        key = (kind, periods[0], periods[-1], back)
        if key not in self._begins:
            self._begins[key] = tuple(sorted({start for period in periods for start in self._starts(period, back)}))
        starts = self._begins[key]
        return _Read(family, (starts[0], end), starts if is_daily(kind) else ())

    def _starts(self, period: Period, back: int) -> list[datetime]:
        """Where the period begins, and those that it may be compared with."""
        found, earlier = [period.start], period
        for _ in range(back):
            earlier = self.times.before(earlier)
            if is_daily(period.kind) and period.start - earlier.start > _FURTHEST:
                break
            found.append(earlier.start)
        if is_daily(period.kind) and back > 1:
            found.extend(self._referred(period))
        return found

    def _referred(self, period: Period) -> Iterable[datetime]:
        for name in COMPARISONS:
            try:
                yield reference(period, name, self.calendar).period.start
            except KpidError:
                continue

    def _figures(self, conn: Connection, busy: Sequence[_Wanted]) -> dict[_Read, list[Measurement]]:
        """Measurements by what was read; rules that look at the same periods share a statement."""
        spans: dict[tuple[SpanKey, tuple[datetime, ...]], set[str]] = {}
        for one in busy:
            for read in self._reads(one, one.periods):
                spans.setdefault((read.span, read.starts), set()).add(read.family)
        found: dict[_Read, list[Measurement]] = {}
        for (span, starts), keys in spans.items():
            for key, figures in history.current_of(conn, keys, start=span[0], end=span[1], starts=starts).items():
                found[_Read(key, span, starts)] = figures
        return found

    def _evaluated(self, conn: Connection, busy: Sequence[_Wanted]) -> dict[str, dict[tuple[str, datetime], EvaluationRow]]:
        since: dict[datetime, list[str]] = {}
        for one in busy:
            if one.recheck:
                since.setdefault(one.recheck[0].end, []).append(one.plan.uid)
        found: dict[str, dict[tuple[str, datetime], EvaluationRow]] = {}
        for slot, uids in since.items():
            found.update(alerts.load_evaluations_of(conn, uids, slot))
        return found

    def _facts(
        self,
        one: _Wanted,
        read: Mapping[_Read, list[Measurement]],
        known: Mapping[str, SeriesRow],
        evaluated: Mapping[tuple[str, datetime], EvaluationRow],
        excluded: Sequence[Exclusion],
        episode: int,
    ) -> Facts:
        plan = one.plan
        reads = self._reads(one, one.periods)

        def of(family: str) -> list[Measurement]:
            return next((read[each] for each in reads if each.family == family and each in read), [])

        def beside(need: SeriesNeed | None) -> list[Measurement]:
            return [] if need is None else of(history.family_of(need))

        figures = of(one.family)
        due = one.due if one.row else _begun(one.due, figures)
        due = _ready(plan, due, figures, one.measured_at, self.now)
        by_key, dims = self._by_key(figures)
        days, _ = self._by_key(beside(plan.days))
        return Facts(
            row=one.row,
            series=known,
            due=due,
            recheck=one.recheck,
            figures=by_key,
            dims=dims,
            evaluated=evaluated,
            failure=_failure(plan, due, one.measured_at),
            total={(figure.period.start, figure.period.end): figure for figure in beside(plan.total)},
            members=[self._by_key(beside(need))[0] for need in plan.members],
            days={key: list(figures.values()) for key, figures in days.items()},
            excluded=excluded,
            episodes=episode,
        )

    def _by_key(self, figures: Sequence[Measurement]) -> tuple[Figures, dict[str, Dims]]:
        by_key: dict[str, dict[SpanKey, Measurement]] = {}
        dims: dict[str, Dims] = {}
        for figure in figures:
            key = self._keys.get(figure.dims)
            if key is None:
                key = self._keys[figure.dims] = series_key_of(figure.dims)
            by_key.setdefault(key, {})[figure.period.start, figure.period.end] = figure
            dims[key] = figure.dims
        return by_key, dims


def _begun(due: list[Period], figures: Sequence[Measurement]) -> list[Period]:
    """The due periods of a rule's first round, without those before anything was there to judge."""
    spans = {(figure.period.start, figure.period.end) for figure in figures}
    first = next((place for place, period in enumerate(due) if (period.start, period.end) in spans), len(due) - 1)
    return due[first:]


def _ready(
    plan: RulePlan, due: list[Period], figures: Sequence[Measurement], measured_at: datetime | None, now: datetime
) -> list[Period]:
    """The due periods up to the first that is better judged later."""
    wanted = {(period.start, period.end) for period in due}
    spans: dict[SpanKey, list[Measurement]] = {}
    for figure in figures:
        if (span := (figure.period.start, figure.period.end)) in wanted:
            spans.setdefault(span, []).append(figure)
    for place, period in enumerate(due):
        measured = measured_at is not None and measured_at >= period.end
        mine = spans.get((period.start, period.end), [])
        if is_waiting(period, mine, measured=measured, now=now, settle=plan.settle):
            return due[:place]
    return due


def _failure(plan: RulePlan, due: Sequence[Period], measured_at: datetime | None) -> str:
    if not due or (measured_at is not None and measured_at >= due[-1].end):
        return ""
    since = "never" if measured_at is None else f"not since {measured_at:%Y-%m-%d %H:%M} UTC"
    return f"{plan.kpi.name} could not be measured for this period (measured {since}): `kpid doctor` says why"
