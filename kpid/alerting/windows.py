"""When people want to hear of alerts. Pure: on the wall clock of the window's zone, less holidays, through both clock changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from kpid.alerting.contracts import Opening
from kpid.analysis.workdays import WorkCalendar
from kpid.config.alerting import Window
from kpid.config.times import window_hours


def openings_of(windows: Mapping[str, Window], calendars: Mapping[str, WorkCalendar], timezone: str) -> dict[str, Opening]:
    """The windows made ready, by name.

    Args:
        windows: as configured.
        calendars: working days by name.
        timezone: the company's.
    """
    return {
        name: Opening(window_hours(window, calendars, timezone), window.outside)
        for name, window in windows.items()
        if window.calendar is None or window.calendar in calendars
    }


def is_open(window: Opening, instant: datetime) -> bool:
    """Whether it is open at an instant; half-open: not any more at its end."""
    return window.hours.next_opening(instant, within=2) == instant


def next_opening(window: Opening, instant: datetime) -> datetime | None:
    """The first open moment at or after an instant; None if it never opens within 400 days."""
    return window.hours.next_opening(instant)
