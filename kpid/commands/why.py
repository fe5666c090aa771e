"""``kpid why ID``: why an alert fired: the figures, what they were compared with, which guards it passed, and what moved it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from sqlalchemy import Connection

from kpid.alerting.causes import Search, Subject
from kpid.alerting.notices import NOT_EXPLAINED, Explained
from kpid.alerting.outcomes import outcome_from_dump
from kpid.alerting.rules import RulePlan, plan_of
from kpid.analysis.causes import cause_text
from kpid.analysis.periods import last_complete
from kpid.analysis.wording import value_text
from kpid.app import App
from kpid.commands.alerts import find_episode
from kpid.commands.plain import plain
from kpid.config.model import Rule
from kpid.model import Cause, Dims, Measurement, Period, Segment, SeriesNeed, segment_key
from kpid.store import alerts, history
from kpid.store.alerts import EvaluationRow
from kpid.store.episodes import EpisodeRow

_FIGURES = (
    "kind",
    "level",
    "value",
    "n",
    "threshold",
    "limit",
    "previous",
    "previous_label",
    "low",
    "high",
    "reason",
    "warnings",
)
_BASELINE = ("p", "baseline", "baseline_label", "effect")
_GUARDS = ("for", "recover", "keep_firing_for", "min_sample", "significance", "min_effect", "correct", "disjoint", "settle")
_TURNS = ("fired", "escalated")


def why(app: App, *, number: int) -> dict[str, Any]:
    """Why an episode fired, from what was written down then.

    Args:
        app: everything.
        number: the alert's number.

    Returns:
        ``figures`` of the newest slot at which it fired or rose, ``baseline``, both in words (``said``), ``guards`` of the rule,
        ``causes`` and their ``sentences``, ``moved_from`` (what they are the distance from; empty: the period before),
        ``slots`` (every evaluation up to then), ``newest`` (what was found last), and
        ``next`` (where to go on).

    Raises:
        KpidError: there is no such alert.
    """
    rules = {rule.uid: rule for rule in app.config.rules}
    with app.store.read() as conn:
        one = find_episode(conn, number)
        story = alerts.episode_story(conn, one.rule_uid, one.series_key, one.episode)
        turns = [event for event in story.events if event.kind in (*_TURNS, "unhealthy")]
        slot = turns[-1].slot if turns else one.opened_slot
        judged = [row for row in story.evaluations if row.slot <= slot]
        found = judged[-1].outcome if judged else (turns[-1].body if turns else {})
        rule = rules.get(one.rule_uid)
        plan = _plan(app, rule)
        about_series = plan is not None and one.series_key
        causes, moved_from = _explained(app, conn, plan, one, slot, found) if plan and about_series else NOT_EXPLAINED
    guards = {} if rule is None else rule.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "id": one.id,
        "rule": one.rule_uid,
        "segment": one.label,
        "level": one.level,
        "slot": plain(slot),
        "period": judged[-1].period_label if judged else str(found.get("period", "")),
        "figures": {name: found[name] for name in _FIGURES if found.get(name) not in (None, "", [])},
        "baseline": {name: found[name] for name in _BASELINE if found.get(name) not in (None, "")},
        "guards": {name: guards[name] for name in _GUARDS if guards.get(name) not in (None, False)},
        "causes": [plain(cause) for cause in causes],
        "moved_from": moved_from,
        "newest": _newest(story.evaluations),
        "said": _said(plan, found) if plan else [],
        "sentences": [_sentence(plan, cause) for cause in causes] if plan else [],
        "slots": [
            {"slot": plain(row.slot), "period": row.period_label, "found": str(row.outcome.get("reason", ""))} for row in judged
        ],
        "next": _next(rule, judged[-1].period_label if judged else ""),
    }


def _said(plan: RulePlan, found: Mapping[str, Any]) -> list[str]:
    """The figures and what is usual, in words."""

    def text(name: str) -> str:
        given = found.get(name)
        return "" if given in (None, "") else value_text(Decimal(str(given)), plan.kpi.unit)

    sample = f" on {found['n']} {plan.kpi.sample_noun(plan.rule.params)}" if found.get("n") else ""
    margin = f" ({text('low')} to {text('high')}, 95 %)" if text("low") and text("high") else ""
    lines = [f"value: {text('value') or 'none'}{margin}{sample}; threshold: {found.get('threshold') or 'none'}"]
    if text("previous"):
        lines.append(f"before: {text('previous')} in {found.get('previous_label')}")
    if text("baseline"):
        effect = found.get("effect")
        by = (
            f", {abs(round(100 * Decimal(str(effect))))}% {'below' if Decimal(str(effect)) < 0 else 'above'} it" if effect else ""
        )
        lines.append(f"usual: {text('baseline')}, {found.get('baseline_label')}{by}")
    if found.get("p") not in (None, ""):
        lines.append(f"by chance: p {float(found['p']):.2g} if nothing had changed")
    return lines


def _newest(rows: Sequence[EvaluationRow]) -> dict[str, str]:
    """What was found last: an alert goes on with other figures than it began with."""
    return {"period": rows[-1].period_label, "found": str(rows[-1].outcome.get("reason", ""))} if rows else {}


def _plan(app: App, rule: Rule | None) -> RulePlan | None:
    if rule is None or rule.absence is not None or rule.kpi not in app.plugins.kpis:
        return None
    settings = app.kpi_settings()
    return plan_of(rule, app.plugins.kpis[rule.kpi], settings.get(rule.kpi), kpis=app.plugins.kpis, all_settings=settings)


def _sentence(plan: RulePlan, cause: Cause) -> str:
    return cause_text(cause, plan.kpi.unit, None, plan.kpi.sample_noun(plan.rule.params))


def _explained(
    app: App, conn: Connection, plan: RulePlan, one: EpisodeRow, slot: datetime, found: Mapping[str, Any]
) -> Explained:
    """What moved the series in the period that ends with the slot, against what it was compared with then."""
    if not plan.why or "kind" not in found:
        return NOT_EXPLAINED
    period = last_complete(plan.need.period, slot, app.calendar, 1)[-1]
    dims = tuple(Segment(name, key, one.names.get(name)) for name, key in sorted(one.segment.items()))
    search = Search(conn, plan, app.alerting_setup())
    return search.explained(Subject(dims, period, outcome_from_dump(found), partial(_figure, conn, plan.need, dims)))


def _figure(conn: Connection, need: SeriesNeed, dims: Dims, period: Period) -> Measurement | None:
    found = history.current(conn, need, start=period.start, end=period.end)
    span = (period.start, period.end)
    return next((one for one in found if segment_key(one.dims) == segment_key(dims) and _span(one) == span), None)


def _span(one: Measurement) -> tuple[datetime, datetime]:
    return one.period.start, one.period.end


def _next(rule: Rule | None, period: str) -> str:
    """Where to look further."""
    if rule is None or not rule.kpi or not period:
        return "`kpid doctor` says what is wrong with the sources"
    return f"`kpid explain {rule.kpi} --period {period}` computes what moved it, from the data as it is now"
