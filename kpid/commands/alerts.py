"""``kpid alerts``: what fires, and the story of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpid.analysis.wording import count_text
from kpid.app import App
from kpid.commands.plain import plain
from kpid.config.problems import near_miss
from kpid.errors import KpidError
from kpid.store import alerts
from kpid.store.alerts import SeriesRow

_OPEN = ("firing", "recovering", "pending")


def list_alerts(
    app: App, *, status: str | None = None, rule: str | None = None, everything: bool = False
) -> list[dict[str, Any]]:
    """Series that are firing, recovering or pending, worst first; or of one status, or all.

    Raises:
        KpidError: there is no such rule.
    """
    with app.store.read() as connection:
        known = {row.rule_uid for row in alerts.list_rules(connection)} | {one.name for one in app.config.rules}
        if rule is not None and rule not in known:
            raise KpidError(f"there is no rule {rule!r}", hint=near_miss(rule, sorted(known), what="Configured"))
        found = alerts.list_series(connection, status, rule_uid=rule)
    return [_told(one) for one in found if everything or status is not None or one.status in _OPEN]


def _told(one: SeriesRow) -> dict[str, Any]:
    last: Mapping[str, Any] = one.state.get("last") or {}
    return {
        "rule": one.rule_uid,
        "segment": one.label,
        "dims": {segment.dimension: {"id": segment.id, "name": segment.name or segment.id} for segment in one.dims},
        "status": one.status,
        "level": one.level,
        "data": one.data,
        "episode": one.episode,
        "slot": plain(one.last_slot),
        "reason": str(last.get("reason") or ""),
        "updated_at": plain(one.updated_at),
    }


def show_alert(app: App, *, rule: str, segment: str | None = None, episode: int | None = None) -> dict[str, Any]:
    """The story of an episode: every evaluation, event and message.

    Args:
        app: everything.
        rule: name of the rule.
        segment: which of its series, by name or id; the worst one if None.
        episode: its number; the latest if None.

    Raises:
        KpidError: there is no such rule, segment or episode.
    """
    with app.store.read() as connection:
        found = alerts.list_series(connection, rule_uid=rule)
        if not found:
            known = [row.rule_uid for row in alerts.list_rules(connection)]
            raise KpidError(f"no rule {rule!r} has been judged", hint=near_miss(rule, known, what="Judged"))
        chosen = found[0] if segment is None else _series(found, segment)
        story = alerts.episode_story(connection, rule, chosen.series_key, chosen.episode if episode is None else episode)
    if episode is not None and not story.events:
        hint = f"It has had {count_text(chosen.episode, 'episode')} so far"
        raise KpidError(f"there is no episode {episode} of {rule} - {chosen.label}", hint=hint)
    return {
        **_told(chosen),
        "evaluations": [plain(row) for row in story.evaluations],
        "events": [plain(row) for row in story.events],
        "notices": [plain(row) for row in story.notices],
    }


def _series(found: list[SeriesRow], segment: str) -> SeriesRow:
    for one in found:
        if segment in {one.label, one.series_key, *(part.id for part in one.dims)}:
            return one
    raise KpidError(f"no series for {segment!r}", hint=near_miss(segment, [one.label for one in found], what="There are"))
