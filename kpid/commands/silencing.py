"""``kpid silence`` and ``kpid exclude``: times in which alerts say nothing, and times that do not count; and ``kpid audit``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from kpid.app import App
from kpid.commands.handling import hand_of, instant_of
from kpid.commands.plain import plain
from kpid.config.model import Rule
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.store import alerts, audit
from kpid.store import handling as store

OWN_LABELS = ("rule", "kpi", "severity", "kind", "source", "report")
"""Labels that every alert has, or may have, besides those of its rule and its dimensions."""
MAX_TEXT = 200


def silence(
    app: App, *, match: Mapping[str, Sequence[str]], until: str, comment: str, by: str, via: str = "cli"
) -> dict[str, Any]:
    """Say nothing of alerts with these labels for a while. They are judged all the same.

    Args:
        app: everything.
        match: by label the texts, globs or ``!texts`` of which one must fit.
        until: ``8h``, or an instant.
        comment: why; for those who wonder why they heard nothing.
        by: who.
        via: ``cli``, ``web``, ``slack``.

    Raises:
        KpidError: no label is given or one that no alert has; there is no comment; ``until`` cannot be read.
    """
    hand = hand_of(by, via, comment)
    if not hand.comment:
        raise KpidError("a silence needs a comment", hint='Say why with -m "..."')
    matchers = _matchers(app, match)
    ends_at, now = instant_of(app, until), app.clock.now()
    with app.store.write() as conn:
        number = store.add_silence(
            conn, matchers=matchers, starts_at=now, ends_at=ends_at, author=hand.by, via=via, comment=hand.comment, now=now
        )
        body = {"matchers": matchers, "until": plain(ends_at), "comment": hand.comment}
        audit.record(conn, actor=hand.by, via=via, action="silence", subject=f"silence:{number}", body=body, now=now)
    return {"id": number, "matchers": matchers, "until": plain(ends_at), "comment": hand.comment}


def _matchers(app: App, match: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    if not match:
        raise KpidError("a silence needs something to match", hint="Write rule=calls-low, team=sales, or owner=crm:17")
    known = {*OWN_LABELS}
    for rule in app.config.rules:
        known |= {*rule.labels, *rule.by, *rule.where}
    found = {}
    for label, texts in match.items():
        if label not in known:
            raise KpidError(f"no alert has a label {label[:60]!r}", hint=near_miss(label, sorted(known), what="There are"))
        if not texts or any(not text.strip("!") or len(text) > MAX_TEXT or not text.isprintable() for text in texts):
            raise KpidError(f"{label}= lacks a value, or has one that cannot be", hint=f"Write {label}=TEXT, {label}='calls-*'")
        found[label] = list(texts)
    return found


def end_silence(app: App, *, number: int, by: str, via: str = "cli") -> dict[str, Any]:
    """End a silence before its time: what still fires is told again.

    Raises:
        KpidError: there is no such silence, or it is over.
    """
    hand, now = hand_of(by, via), app.clock.now()
    with app.store.write() as conn:
        if not store.end_silence(conn, number, by=hand.by, now=now):
            raise KpidError(f"silence {number} is over, or was never there", hint="`kpid silence list` shows those that last")
        audit.record(conn, actor=hand.by, via=via, action="end silence", subject=f"silence:{number}", body={}, now=now)
    return {"ended": number}


def list_silences(app: App, *, everything: bool = False) -> list[dict[str, Any]]:
    """Silences that last, or all that ever were."""
    with app.store.read() as conn:
        return [plain(one) for one in store.list_silences(conn, at=None if everything else app.clock.now())]


def exclude(
    app: App, *, rule: str, start: str, end: str, comment: str, by: str, segment: str | None = None, via: str = "cli"
) -> dict[str, Any]:
    """Leave a span of time out of what is usual, for a rule or for every rule on a KPI. Nothing is told or judged otherwise.

    Args:
        app: everything.
        rule: name of a rule, or id of a KPI.
        start: first day.
        end: the day after the last one.
        comment: why.
        by: who.
        segment: only this segment of the rule, by name or id.
        via: ``cli``.

    Raises:
        KpidError: there is no such rule, KPI or segment; the span is empty; there is no comment.
    """
    hand = hand_of(by, via, comment)
    if not hand.comment:
        raise KpidError("what is left out needs a comment", hint='Say why with -m "..."')
    starts_at, ends_at, now = _day(app, start), _day(app, end), app.clock.now()
    if ends_at <= starts_at:
        raise KpidError(f"from {start} to {end} is no time at all", hint="--to is the day after the last one")
    found, kpi = _rule_or_kpi(app, rule)
    key = "" if segment is None else _segment(app, found, segment)
    uid = found.uid if found else ""
    with app.store.write() as conn:
        span = {"starts_at": starts_at, "ends_at": ends_at}
        number = store.add_exclusion(
            conn, rule_uid=uid, kpi=kpi, segment=key, author=hand.by, comment=hand.comment, now=now, **span
        )
        body = {"rule": uid, "kpi": kpi, "segment": key, **plain(span), "comment": hand.comment}
        audit.record(conn, actor=hand.by, via=via, action="exclude", subject=f"exclusion:{number}", body=body, now=now)
    return {"id": number, "rule": uid, "kpi": kpi, "segment": key, **plain(span)}


def end_exclusion(app: App, *, number: int, by: str, via: str = "cli") -> dict[str, Any]:
    """Let a span count again.

    Raises:
        KpidError: there is no such span.
    """
    hand, now = hand_of(by, via), app.clock.now()
    with app.store.write() as conn:
        if not store.end_exclusion(conn, number, now=now):
            raise KpidError(f"nothing is left out under number {number}", hint="`kpid exclude --list` shows what is")
        audit.record(conn, actor=hand.by, via=via, action="end exclude", subject=f"exclusion:{number}", body={}, now=now)
    return {"ended": number}


def list_exclusions(app: App) -> list[dict[str, Any]]:
    """The spans that do not count."""
    with app.store.read() as conn:
        return [plain(one) for one in store.list_exclusions(conn)]


def list_audit(app: App, *, since: str | None = None, subject: str | None = None, limit: int = 200) -> list[dict[str, Any]]:
    """Who did what, newest first.

    Raises:
        KpidError: ``since`` is no day.
    """
    with app.store.read() as conn:
        found = audit.list_audit(conn, since=None if since is None else _day(app, since), subject=subject, limit=limit)
    return [plain(row) for row in found]


def _day(app: App, text: str) -> datetime:
    """A day or an instant, past or future; in the company's zone where it does not say."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise KpidError(f"{text[:60]!r} is no day", hint="Write 2026-12-24 or 2026-12-24T18:00") from None
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(app.config.timezone))


def _rule_or_kpi(app: App, name: str) -> tuple[Rule | None, str]:
    for rule in app.config.rules:
        if name in {rule.name, rule.uid}:
            return rule, rule.kpi
    if name in app.plugins.kpis:
        return None, name
    known = sorted({rule.name for rule in app.config.rules})
    raise KpidError(f"{name[:60]!r} is neither a rule nor a KPI", hint=near_miss(name, known, what="Rules"))


def _segment(app: App, rule: Rule | None, wanted: str) -> str:
    """The segment's key in history."""
    if rule is None:
        raise KpidError("a segment needs a rule", hint="Name the rule whose segment it is")
    with app.store.read() as conn:
        rows = list(alerts.load_series(conn, rule.uid).values())
    for one in rows:
        if wanted in {one.label, one.series_key, *(part.id for part in one.dims)}:
            return one.segment
    raise KpidError(f"no series for {wanted[:60]!r}", hint=near_miss(wanted, [one.label for one in rows], what="There are"))
