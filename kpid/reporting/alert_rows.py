"""The figures of an alert: label and value for a single series, a line each for several, the records behind a count."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from kpid.analysis.causes import causes_text, interval_text
from kpid.analysis.periods import Calendar
from kpid.analysis.wording import better_word, change_text, exact_text, noun_text, share_text, value_text
from kpid.model import Notice, NoticeItem
from kpid.reporting.alert_words import (
    ENDED,
    JUDGED,
    MAX_REASON,
    condition_of,
    in_period,
    is_ended,
    label_text,
    mark_of,
    ordered,
    since_text,
    tone_of,
    word_of,
)
from kpid.reporting.cleaning import one_line

MAX_FIRING, MAX_ENDED = 20, 10
"""Rows of one table: of what fires, of what has ended."""
MAX_COLUMNS = 6
_MAX_LISTS = 3
_NOWRAP = 12
_GROUP_TITLES = {
    "config": "Refused",
    "fired": "New",
    "escalated": "Now critical",
    "escalation": "Not taken up by anybody",
    "eased": "Eased to warning",
    "reminder": "Still firing",
    "flapping": "Coming and going",
    "digest": "Coming and going",
    "unhealthy": "Cannot be judged",
    "resolved": "Resolved",
    "new_level": "Ended at a new level, which counts as usual now (not recovered)",
    "restated": "Ended because the figures were restated",
    "expired": "No longer reported (not known to have recovered)",
    "rule_changed": "Ended because the rule was changed",
    "rule_removed": "Ended because the rule was removed",
    "paused": "Ended because the rule was paused",
    "healthy": "Can be judged again",
    "steady": "Steady again",
}


# ---- several series
def groups_of(notice: Notice, calendar: Calendar, most: int) -> list[dict[str, Any]]:
    """A table per kind of event; all of them together have at most ``most`` rows."""
    items, groups, left = notice.items, [], most
    for kind in ordered(Counter(item.kind for item in items)):
        cap = min(left, MAX_ENDED if kind in ENDED else MAX_FIRING)
        groups.append(_group(kind, [item for item in items if item.kind == kind], cap, notice, calendar))
        left -= len(groups[-1]["rows"])
    return groups


def _group(kind: str, items: Sequence[NoticeItem], cap: int, notice: Notice, calendar: Calendar) -> dict[str, Any]:
    title = _GROUP_TITLES.get(kind, one_line(kind.replace("_", " ").capitalize()))
    conditions = {item.threshold for item in items if item.threshold}
    if kind in JUDGED and len(conditions) == 1:
        title = f"{title}: {condition_of(next(item for item in items if item.threshold), notice)}"
    differ = len({item.level for item in items}) > 1
    rows = [
        row_of(item, notice, calendar, told=bool(item.threshold) and title.endswith(condition_of(item, notice)), word=differ)
        for item in items[:cap]
    ]
    return {"title": title, "rows": rows, "more": max(0, len(items) - cap)}


def row_of(item: NoticeItem, notice: Notice, calendar: Calendar, *, told: bool, word: bool) -> dict[str, str]:
    """One series of several.

    Args:
        item: the series.
        notice: what it is part of.
        calendar: how time is cut.
        told: the table's title names its threshold already.
        word: say its level or end in words, where the title does not.
    """
    ended = is_ended(item)
    change = change_text(item.value, item.previous, notice.unit, notice.currency)
    moved = item.previous is not None and item.previous != item.value
    before = f"was {value_text(item.previous, notice.unit, notice.currency)}" if moved else ""
    since = since_text(item.since, notice, calendar, short=True) if item.since else ""
    threshold = condition_of(item, notice)
    story = [threshold if not told or ended else "", f"since {since}" if since else ""]
    driven = f"; {moved_by(replace(item, causes=item.causes[:1]), notice, calendar)}" if item.causes and not ended else ""
    if ended and item.kind in _VALUELESS:
        story = [f"not judged since {since}" if since else ""]
    elif ended:
        story = ["had been", *story] if threshold or since else []
    if word:
        story = [f"{word_of(item)}:" if story[:1] != [""] and any(story) else word_of(item), *story]
    more = [_sample(item, notice), _margin(item, notice), "" if ended else _chance(item, short=True)]
    more += [one_line(item.handling, 80), one_line(item.held, 80), f"alert {item.event_id}" if item.event_id else ""]
    if item.value is None and item.reason:
        more.insert(0, one_line(item.reason, 160))
    return {
        "segment": one_line(item.segment, 80),
        "value": exact_text(item.value, item.limit, notice.unit, notice.currency) if item.kind not in _VALUELESS else "",
        "change": ", ".join(part for part in ("" if change == "n/a" else change, before) if part),
        "sample": ", ".join(part for part in more if part),
        "story": (" ".join(part for part in story if part) + driven).removeprefix("; "),
        "mark": mark_of(item),
        "tone": tone_of(item),
    }


_VALUELESS = frozenset({"unhealthy", "healthy", "config"})


# ---- one series
def facts_of(item: NoticeItem, notice: Notice, calendar: Calendar) -> list[tuple[str, str]]:
    """The figures of a single series, label and value; lines that have nothing to say are left out."""
    value = exact_text(item.value, item.limit, notice.unit, notice.currency) if item.value is not None else ""
    told = item.kind == "config" and len(item.reason) <= MAX_REASON  # in the headline
    pairs = [
        ("Value", value),
        ("Margin", _margin(item, notice)),
        ("Threshold", condition_of(item, notice)),
        ("Before", _before(item, notice, calendar)),
        ("Usual", _usual(item, notice)),
        ("Sample", _sample(item, notice)),
        ("By chance", "" if is_ended(item) else _chance(item)),
        ("Began" if is_ended(item) else "Since", since_text(item.since, notice, calendar) if item.since else ""),
        ("Why", "" if told else one_line(item.reason, 1_000 if item.kind == "config" else 300)),
        ("Moved by", moved_by(item, notice, calendar)),
        ("Taken up", one_line(item.handling, 200)),
        *(("Mind", one_line(warning, 240)) for warning in item.warnings[:3]),
    ]
    return [(name, text) for name, text in pairs if text]


def _before(item: NoticeItem, notice: Notice, calendar: Calendar) -> str:
    if item.previous is None or (item.baseline is not None and item.baseline == item.previous):
        return ""
    change = change_text(item.value, item.previous, notice.unit, notice.currency)
    word = better_word(item.value, item.previous, notice.better)
    label = label_text(item.previous_label, notice, calendar) if item.previous_label else ""
    before = value_text(item.previous, notice.unit, notice.currency) + (f" {in_period(notice, label)}" if label else "")
    return before + (f" ({change}{f' {word}' if word else ''})" if change != "n/a" else "")


def _usual(item: NoticeItem, notice: Notice) -> str:
    """``45.0%, the average of 8 months (30% below it)``."""
    if item.baseline is None:
        return ""
    told = one_line(item.compared or item.baseline_label, 80)
    if item.compared and item.baseline_label and item.baseline_label != item.compared:
        told += f", {one_line(item.baseline_label, 80)}"
    text = value_text(item.baseline, notice.unit, notice.currency) + (f", {told}" if told else "")
    effect = item.effect
    if not effect:
        return text
    size = share_text(1 + abs(effect), Decimal(1)).lstrip("+")
    return f"{text} ({size} {'below' if effect < 0 else 'above'} it)"


def _chance(item: NoticeItem, *, short: bool = False) -> str:
    """``p 0.0023, 1 in 435``: how often a figure like this would come by chance if nothing had changed."""
    if item.p is None or not 0 <= item.p <= 1:
        return ""
    p = f"{item.p:.2g}" if item.p >= 0.0001 else "below 0.0001"
    if short:
        return f"p {p}"
    times = f"1 time in {round(1 / item.p):,}" if item.p >= 0.0001 else "less than 1 time in 10,000"
    return f"{times} if nothing had changed (p {p})"


def _margin(item: NoticeItem, notice: Notice) -> str:
    """``34.1% to 46.0% (95 %)``; nothing where there is no interval."""
    told = interval_text(item.low, item.high, notice.unit, notice.currency) if item.value is not None else ""
    return f"{told} (95 %)" if told else ""


def moved_by(item: NoticeItem, notice: Notice, calendar: Calendar) -> str:
    """What moved the value away from what it was compared with: ``vs the average of 8 weeks: owner Bob accounts for ...``."""
    causes = [replace(cause, segment=one_line(cause.segment, 60)) for cause in item.causes[:3]]
    moved_from = label_text(item.moved_from, notice, calendar) if item.moved_from else ""
    return one_line(causes_text(causes, notice.unit, notice.currency, one_line(notice.sample, 40), moved_from), 500)


def _sample(item: NoticeItem, notice: Notice) -> str:
    """``66 closed deals``; nothing for counts, which are their own sample."""
    return f"{item.n:,} {noun_text(item.n, one_line(notice.sample, 40))}" if item.n and notice.unit != "count" else ""


# ---- records behind a count
def lists_of(notice: Notice, most: int) -> list[dict[str, Any]]:
    """The records behind the worst few series: a table each, at most ``most`` rows together."""
    found: list[dict[str, Any]] = []
    for item in notice.items:
        if item.rows is None or not (item.rows.columns and item.rows.rows) or is_ended(item):
            continue
        if len(found) == _MAX_LISTS or most <= 0:
            break
        shown = item.rows.rows[:most]
        most -= len(shown)
        noun = one_line(notice.sample, 40)
        total = max(item.rows.total, len(item.rows.rows))
        whose = f"{one_line(item.segment, 60)}: " if len(notice.items) > 1 and item.segment not in {"", "all"} else ""
        count = f"{total:,} {noun_text(total, noun)}"
        part = f"the first {len(shown):,} of {count}" if len(shown) < total else count
        columns = [_column(name) for name in item.rows.columns[:MAX_COLUMNS]]
        rows = [[one_line(cell, 60) for cell in row[:MAX_COLUMNS]] for row in shown]
        title = f"{whose}{part}" if item.rows.total else f"{whose}{one_line(item.rows.columns[0], 60)}"
        found.append(
            {
                "title": title[:1].upper() + title[1:],
                "columns": columns,
                "short": [all(len(row[place]) <= _NOWRAP for row in rows if len(row) > place) for place in range(len(columns))],
                "numbers": [all(_is_number(row[place]) for row in rows if len(row) > place) for place in range(len(columns))],
                "rows": [row + [""] * (len(columns) - len(row)) for row in rows],
                "more": total - len(shown) if item.rows.total else 0,
            }
        )
    return found


def _is_number(cell: str) -> bool:
    """Whether a cell goes to the right: digits, signs, a currency, a unit's letter; also an empty one."""
    return re.fullmatch(r"[\s\u2212\d.,%€$£¥₹kM+-]*(bn)?", cell) is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", cell)


def _column(name: str) -> str:
    """``expected_close_at`` -> ``Expected close``."""
    words = one_line(name.replace("_", " "), 40)
    for end in (" at", " id"):
        words = words.removesuffix(end)
    return words[:1].upper() + words[1:]
