"""A notice as data for machines: what webhooks get beside the words. Nothing is rounded; numbers are texts, digit by digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kpid.analysis.periods import Calendar
from kpid.model import Cause, Notice, NoticeItem
from kpid.reporting.alert_view import notice_status, period_of, worst_first
from kpid.reporting.cleaning import safe_url


def notice_facts(notice: Notice, calendar: Calendar) -> dict[str, Any]:
    """The notice as data for machines: every item, nothing rounded."""
    return {
        "rule": notice.rule,
        "kpi": notice.kpi,
        "kpi_name": notice.kpi_name,
        "unit": notice.unit,
        "currency": notice.currency,
        "status": notice_status(notice),
        "kind": notice.kind,
        "period": {"kind": notice.period, "name": period_of(notice, calendar)},
        "slot": notice.slot.isoformat(),
        "data_through": notice.data_through.isoformat() if notice.data_through else None,
        "found_late": notice.found_late,
        "definition": notice.definition,
        "runbook": safe_url(notice.runbook or "") or None,
        "labels": dict(notice.labels),
        "total": len(notice.items),
        "items": [_item_facts(item) for item in sorted(notice.items, key=worst_first)],
    }


def _item_facts(item: NoticeItem) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "series_key": item.series_key,
        "segment": item.segment,
        "level": item.level.value,
        "episode": item.episode,
        "value": _number(item.value),
        "n": item.n,
        "threshold": item.threshold,
        "limit": _number(item.limit),
        "previous": _number(item.previous),
        "previous_label": item.previous_label,
        "since": item.since,
        "reason": item.reason,
        "warnings": list(item.warnings),
        "low": _number(item.low),
        "high": _number(item.high),
        "causes": [_cause_facts(cause) for cause in item.causes],
    }


def _cause_facts(cause: Cause) -> dict[str, Any]:
    """``weight`` is the segment's share of what a ratio divides by; ``score`` the effect in standard errors."""
    return {
        "dimension": cause.dimension,
        "segment": cause.segment,
        **{
            name: _number(getattr(cause, name))
            for name in ("effect", "rate", "mix", "value", "value_was", "weight", "weight_was")
        },
        "n": cause.n,
        "n_was": cause.n_was,
        "score": round(cause.score, 2),
    }


def _number(value: Decimal | None) -> str | None:
    return None if value is None else str(value)
