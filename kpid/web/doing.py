"""What the pages do: the same as buttons and commands, by the rights of a signed link."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from kpid.app import App
from kpid.commands.pressing import offer, pressed
from kpid.errors import KpidError
from kpid.plugin.notifier import Press
from kpid.store import problems
from kpid.web.server import Answers, serving

log = logging.getLogger(__name__)

SUBJECT = "web"


@contextmanager
def serving_pages(app: App, woken: Callable[[], None], is_well: Callable[[], bool]) -> Iterator[int | None]:
    """Serve the pages for the length of the block, if they are configured; gives the port.

    Args:
        app: everything.
        woken: called after each press: there may be something to send.
        is_well: whether kpid works.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    def press(what: Press) -> str:
        try:
            return pressed(app, what, "web")
        finally:
            woken()

    web = app.config.web
    if web is None:
        _note(app, None)
        yield None
        return
    with ExitStack() as stack:
        try:
            port = stack.enter_context(serving(web, Answers(lambda token: offer(app, token), press, is_well)))
        except KpidError as error:
            log.error("%s", error)
            _note(app, error)
            raise
        _note(app, None)
        log.info("pages for the links of messages: %s, on port %d", web.url, port)
        yield port


def _note(app: App, error: KpidError | None) -> None:
    """That the pages are not served is a problem until they are."""
    with suppress(KpidError), app.store.write() as conn:
        if error is None:
            problems.clear(conn, SUBJECT)
        else:
            problems.note(conn, SUBJECT, error.what, error.hint or "", app.clock.now())
