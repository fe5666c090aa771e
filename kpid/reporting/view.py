"""A report context as the words and pictures that templates place: each number is written once, so mail and text agree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kpid.analysis.causes import interval_text
from kpid.analysis.periods import Calendar
from kpid.analysis.wording import (
    better_word,
    change_text,
    exact_text,
    limit_text,
    noun_text,
    period_text,
    value_text,
    when_text,
)
from kpid.reporting.charts import BIG, HALF, Line, Size, line_chart, sparkline, trend_word
from kpid.reporting.cleaning import one_line
from kpid.reporting.context import Driver, Drivers, Freshness, KpiLine, ReportContext
from kpid.reporting.headline import number_text, period_noun, side_of_target

MARKS = {"off": "▼", "watch": "◆", "on": "●", "none": "○", "unjudged": "–"}
WORDS = {"off": "off target", "watch": "watch", "on": "on target", "none": "no target", "unjudged": "not judged"}
_STATES = {
    "insufficient_sample": "sample too small",
    "undefined": "nothing to divide by",
    "stale": "data too old",
    "incomplete": "not complete yet",
    "error": "not measured",
}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SHORTEST_CHART = 3
MAX_ROWS = 30
_BAR = 148
"""Pixels of the driver bars' cell."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart to be rasterised. ``width`` and ``height`` are those it is shown at on a desk."""

    name: str
    svg: str
    alt: str
    width: int
    height: int
    scale: float
    text: bool


@dataclass(frozen=True, slots=True)
class ReportView:
    """What the templates of a report get as ``r``, and its pictures."""

    words: dict[str, Any]
    pictures: tuple[Picture, ...]


def report_view(context: ReportContext, most_rows: int = MAX_ROWS) -> ReportView:
    """Write everything that a report says, of up to ``most_rows`` KPIs."""
    calendar = Calendar(context.timezone, context.week_start)
    noun = period_noun(context.period.kind)
    charted = _charted(context.kpis)
    big = [_chart(line, noun, BIG, f"chart-{line.id}") for line in charted[:1]]
    small = [_chart(line, noun, HALF, f"chart-{line.id}") for line in charted[1:]]
    shown = context.kpis[:most_rows]
    rows = [_row(line) for line in shown]
    sparks = [_spark(line) for line in shown if sum(point.value is not None for point in line.series) >= 2]
    period = period_text(context.period, calendar)
    column = period.split(",")[0]
    words = {
        "title": one_line(context.title),
        "company": one_line(context.company),
        "period": period,
        "sent": when_text(context.sent, context.timezone),
        "noun": noun,
        "headline": one_line(context.headline, 240),
        "lead": [one_line(sentence, 300) for sentence in context.lead],
        "tally": _tally(context.kpis),
        "late_note": one_line(context.late_note, 400),
        "pinned": one_line(context.pinned, 400),
        "hero": _caption(charted[0], big[0]) if charted else None,
        "seconds": [_caption(line, picture) for line, picture in zip(charted[1:], small, strict=True)],
        "drivers": _drivers(context.drivers, context.kpis, noun),
        "rows": rows,
        "more_rows": len(context.kpis) - len(shown),
        "sparks": {picture.name: picture for picture in sparks},
        "table_title": _table_title(len(context.kpis)),
        "column": column[:1].upper() + column[1:],
        "series_title": f"{max((len(line.series) for line in shown), default=0)} {noun}s",
        "missing": ", ".join(one_line(name, 160) for name in context.missing),
        "alerts_title": _alerts_title(context.alerts_open),
        "alerts": [one_line(line, 240) for line in context.alerts[:5]],
        "alerts_more": max(0, context.alerts_open - 5),
        "freshness": [_fresh(entry, context) for entry in context.freshness],
        "scope": _scope(context),
        "definitions": _definitions(context, shown),
        "notes": _notes(shown),
    }
    return ReportView(words, (*big, *small, *sparks))


def _charted(lines: Sequence[KpiLine]) -> list[KpiLine]:
    """The headline's KPI and the next two misses, as far as there is a line to draw."""
    drawable = [line for line in lines if sum(point.value is not None for point in line.series) >= _SHORTEST_CHART]
    missed = [line for line in drawable if line.status in {"off", "watch"}]
    return missed[:3] if missed else drawable[:1]


def _chart(line: KpiLine, noun: str, size: Size, name: str) -> Picture:
    values = [None if point.value is None else float(point.value) for point in line.series]
    known = [(point.value, index) for index, point in enumerate(line.series) if point.value is not None]
    best = (min(known) if line.better == "down" else max(known)) if known and line.better != "none" else None
    at_end = best is not None and best[1] == len(values) - 1
    side = side_of_target(line)
    run_text = f"{line.run} {noun if line.run == 1 else noun + 's'} {side} target" if line.run else ""
    target = limit_text(line.target, line.unit, line.currency)
    chart = Line(
        labels=[point.label for point in line.series],
        values=values,
        target=None if line.target is None else float(line.target),
        status=line.status,
        run=line.run,
        end_text=exact_text(line.value, line.target, line.unit, line.currency) if values and values[-1] is not None else "",
        target_text=f"target {target}" if line.target is not None else "",
        run_text=run_text,
        best_text=f"best {value_text(best[0], line.unit, line.currency)}" if best and not at_end else "",
        best_index=best[1] if best and not at_end else None,
    )
    plain = re.sub(r"[<>\"&]", " ", one_line(line.name, 80))
    alt = ", ".join(part for part in (f"{plain}: {trend_word(values)}", run_text) if part)
    height = round(size.height * size.shown / size.width)
    return Picture(name, line_chart(chart, size), alt, size.shown, height, 2 * size.shown / size.width, True)


def _spark(line: KpiLine) -> Picture:
    values = [None if point.value is None else float(point.value) for point in line.series]
    target = None if line.target is None else float(line.target)
    return Picture(f"spark-{line.id}", sparkline(values, target, line.status), trend_word(values), 116, 34, 2.0, False)


def _caption(line: KpiLine, picture: Picture) -> dict[str, Any]:
    return {
        "name": one_line(line.name),
        "note": one_line(line.definition or sample_text(line), 90 if picture.width > HALF.shown else 44),
        "status": line.status,
        "mark": MARKS[line.status],
        "word": WORDS[line.status],
        "picture": picture,
    }


def _row(line: KpiLine) -> dict[str, Any]:
    judged = line.status != "unjudged"
    target = ""
    if line.target is not None:
        target = f"{'≥' if line.better == 'up' else '≤'} {limit_text(line.target, line.unit, line.currency)}"
    value = number_text(line) if not judged else exact_text(line.value, line.target, line.unit, line.currency)
    change = change_text(line.value, line.previous, line.unit, line.currency) if judged and line.previous is not None else ""
    return {
        "name": one_line(line.name),
        "sample": sample_text(line),
        "value": value,
        "change": change,
        "better": better_word(line.value, line.previous, line.better) if change else "",
        "target": target,
        "status": line.status,
        "mark": MARKS[line.status],
        "word": WORDS[line.status] if judged else _STATES.get(line.state, WORDS["unjudged"]),
        "spark": f"spark-{line.id}",
    }


def sample_text(line: KpiLine) -> str:
    """What a number rests on: ``36 of 158 closed deals, 17.1% to 29.9%``, ``36 records``; empty for plain counts."""
    margin = interval_text(line.low, line.high, line.unit, line.currency) if line.status != "unjudged" else ""
    return ", ".join(part for part in (_sample(line), margin) if part)


def _sample(line: KpiLine) -> str:
    label = one_line(line.sample, 40)
    if line.unit == "ratio" and line.numerator is not None and line.denominator is not None:
        known = "" if label == "records" else f" {noun_text(line.denominator, label)}"
        return f"{value_text(line.numerator, 'count')} of {value_text(line.denominator, 'count')}{known}"
    if not line.n or line.unit == "count":
        return ""
    return f"{line.n:,} {noun_text(line.n, label)}"


def _tally(lines: Sequence[KpiLine]) -> list[dict[str, str]]:
    words = []
    for status in ("off", "watch", "on", "none", "unjudged"):
        count = sum(line.status == status for line in lines)
        if count:
            words.append({"status": status, "mark": MARKS[status], "text": f"{count} {WORDS[status]}"})
    return words


def _drivers(drivers: Drivers | None, lines: Sequence[KpiLine], noun: str) -> dict[str, Any] | None:
    if drivers is None or not drivers.rows:
        return None
    line = next(line for line in lines if line.id == drivers.kpi)
    left = max((-row.effect for row in drivers.rows if row.effect < 0), default=Decimal(0))
    right = max((row.effect for row in drivers.rows if row.effect > 0), default=Decimal(0))
    scale = _BAR / (left + right)
    whole = change_text(drivers.change, Decimal(0), line.unit, line.currency)
    return {
        "title": f"What moved it: {whole} since the {noun} before, by {drivers.dimension.replace('_', ' ')}",
        "rows": [_driver(row, line, int(left * scale), int(right * scale), scale) for row in drivers.rows],
    }


def _driver(row: Driver, line: KpiLine, left: int, right: int, scale: Decimal) -> dict[str, Any]:
    """A row with the pixels of its bar: ``before | red | blue | after`` round the zero line."""
    size = max(2, int(abs(row.effect) * scale))
    bad = (row.effect < 0) == (line.better != "down")
    negative = row.effect < 0
    return {
        "segment": one_line(row.segment, 60),
        "effect": change_text(row.effect, Decimal(0), line.unit, line.currency),
        "figures": _figures(row, line),
        "before": max(0, left - size) if negative else left,
        "size": size,
        "after": right if negative else max(0, right - size),
        "bad": bad and line.better != "none",
    }


def _figures(row: Driver, line: KpiLine) -> str:
    if not row.new or not row.old:
        return ""
    new, old = (_side(side, line) for side in (row.new, row.old))
    return f"{new}, was {old}"


def _side(side: Sequence[Decimal], line: KpiLine) -> str:
    if len(side) > 1 and line.unit == "ratio":
        return f"{value_text(side[0], 'count')} of {value_text(side[1], 'count')}"
    if len(side) > 1:
        return value_text(side[0] / side[1], line.unit, line.currency) if side[1] else "none"
    return value_text(side[0], line.unit, line.currency)


def _table_title(count: int) -> str:
    word = _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"
    return f"All {word} KPIs" if count > 1 else "The one KPI" if count else "No KPIs"


def _alerts_title(count: int) -> str:
    return f"{count:,} open {'alert' if count == 1 else 'alerts'}" if count else ""


def _fresh(entry: Freshness, context: ReportContext) -> dict[str, Any]:
    if entry.through is None:
        return {"text": f"{one_line(entry.source)}: never synced", "stale": True}
    when = when_text(entry.through, context.timezone, context.sent)
    return {"text": f"{one_line(entry.source)} {when}{', too old' if entry.stale else ''}", "stale": entry.stale}


def _scope(context: ReportContext) -> str:
    days = {"mon": "Monday to Sunday", "sun": "Sunday to Saturday", "sat": "Saturday to Friday"}
    weeks = f"Weeks run {days[context.week_start]}. " if context.period.kind == "week" else ""
    ranges = any(line.low is not None and line.status != "unjudged" for line in context.kpis)
    return f"{weeks}{'Ranges hold with 95 %. ' if ranges else ''}Times are {context.timezone}."


def _definitions(context: ReportContext, lines: Sequence[KpiLine]) -> list[tuple[str, str]]:
    """What each KPI is, and of which records."""
    counted = [("Counted", one_line(context.population, 400))] if context.population else []
    return counted + [(one_line(line.name), one_line(line.definition, 300)) for line in lines if line.definition]


def _notes(lines: Sequence[KpiLine]) -> list[str]:
    """Why a number is not judged, and what to mind about the others."""
    notes = []
    for line in lines:
        if line.status == "unjudged":
            reason = line.reason or _STATES.get(line.state, WORDS["unjudged"])
            notes.append(f"{one_line(line.name)}: {one_line(reason, 240)}")
        notes.extend(f"{one_line(line.name)}: {one_line(warning, 240)}" for warning in line.warnings[:2])
    return notes[:12]
