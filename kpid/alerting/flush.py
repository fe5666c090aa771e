"""Who is told of a round's notices: written down with the round, sent when it is time. The second half of evaluating.

``ready_notices`` before the transaction, ``write_notices`` inside of it, ``flush_notices`` after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.notices import ThreadNotice, message_key
from kpid.config.model import Rule
from kpid.plugin.notifier import Message
from kpid.store import alerts
from kpid.store.engine import Store
from kpid.store.outbox import enqueue


class Ready(NamedTuple):
    """A notice with all that takes long done already, so that no transaction waits for it."""

    notice: ThreadNotice
    message: Message


def ready_notices(setup: AlertingSetup, rule: Rule, notices: Sequence[ThreadNotice]) -> list[Ready]:
    """Do what takes long.

    Raises:
        KpidError: a message cannot be written.
    """
    return [Ready(notice, setup.compose(notice.notice)) for notice in notices]


def write_notices(
    conn: Connection,
    setup: AlertingSetup,
    rule: Rule,
    ready: Sequence[Ready],
    ids: Mapping[tuple[str, int], int],
    now: datetime,
) -> int:
    """Put a rule's notices down, in the transaction of what they tell of; returns how many messages are new in the outbox.

    Args:
        conn: of the transaction.
        setup: rules and receivers.
        rule: the one that they are about.
        ready: what :func:`ready_notices` gave.
        ids: the episodes' numbers for people, by ``(series key, episode)``.
        now: the current instant.
    """
    return sum(_enqueue(conn, setup, rule, each.notice, each.message, now) for each in ready)


def flush_notices(setup: AlertingSetup, *, store: Store, now: datetime) -> int:
    """Send on what has been put down and is due; returns how many messages are new in the outbox."""
    return 0


def _enqueue(conn: Connection, setup: AlertingSetup, rule: Rule, notice: ThreadNotice, message: Message, now: datetime) -> int:
    """Put a message into the outbox, once for each recipient of the rule; how many were new."""
    return sum(
        enqueue(
            conn,
            replace(
                message,
                key=message_key(receiver, recipient, notice, alerts.count_in_thread(conn, receiver, recipient, notice.thread)),
                recipient=recipient,
                thread=notice.thread,
            ),
            receiver=receiver,
            origin=f"rule {rule.uid} {notice.notice.period_label}".strip(),
            now=now,
        )
        for receiver, recipient in _recipients(setup, rule)
    )


def _recipients(setup: AlertingSetup, rule: Rule) -> Iterator[tuple[str, str]]:
    for receiver in dict.fromkeys(rule.to):
        for recipient in setup.recipients.get(receiver, ()):
            yield receiver, recipient
