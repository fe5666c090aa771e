"""``kpid outbox``: messages and their fate."""

from __future__ import annotations

from typing import Any

from kpid.app import App
from kpid.commands.plain import plain
from kpid.errors import KpidError
from kpid.store import outbox


def list_messages(app: App, *, state: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
    """Messages, newest first; of one state if given (ready, sending, sent, dead, hold)."""
    with app.store.read() as connection:
        return [plain(row) for row in outbox.list_outbox(connection, state, limit)]


def show_message(app: App, *, number: int) -> dict[str, Any]:
    """Every try of one message."""
    with app.store.read() as connection:
        return {"id": number, "attempts": [plain(row) for row in outbox.list_attempts(connection, number)]}


def retry(app: App, *, numbers: list[int], all_dead: bool = False) -> dict[str, Any]:
    """Try dead or held messages again, with a fresh budget.

    Args:
        app: everything.
        numbers: ids of the messages.
        all_dead: every dead one.

    Raises:
        KpidError: one of them is neither dead nor held.
    """
    now = app.clock.now()
    with app.store.write() as connection:
        if all_dead:
            numbers = [*numbers, *(row.id for row in outbox.list_outbox(connection, "dead", 100_000))]
        refused = [number for number in dict.fromkeys(numbers) if not outbox.requeue(connection, number, now)]
        if refused:
            raise KpidError(f"not dead and not held: {refused}", hint="`kpid outbox list` shows the state of each message")
    return {"requeued": list(dict.fromkeys(numbers))}


def release(app: App, *, numbers: list[int]) -> dict[str, Any]:
    """Let held messages go.

    Raises:
        KpidError: one of them is not held.
    """
    now = app.clock.now()
    with app.store.write() as connection:
        refused = [number for number in numbers if not outbox.release(connection, number, now)]
        if refused:
            raise KpidError(f"not held: {refused}", hint="`kpid outbox list --state hold` shows the held ones")
    return {"released": numbers}
