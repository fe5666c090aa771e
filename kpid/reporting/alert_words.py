"""What has happened, in words: the state word, the headline with number and threshold, the subject that a story shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType

from kpid.analysis.condition_words import condition_text
from kpid.analysis.periods import Calendar, is_daily, last_complete, period_at, period_from_label
from kpid.analysis.wording import count_text, exact_text, period_text
from kpid.errors import KpidError
from kpid.model import Level, Notice, NoticeItem
from kpid.reporting.cleaning import one_line

ENDED = frozenset({
    "resolved", "new_level", "restated", "expired", "rule_changed", "rule_removed", "paused", "healthy", "steady",
})  # fmt: skip
KINDS = (
    "config", "fired", "escalated", "escalation", "eased", "unhealthy", "reminder", "flapping", "digest",
    "resolved", "new_level", "restated", "expired", "rule_changed", "rule_removed", "paused", "healthy", "steady",
)  # fmt: skip
"""What may be told of a series, in the order in which people want to hear it."""
MAX_REASON = 200
"""So much of what is wrong with a configuration is in the headline."""
JUDGED = ("fired", "escalated", "eased", "reminder", "escalation", "flapping")
"""Kinds of which the condition that is met can be said."""
RETOLD = frozenset({"reminder", "escalation", "flapping"})
"""Kinds of messages that tell anew what has been told: their items still carry the event that opened or raised them."""
_TELL_ANEW = frozenset({"fired", "escalated", "eased"})
_LEVELS = {Level.CRITICAL: "Critical", Level.WARN: "Warning", Level.NONE: "Alert"}
_STATE_WORDS = {
    "config": "Configuration refused",
    "eased": "Eased",
    "unhealthy": "Data problem",
    "flapping": "Coming and going",
    "digest": "Daily summary",
    "resolved": "Resolved",
    "restated": "Restated",
    "new_level": "New level",
    "expired": "No longer reported",
    "rule_changed": "Ended, rule changed",
    "rule_removed": "Ended, rule removed",
    "paused": "Ended, rule paused",
    "healthy": "Data is back",
    "steady": "Steady again",
}
_COUNTED = {
    "config": "refused",
    "fired": "new",
    "escalated": "now critical",
    "escalation": "not taken up",
    "reminder": "still firing",
    "flapping": "coming and going",
    "digest": "coming and going",
    "healthy": "judged again",
    "unhealthy": "not to be judged",
}
MARKS = {Level.CRITICAL: "▼", Level.WARN: "◆", Level.NONE: "◆"}
_TONES = {Level.CRITICAL: "off", Level.WARN: "watch", Level.NONE: "watch"}
_BRACKETS = str.maketrans("[]", "()")


# ---- one item
def retold(kind: str, told: str) -> str:
    """The kind of an item in a message of kind ``told``."""
    return told if told in RETOLD and kind in _TELL_ANEW else kind


def is_ended(item: NoticeItem) -> bool:
    """Whether what the item tells of is over."""
    return item.kind in ENDED or (item.kind == "config" and item.level is Level.NONE)


def worst_first(item: NoticeItem) -> tuple[int, int, Decimal, str]:
    """Sorts by what has happened, then the level, then how far beyond the limit."""
    distance = Decimal(0)
    if item.value is not None and item.limit is not None:
        distance = -abs(item.value - item.limit)
    order = KINDS.index(item.kind) if item.kind in KINDS else len(KINDS)
    return (order, -item.level.rank, distance, item.segment)


def mark_of(item: NoticeItem) -> str:
    """The level by its shape: ▼ critical, ◆ a warning, ● over."""
    return "●" if is_ended(item) else MARKS[item.level]


def tone_of(item: NoticeItem) -> str:
    """The level by its colour, as a class of the mail's style: never alone."""
    return "on" if is_ended(item) else _TONES[item.level]


def word_of(item: NoticeItem) -> str:
    """The level or the end by its word."""
    if item.kind == "config" and is_ended(item):
        return "Configuration in order"
    return _STATE_WORDS.get(item.kind, _LEVELS[item.level]) if is_ended(item) or item.kind == "unhealthy" else _LEVELS[item.level]


def condition_of(item: NoticeItem, notice: Notice) -> str:
    """The condition in words, its numbers with the unit of the notice's KPI."""
    return condition_text(one_line(item.threshold), notice.unit, notice.currency)


# ---- the whole
def ordered(kinds: Iterable[str]) -> list[str]:
    """Kinds in the order of :data:`KINDS`, unknown ones last."""
    return sorted(kinds, key=lambda kind: (KINDS.index(kind) if kind in KINDS else len(KINDS), kind))


def level_of(items: Iterable[NoticeItem]) -> Level:
    """The worst level of what still fires."""
    firing = [item.level for item in items if not is_ended(item)]
    return max(firing, key=lambda level: level.rank, default=Level.NONE)


def state_word(items: Sequence[NoticeItem], told: str) -> str:
    """The first word of subject and headline."""
    if told == "digest":
        return _STATE_WORDS["digest"]
    first = ordered({item.kind for item in items})[0] if items else "fired"
    level = _LEVELS[level_of(items)]
    if first in {"fired", "escalated"}:
        return level
    if first == "config" and all(is_ended(item) for item in items):
        return "Configuration in order"
    named = {"reminder": f"Still {level.lower()}", "escalation": f"{level}, not taken up"}
    return named.get(first) or _STATE_WORDS.get(first) or first.replace("_", " ").capitalize()


def counted_text(kinds: Counter[str], critical: Mapping[str, int] = MappingProxyType({})) -> str:
    """``2 new (1 critical), 1 now critical, 1 resolved``."""
    return ", ".join(
        f"{kinds[kind]:,} {_COUNTED.get(kind) or kind.replace('_', ' ')}"
        + (f" ({critical[kind]:,} critical)" if critical.get(kind) else "")
        for kind in ordered(kinds)
    )


def plain_line(text: str, limit: int) -> str:
    """A subject: one line without square brackets, by which mail programs would file it elsewhere."""
    return one_line(text.translate(_BRACKETS), limit)


def base_of(notice: Notice) -> str:
    """The part of the subject that all messages of a story share."""
    name, items = one_line(notice.kpi_name, 80), notice.items
    if items[0].kind == "config":
        return "kpid"
    if len(items) == 1 and notice.by and items[0].segment:
        name = f"{name} of {one_line(items[0].segment, 80)}"
    else:
        name += by_text(notice)
    rule = one_line(notice.rule, 60)
    return f"{name} ({rule})" if rule else name


def by_text(notice: Notice) -> str:
    """`` by owner and region``; nothing for totals."""
    return f" by {' and '.join(one_line(name, 60) for name in notice.by[:4])}" if notice.by else ""


# ---- headline of one notice
def headline_of(notice: Notice, period: str) -> str:
    """What has happened in one sentence, with numbers."""
    items = notice.items
    kinds = Counter(item.kind for item in items)
    if len(items) == 1:
        return _single(notice, items[0], period)
    if len(kinds) == 1:
        return _several(notice, items, period)
    return f"{one_line(notice.kpi_name)}{by_text(notice)} {in_period(notice, period)}: {counted_text(kinds)}"


def _single(notice: Notice, item: NoticeItem, period: str) -> str:
    name, when = one_line(notice.kpi_name), in_period(notice, period)
    name = f"{name} of {one_line(item.segment)}" if item.segment not in {"", "all"} else f"{name}{by_text(notice)}"
    if item.kind in {"healthy", "config"}:
        return _configured(item) if item.kind == "config" else f"{name} can be judged again"
    if item.kind == "unhealthy" or item.value is None:
        reason = one_line(item.reason, 200)
        word = "cannot be judged" if item.kind == "unhealthy" else _STATE_WORDS.get(item.kind, "alert").lower()
        return f"{name}: {word}{f', {reason}' if reason else ''}"
    value = exact_text(item.value, item.limit, notice.unit, notice.currency)
    condition = condition_of(item, notice)
    at = f"{value} {when}"
    if is_ended(item):
        was = f", no longer {condition}" if condition and item.kind == "resolved" else ""
        return f"{name} is {_ENDS.get(item.kind, 'at')} {at}{was}"
    told = f", {condition}" if condition else ""
    crossing = f"{name} keeps crossing its limit{f' ({condition})' if condition else ''}, last {at}"
    sentences = {
        "reminder": f"{name} is still {at}{told}",
        "escalation": f"{name} is {at}{told}, and nobody has taken it up",
        "flapping": crossing,
        "digest": crossing,
    }
    return sentences.get(item.kind) or f"{name} {_verb(item)} {at}{told}"


_ENDS = {"resolved": "back at", "steady": "steady again at", "new_level": "at a new level, which counts as usual now:"}


def _configured(item: NoticeItem) -> str:
    reason = one_line(item.reason, MAX_REASON)
    if is_ended(item):
        return "kpid goes by the new configuration"
    return f"kpid goes on with its old configuration{f': {reason}' if reason else ''}"


def _verb(item: NoticeItem) -> str:
    if item.previous is None or item.value is None:
        return "is"
    if item.baseline is not None and (item.value > item.previous) != (item.value > item.baseline):
        return "is"  # it fell, but is above what is usual: the rule is about the latter
    if item.previous == item.value:
        return "stayed at"
    return "rose to" if item.value > item.previous else "fell to"


def _several(notice: Notice, items: Sequence[NoticeItem], period: str) -> str:
    kind, name, when = items[0].kind, one_line(notice.kpi_name), in_period(notice, period)
    who = count_text(len(items), *noun_of(notice))
    if kind not in JUDGED:
        return f"{name}: {_STATE_WORDS.get(kind, kind.replace('_', ' ')).lower()} for {who} {when}"
    if kind == "flapping":
        return f"{name} keeps crossing its limit for {who} {when}"
    condition, worse = _conditions(items, notice)
    where = f"for {who} {when}{worse}"
    still = " still" if kind == "reminder" else ""
    end = ", and nobody has taken it up" if kind == "escalation" else ""
    verb = f"{still} shows" if condition.startswith("a ") else f" is{still}"
    known = [item for item in items if item.value is not None]
    if not known:
        return f"{name}{verb} {condition} {where}{end}"
    up = items[0].threshold.lstrip().startswith((">", "rise"))
    worst = (max if up else min)(known, key=lambda item: item.value or Decimal(0))
    value = exact_text(worst.value, worst.limit, notice.unit, notice.currency)
    return f"{name}{verb} {condition} {where}, {'highest' if up else 'lowest'} {one_line(worst.segment, 60)} at {value}{end}"


def _conditions(items: Sequence[NoticeItem], notice: Notice) -> tuple[str, str]:
    """The condition that all of them meet; where the levels differ, the mildest, and how many meet the severest."""
    by_level = sorted(items, key=lambda item: item.level.rank)
    mild, severe = condition_of(by_level[0], notice), condition_of(by_level[-1], notice)
    conditions = {item.threshold for item in items}
    if len(conditions) == 1:
        return mild, ""
    if len(conditions) > 2 or by_level[0].level is by_level[-1].level:
        return "beyond its limits", ""
    return mild, f" ({sum(item.level is by_level[-1].level for item in items):,} {severe})"


def noun_of(notice: Notice) -> tuple[str, str]:
    """What a notice's series are called: one, several."""
    if len(notice.by) != 1:
        return ("segment", "segments")
    one = one_line(notice.by[0].replace("_", " "), 60)
    return (one, f"{one[:-1]}ies" if one.endswith("y") else f"{one}s")


# ---- periods
def period_of(notice: Notice, calendar: Calendar) -> str:
    """The period that the notice is about, by name."""
    if notice.period_label:
        return label_text(notice.period_label, notice, calendar)
    try:
        return period_text(last_complete(notice.period, notice.slot, calendar, 1)[-1], calendar)
    except KpidError:
        return label_text(notice.period, notice, calendar)


def in_period(notice: Notice, period: str) -> str:
    """``in October 2026``, ``on Sun 22 Nov 2026``."""
    return f"{'on' if notice.period == 'day' and period[:1].isalpha() and ' to ' not in period else 'in'} {period}"


def since_text(label: str, notice: Notice, calendar: Calendar, *, short: bool = False) -> str:
    """From when on: a period by name; of kinds with one period per day, of which many begin on the same day, its last day."""
    try:
        period = period_from_label(notice.period, label, calendar)
    except KpidError:
        return label_text(label, notice, calendar, short=short)
    if not is_daily(period.kind):
        return label_text(label, notice, calendar, short=short)
    return period_text(period_at("day", period.end - timedelta(microseconds=1), calendar), calendar)


def label_text(label: str, notice: Notice, calendar: Calendar, *, short: bool = False) -> str:
    """A period's label by name, or as it is if it names none of the notice's kind; of two the first and the last."""
    try:
        text = period_text(period_from_label(notice.period, label, calendar), calendar)
    except KpidError:
        if len(ends := label.split(" to ")) == 2:
            return " to ".join(label_text(end, notice, calendar, short=True) for end in ends)
        return one_line(label, 60)
    return text.split(",")[0] if short else text
