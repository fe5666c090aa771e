"""A notice in words: the headline with number and threshold, the figures of each series, the state word first.

One series, twenty and a thousand must all be readable: tables are capped and say how many more there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kpid.analysis.causes import causes_text, interval_text
from kpid.analysis.periods import Calendar, last_complete, period_from_label
from kpid.analysis.wording import (
    better_word,
    change_text,
    condition_text,
    count_text,
    exact_text,
    noun_text,
    period_text,
    value_text,
    when_text,
)
from kpid.errors import KpidError
from kpid.model import Level, Notice, NoticeItem
from kpid.reporting.cleaning import one_line, safe_url

MAX_ROWS = 20
MAX_ENDED_ROWS = 10
MAX_ALL_ROWS = 40
_FOUND_LATE = "Found late: these periods had been over for some time when they were judged."
_ENDED = ("resolved", "restated", "expired", "rule_changed", "rule_removed", "paused", "healthy")
_KINDS = ("fired", "escalated", "eased", "unhealthy", *_ENDED)
_LEVELS = {Level.CRITICAL: "Critical", Level.WARN: "Warning", Level.NONE: "Alert"}
_STATE_WORDS = {
    "eased": "Eased",
    "unhealthy": "Data problem",
    "resolved": "Resolved",
    "restated": "Restated",
    "expired": "No longer reported",
    "rule_changed": "Ended, rule changed",
    "rule_removed": "Ended, rule removed",
    "paused": "Ended, rule paused",
    "healthy": "Data is back",
}
_GROUP_TITLES = {
    "fired": "New",
    "escalated": "Now critical",
    "eased": "Eased to warning",
    "unhealthy": "Cannot be judged",
    "resolved": "Resolved",
    "restated": "Ended because the figures were restated",
    "expired": "No longer reported (not known to have recovered)",
    "rule_changed": "Ended because the rule was changed",
    "rule_removed": "Ended because the rule was removed",
    "paused": "Ended because the rule was paused",
    "healthy": "Can be judged again",
}


def notice_view(notice: Notice, calendar: Calendar) -> dict[str, Any]:
    """What the alert templates get as ``a``."""
    items = sorted(notice.items, key=worst_first)
    kinds = Counter(item.kind for item in items)
    period = period_of(notice, calendar)
    groups = _groups(items, kinds, notice, calendar)
    status = notice_status(notice)
    return {
        "state": _state_word(notice, kinds),
        "mark": "●" if status == "resolved" else "▼" if _level(items) is Level.CRITICAL else "◆",
        "tone": "on" if status == "resolved" else "off" if _level(items) is Level.CRITICAL else "watch",
        "status": status,
        "base": _base(notice, items),
        "headline": _headline(notice, items, kinds, period),
        "period": period,
        "summary": one_line(notice.summary or "", 400),
        "found_late": _FOUND_LATE if notice.found_late else "",
        "facts": _facts(items[0], notice, calendar) if len(items) == 1 else [],
        "groups": groups if len(items) > 1 else [],
        "total": len(items),
        "kpi": one_line(notice.kpi_name),
        "rule": one_line(notice.rule),
        "definition": one_line(notice.definition, 400),
        "data_as_of": when_text(notice.data_through, calendar.timezone, notice.now) if notice.data_through else "",
        "runbook": safe_url(notice.runbook or ""),
        "labels": [(one_line(name, 60), one_line(value, 120)) for name, value in notice.labels],
        "timezone": calendar.timezone,
    }


def notice_status(notice: Notice) -> str:
    """``resolved`` when everything that the notice tells of has ended, else ``firing``."""
    return "resolved" if all(item.kind in _ENDED for item in notice.items) else "firing"


# ---- order and state
def worst_first(item: NoticeItem) -> tuple[int, int, Decimal, str]:
    """Sorts by what has happened, then the level, then how far beyond the limit."""
    distance = Decimal(0)
    if item.value is not None and item.limit is not None:
        distance = -abs(item.value - item.limit)
    order = _KINDS.index(item.kind) if item.kind in _KINDS else len(_KINDS)
    return (order, -item.level.rank, distance, item.segment)


def _ordered(kinds: Counter[str]) -> list[str]:
    return sorted(kinds, key=lambda kind: (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), kind))


def _level(items: Sequence[NoticeItem]) -> Level:
    firing = [item.level for item in items if item.kind not in _ENDED]
    return max(firing, key=lambda level: level.rank, default=Level.NONE)


def _state_word(notice: Notice, kinds: Counter[str]) -> str:
    first = _ordered(kinds)[0] if kinds else "fired"
    if first in {"fired", "escalated"}:
        return _LEVELS[_level(notice.items)]
    return _STATE_WORDS.get(first) or first.replace("_", " ").capitalize()


def _base(notice: Notice, items: Sequence[NoticeItem]) -> str:
    """The part of the subject that all messages of a story share."""
    name = one_line(notice.kpi_name, 80)
    if len(items) == 1 and notice.by and items[0].segment:
        name = f"{name} of {one_line(items[0].segment, 80)}"
    elif notice.by:
        name = f"{name} by {' and '.join(notice.by)}"
    return f"{name} ({one_line(notice.rule, 60)})"


# ---- headline
def _headline(notice: Notice, items: Sequence[NoticeItem], kinds: Counter[str], period: str) -> str:
    if len(items) == 1:
        return _single(notice, items[0], period)
    if len(kinds) == 1:
        return _several(notice, items, period)
    words = {"fired": "new", "escalated": "now critical", "healthy": "judged again", "unhealthy": "not to be judged"}
    counts = ", ".join(f"{kinds[kind]:,} {words.get(kind) or kind.replace('_', ' ')}" for kind in _ordered(kinds))
    return f"{one_line(notice.kpi_name)}{_by(notice)} in {period}: {counts}"


def _single(notice: Notice, item: NoticeItem, period: str) -> str:
    name = one_line(notice.kpi_name)
    name = f"{name} of {one_line(item.segment)}" if item.segment not in {"", "all"} else f"{name}{_by(notice)}"
    reason = one_line(item.reason, 200)
    if item.kind == "healthy":
        return f"{name} can be judged again"
    if item.kind == "unhealthy" or item.value is None:
        word = "cannot be judged" if item.kind == "unhealthy" else _STATE_WORDS.get(item.kind, "alert").lower()
        return f"{name}: {word}{f', {reason}' if reason else ''}"
    value = exact_text(item.value, item.limit, notice.unit, notice.currency)
    condition = condition_text(item.threshold)
    if item.kind in _ENDED:
        was = f", no longer {condition}" if condition and item.kind == "resolved" else ""
        return f"{name} is {'back at' if item.kind == 'resolved' else 'at'} {value} in {period}{was}"
    return f"{name} {_verb(item)} {value} in {period}{f', {condition}' if condition else ''}"


def _verb(item: NoticeItem) -> str:
    if item.previous is None or item.value is None:
        return "is"
    if item.previous == item.value:
        return "stayed at"
    return "rose to" if item.value > item.previous else "fell to"


def _several(notice: Notice, items: Sequence[NoticeItem], period: str) -> str:
    kind, name = items[0].kind, one_line(notice.kpi_name)
    who = count_text(len(items), *_noun(notice))
    if kind not in {"fired", "escalated", "eased"}:
        return f"{name}: {_STATE_WORDS.get(kind, kind.replace('_', ' ')).lower()} for {who} in {period}"
    condition, worse = _conditions(items)
    where = f"for {who} in {period}{worse}"
    known = [item for item in items if item.value is not None]
    verb = "shows" if condition.startswith("a ") else "is"
    if not known:
        return f"{name} {verb} {condition} {where}"
    up = items[0].threshold.lstrip().startswith((">", "rise"))
    worst = (max if up else min)(known, key=lambda item: item.value or Decimal(0))
    value = exact_text(worst.value, worst.limit, notice.unit, notice.currency)
    return f"{name} {verb} {condition} {where}, {'highest' if up else 'lowest'} {one_line(worst.segment, 60)} at {value}"


def _conditions(items: Sequence[NoticeItem]) -> tuple[str, str]:
    """The condition that all of them meet; where the levels differ, the mildest, and how many meet the severest."""
    by_level = sorted(items, key=lambda item: item.level.rank)
    mild, severe = condition_text(by_level[0].threshold), condition_text(by_level[-1].threshold)
    conditions = {item.threshold for item in items}
    if len(conditions) == 1:
        return mild, ""
    if len(conditions) > 2 or by_level[0].level is by_level[-1].level:
        return "beyond its limits", ""
    return mild, f" ({sum(item.level is by_level[-1].level for item in items):,} {severe})"


def _noun(notice: Notice) -> tuple[str, str]:
    if len(notice.by) != 1:
        return ("segment", "segments")
    one = notice.by[0].replace("_", " ")
    return (one, f"{one[:-1]}ies" if one.endswith("y") else f"{one}s")


def _by(notice: Notice) -> str:
    return f" by {' and '.join(notice.by)}" if notice.by else ""


# ---- figures
def _groups(items: Sequence[NoticeItem], kinds: Counter[str], notice: Notice, calendar: Calendar) -> list[dict[str, Any]]:
    """A table per kind of event; all of them together stay short enough for a mail."""
    groups, left = [], MAX_ALL_ROWS
    for kind in _ordered(kinds):
        cap = min(left, MAX_ENDED_ROWS if kind in _ENDED else MAX_ROWS)
        groups.append(_group(kind, [item for item in items if item.kind == kind], cap, notice, calendar))
        left -= len(groups[-1]["rows"])
    return groups


def _group(kind: str, items: Sequence[NoticeItem], cap: int, notice: Notice, calendar: Calendar) -> dict[str, Any]:
    title = _GROUP_TITLES.get(kind, kind.replace("_", " ").capitalize())
    conditions = {item.threshold for item in items if item.threshold}
    if kind in {"fired", "escalated", "eased"} and len(conditions) == 1:
        title = f"{title}: {condition_text(conditions.pop())}"
    return {
        "title": title,
        "rows": [_row(item, notice, calendar, told=title.endswith(condition_text(item.threshold))) for item in items[:cap]],
        "more": max(0, len(items) - cap),
    }


def _row(item: NoticeItem, notice: Notice, calendar: Calendar, *, told: bool) -> dict[str, str]:
    """One series of several; ``told``: the table's title names its threshold already."""
    ended = item.kind in _ENDED
    change = change_text(item.value, item.previous, notice.unit, notice.currency)
    moved = item.previous is not None and item.previous != item.value
    before = f"was {value_text(item.previous, notice.unit, notice.currency)}" if moved else ""
    since = _label(item.since, notice, calendar, short=True)
    threshold = condition_text(item.threshold)
    story = [threshold if not told or ended else "", f"since {since}" if since else ""]
    driven = f"; {_moved_by(replace(item, causes=item.causes[:1]), notice)}" if item.causes and not ended else ""
    if ended:
        story = ["had been", *story] if threshold or since else []
    return {
        "segment": one_line(item.segment, 80),
        "value": exact_text(item.value, item.limit, notice.unit, notice.currency),
        "change": ", ".join(part for part in ("" if change == "n/a" else change, before) if part),
        "sample": ", ".join(part for part in (_sample(item, notice), _margin(item, notice)) if part),
        "story": (" ".join(part for part in story if part) + driven).removeprefix("; "),
        "mark": "●" if ended else "▼" if item.level is Level.CRITICAL else "◆",
        "tone": "on" if ended else "off" if item.level is Level.CRITICAL else "watch",
    }


def _facts(item: NoticeItem, notice: Notice, calendar: Calendar) -> list[tuple[str, str]]:
    """The figures of a single series, label and value; lines that have nothing to say are left out."""
    change = change_text(item.value, item.previous, notice.unit, notice.currency)
    word = better_word(item.value, item.previous, notice.better)
    before = ""
    if item.previous is not None:
        label = _label(item.previous_label, notice, calendar)
        before = value_text(item.previous, notice.unit, notice.currency) + (f" in {label}" if label else "")
        before += f" ({change}{f' {word}' if word else ''})" if change != "n/a" else ""
    pairs = [
        ("Value", exact_text(item.value, item.limit, notice.unit, notice.currency) if item.value is not None else ""),
        ("Margin", _margin(item, notice)),
        ("Threshold", condition_text(item.threshold)),
        ("Before", before),
        ("Sample", _sample(item, notice)),
        ("Began" if item.kind in _ENDED else "Since", _label(item.since, notice, calendar)),
        ("Why", one_line(item.reason, 300)),
        ("Moved by", _moved_by(item, notice)),
        *(("Mind", one_line(warning, 240)) for warning in item.warnings[:3]),
    ]
    return [(name, text) for name, text in pairs if text]


def _margin(item: NoticeItem, notice: Notice) -> str:
    """``34.1% to 46.0% (95 %)``; nothing where there is no interval."""
    told = interval_text(item.low, item.high, notice.unit, notice.currency) if item.value is not None else ""
    return f"{told} (95 %)" if told else ""


def _moved_by(item: NoticeItem, notice: Notice) -> str:
    """What moved the value since the period before, the surest three."""
    causes = [replace(cause, segment=one_line(cause.segment, 60)) for cause in item.causes]
    return one_line(causes_text(causes, notice.unit, notice.currency, one_line(notice.sample, 40)), 500)


def _sample(item: NoticeItem, notice: Notice) -> str:
    """``66 closed deals``; nothing for counts, which are their own sample."""
    return f"{item.n:,} {noun_text(item.n, one_line(notice.sample, 40))}" if item.n and notice.unit != "count" else ""


def period_of(notice: Notice, calendar: Calendar) -> str:
    """The period that the notice is about, by name."""
    if notice.period_label:
        return _label(notice.period_label, notice, calendar)
    try:
        return period_text(last_complete(notice.period, notice.slot, calendar, 1)[-1], calendar)
    except KpidError:
        return _label(notice.period, notice, calendar)


def _label(label: str, notice: Notice, calendar: Calendar, *, short: bool = False) -> str:
    """A period's label by name, or as it is if it names none of the notice's kind."""
    try:
        text = period_text(period_from_label(notice.period, label, calendar), calendar)
    except KpidError:
        return one_line(label, 60)
    return text.split(",")[0] if short else text
