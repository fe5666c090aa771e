"""What periods are called, and which period a name means."""

from __future__ import annotations

import re
from datetime import date

from kpid.analysis import fiscal
from kpid.analysis.calendar import Calendar

MONTHS = {"month": 1, "quarter": 3, "half": 6, "year": 12}
TO_DATE = {
    "wtd": "week", "mtd": "month", "qtd": "quarter", "ytd": "year",
    "fmtd": "fiscal_month", "fqtd": "fiscal_quarter", "fytd": "fiscal_year",
}  # fmt: skip
"""To-date kinds, and the kind of period that they are a part of."""
_ISO = {"week", "iso_week"}
_LABELS = re.compile(
    r"""(?P<fy>FY)?(?P<year>\d{4}) (?: -W(?P<week>\d\d) | -Q(?P<quarter>[1-4]) | -H(?P<half>[12]) | -M(?P<fmonth>\d\d)
        | -(?P<month>\d\d) (?:-(?P<day>\d\d))? )?
        | (?P<rolling>\d+)d\ (?P<how>to|incl)\ (?P<last>\d{4}-\d\d-\d\d)
        | (?P<todate>[WMQY]TD|F[MQY]TD)\ (?P<until>\d{4}-\d\d-\d\d)
        | since\ (?P<since>\d{4}-\d\d-\d\d)\ to\ (?P<upto>\d{4}-\d\d-\d\d)""",
    re.VERBOSE,
)


def is_iso(kind: str, calendar: Calendar) -> bool:
    """Whether periods of this kind are ISO weeks: from Monday on, with a number."""
    return kind == "iso_week" or (kind == "week" and calendar.week_start == "mon")


def label_of(kind: str, first: date, calendar: Calendar) -> str:
    """What people call the calendar period that starts on a day; weeks from Sunday or Saturday on go by that day."""
    if is_iso(kind, calendar):
        year, week, _ = first.isocalendar()
        return f"{year}-W{week:02}"
    if kind in fiscal.MONTHS:
        return fiscal.label(kind, first, calendar)
    if kind not in MONTHS:
        return first.isoformat()
    part = (first.month - 1) // MONTHS[kind] + 1
    parts = {"month": f"-{part:02}", "quarter": f"-Q{part}", "half": f"-H{part}", "year": ""}
    return f"{first.year}{parts[kind]}"


def parse_label(text: str, kind: str | None, calendar: Calendar) -> tuple[str | None, date]:
    """Kind and a day of the period that a label names (the last day if there is one per day); kind None if it names none.

    Args:
        text: the label.
        kind: the kind that is wanted; None: any. A date alone is the period of that kind that it lies in.
        calendar: how time is cut.

    Raises:
        ValueError, OverflowError: no such date.
    """
    match = _LABELS.fullmatch(text)
    part = {name: value for name, value in match.groupdict().items() if value} if match else {}
    if "rolling" in part:
        today = "_today" if part["how"] == "incl" else ""
        return f"rolling_{int(part['rolling'])}d{today}", date.fromisoformat(part["last"])
    if "todate" in part:
        return part["todate"].lower(), date.fromisoformat(part["until"])
    if "since" in part:
        return f"since_{date.fromisoformat(part['since'])}", date.fromisoformat(part["upto"])
    if "fy" in part:
        return _parse_fiscal(part, calendar)
    return _parse_year(part, kind, calendar) if part and "fmonth" not in part else (None, date.min)


def _parse_year(part: dict[str, str], kind: str | None, calendar: Calendar) -> tuple[str | None, date]:
    year = int(part["year"])
    if "day" in part:
        return kind or "day", date(year, int(part["month"]), int(part["day"]))
    if "week" in part:
        iso = kind if kind in _ISO else "week" if calendar.week_start == "mon" else "iso_week"
        return (iso if is_iso(iso, calendar) else None), date.fromisocalendar(year, int(part["week"]), 1)
    for name, months in (("month", 1), ("quarter", 3), ("half", 6)):
        if name in part:
            return name, date(year, (int(part[name]) - 1) * months + 1, 1)
    return "year", date(year, 1, 1)


def _parse_fiscal(part: dict[str, str], calendar: Calendar) -> tuple[str | None, date]:
    kind, month = "fiscal_year", 0
    if "quarter" in part:
        kind, month = "fiscal_quarter", (int(part["quarter"]) - 1) * 3
    if "fmonth" in part:
        kind, month = "fiscal_month", int(part["fmonth"]) - 1
    if {"week", "half", "month"} & part.keys() or not 0 <= month < 12:
        return None, date.min
    return kind, fiscal.first_day(int(part["year"]), month, calendar)
