"""Reading the configuration again: the whole new one, or the old one goes on and people hear that it does.

That is an alert like any other, told by the configuration that is at work: no route, window or template of a broken file can
stand in its way. It is told once for each fault however often it is tried, and once more when it is put right.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from kpid.alerting.configuration import tell_in_order, tell_refused
from kpid.app import App, open_app
from kpid.commands.check_templates import refuse_all_mistakes
from kpid.commands.wellbeing import health_receivers
from kpid.config.secrets import redact
from kpid.errors import KpidError
from kpid.registry import secrets_of
from kpid.store import problems

log = logging.getLogger(__name__)

SUBJECT = "configuration"
HINT = "Put it right (`kpid check` says what is wrong), then send SIGHUP again"


def read_again(file: Path, old: App) -> App | None:
    """The app of the configuration as it is now, over the same stores; None, and people are told, if it cannot be used."""
    try:
        new = open_app(file, old.clock, stores_of=old)
        refuse_all_mistakes(new)
    except (Exception, SystemExit) as error:
        text = str(error) if isinstance(error, KpidError) else f"{type(error).__name__}: {error}"
        log.error("the new configuration is not used, the old one goes on: %s", text, exc_info=not isinstance(error, KpidError))
        with suppress(KpidError):
            tell_broken(old, redact(text, secrets_of(old.loaded, old.plugins)), old.clock.now())
        return None
    return new


def tell_broken(app: App, text: str, now: datetime) -> int:
    """Write down that the new configuration is not used, and tell people; how many notices are new."""
    with app.store.write() as conn:
        problems.note(conn, SUBJECT, text, HINT, now)
    notes = (f"{HINT}.", f"File: {app.config.file}")
    return tell_refused(app.alerting_setup(), store=app.store, text=text, notes=notes, to=health_receivers(app), now=now)


def tell_well(app: App, now: datetime) -> int:
    """The configuration is well: whoever heard that it was not hears it; how many notices are new."""
    with app.store.write() as conn:
        problems.clear(conn, SUBJECT)
    return tell_in_order(app.alerting_setup(), store=app.store, now=now)
