"""Reading the configuration again: the whole new one, or the old one goes on and people hear that it does.

The message goes to those who hear of kpid's own health, once for each fault however often it is tried, and once more when it is
put right. It is written into the outbox as it is: no route, window or template of a broken file can stand in its way.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, select

from kpid.app import App, open_app
from kpid.commands.check_templates import refuse_all_mistakes
from kpid.commands.wellbeing import health_recipients
from kpid.config.secrets import redact
from kpid.errors import KpidError
from kpid.plugin.notifier import Message, Section
from kpid.registry import secrets_of
from kpid.store import problems
from kpid.store.outbox import enqueue
from kpid.store.tables import outbox

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
    """Write down that the new configuration is not used, and tell people; how many messages are new."""
    with app.store.write() as conn:
        problems.note(conn, SUBJECT, text, HINT, now)
        thread = _thread(conn)
        message = _message(
            app, "The new configuration of kpid is not used", f"{text}\n\nThe old one goes on. {HINT}.", now, thread
        )
        told = list(health_recipients(app))
        return sum(_put(conn, message, receiver, recipient, text, now) for receiver, recipient in told)


def tell_well(app: App, now: datetime) -> int:
    """The configuration is well: whoever heard that it was not hears it; how many messages are new."""
    with app.store.write() as conn:
        thread = _thread(conn)
        if not problems.clear(conn, SUBJECT):
            return 0
        text = "The configuration was read again and is in use."
        message = replace(_message(app, "The new configuration of kpid is in use", text, now, thread), status="resolved")
        told = select(outbox.c.receiver, outbox.c.recipient).where(outbox.c.thread == thread).distinct()
        heard = [(row.receiver, row.recipient) for row in conn.execute(told) if row.receiver in app.notifiers]
        return sum(_put(conn, message, receiver, recipient, "", now) for receiver, recipient in heard)


def _thread(conn: Connection) -> str:
    """One thread from the first fault until it is put right."""
    since = next((one.first_at for one in problems.list_problems(conn) if one.subject == SUBJECT), None)
    return f"{SUBJECT}@{since.isoformat() if since else ''}"


def _put(conn: Connection, message: Message, receiver: str, recipient: str, text: str, now: datetime) -> bool:
    """The same fault, tried again, has the same key."""
    parts = "\n".join((message.thread or "", message.status, receiver, recipient, text))
    key = hashlib.sha256(parts.encode()).hexdigest()
    return enqueue(conn, replace(message, key=key, recipient=recipient), receiver=receiver, origin=SUBJECT, now=now)


def _message(app: App, title: str, text: str, now: datetime, thread: str) -> Message:
    file = app.config.file
    return Message(
        key="",
        kind="health",
        title=title,
        text=f"{title}\n\n{text}\n\nFile: {file}",
        created_at=now,
        sections=tuple(_sections(title, text, str(file))),
        facts={"health": {"subject": SUBJECT, "text": text, "file": str(file)}},
        thread=thread,
        status="firing",
        list_id=SUBJECT,
    )


def _sections(title: str, text: str, file: str) -> Iterator[Section]:
    yield Section("headline", title)
    for part in text.split("\n\n"):
        yield Section("text", part)
    yield Section("note", f"File: {file}")
