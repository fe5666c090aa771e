"""The message that tells a fallback receiver of one that was given up. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from kpid.plugin.notifier import Message, Section

ORIGIN = "undelivered:"
"""Such messages have an origin that starts so; when one of them is given up, no further one is written."""

Compose = Callable[[Message, str, str, datetime], Message]
"""(message that was given up, its receiver, why, now) -> what the fallback receiver gets; key and recipient are filled in."""


def undelivered_message(message: Message, receiver: str, reason: str, now: datetime) -> Message:
    """A plain message with the reason and the whole text of what did not arrive: nothing that people must know gets lost."""
    whom = f"{receiver} ({message.recipient})" if message.recipient else receiver
    opening = f"A message to {whom} was given up: {reason}"
    return Message(
        key="",
        kind="health",
        title=f"Not delivered to {receiver}: {message.title}",
        text=f"{opening}\n\nIt said:\n\n{message.text}",
        created_at=now,
        sections=(
            Section("headline", f"Not delivered to {whom}"),
            Section("text", reason),
            Section("note", "It said:"),
            Section("text", message.text),
        ),
        facts={"undelivered": {"key": message.key, "kind": message.kind, "receiver": receiver, "reason": reason}},
        links=message.links,
        status="firing",
        list_id="undelivered",
    )


def addressed(message: Message, key: str, attempt: int, receiver: str, recipient: str) -> Message:
    """The message for one recipient of the fallback receiver, with a key derived from what was given up."""
    text = "\n".join(("undelivered", key, str(attempt), receiver, recipient))
    return replace(message, key=hashlib.sha256(text.encode()).hexdigest(), recipient=recipient)
