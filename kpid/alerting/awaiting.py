"""From when on enough is known to compare with: what cannot be judged yet says when it can. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from kpid.alerting.verdicts import OutcomeKind, Verdict, unsure
from kpid.analysis.periods import is_daily, period_at
from kpid.model import Period

if TYPE_CHECKING:
    from kpid.alerting.contracts import Sight

_LATEST = 400


def too_little(reason: str, sight: Sight, day: date | None) -> Verdict:
    """Nothing can be said yet, why, and from which day on it can; None: nobody knows."""
    if day is None:
        return unsure(OutcomeKind.INSUFFICIENT, reason)
    told = f"{reason}; enough is known from {day} on, if figures keep coming"
    return replace(unsure(OutcomeKind.INSUFFICIENT, told), known_from=day.isoformat())


def day_after(sight: Sight, more: int) -> date | None:
    """The local day from which so many further figures are known, that of the period judged being the first of them."""
    if sight.calendar is None or not 0 < more <= _LATEST:
        return None
    period = sight.period
    if is_daily(period.kind):
        step = sight.before[-1].end if sight.before else period.start
        return sight.calendar.day_of(period.end + more * (period.end - step))
    for _ in range(more):
        period = period_at(period.kind, period.end, sight.calendar)
    return sight.calendar.day_of(period.end)


def day_of_reference(sight: Sight, reference: Period, is_known: Callable[[Period], bool]) -> date | None:
    """The local day from which the figure to compare with is one that is known.

    Args:
        sight: what is known of the series.
        reference: the period that would be compared with, of which nothing is known.
        is_known: whether the figure of a period can be compared with.
    """
    first = _first(sight, is_known)
    if sight.calendar is None or first.start <= reference.start:
        return None
    apart = sight.period.end - reference.end
    if is_daily(first.kind):
        return sight.calendar.day_of(first.end + apart)
    return sight.calendar.day_of(_around(first, first.start + apart + (first.end - first.start) / 2, sight))


def _around(first: Period, instant: datetime, sight: Sight) -> datetime:
    return first.end if sight.calendar is None else period_at(first.kind, instant, sight.calendar).end


def _first(sight: Sight, is_known: Callable[[Period], bool]) -> Period:
    """The first period that is known; they are taken to be known without a gap, which is what asking is quick for."""
    spans, low, high = [*sight.before, sight.period], 0, len(sight.before)
    while low < high:
        middle = (low + high) // 2
        if is_known(spans[middle]):
            high = middle
        else:
            low = middle + 1
    return spans[low]
