"""``kpid ack``, ``unack``, ``snooze``: who has taken up an alert, until when. Each with its line in the audit log.

An acknowledged alert is not repeated and does not climb the chain of escalation; a worse level is told all the same. A snoozed
one is told again when its time is over, if it still fires. What is told when is decided where notices are sent, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from kpid.alerting.marks import mark_handled
from kpid.alerting.rules import need_of
from kpid.analysis.durations import duration_from_text
from kpid.analysis.periods import period_at
from kpid.analysis.wording import when_text
from kpid.app import App
from kpid.commands.plain import plain
from kpid.errors import KpidError
from kpid.store import audit
from kpid.store import handling as store
from kpid.store.episodes import EpisodeRow

ACK_LASTS = "7d"
LONGEST = timedelta(days=366)
MAX_COMMENT = 2_000
MAX_BY = 320
MANY = 1_000
"""So many alerts at once; more is a slip of the pen, or an attack."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Whose hand does it, and by which way."""

    by: str
    via: str = "cli"
    comment: str = ""


def ack(
    app: App, *, ids: Sequence[int], by: str, via: str = "cli", until: str | None = None, comment: str = ""
) -> dict[str, Any]:
    """Acknowledge episodes: somebody has taken them up.

    Args:
        app: everything.
        ids: the episodes' numbers.
        by: who.
        via: ``cli``, ``web``, ``slack``.
        until: ``7d``, an instant, or ``next``; so long it holds.
        comment: why.

    Returns:
        ``done``: what has changed; ``left``: what has not, each with its reason.

    Raises:
        KpidError: there is no such episode, or ``until`` cannot be read; then nothing has changed.
    """
    return _change(app, "ack", ids, hand_of(by, via, comment), until or ACK_LASTS)


def snooze(app: App, *, ids: Sequence[int], by: str, until: str, via: str = "cli", comment: str = "") -> dict[str, Any]:
    """Say nothing of episodes for a while; see :func:`ack`. ``next``: until their next evaluation."""
    return _change(app, "snooze", ids, hand_of(by, via, comment), until)


def unack(app: App, *, ids: Sequence[int], by: str, via: str = "cli", comment: str = "") -> dict[str, Any]:
    """Take an acknowledgement or a snooze back; see :func:`ack`."""
    return _change(app, "unack", ids, hand_of(by, via, comment), None)


def hand_of(by: str, via: str, comment: str = "") -> Hand:
    """Whose hand it is, with texts that may be written down.

    Raises:
        KpidError: nobody is named, or a text is too long.
    """
    who, said = one_line(by), one_line(comment)
    if not who:
        raise KpidError("nobody is named who does this", hint="Say who with --as NAME")
    if len(who) > MAX_BY or len(said) > MAX_COMMENT:
        raise KpidError(f"a name has at most {MAX_BY} characters, and a comment {MAX_COMMENT:,}")
    return Hand(who, via, said)


def one_line(text: str) -> str:
    """The text with blanks in place of line ends and of what steers terminals or turns the direction of writing."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def instant_of(app: App, text: str, one: EpisodeRow | None = None) -> datetime:
    """``3d``, ``2026-12-24``, ``2026-12-24T18:00``, or ``next`` (an episode's next evaluation) as an instant.

    Raises:
        KpidError: it is none of these, is over, or is more than a year away.
    """
    now = app.clock.now()
    found = _instant(app, text.strip(), one, now)
    if found <= now:
        raise KpidError(f"{text} is over already", hint="Write how long from now, such as 3d, or a later day")
    if found - now > LONGEST:
        raise KpidError(f"{text} is more than a year away", hint="An alert that nobody wants is better paused: `paused: true`")
    return found


def _instant(app: App, text: str, one: EpisodeRow | None, now: datetime) -> datetime:
    if text == "next" and one is not None:
        return _next_slot(app, one, now)
    try:
        return now + duration_from_text(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(app.config.timezone))).astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        hint = "Write 8h, 3d, 2026-12-24 or 2026-12-24T18:00" + (", or next" if one is not None else "")
        raise KpidError(f"{one_line(text)[:60]!r} is neither a length of time nor a day", hint=hint) from None


def _next_slot(app: App, one: EpisodeRow, now: datetime) -> datetime:
    """When the episode's rule is judged next; in an hour for a rule that has no periods."""
    rule = next((rule for rule in app.config.rules if rule.uid == one.rule_uid), None)
    if rule is None or rule.absence is not None or rule.kpi not in app.plugins.kpis:
        return now + timedelta(hours=1)
    need = need_of(rule, app.plugins.kpis[rule.kpi])
    settle = duration_from_text(rule.settle) if rule.settle else timedelta(0)
    return max(period_at(need.period, now, app.calendar).end, now + timedelta(minutes=1)) + settle


def _change(app: App, action: str, ids: Sequence[int], hand: Hand, until: str | None) -> dict[str, Any]:
    numbers = list(dict.fromkeys(ids))
    if not 0 < len(numbers) <= MANY:
        raise KpidError(f"1 to {MANY:,} alerts at once, not {len(numbers)}", hint="`kpid alerts list` shows their numbers")
    with app.store.read() as conn:
        found = store.load_episodes(conn, numbers)
    unknown = [str(number) for number in numbers if number not in found]
    if unknown:
        raise KpidError(f"there is no alert {', '.join(unknown[:20])}", hint="`kpid alerts list` shows their numbers")
    ends = {number: None if until is None else instant_of(app, until, found[number]) for number in numbers}
    now = app.clock.now()
    told: dict[str, Any] = {"done": [], "left": []}
    with app.store.write() as conn:
        for one in apply(conn, action, ends, hand, now):
            told["done" if one.changed else "left"].append(_said(app, one, now))
        mark_handled(conn, app.alerting_setup(), [one["id"] for one in told["done"]], now)
    return told


@dataclass(frozen=True, slots=True)
class Outcome:
    """An episode as it is after somebody did something about it; whether that changed it, and why not."""

    episode: EpisodeRow
    changed: bool
    why: str = ""


def apply(conn: Connection, action: str, ends: Mapping[int, datetime | None], hand: Hand, now: datetime) -> list[Outcome]:
    """Change how episodes are handled, and write it down, in one transaction.

    Args:
        conn: of the transaction.
        action: ``ack``, ``snooze``, ``unack``.
        ends: by the episode's number until when; None for ``unack``.
        hand: who does it.
        now: the current instant.
    """
    numbers = list(ends)
    before = store.load_episodes(conn, numbers)
    by_end: dict[datetime | None, list[int]] = {}
    for number, end in ends.items():
        by_end.setdefault(end, []).append(number)
    changed: set[int] = set()
    for end, some in by_end.items():
        changed |= _store(conn, action, some, hand, end, now)
    told = [
        Outcome(one, one.id in changed, "" if one.id in changed else _why_not(one))
        for one in store.load_episodes(conn, numbers).values()
    ]
    done = {subject_of(one.episode.id): _written(one, before[one.episode.id], ends[one.episode.id], hand) for one in told}
    audit.record_all(conn, actor=hand.by, via=hand.via, action=action, done=done, now=now)
    return told


def _store(conn: Connection, action: str, numbers: Sequence[int], hand: Hand, until: datetime | None, now: datetime) -> set[int]:
    about: dict[str, Any] = {"by": hand.by, "via": hand.via, "comment": hand.comment, "now": now}
    if action == "unack":
        return store.let_go(conn, numbers, **about)
    if until is None:
        raise ValueError(f"{action} needs an end")
    return (store.take_up if action == "ack" else store.put_off)(conn, numbers, until=until, **about)


def _written(told: Outcome, before: EpisodeRow, until: datetime | None, hand: Hand) -> dict[str, Any]:
    one = told.episode
    body = {"until": plain(until), "comment": hand.comment, "changed": told.changed, "why": told.why, "level": one.level}
    return body | {"rule": one.rule_uid, "segment": one.label, "was": before.handling, "was_by": before.handled_by}


def subject_of(number: int) -> str:
    """What the audit log calls an episode."""
    return f"episode:{number}"


def _why_not(one: EpisodeRow) -> str:
    if one.ended_at is not None:
        return f"it is over ({one.end_kind or 'ended'})"
    return f"{one.handled_by} was first" if one.handling == "acked" else "nobody has taken it up"


def handling_text(one: EpisodeRow, now: datetime, timezone: str) -> str:
    """``acked by ada until Sat 5 Dec, 08:00``; empty if nobody has it in hand."""
    if one.ended_at is not None or not one.is_handled(now):
        return ""
    until = f" until {when_text(one.handled_until, timezone, now)}" if one.handled_until else ""
    return f"{one.handling} by {one.handled_by}{until}"


def _said(app: App, told: Outcome, now: datetime) -> dict[str, Any]:
    one = told.episode
    text = handling_text(one, now, app.config.timezone)
    plainly = {"id": one.id, "rule": one.rule_uid, "segment": one.label, "handling": one.handling, "by": one.handled_by}
    return plainly | {"until": plain(one.handled_until), "why": told.why, "text": text or "open"}
