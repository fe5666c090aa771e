"""How the world hears that kpid itself is well: a call to an address outside while it is, and one line a week."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from sqlalchemy import func, select

from kpid.analysis.schedule import schedule_from_text
from kpid.analysis.wording import count_text
from kpid.app import App
from kpid.errors import KpidError
from kpid.plugin.client import HttpClient
from kpid.plugin.notifier import Message, Section
from kpid.plugin.reply import HttpFailure
from kpid.store import alerts, problems
from kpid.store.outbox import enqueue
from kpid.store.tables import outbox

log = logging.getLogger(__name__)

HEARTBEAT = "heartbeat"
LATE = timedelta(days=1)
"""A line that is later than this is not written any more."""
_LOOK_BACK = timedelta(days=40)


def health_recipients(app: App) -> Iterator[tuple[str, str]]:
    """Who hears of kpid's own health, as (receiver, recipient).

    Those of a route for ``kind: health``; else the one that ``owners:`` falls back to; else the first receiver.
    """
    seen = set()
    for name in health_receivers(app):
        receiver, _, address = name.partition(":")
        if receiver not in app.notifiers:
            continue  # `owner`, `manager`: of kpid nobody is
        for recipient in (address,) if address else app.notifiers[receiver].recipients():
            if (receiver, recipient) not in seen:
                seen.add((receiver, recipient))
                yield receiver, recipient


def health_receivers(app: App) -> list[str]:
    """Who hears of kpid's own health, as in ``to:``."""
    config = app.config
    named = [name for route in config.routes if "health" in route.match.get("kind", ()) for name in route.to]
    return named or ([config.owners.else_] if config.owners else []) or list(config.receivers)[:1]


def call_heartbeat(app: App) -> bool:
    """Call the configured address once; whether it answered. The address is a secret: nothing of it is told."""
    heartbeat = app.config.heartbeat
    if heartbeat is None:
        return False
    parts = urlsplit(heartbeat.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    failure = ""
    try:
        base = f"{parts.scheme}://{parts.netloc}"
        client = HttpClient(
            base, name=HEARTBEAT, clock=app.clock, timeout=(5.0, 10.0), total=20.0, allow_private=True, secret_path=True
        )
        try:
            status = client.request_raw("GET", path).status
            failure = "" if 200 <= status < 300 else f"it answered {status}"
        finally:
            client.close()
    except HttpFailure as error:
        failure = "it gave no answer" if error.transient else "it cannot be called"
    except (KpidError, ValueError):
        failure = "it cannot be called"
    _note(app, failure)
    return not failure


def _note(app: App, failure: str) -> None:
    if failure:
        log.warning("the heartbeat's address could not be called: %s", failure)
    with suppress(KpidError):
        with app.store.read() as conn:
            known = any(one.subject == HEARTBEAT for one in problems.list_problems(conn))
        if not failure and not known:
            return
        with app.store.write() as conn:
            if failure:
                text = f"the heartbeat's address could not be called: {failure}"
                problems.note(
                    conn, HEARTBEAT, text, "Whoever waits for it will raise the alarm; check `heartbeat:`", app.clock.now()
                )
            else:
                problems.clear(conn, HEARTBEAT)


def say_alive(app: App, now: datetime) -> int:
    """Write the line that says that kpid runs, if it is due and not written yet; how many messages are new."""
    heartbeat = app.config.heartbeat
    if heartbeat is None or heartbeat.alive is None:
        return 0
    schedule = schedule_from_text(heartbeat.alive, app.config.timezone)
    reached = schedule.reach(now)
    newest = schedule.newest(reached - _LOOK_BACK, reached, 1)
    if not newest or now - schedule.instant(newest[0]) > LATE:
        return 0
    due = newest[0].isoformat()
    keys = {
        (receiver, recipient): hashlib.sha256("\n".join(("alive", due, receiver, recipient)).encode()).hexdigest()
        for receiver, recipient in health_recipients(app)
    }
    with app.store.read() as conn:
        known = set(conn.scalars(select(outbox.c.key).where(outbox.c.key.in_(keys.values()))))
    new = {who: key for who, key in keys.items() if key not in known}
    if not new:
        return 0
    message = _alive_message(app, now)
    with app.store.write() as conn:
        return sum(
            enqueue(
                conn,
                replace(message, key=key, recipient=recipient),
                receiver=receiver,
                origin=HEARTBEAT,
                now=now,
                expires_at=now + LATE,
            )
            for (receiver, recipient), key in new.items()
        )


def _alive_message(app: App, now: datetime) -> Message:
    week = now - timedelta(days=7)
    with app.store.read() as conn:
        judged = len(alerts.list_rules(conn))
        firing = len(alerts.list_series(conn, "firing"))
        sent = (
            conn.scalar(select(func.count()).select_from(outbox).where(outbox.c.state == "sent", outbox.c.done_at >= week)) or 0
        )
        wrong = len(problems.list_problems(conn))
    told = (
        f"{count_text(judged, 'rule')} judged, {count_text(firing, 'alert')} firing, {count_text(sent, 'message')} sent in 7 days"
    )
    trouble = f"{count_text(wrong, 'problem')}: `kpid doctor` says which" if wrong else "no problems"
    text = f"kpid is running: {told}; {trouble}."
    return Message(
        key="",
        kind="health",
        title="kpid is running",
        text=text,
        created_at=now,
        sections=(Section("headline", "kpid is running"), Section("text", text)),
        facts={"alive": {"rules": judged, "firing": firing, "sent": sent, "problems": wrong}},
        list_id=HEARTBEAT,
    )
