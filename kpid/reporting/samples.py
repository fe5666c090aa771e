"""Invented contexts and notices that templates are checked with: ordinary, empty, and with hostile text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from kpid.analysis.periods import Calendar, last_complete
from kpid.analysis.wording import short_period
from kpid.model import Cause, Level, Notice, NoticeItem
from kpid.reporting.assemble import series_periods
from kpid.reporting.context import Driver, Drivers, Freshness, KpiLine, Point, ReportContext, Status
from kpid.reporting.headline import headline, lead

NOW = datetime(2026, 11, 16, 6, 0, tzinfo=UTC)
HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=1>{{ 7 * 7 }}\u202egnp.exe\r\nBcc: a@example.com =?utf-8?q?x?= ' + "x" * 300
)


def sample_contexts(template: str, calendar: Calendar) -> list[ReportContext]:
    """An ordinary week, a week without anything, and one in which every text is hostile."""
    lines = sample_lines(calendar)
    drivers = Drivers(
        "win_rate",
        "owner",
        Decimal("-0.021"),
        (
            Driver("Bruno Example", Decimal("-0.017"), (Decimal(8), Decimal(51)), (Decimal(12), Decimal(57))),
            Driver("Carla Example", Decimal("-0.006"), (Decimal(16), Decimal(62)), (Decimal(18), Decimal(66))),
            Driver("Ada Example", Decimal("0.002"), (Decimal(12), Decimal(45)), (Decimal(14), Decimal(54))),
        ),
    )
    ordinary = _context(template, calendar, lines, drivers)
    empty = replace(
        _context(template, calendar, (), None), missing=("Win rate", "NPS"), freshness=(Freshness("crm", None, stale=True),)
    )
    nasty = tuple(replace(line, name=HOSTILE, definition=HOSTILE, reason=HOSTILE, warnings=(HOSTILE,)) for line in lines)
    rows = tuple(replace(row, segment=HOSTILE) for row in drivers.rows)
    hostile = replace(
        _context(template, calendar, nasty, replace(drivers, rows=rows)),
        title=HOSTILE,
        company=HOSTILE,
        missing=(HOSTILE,),
        alerts=(HOSTILE,),
        late_note=HOSTILE,
        freshness=(Freshness(HOSTILE, NOW, stale=True),),
    )
    return [ordinary, empty, hostile]


def _context(template: str, calendar: Calendar, lines: tuple[KpiLine, ...], drivers: Drivers | None) -> ReportContext:
    period = last_complete("week", NOW, calendar, 1)[-1]
    return ReportContext(
        name="weekly-sales",
        template=template,
        title="Weekly sales",
        company="Example GmbH",
        currency="EUR",
        timezone=calendar.timezone,
        week_start=calendar.week_start,
        period=period,
        sent=NOW,
        headline=headline(lines, "week", "last week"),
        lead=lead(lines, drivers),
        kpis=lines,
        drivers=drivers,
        missing=("Calls made",),
        freshness=(
            Freshness("crm", NOW - timedelta(minutes=20), stale=False),
            Freshness("survey", NOW - timedelta(days=3), stale=True),
        ),
        alerts_open=2,
        alerts=("Win rate of Bruno Example is 31.3%, below 40% since October 2026", "Ticket backlog is 61, above 50"),
        late_note="",
    )


_ROWS: tuple[tuple[Any, ...], ...] = (
    ("win_rate", "Win rate", "ratio", "up", "off", "0.25", 158, 3,
     (".274", ".268", ".281", ".279", ".286", ".272", ".268", ".275", ".26", ".251", ".246", ".249", ".228")),
    ("pipeline_created", "Pipeline created", "currency", "up", "off", "300000", 61, 1,
     ("31e4", "325e3", "301e3", "34e4", "322e3", "305e3", "318e3", "33e4", "341e3", "352e3", "338e3", "331e3", "262e3")),
    ("sales_cycle_days", "Sales cycle", "days", "down", "watch", "45", 36, 2,
     ("44", "46", "42", "44", "46", "44", "48", "45", "48", "45", "45", "46", "47")),
    ("won_amount", "Won amount", "currency", "up", "on", "400000", 36, 0,
     ("302e3", "33e4", "322e3", "351e3", "349e3", "371e3", "366e3", "38e4", "392e3", "388e3", "405e3", "398e3", "412e3")),
    ("nps", "NPS", "score", "up", "on", "40", 212, 0,
     ("36", "37", "41", "40", "44", "42", "43", "47", "45", "44", "46", "43", "41")),
    ("leads_created", "Leads created", "count", "up", "none", None, 0, 0,
     ("91", "87", "102", "99", "110", "93", "101", "98", "104", "107", "96", "108", "121")),
    ("avg_deal_size", "Average deal size", "currency", "up", "unjudged", None, 4, 0,
     ("11200", "11900", "11400", None, "12100", "11800", "12300", "11700", "11900", None, "12000", "11600", None)),
)  # fmt: skip


def sample_lines(calendar: Calendar) -> tuple[KpiLine, ...]:
    """Seven KPIs, the worst first."""
    period = last_complete("week", NOW, calendar, 1)[-1]
    labels = [short_period(one, calendar) for one in series_periods(period, 13, calendar)]
    return tuple(_line(row, labels) for row in _ROWS)


def _line(row: tuple[Any, ...], labels: list[str]) -> KpiLine:
    kpi, name, unit, better, status, target, n, run, texts = row
    values = [None if text is None else Decimal(text) for text in texts]
    judged: Status = status
    thin = judged == "unjudged"
    return KpiLine(
        id=kpi,
        name=name,
        unit=unit,
        currency="EUR" if unit == "currency" else None,
        better=better,
        definition=f"invented {name.lower()}, in place of a definition",
        status=judged,
        state="insufficient_sample" if thin else "ok",
        reason="4 records, 20 are needed" if thin else "",
        value=values[-1],
        previous=values[-2],
        target=None if target is None else Decimal(target),
        n=n,
        numerator=Decimal(36) if unit == "ratio" else None,
        denominator=Decimal(158) if unit == "ratio" else None,
        low_sample=20 if thin else 0,
        run=run,
        series=tuple(Point(label, value) for label, value in zip(labels, values, strict=True)),
    )


def sample_notices(calendar: Calendar) -> list[Notice]:
    """A single alert, a group, its end, hostile text, and a notice about data."""
    slot = last_complete("month", NOW, calendar, 1)[-1].end
    one = sample_item("Bruno Example", "0.313")
    notice = Notice(
        rule="win-rate-low",
        kpi="win_rate",
        kpi_name="Win rate",
        unit="ratio",
        currency=None,
        better="up",
        definition="won deals / closed deals, by the day they were closed",
        by=("owner",),
        period="month",
        items=(one,),
        slot=slot,
        data_through=NOW - timedelta(minutes=20),
        now=NOW,
        runbook="https://wiki.example.com/win-rate",
        labels=(("team", "sales"),),
    )
    many = tuple(sample_item(f"Seller {number:02d} Example", f"0.{399 - number}") for number in range(20))
    change = Decimal("-0.137")
    cause = Cause("owner", HOSTILE, change, change, Decimal(0), Decimal("0.313"), Decimal("0.45"), 32, 40, 3.1)
    nasty = replace(one, segment=HOSTILE, reason=HOSTILE, warnings=(HOSTILE,), causes=(cause, cause, cause))
    nasty = replace(nasty, low=Decimal("0.18"), high=Decimal("0.486"))
    bad = replace(
        notice, items=(nasty, one), kpi_name=HOSTILE, definition=HOSTILE, summary=HOSTILE, runbook="javascript:alert(1)"
    )
    health = replace(
        one,
        kind="unhealthy",
        series_key="",
        segment="",
        level=Level.WARN,
        value=None,
        n=0,
        threshold="",
        limit=None,
        previous=None,
        previous_label="",
        reason="crm has had no data since 1 Nov",
    )
    return [
        notice,
        replace(notice, items=many),
        replace(notice, items=(replace(one, kind="resolved", value=Decimal("0.553"), level=Level.NONE),)),
        bad,
        replace(bad, items=(nasty,)),
        replace(notice, items=(health,), kind="health"),
    ]


def sample_item(segment: str, value: str, kind: str = "fired") -> NoticeItem:
    """One series of an invented alert."""
    return NoticeItem(
        kind=kind,
        series_key=segment.lower(),
        segment=segment,
        level=Level.CRITICAL,
        episode=1,
        value=Decimal(value),
        n=32,
        threshold="< 40%",
        limit=Decimal("0.4"),
        previous=Decimal("0.45"),
        previous_label="2026-09",
        since="2026-10",
        reason="below 40% in one period",
    )
