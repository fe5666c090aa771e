"""Runs of reports: what each said, frozen, once per report and due time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select

from kpid.model import Period
from kpid.store.tables import report_runs


@dataclass(frozen=True, slots=True)
class ReportRun:
    """One run of a report. ``context`` is the frozen context as JSON data."""

    id: int
    report: str
    period_kind: str
    period_start: datetime
    due: str
    context: Mapping[str, Any]
    created_at: datetime


def find_run(conn: Connection, report: str, due: str) -> ReportRun | None:
    """The run of a report for a due time, if there is one."""
    row = conn.execute(_runs().where(report_runs.c.report == report, report_runs.c.due == due)).one_or_none()
    return None if row is None else ReportRun(*row)


def save_run(conn: Connection, report: str, period: Period, due: str, context: Mapping[str, Any], now: datetime) -> int:
    """Write a run down; its id.

    Raises:
        sqlalchemy.exc.IntegrityError: this report has a run for this due time already.
    """
    values = {
        "report": report,
        "period_kind": period.kind,
        "period_start": period.start,
        "due": due,
        "context": context,
        "created_at": now,
    }
    key = conn.execute(insert(report_runs).values(values)).inserted_primary_key
    return int(key[0]) if key else 0


def list_report_runs(conn: Connection, report: str | None = None, *, limit: int = 50) -> list[ReportRun]:
    """Runs, the newest first."""
    wanted = _runs().order_by(report_runs.c.id.desc()).limit(limit)
    if report is not None:
        wanted = wanted.where(report_runs.c.report == report)
    return [ReportRun(*row) for row in conn.execute(wanted)]


def _runs() -> Select[Any]:
    table = report_runs.c
    return select(table.id, table.report, table.period_kind, table.period_start, table.due, table.context, table.created_at)
