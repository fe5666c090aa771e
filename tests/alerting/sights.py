"""Series made by hand, for judging without a store: figures of consecutive periods, the last one judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from kpid.alerting.assessing import RuleConditions
from kpid.alerting.contracts import Sight
from kpid.alerting.mappings import condition_from
from kpid.analysis.intervals import nps_interval
from kpid.analysis.periods import Calendar, last_complete
from kpid.analysis.stats import wilson
from kpid.analysis.workdays import WorkCalendar
from kpid.model import Measurement, MeasurementState, Period

CALENDAR = Calendar("Europe/Berlin")
WORK = WorkCalendar("Europe/Berlin", regions=(("DE", "BE"),))
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""A Monday."""


def periods(kind: str, count: int, now: datetime = NOW) -> list[Period]:
    """The last periods that are over, oldest first."""
    return last_complete(kind, now, CALENDAR, count)


def rate(period: Period, won: int, closed: int, **more: Any) -> Measurement:
    """A share of cases, with its interval."""
    ends = wilson(won, closed) or (0.0, 1.0)
    low, high = (Decimal(repr(end)) for end in ends)
    value = Decimal(won) / closed if closed else None
    state = MeasurementState.OK if closed else MeasurementState.UNDEFINED
    plain = Measurement("win_rate", period, state, value, closed, low=low, high=high)
    return replace(plain, numerator=Decimal(won), denominator=Decimal(closed), **more)


def score(period: Period, promoters: int, detractors: int, n: int) -> Measurement:
    """A Net Promoter Score, with its interval."""
    ends = nps_interval(promoters, detractors, n) or (-100.0, 100.0)
    low, high = (Decimal(repr(end)) for end in ends)
    value = Decimal(promoters - detractors) * 100 / n
    return Measurement("nps", period, MeasurementState.OK, value, n, low=low, high=high)


def plain(period: Period, value: Any, **more: Any) -> Measurement:
    """A count, amount or whatever has a value; its sample is the value itself."""
    made = Measurement("deals", period, MeasurementState.OK, Decimal(str(value)), int(value))
    return replace(made, **more)


def sight(figures: Sequence[Measurement | None], kind: str = "week", now: datetime = NOW, **more: Any) -> Sight:
    """The sight of the last of these figures; None is a period without one."""
    spans = periods(kind, len(figures), now)
    known = {(one.start, one.end): figure for one, figure in zip(spans, figures, strict=True) if figure is not None}
    given = {"before": spans[:-1], "at": lambda period: known.get((period.start, period.end)), "calendar": CALENDAR, "work": WORK}
    return Sight(figures[-1], spans[-1], **{**given, **more})


def of(make: Callable[..., Measurement], values: Sequence[Any], kind: str = "week", now: datetime = NOW, **more: Any) -> Sight:
    """The sight of a series of values (tuples are several arguments), the last one judged; None is a period without a figure."""
    made: list[Measurement | None] = []
    for period, value in zip(periods(kind, len(values), now), values, strict=True):
        parts = value if isinstance(value, tuple) else (value,)
        made.append(None if value is None else make(period, *parts))
    return sight(made, kind, now, **more)


def asks(unit: str = "count", **given: Any) -> RuleConditions:
    """Conditions read from what a rule would say, and everything else as given."""
    read = {name: condition_from(given.pop(name)) for name in ("warn", "critical", "recover") if name in given}
    return RuleConditions(unit, **read, **given)


def day(text: str) -> date:
    """``2026-11-20``."""
    return date.fromisoformat(text)
