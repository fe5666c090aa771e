"""What a link or a button does: the same as the commands, with the rights of a signed token and no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kpid.alerting.marks import mark_handled
from kpid.analysis.tokens import LASTS, Claim, claim_from, fingerprint
from kpid.analysis.wording import count_text, when_text
from kpid.app import App
from kpid.commands import silencing
from kpid.commands.handling import ACK_LASTS, Hand, Outcome, apply, hand_of, handling_text, instant_of
from kpid.config.signing import signing_key_of
from kpid.errors import KpidError
from kpid.plugin.notifier import Press
from kpid.store import audit
from kpid.store import handling as store
from kpid.store.episodes import EpisodeRow

SNOOZE_LASTS = "1d"
SILENCE_LASTS = "8h"
MOST_NAMED = 20
"""So many alerts are named one by one."""
LONGEST = LASTS
"""A link does no more than its page offers: nothing for longer than this, unless it is until the next evaluation."""
SOMEBODY = "somebody with the link"


class RefusedError(KpidError):
    """A token that may do nothing: forged, expired, or for something else."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a page shows before anything is done.

    Attributes:
        verb: what may be done.
        who: whom the link was made for; empty where many read it.
        lines: the alerts, one line each.
        more: how many are not named.
        standing: whether there is anything left to do.
    """

    verb: str
    who: str
    lines: tuple[str, ...]
    more: int
    standing: bool


def offer(app: App, token: str) -> Offer:
    """What a token is for. Changes nothing.

    Raises:
        RefusedError: it is for nothing.
    """
    claim = _claim(app, token)
    found = _episodes(app, claim)
    lines = tuple(_line(app, one) for one in found[:MOST_NAMED])
    return Offer(claim.verb, claim.who, lines, max(0, len(found) - MOST_NAMED), any(one.ended_at is None for one in found))


def pressed(app: App, press: Press, via: str) -> str:
    """Do what somebody pressed. A second press of the same changes nothing more.

    Args:
        app: everything.
        press: verb, token, and who in words of the provider.
        via: ``web``, ``slack``.

    Returns:
        The sentence that whoever pressed reads.

    Raises:
        RefusedError: the token is forged, expired, or for something else than what was pressed; or it is for too long.
        KpidError: until when cannot be read, or there is no comment where one is needed.
    """
    claim = _claim(app, press.token)
    if press.kind != claim.verb:
        raise RefusedError("this link is for something else")
    found = _episodes(app, claim)
    hand = hand_of(press.actor or claim.who or SOMEBODY, via, press.comment)
    if press.until and not (press.until == "next" and claim.verb != "silence"):
        _check_length(app, press.until)
    if claim.verb == "silence":
        return _silence(app, found, hand, press)
    until = press.until or (ACK_LASTS if claim.verb == "ack" else SNOOZE_LASTS)
    ends = {one.id: instant_of(app, until, one) for one in found if one.ended_at is None}
    now = app.clock.now()
    with app.store.write() as conn:
        told = apply(conn, claim.verb, ends, hand, now)
        done, left = [one for one in told if one.changed], [one for one in told if not one.changed]
        mark_handled(conn, app.alerting_setup(), [one.episode.id for one in done], now)
        body = {"verb": claim.verb, "about": claim.subject, "made_for": claim.who, "changed": len(done)}
        audit.record(
            conn, actor=hand.by, via=via, action="press", subject=f"token:{fingerprint(press.token)}", body=body, now=now
        )
    return _sentence(app, done, left, len(found) - len(ends))


def _check_length(app: App, until: str) -> None:
    """Refuse what is longer than a link may do: whoever got it must not silence a rule for a year."""
    if instant_of(app, until) > app.clock.now() + LONGEST:
        raise RefusedError(f"a link does nothing for longer than {LONGEST.days} days", hint="Use the commands for that")


def _claim(app: App, token: str) -> Claim:
    try:
        return claim_from(token, signing_key_of(app.config, app.notifiers.values()), app.clock.now())
    except ValueError as error:
        raise RefusedError(str(error), hint="Use the newest message, or `kpid ack`") from error


def _episodes(app: App, claim: Claim) -> list[EpisodeRow]:
    kind, _, key = claim.subject.partition(":")
    with app.store.read() as conn:
        if kind == "flush":
            found = store.episodes_of_message(conn, key)
        else:
            one = store.load_episode(conn, int(key)) if kind == "episode" and key.isascii() and key.isdigit() else None
            found = [] if one is None else [one]
    if not found:
        raise RefusedError("the alert that this link is for is not known here")
    return found


def _line(app: App, one: EpisodeRow) -> str:
    now, zone = app.clock.now(), app.config.timezone
    name = next((rule.name for rule in app.config.rules if rule.uid == one.rule_uid), one.rule_uid)
    if one.ended_at is not None:
        state = f"over since {when_text(one.ended_at, zone, now)}"
    else:
        state = handling_text(one, now, zone) or f"{one.level}, nobody has taken it up"
    return f"{one.id}: {name}, {one.label}: {state}"


def _silence(app: App, found: list[EpisodeRow], hand: Hand, press: Press) -> str:
    """One silence for each rule that the message told of."""
    names = {rule.uid: rule.name for rule in app.config.rules}
    rules = [names[uid] for uid in dict.fromkeys(one.rule_uid for one in found) if uid in names]
    if not rules:
        raise KpidError("the rules of these alerts are gone")
    if any(name.startswith("!") or {"*", "?"} & set(name) for name in rules):
        raise KpidError("the name of a rule would match others, too", hint="Use `kpid silence add` with another label")
    told = silencing.silence(
        app, match={"rule": rules}, until=press.until or SILENCE_LASTS, comment=hand.comment, by=hand.by, via=hand.via
    )
    return f"Silenced until {_when(app, told)}: {', '.join(rules)}"


def _when(app: App, told: dict[str, Any]) -> str:
    return when_text(app.clock.now().fromisoformat(told["until"]), app.config.timezone, app.clock.now())


def _sentence(app: App, done: Sequence[Outcome], left: Sequence[Outcome], over: int) -> str:
    now, zone = app.clock.now(), app.config.timezone
    parts = []
    if done:
        text = handling_text(done[0].episode, now, zone)
        parts.append(text[:1].upper() + text[1:] if len(done) == 1 else f"{count_text(len(done), 'alert')} {text}")
    if left:
        parts.append(f"{count_text(len(left), 'alert')} left as it was: {left[0].why}")
    if over:
        parts.append(f"{count_text(over, 'alert')} over already")
    return "; ".join(parts)
