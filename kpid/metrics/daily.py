"""The mean of a balance over the days of a period. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from functools import partial

from kpid.analysis.periods import Calendar, periods_between
from kpid.errors import ConfigError
from kpid.metrics.plan import Ask
from kpid.metrics.trust import Doubt, verdict
from kpid.model import Dims, Measurement, MeasurementState, Period
from kpid.plugin.quantity import decimal_from_fraction

_NUMBER = re.compile(r"\d+")


def days_within(period: Period, calendar: Calendar, now: datetime) -> tuple[Period, ...]:
    """The local days of a period that have begun; days that a zone never had are none."""
    found = periods_between("day", period.start, period.end, calendar)
    return tuple(day for day in found if day.start < day.end and day.start <= now)


def spread(ask: Ask, calendar: Calendar, now: datetime) -> Ask:
    """An ask for the mean of days, to be measured day by day; any other as it is.

    Raises:
        ConfigError: its periods are shorter than a day.
    """
    if not ask.definition.is_daily_mean:
        return ask
    if ask.need.period == "hour":
        hint = "Take snap=avg out, or measure by day or longer"
        raise ConfigError(f"{ask.kpi.id}: an hour has no days to take the mean of", hint=hint)
    return replace(ask, days=partial(days_within, calendar=calendar, now=now))


def mean_of_days(
    period: Period, dims: Dims, days: Sequence[Measurement], doubts: list[Doubt], told: Collection[str], shape: Measurement
) -> Measurement:
    """The measurement of a period from those of its days.

    Args:
        period: what they are the days of.
        dims: the segment.
        days: in order; where the segment has no rows they are 0.
        doubts: about the data of the whole period.
        told: what the data of single days give reason to doubt: it is said of the period, where it is true of that.
        shape: a measurement of the period: everything but the figure is its.
    """
    values = [day.value for day in days if day.value is not None]
    is_whole = bool(days) and len(values) == len(days)
    found = list(doubts)
    for state in (MeasurementState.ERROR, MeasurementState.UNDEFINED):
        found += [(state, day.reason) for day in days if day.state is state][:1]
    if not days:
        found.append((MeasurementState.UNDEFINED, "no days"))
    state, reason, demoted = verdict(found)
    warnings = {_NUMBER.sub("#", text): text for day in days for text in day.warnings if text not in told}
    number = Fraction(sum(day.n for day in days), len(days) or 1)
    return replace(
        shape,
        dims=dims,
        period=period,
        state=state,
        reason=reason,
        value=decimal_from_fraction(sum(map(Fraction, values), Fraction(0)) / len(days)) if is_whole else None,
        n=int(number + Fraction(1, 2)),
        numerator=None,
        denominator=None,
        low=None,
        high=None,
        warnings=(*demoted, *warnings.values()),
    )
