"""Notices as data for machines: what webhooks get beside the words. Nothing is rounded; numbers are texts, digit by digit."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from math import isfinite
from typing import Any

from kpid.analysis.periods import Calendar
from kpid.model import Cause, Notice, NoticeItem, Rows
from kpid.reporting.alert_view import MAX_KEPT, Told, status_of
from kpid.reporting.alert_words import is_ended, period_of, worst_first
from kpid.reporting.cleaning import safe_url


def facts_of_message(told: Told, calendar: Calendar, headline: str) -> dict[str, Any]:
    """What a message tells, as data: the notice, or ``notices`` if it has several.

    At most :data:`MAX_KEPT` series in all are listed, the worst ones; ``total`` and ``counts`` are of all, ``left_out`` says how
    many are not listed.
    """
    frame = {"headline": headline, "told": told.kind, "route": told.route, "held": told.held, "status": status_of(told)}
    if len(told.notices) == 1:
        return {**_notice_facts(told.notices[0], calendar, MAX_KEPT), **frame}
    left, notices = MAX_KEPT, []
    for notice in told.notices:
        if left > 0:
            notices.append(_notice_facts(notice, calendar, left))
            left -= len(notices[-1]["items"])
    kinds = Counter(item.kind for notice in told.notices for item in notice.items)
    return {
        **frame,
        "kind": "health" if all(notice.kind == "health" for notice in told.notices) else "alert",
        "total": sum(kinds.values()),
        "counts": dict(sorted(kinds.items())),
        "left_out": sum(kinds.values()) - (MAX_KEPT - left),
        "notices": notices,
    }


def _notice_facts(notice: Notice, calendar: Calendar, most: int) -> dict[str, Any]:
    return {
        "rule": notice.rule,
        "uid": notice.uid,
        "kpi": notice.kpi,
        "kpi_name": notice.kpi_name,
        "unit": notice.unit,
        "currency": notice.currency,
        "status": "resolved" if all(is_ended(item) for item in notice.items) else "firing",
        "kind": notice.kind,
        "period": {"kind": notice.period, "name": period_of(notice, calendar)},
        "slot": notice.slot.isoformat(),
        "data_through": notice.data_through.isoformat() if notice.data_through else None,
        "found_late": notice.found_late,
        "definition": notice.definition,
        "runbook": safe_url(notice.runbook or "") or None,
        "labels": dict(notice.labels),
        "timezone": calendar.timezone,
        "total": len(notice.items),
        "counts": dict(sorted(Counter(item.kind for item in notice.items).items())),
        "left_out": max(0, len(notice.items) - most),
        "items": [_item_facts(item) for item in sorted(notice.items, key=worst_first)[: max(0, most)]],
    }


def _item_facts(item: NoticeItem) -> dict[str, Any]:
    return {
        "id": item.event_id or None,
        "kind": item.kind,
        "series_key": item.series_key,
        "segment": item.segment,
        "dims": dict(item.dims),
        "level": item.level.value,
        "episode": item.episode,
        "value": _number(item.value),
        "n": item.n,
        "threshold": item.threshold,
        "limit": _number(item.limit),
        "previous": _number(item.previous),
        "previous_label": item.previous_label,
        "baseline": _number(item.baseline),
        "baseline_label": item.baseline_label,
        "compared": item.compared,
        "effect": _number(item.effect),
        "p": _rounded(item.p, 6),
        "since": item.since,
        "reason": item.reason,
        "warnings": list(item.warnings),
        "low": _number(item.low),
        "high": _number(item.high),
        "held": item.held,
        "handling": item.handling,
        "causes": [_cause_facts(cause) for cause in item.causes],
        "moved_from": item.moved_from or item.previous_label,
        "trail": [[label, _number(value)] for label, value in item.trail],
        "rows": None if item.rows is None else _rows_facts(item.rows),
    }


def _rows_facts(rows: Rows) -> dict[str, Any]:
    return {"columns": list(rows.columns), "rows": [list(row) for row in rows.rows], "total": rows.total}


def _cause_facts(cause: Cause) -> dict[str, Any]:
    """``weight`` is the segment's share of what a ratio divides by; ``score`` the effect in standard errors.

    ``is_aim``: ``value_was`` is what it should have been.
    """
    return {
        "dimension": cause.dimension,
        "segment": cause.segment,
        **{
            name: _number(getattr(cause, name))
            for name in ("effect", "rate", "mix", "value", "value_was", "weight", "weight_was")
        },
        "n": cause.n,
        "n_was": cause.n_was,
        "score": _rounded(cause.score, 2),
        "is_aim": cause.is_aim,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    """A float that JSON can hold; None for what is no number."""
    return None if value is None or not isfinite(value) else round(value, digits)


def _number(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
