"""The store that rule tests with steps are played on: in memory, the same tables and the same code as live. And its clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.routes import escalations
from kpid.store.engine import Store
from kpid.store.notices import SENT, WAITING
from kpid.store.tables import episodes, groups, metadata, notices

_INHIBITED = "inhibited by "
_AGAIN = ("reminder", "escalation")
"""What is told of alerts that were told before: chains of escalations do not begin with it."""
_CLEARING = tuple(str(delete(table)) for table in reversed(metadata.sorted_tables))


def empty_store() -> Store:
    """A store in memory."""
    store = Store("sqlite://")
    store.create()
    return store


def clear(store: Store) -> None:
    """Make it as it was in the beginning: numbers start from 1 again."""
    with store.write() as conn:
        for statement in _CLEARING:
            conn.exec_driver_sql(statement)


def next_due(conn: Connection, setup: AlertingSetup, after: datetime) -> datetime | None:
    """When, after an instant, time itself may bring something: the daemon looks every few seconds, a test only then.

    What another alert holds back is looked at whenever anything happens at all.
    """
    return min((instant for instant in _instants(conn, setup) if instant > after), default=None)


def _instants(conn: Connection, setup: AlertingSetup) -> Iterator[datetime]:
    waiting = select(notices.c.not_before, notices.c.held_by).where(notices.c.state == WAITING).distinct()
    yield from (row.not_before for row in conn.execute(waiting) if not row.held_by.startswith(_INHIBITED))
    yield from conn.execute(select(groups.c.next_repeat_at).where(groups.c.next_repeat_at.is_not(None))).scalars()
    in_hand = select(episodes.c.handled_until).where(episodes.c.ended_at.is_(None), episodes.c.handled_until.is_not(None))
    yield from conn.execute(in_hand).scalars()
    steps = _step_lengths(setup)
    if steps:
        first = select(notices.c.done_at).where(notices.c.state == SENT, notices.c.kind.not_in(_AGAIN)).distinct()
        yield from (at + length for at in conn.execute(first).scalars() if at is not None for length in steps)


def _step_lengths(setup: AlertingSetup) -> Sequence[timedelta]:
    return sorted({step.after for steps in escalations(setup.routes).values() for step in steps})
