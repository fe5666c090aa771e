"""``kpid outbox``: messages and their fate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from kpid.app import App
from kpid.commands.plain import plain
from kpid.errors import KpidError
from kpid.store import outbox


def list_messages(app: App, *, state: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
    """Messages, newest first; of one state if given (ready, sending, sent, dead, hold)."""
    with app.store.read() as connection:
        return [plain(row) for row in outbox.list_outbox(connection, state, limit)]


def show_message(app: App, *, number: int) -> dict[str, Any]:
    """A message and every try of it.

    Raises:
        KpidError: there is no such message.
    """
    with app.store.read() as connection:
        row = outbox.find(connection, number)
        if row is None:
            raise KpidError(f"there is no message {number}", hint="`kpid outbox list` shows their ids")
        return {**plain(row), "attempts": [plain(row) for row in outbox.list_attempts(connection, number)]}


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
    if all_dead:
        with app.store.read() as connection:
            numbers = [*numbers, *(row.id for row in outbox.list_outbox(connection, "dead", 100_000))]
    hint = "`kpid outbox list` shows the state of each"
    numbers = list(dict.fromkeys(numbers))
    _each(app, numbers, lambda c, number: outbox.requeue(c, number, now), "not dead and not held", hint)
    return {"requeued": numbers}


def hold(app: App, *, numbers: list[int]) -> dict[str, Any]:
    """Keep messages back that wait to be sent, until they are released.

    Raises:
        KpidError: one of them does not wait; then none is held.
    """
    _each(app, numbers, outbox.hold, "not waiting to be sent", "`kpid outbox list --state ready` shows those that are")
    return {"held": numbers}


def dismiss(app: App, *, numbers: list[int]) -> dict[str, Any]:
    """Let dead or held messages rest: nobody is to be told of them any more.

    Raises:
        KpidError: one of them is neither dead nor held; then none is dismissed.
    """
    now = app.clock.now()
    what = "not dead and not held"
    _each(app, numbers, lambda c, number: outbox.dismiss(c, number, now), what, "`kpid outbox list` shows the state of each")
    return {"dismissed": numbers}


def _each(app: App, numbers: list[int], change: Callable[[Connection, int], bool], refusal: str, hint: str) -> None:
    """Change all of them, or none."""
    with app.store.write() as connection:
        refused = [number for number in dict.fromkeys(numbers) if not change(connection, number)]
        if refused:
            raise KpidError(f"{refusal}: {', '.join(map(str, refused))}", hint=hint)


def release(app: App, *, numbers: list[int]) -> dict[str, Any]:
    """Let held messages go.

    Raises:
        KpidError: one of them is not held.
    """
    now = app.clock.now()
    hint = "`kpid outbox list --state hold` shows the held ones"
    _each(app, numbers, lambda c, number: outbox.release(c, number, now), "not held", hint)
    return {"released": numbers}
