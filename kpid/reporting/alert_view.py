"""One or several notices in words: what the alert templates, the chats' sections and the subject are made from.

One series, twenty and a thousand must all be readable: tables are capped, counts are not, and what is left out is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from kpid.analysis.periods import Calendar
from kpid.analysis.wording import when_text
from kpid.model import Level, Notice, NoticeItem
from kpid.plugin.notifier import Action
from kpid.reporting.alert_bundle import MAX_PARTS, bundle_base, bundle_headline, parts_of
from kpid.reporting.alert_rows import facts_of, groups_of, lists_of
from kpid.reporting.alert_words import (
    base_of,
    headline_of,
    is_ended,
    level_of,
    period_of,
    plain_line,
    retold,
    state_word,
    worst_first,
)
from kpid.reporting.cleaning import cleaned, one_line, safe_url

ROWS = (40, 15, 5, 1)
"""How many rows a message shows; the next number where it would be too long."""
MAX_KEPT = 1_000
"""Series whose figures are kept for a message; of the others people get the number."""
MAX_ACTIONS = 5
_MAX_LABELS = 8
_FOUND_LATE = "Found late: these periods had been over for some time when they were judged."


class Telling(Protocol):
    """How one recipient is told, besides the facts: see ``kpid.alerting.contracts.Telling``."""

    @property
    def kind(self) -> str:
        """``fired``, ``reminder``, ``escalation``, ``digest`` ..."""

    @property
    def actions(self) -> tuple[Action, ...]:
        """What the reader may do."""

    @property
    def held(self) -> str:
        """Why he hears of it only now."""

    @property
    def route(self) -> str:
        """By which route it came."""

    @property
    def page(self) -> bool:
        """Whether he can be shown a page with pictures."""


@dataclass(frozen=True, slots=True)
class Plainly:
    """A notice as it is: told at once, with nothing to press."""

    kind: str = "fired"
    actions: tuple[Action, ...] = ()
    held: str = ""
    route: str = ""
    page: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """Notices made ready: worst first, harmless, each item of the kind that it is told as, no more than can be used.

    ``notices`` have all their items, for counting; every text that can be shown of them is harmless.
    """

    notices: tuple[Notice, ...]
    kind: str
    actions: tuple[Action, ...]
    held: str
    route: str
    page: bool = True

    @property
    def items(self) -> list[NoticeItem]:
        """All series of all notices, worst first."""
        return sorted((item for notice in self.notices for item in notice.items), key=worst_first)


def told_of(notices: Sequence[Notice], telling: Telling) -> Told:
    """Make notices ready to be told.

    Raises:
        ValueError: there is nothing to tell.
    """
    given = [notice for notice in notices if notice.items]
    if not given:
        raise ValueError("a message needs a notice with at least one series")
    left, ready = MAX_KEPT, []
    for place, notice in enumerate(sorted((_in_order(notice, telling.kind) for notice in given), key=_worst_notice)):
        kept = max(left, ROWS[0] if place < MAX_PARTS else 0)
        head = cleaned(replace(notice, items=notice.items[:kept])) if kept else replace(notice, items=())
        ready.append(replace(head, items=(*head.items, *notice.items[kept:])))
        left = max(0, left - len(head.items))
    actions = tuple(cleaned(telling.actions)[:MAX_ACTIONS])
    return Told(tuple(ready), telling.kind, actions, one_line(telling.held, 200), one_line(telling.route, 80), telling.page)


def _in_order(notice: Notice, told: str) -> Notice:
    kinds = [retold(item.kind, told) for item in notice.items]
    items = [item if item.kind == kind else replace(item, kind=kind) for item, kind in zip(notice.items, kinds, strict=True)]
    return replace(notice, items=tuple(sorted(items, key=worst_first)))


def _worst_notice(notice: Notice) -> tuple[bool, int, int, str]:
    ended = all(is_ended(item) for item in notice.items)
    return (ended, -level_of(notice.items).rank, worst_first(notice.items[0])[0], notice.rule)


def status_of(told: Told) -> Literal["firing", "resolved", "info"]:
    """``resolved`` when everything that is told of has ended, ``info`` for a digest, else ``firing``."""
    if told.kind == "digest":
        return "info"
    return "resolved" if all(is_ended(item) for notice in told.notices for item in notice.items) else "firing"


def alert_view(told: Told, calendar: Calendar, rows: int = ROWS[0], summaries: Mapping[int, str] | None = None) -> dict[str, Any]:
    """What the alert templates get as ``a``.

    Args:
        told: notices, made ready.
        calendar: how time is cut.
        rows: so many rows of series, and so many of records.
        summaries: the rules' own sentences, by the notice's place.
    """
    notice, several = told.notices[0], len(told.notices) > 1
    said = summaries or {}
    items = told.items if several else list(notice.items)
    level = level_of(items)
    ended = all(is_ended(item) for item in items)
    period = period_of(notice, calendar)
    single = not several and len(items) == 1
    held = told.held or one_line(items[0].held if len({item.held for item in items}) == 1 else "", 200)
    parts, others = parts_of(told.notices, calendar, rows, said) if several else ([], "")
    return {
        "state": state_word(items, told.kind),
        "mark": "●" if ended else "▼" if level is Level.CRITICAL else "◆",
        "tone": "on" if ended else "off" if level is Level.CRITICAL else "watch",
        "status": status_of(told),
        "base": plain_line(bundle_base(told.notices, told.kind) if several else base_of(notice), 180),
        "headline": bundle_headline(told.notices, told.kind) if several else headline_of(notice, period),
        "period": period,
        "summary": "" if several else said.get(0, ""),
        "held": f"{held[:1].upper()}{held[1:]}" if held else "",
        "found_late": _FOUND_LATE if any(each.found_late for each in told.notices) else "",
        "facts": facts_of(items[0], notice, calendar) if single else [],
        "groups": groups_of(notice, calendar, rows) if not (single or several) else [],
        "parts": parts,
        "others": others,
        "lists": [] if several else lists_of(notice, rows),
        "chart": None,
        "actions": [(action.label, url) for action in _labelled(told.actions) if (url := safe_url(action.url or ""))],
        "total": len(items),
        "alert": items[0].event_id if single else 0,
        **_small_print(told, notice, calendar, several=several),
    }


def _small_print(told: Told, notice: Notice, calendar: Calendar, *, several: bool) -> dict[str, Any]:
    """What stands below: definition, age of the data, rule, labels, zone."""
    through = min((each.data_through for each in told.notices if each.data_through is not None), default=None)
    labels = [pair for pair in notice.labels if all(pair in each.labels for each in told.notices)]
    return {
        "kpi": "" if several else one_line(notice.kpi_name),
        "rule": "" if several else one_line(notice.rule),
        "definition": "" if several else one_line(notice.definition, 400),
        "data_as_of": when_text(through, calendar.timezone, notice.now) if through else "",
        "runbook": "" if several else safe_url(notice.runbook or ""),
        "route": "" if told.route.startswith("to:") else told.route,
        "labels": [(one_line(name, 60), one_line(value, 120)) for name, value in labels[:_MAX_LABELS]],
        "timezone": calendar.timezone,
    }


def _labelled(actions: Sequence[Action]) -> list[Action]:
    return [replace(action, label=one_line(action.label, 40) or action.kind.capitalize()) for action in actions]
