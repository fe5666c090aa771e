"""``kpid alerts``: what fires and who has it in hand, and the whole story of an episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from kpid.analysis.wording import count_text
from kpid.app import App
from kpid.commands.handling import handling_text, subject_of
from kpid.commands.plain import plain
from kpid.commands.waiting import Waiting, waiting_rules
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.store import alerts, audit
from kpid.store import handling as store
from kpid.store.alerts import SeriesRow
from kpid.store.episodes import CONFIGURATION, EpisodeRow, list_open

_OPEN = ("firing", "recovering", "pending")


def list_alerts(
    app: App, *, status: str | None = None, rule: str | None = None, everything: bool = False
) -> list[dict[str, Any]]:
    """Series that are firing, recovering or pending, worst first; or of one status, or all. Those that fire have a number.

    With rules that cannot be judged, or not yet.

    Raises:
        KpidError: there is no such rule.
    """
    with app.store.read() as connection:
        known = {row.rule_uid for row in alerts.list_rules(connection)} | {one.name for one in app.config.rules}
        if rule is not None and rule not in known:
            raise KpidError(f"there is no rule {rule!r}", hint=near_miss(rule, sorted(known), what="Configured"))
        found = alerts.list_series(connection, status, rule_uid=rule)
        open_now = {(one.rule_uid, one.series_key, one.episode): one for one in list_open(connection)}
    told = [
        _told(app, one, open_now.get((one.rule_uid, one.series_key, one.episode)))
        for one in found
        if everything or status is not None or one.status in _OPEN
    ]
    health = [one for one in open_now.values() if not one.series_key and status is None and rule in {None, one.rule_uid}]
    waiting = [] if everything or status is not None else waiting_rules(found)
    return [*told, *(_told_health(app, one) for one in health), *(_told_waiting(one) for one in waiting)]


def _told(app: App, one: SeriesRow, episode: EpisodeRow | None) -> dict[str, Any]:
    last: Mapping[str, Any] = one.state.get("last") or {}
    return {
        "id": episode.id if episode else None,
        "rule": one.rule_uid,
        "segment": one.label,
        "dims": {segment.dimension: {"id": segment.id, "name": segment.name or segment.id} for segment in one.dims},
        "status": one.status,
        "level": one.level,
        "data": one.data,
        "episode": one.episode,
        "slot": plain(one.last_slot),
        "reason": str(last.get("reason") or ""),
        "handling": handling_text(episode, app.clock.now(), app.config.timezone) if episode else "",
        "updated_at": plain(one.updated_at),
    }


def _told_health(app: App, one: EpisodeRow) -> dict[str, Any]:
    """A rule that cannot be judged."""
    return {
        "id": one.id,
        "rule": one.rule_uid,
        "segment": one.label,
        "dims": {},
        "status": "unhealthy",
        "level": one.level,
        "data": "",
        "episode": one.episode,
        "slot": plain(one.opened_slot),
        "reason": f"{'is not used' if one.rule_uid == CONFIGURATION else 'cannot be judged'}: `kpid doctor` says why",
        "handling": handling_text(one, app.clock.now(), app.config.timezone),
        "updated_at": plain(one.updated_at),
    }


def _told_waiting(one: Waiting) -> dict[str, Any]:
    """A rule that cannot be judged yet."""
    nothing: dict[str, Any] = {
        "id": None,
        "segment": "",
        "dims": {},
        "level": "none",
        "data": "insufficient",
        "episode": 0,
        "handling": "",
    }
    told = {"status": "waiting", "reason": one.text, "slot": plain(one.slot), "updated_at": plain(one.updated_at)}
    return {**nothing, "rule": one.rule, **told}


def find_episode(connection: Connection, number: int) -> EpisodeRow:
    """An episode by its number.

    Raises:
        KpidError: there is none.
    """
    found = store.load_episode(connection, number)
    if found is None:
        raise KpidError(f"there is no alert {number}", hint="`kpid alerts list` shows their numbers")
    return found


def show_alert(
    app: App, *, rule: str | None = None, segment: str | None = None, episode: int | None = None, number: int | None = None
) -> dict[str, Any]:
    """The story of an episode: every evaluation, event, notice and message, each try and receipt, and what people did.

    Args:
        app: everything.
        rule: name of the rule; not needed with a number.
        segment: which of its series, by name or id; the worst one if None.
        episode: its number within the series; the latest if None.
        number: the alert's own number, instead of these three.

    Raises:
        KpidError: there is no such rule, segment, episode or number.
    """
    with app.store.read() as connection:
        if number is not None:
            return _story_of(app, connection, find_episode(connection, number))
        chosen = _chosen(connection, rule or "", segment)
        wanted = chosen.episode if episode is None else episode
        story = alerts.episode_story(connection, chosen.rule_uid, chosen.series_key, wanted)
        mine = [one for one in list_open(connection) if _is(one, chosen, wanted)]
        if episode is not None and not story.events:
            hint = f"It has had {count_text(chosen.episode, 'episode')} so far"
            raise KpidError(f"there is no episode {episode} of {rule} - {chosen.label}", hint=hint)
        return {**_told(app, chosen, mine[0] if mine else None), **_happened(connection, story, mine[0] if mine else None)}


def _chosen(connection: Connection, rule: str, segment: str | None) -> SeriesRow:
    found = alerts.list_series(connection, rule_uid=rule)
    if not found:
        known = [row.rule_uid for row in alerts.list_rules(connection)]
        raise KpidError(f"no rule {rule!r} has been judged", hint=near_miss(rule, known, what="Judged"))
    return found[0] if segment is None else _series(found, segment)


def _is(one: EpisodeRow, chosen: SeriesRow, episode: int) -> bool:
    return (one.rule_uid, one.series_key, one.episode) == (chosen.rule_uid, chosen.series_key, episode)


def _story_of(app: App, connection: Connection, one: EpisodeRow) -> dict[str, Any]:
    story = alerts.episode_story(connection, one.rule_uid, one.series_key, one.episode)
    stands = story.series is not None and story.series.episode == one.episode and one.ended_at is None
    top = _told(app, story.series, one) if stands and story.series is not None else _told_health(app, one)
    if one.ended_at is not None:
        top |= {"status": one.end_kind or "over", "slot": plain(one.ended_slot), "reason": ""}
    return {**top, "opened_at": plain(one.opened_at), "ended_at": plain(one.ended_at), **_happened(connection, story, one)}


def _happened(connection: Connection, story: alerts.Story, one: EpisodeRow | None) -> dict[str, Any]:
    """All that is written down about an episode."""
    told = store.told_of_episode(connection, one) if one else []
    threads = _threads(story, [row.thread for row in told], one)
    return {
        "evaluations": [plain(row) for row in story.evaluations],
        "events": [plain(row) for row in story.events],
        "told": [plain(row) for row in told],
        "notices": [plain(row) for row in store.messages_in(connection, threads)],
        "audit": [plain(row) for row in reversed(audit.list_audit(connection, subject=subject_of(one.id)))] if one else [],
    }


def _threads(story: alerts.Story, told: Iterable[str | None], one: EpisodeRow | None) -> set[str]:
    """The threads in which people heard of it."""
    found = {str(event.body["thread"]) for event in story.events if event.body.get("thread")}
    return {*found, *(thread for thread in told if thread), *([one.thread] if one and one.thread else [])}


def _series(found: list[SeriesRow], segment: str) -> SeriesRow:
    for one in found:
        if segment in {one.label, one.series_key, *(part.id for part in one.dims)}:
            return one
    raise KpidError(f"no series for {segment!r}", hint=near_miss(segment, [one.label for one in found], what="There are"))
