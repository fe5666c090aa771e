"""Waits for what readers press: a thread for each receiver whose buttons come back.

A line that breaks is opened again, ever later; `kpid doctor` knows of it as long as it is down.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from kpid.app import App
from kpid.clock import Clock
from kpid.commands.pressing import pressed
from kpid.errors import KpidError
from kpid.plugin.notifier import Notifier, Press
from kpid.store import problems

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
UP_AFTER = 90.0
"""Seconds after which a line that has not failed is said to be up."""
DRAIN = 5.0

Handle = Callable[[str, Press], str]
"""(receiver, what was pressed) -> the sentence to show. Raises KpidError for what is not done."""
Note = Callable[[str, str | None], None]
"""(receiver, why it cannot be heard): None: it is heard again."""


@contextmanager
def hearing(app: App, woken: Callable[[], None], clock: Clock) -> Iterator[int]:
    """Do what readers press, for the length of the block; gives the number of receivers that are listened to.

    Args:
        app: everything.
        woken: called after each press: there may be something to send.
        clock: measures how long a line has lasted.
    """

    def press(receiver: str, what: Press) -> str:
        try:
            return pressed(app, what, app.config.receivers[receiver].notifier)
        finally:
            woken()

    def note(receiver: str, failure: str | None) -> None:
        subject = f"receiver:{receiver}/buttons"
        with suppress(KpidError), app.store.write() as conn:
            if failure is None:
                problems.clear(conn, subject)
            else:
                text = f"the buttons of {receiver} are not heard: {failure}"
                problems.note(conn, subject, text, "`kpid check --connect` tries it", app.clock.now())

    with listening(app.notifiers, press, note, clock) as count:
        yield count


@contextmanager
def listening(notifiers: Mapping[str, Notifier[Any]], handle: Handle, note: Note, clock: Clock) -> Iterator[int]:
    """Listen in threads for the length of the block; gives how many.

    Args:
        notifiers: by the receiver's name; only those that listen are asked to.
        handle: does what was pressed.
        note: told when a receiver cannot be heard, and when it is heard again.
        clock: measures how long a line has lasted.
    """
    stop = threading.Event()
    ears = [_Ear(name, one, handle, note, clock, stop) for name, one in notifiers.items() if one.listens]
    threads = [threading.Thread(target=ear.listen, name=f"listen {ear.name}", daemon=True) for ear in ears]
    for thread in threads:
        thread.start()
    try:
        yield len(threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join(DRAIN)


class _Ear:
    """Listens for one receiver, until told to stop."""

    def __init__(
        self, name: str, notifier: Notifier[Any], handle: Handle, note: Note, clock: Clock, stop: threading.Event
    ) -> None:
        self.name = name
        self._notifier = notifier
        self._do = handle
        self._note = note
        self._clock = clock
        self._stop = stop
        self._failing = False
        self._begun = 0.0

    def listen(self) -> None:
        """The thread's work."""
        wait = FIRST_WAIT
        while not self._stop.is_set():
            self._begun = self._clock.monotonic()
            failure = self._once()
            if self._clock.monotonic() - self._begun > UP_AFTER or failure is None:
                wait = FIRST_WAIT
            if failure is not None and not self._stop.is_set():
                log.warning("receiver %s: its buttons are not heard: %s", self.name, failure)
                self._failing = True
                self._note(self.name, failure)
            self._stop.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _once(self) -> str | None:
        """One line, from its beginning to its end; why it failed."""
        try:
            self._notifier.listen(self._handle, self._must_stop)
        except KpidError as error:
            return str(error)
        except Exception as error:  # a plugin's fault ends its line, not kpid
            log.exception("receiver %s: listening failed", self.name)
            return type(error).__name__
        return None

    def _must_stop(self) -> bool:
        if self._failing and self._clock.monotonic() - self._begun > UP_AFTER:
            self._failing = False
            self._note(self.name, None)
        return self._stop.is_set()

    def _handle(self, press: Press) -> str:
        try:
            return self._do(self.name, press)
        except KpidError as error:
            return f"Not done: {error.what}" + (f" ({error.hint})" if error.hint else "")
        except Exception:  # what was pressed is at an end, the line is not
            log.exception("receiver %s: what was pressed could not be done", self.name)
            return "Not done: something is wrong with kpid; its log says more"
