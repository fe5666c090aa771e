"""Deletions that come into force after they were stored: the source's clock is ahead, or it was read after the measuring instant.

When they were stored they changed nothing yet, and nothing is written when their time comes. So the rows are looked for.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from sqlalchemy import select

from kpid.metrics.dialects import compile_statement
from kpid.plugin.entities import ENTITIES
from kpid.warehouse import Changes, Warehouse
from kpid.warehouse.types import clock_columns

Days = dict[tuple[str, str], frozenset[date | None]]


def days_of_deletions(warehouse: Warehouse, entity: str, after: datetime, now: datetime) -> Days:
    """Days of each clock column of the rows whose deletion came into force in ``(after, now]``.

    Args:
        warehouse: where the rows are.
        entity: name of a canonical table.
        after: what came into force until then is known.
        now: the instant that is measured at.
    """
    table, names = ENTITIES[entity], clock_columns(entity)
    deleted = table.c.deleted_at
    statement = select(*(table.c[name] for name in names)).where(deleted > after, deleted <= now).distinct()
    rows = warehouse.query(*compile_statement(statement, warehouse.dialect))
    return {(entity, name): frozenset(map(_day, rows[name].to_pylist())) for name in names} if rows.num_rows else {}


def with_days(changes: Changes, days: Days) -> Changes:
    """The changes, and these days as well."""
    nothing: frozenset[date | None] = frozenset()
    keys = {*changes.days, *days}
    return replace(changes, days={key: changes.days.get(key, nothing) | days.get(key, nothing) for key in keys})


def _day(value: date | None) -> date | None:
    """The day that a change of this value would have been noted under (UTC)."""
    return value.astimezone(UTC).date() if isinstance(value, datetime) else value
