"""Conditions on a period that is still running: ``pace < 90% of target``, ``forecast < target with 80%``.

They look at the to-date twin of the rule's period (a quarter to date for a quarter), which closes at the end of every local day:
so a running quarter is judged daily, and judging it again gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from kpid.alerting.baselines import Terms, days_back
from kpid.alerting.conditions import OPERATORS, SIDES, OfOneFigure
from kpid.alerting.verdicts import Baseline, OutcomeKind, Side, Verdict, exact_value, to_decimal, unsure
from kpid.analysis.calendar import Calendar
from kpid.analysis.comparison import reference
from kpid.analysis.durations import duration_from_text, number_from_text
from kpid.analysis.forecast import LEAST, forecast
from kpid.analysis.pace import Progress, Shape, expected_share, progress, shape_of
from kpid.analysis.periods import TO_DATE, previous_period, whole_of
from kpid.analysis.workdays import WorkCalendar
from kpid.model import Measurement, Period

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight

RUNNING = {whole: kind for kind, whole in TO_DATE.items()}
"""Kinds of periods that can be judged while they run, and the kind by which that is done."""
PAST = 6
"""So many whole earlier periods a forecast goes by."""
_CLOCK_CHANGE = timedelta(hours=1)
"""By so much the days of a clock change may be shorter than their number says."""


def days_needed(kind: str, *, seasonal: bool, forecasts: bool) -> int:
    """How many days back daily figures must reach, for a to-date kind."""
    if not seasonal and not forecasts:
        return 0
    length = days_back(kind)
    return max(length * (PAST + 2) if forecasts else 0, length + 366 if seasonal else 0)


@dataclass(frozen=True, slots=True)
class OfTarget(OfOneFigure):
    """What there is of a running period, against so many percent of its target."""

    text: str
    op: str
    percent: Decimal

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        return frozenset({"target", "running"})

    @property
    def side(self) -> Side:
        """See :class:`Condition`."""
        return SIDES.get(self.op[0], "")

    def holds_for(self, sight: Sight, terms: Terms) -> Verdict:
        """See :class:`Condition`."""
        ready = _ready(sight, terms)
        return ready if isinstance(ready, Verdict) else self._judged(ready, sight, terms)

    def _judged(self, ready: Ready, sight: Sight, terms: Terms) -> Verdict:
        raise NotImplementedError

    def _limit(self, whole: Fraction) -> Fraction:
        """So many percent of it."""
        return whole * Fraction(self.percent) / 100

    def _found(self, holds: bool, whole: Fraction, label: str, reason: str) -> Verdict:
        baseline = Baseline(whole, label)
        return Verdict(holds, reason=reason, limit=to_decimal(self._limit(whole)), baseline=baseline, side=self.side)


@dataclass(frozen=True, slots=True)
class Pace(OfTarget):
    """What there is by now, against what ought to be there by now: ``pace < 90% of target``."""

    def _judged(self, ready: Ready, sight: Sight, terms: Terms) -> Verdict:
        share = _expected(sight, terms, ready.how_far)
        if share is None or share <= 0:
            why = "last year has no shape to follow" if share is None else "nothing is expected by now"
            return unsure(OutcomeKind.INSUFFICIENT, f"no pace: {why}")
        expected = ready.target * share
        reason = f"{float(ready.value / expected) * 100:.1f}% of what should be there after {_days(ready.how_far)}"
        holds = OPERATORS[self.op](ready.value, self._limit(expected))
        return self._found(holds, expected, "what the target wants by now", reason)


@dataclass(frozen=True, slots=True)
class Outlook(OfTarget):
    """What the period will come to, against its target: ``forecast < target``, ``forecast < 90% of target with 80%``.

    ``chance`` None: the middle forecast; else so many percent of the earlier periods must say so.
    """

    chance: Decimal | None = None

    @property
    def needs(self) -> frozenset[str]:
        """See :class:`Condition`."""
        return frozenset({"target", "running", "days"})

    def _judged(self, ready: Ready, sight: Sight, terms: Terms) -> Verdict:
        shares = _past_shares(sight, ready.how_far)
        ahead = forecast(to_decimal(ready.value), shares)
        if ahead is None:
            few = f"{len(shares)} whole earlier periods with figures, {LEAST} needed"
            return unsure(OutcomeKind.INSUFFICIENT, f"no forecast: {few if len(shares) < LEAST else 'too little to go by yet'}")
        share = float(Fraction(ahead.value) / ready.target) * 100
        reason = f"comes to {share:.1f}% of the target if it goes on as {ahead.periods} before did"
        holds = OPERATORS[self.op](Fraction(ahead.value), self._limit(ready.target))
        if self.chance is not None:
            agreeing = sum(1 for share in shares if self._says_so(ready, share))
            reason = f"{reason}; {agreeing} of {len(shares)} say so"
            holds = Fraction(agreeing, len(shares)) * 100 >= Fraction(self.chance)
        return self._found(holds, ready.target, "the target", reason)

    def _says_so(self, ready: Ready, share: Fraction) -> bool:
        """Whether it holds if the period goes on as one did that had this share by now; of none at all it will be boundless."""
        return OPERATORS[self.op](ready.value / share, self._limit(ready.target)) if share > 0 else self.op[0] == ">"


class Ready(NamedTuple):
    """What a running period is judged by: what is there, the target of the whole of it, and how far it is."""

    value: Fraction
    target: Fraction
    how_far: Progress


def _ready(sight: Sight, terms: Terms) -> Ready | Verdict:
    """The value, the target of the whole period and how far that is; a verdict where it is too early, or there is no target."""
    if sight.current is None or sight.calendar is None or sight.work is None:
        return unsure(OutcomeKind.NO_DATA, "nobody said which days are working days")
    if sight.target is None:
        return unsure(OutcomeKind.NO_DATA, "there is no target for this period")
    if sight.target <= 0:
        return unsure(OutcomeKind.INSUFFICIENT, f"the target is {sight.target:f}: nothing has a share of that")
    how_far = _progress(sight.period, sight.calendar, sight.work)
    if _is_early(terms.start_after, how_far, sight.period):
        return unsure(OutcomeKind.INSUFFICIENT, f"too early to say: {_days(how_far)}")
    return Ready(exact_value(sight.current), Fraction(sight.target), how_far)


def _is_early(start_after: str, how_far: Progress, period: Period) -> bool:
    if start_after.strip().endswith("%"):
        return how_far.position < Fraction(number_from_text(start_after))
    return period.end - period.start + _CLOCK_CHANGE < duration_from_text(start_after)


@lru_cache(maxsize=1024)
def _progress(period: Period, calendar: Calendar, work: WorkCalendar) -> Progress:
    return progress(whole_of(period, calendar), period.end, calendar, work)


def _expected(sight: Sight, terms: Terms, how_far: Progress) -> Fraction | None:
    if terms.curve != "seasonal" or sight.calendar is None or sight.work is None:
        return expected_share(terms.curve, how_far)
    earlier = reference(whole_of(sight.period, sight.calendar), "last_year", sight.calendar).period
    return expected_share("seasonal", how_far, shape_of(earlier, _brought(sight.days), sight.calendar, sight.work))


def _past_shares(sight: Sight, how_far: Progress) -> list[Fraction]:
    """What part of their totals earlier whole periods had at this point."""
    if sight.calendar is None or sight.work is None or not sight.days:
        return []
    days, shapes = _brought(sight.days), list[Shape | None]()
    at = whole_of(sight.period, sight.calendar)
    for _ in range(PAST):
        at = previous_period(at, sight.calendar)
        if days[0][0] <= sight.calendar.day_of(at.start):
            shapes.append(shape_of(at, days, sight.calendar, sight.work))
    return [shape.share_at(how_far.position) for shape in shapes if shape is not None]


def _brought(days: Sequence[Measurement]) -> list[tuple[date, Decimal]]:
    return [(date.fromisoformat(one.period.label), one.value) for one in days if one.value is not None]


def _days(how_far: Progress) -> str:
    worked, whole = (f"{float(days):.1f}".removesuffix(".0") for days in (how_far.worked, how_far.working_days))
    return f"{worked} of {whole} working days"
