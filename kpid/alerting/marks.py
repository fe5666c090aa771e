"""What people did about alerts, shown in the messages that told of them, where sent messages can be changed (Slack).

The change is a message of its own in the same thread of the outbox: it waits for the one that it changes, is tried again like
any other, and has a key that says what it shows, so that nothing is shown twice. Words and sections are those that were sent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from kpid.alerting.contracts import AlertingSetup
from kpid.alerting.letters import message_key
from kpid.alerting.routes import digest
from kpid.analysis.wording import count_text, when_text
from kpid.plugin.notifier import Message, Section
from kpid.store import handling, notices, outbox
from kpid.store.episodes import EpisodeRow

_WORDS = {"acked": "acknowledged", "snoozed": "snoozed"}
_MOST_LINES = 5
_LONGEST_NAME, _LONGEST_COMMENT = 80, 200


def mark_handled(conn: Connection, setup: AlertingSetup, numbers: Collection[int], now: datetime) -> int:
    """Show in the messages about these episodes who has them in hand, or that nobody has any more.

    Args:
        conn: the transaction in which that has changed.
        setup: whose messages can be changed.
        numbers: of the episodes.
        now: the current instant.

    Returns:
        How many messages will be changed.
    """
    if not setup.updating or not numbers:
        return 0
    keys = [one.key for one in handling.load_episodes(conn, sorted(numbers)).values()]
    told: list[tuple[Message, str, str]] = []
    for flush_id, receiver, recipient in notices.messages_about(conn, keys, setup.updating):
        recipients = (recipient,) if recipient else tuple(setup.recipients.get(receiver, ()))
        sent = outbox.messages_by_key(conn, [message_key(flush_id, receiver, one) for one in recipients])
        found = handling.episodes_of_message(conn, flush_id) if sent else []
        if not any(one.is_open for one in found):
            continue  # its end is shown, or will be
        for message, origin in sent:
            if message.actions:
                told.append((marked(message, found, setup.calendar.timezone, now), receiver, origin))
    return outbox.enqueue_all(conn, told, now=now)


def marked(message: Message, found: Sequence[EpisodeRow], timezone: str, now: datetime) -> Message:
    """A message with who has its alerts in hand; what is to be pressed stays as long as somebody may have to."""
    lines = list(_lines(found, timezone, now))
    head, rest = message.sections[:1], message.sections[1:]
    said = (Section("text", "\n".join(lines)),) if lines else ()
    free = any(one.is_open and not one.is_handled(now) for one in found)
    state = [[str(one.id), str(one.is_open), *_state(one, now)] for one in found]
    return replace(
        message,
        key=digest("mark", message.key, *("|".join(one) for one in state)),
        text="\n\n".join((*lines, message.text)),
        html=None,
        sections=(*head, *said, *rest),
        images=(),
        actions=message.actions if free else (),
        replaces=message.key,
    )


def _state(one: EpisodeRow, now: datetime) -> tuple[str, ...]:
    held = one.is_handled(now)
    return (one.handling if held else "open", str(one.handled_at), one.handled_by if held else "")


def _lines(found: Sequence[EpisodeRow], timezone: str, now: datetime) -> Iterator[str]:
    """``Acknowledged by ada at Mon 23 Nov, 10:05 CET, until Mon 30 Nov, 10:05 CET``; a line for each hand."""
    hands: dict[tuple[object, ...], list[EpisodeRow]] = {}
    going = [one for one in found if one.is_open]
    for one in going:
        if one.is_handled(now):
            hands.setdefault((one.handling, one.handled_by, one.handled_at, one.handled_until, one.comment), []).append(one)
    for members in list(hands.values())[:_MOST_LINES]:
        one = members[0]
        word = _WORDS.get(one.handling, one.handling)
        text = f"{word} by {one.handled_by[:_LONGEST_NAME]}"
        text += f" at {when_text(one.handled_at, timezone, now)}" if one.handled_at else ""
        text += f", until {when_text(one.handled_until, timezone, now)}" if one.handled_until else ""
        text += f" ({one.comment[:_LONGEST_COMMENT]})" if one.comment else ""
        few = f"{len(members):,} of {count_text(len(going), 'alert')} " if len(members) < len(going) else ""
        yield f"{few}{text}" if few else f"{text[:1].upper()}{text[1:]}"
