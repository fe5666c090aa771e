"""``campaign_to_date``: each campaign from its own start on, to one day. Periods of their own length, so only on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, func, select

from kpid.errors import KpidError
from kpid.metrics.dialects import compile_statement
from kpid.metrics.measure import MetricsSetup, figures_at
from kpid.metrics.spine import Setting
from kpid.model import Measurement, Period, SeriesNeed
from kpid.plugin import entities, living

CAMPAIGN_TO_DATE = "campaign_to_date"
CAMPAIGN = "campaign"
_AT_ONCE = 50
"""So many starts are measured in one plan: each row is held against as many periods."""


def campaign_figures(need: SeriesNeed, setup: MetricsSetup, *, end: datetime, now: datetime) -> list[Measurement]:
    """Measure a need for every campaign that has begun, each from its start to an instant.

    A campaign starts on its first day, or when it was created where that is not known; campaigns of one name are one. What is
    credited to a name that no campaign has is left out: nobody knows from when on to count it.

    Args:
        need: KPI and cuts, ``campaign`` among them.
        setup: where the facts are.
        end: a local midnight: the figures go as far.
        now: the instant that the measurements are made at.

    Raises:
        KpidError: it is not cut by campaign; the KPI or a parameter is unknown; the warehouse refused.
    """
    if CAMPAIGN not in need.by:
        raise KpidError(f"{CAMPAIGN_TO_DATE} is a period of its own for each campaign", hint="Add --by campaign")
    starts = {name: first for name, first in starts_of(setup, now).items() if setup.calendar.midnight(first) < end}
    days, found = sorted(set(starts.values())), list[Measurement]()
    for place in range(0, len(days), _AT_ONCE):
        found += _measured(need, starts, days[place : place + _AT_ONCE], setup, end, now)
    return sorted(found, key=lambda one: [(part.name or part.id or "") for part in one.dims])


def starts_of(setup: MetricsSetup, now: datetime) -> dict[str, date]:
    """The first day of each campaign by its name; of several that share one the earliest."""
    setting = Setting(now, setup.calendar.timezone, setup.currency)
    sql, parameters = compile_statement(_named(), setup.warehouse.dialect, setting.values)
    table = setup.warehouse.query(sql, parameters)
    found: dict[str, date] = {}
    for name, starts_on, created_at in zip(*(column.to_pylist() for column in table.columns), strict=True):
        first = starts_on or (setup.calendar.day_of(created_at) if created_at else None)
        if first is not None:
            found[str(name)] = min(first, found.get(str(name), first))
    return found


@cache
def _named() -> Select[Any]:
    c = living(entities.campaigns, "begun_campaign").c
    return select(func.coalesce(c.name, c.id), c.starts_on, c.created_at)


def _measured(
    need: SeriesNeed, starts: Mapping[str, date], days: Sequence[date], setup: MetricsSetup, end: datetime, now: datetime
) -> Iterator[Measurement]:
    """The figures of the campaigns that start on some days; those of others in these periods are left out."""
    calendar = setup.calendar
    last = calendar.day_of(end - timedelta(microseconds=1))
    kind = f"since_{days[0]}"  # one for all: they are measured in one plan
    periods = {first: Period(kind, calendar.midnight(first), end, f"since {first} to {last}") for first in days}
    [found] = figures_at([need], setup, list(periods.values()), now=now)
    for one in found:
        name = next((part.id for part in one.dims if part.dimension == CAMPAIGN), None)
        if name is not None and one.period == periods.get(starts.get(name, date.max)):
            yield replace(one, period=replace(one.period, kind=CAMPAIGN_TO_DATE))
