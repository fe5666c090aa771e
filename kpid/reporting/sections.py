"""Reports and alerts in parts, for chats, and as data, for machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpid.plugin.notifier import Section
from kpid.reporting.context import Drivers, ReportContext


def report_sections(words: Mapping[str, Any]) -> tuple[Section, ...]:
    """The same order as in the mail: headline, why, picture, drivers, rows, small print."""
    sections = [
        Section("headline", words["headline"]),
        Section("text", " ".join([f"{words['title']}, {words['period']}.", *words["lead"]])),
    ]
    if words["late_note"]:
        sections.append(Section("text", words["late_note"]))
    if words["pinned"]:
        sections.append(Section("text", words["pinned"]))
    if words["tally"]:
        sections.append(Section("text", "   ".join(f"{word['mark']} {word['text']}" for word in words["tally"])))
    if words["hero"]:
        sections.append(Section("image", words["hero"]["picture"].alt, image=words["hero"]["picture"].name))
    if words["drivers"]:
        pairs = tuple((row["segment"], _with(row["effect"], row["figures"])) for row in words["drivers"]["rows"])
        sections.append(Section("rows", words["drivers"]["title"], pairs))
    if words["alerts_title"]:
        sections.append(Section("text", "\n".join([words["alerts_title"], *words["alerts"]])))
    if words["rows"]:
        sections.append(Section("rows", words["table_title"], tuple(_pair(row) for row in words["rows"])))
    notes = [*words["notes"], *([f"Not available: {words['missing']}."] if words["missing"] else [])]
    fresh = ", ".join(entry["text"] for entry in words["freshness"])
    notes.append(f"{f'Data as of {fresh}. ' if fresh else ''}{words['scope']}")
    return (*sections, Section("note", "\n".join(notes)))


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    parts = [f"{row['change']} {row['better']}".strip() if row["change"] else "", row["target"]]
    parts.append(row["word"] if row["target"] or row["status"] == "unjudged" else "")
    return (f"{row['mark']} {row['name']}", _with(row["value"], ", ".join(part for part in parts if part)))


def _with(value: str, more: str) -> str:
    return f"{value} ({more})" if more else value


def alert_sections(view: Mapping[str, Any]) -> tuple[Section, ...]:
    """Headline with the state word, summary, figures or rows, records, what is left out, small print."""
    sections = [Section("headline", f"{view['mark']} {view['state']}: {view['headline']}")]
    sections.extend(Section("text", view[part]) for part in ("summary", "held", "found_late") if view[part])
    if view["facts"]:
        sections.append(Section("facts", pairs=tuple(view["facts"])))
    if view["chart"]:
        sections.append(Section("image", view["chart"].alt, image=view["chart"].name))
    for group in view["groups"]:
        sections.extend(_table(group["title"], group))
    for part in view["parts"]:
        title = "\n".join(text for text in (part["title"], part["note"], part["summary"]) if text)
        sections.extend(_table(title, part))
    if view["others"]:
        sections.append(Section("text", view["others"]))
    for records in view["lists"]:
        pairs = tuple((row[0], ", ".join(cell for cell in row[1:] if cell)) for row in records["rows"])
        sections.append(Section("rows", f"{records['title']} ({', '.join(records['columns'])})", pairs))
    return (*sections, Section("note", " ".join(small_print(view))))


def small_print(view: Mapping[str, Any]) -> list[str]:
    """What stands below every alert, a sentence each."""
    small = [f"{view['kpi']}: {view['definition']}" if view["definition"] else ""]
    small.append(f"Data as of {view['data_as_of']}." if view["data_as_of"] else "")
    small.append(f"Rule {view['rule']}." if view["rule"] else "")
    small.append(f"Alert {view['alert']} (kpid alerts show {view['alert']})." if view["alert"] else "")
    small.append(f"Route {view['route']}." if view["route"] else "")
    small += [f"{name}: {value}." for name, value in view["labels"]]
    small.append(f"Times are of {view['timezone']}.")
    return [part for part in small if part]


def _table(title: str, table: Mapping[str, Any]) -> list[Section]:
    pairs = tuple((f"{row['mark']} {row['segment']}", _told(row)) for row in table["rows"])
    more = [Section("text", f"and {table['more']:,} more")] if table["more"] else []
    return [Section("rows", title, pairs), *more]


def _told(row: Mapping[str, Any]) -> str:
    more = ", ".join(part for part in (row["change"], row["story"], row["sample"]) if part)
    return _with(row["value"], more) if row["value"] else more


def _driver_facts(drivers: Drivers) -> dict[str, Any]:
    rows = [{"segment": row.segment, "effect": str(row.effect)} for row in drivers.rows]
    return {"kpi": drivers.kpi, "dimension": drivers.dimension, "change": str(drivers.change), "rows": rows}


def report_facts(context: ReportContext) -> dict[str, Any]:
    """A report as data: values unrounded, as text."""
    return {
        "report": context.name,
        "title": context.title,
        "period": {
            "kind": context.period.kind,
            "label": context.period.label,
            "start": context.period.start.isoformat(),
            "end": context.period.end.isoformat(),
        },
        "headline": context.headline,
        "kpis": [
            {
                "id": line.id,
                "unit": line.unit,
                "currency": line.currency,
                "value": None if line.value is None else str(line.value),
                "previous": None if line.previous is None else str(line.previous),
                "target": None if line.target is None else str(line.target),
                "status": line.status,
                "state": line.state,
                "n": line.n,
                "low": None if line.low is None else str(line.low),
                "high": None if line.high is None else str(line.high),
                "reason": line.reason,
            }
            for line in context.kpis
        ],
        "drivers": None if context.drivers is None else _driver_facts(context.drivers),
        "missing": list(context.missing),
        "as_reported": context.pinned,
        "freshness": {
            entry.source: {"through": entry.through.isoformat() if entry.through else None, "stale": entry.stale}
            for entry in context.freshness
        },
    }
