"""Which slots of a rule are due. A slot is the end of a closed period; waiting for late data only delays its evaluation. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from kpid.alerting.series import Slot
from kpid.analysis.periods import Calendar, last_complete
from kpid.model import Measurement, MeasurementState, Period

PATIENCE = timedelta(days=2)
"""So long after a period's end (and its settle time) sources that are not stale may take to deliver it."""


def slot_of(period: Period) -> Slot:
    """The slot at which a period is judged."""
    return Slot(period.end, period.label, period.start)


def due_periods(
    kind: str, *, now: datetime, settle: timedelta, last_slot: datetime | None, catch_up: int, calendar: Calendar
) -> list[Period]:
    """The periods to judge now, oldest first: over, settled, not judged yet, and at most ``catch_up`` back."""
    closed = last_complete(kind, now - settle, calendar, catch_up)
    return [period for period in closed if last_slot is None or period.end > last_slot]


def judged_periods(kind: str, *, now: datetime, last_slot: datetime | None, count: int, calendar: Calendar) -> list[Period]:
    """The last ``count`` periods that have been judged, oldest first."""
    if last_slot is None:
        return []
    return [period for period in last_complete(kind, min(last_slot, now), calendar, count) if period.end <= last_slot]


def is_waiting(period: Period, figures: Iterable[Measurement], *, measured: bool, now: datetime, settle: timedelta) -> bool:
    """Whether a period is better judged later: its figures are still on their way, and there is patience left.

    Args:
        period: closed.
        figures: its measurements.
        measured: it has been measured since its end.
        now: the current instant.
        settle: the rule's wait after the end.
    """
    if now >= period.end + settle + PATIENCE:
        return False
    states = {figure.state for figure in figures}
    return MeasurementState.INCOMPLETE in states or (not states and not measured)
