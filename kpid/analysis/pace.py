"""How far a period is, how much of its target should be there by now, and whether it is. Pure.

Shares are exact fractions. A period's progress is counted in working days: those that are over, and of today the part of the
opening hours that is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Literal, TypeAlias

from kpid.analysis.calendar import DAY, Calendar
from kpid.analysis.periods import days_of
from kpid.analysis.workdays import WorkCalendar
from kpid.model import Period

Standing: TypeAlias = Literal["on", "watch", "off", "early", "none"]
"""Against the pace: well, a little behind, far behind, too early to say, nothing to compare with."""
EARLIEST = Fraction(1, 5)
"""Before this share of a period's working days nothing is judged."""
WATCH, OFF = Decimal("0.9"), Decimal("0.75")
"""A pace below this is behind, or far behind."""
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a period is at an instant: working days that are over, all its working days, and the share of its time."""

    worked: Fraction
    working_days: Fraction
    passed: Fraction

    @property
    def position(self) -> Fraction:
        """Share of the working days that is over; of the time, where nobody works."""
        return self.worked / self.working_days if self.working_days else self.passed


def progress(period: Period, at: datetime, calendar: Calendar, work: WorkCalendar) -> Progress:
    """How far a period is at an instant; 0 before it and 1 after it."""
    at = min(max(at, period.start), period.end)
    first, after = days_of(period, calendar)
    whole, length = work.working_days(first, after), (period.end - period.start) // _TICK
    worked = whole if at == period.end else min(work.elapsed_days(first, at), whole)
    return Progress(worked, whole, Fraction((at - period.start) // _TICK, length) if length else Fraction(1))


@dataclass(frozen=True)
class Shape:
    """How a finished period's total came together: after which share of its working days how much of it was there."""

    points: tuple[tuple[Fraction, Decimal], ...]
    total: Decimal

    def share_at(self, position: Fraction) -> Fraction:
        """Share of the total that was there at a position; between the ends of two days, in proportion."""
        before = (Fraction(0), Decimal(0))
        for point in self.points:
            if point[0] > position:
                part = (position - before[0]) / (point[0] - before[0])
                reached = Fraction(before[1]) + part * (Fraction(point[1]) - Fraction(before[1]))
                return reached / Fraction(self.total)
            before = point
        return Fraction(1)


def shape_of(period: Period, days: Iterable[tuple[date, Decimal]], calendar: Calendar, work: WorkCalendar) -> Shape | None:
    """The shape of a finished period, from what each day brought.

    Args:
        period: a finished period.
        days: local days and what they brought; days that brought nothing may be left out.
        calendar: how time is cut.
        work: which days are working days.

    Returns:
        None where the total is zero or negative: nothing has a share of it.
    """
    first, after = days_of(period, calendar)
    brought = {day: value for day, value in days if first <= day < after}
    total = sum(brought.values(), Decimal(0))
    if total <= 0:
        return None
    whole = work.working_days(first, after)
    points, worked, reached = [], Fraction(0), Decimal(0)
    for number in range((after - first).days):
        day = first + DAY * number
        worked, reached = worked + work.weight(day), reached + brought.get(day, Decimal(0))
        points.append((worked / whole if whole else Fraction(number + 1, (after - first).days), reached))
    return Shape(tuple(points), total)


def expected_share(curve: str | Sequence[Decimal], how_far: Progress, last_year: Shape | None = None) -> Fraction | None:
    """Share of a period's target that should be there by now.

    Args:
        curve: ``linear_working_days``, ``linear_calendar``, ``seasonal``, or cumulative shares at equal steps of the period.
        how_far: where the period is.
        last_year: for ``seasonal``: the shape of the same period a year before.

    Returns:
        None for a ``seasonal`` curve without last year.
    """
    if curve == "linear_calendar":
        return how_far.passed
    if curve == "seasonal":
        return last_year.share_at(how_far.position) if last_year is not None else None
    if isinstance(curve, str):
        return how_far.position
    steps = [Fraction(0), *(Fraction(share) for share in curve)]
    at = how_far.position * (len(steps) - 1)
    step = min(int(at), len(steps) - 2)
    return steps[step] + (steps[step + 1] - steps[step]) * (at - step)


@dataclass(frozen=True, slots=True)
class Pace:
    """An actual figure against a target in the course of its period.

    ``expected`` is what should be there by now, ``pace`` the actual share of that, ``projected`` what the period comes to if it
    goes on so, ``attained`` the share of the whole target.
    """

    expected: Decimal | None
    pace: Decimal | None
    projected: Decimal | None
    attained: Decimal | None
    standing: Standing


def pace(actual: Decimal | None, target: Decimal | None, share: Fraction | None, how_far: Progress, better: str) -> Pace:
    """Judge a count or sum in the course of its period; not before a fifth of its working days are over.

    Args:
        actual: what is there by now.
        target: what should be there at the end.
        share: how much of it should be there by now.
        how_far: where the period is.
        better: ``up`` or ``down``: which way is good.
    """
    if actual is None or share is None:
        return Pace(None, None, None, None, "none")
    projected = _times(actual, 1 / share) if share > 0 else None
    if target is None or target <= 0:
        return Pace(None, None, projected, None, "none")
    expected = _times(target, share)
    reached = actual / expected if expected > 0 else None
    return Pace(expected, reached, projected, actual / target, _standing(reached, how_far, better))


def prorated(target: Decimal, part: Period, whole: Period, calendar: Calendar, work: WorkCalendar) -> Decimal | None:
    """What a part of a period has to bring: its share of the working days. None if it does not lie inside."""
    if not (whole.start <= part.start and part.end <= whole.end):
        return None
    days = work.working_days(*days_of(whole, calendar))
    return _times(target, work.working_days(*days_of(part, calendar)) / days) if days else None


def _standing(reached: Decimal | None, how_far: Progress, better: str) -> Standing:
    if reached is None or better not in {"up", "down"}:
        return "none"
    if how_far.position < EARLIEST:
        return "early"
    if better == "down":
        return "on" if reached * WATCH <= 1 else "watch" if reached * OFF <= 1 else "off"
    return "on" if reached >= WATCH else "watch" if reached >= OFF else "off"


def _times(value: Decimal, share: Fraction) -> Decimal:
    return value * share.numerator / share.denominator
