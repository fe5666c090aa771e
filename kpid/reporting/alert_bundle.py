"""Several notices in one message: a headline with counts, a part per rule, worst first; rows are shared out, counts are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kpid.analysis.periods import Calendar
from kpid.analysis.wording import count_text
from kpid.model import Level, Notice
from kpid.reporting.alert_rows import row_of
from kpid.reporting.alert_words import by_text, condition_of, counted_text, period_of
from kpid.reporting.cleaning import one_line, safe_url

MAX_PARTS = 20
_NAMED = 2
_LEVELLED = frozenset({"fired", "reminder", "escalation"})


def bundle_base(notices: Sequence[Notice], told: str) -> str:
    """The subject after its state word: the first rules by name, and how many more."""
    if told == "digest":
        return f"{count_text(_total(notices), 'alert')} that come and go"
    if source := source_of(notices):
        return f"{source} ({_rules_of(notices)})"
    named = [f"{one_line(notice.kpi_name, 50)}{by_text(notice)}" for notice in notices]
    names = list(dict.fromkeys(named))
    head, rest = names[:_NAMED], len(names) - _NAMED
    if rest > 0:
        return f"{', '.join(head)} and {rest:,} more"
    return f"{' and '.join(head)} ({_rules_of(notices)})"


def bundle_headline(notices: Sequence[Notice], told: str) -> str:
    """What has happened in all of them, counted."""
    kinds = Counter(item.kind for notice in notices for item in notice.items)
    rules = _rules_of(notices)
    if told == "digest":
        return f"{count_text(_total(notices), 'alert')} of {rules} keep coming and going"
    source = source_of(notices)
    if source and set(kinds) == {"unhealthy"}:
        reasons = {item.reason for notice in notices for item in notice.items}
        why = f", {one_line(reasons.pop(), 160)}" if len(reasons) == 1 else ""
        return f"{source}: {rules} cannot be judged{why}"
    if source and set(kinds) == {"healthy"}:
        return f"{source}: {rules} can be judged again"
    return f"{rules}: {counted_text(kinds, _critical(notices))}"


def _rules_of(notices: Sequence[Notice]) -> str:
    """How many rules they are of: one may be told of with several periods."""
    return count_text(len({notice.rule or notice.uid for notice in notices}), "rule")


def _critical(notices: Sequence[Notice]) -> Counter[str]:
    """How many of each kind are critical, where that is worth saying."""
    items = (item for notice in notices for item in notice.items)
    return Counter(item.kind for item in items if item.level is Level.CRITICAL and item.kind in _LEVELLED)


def source_of(notices: Sequence[Notice]) -> str:
    """The source that all notices are about, where they are about the data of one."""
    if any(notice.kind != "health" for notice in notices):
        return ""
    sources = {dict(notice.labels).get("source", "") for notice in notices}
    return one_line(sources.pop(), 60) if len(sources) == 1 else ""


def parts_of(
    notices: Sequence[Notice], calendar: Calendar, most: int, summaries: Mapping[int, str]
) -> tuple[list[dict[str, Any]], str]:
    """A part per notice, and what the notices without a part amount to.

    Every part has its counts; the rows are shared out evenly, and what one does not need goes to the next.
    """
    if all(notice.kind == "health" for notice in notices):
        return [_rules(notices, calendar, most)], ""
    shown = notices[: min(MAX_PARTS, max(most, 3))]
    parts, left = [], most
    for place, notice in enumerate(shown):
        share = max(1, left // (len(shown) - place)) if left > 0 else 0
        parts.append(_part(notice, calendar, share, summaries.get(place, "")))
        left -= len(parts[-1]["rows"])
    rest = notices[len(shown) :]
    if not rest:
        return parts, ""
    kinds = Counter(item.kind for notice in rest for item in notice.items)
    others = len({notice.rule or notice.uid for notice in rest} - {notice.rule or notice.uid for notice in shown})
    told = f"{count_text(others, 'more rule')} with " if others else ""
    return parts, f"and {told}{count_text(_total(rest), 'alert')}: {counted_text(kinds)}"


def _part(notice: Notice, calendar: Calendar, rows: int, summary: str) -> dict[str, Any]:
    items = notice.items
    conditions = {item.threshold for item in items if item.threshold}
    condition = condition_of(next(item for item in items if item.threshold), notice) if len(conditions) == 1 else ""
    told = [row_of(item, notice, calendar, told=bool(condition), word=True) for item in items[:rows]]
    period = period_of(notice, calendar) if notice.kind != "health" else ""
    for row in told:
        row["segment"] = row["segment"] if row["segment"] not in {"", "all"} else period or one_line(notice.rule)
    note = [period, condition, counted_text(Counter(item.kind for item in items)), f"rule {one_line(notice.rule, 80)}"]
    return {
        "title": f"{one_line(notice.kpi_name)}{by_text(notice)}",
        "note": ", ".join(part for part in note if part),
        "summary": summary,
        "rows": told,
        "more": len(items) - len(told),
        "runbook": safe_url(notice.runbook or ""),
    }


def _rules(notices: Sequence[Notice], calendar: Calendar, most: int) -> dict[str, Any]:
    """Notices about data: a line per rule, and why."""
    rows = []
    for notice in notices[:most]:
        row = row_of(notice.items[0], notice, calendar, told=True, word=True)
        rows.append({**row, "segment": f"{one_line(notice.kpi_name, 60)}{by_text(notice)} ({one_line(notice.rule, 60)})"})
    runbooks = {notice.runbook or "" for notice in notices}
    return {
        "title": count_text(len(notices), "rule"),
        "note": counted_text(Counter(item.kind for notice in notices for item in notice.items)),
        "summary": "",
        "rows": rows,
        "more": len(notices) - len(rows),
        "runbook": safe_url(runbooks.pop()) if len(runbooks) == 1 else "",
    }


def _total(notices: Sequence[Notice]) -> int:
    return sum(len(notice.items) for notice in notices)
